"""Measures the networks of `transfer`: each on all of its test categories, with the floors on the same views."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lfmlib import evaluation, experiments
from lfmlib.baselines import floors, runs
from lfmlib.baselines.methods import C3DPO, LFM
from lfmlib.data.views import EvaluationViews, visible_or_all
from lfmlib.objectives.plausibility import resized
from lfmlib.rigs import Rig
from lfmlib.run_views import measuring_views
from lfmlib.runs import RunConfig, RunData
from lfmlib.store import RunStore
from lfmlib.studies.transfer import OTHERS, UNSEEN, Arm

if TYPE_CHECKING:
    import pandas

TRAINING_MEAN = "mean of the training categories"


@dataclass(frozen=True)
class Study:
    """Result rows with their floors, and what each run trained on."""

    table: "pandas.DataFrame"
    records: list[dict[str, Any]]


def measure(arms: Sequence[Arm], workers: int | None = None, store: RunStore | None = None) -> Study:
    """Trains what is missing and measures each network on its test categories, all on the same views."""
    import pandas

    store = store or RunStore()
    jobs = {repr((arm.method, arm.config, arm.changes)): (arm.method, arm.config, arm.changes) for arm in arms}
    records = runs.records(list(jobs.values()), workers, store)
    table = experiments.spread(_measured, [(arm, str(store.root)) for arm in arms], workers)
    tests = {repr(key): key for arm in arms for key in _tests(arm)}
    table += experiments.spread(_floors, list(tests.values()), workers)
    frame = pandas.DataFrame(table).drop_duplicates(["part", "category", "method", "seed"])  # a rig may be in two pairs
    front = ["data", "part", "category", "method", "training", "seed", *experiments.ERRORS, "mirror_mistakes"]
    return Study(frame[front + [c for c in frame.columns if c not in front]], experiments.run_summaries(records))


def lifted(networks: Sequence[Any], arm: Arm, name: str, views: EvaluationViews, rig: Rig) -> Tensor:
    """A network's shapes of the views of one category, which it need not know where it is 3D-LFM; [B, N, 3]."""
    if arm.method == LFM:
        return networks[0].with_rigs([rig]).lift(views.X, views.visible)
    number = arm.config.categories.index(name)
    if arm.method == C3DPO:
        return networks[number].lift(views.X, views.visible)
    widest = max(s.rig.n for s in RunData.of(arm.config).train)
    seen = resized(visible_or_all(views.visible, views.X)[..., None], widest)[..., 0]
    X = resized(views.X, widest)
    return networks[0].lift(X, seen, torch.full((len(X),), number))[:, : rig.n]


def _measured(arm: Arm, root: str) -> list[dict[str, Any]]:
    networks = runs.networks(arm.method, arm.config, RunStore(root), **arm.changes)
    result = []
    for name in arm.tested:
        views, data = tested_on(arm.config, name)
        P = lifted(networks, arm, name, views, data.test[0].rig)
        result.append(row(P, views, data, arm.config, {"part": arm.part, "method": arm.name, "training": arm.training}))
        result[-1] |= {"together": len(arm.config.categories), "steps": arm.config.steps}
    return result


def tested_on(config: RunConfig, name: str) -> tuple[EvaluationViews, RunData]:
    """The views that every network of a seed is tested on for a category, and that category's shapes."""
    alone = replace(config, categories=(name,))
    data = RunData.of(alone)
    return measuring_views(alone, data.test), data


def row(P: Tensor, views: EvaluationViews, data: RunData, config: RunConfig, columns: dict[str, Any]) -> dict[str, Any]:
    """A result row: the errors of shapes on views of one category."""
    found = evaluation.errors(P, views, data.test)[0]
    numbers = {key: found[key] for key in (*experiments.ERRORS, "mirror_mistakes")}
    tag, category = data.test[0].tag, data.test[0].rig.name
    return {"data": tag, "category": category, **columns, "seed": config.seed, **numbers}


def _tests(arm: Arm) -> list[tuple[RunConfig, str, str, tuple[str, ...]]]:
    """What the floors of an arm depend on: the views, the part, the category, and what others it may be learnt from."""
    others = arm.config.categories if (arm.part, arm.training) == (UNSEEN, OTHERS) else ()
    same = {key: getattr(arm.config, key) for key in ("seed", "count", "test_views")}
    views = RunConfig(("any",), **same)
    return [(views, arm.part, name, others) for name in arm.tested]


def _floors(config: RunConfig, part: str, name: str, others: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows of the flat answer and of mean shapes: the category's own, and, if they have its keypoints, the others'."""
    views, data = tested_on(config, name)
    if others:
        mean = mean_shape(others, config.count)
        same = mean is not None and RunData.of(replace(config, categories=others[:1])).train[0].rig.keypoints
        shapes = {TRAINING_MEAN: mean} if same == data.test[0].rig.keypoints else {}
    else:
        shapes = {"mean": mean_shape((name,), config.count)}
    answers = {key: floors.constant(shape, len(views.X)) for key, shape in shapes.items()}
    if not others:
        answers["flat"] = floors.flat(views.X)
    return [
        row(P, views, data, config, {"part": part, "method": method, "training": ""}) for method, P in answers.items()
    ]


@lru_cache(maxsize=256)
def mean_shape(names: tuple[str, ...], count: int, most: int = 300) -> Tensor | None:
    """Mean shape of some categories in RMS radii, all weighing alike; None where their keypoints differ."""
    sets = [RunData.of(RunConfig((name,), count=count)).train[0] for name in names]
    if len({s.rig.keypoints for s in sets}) > 1:
        return None
    sets = [s.thinned(most) for s in sets]
    points, known = (torch.cat([getattr(s, part) for s in sets]) for part in ("points", "known"))
    shapes, _ = floors.unit(points.double(), known)
    return floors.mean_shape(shapes.float(), known)
