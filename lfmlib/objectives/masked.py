"""Means over the keypoints that take part. What the others hold, NaN included, reaches no value or gradient."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

TINY = 1e-12  # added to squared lengths of unit size: keeps a root's gradient finite where all points coincide


def cleaned(points: Float[Tensor, "B N K"], visible: Bool[Tensor, "B N"] | None) -> Float[Tensor, "B N K"]:
    """The points with 0 where a keypoint does not take part."""
    return points if visible is None else torch.where(visible[..., None], points, 0)


def masked_mean(values: Float[Tensor, "B N"], visible: Bool[Tensor, "B N"] | None) -> Float[Tensor, " B"]:
    """Mean over a sample's keypoints that take part; 0 for a sample that has none."""
    if visible is None:
        return values.mean(1)
    return torch.where(visible, values, 0).sum(1) / visible.sum(1).clamp_min(1)


def mean_square(points: Float[Tensor, "B N K"], visible: Bool[Tensor, "B N"] | None) -> Float[Tensor, " B"]:
    """Mean over a sample's keypoints of their squared norm, || p_i ||^2."""
    return masked_mean(cleaned(points, visible).square().sum(-1), visible)


def normalised(points: Float[Tensor, "B N K"], visible: Bool[Tensor, "B N"] | None) -> Float[Tensor, "B N K"]:
    """Centred on the mean of the keypoints that take part and divided by their RMS radius; 0 elsewhere.

    Points that all coincide become zeros, with a finite gradient.
    """
    points = cleaned(points, visible)
    count = points.shape[1] if visible is None else visible.sum(1).clamp_min(1)[:, None, None]
    centred = cleaned(points - points.sum(1, keepdim=True) / count, visible)
    return centred * (mean_square(centred, visible) + TINY).rsqrt()[:, None, None]


def by_category(category: Int[Tensor, " B"] | None, count: int, device: torch.device) -> Iterator[Tensor]:
    """Indices of the samples of each category that occurs; all `count` samples if there are no categories."""
    if category is None:
        yield torch.arange(count, device=device)
        return
    for value in category.unique().tolist():
        yield (category == value).nonzero()[:, 0]
