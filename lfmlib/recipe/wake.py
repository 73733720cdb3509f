"""The wake phase of a run: its pictures, its shape models and what they dream, kept in the run store."""

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lfmlib import handedness, provenance
from lfmlib.data.shapes import PICTURES, ShapeSet
from lfmlib.data.views import Views, visible_or_all
from lfmlib.files import short_hash
from lfmlib.recipe.dreams import dream, imagine
from lfmlib.recipe.evidence import Evidence
from lfmlib.recipe.learn import depth_ratio, learn, oriented
from lfmlib.recipe.shape_model import ShapeModel
from lfmlib.run_views import training_views
from lfmlib.runs import RunConfig, RunData
from lfmlib.store import RunStore, read_tensors

FORMAT = 2  # part of a wake phase's id: raise it when the same settings would give other dreams
PARTS = ("means", "covariances", "weights", "rotations", "cameras")
VOTERS = 500  # pictures whose dreams say whether the category came out mirrored
HELD_OUT = 500  # pictures that choose the number of Gaussians
EXPLODED = 6.0  # depth in widths beyond which a dream is not kept


@dataclass(frozen=True)
class Woken:
    """What a category's pictures are believed to show.

    Args:
        shapes: dreamt and imagined shapes, upright frame, unit RMS radius on average; [F, N, 3].
        azimuth, elevation: of each picture's camera, radians; [B].
        visible: what each picture shows; [B, N].
        model: the shape model.
        candidates: the shape model at the end of every stage.
        record: category, stages, doubts, share of dreams that were dropped, seconds.
    """

    shapes: Tensor
    azimuth: Tensor
    elevation: Tensor
    visible: Tensor
    model: ShapeModel
    candidates: tuple[ShapeModel, ...]
    record: dict[str, Any]


def wake_all(config: RunConfig, run_data: RunData, store: RunStore) -> tuple[Woken, ...]:
    """Wake phase of every category of a run, each on its own; what the store holds is not computed again."""
    store = RunStore(store.root)  # a worker's own store takes nothing but the runs that it has leased
    return tuple(_category(config, run_data, i, store) for i in range(len(run_data.train)))


def wake_id(config: RunConfig, run_data: RunData, index: int) -> str:
    """Name of a category's wake phase: a hash of the recipe, of the pictures and of the seed."""
    sets = (run_data.train[index], run_data.validation[index])
    return "wake-" + short_hash([
        FORMAT, asdict(config.recipe), sets[0].rig.name, sets[0].rig.handed, [s.fingerprint for s in sets],
        asdict(config.cameras), config.views, config.missing, config.self_occlusion, config.seed,
    ])  # fmt: skip


def _category(config: RunConfig, run_data: RunData, index: int, store: RunStore) -> Woken:
    name = wake_id(config, run_data, index)
    if (record := store.record(name)) is not None:
        tensors, _ = read_tensors(store.folder(name) / "model.safetensors")
        return _woken(tensors, record)
    rig, started = run_data.train[index].rig, time.monotonic()
    generator = torch.Generator().manual_seed(config.seed)
    pictures = training_pictures(config, run_data, index, generator)
    fresh = replace(config, views="fresh")
    other = training_views(fresh, run_data.validation[index : index + 1]).draw(HELD_OUT, generator)
    seen, others_seen = (visible_or_all(v.visible, v.X) for v in (pictures, other))
    learned = learn(pictures.X, seen, Evidence(other.X, others_seen), config.recipe, generator)
    mirrored = None
    if rig.handed is not None:
        few = Evidence(pictures.X, seen).head(VOTERS)
        mirrored = handedness.mirrored(dream(few, learned.model, 1, generator).shapes, rig)
        if mirrored and config.recipe.handed:
            learned = oriented(learned)
    evidence = Evidence(pictures.X, seen).head(max(1, config.recipe.evidence // rig.n))
    dreams = dream(evidence, learned.model, config.recipe.samples, generator)
    share = config.recipe.imagined
    imagined = imagine(learned.model, round(share / (1 - share) * len(dreams.shapes)), generator)
    shapes = torch.cat([dreams.shapes, imagined])
    kept = depth_ratio(shapes) <= EXPLODED
    shapes = shapes[kept] if bool(kept.any()) else learned.rigid.shape[None]
    record = {
        "id": name, "category": rig.name, "recipe": config.as_dict()["recipe"], "pictures": len(evidence),
        "stages": learned.stages, "doubts": list(learned.doubts), "mirrored": mirrored,
        "elevations": {f"{e:g}": s for e, s in zip(learned.grid.elevations, learned.grid.shares or (), strict=False)},
        "dropped": float((~kept).float().mean()), "seconds": round(sum(s["seconds"] for s in learned.stages), 2),
        "models": [{"noise": m.noise, "wobble": list(m.wobble)} for m in learned.candidates],
        "provenance": provenance.of_run(time.monotonic() - started),
    }  # fmt: skip
    tensors = {
        "shapes": shapes, "azimuth": dreams.azimuth, "elevation": dreams.elevation, "visible": evidence.visible,
    }  # fmt: skip
    for i, model in enumerate(learned.candidates):  # cloned: they share what later stages left as it was
        tensors |= {f"{i}.{part}": getattr(model, part).clone() for part in PARTS}
    return _woken(tensors, store.finish(name, tensors, {}, learned.stages, record))


def _woken(tensors: dict[str, Tensor], record: dict[str, Any]) -> Woken:
    models = [
        ShapeModel(**{part: tensors[f"{i}.{part}"] for part in PARTS}, noise=m["noise"], wobble=tuple(m["wobble"]))
        for i, m in enumerate(record["models"])
    ]
    parts = (tensors[part] for part in ("shapes", "azimuth", "elevation", "visible"))
    chosen = next(i for i, stage in enumerate(record["stages"]) if stage["chosen"])
    return Woken(*parts, models[chosen], tuple(models), record)


def training_pictures(config: RunConfig, run_data: RunData, index: int, generator: torch.Generator) -> Views:
    """The pictures of a category that a run may see, in random order: with fixed views one per frame, and no more."""
    wanted = max(1, config.recipe.evidence // run_data.train[index].rig.n)
    pictured = run_data.pictured(config.views)[index]
    sampler = training_views(config, (pictured,))
    if config.views == "fresh":
        return sampler.draw(wanted, generator)
    frames = torch.randperm(len(pictured), generator=generator)[:wanted]
    views = sampler.views_of(frames, torch.zeros_like(frames), generator)
    return Views(views.X, views.visible, views.category)


def dreamt_set(woken: Woken, like: ShapeSet) -> ShapeSet:
    """Dreams as a set of shapes, in the upright frame; keypoints that no picture shows are not known."""
    frames = len(woken.shapes)
    known = woken.visible.any(0).expand(frames, -1).clone()
    return ShapeSet(
        replace(like.rig, up="+y"), woken.shapes, known, torch.zeros(frames, dtype=torch.int8),
        torch.zeros(frames, dtype=torch.int64), "real" if like.tag == PICTURES else like.tag, woken.record["id"],
    )  # fmt: skip
