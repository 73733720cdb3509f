"""The rigid start: one shape and its turning cameras, by maximum likelihood from pictures alone."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib.recipe.cameras import CameraGrid

SMALLEST = 1e-4  # variance of a picture's keypoints, in squared RMS radii: less than 1 % is exact for all purposes
MIXING = 0.3  # sd of the random depths and widths that a start has besides the mean heights, in RMS radii


class Rigid(NamedTuple):
    """A shape with unit RMS radius [N, 3] (upright frame), the variance around it, its cameras, and its likelihood.

    The likelihood is the mean of log p(x) over the pictures, up to a constant of each picture.
    """

    shape: Tensor
    variance: float
    grid: CameraGrid
    likelihood: float


def best_scale(
    square: Float[Tensor, "..."], cross: Float[Tensor, "..."], dimensions: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Scale a > 0 of a picture that makes it most likely: argmax d log a - (a^2 A - 2 a B) / 2.

    d log a is the Jacobian of the scaling: without it the likeliest picture would be a point.

    Args:
        square, cross: A = |x|^2 and B = x . m in the metric of the covariance.
        dimensions: d, of the picture.
    """
    return (cross + (cross.square() + 4 * square * dimensions).sqrt()) / (2 * square)


def fit_rigid(
    X: Float[Tensor, "B N xy"],
    visible: Bool[Tensor, "B N"],
    grid: CameraGrid,
    generator: torch.Generator,
    restarts: int = 8,
    iterations: int = 60,
) -> Rigid:
    """One shape for all pictures, by expectation-maximisation over the cameras of a grid.

        a_b x_b = P R_g m + noise,   g ~ prior,   noise ~ N(0, v),   a_b free
        E: r_bg ~ prior_g a^d N(a x_b; P R_g m, v)       M: m, v from all (b, g) weighted by r

    The likelihood of a flat shape is low: turned, it would have to shrink. That is all that determines depth here, and
    it needs cameras that turn.

    Args:
        X: pictures, centred on their visible keypoints, anything where not visible; [B, N, 2].
        visible: [B, N].
        grid: cameras to try; how often each elevation is used is learned along the way.
        generator: draws the starts.
        restarts: starts; the likeliest result is returned.
        iterations: of each.
    Returns:
        The likeliest result. Its mirror image in the picture's vertical plane is exactly as likely.
    """
    B, N, _ = X.shape
    X = torch.where(visible[..., None], X, 0)
    flat, seen = X.flatten(1), visible.to(X.dtype)
    count = seen.sum(1, keepdim=True)  # [B, 1]
    d = 2 * count - 2
    P = grid.rotations().to(X)[:, :2]  # [G, 2, 3]
    inner = P.mT @ P
    square = flat.square().sum(1, keepdim=True)
    heights = (X * seen[..., None]).sum(0)[:, 1] / seen.sum(0).clamp_min(1)
    best = None
    for _ in range(restarts):
        m = MIXING * torch.randn(N, 3, generator=generator).to(X) * X.new_tensor([3.0, 1.0, 3.0])
        m[:, 1] -= heights  # pictures have y down, the upright frame has y up
        m, v, cameras = _unit(m)[0], 0.3, grid
        for _ in range(iterations):
            pm = torch.einsum("gcj,nj->gnc", P, m)  # [G, N, 2]
            middle = torch.einsum("bn,gnc->bgc", seen, pm) / count[..., None]
            size = seen @ pm.square().sum(-1).mT - count * middle.square().sum(-1)  # [B, G]
            cross = flat @ pm.flatten(1).mT
            a = best_scale(square / v, cross / v, d)
            score = cameras.logs().to(X) + d * a.log() - 0.5 * d * torch.log(X.new_tensor(v))
            score = score - 0.5 * (a.square() * square - 2 * a * cross + size) / v
            likelihood = torch.logsumexp(score, 1).mean()
            r = torch.softmax(score, 1)  # [B, G]
            # each keypoint solves its own 3 x 3 normal equations, the pictures' places held fixed
            weight = torch.einsum("bg,bn->gn", r, seen)
            normal = torch.einsum("gn,gij->nij", weight, inner)
            target = torch.einsum("bg,bnc->gnc", r * a, X) + torch.einsum("bg,bgc,bn->gnc", r, middle, seen)
            right = torch.einsum("gnc,gcj->nj", target, P)
            eye = torch.eye(3, dtype=X.dtype, device=X.device)
            m = torch.linalg.solve(normal + 1e-6 * (1 + weight.sum(0))[:, None, None] * eye, right[..., None])[..., 0]
            m, size_of = _unit(m)
            residual = r * (a.square() * square - 2 * a * cross + size)
            v = max(float(residual.sum() / d.sum()) / size_of**2, SMALLEST)
            cameras = cameras.used(r.sum(0))
        if best is None or float(likelihood) > best.likelihood:
            best = Rigid(m, v, cameras, float(likelihood))
    return best


def _unit(shape: Tensor) -> tuple[Tensor, float]:
    shape = shape - shape.mean(0)
    radius = shape.square().sum(-1).mean().sqrt()
    return shape / radius, float(radius)
