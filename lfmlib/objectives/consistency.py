"""Consistency of a network with itself: what it lifts, seen from elsewhere, must lift to the same shape again."""

from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib.objectives.masked import TINY, cleaned, masked_mean, mean_square

_END_ON = 1e-6  # squared share of its size that a shape's picture has at least


def new_view(
    shapes: Float[Tensor, "B N 3"], turn: Float[Tensor, "B 3 3"], visible: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, "B N 3"]:
    """Camera-frame shapes turned about their centre, in the unit of their new picture.

        y' = Q (y - mean_V y) / r,   r^2 = mean_V || P Q (y - mean_V y) ||^2 + 1e-6 mean_V || y - mean_V y ||^2

    so that x' = P y' is centred with unit RMS, and a shape seen exactly end-on stays below 1,000 picture widths deep.

    Args:
        shapes: camera-frame shapes; [B, N, 3].
        turn: Q, from the camera each sample was seen by to its new one; [B, 3, 3].
        visible: keypoints that take part; the others become 0; [B, N].
    Returns:
        [B, N, 3]; its first two columns are the new picture.
    """
    count = shapes.shape[1] if visible is None else visible.sum(1).clamp_min(1)[:, None, None]
    shapes = cleaned(shapes, visible)
    turned = cleaned(shapes - shapes.sum(1, keepdim=True) / count, visible) @ turn.mT
    width, size = mean_square(turned[..., :2], visible), mean_square(turned, visible)
    return turned * (width + _END_ON * size + TINY).rsqrt()[:, None, None]


def view_consistency(
    again: Float[Tensor, "B N 3"], shapes: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, ""]:
    """Distance, in the canonical frame, between a shape and what the network makes of a new view of it.

        1/B sum_b mean_V || f(x'_b) - y_b ||^2,   y = f(x)

    Assumption about the world: the canonical shape of an object does not depend on where it is seen from.

    Blind to the shape itself: any f that inverts its own projections has loss 0, in particular one that answers with
    one constant shape. It fixes no shape without a prior beside it; gradients flow through both lifts and through x'.

    Args:
        again: canonical shapes from the new views, normalised; [B, N, 3].
        shapes: canonical shapes from the observed views, normalised; [B, N, 3].
        visible: keypoints that take part; [B, N].
    Returns:
        One number in squared RMS radii.
    Source: not in the paper (C3DPO has a transversality term with the same aim).
    """
    return mean_square(again - shapes, visible).mean()


def depth_cycle(
    again: Float[Tensor, "B N 3"], expected: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, ""]:
    """Lift, turn, project, lift again: distance in depth, in the frame of the new camera.

        1/B sum_b mean_V ( z(x'_b)_i - y'_bi,z )^2,   depths centred over V

    Assumption about the world: an object does not change while one walks around it.

    Blind to everything but depth, and like `view_consistency` to the shape itself: a depth of zero everywhere is
    consistent as long as new views of flat shapes look like pictures. In the unit of the new picture's RMS.

    Args:
        again: camera-frame shapes lifted from the new pictures; [B, N, 3].
        expected: the turned shapes those pictures were taken of (`new_view`); [B, N, 3].
        visible: keypoints that take part; [B, N].
    Returns:
        One number in squared units of the picture's RMS.
    Source: not in the paper.
    """
    difference = cleaned(again[..., 2:] - expected[..., 2:], visible)[..., 0]
    difference = difference - masked_mean(difference, visible)[:, None]
    return masked_mean(difference.square(), visible).mean()
