"""The exact orthographic fit on moments, in plain PyTorch: 12 numbers a sample in, a camera out, globally optimal.

With A = [a1; a2] the first two rows of R, C = sum y y^T and H = sum x y^T (centred), Eq. 1's inner minimum over s is

    sum |x|^2  -  max_A <A, H>^2 / <A C, A>.

For a viewing direction r = a1 x a2 the best in-plane turn is known in closed form, and with B = H^T H, n = h1 x h2 the
problem shrinks to one unit vector (f is even up to the sign of n.r, so the best r has n.r >= 0):

    max_r f(r),   f(r) = (tr B - r^T B r + 2 n.r) / (tr C - r^T C r).

Dinkelbach's iteration turns the ratio into a sequence of problems max_r r^T (lambda C - B) r + 2 n.r on the sphere.
Each of these is a trust-region problem whose global maximum is found from one 3x3 eigenbasis and one scalar equation,
so nothing here is a local search: no starts to choose and no local minimum to fall into. lambda rises monotonically
to the optimum, superlinearly.

Large batches first take a short way: a rough closed-form step, two Newton steps, and a proof that the result is the
global maximum (an optimality certificate, see `_newton_step`). It is element-wise on [B] vectors, a structure of
arrays, so it runs at memory speed. What it cannot prove, a few per cent, goes through `_dinkelbach`, as small batches
do at once. All of it runs in float64 whatever the input: 12 numbers a sample cost little and flat shapes are delicate.
"""

import torch
from jaxtyping import Float
from torch import Tensor

TINY = 1e-300  # keeps 0 / 0 finite in float64
STEPS, STEPS_CUDA = 60, 10  # Dinkelbach steps at most; 3 to 5 suffice unless a shape is a needle to 1 : 10,000
NEWTON = 12  # steps on the scalar equation at most
SMALL = 1024  # up to here the number of calls decides, not their size
THIN = 1e-14  # squared: a view down to 1e-7 of the shape's size is looked at
THIN_SINGLE = 1e-12  # the same for keypoints in float32, whose rounding makes a needle of every line
TOLERANCE = 1e-10  # relative gain of the ratio at which a sample is done; the next gain would be its square

THIRD = (1.15063, -0.19453, 0.04418)  # 2 cos(acos(x) / 3) = 1 + polynomial of sqrt((1 + x) / 2), to 2e-4
FULL = (0, 1, 2, 1, 3, 4, 2, 4, 5)  # the upper triangle laid out as a matrix
UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))

Vec = list[Tensor]  # components, each [B]


def solve_moments(
    C: Float[Tensor, "6 B"], H: Float[Tensor, "6 B"], thin: float = THIN
) -> tuple[Float[Tensor, " B"], Float[Tensor, "B 3 3"]]:
    """Scale and rotation that minimise Eq. 1 for given second moments.

    Args:
        C: sum over keypoints of y y^T, rows (00, 01, 02, 11, 12, 22), float64; [6, B].
        H: sum over keypoints of x y^T, rows (00, 01, 02, 10, 11, 12), float64; [6, B].
        thin: share of tr C that a view must keep to be looked at: one that squeezes the shape further shows rounding.
    Returns:
        s [B] >= 0 and R [B, 3, 3] in SO(3). A sample whose shape is a single point gets s = 1.
    Source: Eq. 1; the reduction to one unit vector is ours.
    """
    size = C[0] + C[3] + C[5]  # [B]
    reach = (H * H).sum(0).sqrt()
    unit_C, unit_H = C / size.clamp_min(TINY), H / reach.clamp_min(TINY)
    c, h = list(unit_C.unbind(0)), list(unit_H.unbind(0))
    n = _cross(h[:3], h[3:])
    if len(size) <= SMALL or C.is_cuda:  # on a GPU no sample may go its own way: shapes must not depend on data
        r = list(_sure_way(None, unit_C, unit_H, thin).unbind(-1))
    else:
        b = [torch.addcmul(h[i] * h[j], h[3 + i], h[3 + j]) for i, j in UPPER]
        r, proven = _short_way(c, b, n)
        hard = torch.nonzero(~proven).squeeze(1)
        if hard.numel():
            found = _sure_way(torch.stack([e[hard] for e in r], -1), unit_C[:, hard], unit_H[:, hard], thin)
            r = [e.index_copy(0, hard, f) for e, f in zip(r, found.unbind(-1), strict=True)]
    s, R = _camera(r, c, h[:3], h[3:], thin)
    return torch.where(size <= TINY, 1.0, s * reach / size.clamp_min(TINY)), R


