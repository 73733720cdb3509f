"""The one term that sees 3D: for the supervised twin of a run and for label efficiency, never part of a 2D-only run."""

from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib import geometry
from lfmlib.objectives.masked import mean_square, normalised


def supervised_3d(
    shapes: Float[Tensor, "B N 3"],
    Y: Float[Tensor, "B N 3"],
    visible: Bool[Tensor, "B N"] | None = None,
    mirror: str = "so3",
) -> Float[Tensor, ""]:
    """Procrustes-aligned squared error against the true shape.

        1/B sum_b min_{s, R, t} mean_V || s R y_bi + t - Y_bi ||^2 / rms_V(Y_b)^2,   R in SO(3), or in O(3)

    Assumption about the world: the 3D shape is known. Blind to scale, place and rotation of the prediction, and with
    "o3" to its mirror image.

    Args:
        shapes: predicted shapes, any frame; [B, N, 3].
        Y: true shapes, any frame and unit; [B, N, 3].
        visible: keypoints that take part; [B, N].
        mirror: "so3", or "o3".
    Returns:
        One number in squared RMS radii of the true shape. The alignment is held fixed in the gradient, which is exact
        at its optimum.
    Source: 3D-LFM's loss, with the scale free as well; the paper's supervised comparison.
    """
    target, source = normalised(Y, visible), normalised(shapes, visible)
    alignment = geometry.align(source.detach(), target, visible, mirror=mirror)
    return mean_square(alignment.apply(source) - target, visible).mean()
