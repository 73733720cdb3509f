"""Weak-perspective cameras, their exact fit (Eq. 1's inner minimum) and similarity alignment.

Frames: pictures have x right and y down, cameras add z away from the viewer. Points are rows, so a rotation acts as
`Y @ R.mT`. What is not visible takes no part and may hold anything, NaN included.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from lfmlib.kernels import fit


class Camera(NamedTuple):
    """Weak-perspective camera: X = s * (Y @ R.mT)[..., :2] + t."""

    s: Float[Tensor, " B"]
    R: Float[Tensor, "B 3 3"]
    t: Float[Tensor, "B 2"]


class Similarity(NamedTuple):
    """Similarity transform: apply(P) = s * P @ R.mT + t; R is in O(3) where a mirror was allowed."""

    s: Float[Tensor, " B"]
    R: Float[Tensor, "B 3 3"]
    t: Float[Tensor, "B 3"]

    def apply(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """Moves points from the source frame to the target frame."""
        return self.s[:, None, None] * (points @ self.R.mT) + self.t[:, None]


def project(Y: Float[Tensor, "B N 3"], camera: Camera) -> Float[Tensor, "B N 2"]:
    """Weak-perspective projection, X = s P R Y + t."""
    return camera.s[:, None, None] * (Y @ camera.R[:, :2].mT) + camera.t[:, None]


def to_camera_frame(Y: Float[Tensor, "B N 3"], camera: Camera) -> Float[Tensor, "B N 3"]:
    """Shape as the camera sees it: x, y as projected, z = s times its depth, all in the picture's unit."""
    turned = camera.s[:, None, None] * (Y @ camera.R.mT)
    return torch.cat([turned[..., :2] + camera.t[:, None], turned[..., 2:]], -1)


def fit_camera(
    X: Float[Tensor, "B N 2"], Y: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None = None
) -> Camera:
    """Weak-perspective pose of a known shape (orthographic-N-point), the global minimum.

        s*, R*, t* = argmin sum_{i visible} || x_i - s P R y_i - t ||^2,   P = [I | 0],  s >= 0,  R in SO(3)

    Args:
        X: observed keypoints, image frame, any unit; [B, N, 2].
        Y: canonical shape, any unit; [B, N, 3].
        visible: keypoints that take part, None = all; [B, N].
    Returns:
        Camera, without gradient. s is 0 only where all visible x coincide. A flat or line-like shape has several
        equally good cameras: one is returned, the same one every time. Where all visible y coincide, s = 1.
    Raises:
        ValueError: shapes or dtypes do not fit, a visible coordinate is not finite, or a sample has fewer than 3
            visible keypoints (names the sample).
    Source: Eq. 1. The paper says "via SVD", which is only the first step: see `fit_camera_algebraic`.
    """
    check_pair(X, Y, visible)
    return solve_camera(X, Y, visible)


@torch.no_grad()
def solve_camera(
    X: Float[Tensor, "B N 2"], Y: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None = None
) -> Camera:
    """`fit_camera` without its checks, for use inside a training step."""
    return Camera(*fit.fit(X, Y, visible)[:3])


