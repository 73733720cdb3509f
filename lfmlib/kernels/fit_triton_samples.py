"""Device functions of the fused fit: from the keypoints of a block of samples to their cameras and residuals.

Two precisions: float32 with the keypoints in registers, for what is proven to be good there, and float64 for the rest.
"""

import triton.language as tl

from lfmlib.kernels import fit_torch
from lfmlib.kernels.fit_triton_solve import camera_of, dot, picture_terms, short_way, unit_size
from lfmlib.kernels.fit_triton_sure import sure_way
from lfmlib.kernels.triton_jit import jit

THIN = tl.constexpr(fit_torch.THIN)
THIN_SINGLE = tl.constexpr(fit_torch.THIN_SINGLE)
TINY = tl.constexpr(1e-300)  # keeps 0 / 0 finite
TINY_SINGLE = tl.constexpr(1e-30)
LARGEST_SINGLE = tl.constexpr(1e15)  # second moments from here on, or below its inverse, could overflow or vanish


@jit
def store(s_out, R_out, t_out, residual_out, sample, ours, s, r00, r01, r02, r10, r11, r12, t0, t1, residual):
    tl.store(s_out + sample, s, mask=ours)
    tl.store(residual_out + sample, residual, mask=ours)
    tl.store(t_out + 2 * sample, t0, mask=ours)
    tl.store(t_out + 2 * sample + 1, t1, mask=ours)
    R_out += 9 * sample
    tl.store(R_out, r00, mask=ours)
    tl.store(R_out + 1, r01, mask=ours)
    tl.store(R_out + 2, r02, mask=ours)
    tl.store(R_out + 3, r10, mask=ours)
    tl.store(R_out + 4, r11, mask=ours)
    tl.store(R_out + 5, r12, mask=ours)
    tl.store(R_out + 6, r01 * r12 - r02 * r11, mask=ours)
    tl.store(R_out + 7, r02 * r10 - r00 * r12, mask=ours)
    tl.store(R_out + 8, r00 * r11 - r01 * r10, mask=ours)


@jit
def fit_single(
    X, Y, mask, s_out, R_out, t_out, residual_out, sample, ours, start, B,
    N: tl.constexpr, ROWS: tl.constexpr, MASKED: tl.constexpr, SAMPLES: tl.constexpr,
):  # fmt: skip
    """Camera and residual in float32; returns where they are not proven to be good."""
    at, flat_seen, count, first, given = _places(mask, sample, start, B, N, ROWS, MASKED, SAMPLES)
    seen = tl.reshape(flat_seen, [ROWS, SAMPLES])
    x0, ox0 = _from_first(X + 2 * at, X + 2 * first, flat_seen, given, ROWS)
    x1, ox1 = _from_first(X + 2 * at + 1, X + 2 * first + 1, flat_seen, given, ROWS)
    y0, oy0 = _from_first(Y + 3 * at, Y + 3 * first, flat_seen, given, ROWS)
    y1, oy1 = _from_first(Y + 3 * at + 1, Y + 3 * first + 1, flat_seen, given, ROWS)
    y2, oy2 = _from_first(Y + 3 * at + 2, Y + 3 * first + 2, flat_seen, given, ROWS)
    x0, mx0 = _centred(x0, seen, count, N)
    x1, mx1 = _centred(x1, seen, count, N)
    y0, my0 = _centred(y0, seen, count, N)
    y1, my1 = _centred(y1, seen, count, N)
    y2, my2 = _centred(y2, seen, count, N)
    c00, c01, c02 = _total(y0 * y0, N), _total(y0 * y1, N), _total(y0 * y2, N)
    c11, c12, c22 = _total(y1 * y1, N), _total(y1 * y2, N), _total(y2 * y2, N)
    h00, h01, h02 = _total(x0 * y0, N), _total(x0 * y1, N), _total(x0 * y2, N)
    h10, h11, h12 = _total(x1 * y0, N), _total(x1 * y1, N), _total(x1 * y2, N)
    c00, c01, c02, c11, c12, c22, h00, h01, h02, h10, h11, h12, size, reach = unit_size(
        c00, c01, c02, c11, c12, c22, h00, h01, h02, h10, h11, h12, TINY_SINGLE
    )
    b00, b01, b02, b11, b12, b22, n0, n1, n2 = picture_terms(h00, h01, h02, h10, h11, h12)
    # these moments are good to 1e-7 of the shape's size: proof and view need a margin above that
    r0, r1, r2, proven = short_way(
        c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2,
        ROUGH=3, POLISH=0, SHIFTS=2, SLACK=3e-6, MARGIN=1e-4, DEPTH=1e-2,
    )  # fmt: skip
    proven = proven & (size > 1 / LARGEST_SINGLE) & (size < LARGEST_SINGLE)
    proven = proven & (reach > 1 / LARGEST_SINGLE) & (reach < LARGEST_SINGLE)
    s, r00, r01, r02, r10, r11, r12 = camera_of(
        r0, r1, r2, c00, c01, c02, c11, c12, c22, h00, h01, h02, h10, h11, h12, THIN_SINGLE, TINY_SINGLE
    )
    s = s * reach / tl.maximum(size, TINY_SINGLE)
    residual = _left_over(x0, x1, y0, y1, y2, s, r00, r01, r02, r10, r11, r12, N)
    mx0, mx1 = ox0.to(tl.float64) + mx0.to(tl.float64), ox1.to(tl.float64) + mx1.to(tl.float64)
    my0, my1 = oy0.to(tl.float64) + my0.to(tl.float64), oy1.to(tl.float64) + my1.to(tl.float64)
    my2 = oy2.to(tl.float64) + my2.to(tl.float64)
    t0, t1 = _shift(mx0, mx1, my0, my1, my2, s, r00, r01, r02, r10, r11, r12)
    store(s_out, R_out, t_out, residual_out, sample, ours, s, r00, r01, r02, r10, r11, r12, t0, t1, residual)
    return ours & (proven == 0)


