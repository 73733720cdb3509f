"""What 3D-LFM transfers: to categories that it never saw, to other rigs, from a huge category to a rare one.

Every network here but C3DPO learns from 3D truth, and its name says so. It knows of a rig its edges alone, and these
are as symmetric as the body, so a shape and its mirror image, seen from the other side, are the same input: about half
of its shapes come out mirrored, whatever it learns. O(3) is its meaningful error; flip and SO(3) stand beside it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lfmlib import rigs
from lfmlib.baselines.lfm3d import size_for
from lfmlib.baselines.methods import C3DPO, C3DPO_ALL, LFM
from lfmlib.data import real, synthetic
from lfmlib.runs import RunConfig, RunData
from lfmlib.studies.literal import PASCAL

UNSEEN, RIGS, IMBALANCE, TOGETHER, THIRTY = "unseen category", "rig", "imbalance", "together", "30 categories"
ALIGNMENT, OBJECT_INFO, EMBEDDING, VIEWPOINT = "alignment", "object info", "embedding", "viewpoint"
ITSELF, OTHERS, ALL = "the category itself", "other categories", "all together"
DOG, CAT, TIGER, CHEETAH, HIPPO = (f"synthetic_{name}26" for name in ("dog", "cat", "tiger", "cheetah", "hippo"))
BODY17, MACAQUE = "synthetic_body17", "synthetic_macaque17"
QUADRUPEDS = (DOG, CAT, TIGER)
FRAMES, FEW_VIEWS = 400, 20  # of each category where there are dozens, and of all where nothing is to be learnt
# share of the steps that the costly faces get, and the many CAD categories, which have few shapes
FACES, CADS = 0.25, 0.5


@dataclass(frozen=True)
class Size:
    """How large the runs are.

    Args:
        steps, batch: of a network for one category.
        combined: where all categories are trained together, a network for n of them trains min(n, combined) times as
            long; n times would show it as many pictures of each. Elsewhere all networks train equally long.
        views: of each tested category.
        width: of 3D-LFM; in profile full the paper's, by the number of training shapes.
        widths: of the comparison of embeddings.
        profile, seeds: caps the frames of synthetic categories, smoke uses no measured data; 0 .. seeds - 1.
    """

    steps: int
    batch: int
    views: int
    width: int = 64
    widths: tuple[int, ...] = (16, 32, 64)
    combined: int = 2
    profile: str = "cpu"
    seeds: int = 3


@dataclass(frozen=True)
class Arm:
    """A network: the part of the study, what it is trained on in words and names, and what it is tested on."""

    part: str
    training: str
    config: RunConfig
    tested: tuple[str, ...]
    method: str = LFM
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The method and what it learnt from, for a table."""
        return f"{self.method}, {self.training}"


def grid(size: Size) -> list[Arm]:
    """Every network of the study for every seed."""
    there = frozenset(real.available()) if size.profile != "smoke" and real.folder() else frozenset()
    return [
        arm for seed in range(size.seeds)
        for part in (_unseen, _rigs, _imbalance, _together, _alignment, _object_info, _embedding, _viewpoint, _thirty)
        for arm in part(_Make(size, seed), there)
    ]  # fmt: skip


@dataclass(frozen=True)
class _Make:
    """Makes the arms of one size and seed."""

    size: Size
    seed: int

    def config(
        self, categories: Sequence[str], share: float = 1.0, combined: bool = False, **changes: Any
    ) -> RunConfig:
        longer = min(len(categories), self.size.combined) if combined else 1
        few = FRAMES if self.size.profile == "smoke" else synthetic.cap(self.size.profile)
        settings = {
            "steps": max(1, round(share * longer * self.size.steps)), "batch": self.size.batch, "seed": self.seed,
            "count": few, "test_views": self.size.views,
        }  # fmt: skip
        return RunConfig(tuple(categories), **settings | changes)

    def arm(
        self, part: str, training: str, config: RunConfig, tested: Sequence[str], method: str = LFM, **changes: Any
    ) -> Arm:
        if method == LFM:
            changes = self._width(config) | changes
        return Arm(part, training, config, tuple(tested), method, changes)

    def _width(self, config: RunConfig) -> dict[str, int]:
        if self.size.profile == "full":
            return size_for(sum(len(shapes) for shapes in RunData.of(config).train))
        return {"width": self.size.width}


