"""What shape models get right by themselves: every stage of a wake phase against the truth of the test views."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from lfmlib import experiments, metrics
from lfmlib.data.batches import evaluation_views
from lfmlib.data.views import visible_or_all
from lfmlib.environment import environment
from lfmlib.recipe.dreams import lift
from lfmlib.recipe.wake import wake_all
from lfmlib.runs import TEST_SEED, RunConfig, RunData
from lfmlib.store import RunStore


def rows(
    configs: Sequence[RunConfig], workers: int | None = None, store: RunStore | None = None
) -> list[dict[str, Any]]:
    """One row per run, category and stage: errors of the stage's shape model, and its held-out likelihood.

    Args:
        configs: runs with a recipe; only their wake phases are looked at, and computed where the store lacks them.
        workers: processes; None: one per usable core; 0: this process.
        store: where wake phases live; None: the default store.
    """
    store = store or RunStore()
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    if workers == 0:
        return [row for config in configs for row in _rows(config, str(store.root))]
    with environment(experiments.WORKER_ENVIRONMENT), ProcessPoolExecutor(
        min(workers, max(1, len(configs))), get_context("spawn")
    ) as pool:
        found = pool.map(_rows, configs, [str(store.root)] * len(configs))
        return [row for part in found for row in part]


@torch.no_grad()
def _rows(config: RunConfig, root: str) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    run_data = RunData.of(config)
    result = []
    for shapes, woken in zip(run_data.test, wake_all(config, run_data, RunStore(root)), strict=True):
        views = evaluation_views(
            (shapes,), config.cameras, config.test_views, TEST_SEED + config.seed, config.missing,
            config.self_occlusion,
        )  # fmt: skip
        for stage, model in zip(woken.record["stages"], woken.candidates, strict=True):
            P = lift(model, views.X, visible_or_all(views.visible, views.X))
            (found,) = (
                r for r in metrics.evaluate(
                    P, views.Y, views.known, views.category, radius=[shapes.radius], mm=[shapes.rig.mm],
                    names=[shapes.rig.name],
                ) if r["category"] == shapes.rig.name
            )  # fmt: skip
            result.append({
                "data": shapes.tag, "category": shapes.rig.name, "seed": config.seed, "steps": stage["steps"],
                "seconds": woken.record["seconds"], "device": "cpu",
                **{name: found[name] for name in experiments.ERRORS}, "mirror_mistakes": found["mirror_mistakes"],
                **{name: stage[name] for name in ("stage", "components", "likelihood", "held_out", "chosen")},
                "pictures": woken.record["pictures"], "run": woken.record["id"],
            })  # fmt: skip
    return result
