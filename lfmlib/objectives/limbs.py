"""Limb-length prior: bones of a category have nearly the same proportions in every sample."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lfmlib.objectives.masked import by_category, normalised

_SHORT = 1e-4  # squared RMS radii: a limb below 1 % of the shape is noise, and its logarithm would drown the others


def limb_constancy(
    shapes: Float[Tensor, "B N 3"], edges: Int[Tensor, "E 2"], visible: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, ""]:
    """Variance over the samples of one category of the log limb lengths, each relative to the size of its own shape.

        l_be = 1/2 log( || y_bi - y_bj ||^2 / rms_b^2 + 1e-4 ),  (i, j) = edge e;    1/E sum_e var_b(l_be)

    Assumption about the world: bones keep their proportions between the samples of a category.

    Blind to the scale, place and orientation of each shape, to mirror images, and to everything that leaves the limbs
    and the shape's size alone; a joint that bends changes the size, so that poses are seen a little, too. Ratios also
    settle when all shapes are stretched along depth without end, so something beside it must hold the depth.

    Args:
        shapes: shapes of one category, any frame and unit; [B, N, 3].
        edges: the rig's limbs as pairs of keypoint indices; [E, 2].
        visible: a limb counts in a sample where both its ends take part; [B, N].
    Returns:
        One number; 0 with no edges, or where no limb occurs twice.
    Source: not in the paper.
    """
    if len(edges) == 0:
        return shapes.new_zeros(())
    size_one = normalised(shapes, visible)
    start, end = edges.to(shapes.device).unbind(1)
    lengths = 0.5 * ((size_one[:, start] - size_one[:, end]).square().sum(-1) + _SHORT).log()  # [B, E]
    seen = torch.ones_like(lengths, dtype=torch.bool) if visible is None else visible[:, start] & visible[:, end]
    count = seen.sum(0)
    mean = torch.where(seen, lengths, 0).sum(0) / count.clamp_min(1)
    variance = torch.where(seen, (lengths - mean).square(), 0).sum(0) / count.clamp_min(1)
    return variance.sum() / (count >= 2).sum().clamp_min(1)


def limb_constancy_by_rig(
    shapes: Float[Tensor, "B N 3"],
    edges: Sequence[Tensor],
    category: Int[Tensor, " B"],
    visible: Bool[Tensor, "B N"] | None = None,
) -> Float[Tensor, ""]:
    """`limb_constancy` of each category with its own edges, weighted by the category's share of the batch."""
    total = shapes.new_zeros(())
    for rows in by_category(category, len(shapes), shapes.device):
        mask = None if visible is None else visible[rows]
        within = limb_constancy(shapes[rows], edges[int(category[rows[0]])], mask)
        total = total + within * (len(rows) / len(shapes))
    return total
