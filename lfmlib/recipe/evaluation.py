"""What shape models get right by themselves: every stage of a wake phase against the truth of the test views."""

from collections.abc import Sequence
from typing import Any

import torch

from lfmlib import evaluation, experiments
from lfmlib.data.views import visible_or_all
from lfmlib.recipe.dreams import lift
from lfmlib.recipe.wake import wake_all
from lfmlib.run_views import measuring_views
from lfmlib.runs import RunConfig, RunData
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
    root = str((store or RunStore()).root)
    return experiments.spread(_rows, [(config, root) for config in configs], workers)


@torch.no_grad()
def _rows(config: RunConfig, root: str) -> list[dict[str, Any]]:
    run_data = RunData.of(config)
    result = []
    for shapes, woken in zip(run_data.test, wake_all(config, run_data, RunStore(root)), strict=True):
        views = measuring_views(config, (shapes,))
        for stage, model in zip(woken.record["stages"], woken.candidates, strict=True):
            P = lift(model, views.X, visible_or_all(views.visible, views.X))
            found = evaluation.errors(P, views, (shapes,))[0]
            result.append({
                "data": shapes.tag, "category": shapes.rig.name, "seed": config.seed, "steps": stage["steps"],
                "seconds": woken.record["seconds"], "device": "cpu",
                **{name: found[name] for name in experiments.ERRORS}, "mirror_mistakes": found["mirror_mistakes"],
                **{name: stage[name] for name in ("stage", "components", "likelihood", "held_out", "chosen")},
                "pictures": woken.record["pictures"], "run": woken.record["id"],
            })  # fmt: skip
    return result
