"""Trained 3D-LFM networks, probed: do their outputs follow the order of the inputs, and from where do they fail?"""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lfmlib import experiments
from lfmlib.baselines import floors, runs
from lfmlib.baselines.lfm3d import LFM3D
from lfmlib.data.views import EvaluationViews, normalise, upright, view_rotations
from lfmlib.rigs import Rig
from lfmlib.runs import RunData
from lfmlib.store import RunStore
from lfmlib.studies import transfer_measure
from lfmlib.studies.transfer import TIGER, VIEWPOINT, Arm

if TYPE_CHECKING:
    import pandas

ELEVATIONS = (-80, -60, -40, -20, 0, 20, 40, 60, 80)
TRAINED = 20  # degrees above and below the horizon that cameras are trained on
SIDES = {"front": 0.0, "side": 90.0, "back": 180.0}  # azimuth of the middle, 45 degrees to each side
SIZES = (3, 5, 15, 17, 26, 68, 120)
SAME = 1e-9  # largest change of a shape, in its own size, that is rounding in float64


def permuted(rig: Rig, order: Sequence[int]) -> Rig:
    """The rig with its keypoints in another order: place i holds what was keypoint order[i]."""
    place = {old: new for new, old in enumerate(order)}
    edges = tuple((place[i], place[j]) for i, j in rig.edges)
    return Rig(f"{rig.name}, permuted", tuple(rig.keypoints[i] for i in order), edges)


def random_rig(keypoints: int, generator: torch.Generator) -> Rig:
    """A random tree over so many keypoints."""
    parents = [int(torch.randint(i, (1,), generator=generator)) for i in range(1, keypoints)]
    edges = tuple((parent, child) for child, parent in enumerate(parents, start=1))
    return Rig(f"tree of {keypoints}", tuple(f"k{i}" for i in range(keypoints)), edges)


def reordering_error(network: LFM3D, rig: Rig, generator: torch.Generator, samples: int = 4) -> float:
    """How far the shapes of reordered pictures are from the reordered shapes of the pictures.

        max |f(X[p], A[p, p]) - f(X, A)[p]| / max |f(X, A)|,   X normal, p a random order, some keypoints hidden

    Args:
        network: trained, on any rigs.
        rig: whose graph is A.
        generator: draws X, p and what is hidden.
        samples: pictures.
    """
    weight = network.missing
    X = torch.randn(samples, rig.n, 2, generator=generator).to(weight)
    visible = torch.rand(samples, rig.n, generator=generator) > 0.2
    visible[:, :3] = True
    order = torch.randperm(rig.n, generator=generator)
    with torch.no_grad():
        Y = network.with_rigs([rig])(X, visible)
        other = network.with_rigs([permuted(rig, order.tolist())])(X[:, order], visible[:, order])
    return float((other - Y[:, order]).abs().max() / Y.abs().max())


def equivariance(arms: Sequence[Arm], orders: int = 5, store: RunStore | None = None) -> "pandas.DataFrame":
    """The reordering error of the trained networks over random rigs of several sizes, in both precisions."""
    import pandas

    result = []
    for arm in (arm for arm in arms if arm.part == VIEWPOINT):
        (network,) = runs.networks(arm.method, arm.config, store, **arm.changes)
        models = {"float64": copy.deepcopy(network).double(), "float32": network}
        for n in SIZES:
            generator = torch.Generator().manual_seed(arm.config.seed)
            worst = dict.fromkeys(models, 0.0)
            for _ in range(orders):
                rig = random_rig(n, generator)
                for precision, model in models.items():
                    worst[precision] = max(worst[precision], reordering_error(model, rig, generator))
            told = {"training": arm.training, "keypoints": n, "orders": orders, "seed": arm.config.seed}
            result.append(told | worst)
    return pandas.DataFrame(result)


def seen_from(
    data: RunData, elevation: float | int, side: float | int, count: int, generator: torch.Generator
) -> EvaluationViews:
    """Pictures of test shapes from one elevation and a quarter of the azimuths; degrees."""
    shapes = data.test[0]
    frame = torch.randint(len(shapes), (count,), generator=generator)
    azimuth = (side + 90 * (torch.rand(count, generator=generator) - 0.5)) * math.pi / 180
    R = view_rotations(azimuth, torch.full((count,), elevation * math.pi / 180), torch.zeros(count))
    known = shapes.known[frame]
    Y = shapes.points[frame] @ (R @ upright(shapes.rig.up)).mT
    Y = torch.where(known[..., None], Y, 0)
    X, _, _ = normalise(Y[..., :2], known)
    return EvaluationViews(X, known, torch.zeros(count, dtype=torch.int64), Y, known)


def viewpoints(arms: Sequence[Arm], workers: int | None = None, store: RunStore | None = None) -> "pandas.DataFrame":
    """Errors of the tiger by elevation and side, with the floors on the same views."""
    import pandas

    root = str((store or RunStore()).root)
    mine = [arm for arm in arms if arm.part == VIEWPOINT]
    return pandas.DataFrame(experiments.spread(_viewpoints, [(arm, root) for arm in mine], workers))


def _viewpoints(arm: Arm, root: str) -> list[dict[str, Any]]:
    networks = runs.networks(arm.method, arm.config, RunStore(root), **arm.changes)
    data = RunData.of(replace(arm.config, categories=(TIGER,)))
    mean = transfer_measure.mean_shape((TIGER,), arm.config.count)
    result = []
    for side, azimuth in SIDES.items():
        for elevation in ELEVATIONS:
            generator = torch.Generator().manual_seed(arm.config.seed)
            views = seen_from(data, elevation, azimuth, max(20, arm.config.test_views // 3), generator)
            shapes: dict[str, Tensor] = {
                arm.name: transfer_measure.lifted(networks, arm, TIGER, views, data.test[0].rig),
                "flat": floors.flat(views.X), "mean": floors.constant(mean, len(views.X)),
            }  # fmt: skip
            result += [
                transfer_measure.row(
                    P, views, data, arm.config, {"method": method, "side": side, "elevation": elevation}
                )
                for method, P in shapes.items()
            ]
    return result