def fit_camera_algebraic(
    X: Float[Tensor, "B N 2"], Y: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None = None
) -> Camera:
    """Weak-perspective pose by least squares and orthogonalisation: what the paper describes. Not the minimum of Eq. 1.

        M = X^T pinv(Y)^T,  M = U S V^T,  [r1; r2] = U V^T,  s = <X, X'> / <X', X'>  with X' = P R Y

    Args, Raises: as `fit_camera`.
    Returns:
        Camera, differentiable in X and Y. The orthogonal factor is formed without an SVD, so that its gradient is
        finite at equal singular values.
    Source: Sec. 4 ("solves for scale s and rotation R via SVD"). The paper leaves the scale open; this is the least
        squares one for the given rotation.
    """
    check_pair(X, Y, visible)
    x, x_mean = _centred(X, visible)
    y, y_mean = _centred(Y, visible)
    tiny = torch.finfo(X.dtype).tiny ** 0.5
    m = torch.linalg.pinv(y) @ x  # the least-squares map, [B, 3, 2]
    m = m / m.detach().abs().amax((1, 2), keepdim=True).clamp_min(tiny)  # no unit, no overflow in squares
    m1, m2 = m.unbind(-1)
    n = torch.linalg.cross(m1, m2)
    longer = torch.where(m1.norm(dim=-1, keepdim=True) > m2.norm(dim=-1, keepdim=True), m1, m2)
    longer = longer / longer.norm(dim=-1, keepdim=True).clamp_min(tiny)
    basis = torch.eye(3, dtype=X.dtype, device=X.device)
    any_normal = torch.linalg.cross(longer, basis[longer.abs().argmin(-1)])
    plane = n.detach().norm(dim=-1, keepdim=True) > 8 * torch.finfo(X.dtype).eps  # parallel m1 and m2 leave n open
    n = torch.where(plane, n, any_normal)
    n = n - (n * longer).sum(-1, keepdim=True) * longer  # where they are nearly parallel, rounding tilts n
    n = n / n.norm(dim=-1, keepdim=True).clamp_min(tiny)
    r1, r2 = m1 + torch.linalg.cross(m2, n), m2 + torch.linalg.cross(n, m1)  # (S1 + S2) U V^T
    usable = m.detach().abs().amax((1, 2)) > 0.5  # 0 where all x or all y coincide
    r1 = torch.where(usable[:, None], r1, basis[0])
    r2 = torch.where(usable[:, None], r2, basis[1])
    r1, r2 = (r / r.norm(dim=-1, keepdim=True).clamp_min(tiny) for r in (r1, r2))
    R = torch.stack([r1, r2, torch.linalg.cross(r1, r2)], -2)
    flat = y @ R[:, :2].mT
    s = (x * flat).sum((1, 2)) / flat.square().sum((1, 2)).clamp_min(tiny)
    return Camera(s, R, x_mean - s[:, None] * (R[:, :2] @ y_mean[..., None]).squeeze(-1))


def reprojection(
    X: Float[Tensor, "B N 2"],
    Y: Float[Tensor, "B N 3"],
    visible: Bool[Tensor, "B N"] | None = None,
    camera: Literal["exact", "algebraic"] = "exact",
) -> Float[Tensor, " B"]:
    """Eq. 1 per sample: sum_{i visible} || x_i - s P R y_i - t ||^2 under the fitted camera.

    With the exact camera its gradient is 2 s (s P R y + t - x) with the camera held fixed (envelope theorem): no
    derivative of a fit is needed and none can blow up; it has no second derivative. With the algebraic one it runs
    through the fit.

    Args:
        X: observed keypoints; [B, N, 2].  Y: canonical shape; [B, N, 3].  visible: None = all; [B, N].
        camera: "exact" (the minimum that Eq. 1 writes) or "algebraic" (the pose the paper describes).
    Returns:
        Residual sum of squares in X's unit squared; [B].
    Source: Eq. 1 and its masked form in Sec. 3.5.
    """
    if camera not in ("exact", "algebraic"):
        raise ValueError(f"camera must be 'exact' or 'algebraic', not {camera!r}")
    if camera == "exact":
        return _Residual.apply(X, Y, visible)
    s, R, t = fit_camera_algebraic(X, Y, visible)
    if visible is not None:
        X, Y = (torch.where(visible[..., None], v, 0) for v in (X, Y))
    residual = torch.baddbmm(X - t[:, None], Y, (s[:, None, None] * R[:, :2]).mT, alpha=-1)
    if visible is not None:
        residual = residual * visible[..., None]
    return residual.square().sum((1, 2))


class _Residual(torch.autograd.Function):
    """Residual of the exact fit, with the gradient of the envelope theorem."""

    @staticmethod
    def forward(ctx: FunctionCtx, X: Tensor, Y: Tensor, visible: Tensor | None) -> Tensor:
        s, R, t, residual = fit.fit(X, Y, visible)
        ctx.save_for_backward(X, Y, visible, s, R, t)
        return residual

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, weight: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        X, Y, *rest = ctx.saved_tensors
        gradients = fit.gradient(X, Y, *rest, weight)
        return *(v if needed else None for v, needed in zip(gradients, ctx.needs_input_grad, strict=False)), None


