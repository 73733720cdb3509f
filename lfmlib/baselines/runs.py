"""Runs of the baselines: trained on a run's own pictures, measured on its test views, kept in the run store."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from lfmlib import evaluation, experiments, provenance
from lfmlib.baselines.c3dpo_training import C3DPOBaseline
from lfmlib.baselines.fitting import fit
from lfmlib.baselines.interface import snapped
from lfmlib.baselines.paul import PAUL
from lfmlib.files import short_hash
from lfmlib.recipe.mlp import DreamtMLP
from lfmlib.recipe.sleep import DreamSampler
from lfmlib.recipe.wake import wake_all
from lfmlib.run_views import measuring_views, training_views
from lfmlib.runs import RunConfig, RunData
from lfmlib.store import RunStore

FORMAT = 2  # part of a run's id
C3DPO, PAUL_NAME, MLP = "c3dpo", "paul", "recipe-mlp"
METHODS = (C3DPO, PAUL_NAME, MLP)
# chosen on human17_cmu by the loss of held-out pictures, width for a CPU's sake
SETTINGS: dict[str, dict[str, Any]] = {
    C3DPO: {"lr": 3e-3, "basis": 10, "width": 256, "blocks": 2},
    PAUL_NAME: {"lr": 3e-3, "code": 8, "width": 256, "blocks": 2},
    MLP: {"lr": 3e-3, "width": 512, "blocks": 2},
}


def records(
    jobs: Sequence[tuple[str, RunConfig]], workers: int | None = None, store: RunStore | None = None
) -> list[dict[str, Any]]:
    """Records of baselines, each with its result row; those in the store are not trained again.

    Args:
        jobs: method, and a run of one category whose pictures, batch, steps, seed and test views it shares.
        workers: processes; None: one per usable core; 0: this process.
        store: where the runs live; None: the default store.
    """
    root = str((store or RunStore()).root)
    return experiments.spread(_records, [(*job, root) for job in jobs], workers)


def rows(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Result rows of records."""
    return [record["row"] | {"run": record["id"]} for record in found]


def baseline_id(method: str, config: RunConfig, run_data: RunData) -> str:
    """Name of a baseline's run: a hash of method, settings, data and the run's own settings that it shares."""
    content = [FORMAT, method, SETTINGS[method], _shared(method, config), run_data.description()]
    return f"{method}-{short_hash(content)}"


def _shared(method: str, config: RunConfig) -> dict[str, Any]:
    """The run's settings that a baseline takes over."""
    names = ("categories", "cameras", "count", "data_seed", "steps", "batch", "views", "missing", "self_occlusion",
             "seed", "test_views", "fold", "share")  # fmt: skip
    content = config.as_dict(complete=True)
    return {name: content[name] for name in (*names, *(("recipe",) if method == MLP else ()))}


def _records(method: str, config: RunConfig, root: str) -> list[dict[str, Any]]:
    store, run_data = RunStore(root), RunData.of(config)
    name = baseline_id(method, config, run_data)
    return [store.record(name) or _train(name, method, config, run_data, store)]


def _draw(method: str, config: RunConfig, run_data: RunData, store: RunStore) -> Callable:
    """What a method trains on: the run's pictures, or pictures of what its recipe dreams."""
    if method == MLP:
        return DreamSampler(wake_all(config, run_data, store), run_data.train).draw_with_truth
    return training_views(config, run_data.pictured(config.views)).draw


def _train(name: str, method: str, config: RunConfig, run_data: RunData, store: RunStore) -> dict[str, Any]:
    started = time.monotonic()
    settings = dict(SETTINGS[method])
    lr = settings.pop("lr")
    generator = torch.Generator().manual_seed(config.seed)
    (shapes,), (rig,) = run_data.test, (run_data.train[0].rig,)
    make = {PAUL_NAME: PAUL, C3DPO: C3DPOBaseline, MLP: DreamtMLP}[method]
    network = make((rig.n,) if method == C3DPO else rig.n, generator, **settings)
    draw = _draw(method, config, run_data, store)
    curve = fit(network, draw, config.steps, batch=config.batch, lr=lr, seed=config.seed)
    views = measuring_views(config, run_data.test)
    found = evaluation.errors(snapped(views.X, network.lift(views.X, views.visible), views.visible), views, (shapes,))
    seconds = time.monotonic() - started
    row = {
        "data": shapes.tag, "category": rig.name, "method": method, "seed": config.seed, "steps": config.steps,
        "seconds": round(seconds, 1), "device": "cpu", **{key: found[0][key] for key in experiments.ERRORS},
        "mirror_mistakes": found[0]["mirror_mistakes"],
    }  # fmt: skip
    record = {
        "id": name, "status": "done", "config": {"method": method, **SETTINGS[method], **_shared(method, config)},
        "data": run_data.description(), "parameters": sum(p.numel() for p in network.parameters()), "row": row,
        "provenance": provenance.of_run(seconds),
    }  # fmt: skip
    return store.finish(name, dict(network.state_dict()), {}, [curve], record)
