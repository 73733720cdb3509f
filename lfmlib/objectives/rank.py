"""Low-rank priors on canonical shapes: those of one category, or those that look alike, differ in few ways."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lfmlib.objectives.cameras import draw
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
    _check_kind(kind)
    total = shapes.new_zeros(())
    for rows in by_category(category, len(shapes), shapes.device):
        Z = _about_mean(shapes[rows], None if visible is None else visible[rows])
        total = total + _spectrum_size(Z, kind)
    return total / len(shapes)


def low_rank_subsets(
    shapes: Float[Tensor, "B N 3"],
    generator: torch.Generator,
    category: Int[Tensor, " B"] | None = None,
    visible: Bool[Tensor, "B N"] | None = None,
    size: int = 8,
    kind: str = "nuclear",
) -> Float[Tensor, ""]:
    """`low_rank` of small subsets of shapes that look alike, each about its own mean; averaged over the subsets.

        S_a = the k shapes of anchor a's category nearest to y_a, itself included,  k = min(size, B_c)
        Z_a = [ y_b - mean_{S_a} y ]_{b in S_a}  in R^{k x 3N};    nuclear:  1/A sum_a 1/k || Z_a ||_*

    Anchors are drawn without replacement, B_c / k of each category (rounded up): a sample is in one subset on average.
    Distances are mean squares over the keypoints that both shapes have, and carry no gradient.

    Assumption about the world: the shapes of a category lie near a surface that is nearly flat over short distances,
    however much it bends as a whole.

    Blind to how subsets lie to one another: shapes may differ in as many ways as they like between far poses, and one
    fixed rotation and offset per cluster (a mirror image, too) costs nothing. As `low_rank` it never looks at a
    picture. Subsets follow the shapes that the network gives now: wrong neighbours at the start stay neighbours.

    Args:
        shapes: canonical shapes of comparable size, in one frame (neighbours are not aligned); [B, N, 3].
        generator: draws the anchors.
        category: a subset has one category; None = all are of one; [B].
        visible: keypoints that take part, as in `low_rank`; [B, N].
        size: shapes in a subset, at least 2; a category with fewer in the batch is one subset, the same for each
            anchor, and its value that of `low_rank`.
        kind: "nuclear" or "logdet".
    Returns:
        One number, 0 where all shapes of each subset are equal.
    Raises:
        ValueError: unknown `kind`, or `size` below 2.
    Source: not in the paper; after "as low rank as possible" methods for non-rigid structure from motion, which put
        a rank prior on clusters of similar shapes.
    """
    _check_kind(kind)
    if size < 2:
        raise ValueError(f"a subset has at least 2 shapes, got size {size}")
    total, anchors = shapes.new_zeros(()), 0
    for rows in by_category(category, len(shapes), shapes.device):
        members, mask = shapes[rows], None if visible is None else visible[rows]
        k = min(size, len(rows))
        chosen = draw(generator, len(rows), like=shapes).argsort()[: -(-len(rows) // k)]  # [A_c]
        near = _distances(members.detach(), mask)[chosen].topk(k, largest=False).indices  # [A_c, k]
        Z = _about_mean(members[near], None if mask is None else mask[near])  # [A_c, k, 3N]
        total, anchors = total + _spectrum_size(Z, kind).sum() / k, anchors + len(chosen)
    return total / anchors


def _check_kind(kind: str) -> None:
    if kind not in ("nuclear", "logdet"):
        raise ValueError(f"kind of low-rank prior must be nuclear or logdet, got {kind!r}")


def _about_mean(shapes: Float[Tensor, "*A S N 3"], visible: Bool[Tensor, "*A S N"] | None) -> Float[Tensor, "*A S D"]:
    """Deviations of S shapes from their mean, keypoint by keypoint over the shapes that have it; D = 3N."""
    if visible is None:
        return (shapes - shapes.sum(-3, keepdim=True) / shapes.shape[-3]).flatten(-2)
    shapes = torch.where(visible[..., None], shapes, 0)
    count = visible.sum(-2, keepdim=True).clamp_min(1)[..., None]
    return torch.where(visible[..., None], shapes - shapes.sum(-3, keepdim=True) / count, 0).flatten(-2)


def _spectrum_size(Z: Float[Tensor, "*A S D"], kind: str) -> Float[Tensor, "*A"]:
    """Sum of the singular values, or half the log-determinant S/2 sum log(1 + sigma^2 / (S delta^2))."""
    samples = Z.shape[-2]
    gram = Z @ Z.mT if samples <= Z.shape[-1] else Z.mT @ Z
    squares = torch.linalg.eigvalsh(gram).clamp_min(0)  # rounding makes some slightly negative
    if kind == "nuclear":
        return ((squares + _SMOOTH).sqrt() - _SMOOTH**0.5).sum(-1)
    return 0.5 * samples * torch.log1p(squares / (samples * _DELTA**2)).sum(-1)


def _distances(shapes: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None) -> Float[Tensor, "B B"]:
    """Mean squared distance over the keypoints that both shapes have; infinite where there are none."""
    has = shapes.new_ones(shapes.shape[:2]) if visible is None else visible.to(shapes)
    shapes = cleaned(shapes, visible)
    squares = shapes.square().sum(-1)  # [B, N]
    apart = squares @ has.mT + has @ squares.mT - 2 * shapes.flatten(1) @ shapes.flatten(1).mT
    common = has @ has.mT
    return torch.where(common > 0, apart / common.clamp_min(1), torch.inf)