@torch.no_grad()
def align(
    source: Float[Tensor, "B N 3"],
    target: Float[Tensor, "B N 3"],
    visible: Bool[Tensor, "B N"] | None = None,
    mirror: Literal["so3", "o3"] = "so3",
) -> Similarity:
    """Similarity Procrustes, source to target: argmin sum_{i visible} || s R p_i + t - q_i ||^2.

    Args:
        source, target: shapes; [B, N, 3].  visible: points that take part, None = all; [B, N].
        mirror: "so3" keeps the handedness, "o3" lets each sample be mirrored.
    Returns:
        Similarity, without gradient: at the optimum an aligned error has the same gradient with it held fixed. A source
        whose points coincide gets s = 0.
    Raises:
        ValueError: unknown mirror policy.
    Source: the papers' "Procrustes alignment"; neither says whether a mirror is allowed.
    """
    if mirror not in ("so3", "o3"):
        raise ValueError(f"mirror must be 'so3' or 'o3', not {mirror!r}")
    p, p_mean = _centred(source, visible)
    q, q_mean = _centred(target, visible)
    U, S, Vh = torch.linalg.svd(q.mT @ p)
    sign = torch.ones_like(S)
    if mirror == "so3":
        sign[:, 2] = torch.where(torch.linalg.det(U @ Vh) < 0, -1.0, 1.0)
    R = (U * sign[:, None]) @ Vh
    tiny = torch.finfo(p.dtype).tiny
    s = (S * sign).sum(-1).clamp_min(0) / p.square().sum((1, 2)).clamp_min(tiny)
    return Similarity(s, R, q_mean - s[:, None] * (R @ p_mean[..., None]).squeeze(-1))


def centred(points: Float[Tensor, "B N K"], visible: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N K"]:
    """Points minus the mean of the visible ones; not-visible points become 0."""
    return _centred(points, visible)[0]


def _centred(points: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor]:
    # counted from a keypoint: points that coincide become exactly 0, and far from the origin less is rounded away
    if visible is None:
        origin = points[:, :1]
        points = points - origin
        mean = points.mean(1)
        return points - mean[:, None], mean + origin[:, 0]
    points = torch.where(visible[..., None], points, 0)
    first = visible.byte().argmax(1)[:, None, None].expand(-1, 1, points.shape[-1])
    origin = points.gather(1, first)
    points = torch.where(visible[..., None], points - origin, 0)
    mean = points.sum(1) / visible.sum(1).clamp_min(1)[:, None]
    return torch.where(visible[..., None], points - mean[:, None], 0), mean + origin[:, 0]


def random_rotations(
    count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "B 3 3"]:
    """Rotations drawn uniformly from SO(3), on the generator's device."""
    w, x, y, z = torch.nn.functional.normalize(
        torch.randn(count, 4, generator=generator, dtype=dtype, device=generator.device), dim=-1
    ).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(-1, 3, 3)


def axis_rotations(axis: Float[Tensor, "*B 3"], angle: Float[Tensor, " B"]) -> Float[Tensor, "B 3 3"]:
    """Rotations about unit axes by angles in radians (Rodrigues); one axis for all or one for each."""
    x, y, z = axis.expand(len(angle), 3).unbind(-1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    eye = torch.eye(3, dtype=axis.dtype, device=axis.device)
    return eye + angle.sin()[:, None, None] * K + (1 - angle.cos())[:, None, None] * (K @ K)


def check_pair(X: Tensor, Y: Tensor, visible: Tensor | None) -> None:
    """Raises ValueError unless X [B, N, 2], Y [B, N, 3] and visible [B, N] fit and can be fitted."""
    if X.ndim != 3 or X.shape[-1] != 2:
        raise ValueError(f"X must have shape [B, N, 2], got {list(X.shape)}")
    if Y.shape != (*X.shape[:2], 3):
        raise ValueError(f"Y must have shape {[*X.shape[:2], 3]} to fit X, got {list(Y.shape)}")
    if not (X.is_floating_point() and X.dtype == Y.dtype):
        raise ValueError(f"X and Y must share one floating dtype, got {X.dtype} and {Y.dtype}")
    if visible is not None and (visible.shape != X.shape[:2] or visible.dtype != torch.bool):
        raise ValueError(
            f"visible must be bool of shape {list(X.shape[:2])}, got {visible.dtype} {list(visible.shape)}"
        )
    if X.shape[1] < 3:
        raise ValueError(f"sample 0 has {X.shape[1]} keypoints; a camera needs at least 3 visible ones")
    if visible is not None and (few := visible.sum(1) < 3).any():
        sample = int(few.nonzero()[0])
        seen = int(visible[sample].sum())
        raise ValueError(f"sample {sample} has {seen} visible keypoints; a camera needs at least 3")
    for name, value in (("X", X), ("Y", Y)):
        if torch.isfinite(value.sum()):
            continue  # one pass settles the usual case
        finite = torch.isfinite(value).all(-1)
        bad = ~(finite if visible is None else finite | ~visible)
        if bad.any():
            sample, keypoint = (int(i) for i in bad.nonzero()[0])
            raise ValueError(f"{name} is not finite at sample {sample}, keypoint {keypoint}")
