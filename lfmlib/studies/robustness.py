"""Sec. 4.4: trained lifters on disturbed pictures: noise, a detector's errors, hidden keypoints, perspective.

Nothing is trained for the purpose but the recipe's network that dreams with hidden keypoints: runs are those of
notebooks 05 and 12. All lifters, and the floors, see the same disturbed pictures of the same views.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib import experiments, metrics
from lfmlib.baselines import floors
from lfmlib.data import detectors
from lfmlib.data.batches import evaluation_views
from lfmlib.data.detectors import Detections, DetectorNoise
from lfmlib.data.formats import match_rig
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.views import EvaluationViews, normalise, visible_or_all
from lfmlib.geometry import centred
from lfmlib.lifting import lift, load
from lfmlib.rigs import Rig
from lfmlib.runs import TEST_SEED, RunConfig, RunData, run_id
from lfmlib.store import RunStore
from lfmlib.studies import beyond, literal
from lfmlib.studies.beyond import RECIPE, TWIN
from lfmlib.studies.literal import LITERAL

if TYPE_CHECKING:
    import pandas

WEIGHTED, HIDING = "every layer, weight 10", "recipe, dreams hide 30 %"
METHODS = (LITERAL, WEIGHTED, RECIPE, HIDING, TWIN)
FLOORS = ("flat", "mean")
READ_OUT = {LITERAL: "fit", WEIGHTED: "fit"}  # all others: snap
DREAM_MISSING = 0.3

GAUSSIAN, DETECTOR, HIDDEN, LIMBS, PERSPECTIVE = "Gaussian", "detector", "hidden", "hidden limbs", "perspective"
LEVELS: dict[str, tuple[float, ...]] = {
    GAUSSIAN: (0, 1, 2, 5, 10, 15, 20),  # sd per coordinate, % of the object's size
    DETECTOR: (0, 0.5, 1, 2, 3),  # times the rates of NOISE
    HIDDEN: (0, 10, 20, 30, 40, 50, 60, 70, 80),  # % of the visible keypoints
    LIMBS: (0, 10, 20, 30, 40, 50, 60, 70, 80),
    PERSPECTIVE: (0, 5, 10, 100 / 6, 25, 100 / 3),  # RMS radius in % of the camera's distance: from infinity to 3
}
NOISE = DetectorNoise()
COCO, COCO_SURE = "COCO file", "COCO file, confidence above 0.3"
FILES = {COCO: 0.0, COCO_SURE: 0.3}  # confidence that counts as seen
PIXELS, CENTRE = 200.0, 500.0  # of an object's size and place in the pictures that the files speak of
DISTURBANCE_SEED = 4_000_000  # the run's seed is added


@dataclass(frozen=True)
class Arm:
    """A trained run under test: data set, the category of it that is shown, method, and the run's configuration."""

    set: str
    category: str
    method: str
    config: RunConfig

    @property
    def seed(self) -> int:
        """Seed of the run, and of its views."""
        return self.config.seed


@dataclass(frozen=True)
class Study:
    """Result rows, one per method, seed, disturbance and level; and where they come from, run by run."""

    table: "pandas.DataFrame"
    records: list[dict[str, Any]]


def arms(paper: literal.Size, ours: beyond.Size) -> list[Arm]:
    """The methods on people and on one CAD category, every seed.

    The paper's runs on the CAD categories are those that learn all ten together; they are shown aeroplanes.

    Args:
        paper: size of notebook 05's runs.  ours: size of notebook 12's.
    """
    result = []
    for name, together in literal.sets().items():
        category = together[0]
        for seed in range(ours.seeds):
            configs = {
                LITERAL: literal.run(together, paper, seed),
                WEIGHTED: literal.run(together, paper, seed, {"alpha": 10.0}),
                RECIPE: beyond.recipe((category,), seed, ours),
                HIDING: beyond.recipe((category,), seed, ours, dream_missing=DREAM_MISSING),
                TWIN: beyond.twin((category,), seed, ours),
            }
            result += [Arm(name, category, method, config) for method, config in configs.items()]
    return result


def measure(arms: Sequence[Arm], views: int, workers: int | None = None, store: RunStore | None = None) -> Study:
    """Trains what is missing and lifts every disturbed picture with every run.

    Args:
        views: evaluation views per seed.
    """
    import pandas

    store = store or RunStore()
    if workers is None and all(arm.config.steps < beyond.SHORT for arm in arms):
        workers = 0  # seconds of work: processes would take longer to start
    records = experiments.run_grid([arm.config for arm in arms], workers, store)
    jobs: list[tuple] = [(arm, views, str(store.root)) for arm in arms]
    jobs += [(arm, views, "") for arm in arms if arm.method == LITERAL]  # the floors, once per data set and seed
    table = pandas.DataFrame(experiments.spread(rows_of, jobs, workers))
    return Study(table, experiments.run_summaries(records))


def rows_of(arm: Arm, views: int, root: str) -> list[dict[str, Any]]:
    """Result rows of a run under every disturbance; of the floors where no store is named."""
    data = RunData.of(arm.config)
    shapes, train = (part[arm.config.categories.index(arm.category)] for part in (data.test, data.train))
    truth = evaluation_views([shapes], arm.config.cameras, views, TEST_SEED + arm.seed)
    methods = _lifters(arm, root) if root else _floors(train)
    result = []
    for kind, levels in LEVELS.items():
        for level in levels:
            if kind == LIMBS and not shapes.rig.edges:
                continue
            X, visible = disturbed(truth, shapes.rig, kind, level, arm.seed)
            result += _rows(arm, shapes, truth, methods, (X, visible), kind, level)
    for kind, least in FILES.items():
        given = through_file(truth, shapes.rig, arm.seed, least)
        result += _rows(arm, shapes, truth, methods, given, kind, 1.0)
    return result


