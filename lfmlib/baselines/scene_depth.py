"""Landmarks from a depth map: read the depth around each keypoint and project it back; and what a perfect map leaves.

This is how 2D-LFM's Table 1 measures scene-level models. A depth map ends at the surface, landmarks lie inside the body
or behind it: the oracle reads the exact depth of the benchmark's own bodies, so that its error is that of the protocol.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lfmlib import metrics
from lfmlib.baselines.depth_models import DepthModel
from lfmlib.data.batches import evaluation_views
from lfmlib.data.render import PixelCamera, body_of, depth_at
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.surface import Surface
from lfmlib.data.views import CameraConfig, visible_or_all

WINDOW = 5  # pixels
SIDE = 512  # of the oracle's picture, as the models' own: 518 and 512
VISIBLE, ALL = "visible", "all"


class DepthLift(NamedTuple):
    """shapes: camera frame, in the depth's unit, NaN where not visible; [B, N, 3]. visible: has a depth; [B, N]."""

    shapes: Float[Tensor, "B N 3"]
    visible: Bool[Tensor, "B N"]


def landmark_depth(
    depth_map: Float[Tensor, "maps H W"], keypoints: Float[Tensor, "B N 2"], window: int = WINDOW
) -> Float[Tensor, "B N"]:
    """Depth of landmarks: the median over the finite pixels of a square window about each keypoint's pixel.

    Args:
        depth_map: depth of each pixel; what is not finite is none; [B, H, W].
        keypoints: in pixels, x right and y down, (0, 0) the outer corner of the first pixel; [B, N, 2].
        window: its side in pixels, odd.
    Returns:
        In the map's unit; of an even number of pixels the nearer of the middle two, which is a depth of the map. NaN
        where the keypoint is not finite or outside the picture, or its window holds no depth; [B, N].
    Raises:
        ValueError: `window` is even or below 1; the map and the keypoints differ in their number of samples.
    Source: Table 1's note "back-projected from scene depth (5x5 median)". Which pixels count at the border of the
        picture, and the resolution of the map, it leaves open.
    """
    if len(depth_map) != len(keypoints):
        raise ValueError(f"{len(depth_map)} depth maps for {len(keypoints)} samples")
    height, width = depth_map.shape[1:]
    pixels, inside = _window(keypoints, height, width, window)
    index = (pixels[..., 1] * width + pixels[..., 0]).where(inside, 0)  # [B, N, window^2]
    return _median(depth_map.flatten(1).gather(1, index.flatten(1)).view_as(index), inside)


def back_project(
    keypoints: Float[Tensor, "B N 2"], depth: Float[Tensor, "B N"], camera: PixelCamera
) -> Float[Tensor, "B N 3"]:
    """Points of the camera frame that appear at the keypoints and lie at that depth; NaN where the depth is.

    Args:
        keypoints: in pixels; [B, N, 2].  depth: z, in any unit (orthographic: that of the camera); [B, N].
        camera: of each sample.
    Returns:
        x right, y down, z away, in the unit of the depth; [B, N, 3].
    """
    origin, direction = camera.rays(keypoints)
    return origin + depth[..., None] * direction


def lift_from_depth(
    depth_map: Float[Tensor, "B H W"],
    keypoints: Float[Tensor, "B N 2"],
    camera: PixelCamera,
    visible: Bool[Tensor, "B N"] | None = None,
    window: int = WINDOW,
) -> DepthLift:
    """The scene-depth baseline: landmark depth, back-projected; keypoints without depth are not visible.

    Args, Raises: as `landmark_depth` and `back_project`; visible: None = all.
    Source: Sec. 4, "we evaluate only visible keypoints (masking occluded points)": compare by `metrics.evaluate` with
        the visible ones as known.
    """
    return _lifted(keypoints, landmark_depth(depth_map, keypoints, window), camera, visible)


def lift_from_images(
    model: DepthModel,
    images: Float[Tensor, "B rgb H W"],
    keypoints: Float[Tensor, "B N 2"],
    visible: Bool[Tensor, "B N"] | None = None,
    window: int = WINDOW,
) -> DepthLift:
    """`lift_from_depth` with depth and camera as a depth model estimates them from single images.

    Args:
        images: RGB in [0, 1]; [B, 3, H, W].  keypoints: in pixels of these images; [B, N, 2].
        visible, window: see there.
    Raises:
        ValueError: the model estimates no camera, so that its depth cannot be projected back. And what it raises.
    """
    found = model.depth(images)
    if found.intrinsics is None:
        raise ValueError(f"{type(model).__name__} estimates no camera: its depth cannot be projected back")
    camera = PixelCamera.of_intrinsics(found.intrinsics)
    return lift_from_depth(found.depth, keypoints, camera, visible, window)