def _short_way(c: Vec, b: Vec, n: Vec) -> tuple[Vec, Tensor]:
    """A viewing direction, and where it is proven to be the best of all."""
    r, c32, b32, n32 = ([e.float() for e in v] for v in (_toward_n(n), c, b, n))
    for _ in range(2):
        r = _rough_sphere_maximum(r, c32, b32, n32)
    for _ in range(2):
        r = _newton_step(r, c32, b32, n32)[0]
    return _newton_step([e.to(c[0].dtype) for e in r], c, b, n)


def _sure_way(r: Tensor | None, C: Float[Tensor, "6 B"], H: Float[Tensor, "6 B"], thin: float) -> Float[Tensor, "B 3"]:
    """The best viewing direction of every sample, from a start or from none."""
    C3, H3 = C[list(FULL)].T.reshape(-1, 3, 3), H.T.reshape(-1, 2, 3)
    return _dinkelbach(r, C3, H3.mT @ H3, torch.linalg.cross(H3[:, 0], H3[:, 1]), thin)


def _toward_n(n: Vec) -> Vec:
    """The viewing direction that both picture coordinates vote for, or z where the picture is a line."""
    square = _dot(n, n)
    length = (square + TINY).sqrt()
    return [n[0] / length, n[1] / length, torch.where(square > TINY, n[2] / length, torch.ones_like(square))]


def _rough_sphere_maximum(r: Vec, c: Vec, b: Vec, n: Vec) -> Vec:
    """One Dinkelbach step in closed form, without an eigenbasis: only a start, so float32 and two Newton steps do."""
    ratio = (1 - _quadratic(b, r) + 2 * _dot(n, r)) / (1 - _quadratic(c, r)).clamp_min(1e-6)
    q = [torch.addcmul(-y, ratio, x) for x, y in zip(c, b, strict=True)]
    adj = _adjugate(q)
    trace, minors = q[0] + q[3] + q[5], adj[0] + adj[3] + adj[5]
    det = q[0] * adj[0] + q[1] * adj[1] + q[2] * adj[2]
    mean = trace / 3  # largest root of the characteristic polynomial
    spread = (mean * mean - minors / 3).clamp_min(1e-12).sqrt()
    cosine = (det - mean * minors + 2 * mean * mean * mean) / (2 * spread * spread * spread)
    half = ((cosine.clamp(-1, 1) + 1) / 2).sqrt()  # cos(acos(x) / 3) is smooth in this: no slow trigonometry
    top = mean + spread * (1 + half * (THIRD[0] + half * (THIRD[1] + half * THIRD[2])))
    flat, deep = [torch.addcmul(x, trace, y, value=-1) for x, y in zip(_times(q, n), n, strict=True)], _times(adj, n)
    # adj(mu - Q) n = mu^2 n + mu flat + deep; its squared length is a quartic in mu
    w4, w3, w2 = _dot(n, n), 2 * _dot(n, flat), _dot(flat, flat) + 2 * _dot(n, deep)
    w1, w0 = 2 * _dot(flat, deep), _dot(deep, deep)
    mu = top + 1e-3 * w4.sqrt() + 1e-7
    for _ in range(2):  # Newton on 1 / |r| = 1
        p, dp = _horner(mu, 1, -trace, minors, -det)
        w, dw = _horner(mu, w4, w3, w2, w1, w0)
        mu = torch.maximum(mu - w * (p - w.clamp_min(1e-30).sqrt()) / (dp * w - p * dw / 2), top)
    new = [torch.addcmul(z, torch.addcmul(y, mu, x), mu) for x, y, z in zip(n, flat, deep, strict=True)]
    length = _dot(new, new).sqrt()
    return [e / length for e in new]


