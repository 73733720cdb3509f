"""Runs of the baselines: trained on a run's own pictures, measured on its test views, kept in the run store."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lfmlib import evaluation, experiments, provenance
from lfmlib.baselines.fitting import fit
from lfmlib.baselines.interface import heldout_loss, snapped
from lfmlib.baselines.linear_shapes import LinearShapes
from lfmlib.baselines.methods import DREAMS, TRUTH, Method, method
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.views import EvaluationViews, Views
from lfmlib.files import short_hash
from lfmlib.objectives.plausibility import resized
from lfmlib.recipe.sleep import DreamSampler
from lfmlib.recipe.wake import wake_all
from lfmlib.run_views import measuring_views, training_views
from lfmlib.runs import PHOTOGRAPHS, VALIDATION_SEED, RunConfig, RunData
from lfmlib.store import RunStore, read_tensors

FORMAT = 3  # part of a run's id
AS_GIVEN, SNAP = "as given", "snap"
Job = tuple[str, RunConfig] | tuple[str, RunConfig, dict[str, Any]]  # method, run, settings that differ


def records(jobs: Sequence[Job], workers: int | None = None, store: RunStore | None = None) -> list[dict[str, Any]]:
    """Records of baselines, each with its result rows; those in the store are not trained again.

    Args:
        jobs: method, a run whose pictures, batch, steps, seed and test views it shares, and, of an ablation, the
            settings of the method that differ. A method that knows one category trains a network for each, and each
            gets all of the steps.
        workers: processes; None: one per usable core; 0: this process.
        store: where the runs live; None: the default store.
    """
    root = str((store or RunStore()).root)
    return experiments.spread(_records, [(*job[:2], root, *job[2:]) for job in jobs], workers)


def rows(found: Sequence[dict[str, Any]], read_out: str = SNAP) -> list[dict[str, Any]]:
    """Result rows of records, of one read-out: shapes "as given", or with x and y as observed ("snap")."""
    return [row | {"run": record["id"]} for record in found for row in record["rows"] if row["read_out"] == read_out]


def networks(name: str, config: RunConfig, store: RunStore | None = None, **changes: Any) -> list[Any]:
    """The trained networks of a baseline, in evaluation mode: one, or one per category.

    Args:
        name, config: of the run; it is trained where the store does not have it.
        store: where the runs live; None: the default store.
        changes: settings of the method that differ.
    """
    store, run_data, known = store or RunStore(), RunData.of(config), method(name, **changes)
    record = _records(name, config, str(store.root), changes)[0]
    tensors, _ = read_tensors(store.folder(record["id"]) / "model.safetensors")
    result = []
    for number, sets in enumerate(_groups(known, run_data)):
        network = known.network([s.rig for s in sets], torch.Generator().manual_seed(config.seed))
        _restore(network, {k.split(".", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{number}.")})
        result.append(network)
    return result


def baseline_id(name: str, config: RunConfig, run_data: RunData, **changes: Any) -> str:
    """Name of a baseline's run: a hash of method, settings, data and the run's own settings that it shares."""
    known = method(name, **changes)
    content = [FORMAT, name, known.settings, known.lr, _shared(name, config), run_data.description()]
    return f"baseline-{short_hash(content)}"


def search(name: str, config: RunConfig, store: RunStore | None = None) -> list[dict[str, Any]]:
    """Every learning rate of a method: its own loss on validation pictures that training has not seen.

    No 3D enters, but for methods whose loss is in 3D.

    Args:
        name: a method with `rates`.
        config: a run of one category, whose pictures, batch, steps and seed it shares.
        store: where the losses are kept, rate by rate; None: the default store.
    """
    run_data, known, store = RunData.of(config), method(name), store or RunStore()
    views = measuring_views(config, run_data.validation, first_seed=VALIDATION_SEED)
    pictures = views if known.sees == TRUTH else Views(views.X, views.visible, views.category)
    result = []
    for lr in known.rates:
        run = baseline_id(name, config, run_data, lr=lr).replace("baseline-", "search-")
        if (record := store.record(run)) is None:
            started = time.monotonic()
            network, curve = _trained(replace(known, lr=lr), config, run_data.pictured(config.views), None)
            row = {"method": name, "lr": lr, "steps": config.steps, "seed": config.seed,
                   "held-out loss": heldout_loss(network, pictures, config.seed)}  # fmt: skip
            record = {"id": run, "row": row, "provenance": provenance.of_run(time.monotonic() - started)}
            record = store.finish(run, _state(network), {}, [curve], record)
        result.append(record["row"])
    return result


def _shared(name: str, config: RunConfig) -> dict[str, Any]:
    """The run's settings that a baseline takes over."""
    names = ("categories", "cameras", "count", "data_seed", "steps", "batch", "views", "missing", "self_occlusion",
             "seed", "test_views", "fold", "share", "temperature", "waste")  # fmt: skip
    content = config.as_dict(complete=True)
    return {key: content[key] for key in (*names, *(("recipe",) if method(name).sees == DREAMS else ()))}


