"""Device functions of the fused fit: second moments in, a globally optimal camera out, one sample a thread.

The mathematics, and the names, are those of `fit_torch`, the oracle: see there for the reduction to one viewing
direction r, the certificate and Dinkelbach's iteration. Symmetric matrices are six numbers (00, 01, 02, 11, 12, 22).
Vectors are passed as their components: Triton before 3.3 has no tuples as arguments.

Every loop that depends on data ends by itself at a fixed number of steps, and a finished sample is frozen, so that it
gets the same bits whatever shares its block. Comparisons with NaN are false: such a sample is never proven, never
gains, and stops at once.
"""

import triton.language as tl

from lfmlib.kernels.triton_jit import jit

NEWTON_STEPS = tl.constexpr(5)  # on r; near the optimum the error is squared by each


@jit
def dot(a0, a1, a2, b0, b1, b2):
    return a0 * b0 + a1 * b1 + a2 * b2


@jit
def cross(a0, a1, a2, b0, b1, b2):
    return a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0


@jit
def times(q00, q01, q02, q11, q12, q22, x0, x1, x2):
    return dot(q00, q01, q02, x0, x1, x2), dot(q01, q11, q12, x0, x1, x2), dot(q02, q12, q22, x0, x1, x2)


@jit
def quadratic(q00, q01, q02, q11, q12, q22, x0, x1, x2):
    y0, y1, y2 = times(q00, q01, q02, q11, q12, q22, x0, x1, x2)
    return dot(x0, x1, x2, y0, y1, y2)


@jit
def adjugate(q00, q01, q02, q11, q12, q22):
    return (q11 * q22 - q12 * q12, q02 * q12 - q01 * q22, q01 * q12 - q02 * q11,
            q00 * q22 - q02 * q02, q01 * q02 - q00 * q12, q00 * q11 - q01 * q01)  # fmt: skip


@jit
def direction(x0, x1, x2, tiny):
    """x / |x|, and 0 where x is 0."""
    length = tl.maximum(tl.sqrt(dot(x0, x1, x2, x0, x1, x2)), tiny)
    return x0 / length, x1 / length, x2 / length


@jit
def polished(x0, x1, x2):
    """A unit vector whose length is off by rounding (and a GPU's fast square root), nearer to 1: a Newton step."""
    factor = 1.5 - 0.5 * dot(x0, x1, x2, x0, x1, x2)
    return x0 * factor, x1 * factor, x2 * factor


@jit
def across(x0, x1, x2, r0, r1, r2):
    """The part of x that is perpendicular to the unit vector r."""
    along = dot(x0, x1, x2, r0, r1, r2)
    return x0 - along * r0, x1 - along * r1, x2 - along * r2


@jit
def unit_size(c00, c01, c02, c11, c12, c22, h00, h01, h02, h10, h11, h12, tiny):
    """Moments C and H, both divided by their size, and the sizes."""
    size = c00 + c11 + c22
    reach = tl.sqrt(dot(h00, h01, h02, h00, h01, h02) + dot(h10, h11, h12, h10, h11, h12))
    c, h = 1 / tl.maximum(size, tiny), 1 / tl.maximum(reach, tiny)
    return (c00 * c, c01 * c, c02 * c, c11 * c, c12 * c, c22 * c,
            h00 * h, h01 * h, h02 * h, h10 * h, h11 * h, h12 * h, size, reach)  # fmt: skip


@jit
def picture_terms(h00, h01, h02, h10, h11, h12):
    """B = H^T H and n = h1 x h2."""
    n0, n1, n2 = cross(h00, h01, h02, h10, h11, h12)
    return (h00 * h00 + h10 * h10, h00 * h01 + h10 * h11, h00 * h02 + h10 * h12,
            h01 * h01 + h11 * h11, h01 * h02 + h11 * h12, h02 * h02 + h12 * h12, n0, n1, n2)  # fmt: skip


