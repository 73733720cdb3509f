"""The exact fit and its gradient compiled for the CPU (numba): keypoints to moments, cameras, residuals.

A sample's result depends on nothing but the sample: not on its batch, its place in it or the number of threads. The
first call after an installation compiles, some ten seconds; later processes read what was compiled from a cache.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib.kernels.fit_numba_solve import solve
from lfmlib.kernels.fit_torch import THIN, THIN_SINGLE
from lfmlib.kernels.numba_jit import compiled_by_type, spread

CHUNK = 2048  # samples whose numbers stay in the second-level cache from one kernel to the next
LANES = 64  # samples whose moments are formed together

_ALL = np.ones((0, 0), dtype=bool)  # a mask of nothing: every keypoint is visible


def fit(
    X: Float[Tensor, "B N 2"], Y: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None
) -> tuple[Float[Tensor, " B"], Float[Tensor, "B 3 3"], Float[Tensor, "B 2"], Float[Tensor, " B"]]:
    """s, R, t of the best weak-perspective camera and its residual sum of squares, as `geometry.fit_camera` says.

    Args:
        X: observed keypoints, float32 or float64; [B, N, 2].  Y: shapes, of the same type; [B, N, 3].
        visible: keypoints that take part, None = all; [B, N].
    Returns:
        s [B], R [B, 3, 3], t [B, 2] and residual [B], computed in float64 and rounded to X's type. Not a number for a
        sample with a coordinate that is not finite.
    Raises:
        ValueError: shapes or types do not fit.
    """
    arrays = _arrays(X, Y, visible)
    B, thin = len(X), THIN if X.dtype == torch.float64 else THIN_SINGLE
    found = X.new_empty(B), X.new_empty(B, 3, 3), X.new_empty(B, 2), X.new_empty(B)
    results = tuple(part.numpy() for part in found)

    def work(start: int, stop: int) -> None:
        for first in range(start, stop, CHUNK):
            part = slice(first, min(first + CHUNK, stop))
            x, y, seen = (v[part] for v in arrays)
            moments, means, cameras = (np.empty((rows, len(x))) for rows in (12, 5, 10))
            _moments[X.dtype](x, y, seen, moments, means)
            solve(moments, thin, cameras)
            _finish[X.dtype](x, y, seen, means, cameras, *(v[part] for v in results))

    spread(work, B)
    return found


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
    arrays = *_arrays(X, Y, visible), *(v.contiguous().numpy() for v in (s, R, t, weight))
    by_X, by_Y = torch.empty_like(X, memory_format=torch.contiguous_format), X.new_empty(Y.shape)
    arrays = *arrays, by_X.numpy(), by_Y.numpy()
    spread(lambda start, stop: _gradient[X.dtype](*(v[start:stop] for v in arrays)), len(X))
    return by_X, by_Y


def _arrays(X: Tensor, Y: Tensor, visible: Tensor | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    B, N = X.shape[:2]
    fits = X.shape == (B, N, 2) and Y.shape == (B, N, 3) and X.dtype == Y.dtype
    if not fits or (visible is not None and (visible.shape != (B, N) or visible.dtype != torch.bool)):
        given = [(list(v.shape), v.dtype) for v in (X, Y, visible) if v is not None]
        raise ValueError(f"expected X [B, N, 2], Y [B, N, 3] of one type and visible [B, N] bool, got {given}")
    x, y = (v.detach().contiguous().numpy() for v in (X, Y))
    return x, y, _ALL if visible is None else visible.contiguous().numpy()


@compiled_by_type
def _moments(X, Y, visible, moments, means):
    """Centred second moments [12, B], as `solve` takes them, and means [5, B]."""
    B, N = X.shape[:2]
    z, weight = np.empty(N * 5 * LANES), np.empty(N * LANES)
    count, origin, mean, sums = np.empty(LANES), np.empty(5 * LANES), np.empty(5 * LANES), np.empty(12 * LANES)
    for start in range(0, B, LANES):
        lanes = min(LANES, B - start)
        for i in range(lanes):
            b, first = start + i, 0
            count[i] = N
            if visible.size:
                count[i] = 0
                for n in range(N - 1, -1, -1):
                    if visible[b, n]:
                        first = n
                        count[i] += 1
            # counted from a keypoint: points that coincide become exactly 0, and far from the origin nothing is lost
            for k in range(5):
                origin[k * LANES + i] = 0.0 if count[i] == 0 else X[b, first, k] if k < 2 else Y[b, first, k - 2]
            for n in range(N):
                seen = not visible.size or visible[b, n]
                weight[n * LANES + i] = 1.0 if seen else 0.0
                row = 5 * n * LANES + i
                for k in range(2):
                    z[row + k * LANES] = X[b, n, k] - origin[k * LANES + i] if seen else 0.0
                for k in range(2, 5):
                    z[row + k * LANES] = Y[b, n, k - 2] - origin[k * LANES + i] if seen else 0.0
        mean[:] = 0.0
        for n in range(N):
            for i in range(5 * LANES):
                mean[i] += z[5 * n * LANES + i]
        for k in range(5):
            for i in range(LANES):
                mean[k * LANES + i] /= max(count[i], 1.0)
        sums[:] = 0.0
        for n in range(N):
            row = 5 * n * LANES
            for i in range(LANES):
                w = weight[n * LANES + i]
                x0 = w * (z[row + i] - mean[i])
                x1 = w * (z[row + LANES + i] - mean[LANES + i])
                y0 = w * (z[row + 2 * LANES + i] - mean[2 * LANES + i])
                y1 = w * (z[row + 3 * LANES + i] - mean[3 * LANES + i])
                y2 = w * (z[row + 4 * LANES + i] - mean[4 * LANES + i])
                sums[i] += y0 * y0
                sums[LANES + i] += y0 * y1
                sums[2 * LANES + i] += y0 * y2
                sums[3 * LANES + i] += y1 * y1
                sums[4 * LANES + i] += y1 * y2
                sums[5 * LANES + i] += y2 * y2
                sums[6 * LANES + i] += x0 * y0
                sums[7 * LANES + i] += x0 * y1
                sums[8 * LANES + i] += x0 * y2
                sums[9 * LANES + i] += x1 * y0
                sums[10 * LANES + i] += x1 * y1
                sums[11 * LANES + i] += x1 * y2
        for k in range(12):
            for i in range(lanes):
                moments[k, start + i] = sums[k * LANES + i]
        for k in range(5):
            for i in range(lanes):
                means[k, start + i] = mean[k * LANES + i] + origin[k * LANES + i]


@compiled_by_type
def _finish(X, Y, visible, means, cameras, s, R, t, residual):
    """Rounds the cameras to their results, and sums the squared residuals about the means: nothing cancels there."""
    for b in range(len(X)):
        scale = cameras[0, b]
        s[b] = scale
        for k in range(9):
            R[b, k // 3, k % 3] = cameras[1 + k, b]
        u0, u1, u2 = scale * cameras[1, b], scale * cameras[2, b], scale * cameras[3, b]
        v0, v1, v2 = scale * cameras[4, b], scale * cameras[5, b], scale * cameras[6, b]
        x0, x1, y0, y1, y2 = means[0, b], means[1, b], means[2, b], means[3, b], means[4, b]
        t[b, 0] = x0 - (u0 * y0 + u1 * y1 + u2 * y2)
        t[b, 1] = x1 - (v0 * y0 + v1 * y1 + v2 * y2)
        total0 = total1 = 0.0
        for n in range(X.shape[1]):
            if not visible.size or visible[b, n]:
                a0, a1, a2 = Y[b, n, 0] - y0, Y[b, n, 1] - y1, Y[b, n, 2] - y2
                total0 += (u0 * a0 + u1 * a1 + u2 * a2 - (X[b, n, 0] - x0)) ** 2
                total1 += (v0 * a0 + v1 * a1 + v2 * a2 - (X[b, n, 1] - x1)) ** 2
        residual[b] = total0 + total1


@compiled_by_type
def _gradient(X, Y, visible, s, R, t, weight, by_X, by_Y):
    for b in range(len(X)):
        scale = np.float64(s[b])
        u0, u1, u2 = scale * R[b, 0, 0], scale * R[b, 0, 1], scale * R[b, 0, 2]
        v0, v1, v2 = scale * R[b, 1, 0], scale * R[b, 1, 1], scale * R[b, 1, 2]
        t0, t1, factor = np.float64(t[b, 0]), np.float64(t[b, 1]), 2.0 * weight[b]
        for n in range(X.shape[1]):
            seen = not visible.size or visible[b, n]
            e0 = factor * (u0 * Y[b, n, 0] + u1 * Y[b, n, 1] + u2 * Y[b, n, 2] + t0 - X[b, n, 0])
            e1 = factor * (v0 * Y[b, n, 0] + v1 * Y[b, n, 1] + v2 * Y[b, n, 2] + t1 - X[b, n, 1])
            by_X[b, n, 0], by_X[b, n, 1] = -e0 if seen else 0.0, -e1 if seen else 0.0
            by_Y[b, n, 0] = u0 * e0 + v0 * e1 if seen else 0.0
            by_Y[b, n, 1] = u1 * e0 + v1 * e1 if seen else 0.0
            by_Y[b, n, 2] = u2 * e0 + v2 * e1 if seen else 0.0