def _records(name: str, config: RunConfig, root: str, changes: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    store, run_data, changes = RunStore(root), RunData.of(config), changes or {}
    if run_data.pictures_alone:
        raise ValueError(f"{', '.join(config.categories)}: 2D keypoints alone; baselines are there to be measured")
    run = baseline_id(name, config, run_data, **changes)
    return [store.record(run) or _train(run, name, method(name, **changes), config, run_data, store)]


def _groups(known: Method, run_data: RunData) -> list[tuple[ShapeSet, ...]]:
    """The categories that each network learns."""
    return [run_data.train] if known.several else [(s,) for s in run_data.train]


def _trained(
    known: Method, config: RunConfig, pictured: Sequence[ShapeSet], dreams: Callable | None
) -> tuple[Any, dict[str, list]]:
    """A trained network, in evaluation mode, and its curve."""
    generator = torch.Generator().manual_seed(config.seed)
    network = known.network([s.rig for s in pictured], generator)
    sampler = training_views(config, pictured)
    if known.lr is None:
        shapes = len(pictured[0])
        again = PHOTOGRAPHS if config.views == "fresh" else 0  # a few CAD models are photographed many times
        frames = torch.arange(max(shapes, again)) % shapes
        views = sampler.views_of(frames, torch.zeros_like(frames), generator)
        return network.fit(views.X, views.visible, generator), {}
    draw = dreams or (sampler.draw_with_truth if known.sees == TRUTH else sampler.draw)
    curve = fit(network, draw, config.steps, batch=config.batch, lr=known.lr, seed=config.seed)
    return network, curve


def _train(run: str, name: str, known: Method, config: RunConfig, run_data: RunData, store: RunStore) -> dict[str, Any]:
    started = time.monotonic()
    views, pictured = measuring_views(config, run_data.test), run_data.pictured(config.views)
    P, n_max = views.X.new_zeros(views.Y.shape), views.X.shape[1]
    tensors: dict[str, Tensor] = {}
    curves, size = [], 0
    for number, sets in enumerate(_groups(known, run_data)):
        mine = pictured if known.several else pictured[number : number + 1]
        dreams = None
        if known.sees == DREAMS:
            dreams = DreamSampler(wake_all(config, run_data, store)[number : number + 1], sets).draw_with_truth
        network, curve = _trained(known, config, mine, dreams)
        at = slice(None) if known.several else views.category == number
        P[at] = resized(_lifted(network, known, views, at, max(s.rig.n for s in sets)), n_max)
        state = _state(network)
        tensors |= {f"{number}.{key}": value for key, value in state.items()}
        curves.append(curve)
        size += sum(value.numel() for value in state.values())
    seconds = time.monotonic() - started
    record = {
        "id": run, "status": "done", "data": run_data.description(), "parameters": size,
        "config": {"method": name, "lr": known.lr, **known.settings, **_shared(name, config)},
        "rows": _rows(name, P, views, config, run_data, seconds), "provenance": provenance.of_run(seconds),
    }  # fmt: skip
    return store.finish(run, tensors, {}, curves, record)


def _lifted(network: Any, known: Method, views: EvaluationViews, at: Any, n: int) -> Tensor:
    X, visible = views.X[at, :n], None if views.visible is None else views.visible[at, :n]
    return network.lift(X, visible, views.category) if known.several else network.lift(X, visible)


def _rows(
    name: str, P: Tensor, views: EvaluationViews, config: RunConfig, run_data: RunData, seconds: float
) -> list[dict[str, Any]]:
    tag = "real" if any(s.tag == "real" for s in run_data.test) else "synthetic"
    return [
        {"data": tag, "category": found["category"], "method": name, "seed": config.seed, "steps": config.steps,
         "seconds": round(seconds, 1), "device": "cpu", "read_out": read_out,
         **{key: found[key] for key in experiments.ERRORS}, "mirror_mistakes": found["mirror_mistakes"]}
        for read_out, shapes in ((AS_GIVEN, P), (SNAP, snapped(views.X, P, views.visible)))
        for found in evaluation.errors(shapes, views, run_data.test)
    ]  # fmt: skip


def _state(network: Any) -> dict[str, Tensor]:
    if isinstance(network, nn.Module):
        return dict(network.state_dict())
    linear = network.linear
    return linear._asdict() | {"noise": linear.mean.new_tensor(linear.noise)}


def _restore(network: Any, tensors: dict[str, Tensor]) -> None:
    if isinstance(network, nn.Module):
        network.load_state_dict(tensors)
        network.train(False)
    else:
        network.linear = LinearShapes(**tensors | {"noise": float(tensors["noise"])})
