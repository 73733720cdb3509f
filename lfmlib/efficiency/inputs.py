"""What the contests work on: rigs of any size, shapes for them, and arms to train; random, the same in every run."""

import hashlib
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from tempfile import TemporaryDirectory

import torch

from lfmlib.arms import Arm
from lfmlib.data.shapes import ShapeSet
from lfmlib.model import INJECTIONS, LifterConfig
from lfmlib.rigs import Rig
from lfmlib.runs import RunConfig, RunData
from lfmlib.steps import Steps
from lfmlib.store import RunStore

FRAMES, SPLIT = 512, 32  # shapes of a category; those kept for testing


def chain(keypoints: int) -> Rig:
    """A rig of so many keypoints in a row."""
    names = tuple(f"k{i}" for i in range(keypoints))
    edges = tuple((i, i + 1) for i in range(keypoints - 1))
    return Rig(name=f"chain{keypoints}", keypoints=names, edges=edges, symmetry=(), unit="unit", mm=None, up="+y",
               family="chain")  # fmt: skip


@lru_cache(maxsize=16)
def data_of(keypoints: int) -> RunData:
    """Random shapes of such a rig."""
    points = torch.randn(FRAMES, keypoints, 3, generator=torch.Generator().manual_seed(0))
    split = (torch.arange(FRAMES) < SPLIT).to(torch.int8)
    digest = hashlib.sha256(f"random chain {keypoints}".encode()).hexdigest()
    whole = ShapeSet(rig=chain(keypoints), points=points, known=torch.ones(FRAMES, keypoints, dtype=torch.bool),
                     split=split, sequence=torch.arange(FRAMES), tag="synthetic", fingerprint=digest)  # fmt: skip
    train, test = whole.subset(split == 0), whole.subset(split == 1)
    return RunData((train,), (test,), (test,))


def run_config(
    width: int, depth: int, batch: int = 64, keypoints: int = 17, precision: str = "float32", heads: int | None = None
) -> RunConfig:
    """A run of Eq. 1 with the encoding in every layer; one head per 64 of the width, but at least 4."""
    heads = heads or max(4, width // 64)
    return RunConfig(
        (f"chain{keypoints}",), model=LifterConfig(width=width, depth=depth, heads=heads), batch=batch,
        precision=precision, schedule="constant", steps=100, test_views=20,
    )  # fmt: skip


def arms(config: RunConfig, count: int, device: str, keep: ExitStack, strategies: bool = False) -> list[Arm]:
    """Arms that differ in their seed, in the order in which they are stacked.

    Args:
        config: of them all, but for the seed.
        count: how many.
        device: "cpu" or "cuda".
        keep: closes their empty store.
        strategies: they also differ in where the encoding enters: the strategies of Fig. 4a in turn.
    """
    store = RunStore(keep.enter_context(TemporaryDirectory(prefix="lfmlib-")))
    keypoints = int(config.categories[0].removeprefix("chain"))
    made = []
    for seed in range(count):
        injection = INJECTIONS[seed % len(INJECTIONS)] if strategies else config.model.injection
        own = replace(config, seed=seed, model=replace(config.model, injection=injection))
        made.append(Arm(own, data_of(keypoints), store, device))
    return [made[i] for i in Steps.order(made)]