def _newton_step(r: Vec, c: Vec, b: Vec, n: Vec) -> tuple[Vec, Tensor]:
    """One Riemannian Newton step on f, and the proof that r already was the global maximum.

    With lambda = f(r), Q = lambda C - B, mu = r.(Q r + n) and K = mu - Q, r is stationary if K r = n, and then it is
    the global maximum if and only if K is positive semidefinite (duality of the trust-region problem).
    """
    cr, br = _times(c, r), _times(b, r)
    depth = (1 - _dot(cr, r)).clamp_min(THIN)
    ratio = (1 - _dot(br, r) + 2 * _dot(n, r)) / depth
    g = [torch.addcmul(z - y, ratio, x) for x, y, z in zip(cr, br, n, strict=True)]
    mu = _dot(r, g)
    k = [torch.addcmul(y, ratio, x, value=-1) for x, y in zip(c, b, strict=True)]
    k[0], k[3], k[5] = k[0] + mu, k[3] + mu, k[5] + mu
    adj = _adjugate(k)
    det = k[0] * adj[0] + k[1] * adj[1] + k[2] * adj[2]
    y, z = _times(adj, n), _times(adj, r)
    step = (_dot(r, y) - det) / _dot(r, z)
    new = [torch.addcmul(yi, zi, step, value=-1) for yi, zi in zip(y, z, strict=True)]
    length = _dot(new, new).sqrt()
    new = [e / length for e in new]
    slack = [torch.addcmul(x, mu, y, value=-1) for x, y in zip(g, r, strict=True)]
    trace = k[0] + k[3] + k[5]
    proven = (_dot(slack, slack) < 1e-10 * mu * mu) & (depth > 1e-6) & (trace > 0)
    proven &= (adj[0] + adj[3] + adj[5] > 0) & (det > 1e-12 * trace * trace * trace)
    return new, proven


def _dinkelbach(
    r: Float[Tensor, "B 3"] | None,
    C: Float[Tensor, "B 3 3"],
    B: Float[Tensor, "B 3 3"],
    n: Float[Tensor, "B 3"],
    thin: float,
) -> Float[Tensor, "B 3"]:
    """The sure way, for every sample: global from any start."""
    # not a number in, not a number out: eigh would raise, and a diverged run has to end in its own words
    finite = torch.isfinite(C.sum((1, 2)) + B.sum((1, 2)) + n.sum(1))
    n = torch.where(finite[:, None], n, 0)
    C, B = (torch.where(finite[:, None, None], v, 0) for v in (C, B))
    # looking down a needle's length multiplies the ratio, so the axes of C are starts too
    starts = torch.cat([torch.linalg.eigh(C).eigenvectors.mT, _unit(n)[:, None]], 1)  # [B, 4, 3]
    if r is not None:
        starts = torch.cat([torch.where(finite[:, None], r, 0)[:, None], starts], 1)
    starts = torch.where(_inner(starts, n[:, None])[..., None] < 0, -starts, starts)
    values = _ratio_of(starts, C[:, None], B[:, None], n[:, None], thin)
    value, chosen = values.max(1)
    best = starts[torch.arange(len(n), device=n.device), chosen]
    active = None
    for _ in range(STEPS_CUDA if n.is_cuda else STEPS):
        r = _sphere_maximum(value[:, None, None] * C - B, n)
        new = _ratio_of(r, C, B, n, thin)
        gain = new - value
        better = gain > 0
        value = torch.where(better, new, value)
        if active is None:
            best = torch.where(better[:, None], r, best)
        else:
            best[active] = torch.where(better[:, None], r, best[active])
        if n.is_cuda:
            continue
        left = torch.nonzero(gain > TOLERANCE * value).squeeze(1)  # the samples that still gain go on alone
        if left.numel() == 0:
            break
        active = left if active is None else active[left]
        value, C, B, n = value[left], C[left], B[left], n[left]
    return best