def disturbed(
    truth: EvaluationViews, rig: Rig, kind: str, level: float | int, seed: int
) -> tuple[Float[Tensor, "B N 2"], Bool[Tensor, "B N"]]:
    """Keypoints and what of them is visible, at a level of a kind of disturbance; see LEVELS.

    The same seed gives the same draws at every level: only the size of the errors differs along a curve.
    """
    generator = torch.Generator().manual_seed(DISTURBANCE_SEED + seed)
    X, visible = truth.X, visible_or_all(truth.visible, truth.X)
    if kind == GAUSSIAN:
        return detectors.gaussian(X, level / 100, generator, visible), visible
    if kind == DETECTOR:
        return detectors.detect(X, NOISE.times(level), generator, visible, rig.symmetry).points, visible
    if kind in (HIDDEN, LIMBS):
        return X, detectors.hide(visible, level / 100, generator, rig.edges if kind == LIMBS else None)
    return perspective(truth.Y, 100 / level if level else math.inf, truth.known), visible


def perspective(
    Y: Float[Tensor, "B N 3"], distance: float, known: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, "B N 2"]:
    """Pictures by a perspective camera: x = Y_xy / (1 + Y_z / d), Y centred, in its own RMS radii.

    Args:
        Y: shapes, camera frame, any unit; [B, N, 3].
        distance: d of the camera from the shape's mean, in RMS radii; infinity is weak perspective.
        known: None = all; the others become 0; [B, N].
    Raises:
        ValueError: a keypoint is not in front of the camera (names the sample).
    """
    Y = centred(Y, known)
    count = Y.shape[1] if known is None else known.sum(1)
    away = 1 + Y[..., 2] / ((Y.square().sum((1, 2)) / count).sqrt()[:, None] * distance)
    if bool((away <= 0).any()):
        sample = int((away <= 0).any(1).nonzero()[0])
        raise ValueError(f"sample {sample} is deeper than the camera's distance of {distance:g} RMS radii")
    return Y[..., :2] / away[..., None]


def through_file(
    truth: EvaluationViews, rig: Rig, seed: int, least: float
) -> tuple[Float[Tensor, "B N 2"], Bool[Tensor, "B N"]]:
    """What a COCO file of the detector's keypoints, in pixels, gives back: DETECTOR at level 1 and its confidences."""
    generator = torch.Generator().manual_seed(DISTURBANCE_SEED + seed)
    found = detectors.detect(truth.X, NOISE, generator, visible_or_all(truth.visible, truth.X), rig.symmetry)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detections.json"
        detectors.write_coco(path, Detections(PIXELS * found.points + CENTRE, found.confidence))
        keypoints = match_rig(detectors.read_coco(path, least), rig)
    few = keypoints.visible.sum(1, keepdim=True) < detectors.LEAST_LEFT  # then better an unsure keypoint than none
    return keypoints.points, torch.where(few, found.confidence > 0, keypoints.visible)


def _lifters(arm: Arm, root: str) -> dict[str, Any]:
    """The run as a function from pictures to shapes; None where it has diverged."""
    run = run_id(arm.config, RunData.of(arm.config))
    if RunStore(root).record(run)["status"] != "done":
        return {arm.method: None}
    loaded, kind = load(run, RunStore(root)), READ_OUT.get(arm.method, "snap")
    return {arm.method: lambda X, visible: lift(loaded, X, visible, arm.category, kind).shapes}


def _floors(train: ShapeSet) -> dict[str, Any]:
    few = train.thinned(4000)
    mean = floors.mean_shape(few.points, few.known)
    return {
        "flat": lambda X, visible: floors.flat(normalise(X, visible)[0]),
        "mean": lambda X, visible: floors.constant(mean, len(X)),
    }


def _rows(
    arm: Arm, shapes: ShapeSet, truth: EvaluationViews, methods: dict[str, Any],
    given: tuple[Tensor, Tensor], kind: str, level: float | int,
) -> list[dict[str, Any]]:  # fmt: skip
    X, visible = given
    share = 100 * float(1 - visible.sum() / visible_or_all(truth.visible, truth.X).sum())
    return [
        {"data": shapes.tag, "set": arm.set, "category": arm.category, "method": method, "seed": arm.seed,
         "disturbance": kind, "level": level, "share hidden": share,
         **errors(lifter and lifter(X, visible), truth, shapes, visible)}
        for method, lifter in methods.items()
    ]  # fmt: skip


def errors(
    P: Tensor | None, truth: EvaluationViews, shapes: ShapeSet, visible: Bool[Tensor, "B N"]
) -> dict[str, float | None]:
    """PA-MPJPE over all known keypoints; and, in the same alignment, of the visible and of the hidden ones apart.

    Returns:
        o3, so3, flip, "visible", "hidden" in % of the RMS radius, mm; `visible` and `hidden` under per-category flip,
        NaN where there are none; all NaN for no shapes.
    """
    names = (*experiments.ERRORS, "visible", "hidden")
    if P is None:
        return dict.fromkeys(names, math.nan)
    radius, mm, name = shapes.radius, shapes.rig.mm, shapes.rig.name
    record = metrics.evaluate(P, truth.Y, truth.known, radius=[radius], mm=[mm], names=[name])[0]
    P = (metrics.mirrored(P) if record["mirrored"] else P).double()
    apart = 100 / radius * metrics.distances(P, truth.Y.double(), truth.known, alignment="so3")
    return {name: record[name] for name in experiments.ERRORS} | {
        "visible": float(apart[truth.known & visible].mean()), "hidden": float(apart[truth.known & ~visible].mean()),
    }  # fmt: skip