def oracle_lift(
    Y: Float[Tensor, "B N 3"],
    surface: Surface,
    known: Bool[Tensor, "B N"] | None = None,
    side: int = SIDE,
    window: int = WINDOW,
) -> DepthLift:
    """`lift_from_depth` with the exact depth of the shapes' own bodies, and nothing behind them.

    Only the rays of the windows are cast. The camera is orthographic, known, and frames the shape; keypoints that stand
    behind the body get the depth in front of them.

    Args:
        Y: true shapes, camera frame, any unit; [B, N, 3].  surface: the bodies.  known: None = all; [B, N].
        side: of the square picture, in pixels.  window: see `landmark_depth`.
    Returns:
        Shapes in Y's unit; visible means: known, and the body is under the keypoint.
    """
    camera = PixelCamera.framing(Y, side, side, known)
    keypoints = camera.project(Y)
    pixels, inside = _window(keypoints, side, side, window)
    depth = depth_at(body_of(Y, surface, known), camera, pixels.flatten(1, 2).to(Y.dtype) + 0.5)
    return _lifted(keypoints, _median(depth.view(inside.shape), inside), camera, known)


def oracle_rows(
    shapes: ShapeSet,
    cameras: CameraConfig,
    views: int = 300,
    seed: int = 0,
    side: int = SIDE,
    window: int = WINDOW,
) -> list[dict]:
    """The error that a perfect depth map leaves on a category, over the visible and over all keypoints.

    Args:
        shapes: a category.  cameras: where its views come from.  views, seed: of the evaluation set.
        side, window: see `oracle_lift`.
    Returns:
        Two records of `metrics.evaluate` with `keypoints`: "visible" (not hidden by the shape itself: what is left is
        that landmarks lie inside the body) and "all" (with those behind it), `share` of the known keypoints that take
        part, and `left_out`, views in which fewer than 3 do.
    Raises:
        ValueError: the category has neither a surface nor edges to hang capsules on; every view is left out.
    """
    shapes = _embodied(shapes)
    truth = evaluation_views([shapes], cameras, views, seed, self_occlusion=True)
    lifted = oracle_lift(truth.Y, shapes.surface, truth.known, side, window)
    rows = []
    for keypoints, shown in ((VISIBLE, visible_or_all(truth.visible, truth.Y)), (ALL, truth.known)):
        used = lifted.visible & shown
        enough = used.sum(1) >= 3
        record = metrics.evaluate(
            lifted.shapes[enough], truth.Y[enough], used[enough],
            radius=[shapes.radius], mm=[shapes.rig.mm], names=[shapes.rig.name],
        )[0]  # fmt: skip
        share = float(used[enough].sum() / truth.known[enough].sum())
        rows.append(record | {"keypoints": keypoints, "share": share, "left_out": int((~enough).sum())})
    return rows


def _embodied(shapes: ShapeSet) -> ShapeSet:
    """The set with a surface: its own, or capsules of the usual girth along the rig's edges."""
    if shapes.surface is not None:
        return shapes
    if not shapes.rig.edges:
        raise ValueError(f"{shapes.rig.name} has neither a surface nor edges: no body whose depth could be cast")
    return replace(shapes, surface=Surface.of(shapes.rig))


def _lifted(keypoints: Tensor, depth: Tensor, camera: PixelCamera, visible: Tensor | None) -> DepthLift:
    visible = depth.isfinite() & visible_or_all(visible, keypoints)
    shapes = back_project(keypoints, depth.where(visible, torch.nan), camera)
    return DepthLift(shapes, visible & shapes.isfinite().all(-1))  # an estimated focal length may be 0


def _window(
    keypoints: Tensor, height: int, width: int, window: int
) -> tuple[Int[Tensor, "B N W 2"], Bool[Tensor, "B N W"]]:
    """Pixels (column, row) about each keypoint's own, and whether they and the keypoint lie in the picture."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window}, expected an odd number of pixels")
    reach = torch.arange(window, device=keypoints.device) - window // 2
    around = torch.cartesian_prod(reach, reach).view(-1, 2)
    size = torch.tensor([width, height], device=keypoints.device)
    own = ((keypoints >= 0) & (keypoints < size)).all(-1)  # False for NaN
    pixels = torch.where(own[..., None], keypoints, 0).long()[:, :, None] + around
    return pixels, own[..., None] & ((pixels >= 0) & (pixels < size)).all(-1)


def _median(depth: Tensor, counts: Tensor) -> Tensor:
    """Lower median over the last axis of what counts and is finite; NaN where nothing is."""
    return depth.where(counts & depth.isfinite(), torch.nan).nanmedian(-1).values