@jit
def fit_double(
    X, Y, mask, s_out, R_out, t_out, residual_out, sample, ours, N: tl.constexpr, MASKED: tl.constexpr
):  # fmt: skip
    """Camera and residual in float64 of the samples that are ours; what the short way cannot prove goes the sure way.

    It goes through the keypoints one by one, twice: kept in float64, they would fill the solver's registers.
    """
    thin: tl.constexpr = THIN if X.dtype.element_ty == tl.float64 else THIN_SINGLE
    zero = (sample * 0).to(tl.float64)
    count, ox0, ox1, oy0, oy1, oy2 = zero, zero, zero, zero, zero, zero
    mx0, mx1, my0, my1, my2 = zero, zero, zero, zero, zero
    c00, c01, c02, c11, c12, c22 = zero, zero, zero, zero, zero, zero
    h00, h01, h02, h10, h11, h12 = zero, zero, zero, zero, zero, zero
    for point in range(N):
        seen, x0, x1, y0, y1, y2 = _keypoint(X, Y, mask, sample * N + point, MASKED)
        # counted from the first keypoint: far from the origin, sums of squares would drown the shape in rounding
        fresh = seen & (count == 0)
        count += tl.where(seen, 1.0, 0.0)
        ox0, x0 = _from_origin(x0, ox0, fresh, seen)
        ox1, x1 = _from_origin(x1, ox1, fresh, seen)
        oy0, y0 = _from_origin(y0, oy0, fresh, seen)
        oy1, y1 = _from_origin(y1, oy1, fresh, seen)
        oy2, y2 = _from_origin(y2, oy2, fresh, seen)
        mx0, mx1, my0, my1, my2 = mx0 + x0, mx1 + x1, my0 + y0, my1 + y1, my2 + y2
        c00, c01, c02, c11, c12, c22 = (
            c00 + y0 * y0, c01 + y0 * y1, c02 + y0 * y2, c11 + y1 * y1, c12 + y1 * y2, c22 + y2 * y2
        )  # fmt: skip
        h00, h01, h02, h10, h11, h12 = (
            h00 + x0 * y0, h01 + x0 * y1, h02 + x0 * y2, h10 + x1 * y0, h11 + x1 * y1, h12 + x1 * y2
        )  # fmt: skip
    part = 1 / tl.maximum(count, 1.0)
    w0, w1, w2 = part * my0, part * my1, part * my2
    c00, c01, c02, c11, c12, c22, h00, h01, h02, h10, h11, h12, size, reach = unit_size(
        c00 - w0 * my0, c01 - w0 * my1, c02 - w0 * my2, c11 - w1 * my1, c12 - w1 * my2, c22 - w2 * my2,
        h00 - w0 * mx0, h01 - w1 * mx0, h02 - w2 * mx0, h10 - w0 * mx1, h11 - w1 * mx1, h12 - w2 * mx1, TINY,
    )  # fmt: skip
    point_like, scale = size <= TINY, reach / tl.maximum(size, TINY)
    mx0, mx1, my0, my1, my2 = ox0 + part * mx0, ox1 + part * mx1, oy0 + w0, oy1 + w1, oy2 + w2
    b00, b01, b02, b11, b12, b22, n0, n1, n2 = picture_terms(h00, h01, h02, h10, h11, h12)
    r0, r1, r2, proven = short_way(
        c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2,
        ROUGH=3, POLISH=3, SHIFTS=5, SLACK=1e-7, MARGIN=1e-12, DEPTH=1e-6,
    )  # fmt: skip
    total = c00 + c11 + c22 + b00 + b11 + b22 + n0 + n1 + n2
    hard = ours & (proven == 0) & (tl.abs(total) < 1e300)  # what is not a number stays as it is
    if tl.max(tl.where(hard, 1, 0), 0) > 0:
        r0, r1, r2 = sure_way(
            hard, r0, r1, r2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, thin
        )
    s, r00, r01, r02, r10, r11, r12 = camera_of(
        r0, r1, r2, c00, c01, c02, c11, c12, c22, h00, h01, h02, h10, h11, h12, thin, TINY
    )
    s = tl.where(point_like, 1.0, s * scale)
    residual = zero
    for point in range(N):
        seen, x0, x1, y0, y1, y2 = _keypoint(X, Y, mask, sample * N + point, MASKED)
        y0, y1, y2 = y0 - my0, y1 - my1, y2 - my2
        e0 = s * dot(r00, r01, r02, y0, y1, y2) - (x0 - mx0)
        e1 = s * dot(r10, r11, r12, y0, y1, y2) - (x1 - mx1)
        residual += tl.where(seen, e0 * e0 + e1 * e1, 0.0)
    t0, t1 = _shift(mx0, mx1, my0, my1, my2, s, r00, r01, r02, r10, r11, r12)
    store(s_out, R_out, t_out, residual_out, sample, ours, s, r00, r01, r02, r10, r11, r12, t0, t1, residual)


