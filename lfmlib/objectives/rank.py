"""Low-rank prior on canonical shapes: the shapes of one category differ from their mean in few ways."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lfmlib.objectives.masked import by_category, cleaned

_SMOOTH = 1e-6  # on squared singular values of unit-RMS shapes: rounds off the root at 0
_DELTA = 0.1  # logdet: deviations well below this (RMS radii) count as none


def low_rank(
    shapes: Float[Tensor, "B N 3"],
    category: Int[Tensor, " B"] | None = None,
    visible: Bool[Tensor, "B N"] | None = None,
    kind: str = "nuclear",
) -> Float[Tensor, ""]:
    """Size of the spectrum of a batch's canonical shapes about their mean, summed over its categories.

        Z_c = [ y_b - mean_c y ]_{b in c}  in R^{B_c x 3N},  singular values sigma_k
        nuclear:  1/B  sum_c sum_k sigma_k                                           = 1/B sum_c || Z_c ||_*
        logdet:   1/B  sum_c B_c/2 sum_k log(1 + sigma_k^2 / (B_c delta^2)),  delta = 0.1

    Assumption about the world: the shapes of a category, seen in one common frame, are a mean and a few modes of
    deformation.

    It is blind to a common offset of all shapes and to one fixed rotation of the canonical frame, and it sees shapes
    only: a network that gives one shape to all samples pleases it, whatever their pictures. The nuclear value falls
    with the batch as 1/sqrt(B_c) for shapes of one distribution, so its weight belongs to a batch size; the logdet
    value does not.

    Args:
        shapes: canonical shapes of comparable size (unit RMS radius: otherwise shrinking is the cheapest way down);
            [B, N, 3].
        category: which samples share a mean; None = all of them; [B].
        visible: keypoints that take part (for `Objective`: the rig's keypoints without padding, so that the prior
            also completes hidden ones); a keypoint's mean is taken over the samples that have it; [B, N].
        kind: "nuclear" or "logdet".
    Returns:
        One number, 0 where all shapes of each category are equal (one sample included).
    Raises:
        ValueError: unknown `kind`.
    Source: not in the paper. The spectrum comes from the smaller of the two Gram matrices, whose eigenvalues have
        gradients even where they coincide; each singular value is rounded off as sqrt(sigma^2 + 1e-6) - 1e-3.
    """
    if kind not in ("nuclear", "logdet"):
        raise ValueError(f"kind of low-rank prior must be nuclear or logdet, got {kind!r}")
    total = shapes.new_zeros(())
    for rows in by_category(category, len(shapes), shapes.device):
        mask = None if visible is None else visible[rows]
        members = cleaned(shapes[rows], mask)
        count = len(rows) if mask is None else mask.sum(0).clamp_min(1)[:, None]
        Z = cleaned(members - members.sum(0) / count, mask).flatten(1)  # [B_c, 3N]
        gram = Z @ Z.mT if Z.shape[0] <= Z.shape[1] else Z.mT @ Z
        squares = torch.linalg.eigvalsh(gram).clamp_min(0)  # rounding makes some slightly negative
        if kind == "nuclear":
            total = total + ((squares + _SMOOTH).sqrt() - _SMOOTH**0.5).sum()
        else:
            total = total + 0.5 * len(rows) * torch.log1p(squares / (len(rows) * _DELTA**2)).sum()
    return total / len(shapes)