@jit
def rough_sphere_maximum(
    r0, r1, r2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2,
    POLISH: tl.constexpr, SHIFTS: tl.constexpr,
):  # fmt: skip
    """One Dinkelbach step in closed form, without an eigenbasis.

    The largest eigenvalue comes from the cubic of the traceless part of Q, refined by POLISH Newton steps; mu from
    SHIFTS Newton steps on 1 / |r(mu)| = 1. They rise from a lower bound, mu >= n.Q n / |n|^2 + |n|, which is close
    where n fixes the view: with the largest eigenvalue alone as the start, one sample in 5000 went astray in float32.
    """
    lowered = 1 - quadratic(b00, b01, b02, b11, b12, b22, r0, r1, r2) + 2 * dot(n0, n1, n2, r0, r1, r2)
    ratio = lowered / tl.maximum(1 - quadratic(c00, c01, c02, c11, c12, c22, r0, r1, r2), 1e-6)
    q00, q01, q02 = ratio * c00 - b00, ratio * c01 - b01, ratio * c02 - b02
    q11, q12, q22 = ratio * c11 - b11, ratio * c12 - b12, ratio * c22 - b22
    mean = (q00 + q11 + q22) / 3
    q00, q11, q22 = q00 - mean, q11 - mean, q22 - mean
    a00, a01, a02, a11, a12, a22 = adjugate(q00, q01, q02, q11, q12, q22)
    minors = a00 + a11 + a22
    det = q00 * a00 + q01 * a01 + q02 * a02
    spread = tl.sqrt(tl.maximum(-minors / 3, 1e-12))
    cosine = det / (2 * spread * spread * spread)
    half = tl.sqrt((tl.minimum(tl.maximum(cosine, -1.0), 1.0) + 1) / 2)
    # 2 cos(acos(x) / 3), smooth in `half`: no slow trigonometry
    top = spread * (1 + half * (1.15063 + half * (-0.19453 + half * 0.04418)))
    for _ in range(POLISH):
        slope = tl.maximum(3 * top * top + minors, 1e-6 * spread * spread)
        top -= ((top * top + minors) * top - det) / slope
    s0, s1, s2 = times(q00, q01, q02, q11, q12, q22, n0, n1, n2)
    d0, d1, d2 = times(a00, a01, a02, a11, a12, a22, n0, n1, n2)
    # adj(mu - Q) n = mu^2 n + mu Q n + adj(Q) n; its squared length is a quartic in mu
    w4, w3 = dot(n0, n1, n2, n0, n1, n2), 2 * dot(n0, n1, n2, s0, s1, s2)
    w2 = dot(s0, s1, s2, s0, s1, s2) + 2 * dot(n0, n1, n2, d0, d1, d2)
    w1, w0 = 2 * dot(s0, s1, s2, d0, d1, d2), dot(d0, d1, d2, d0, d1, d2)
    length = tl.sqrt(w4)
    mu = tl.maximum(top + 1e-3 * length + 1e-7, length + w3 / (2 * w4 + 1e-30))
    for _ in range(SHIFTS):
        p, slope = (mu * mu + minors) * mu - det, 3 * mu * mu + minors
        w = (((w4 * mu + w3) * mu + w2) * mu + w1) * mu + w0
        slope_w = ((4 * w4 * mu + 3 * w3) * mu + 2 * w2) * mu + w1
        shift = w * (p - tl.sqrt(tl.maximum(w, 1e-30))) / (slope * w - p * slope_w / 2)
        mu = tl.maximum(mu - shift, top)
    return direction((mu * n0 + s0) * mu + d0, (mu * n1 + s1) * mu + d1, (mu * n2 + s2) * mu + d2, 1e-30)


