"""What stands around the network in a lift, compiled for the CPU: normalisation before it, the read-out after it.

A call costs microseconds where some thirty calls of PyTorch cost a few hundred: it is for one sample at a time. The
arithmetic is float64 throughout; `torch_engine` is the twin.
"""

import math

import numpy as np

from lfmlib.kernels.numba_jit import compiled_by_type

_EPSILON = float(np.finfo(np.float64).eps)


@compiled_by_type
def plainly_good(keypoints, visible):
    """Whether every sample has 3 visible keypoints, all of them finite and not all in one place."""
    B, N = visible.shape
    for b in range(B):
        count, x_low, x_high, y_low, y_high, zero = 0, np.inf, -np.inf, np.inf, -np.inf, 0.0
        for n in range(N):
            if visible[b, n]:
                x, y = keypoints[b, n, 0], keypoints[b, n, 1]
                count += 1
                zero += 0.0 * x + 0.0 * y  # not a number if one is not finite
                x_low, x_high, y_low, y_high = min(x_low, x), max(x_high, x), min(y_low, y), max(y_high, y)
        if count < 3 or not zero == 0.0 or not (x_high > x_low or y_high > y_low):
            return False
    return True


@compiled_by_type
def normalise(keypoints, visible, X, mean, rms):
    """`views.normalise`: X [B, N, 2] float32, mean [B, 2] and rms [B] float64 from keypoints [B, N, 2]."""
    B, N = visible.shape
    for b in range(B):
        count, x, y = 0, 0.0, 0.0
        for n in range(N):
            if visible[b, n]:
                count += 1
                x += keypoints[b, n, 0]
                y += keypoints[b, n, 1]
        x, y, square = x / count, y / count, 0.0
        for n in range(N):
            if visible[b, n]:
                square += (keypoints[b, n, 0] - x) ** 2 + (keypoints[b, n, 1] - y) ** 2
        size = math.sqrt(square / count)
        if not size > 8 * _EPSILON * max(abs(x), abs(y)):  # the rounding of the mean, which is no picture
            size = 0.0
        for n in range(N):
            seen = visible[b, n] and size > 0
            X[b, n, 0] = (keypoints[b, n, 0] - x) / size if seen else 0.0
            X[b, n, 1] = (keypoints[b, n, 1] - y) / size if seen else 0.0
        mean[b, 0], mean[b, 1], rms[b] = x, y, size


@compiled_by_type
def read_out(keypoints, visible, X, Y, mean, rms, s, R, t, snap, shapes, canonical, residual):
    """Camera-frame shapes [B, N, 3] and residuals [B] in the keypoints' unit, see `lifting.lift`; canonical = Y."""
    B, N = visible.shape
    for b in range(B):
        count, depth, square = 0, 0.0, 0.0
        for n in range(N):
            y0, y1, y2 = Y[b, n, 0], Y[b, n, 1], Y[b, n, 2]
            canonical[b, n, 0], canonical[b, n, 1], canonical[b, n, 2] = y0, y1, y2
            px = s[b] * (R[b, 0, 0] * y0 + R[b, 0, 1] * y1 + R[b, 0, 2] * y2) + t[b, 0]
            py = s[b] * (R[b, 1, 0] * y0 + R[b, 1, 1] * y1 + R[b, 1, 2] * y2) + t[b, 1]
            z = s[b] * (R[b, 2, 0] * y0 + R[b, 2, 1] * y1 + R[b, 2, 2] * y2)
            if visible[b, n]:
                count += 1
                depth += z
                square += (px - X[b, n, 0]) ** 2 + (py - X[b, n, 1]) ** 2
            if snap and visible[b, n]:  # the input's own numbers, not their image after there and back
                shapes[b, n, 0], shapes[b, n, 1] = keypoints[b, n, 0], keypoints[b, n, 1]
            else:
                shapes[b, n, 0], shapes[b, n, 1] = px * rms[b] + mean[b, 0], py * rms[b] + mean[b, 1]
            shapes[b, n, 2] = z * rms[b]
        for n in range(N):
            shapes[b, n, 2] -= depth / count * rms[b]
        residual[b] = math.sqrt(square / count) * rms[b]
