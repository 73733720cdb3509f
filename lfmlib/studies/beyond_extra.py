"""Beyond the paper, taken apart: the recipe's parts, other cameras, hidden keypoints, where Eq. 1 alone ends up."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from lfmlib import evaluation, experiments, geometry
from lfmlib.baselines import floors
from lfmlib.data.views import CameraConfig, upright
from lfmlib.loading import load
from lfmlib.metrics import mirrored, pa_mpjpe
from lfmlib.model import LifterConfig
from lfmlib.objectives.fitting import read_out
from lfmlib.recipe import evaluation as wake_runs
from lfmlib.recipe.dreams import camera_angles
from lfmlib.recipe.wake import wake_id
from lfmlib.run_views import measuring_views
from lfmlib.runs import RunConfig, RunData, run_id
from lfmlib.store import RunStore
from lfmlib.studies import beyond
from lfmlib.studies.beyond import RECIPE, Arm, Size

if TYPE_CHECKING:
    import pandas

PLAIN = "as in the tables"
WORLDS = {
    PLAIN: CameraConfig(),
    "elevation up to 60": CameraConfig(elevation=60),
    "all around, any roll": CameraConfig(elevation=90, roll=180),
    "frontal, azimuth up to 45": CameraConfig(azimuth=45),
}
PHASE_WEIGHTS = (1.0, 3.0, 10.0, 30.0)
PHASE_INJECTIONS = ("input", "every")


def dissected(size: Size) -> tuple[str, ...]:
    """The category that is taken apart: people."""
    return tuple(n for n in beyond.categories(size) if n in ("human17_cmu", "synthetic_body17")) or beyond.SMOKE


def variants(size: Size) -> dict[str, dict[str, Any]]:
    """The recipe with one part changed: fields of RunConfig by the part's name."""
    same = beyond.recipe(dissected(size), 0, size)
    part = lambda **changes: {"recipe": beyond.recipe_config(size, **changes)}  # noqa: E731
    return {
        "rigid shape only": part(gaussian=0, components=()),
        "one Gaussian": part(components=()),
        "posterior means, no samples": part(samples=0),
        "a quarter imagined": part(imagined=0.25),
        "with Eq. 1 beside it": {"objective": replace(same.objective, reprojection=1.0)},
        "encoding in every layer": {"model": replace(same.model, injection="every")},
        "no encoding": {"model": replace(same.model, injection="none")},
        "no mean shape": {"model": replace(same.model, mean_shape=False)},
        "fresh views": {"views": "fresh"},
        # each picture shows other keypoints and needs factorisations of its own: a tenth of the pictures, one Gaussian
        "30 % of keypoints hidden": {"missing": 0.3} | part(evidence=max(size.evidence // 10, 500), components=()),
    }


def ablation_arms(size: Size) -> list[Arm]:
    """Every variant with every seed."""
    return [
        Arm(name, f"{RECIPE}: {what}", beyond.recipe((name,), seed, size, **changes))
        for name in dissected(size) for what, changes in variants(size).items() for seed in range(size.seeds)
    ]  # fmt: skip


def phase_arms(size: Size) -> list[Arm]:
    """Eq. 1 alone at every encoding weight, at the input and in every layer: one seed, long curves."""
    return [
        Arm(name, f"{injection}, weight {alpha:g}", beyond.literal(
            (name,), 0, size, model=LifterConfig(injection=injection, alpha=alpha), views="fresh",
            evaluations=min(12, size.steps), steps=size.steps,
        ))
        for name in dissected(size) for injection in PHASE_INJECTIONS for alpha in PHASE_WEIGHTS
    ]  # fmt: skip


@dataclass(frozen=True)
class Extra:
    """Rows of the ablation, curves of the phase diagram, shape models under other cameras, errors in detail."""

    ablation: "pandas.DataFrame"
    phase: "pandas.DataFrame"
    cameras: "pandas.DataFrame"
    details: "pandas.DataFrame"
    records: list[dict[str, Any]]


def measure(size: Size, workers: int | None = None, store: RunStore | None = None) -> Extra:
    """Trains what is missing and gathers the rows."""
    import pandas

    store = store or RunStore()
    parts, phases = ablation_arms(size), phase_arms(size)
    records = experiments.run_grid([arm.config for arm in parts + phases], workers, store)
    ablation = [row for arm, record in zip(parts, records, strict=False) for row in beyond.recipe_rows(arm, record)]
    phase = [
        row for arm, record in zip(phases, records[len(parts):], strict=True)
        for row in experiments.curve_rows(store, record, method=arm.method)
    ]  # fmt: skip
    cameras, wakes = camera_rows(size, workers, store)
    return Extra(
        pandas.DataFrame(ablation), pandas.DataFrame(phase), cameras,
        details(beyond.recipe(dissected(size), 0, size), store), [*experiments.run_summaries(records), *wakes],
    )  # fmt: skip


def camera_rows(
    size: Size, workers: int | None, store: RunStore
) -> tuple["pandas.DataFrame", list[dict[str, Any]]]:
    """Shape models (one Gaussian) learned from, and tested on, pictures by other cameras than the recipe expects.

    Returns:
        Their rows, and their records.
    """
    import pandas

    one = beyond.recipe_config(size, components=())  # cameras from everywhere triple the work; one Gaussian shows it
    jobs = [
        (world, beyond.recipe((name,), seed, size, cameras=cameras, recipe=one))
        for name in dissected(size) for world, cameras in WORLDS.items() for seed in range(size.seeds)
    ]  # fmt: skip
    found = wake_runs.rows([config for _, config in jobs], workers, store)
    world = {wake_id(config, RunData.of(config), 0): name for name, config in jobs}
    rows = [{**row, "method": beyond.SHAPE_MODEL, "cameras": world[row["run"]]} for row in found if row["chosen"]]
    return pandas.DataFrame(rows), [record for row in rows if (record := store.record(row["run"]))]


def selection(candidates: "pandas.DataFrame") -> "pandas.DataFrame":
    """Rank correlation (Spearman) of held-out likelihood and true error over the shape models of each category.

    The score sees pictures only. -1: the likelier model is always the better one.
    """
    import pandas

    rows = []
    for name, models in candidates.groupby("category", sort=False):
        rows.append({
            "category": name, "models": len(models),
            "rank correlation": models["held_out"].rank().corr(models["flip"].rank()),
        })  # fmt: skip
    frame = pandas.DataFrame(rows)
    ranked = candidates.groupby("category")[["held_out", "flip"]].rank(pct=True)
    total = {"category": "all, ranked within their category", "models": len(candidates),
             "rank correlation": ranked["held_out"].corr(ranked["flip"])}  # fmt: skip
    return pandas.concat([frame, pandas.DataFrame([total])], ignore_index=True)


@torch.no_grad()
def details(config: RunConfig, store: RunStore) -> "pandas.DataFrame":
    """One row per test view and keypoint of a finished run: its error, the azimuth, whether the shape is mirrored.

    `error` is under O(3), in % of the RMS radius; `mirrored` says that the mirror image fits this sample better than
    the category's own side does.
    """
    import pandas

    data = RunData.of(config)
    lifter = load(store.folder(run_id(config, data)) / "model.safetensors").lifter
    (shapes,) = data.test
    views = measuring_views(config, data.test)
    Y = lifter(views.X, views.visible, views.category)
    P = read_out(views.X, Y, evaluation.fit(views.X, Y, views.visible, "exact"), views.visible, "snap")
    either = torch.stack([pa_mpjpe(p, views.Y, views.known, mirror="so3") for p in (P, mirrored(P))])  # [2, B]
    side = int(either[1].mean() < either[0].mean())
    best = torch.where((either[1] < either[0])[:, None, None], mirrored(P), P)
    alignment = geometry.align(best, views.Y, views.known, mirror="so3")
    error = (alignment.apply(best) - views.Y).norm(dim=-1) * (100 / shapes.radius)  # [B, N]
    mean = floors.mean_shape(shapes.thinned(500).points, shapes.known[:1].expand(min(500, len(shapes)), -1))
    to_mean = geometry.align(views.Y, (mean @ upright(shapes.rig.up).T).expand_as(views.Y), views.known, mirror="so3")
    azimuth = camera_angles(to_mean.R.mT)[0].rad2deg()
    flipped = either[1 - side] < either[side]
    return pandas.DataFrame([
        {"view": b, "azimuth": float(azimuth[b]), "keypoint": shapes.rig.keypoints[i], "error": float(error[b, i]),
         "mirrored": bool(flipped[b])}
        for b in range(len(P)) for i in range(shapes.rig.n) if bool(views.known[b, i])
    ])  # fmt: skip

