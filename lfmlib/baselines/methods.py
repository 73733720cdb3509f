"""The baselines by name: how each is made, what it sees in training, and with which settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from lfmlib.baselines.c3dpo_training import C3DPOBaseline
from lfmlib.baselines.deep_nrsfm import DeepNRSfM
from lfmlib.baselines.factorization import Factorization
from lfmlib.baselines.lfm3d import LFM3D
from lfmlib.baselines.nuclear_norm import NuclearNorm
from lfmlib.baselines.paul import PAUL
from lfmlib.baselines.supervised import SupervisedMLP
from lfmlib.recipe.mlp import DreamtMLP
from lfmlib.rigs import Rig

PICTURES, TRUTH, DREAMS = "2D pictures", "3D truth", "pictures of dreams"
FACTORIZATION, NUCLEAR, C3DPO, PAUL_NAME, DEEP = "factorization", "nuclear-norm", "c3dpo", "paul", "deep-nrsfm"
C3DPO_ALL, MLP, SIMPLE, LFM = "c3dpo, one network", "recipe-mlp", "simple-baseline (3D)", "3d-lfm (3D)"

Make = Callable[..., Any]  # (rigs, generator, **settings) -> the network


@dataclass(frozen=True)
class Method:
    """A way to learn lifting that is not the project's own.

    Args:
        make: (rigs, generator, **settings) -> a `Baseline`, or a `FittedBaseline`.
        settings: of `make`.
        lr: of AdamW; None: the method is fitted to its pictures at once.
        sees: PICTURES, TRUTH or DREAMS.
        several: one network can take several categories; else each category has its own.
        rates: learning rates to try; `runs.search` says by what they are judged.
    """

    make: Make
    settings: dict[str, Any] = field(default_factory=dict)
    lr: float | None = None
    sees: str = PICTURES
    several: bool = False
    rates: tuple[float, ...] = ()

    def network(self, rigs: Sequence[Rig], generator: torch.Generator) -> Any:
        """A network with its first weights."""
        return self.make(rigs, generator, **self.settings)


def _of_one(kind: Make) -> Make:
    return lambda rigs, generator, **settings: kind(rigs[0].n, generator, **settings)


def _fitted(kind: Make) -> Make:
    return lambda rigs, generator, **settings: kind(**settings)


def _c3dpo(rigs: Sequence[Rig], generator: torch.Generator, object_info: bool = True, **settings: Any) -> C3DPOBaseline:
    """`object_info`: each category has places of its own among the keypoints; else all share the first ones."""
    sizes = tuple(rig.n for rig in rigs)
    return C3DPOBaseline(sizes if object_info else (max(sizes),), generator, **settings)


# widths for a CPU's sake; the published ones are the classes' defaults
SMALL = {"width": 256, "blocks": 2}
RATES = (1e-3, 3e-3, 1e-2)
METHODS: dict[str, Method] = {
    FACTORIZATION: Method(_fitted(Factorization)),
    NUCLEAR: Method(_fitted(NuclearNorm)),
    C3DPO: Method(_c3dpo, {"basis": 10, **SMALL}, 3e-3, rates=RATES),
    C3DPO_ALL: Method(_c3dpo, {"basis": 10, **SMALL}, 3e-3, several=True),
    PAUL_NAME: Method(_of_one(PAUL), {"code": 8, **SMALL}, 3e-3, rates=RATES),
    DEEP: Method(_of_one(DeepNRSfM), {}, 1e-2, rates=RATES),
    MLP: Method(_of_one(DreamtMLP), {"width": 512, "blocks": 2}, 3e-3, DREAMS),
    SIMPLE: Method(_of_one(SupervisedMLP), {}, 1e-3, TRUTH, rates=RATES),
    LFM: Method(LFM3D, {"width": 64, "heads": 4}, 3e-3, TRUTH, several=True, rates=RATES),
}


def method(name: str, **changes: Any) -> Method:
    """The method of that name.

    Args:
        changes: settings that differ from its own (an ablation), or `lr`.
    Raises:
        ValueError: there is none (names those there are).
    """
    if name not in METHODS:
        raise ValueError(f"unknown baseline {name!r}; there are {', '.join(METHODS)}")
    known, lr = METHODS[name], changes.pop("lr", METHODS[name].lr)
    return replace(known, settings=known.settings | changes, lr=lr)
