"""The exact fit and its gradient in plain PyTorch: the oracle of the compiled ones, and what runs where they cannot."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib.kernels.fit_torch import THIN, THIN_SINGLE, UPPER, solve_moments

MOMENT_CHUNK = 2_048  # samples whose moments are formed together: they fit the cache
SOLVE_CHUNK = 131_072  # samples solved together: bounds the memory of 10^6 samples


@torch.no_grad()
def fit(
    X: Float[Tensor, "B N 2"], Y: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None
) -> tuple[Float[Tensor, " B"], Float[Tensor, "B 3 3"], Float[Tensor, "B 2"], Float[Tensor, " B"]]:
    """s, R, t of the best weak-perspective camera and its residual sum of squares, in X's type.

    Args, Returns: as `fit_numba.fit`, on any device and for any floating type.
    """
    parts = []
    for start in range(0, max(len(X), 1), SOLVE_CHUNK):
        part = slice(start, start + SOLVE_CHUNK)
        mean, C, H = _moments(X[part], Y[part], None if visible is None else visible[part])
        s, R = solve_moments(C, H, THIN if X.dtype == torch.float64 else THIN_SINGLE)
        parts.append((s, R, mean[:, :2] - s[:, None] * (R[:, :2] @ mean[:, 2:, None]).squeeze(-1)))
    s, R, t = (torch.cat(v).to(X.dtype) for v in zip(*parts, strict=True))
    return s, R, t, _error(X, Y, visible, s, R, t).square().sum((1, 2))


@torch.no_grad()
def gradient(
    X: Float[Tensor, "B N 2"],
    Y: Float[Tensor, "B N 3"],
    visible: Bool[Tensor, "B N"] | None,
    s: Float[Tensor, " B"],
    R: Float[Tensor, "B 3 3"],
    t: Float[Tensor, "B 2"],
    weight: Float[Tensor, " B"],
) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N 3"]]:
    """Gradient of sum_b weight_b residual_b in X and Y, the camera held fixed (envelope theorem).

    e_i = s P R y_i + t - x_i,   d/dx_i = -2 w e_i,   d/dy_i = 2 w s (P R)^T e_i,   0 where not visible
    """
    error = 2 * weight[:, None, None] * _error(X, Y, visible, s, R, t)
    by_X, by_Y = -error, s[:, None, None] * (error @ R[:, :2])
    if visible is not None:  # also where the camera is not a number
        by_X, by_Y = (torch.where(visible[..., None], v, 0) for v in (by_X, by_Y))
    return by_X.to(X.dtype), by_Y.to(Y.dtype)


def _error(X: Tensor, Y: Tensor, visible: Tensor | None, s: Tensor, R: Tensor, t: Tensor) -> Tensor:
    """s P R Y + t - X; 0 where not visible."""
    error = (Y.to(s.dtype) @ (s[:, None, None] * R[:, :2]).mT).add_(t[:, None]).sub_(X)
    return error if visible is None else torch.where(visible[..., None], error, 0)


def _moments(X: Tensor, Y: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Means [B, 5] and centred second moments [6, B], [6, B], float64: all that the fit needs of the keypoints."""
    means, products = [], []
    chunk = MOMENT_CHUNK if not X.is_cuda else max(len(X), 1)
    for start in range(0, max(len(X), 1), chunk):
        part = slice(start, start + chunk)
        Z = torch.cat([X[part], Y[part]], -1).double()  # [b, N, 5]
        # counted from a keypoint: far from the origin, sums of squares would drown the shape in rounding
        if visible is None:
            count: Tensor | int = X.shape[1]
            origin = Z[:, :1].clone()
            Z -= origin
        else:
            seen = visible[part]
            first = seen.byte().argmax(1, keepdim=True)
            origin = Z.gather(1, first[..., None].expand(-1, 1, 5)).where(seen.gather(1, first)[..., None], 0)
            Z = torch.where(seen[..., None], Z - origin, 0)
            count = seen.sum(1).clamp_min(1)[:, None]
        mean = Z.sum(1) / count
        weight = count if isinstance(count, int) else count[..., None]
        M = torch.bmm(Z.mT, Z) - weight * mean[:, :, None] * mean[:, None]  # [b, 5, 5]
        products.append(M.flatten(1).T.contiguous())  # [25, b]
        means.append(mean + origin[:, 0])
    M = torch.cat(products, 1)
    C = M[[5 * (2 + i) + 2 + j for i, j in UPPER]]
    C[[0, 3, 5]] = C[[0, 3, 5]].clamp_min(0)
    return torch.cat(means), C, M[[5 * i + 2 + j for i in range(2) for j in range(3)]]
