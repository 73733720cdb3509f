"""Runs of the baselines: trained on a run's own pictures, measured on its test views, kept in the run store."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from lfmlib import experiments, metrics, provenance
from lfmlib.baselines.c3dpo_training import C3DPOBaseline
from lfmlib.baselines.fitting import fit
from lfmlib.baselines.interface import snapped
from lfmlib.baselines.paul import PAUL
from lfmlib.data.batches import ViewSampler, evaluation_views
from lfmlib.environment import environment
from lfmlib.recipe.mlp import DreamtMLP
from lfmlib.recipe.sleep import DreamSampler
from lfmlib.recipe.wake import wake_all
from lfmlib.runs import FIXED_VIEW_SEED, TEST_SEED, RunConfig, RunData
from lfmlib.store import RunStore

FORMAT = 1  # part of a run's id
C3DPO, PAUL_NAME, MLP = "c3dpo", "paul", "recipe-mlp"
METHODS = (C3DPO, PAUL_NAME, MLP)
# chosen on human17_cmu by the loss of held-out pictures, width for a CPU's sake
SETTINGS: dict[str, dict[str, Any]] = {
    C3DPO: {"lr": 3e-3, "basis": 10, "width": 256, "blocks": 2},
    PAUL_NAME: {"lr": 3e-3, "code": 8, "width": 256, "blocks": 2},
    MLP: {"lr": 3e-3, "width": 512, "blocks": 2},
}


def rows(
    jobs: Sequence[tuple[str, RunConfig]], workers: int | None = None, store: RunStore | None = None
) -> list[dict[str, Any]]:
    """Result rows of baselines; those in the store are not trained again.

    Args:
        jobs: method, and a run of one category whose pictures, batch, steps, seed and test views it shares.
        workers: processes; None: one per usable core; 0: this process.
        store: where the runs live; None: the default store.
    """
    store = store or RunStore()
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    if workers == 0:
        return [_row(*job, str(store.root)) for job in jobs]
    with environment(experiments.WORKER_ENVIRONMENT), ProcessPoolExecutor(
        min(workers, max(1, len(jobs))), get_context("spawn")
    ) as pool:
        return list(pool.map(_row, *zip(*jobs, strict=True), [str(store.root)] * len(jobs)))


def baseline_id(method: str, config: RunConfig, run_data: RunData) -> str:
    """Name of a baseline's run: a hash of method, settings, data and the run's own settings that it shares."""
    shared = ("categories", "cameras", "steps", "batch", "views", "missing", "self_occlusion", "seed", "test_views")
    shared += ("recipe",) if method == MLP else ()
    content = config.as_dict(complete=True)
    text = [FORMAT, method, SETTINGS[method], {name: content[name] for name in shared}, run_data.description()]
    return f"{method}-" + hashlib.sha256(json.dumps(text, sort_keys=True).encode()).hexdigest()[:16]


def _row(method: str, config: RunConfig, root: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    store, run_data = RunStore(root), RunData.of(config)
    name = baseline_id(method, config, run_data)
    record = store.record(name) or _train(name, method, config, run_data, store)
    return record["row"] | {"run": name}


def _draw(method: str, config: RunConfig, run_data: RunData, store: RunStore) -> Callable:
    """What a method trains on: the run's pictures, or pictures of what its recipe dreams."""
    if method == MLP:
        return DreamSampler(wake_all(config, run_data, store), run_data.train).draw_with_truth
    fixed = torch.Generator().manual_seed(FIXED_VIEW_SEED + config.seed) if config.views == "fixed" else None
    pictured = run_data.pictured(config.views)
    return ViewSampler(pictured, config.cameras, config.missing, config.self_occlusion, fixed).draw


def _train(name: str, method: str, config: RunConfig, run_data: RunData, store: RunStore) -> dict[str, Any]:
    started = time.monotonic()
    settings = dict(SETTINGS[method])
    lr = settings.pop("lr")
    generator = torch.Generator().manual_seed(config.seed)
    (shapes,), (rig,) = run_data.test, (run_data.train[0].rig,)
    make = {PAUL_NAME: PAUL, C3DPO: C3DPOBaseline, MLP: DreamtMLP}[method]
    network = make((rig.n,) if method == C3DPO else rig.n, generator, **settings)
    curve = fit(
        network, _draw(method, config, run_data, store), config.steps, batch=config.batch, lr=lr, seed=config.seed
    )  # fmt: skip
    views = evaluation_views(
        (shapes,), config.cameras, config.test_views, TEST_SEED + config.seed, config.missing, config.self_occlusion
    )  # fmt: skip
    P = snapped(views.X, network.lift(views.X, views.visible), views.visible)
    found = metrics.evaluate(
        P, views.Y, views.known, views.category, radius=[shapes.radius], mm=[shapes.rig.mm], names=[rig.name]
    )  # fmt: skip
    (errors,) = (r for r in found if r["category"] == rig.name)
    row = {
        "data": shapes.tag, "category": rig.name, "method": method, "seed": config.seed, "steps": config.steps,
        "seconds": round(time.monotonic() - started, 1), "device": "cpu",
        **{key: errors[key] for key in experiments.ERRORS}, "mirror_mistakes": errors["mirror_mistakes"],
    }  # fmt: skip
    record = {"id": name, "settings": SETTINGS[method], "row": row, "provenance": provenance.commit()}
    return store.finish(name, dict(network.state_dict()), {}, [curve], record)
