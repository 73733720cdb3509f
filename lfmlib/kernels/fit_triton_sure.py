"""Device functions of the fused fit: the sure way to the best viewing direction, for the few that have no proof.

`fit_torch._dinkelbach` in float64, with the eigenbasis by Jacobi's rotations. A loop ends where no sample of the block
still gains, at the latest after the steps named here.
"""

import triton.language as tl

from lfmlib.kernels.fit_triton_solve import direction, dot, quadratic
from lfmlib.kernels.triton_jit import jit

SWEEPS = tl.constexpr(5)  # of Jacobi rotations: quadratic convergence, 1e-16 after four
SECULAR_STEPS = tl.constexpr(12)
DINKELBACH_STEPS = tl.constexpr(60)  # 3 to 5 suffice unless a shape is a needle to 1 : 10,000
TOLERANCE = tl.constexpr(1e-10)
TINY = tl.constexpr(1e-300)


@jit
def jacobi_rotation(app, aqq, apq, akp, akq, vp0, vp1, vp2, vq0, vq1, vq2):
    """Turns axes p and q so that apq becomes 0."""
    difference = aqq - app
    root = tl.sqrt(difference * difference + 4 * apq * apq)
    tangent = 2 * apq / tl.maximum(tl.abs(difference) + root, TINY)
    tangent = tl.minimum(tl.maximum(tangent, -1.0), 1.0)
    tangent = tl.where(difference < 0, -tangent, tangent)
    cosine = 1 / tl.sqrt(1 + tangent * tangent)
    sine = tangent * cosine
    return (app - tangent * apq, aqq + tangent * apq, cosine * akp - sine * akq, sine * akp + cosine * akq,
            cosine * vp0 - sine * vq0, cosine * vp1 - sine * vq1, cosine * vp2 - sine * vq2,
            sine * vp0 + cosine * vq0, sine * vp1 + cosine * vq1, sine * vp2 + cosine * vq2)  # fmt: skip


@jit
def eigenbasis(a00, a01, a02, a11, a12, a22):
    """Eigenvalues and eigenvectors of a symmetric matrix by cyclic Jacobi rotations, in no order."""
    zero = a00 * 0
    one = zero + 1
    u0, u1, u2 = one, zero, zero
    v0, v1, v2 = zero, one, zero
    w0, w1, w2 = zero, zero, one
    for _ in range(SWEEPS):
        a00, a11, a02, a12, u0, u1, u2, v0, v1, v2 = jacobi_rotation(a00, a11, a01, a02, a12, u0, u1, u2, v0, v1, v2)
        a01 = zero
        a00, a22, a01, a12, u0, u1, u2, w0, w1, w2 = jacobi_rotation(a00, a22, a02, a01, a12, u0, u1, u2, w0, w1, w2)
        a02 = zero
        a11, a22, a01, a02, v0, v1, v2, w0, w1, w2 = jacobi_rotation(a11, a22, a12, a01, a02, v0, v1, v2, w0, w1, w2)
        a12 = zero
    return a00, a11, a22, u0, u1, u2, v0, v1, v2, w0, w1, w2


@jit
def sphere_maximum(q00, q01, q02, q11, q12, q22, n0, n1, n2):
    """argmax over unit r of r^T Q r + 2 n.r, hard case included: see `fit_torch._sphere_maximum`."""
    d0, d1, d2, u0, u1, u2, v0, v1, v2, w0, w1, w2 = eigenbasis(q00, q01, q02, q11, q12, q22)
    top = tl.maximum(d0, tl.maximum(d1, d2))
    d0, d1, d2 = top - d0, top - d1, top - d2  # the gap to the largest, exactly 0 for it
    e0, e1, e2 = dot(u0, u1, u2, n0, n1, n2), dot(v0, v1, v2, n0, n1, n2), dot(w0, w1, w2, n0, n1, n2)
    e0, e1, e2 = nudged(e0, d0), nudged(e1, d1), nudged(e2, d2)
    delta = tl.maximum(tl.abs(e0) - d0, tl.maximum(tl.abs(e1) - d1, tl.abs(e2) - d2))
    left = 0 + SECULAR_STEPS
    while left > 0:
        i0, i1, i2 = 1 / (delta + d0), 1 / (delta + d1), 1 / (delta + d2)
        t0, t1, t2 = e0 * i0 * e0 * i0, e1 * i1 * e1 * i1, e2 * i2 * e2 * i2
        norm2 = t0 + t1 + t2
        longer = norm2 > 1 + 1e-12
        rise = norm2 * (tl.sqrt(norm2) - 1) / dot(t0, t1, t2, i0, i1, i2)
        delta = tl.where(longer, delta + rise, delta)
        left = (left - 1) * tl.max(tl.where(longer, 1, 0), 0)
    e0, e1, e2 = direction(e0 / (delta + d0), e1 / (delta + d1), e2 / (delta + d2), TINY)
    return e0 * u0 + e1 * v0 + e2 * w0, e0 * u1 + e1 * v1 + e2 * w1, e0 * u2 + e1 * v2 + e2 * w2


