"""Eq. 1 as a mean, the two read-outs that turn a canonical shape into a camera-frame one, and the guard on depth."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib import geometry
from lfmlib.objectives.masked import cleaned, masked_mean, mean_square

_FLAT = 1e-6  # squared width of a picture that has shrunk to a point, in its unit RMS


def reprojection(
    X: Float[Tensor, "B N 2"],
    shapes: Float[Tensor, "B N 3"],
    visible: Bool[Tensor, "B N"] | None = None,
    camera: str | geometry.Camera = "exact",
) -> Float[Tensor, ""]:
    """Eq. 1: squared distance between the observed keypoints and the best weak-perspective picture of the shape.

        1/B sum_b 1/|V_b| min_{s>0, R, t} sum_{i in V_b} || x_bi - s P R y_bi - t ||^2,   V_b the visible keypoints

    Assumption about the world: each picture is a weak-perspective view of the shape.

    It is blind to depth: the shape (x, y, anything) has loss 0, and so have all rotated, scaled and shifted copies of
        it.

    Args:
        X: observed keypoints, centred, unit RMS; [B, N, 2].
        shapes: canonical shapes, any unit; [B, N, 3].
        visible: keypoints that take part; [B, N].
        camera: "exact" minimiser or the "algebraic" one (least squares + SVD), which leaves a larger residual; or the
            exact camera itself, where it has been solved already (its gradient is that of "exact").
    Returns:
        One number in squared units of X.
    Source: Eq. 1, a sum over keypoints. Divided here by the number of visible keypoints (samples and categories then
        weigh alike, whatever their keypoint count) and averaged over the batch: for complete keypoints of one
        category this only rescales it.
    """
    if isinstance(camera, geometry.Camera):
        difference = geometry.to_camera_frame(shapes, geometry.Camera(*(part.detach() for part in camera)))[..., :2] - X
        return mean_square(difference, visible).mean()
    residual = geometry.reprojection(X, shapes, visible, camera=camera)
    count = X.shape[1] if visible is None else visible.sum(1).clamp_min(1)
    return (residual / count).mean()


def read_out(
    X: Float[Tensor, "B N 2"],
    shapes: Float[Tensor, "B N 3"],
    camera: geometry.Camera,
    visible: Bool[Tensor, "B N"] | None = None,
    kind: str = "fit",
) -> Float[Tensor, "B N 3"]:
    """Camera-frame shape under a given camera: x right, y down, z away, in X's unit.

        fit:   ( s P R y_i + t,  s (R y_i)_z - mean_V s (R y)_z )
        snap:  ( x_i,            the same depth )  where keypoint i is visible, the fit where it is not

    Args:
        X: observed keypoints; [B, N, 2].
        shapes: canonical shapes; [B, N, 3].
        camera: pose of the shapes, held fixed (no gradient goes through it).
        visible: keypoints that were observed; depth is centred on them; [B, N].
        kind: "fit" or "snap".
    Returns:
        [B, N, 3], depth with zero mean over the visible keypoints.
    Raises:
        ValueError: unknown `kind`.
    Source: "fit" is what Eq. 1 implies; "snap" is not in the paper, uses no label and trusts the observed pixels.
    """
    if kind not in ("fit", "snap"):
        raise ValueError(f"read-out must be fit or snap, got {kind!r}")
    fitted = geometry.to_camera_frame(shapes, geometry.Camera(*(part.detach() for part in camera)))
    picture, depth = fitted[..., :2], fitted[..., 2]
    if kind == "snap":
        picture = X if visible is None else torch.where(visible[..., None], X, picture)
    return torch.cat([picture, (depth - masked_mean(depth, visible)[:, None])[..., None]], -1)


def observed_with_depth(
    X: Float[Tensor, "B N 2"], depth: Float[Tensor, "B N 1"], visible: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, "B N 3"]:
    """Camera-frame shape of a network that predicts depth only: Y = [x, z - mean_V z].

    Keypoints that were not observed have no x and y and are zero throughout.
    """
    centred = depth - masked_mean(depth[..., 0], visible)[:, None, None]
    return cleaned(torch.cat([X, centred], -1), visible)


def depth_guard(
    shapes: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None = None, limit: float = 9.0
) -> Float[Tensor, ""]:
    """Barrier against shapes that are drawn out along the viewing direction.

        1/B sum_b relu( mean z_b^2 / mean || (x, y)_b ||^2 - 9 )

    Assumption about the world: no object is more than three times deeper (RMS) than its picture is wide.

    Zero, with zero gradient, inside the limit; blind to the place of the picture's and the depth's mean.

    Args:
        shapes: camera-frame shapes, any unit; [B, N, 3].
        visible: keypoints that take part; [B, N].
        limit: allowed squared ratio.
    Returns:
        One number.
    Source: not in the paper.
    """
    count = shapes.shape[1] if visible is None else visible.sum(1).clamp_min(1)[:, None, None]
    shapes = cleaned(shapes, visible)
    centred = cleaned(shapes - shapes.sum(1, keepdim=True) / count, visible)
    width, depth = mean_square(centred[..., :2], visible), mean_square(centred[..., 2:], visible)
    return (depth / (width + _FLAT) - limit).relu().mean()
