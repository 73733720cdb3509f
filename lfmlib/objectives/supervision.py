"""The one term that sees 3D: for the supervised twin of a run and for label efficiency, never part of a 2D-only run."""

from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib import geometry
from lfmlib.objectives.masked import mean_square, normalised


def supervised_3d(
    shapes: Float[Tensor, "B N 3"], Y: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, ""]:
    """Procrustes-aligned squared error against the true shape.

        1/B sum_b min_{s, R in SO(3), t} mean_V || s R y_bi + t - Y_bi ||^2 / rms_V(Y_b)^2

    Assumption about the world: the 3D shape is known. Blind to scale, place and rotation of the prediction, not to a
    mirror image.

    Args:
        shapes: predicted shapes, any frame; [B, N, 3].
        Y: true shapes, any frame and unit; [B, N, 3].
        visible: keypoints that take part; [B, N].
    Returns:
        One number in squared RMS radii of the true shape. The alignment is held fixed in the gradient, which is exact
        at its optimum.
    Source: 3D-LFM's loss, with the scale free as well; the paper's supervised comparison.
    """
    target, source = normalised(Y, visible), normalised(shapes, visible)
    alignment = geometry.align(source.detach(), target, visible, mirror="so3")
    return mean_square(alignment.apply(source) - target, visible).mean()
