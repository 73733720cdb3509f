"""How hard a category's shapes are to lift: the floors, and how much the shapes vary, as numbers beside each other.

The same five numbers for the embedded benchmark and for measured data: a benchmark that is easier than the real thing
shows here.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lfmlib import metrics
from lfmlib.baselines import floors
from lfmlib.data.batches import evaluation_views
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.views import CameraConfig
from lfmlib.geometry import align

VIEWS, FRAMES, NEIGHBOURS = 1000, 2000, 16
COMMON = 5  # keypoints that two shapes must share to be neighbours


class Variety(NamedTuple):
    """How varied a category is; every value is larger where lifting is harder.

    Args:
        flat: PA-MPJPE of the flat answer (x, y, 0) under O(3), % of the RMS radius.
        mean: of the training shapes' rigid mean under O(3), %.
        rank: participation ratio of the aligned unit-size shapes' covariance, (sum l)^2 / sum l^2.
        components: principal components that hold 95 % of their variance.
        bones: standard deviation of an edge's length over its mean, in unit-size shapes, averaged over the edges, %.
        neighbour: distance of a test shape to the nearest training shape (PA-MPJPE under SO(3)), mean over test, %.
    """

    flat: float
    mean: float
    rank: float
    components: float
    bones: float
    neighbour: float


def variety(shapes: ShapeSet, views: int = VIEWS, frames: int = FRAMES, seed: int = 0) -> Variety:
    """Measures a set of shapes.

    Args:
        shapes: of one category. Where nothing is set apart for testing, each shape's neighbour is sought among the
            others, and the mean shape is that of all.
        views: random views of the test shapes for the floors (azimuth any, elevation +-20 degrees).
        frames: at most so many shapes of each split are taken, spread evenly.
    Source: ours; PEERS of the field report none of these.
    """
    train, test = shapes.train.thinned(frames), shapes.test.thinned(frames)
    mean = floors.mean_shape(train.points, train.known)
    seen = evaluation_views([test], CameraConfig(), views, seed)
    errors = []
    for P in (floors.flat(seen.X), floors.constant(mean, len(seen.X))):
        records = metrics.evaluate(P, seen.Y, seen.known, radius=[test.radius])
        errors.append(records[0]["o3"])
    unit = _aligned(train, mean)
    power = torch.linalg.svdvals((unit - unit.mean(0)).flatten(1)).square()
    total = power.sum().clamp_min(torch.finfo(power.dtype).tiny)
    components = int((power.cumsum(0) < 0.95 * total).sum()) + 1 if len(train) > 1 else 0
    return Variety(
        *errors,
        rank=float(total**2 / power.square().sum().clamp_min(torch.finfo(power.dtype).tiny)),
        components=float(components),
        bones=_bones(train),
        neighbour=_neighbour(train, test, mean, shapes.shares_shapes),
    )


def _aligned(shapes: ShapeSet, mean: Tensor) -> Tensor:
    """Shapes of RMS radius 1 turned onto the mean shape, the mean's keypoints where unknown; float64 [F, N, 3]."""
    Y, _ = floors.unit(shapes.points.double(), shapes.known)
    target, _ = floors.unit(mean.double()[None], torch.ones(1, len(mean), dtype=torch.bool))
    R = align(Y, target.expand_as(Y), shapes.known).R
    return torch.where(shapes.known[..., None], Y @ R.mT, target)


def _bones(shapes: ShapeSet) -> float:
    if not shapes.rig.edges or len(shapes) < 2:
        return 0.0
    a, b = torch.tensor(shapes.rig.edges).T
    Y, _ = floors.unit(shapes.points.double(), shapes.known)
    length = (Y[:, a] - Y[:, b]).norm(dim=-1)  # [F, E]
    both = shapes.known[:, a] & shapes.known[:, b]
    count = both.sum(0)
    mean = (length * both).sum(0) / count.clamp_min(1)
    sd = (((length - mean).square() * both).sum(0) / (count - 1).clamp_min(1)).sqrt()
    measured = (count > 1) & (mean > 0)
    return float(100 * (sd / mean)[measured].mean()) if bool(measured.any()) else 0.0


def _neighbour(train: ShapeSet, test: ShapeSet, mean: Tensor, shared: bool) -> float:
    """Exact alignment to the few training shapes that lie nearest once all are turned onto the mean shape."""
    few = test.thinned(400)
    pool, asked = _aligned(train, mean), _aligned(few, mean)
    apart = torch.cdist(asked.flatten(1), pool.flatten(1))  # [Q, F]
    if shared:
        apart = torch.where(apart < 1e-9, torch.inf, apart)
    k = min(NEIGHBOURS, len(pool) - shared)
    if k < 1:
        return 0.0
    near = apart.topk(k, largest=False).indices  # [Q, k]
    P = train.points.double()[near.flatten()]
    Y = few.points.double().repeat_interleave(k, 0)
    known = few.known.repeat_interleave(k, 0) & train.known[near.flatten()]
    enough = known.sum(1) >= COMMON
    if not bool(enough.any()):
        return 0.0
    error = torch.full((len(P),), torch.inf, dtype=torch.float64)
    error[enough] = metrics.pa_mpjpe(P[enough], Y[enough], known[enough], mirror="so3")
    nearest = error.view(-1, k).amin(1)
    return float(100 * nearest[nearest.isfinite()].mean() / few.radius)