def _sphere_maximum(Q: Float[Tensor, "B 3 3"], n: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
    """argmax over unit r of r^T Q r + 2 n.r.

    r = (mu - Q)^-1 n for the largest mu with |r| = 1. Unknown is mu's distance to the largest eigenvalue, so that the
    hard case (n without a component along the top eigenvector, as for flat shapes) keeps full relative precision.
    """
    d, V = torch.linalg.eigh(Q)
    gap = d[:, 2:] - d  # [B, 3], 0 last
    e = (V.mT @ n[..., None]).squeeze(-1)
    # a component that is exactly zero is nudged: that picks one of two equally good mirror answers
    nudged = torch.where(e < 0, -1.0, 1.0) * e.abs().clamp_min(1e-140)
    e = torch.where(gap <= 0, nudged, e)
    delta = (e.abs() - gap).amax(1, keepdim=True)  # a lower bound of the root: Newton rises from it
    for _ in range(NEWTON):
        inverse = 1 / (delta + gap)
        terms = (e * inverse).square()
        norm2 = terms.sum(1, keepdim=True)
        if not n.is_cuda and bool((norm2 < 1 + 1e-12).all()):
            break
        delta = delta + norm2 * (norm2.sqrt() - 1) / (terms * inverse).sum(1, keepdim=True)  # on 1 - 1/|r|
    y = e / (delta + gap)
    r = (V @ (y / y.norm(dim=1, keepdim=True))[..., None]).squeeze(-1)
    return r


def _ratio_of(r: Tensor, C: Tensor, B: Tensor, n: Tensor, thin: float) -> Tensor:
    """f(r) of rows [..., 3]; 0 where the shape has no extent across the view."""
    depth = 1 - _inner(r, (C @ r[..., None]).squeeze(-1))
    top = 1 - _inner(r, (B @ r[..., None]).squeeze(-1)) + 2 * _inner(n, r)
    return torch.where(depth > thin, top / depth.clamp_min(thin), 0.0)


def _inner(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1)


def _camera(r: Vec, c: Vec, h1: Vec, h2: Vec, thin: float) -> tuple[Float[Tensor, " B"], Float[Tensor, "B 3 3"]]:
    """Scale and rotation for a viewing direction: the rotation nearest to H among those whose last row is r."""
    first = _across([x + y for x, y in zip(h1, _cross(h2, r), strict=True)], r)
    lost = _dot(first, first) <= 1e-300  # the picture says nothing about the turn: any will do
    near_x = r[0].abs() > 0.7
    other = _across([torch.where(near_x, 0.0, 1.0).to(r[0]), near_x.to(r[0]), torch.zeros_like(r[0])], r)
    first = _normalised([torch.where(lost, x, y) for x, y in zip(other, first, strict=True)])
    first = _normalised(_across(first, r))  # once more: down a needle nearly all of it has cancelled
    second = _cross(r, first)
    extent = _quadratic(c, first) + _quadratic(c, second)
    s = torch.where(extent > thin, (_dot(h1, first) + _dot(h2, second)) / extent.clamp_min(thin), 0.0)
    return s, torch.stack([*first, *second, *r], -1).view(-1, 3, 3)


def _across(x: Vec, r: Vec) -> Vec:
    """The part of x that is perpendicular to the unit vector r."""
    along = _dot(x, r)
    return [torch.addcmul(xi, along, ri, value=-1) for xi, ri in zip(x, r, strict=True)]


def _normalised(x: Vec) -> Vec:
    length = _dot(x, x).sqrt().clamp_min(TINY)
    return [xi / length for xi in x]


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp_min(TINY)


def _times(q: Vec, x: Vec) -> Vec:
    return [_dot((q[0], q[1], q[2]), x), _dot((q[1], q[3], q[4]), x), _dot((q[2], q[4], q[5]), x)]


def _adjugate(q: Vec) -> Vec:
    return [_minor(q[3], q[5], q[4], q[4]), _minor(q[2], q[4], q[1], q[5]), _minor(q[1], q[4], q[2], q[3]),
            _minor(q[0], q[5], q[2], q[2]), _minor(q[1], q[2], q[0], q[4]), _minor(q[0], q[3], q[1], q[1])]


def _horner(x: Tensor, *coefficients: Tensor | int) -> tuple[Tensor, Tensor]:
    """Polynomial (highest power first) and its derivative."""
    value, slope = torch.zeros_like(x) + coefficients[0], torch.zeros_like(x)
    for coefficient in coefficients[1:]:
        slope = torch.addcmul(value, slope, x)
        value = torch.addcmul(coefficient, value, x)
    return value, slope


def _minor(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.addcmul(a * b, c, d, value=-1)


def _quadratic(q: Vec, x: Vec) -> Tensor:
    return _dot(_times(q, x), x)


def _dot(x: Vec | tuple[Tensor, ...], y: Vec) -> Tensor:
    return torch.addcmul(torch.addcmul(x[0] * y[0], x[1], y[1]), x[2], y[2])  # fused: half the passes over memory


def _cross(x: Vec, y: Vec) -> Vec:
    return [_minor(x[1], y[2], x[2], y[1]), _minor(x[2], y[0], x[0], y[2]), _minor(x[0], y[1], x[1], y[0])]