def unseen(there: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Category -> those that a network learns which never sees it."""
    cases = {CHEETAH: (DOG, CAT), MACAQUE: (BODY17,)}
    if "dog26_ai4animation" in there:
        cases["dog26_ai4animation"] = (DOG, CAT)
    if set(PASCAL) <= set(there):
        cases["pascal3d_train"] = tuple(name for name in PASCAL if name != "pascal3d_train")
    return cases


def rig_pairs(there: Iterable[str]) -> dict[tuple[str, str], float]:
    """Two rigs of one thing -> the share of the steps that their networks get."""
    human = ("human22_cmu", "human17_cmu")
    measured = set(human) <= set(there)
    return {
        (BODY17, "synthetic_body15"): 1.0,
        human if measured else ("synthetic_body22", BODY17): 1.0,
        ("synthetic_face68", "synthetic_face83"): FACES,
    }  # fmt: skip


def rare_pairs(there: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(rare, huge) categories."""
    measured = ("mouse22_dannce", "dog26_ai4animation")
    return ((HIPPO, DOG), measured) if set(measured) <= set(there) else ((HIPPO, DOG),)


def cads(there: Iterable[str]) -> tuple[str, ...]:
    """The measured CAD categories, or synthetic ones."""
    stand_ins = ("synthetic_aeroplane8", "synthetic_chair10", "synthetic_train17")
    return PASCAL if set(PASCAL) <= set(there) else stand_ins


def people(there: Iterable[str]) -> str:
    """People with 17 joints: measured where they are there."""
    return "human17_cmu" if "human17_cmu" in there else BODY17


def animals(there: Iterable[str]) -> tuple[str, ...]:
    """The animals that are trained together, measured where they are there, with a monkey."""
    found = [m if m in there else s for m, s in (("dog26_ai4animation", DOG), ("mouse22_dannce", "synthetic_mouse22"))]
    return (*found, *(name for name in ("bird18_aves",) if name in there), MACAQUE)


def _unseen(make: _Make, there: Iterable[str]) -> list[Arm]:
    result = []
    for category, others in unseen(there).items():
        share = CADS if category in PASCAL else 1.0
        settings = {"waste": 1.0} if category in PASCAL else {}
        result += [
            make.arm(UNSEEN, training, make.config(names, share, **settings), (category,))
            for training, names in ((OTHERS, others), (ITSELF, (category,)))
        ]  # fmt: skip
    return result


def _rigs(make: _Make, there: Iterable[str]) -> list[Arm]:
    return [
        make.arm(RIGS, training, make.config(names, share), pair)
        for pair, share in rig_pairs(there).items()
        for training, names in ((pair[0], pair[:1]), (pair[1], pair[1:]), (" + ".join(pair), pair))
    ]  # fmt: skip


def _imbalance(make: _Make, there: Iterable[str]) -> list[Arm]:
    return [
        make.arm(IMBALANCE, training, make.config(names), names)
        for rare, huge in rare_pairs(there) for training, names in ((ITSELF, (rare,)), (f"with {huge}", (rare, huge)))
    ]  # fmt: skip


def _together(make: _Make, there: Iterable[str]) -> list[Arm]:
    result = []
    sets = ((cads(there), CADS, {"waste": 1.0}), ((*animals(there), people(there)), 1.0, {}))
    for names, share, settings in sets:
        result += [make.arm(TOGETHER, ITSELF, make.config((name,), share, **settings), (name,)) for name in names]
        result.append(make.arm(TOGETHER, ALL, make.config(names, share, combined=True, **settings), names))
    return result


def _alignment(make: _Make, there: Iterable[str]) -> list[Arm]:
    names = (people(there),)
    off = {"procrustes": False}
    return [
        make.arm(ALIGNMENT, training, make.config(names), names, **changes)
        for training, changes in (("aligned", {}), ("camera frame, no alignment", off))
    ]


def _object_info(make: _Make, there: Iterable[str]) -> list[Arm]:
    names = cads(there)
    combined = make.config(names, CADS, combined=True, waste=1.0)
    alone = replace(combined, steps=max(1, round(CADS * make.size.steps)))
    return [
        make.arm(OBJECT_INFO, "no object info", combined, names, graph=False),
        make.arm(OBJECT_INFO, "edges as object info", combined, names),
        make.arm(OBJECT_INFO, "no object info", combined, names, C3DPO_ALL, object_info=False),
        make.arm(OBJECT_INFO, "own places as object info", combined, names, C3DPO_ALL),
        make.arm(OBJECT_INFO, "a network each", alone, names, C3DPO),
    ]


def _embedding(make: _Make, there: Iterable[str]) -> list[Arm]:
    linear = {"embedding": "linear"}
    return [
        make.arm(EMBEDDING, f"{kind}, width {width}", make.config((HIPPO,)), (HIPPO,), width=width, **changes)
        for width in make.size.widths for kind, changes in (("tpe", {}), ("linear", linear))
    ]  # fmt: skip


def _viewpoint(make: _Make, there: Iterable[str]) -> list[Arm]:
    return [make.arm(VIEWPOINT, "dogs, cats and tigers", make.config(QUADRUPEDS, combined=True), (TIGER,))]


def _thirty(make: _Make, there: Iterable[str]) -> list[Arm]:
    names = tuple(name for name in synthetic.categories() if rigs.get(name).edges)
    count = min(FRAMES, max(10, 4 * make.size.steps))
    config = make.config(names, combined=True, count=count, test_views=FEW_VIEWS)
    return [make.arm(THIRTY, ALL, config, names)]