@jit
def nudged(e, gap):
    """A component along the largest eigenvector that is not exactly 0: picks one of two equally good mirror answers."""
    return tl.where(gap <= 0, tl.where(e < 0, -1.0, 1.0) * tl.maximum(tl.abs(e), 1e-140), e)


@jit
def ratio_of(r0, r1, r2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, thin):
    """f(r); 0 where the shape has no extent across the view."""
    depth = 1 - quadratic(c00, c01, c02, c11, c12, c22, r0, r1, r2)
    lowered = 1 - quadratic(b00, b01, b02, b11, b12, b22, r0, r1, r2) + 2 * dot(n0, n1, n2, r0, r1, r2)
    return tl.where(depth > thin, lowered / tl.maximum(depth, thin), 0.0)


@jit
def better_start(
    value, best0, best1, best2, r0, r1, r2,
    c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, thin,
):  # fmt: skip
    """The better of `best` and r, r turned to the side of n."""
    sign = tl.where(dot(r0, r1, r2, n0, n1, n2) < 0, -1.0, 1.0)
    r0, r1, r2 = sign * r0, sign * r1, sign * r2
    new = ratio_of(r0, r1, r2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, thin)
    better = new > value
    return (tl.where(better, new, value), tl.where(better, r0, best0), tl.where(better, r1, best1),
            tl.where(better, r2, best2))  # fmt: skip


@jit
def sure_way(
    active, r0, r1, r2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, thin
):  # fmt: skip
    """The best viewing direction where `active`, r elsewhere: Dinkelbach's iteration, global from any start."""
    zero = c00 * 0
    _, _, _, u0, u1, u2, v0, v1, v2, w0, w1, w2 = eigenbasis(c00, c01, c02, c11, c12, c22)
    # looking down a needle's length multiplies the ratio, so the axes of C are starts too
    value, x0, x1, x2 = better_start(
        zero - 1, zero, zero, zero + 1, u0, u1, u2,
        c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, thin,
    )  # fmt: skip
    value, x0, x1, x2 = better_start(
        value, x0, x1, x2, v0, v1, v2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, thin
    )
    value, x0, x1, x2 = better_start(
        value, x0, x1, x2, w0, w1, w2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, thin
    )
    u0, u1, u2 = direction(n0, n1, n2, TINY)
    value, x0, x1, x2 = better_start(
        value, x0, x1, x2, u0, u1, u2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, thin
    )
    value, x0, x1, x2 = better_start(
        value, x0, x1, x2, r0, r1, r2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, thin
    )
    r0, r1, r2 = tl.where(active, x0, r0), tl.where(active, x1, r1), tl.where(active, x2, r2)
    left = 0 + DINKELBACH_STEPS
    while left > 0:
        x0, x1, x2 = sphere_maximum(
            value * c00 - b00, value * c01 - b01, value * c02 - b02,
            value * c11 - b11, value * c12 - b12, value * c22 - b22, n0, n1, n2,
        )  # fmt: skip
        new = ratio_of(x0, x1, x2, c00, c01, c02, c11, c12, c22, b00, b01, b02, b11, b12, b22, n0, n1, n2, thin)
        better = active & (new > value)
        active = active & (new - value > TOLERANCE * value)
        value = tl.where(better, new, value)
        r0, r1, r2 = tl.where(better, x0, r0), tl.where(better, x1, r1), tl.where(better, x2, r2)
        left = (left - 1) * tl.max(tl.where(active, 1, 0), 0)
    return r0, r1, r2