@jit
def newton_step(
    r0, r1, r2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2,
    SLACK: tl.constexpr, MARGIN: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """One Riemannian Newton step on f, and the proof that r is the global maximum: K = mu - Q positive definite."""
    cr0, cr1, cr2 = times(c00, c01, c02, c11, c12, c22, r0, r1, r2)
    br0, br1, br2 = times(b00, b01, b02, b11, b12, b22, r0, r1, r2)
    depth = 1 - dot(cr0, cr1, cr2, r0, r1, r2)
    lowered = 1 - dot(br0, br1, br2, r0, r1, r2) + 2 * dot(n0, n1, n2, r0, r1, r2)
    ratio = lowered / tl.maximum(depth, DEPTH)
    g0, g1, g2 = ratio * cr0 - br0 + n0, ratio * cr1 - br1 + n1, ratio * cr2 - br2 + n2
    mu = dot(r0, r1, r2, g0, g1, g2)
    k00, k01, k02 = mu + b00 - ratio * c00, b01 - ratio * c01, b02 - ratio * c02
    k11, k12, k22 = mu + b11 - ratio * c11, b12 - ratio * c12, mu + b22 - ratio * c22
    a00, a01, a02, a11, a12, a22 = adjugate(k00, k01, k02, k11, k12, k22)
    det, trace = k00 * a00 + k01 * a01 + k02 * a02, k00 + k11 + k22
    y0, y1, y2 = times(a00, a01, a02, a11, a12, a22, n0, n1, n2)
    z0, z1, z2 = times(a00, a01, a02, a11, a12, a22, r0, r1, r2)
    step = (dot(r0, r1, r2, y0, y1, y2) - det) / dot(r0, r1, r2, z0, z1, z2)
    s0, s1, s2 = g0 - mu * r0, g1 - mu * r1, g2 - mu * r2
    proven = (dot(s0, s1, s2, s0, s1, s2) < SLACK * SLACK * trace * trace) & (depth > DEPTH)
    proven = proven & (trace > 0) & (a00 + a11 + a22 > 0) & (det > MARGIN * trace * trace * trace)
    x0, x1, x2 = direction(y0 - step * z0, y1 - step * z1, y2 - step * z2, 1e-30)
    return x0, x1, x2, proven


@jit
def short_way(
    c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2,
    ROUGH: tl.constexpr, POLISH: tl.constexpr, SHIFTS: tl.constexpr,
    SLACK: tl.constexpr, MARGIN: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """A viewing direction, and where it is proven to be the best of all."""
    square = dot(n0, n1, n2, n0, n1, n2)
    r0, r1, r2 = direction(n0, n1, n2, 1e-30)
    r2 = tl.where(square > 0, r2, 1.0)
    for _ in range(ROUGH):
        r0, r1, r2 = rough_sphere_maximum(
            r0, r1, r2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, POLISH, SHIFTS
        )
    proven = square < 0  # nowhere
    left = 0 + NEWTON_STEPS
    while left > 0:
        x0, x1, x2, ended = newton_step(
            r0, r1, r2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, SLACK, MARGIN, DEPTH
        )
        r0, r1, r2 = tl.where(proven, r0, x0), tl.where(proven, r1, x1), tl.where(proven, r2, x2)
        proven = proven | ended
        left = (left - 1) * tl.max(tl.where(proven, 0, 1), 0)
    return r0, r1, r2, proven


@jit
def camera_of(r0, r1, r2, c00, c01, c02, c11, c12, c22, h00, h01, h02, h10, h11, h12, thin, tiny):
    """Scale and the first two rows of the rotation whose last row is r: see `fit_torch._camera`."""
    r0, r1, r2 = polished(r0, r1, r2)
    x0, x1, x2 = cross(h10, h11, h12, r0, r1, r2)
    f0, f1, f2 = across(h00 + x0, h01 + x1, h02 + x2, r0, r1, r2)
    lost = dot(f0, f1, f2, f0, f1, f2) <= tiny  # the picture says nothing about the turn: any will do
    near_x = tl.abs(r0) > 0.7
    o0, o1, o2 = across(tl.where(near_x, 0.0, 1.0), tl.where(near_x, 1.0, 0.0), r0 * 0, r0, r1, r2)
    f0, f1, f2 = tl.where(lost, o0, f0), tl.where(lost, o1, f1), tl.where(lost, o2, f2)
    f0, f1, f2 = direction(f0, f1, f2, tiny)
    f0, f1, f2 = across(f0, f1, f2, r0, r1, r2)  # once more: down a needle nearly all of it has cancelled
    f0, f1, f2 = direction(f0, f1, f2, tiny)
    f0, f1, f2 = polished(f0, f1, f2)
    g0, g1, g2 = cross(r0, r1, r2, f0, f1, f2)
    extent = quadratic(c00, c01, c02, c11, c12, c22, f0, f1, f2) + quadratic(c00, c01, c02, c11, c12, c22, g0, g1, g2)
    s = (dot(h00, h01, h02, f0, f1, f2) + dot(h10, h11, h12, g0, g1, g2)) / tl.maximum(extent, thin)
    return tl.where(extent > thin, s, 0.0), f0, f1, f2, g0, g1, g2
