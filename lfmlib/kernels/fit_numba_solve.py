"""`fit_torch` compiled for the CPU: second moments in, globally optimal cameras out. The maths is explained there.

Samples take the short way in blocks. A loop over a block is straight-line code without branches, which the compiler
turns into vector instructions; its length is fixed, so that no sample is a remainder that is computed otherwise. A
sample without a proof takes the sure way, alone. Vectors and symmetric matrices are tuples, (x, y, z) and
(00, 01, 02, 11, 12, 22); everything is float64.
"""

import math

import numpy as np

from lfmlib.kernels.numba_jit import called, compiled, inlined

TINY = 1e-300  # these six as in `fit_torch`: imported, a change there would not reach what is cached
STEPS, NEWTON = 60, 12
THIN, TOLERANCE = 1e-14, 1e-10
THIRD = (1.15063, -0.19453, 0.04418)
SWEEPS = 12  # of Jacobi's method at most; 4 to 6 suffice

LANES = 64  # samples of a block
C, H, SIZE, REACH, R, PROVEN, CAMERA, ROWS = 0, 6, 12, 13, 14, 17, 18, 28  # rows of a block's numbers


@compiled
def solve(moments, thin, cameras):
    """Cameras [10, B] (s, then R row by row) for second moments [12, B] (C, then H, as in `fit_torch.solve_moments`).

    A sample whose moments are not finite gets a camera that is not a number. Returns how many took the sure way.
    """
    B, sure = moments.shape[1], 0
    work, a, v = np.empty(ROWS * LANES), np.empty((3, 3)), np.empty((3, 3))
    for start in range(0, B, LANES):
        count = min(LANES, B - start)
        for k in range(12):
            for i in range(count):
                work[k * LANES + i] = moments[k, start + i]
        _short_way(work)
        for i in range(count):
            if work[PROVEN * LANES + i] == 0.0 and math.isfinite(work[SIZE * LANES + i] + work[REACH * LANES + i]):
                sure += 1
                r = _sure_way(*_problem(work, i), _vector(work, R, i), thin, a, v)
                for k in range(3):
                    work[(R + k) * LANES + i] = r[k]
        _cameras(work, thin)
        for k in range(10):
            for i in range(count):
                cameras[k, start + i] = work[(CAMERA + k) * LANES + i]
    return sure


@inlined
def _short_way(work):
    """Moments in units of their size, a viewing direction, and whether it is proven to be the best of all."""
    for i in range(LANES):
        c, h1, h2 = _matrix(work, C, i), _vector(work, H, i), _vector(work, H + 3, i)
        size, reach = c[0] + c[3] + c[5], math.sqrt(_dot(h1, h1) + _dot(h2, h2))
        work[SIZE * LANES + i], work[REACH * LANES + i] = size, reach
        per_size, per_reach = 1 / max(size, TINY), 1 / max(reach, TINY)
        for k in range(6):
            work[(C + k) * LANES + i] *= per_size
            work[(H + k) * LANES + i] *= per_reach
    for i in range(LANES):
        c, b, n = _problem(work, i)
        square = _dot(n, n)
        length = math.sqrt(square + TINY)
        r = (n[0] / length, n[1] / length, n[2] / length if square > TINY else 1.0)
        r = _rough_sphere_maximum(_rough_sphere_maximum(r, c, b, n), c, b, n)
        r = _newton_step(_newton_step(_newton_step(r, c, b, n)[0], c, b, n)[0], c, b, n)[0]
        r, proven = _newton_step(r, c, b, n)
        for k in range(3):
            work[(R + k) * LANES + i] = r[k]
        work[PROVEN * LANES + i] = 1.0 if proven else 0.0


@inlined
def _problem(work, i):
    """C, B = H^T H and n = h1 x h2 of sample i."""
    x, y = _vector(work, H, i), _vector(work, H + 3, i)
    b = (x[0] * x[0] + y[0] * y[0], x[0] * x[1] + y[0] * y[1], x[0] * x[2] + y[0] * y[2],
         x[1] * x[1] + y[1] * y[1], x[1] * x[2] + y[1] * y[2], x[2] * x[2] + y[2] * y[2])  # fmt: skip
    return _matrix(work, C, i), b, _cross(x, y)


