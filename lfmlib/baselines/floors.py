"""Floors: what a method has to beat. The flat answer needs no learning at all, the mean shape needs 3D labels."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib.geometry import align

STARTS, PROBES = 16, 256  # shapes that may seed the mean, and shapes they are compared on


def flat(X: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N 3"]:
    """The flat answer Y = (x, y, 0): it makes Eq. 1 exactly zero and holds no depth."""
    return torch.cat((X, torch.zeros_like(X[..., :1])), dim=-1)


def mean_shape(
    points: Float[Tensor, "F N 3"],
    known: Bool[Tensor, "F N"] | None = None,
    iterations: int = 200,
    tolerance: float = 1e-7,
) -> Float[Tensor, "N 3"]:
    """Rigid mean shape by generalised Procrustes analysis under SO(3): the constant prediction that 3D labels give.

        M <- mean over f of (s_f R_f y_f + t_f),  (s, R, t)_f = argmin || s R y_f + t - M ||,  |M| = 1, until M rests

    Each keypoint is averaged over the shapes that know it. It starts from a shape of the set: of 16 evenly spaced ones,
    among those that know the most keypoints, the one that fits 256 others best; so it is deterministic.

    Args:
        points: training shapes, any unit; [F, N, 3]. known: None = all; the others may hold anything; [F, N].
        iterations: at most. tolerance: largest change of M, in its RMS radii, that counts as rest.
    Returns:
        [N, 3], centred, with the mean RMS radius of the shapes; 0 at a keypoint that no shape knows.
    Raises:
        ValueError: no shape; a shape with fewer than 3 known keypoints (names it).
    """
    known = torch.ones(points.shape[:2], dtype=torch.bool, device=points.device) if known is None else known
    if not len(points):
        raise ValueError("a mean shape needs at least one shape")
    if bool((known.sum(1) < 3).any()):
        raise ValueError(f"shape {int((known.sum(1) < 3).nonzero()[0])} has fewer than 3 known keypoints")
    Y, radius = unit(torch.where(known[..., None], points, 0).double(), known)  # [F, N, 3], [F]
    mean, have = _start(Y, known)
    for _ in range(iterations):
        aligned, used = _aligned(Y, known, mean, have)
        weight = (known & used[:, None])[..., None].double()
        have = weight.sum(0)[:, 0] > 0
        moved = (aligned * weight).sum(0) / weight.sum(0).clamp_min(1)
        moved = unit(moved[None], have[None])[0][0]
        change = (moved - mean).norm(dim=-1).max()
        mean = moved
        if change < tolerance:
            break
    return (mean * radius.mean()).to(points.dtype)


def constant(shape: Float[Tensor, "N 3"], batch: int) -> Float[Tensor, "B N 3"]:
    """The same shape for every sample."""
    return shape.expand(batch, -1, -1)


def unit(Y: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Shapes centred on their known keypoints, divided by their RMS radius; and that radius."""
    keep, count = known[..., None], known.sum(1)
    Y = torch.where(keep, Y - torch.where(keep, Y, 0).sum(1, keepdim=True) / count[:, None, None], 0)
    radius = (Y.square().sum((1, 2)) / count).sqrt()
    return Y / radius.clamp_min(torch.finfo(Y.dtype).tiny)[:, None, None], radius


def _aligned(Y: Tensor, known: Tensor, mean: Tensor, have: Tensor) -> tuple[Tensor, Tensor]:
    """Shapes moved onto the mean over the keypoints that both have; and whether those are enough (3)."""
    common = known & have
    return align(Y, mean.expand_as(Y), common, mirror="so3").apply(Y), common.sum(1) >= 3


def _start(Y: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    counts = known.sum(1)
    fullest = (counts == counts.max()).nonzero()[:, 0]
    probes = torch.linspace(0, len(Y) - 1, min(PROBES, len(Y)), device=Y.device).long()
    best, chosen = None, 0
    starts = torch.linspace(0, len(fullest) - 1, min(STARTS, len(fullest)), device=Y.device).long()
    for index in fullest[starts].tolist():
        aligned, used = _aligned(Y[probes], known[probes], Y[index], known[index])
        common = known[probes] & known[index] & used[:, None]
        cost = float(((aligned - Y[index]).square().sum(-1) * common).sum() / common.sum())
        if best is None or cost < best:
            best, chosen = cost, index
    return Y[chosen], known[chosen]