@jit
def _keypoint(X, Y, mask, at, MASKED: tl.constexpr):
    """One keypoint of every sample, in float64, and where it is seen."""
    seen = at >= 0
    if MASKED:
        seen = tl.load(mask + at) != 0
    x0, x1 = tl.load(X + 2 * at, mask=seen, other=0.0), tl.load(X + 2 * at + 1, mask=seen, other=0.0)
    y0, y1 = tl.load(Y + 3 * at, mask=seen, other=0.0), tl.load(Y + 3 * at + 1, mask=seen, other=0.0)
    y2 = tl.load(Y + 3 * at + 2, mask=seen, other=0.0)
    return seen, x0.to(tl.float64), x1.to(tl.float64), y0.to(tl.float64), y1.to(tl.float64), y2.to(tl.float64)


@jit
def _from_origin(value, origin, fresh, seen):
    origin = tl.where(fresh, value, origin)
    return origin, tl.where(seen, value - origin, 0.0)


@jit
def _places(mask, sample, start, B, N: tl.constexpr, ROWS: tl.constexpr, MASKED: tl.constexpr, SAMPLES: tl.constexpr):
    """Where the keypoints of the samples lie and which are seen, [ROWS * SAMPLES]; how many; the first one.

    The index is flat so that only one layout is possible: neighbouring threads take neighbouring samples, and a sum
    over keypoints stays within a thread. For a tile, compilers differ, and some would spread a sample over the warp.
    """
    flat = tl.arange(0, ROWS * SAMPLES)
    point = flat // SAMPLES
    at = tl.minimum(start + flat % SAMPLES, B - 1) * N + point
    seen = point < N
    if MASKED:
        seen = seen & (tl.load(mask + at, mask=seen, other=0) != 0)
        given = tl.reshape(seen, [ROWS, SAMPLES])
        count = tl.maximum(tl.sum(tl.where(given, 1, 0), 0), 1)
        first = tl.min(tl.where(given, tl.arange(0, ROWS)[:, None], N), 0)
    else:
        first = (sample * 0).to(tl.int32)
        count = first + N
    return at, seen, count, sample * N + first, first < N


@jit
def _from_first(points, first, seen, given, ROWS: tl.constexpr):
    """A coordinate [ROWS, SAMPLES] from the first keypoint on: far from the origin, rounding would drown the shape."""
    origin = tl.load(first, mask=given, other=0.0)
    value = tl.reshape(tl.load(points, mask=seen, other=0.0), [ROWS, origin.shape[0]])
    return tl.where(tl.reshape(seen, value.shape), value - origin[None, :], 0.0), origin


@jit
def _centred(points, seen, count, N: tl.constexpr):
    mean = _total(points, N) / count
    return tl.where(seen, points - mean[None, :], 0.0), mean


@jit
def _total(points, N: tl.constexpr):
    """Sum over the keypoints. -0.0 is what leaves every number as it is: the compiler drops the rows beyond N."""
    return tl.sum(tl.where(tl.arange(0, points.shape[0])[:, None] < N, points, -0.0), 0)


@jit
def _left_over(x0, x1, y0, y1, y2, s, r00, r01, r02, r10, r11, r12, N: tl.constexpr):
    """sum || x - s P R y ||^2 of centred keypoints, from themselves: from the moments it would cancel."""
    a0, a1, a2, b0, b1, b2 = s * r00, s * r01, s * r02, s * r10, s * r11, s * r12
    e0 = dot(a0[None, :], a1[None, :], a2[None, :], y0, y1, y2) - x0
    e1 = dot(b0[None, :], b1[None, :], b2[None, :], y0, y1, y2) - x1
    return _total(e0 * e0 + e1 * e1, N)


@jit
def _shift(mx0, mx1, my0, my1, my2, s, r00, r01, r02, r10, r11, r12):
    """t from the means, in float64: far from the origin it is a small difference of large numbers."""
    s = s.to(tl.float64)
    t0 = mx0 - s * dot(r00.to(tl.float64), r01.to(tl.float64), r02.to(tl.float64), my0, my1, my2)
    t1 = mx1 - s * dot(r10.to(tl.float64), r11.to(tl.float64), r12.to(tl.float64), my0, my1, my2)
    return t0, t1