@inlined
def _rough_sphere_maximum(r, c, b, n):
    """One Dinkelbach step in closed form: the trigonometric root of a cubic, then Newton on the secular equation."""
    ratio = (1 - _dot(_times(b, r), r) + 2 * _dot(n, r)) / max(1 - _dot(_times(c, r), r), 1e-6)
    q = _times_less(ratio, c, b)
    adj = _adjugate(q)
    trace, minors = q[0] + q[3] + q[5], adj[0] + adj[3] + adj[5]
    det = q[0] * adj[0] + q[1] * adj[1] + q[2] * adj[2]
    mean = trace / 3
    spread = math.sqrt(max(mean * mean - minors / 3, 1e-12))
    cosine = (det - mean * minors + 2 * mean * mean * mean) / (2 * spread * spread * spread)
    half = math.sqrt((min(max(cosine, -1.0), 1.0) + 1) / 2)
    top = mean + spread * (1 + half * (THIRD[0] + half * (THIRD[1] + half * THIRD[2])))
    flat, deep = _plus(_times(q, n), -trace, n), _times(adj, n)
    w4, w3, w2 = _dot(n, n), 2 * _dot(n, flat), _dot(flat, flat) + 2 * _dot(n, deep)
    w1, w0 = 2 * _dot(flat, deep), _dot(deep, deep)
    mu = top + 1e-3 * math.sqrt(w4) + 1e-7
    for _ in range(2):
        p, dp = ((mu - trace) * mu + minors) * mu - det, (3 * mu - 2 * trace) * mu + minors
        w = (((w4 * mu + w3) * mu + w2) * mu + w1) * mu + w0
        dw = ((4 * w4 * mu + 3 * w3) * mu + 2 * w2) * mu + w1
        mu = max(mu - w * (p - math.sqrt(max(w, 1e-30))) / (dp * w - p * dw / 2), top)
    return _unit(_plus(deep, mu, _plus(flat, mu, n)))


@inlined
def _newton_step(r, c, b, n):
    """One Riemannian Newton step on f, and the proof that r already was the global maximum."""
    cr, br = _times(c, r), _times(b, r)
    depth = max(1 - _dot(cr, r), THIN)
    ratio = (1 - _dot(br, r) + 2 * _dot(n, r)) / depth
    g = _plus(_plus(n, -1.0, br), ratio, cr)
    mu = _dot(r, g)
    q = _times_less(ratio, c, b)
    k = (mu - q[0], -q[1], -q[2], mu - q[3], -q[4], mu - q[5])
    adj = _adjugate(k)
    det, trace = k[0] * adj[0] + k[1] * adj[1] + k[2] * adj[2], k[0] + k[3] + k[5]
    y, z = _times(adj, n), _times(adj, r)
    new = _unit(_plus(y, (det - _dot(r, y)) / _dot(r, z), z))
    slack = _plus(g, -mu, r)
    stationary = (_dot(slack, slack) < 1e-10 * mu * mu) & (depth > 1e-6)
    definite = (trace > 0) & (adj[0] + adj[3] + adj[5] > 0) & (det > 1e-12 * trace * trace * trace)
    return new, stationary & definite


@called
def _sure_way(c, b, n, r, thin, a, v):
    """Dinkelbach's iteration from the best of r, n and the axes of C. The [3, 3] arrays a and v are room to work in."""
    _eigen(c, a, v)
    best, value = _row(v, 0), -1.0
    length = max(math.sqrt(_dot(n, n)), TINY)
    for start in (r, best, _row(v, 1), _row(v, 2), (n[0] / length, n[1] / length, n[2] / length)):
        sign = -1.0 if _dot(start, n) < 0 else 1.0
        tried = (sign * start[0], sign * start[1], sign * start[2])
        new = _ratio_of(tried, c, b, n, thin)
        if new > value:  # never true of a start that is not a number
            best, value = tried, new
    for _ in range(STEPS):
        tried = _sphere_maximum(_times_less(value, c, b), n, a, v)
        new = _ratio_of(tried, c, b, n, thin)
        gain = new - value
        if gain > 0:
            best, value = tried, new
        if not gain > TOLERANCE * value:
            break
    return best


@inlined
def _ratio_of(r, c, b, n, thin):
    depth = 1 - _dot(_times(c, r), r)
    return (1 - _dot(_times(b, r), r) + 2 * _dot(n, r)) / depth if depth > thin else 0.0


@inlined
def _sphere_maximum(q, n, a, v):
    """argmax over unit r of r^T Q r + 2 n.r, from Q's eigenbasis and Newton on the secular equation."""
    _eigen(q, a, v)
    top = max(a[0, 0], a[1, 1], a[2, 2])
    e, gap, delta = np.empty(3), np.empty(3), -math.inf
    for k in range(3):
        e[k], gap[k] = _dot(_row(v, k), n), top - a[k, k]
        if gap[k] <= 0:
            e[k] = math.copysign(max(abs(e[k]), 1e-140), e[k])
        delta = max(delta, abs(e[k]) - gap[k])
    for _ in range(NEWTON):
        norm2 = slope = 0.0
        for k in range(3):
            term = (e[k] / (delta + gap[k])) ** 2
            norm2 += term
            slope += term / (delta + gap[k])
        if norm2 < 1 + 1e-12:
            break
        delta += norm2 * (math.sqrt(norm2) - 1) / slope
    r = (0.0, 0.0, 0.0)
    for k in range(3):
        r = _plus(r, e[k] / (delta + gap[k]), _row(v, k))
    return _unit(r)


