"""Is a shape the object or its mirror image? Decided from the shape alone, for rigs that say how to tell.

Orthographic views cannot tell a shape from its mirror image, so a lifter may end on either. A rig that knows where an
object's left, top and front are gives back the missing bit.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from lfmlib.rigs import Direction, Rig


def handedness(
    shapes: Float[Tensor, "B N 3"], rig: Rig, visible: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, " B"]:
    """Signed triple product of a shape's directions to its left, up and to its front.

        det[ l/|l|, u/|u|, f/|f| ],   each direction from the mean of some keypoints to the mean of others

    The same for all rotated, shifted and scaled copies of a shape, and the opposite for their mirror images.

    Args:
        shapes: any right-handed frame and unit; the camera frame (x right, y down, z away) is one; [B, N, 3].
        rig: an annotated one (`Rig.handed`).
        visible: keypoints that are known; None: those whose numbers are finite; [B, N].
    Returns:
        In [-1, 1]: above 0 for the object, below 0 for its mirror image, and small in size where the shape hardly
        shows which. 0 where a keypoint that it takes is missing, or where two coincide that span a direction.
    Raises:
        ValueError: the rig says nothing about its handedness, or has another number of keypoints.
    """
    if rig.handed is None:
        raise ValueError(f"rig {rig.name!r} does not say how to tell it from its mirror image (no `handed`)")
    if shapes.shape[1] != rig.n:
        raise ValueError(f"shapes have {shapes.shape[1]} keypoints, rig {rig.name!r} has {rig.n}")
    known = shapes.isfinite().all(-1)
    known = known if visible is None else known & visible
    shapes = torch.where(known[..., None], shapes, 0)
    directions = torch.stack([_direction(shapes, pair) for pair in rig.handed], 1)  # [B, 3, 3]
    taken = sorted({i for pair in rig.handed for group in pair for i in group})
    return torch.where(known[:, taken].all(1), torch.linalg.det(directions), 0)


def mirrored(shapes: Float[Tensor, "B N 3"], rig: Rig, visible: Bool[Tensor, "B N"] | None = None) -> bool:
    """Whether a category came out as its mirror image: the majority of its shapes say so.

    Args:
        shapes, rig, visible: as for `handedness`; shapes that cannot tell have no vote.
    Returns:
        True where more shapes are mirrored than are not; False at a tie, and where none can tell.
    Raises:
        ValueError: as for `handedness`.
    """
    return bool(handedness(shapes, rig, visible).sign().sum() < 0)


def _direction(shapes: Float[Tensor, "B N 3"], pair: Direction) -> Float[Tensor, "B 3"]:
    """Unit vector from the mean of one group of keypoints to that of another; 0 where they coincide."""
    start, end = (shapes[:, list(group)].mean(1) for group in pair)
    return F.normalize(end - start, dim=-1, eps=torch.finfo(shapes.dtype).tiny)