@called
def _eigen(q, a, v):
    """Eigenvalues into the diagonal of a, eigenvectors into the rows of v, by Jacobi's rotations."""
    a[0, 0], a[0, 1], a[0, 2], a[1, 1], a[1, 2], a[2, 2] = q
    a[1, 0], a[2, 0], a[2, 1] = q[1], q[2], q[4]
    v[:] = 0.0
    v[0, 0] = v[1, 1] = v[2, 2] = 1.0
    for _ in range(SWEEPS):
        if abs(a[0, 1]) + abs(a[0, 2]) + abs(a[1, 2]) <= 1e-30 * (abs(a[0, 0]) + abs(a[1, 1]) + abs(a[2, 2])):
            break
        for i, j in ((0, 1), (0, 2), (1, 2)):
            if a[i, j] == 0:
                continue
            half = (a[j, j] - a[i, i]) / (2 * a[i, j])
            tangent = math.copysign(1 / (abs(half) + math.sqrt(half * half + 1)), half)
            cosine = 1 / math.sqrt(tangent * tangent + 1)
            sine = tangent * cosine
            for k in range(3):
                a[k, i], a[k, j] = cosine * a[k, i] - sine * a[k, j], sine * a[k, i] + cosine * a[k, j]
                v[i, k], v[j, k] = cosine * v[i, k] - sine * v[j, k], sine * v[i, k] + cosine * v[j, k]
            for k in range(3):
                a[i, k], a[j, k] = cosine * a[i, k] - sine * a[j, k], sine * a[i, k] + cosine * a[j, k]


@inlined
def _cameras(work, thin):
    """Scale and rotation for a viewing direction: the rotation nearest to H among those whose last row is r."""
    for i in range(LANES):
        c, h1, h2, r = _matrix(work, C, i), _vector(work, H, i), _vector(work, H + 3, i), _vector(work, R, i)
        turned = _cross(h2, r)
        first = _across(_plus(h1, 1.0, turned), r)
        lost = _dot(first, first) <= 1e-300  # the picture says nothing about the turn: any will do
        x = 0.0 if abs(r[0]) > 0.7 else 1.0
        other = _across((x, 1 - x, 0.0), r)
        first = (other[0] if lost else first[0], other[1] if lost else first[1], other[2] if lost else first[2])
        first = _unit(_across(_unit(first), r))  # twice: down a needle nearly all of it has cancelled
        second = _cross(r, first)
        extent = _dot(_times(c, first), first) + _dot(_times(c, second), second)
        share = (_dot(h1, first) + _dot(h2, second)) / max(extent, thin) if extent > thin else 0.0
        size, reach = work[SIZE * LANES + i], work[REACH * LANES + i]
        work[CAMERA * LANES + i] = 1.0 if size <= TINY else share * reach / size
        for k in range(3):
            work[(CAMERA + 1 + k) * LANES + i] = first[k]
            work[(CAMERA + 4 + k) * LANES + i] = second[k]
            work[(CAMERA + 7 + k) * LANES + i] = r[k]


@inlined
def _vector(work, row, i):
    return work[row * LANES + i], work[(row + 1) * LANES + i], work[(row + 2) * LANES + i]


@inlined
def _matrix(work, row, i):
    return _vector(work, row, i) + _vector(work, row + 3, i)


@inlined
def _row(v, k):
    return v[k, 0], v[k, 1], v[k, 2]


@inlined
def _dot(x, y):
    return x[0] * y[0] + x[1] * y[1] + x[2] * y[2]


@inlined
def _cross(x, y):
    return x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]


@inlined
def _plus(x, factor, y):
    return x[0] + factor * y[0], x[1] + factor * y[1], x[2] + factor * y[2]


@inlined
def _across(x, r):
    """The part of x that is perpendicular to the unit vector r."""
    return _plus(x, -_dot(x, r), r)


@inlined
def _unit(x):
    factor = 1 / math.sqrt(_dot(x, x))
    return factor * x[0], factor * x[1], factor * x[2]


@inlined
def _times(q, x):
    return (_dot((q[0], q[1], q[2]), x), _dot((q[1], q[3], q[4]), x), _dot((q[2], q[4], q[5]), x))


@inlined
def _times_less(ratio, c, b):
    """Q = ratio C - B."""
    return (ratio * c[0] - b[0], ratio * c[1] - b[1], ratio * c[2] - b[2],
            ratio * c[3] - b[3], ratio * c[4] - b[4], ratio * c[5] - b[5])  # fmt: skip


@inlined
def _adjugate(q):
    return (q[3] * q[5] - q[4] * q[4], q[2] * q[4] - q[1] * q[5], q[1] * q[4] - q[2] * q[3],
            q[0] * q[5] - q[2] * q[2], q[1] * q[2] - q[0] * q[4], q[0] * q[3] - q[1] * q[1])  # fmt: skip
