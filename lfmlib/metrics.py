"""Errors of lifted shapes: the MPJPE family, stress, PCK; per sample, and per category, class mean and pooled.

Alignment and mirror policy are arguments, never implied: orthographic pictures cannot tell a shape from its mirror
image seen from the other side. O(3) forgives every mirrored sample, SO(3) punishes even one harmless flip of
everything, the per-category flip allows one mirror bit for a whole category.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lfmlib.geometry import align, centred

Alignment = Literal["none", "depth", "centre", "scale", "so3", "o3"]
CLASS_MEAN, POOLED = "class mean", "pooled"


def distances(
    P: Float[Tensor, "B N 3"],
    Y: Float[Tensor, "B N 3"],
    known: Bool[Tensor, "B N"] | None = None,
    *,
    alignment: Alignment,
    root: int | None = None,
) -> Float[Tensor, "B N"]:
    """Distance of each keypoint from the truth once the prediction is aligned.

    Args:
        P: predicted shapes, camera frame (any frame for so3 and o3). Y: true shapes. Unit: that of Y; [B, N, 3].
        known: keypoints that have a truth, None = all; the others may hold anything; [B, N].
        alignment: none; depth (mean depth of both removed); centre (mean of both removed); scale (centre, then the
            least-squares scale <P, Y> / <P, P>); so3, o3 (similarity Procrustes without and with mirror image).
        root: for centre and scale: keypoint to centre on in place of the mean of the known ones.
    Returns:
        [B, N]; 0 where not known.
    Raises:
        ValueError: shapes do not fit; fewer than 3 known keypoints, or a known coordinate that is not finite (names the
            sample); unknown alignment; root is not known in a sample.
    """
    known = _checked(P, Y, known)
    keep = known[..., None]
    P, Y = torch.where(keep, P, 0), torch.where(keep, Y, 0)
    if alignment in ("so3", "o3"):
        P = align(P, Y, known, alignment).apply(P)
    elif alignment == "depth":
        P = torch.cat((P[..., :2], centred(P[..., 2:], known)), dim=-1)
        Y = torch.cat((Y[..., :2], centred(Y[..., 2:], known)), dim=-1)
    elif alignment in ("centre", "scale"):
        P, Y = (_rooted(shape, known, root) for shape in (P, Y))
        if alignment == "scale":
            size = P.square().sum((1, 2)).clamp_min(torch.finfo(P.dtype).tiny)
            P = P * ((P * Y).sum((1, 2)) / size)[:, None, None]
    elif alignment != "none":
        raise ValueError(f"unknown alignment {alignment!r}: expected none, depth, centre, scale, so3 or o3")
    return torch.where(known, (P - Y).norm(dim=-1), 0)


def mpjpe(
    P: Float[Tensor, "B N 3"], Y: Float[Tensor, "B N 3"], known: Bool[Tensor, "B N"] | None = None,
    root: int | None = None,
) -> Float[Tensor, " B"]:
    """MPJPE: mean distance over the known keypoints, both shapes centred, nothing else aligned. See `distances`."""
    return _mean(distances(P, Y, known, alignment="centre", root=root), known)


def n_mpjpe(
    P: Float[Tensor, "B N 3"], Y: Float[Tensor, "B N 3"], known: Bool[Tensor, "B N"] | None = None,
    root: int | None = None,
) -> Float[Tensor, " B"]:
    """N-MPJPE: MPJPE after the least-squares scale. See `distances`."""
    return _mean(distances(P, Y, known, alignment="scale", root=root), known)


def pa_mpjpe(
    P: Float[Tensor, "B N 3"], Y: Float[Tensor, "B N 3"], known: Bool[Tensor, "B N"] | None = None,
    *, mirror: Literal["so3", "o3"],
) -> Float[Tensor, " B"]:
    """PA-MPJPE: mean distance after similarity Procrustes, with (o3) or without (so3) mirror image. See `distances`.

    The alignment minimises squared distances; so o3 is never above so3 in RMS error, and in MPJPE only nearly so.
    """
    if mirror not in ("so3", "o3"):
        raise ValueError(f"mirror must be 'so3' or 'o3', not {mirror!r}")
    return _mean(distances(P, Y, known, alignment=mirror), known)


def c3dpo_mpjpe(
    P: Float[Tensor, "B N 3"], Y: Float[Tensor, "B N 3"], known: Bool[Tensor, "B N"] | None = None,
    root: int | None = None,
) -> Float[Tensor, " B"]:
    """C3DPO's flip-best MPJPE: no alignment but depth, the better of z and -z for each sample.

    Args:
        P, Y, known: see `distances`; P in the camera frame and in Y's scale.
        root: None: the mean depth of both is removed, x and y are compared as they are (its Pascal3D+ protocol); an
            index: both are moved to that keypoint (its Human3.6M protocol, the hip).
    Source: the evaluation code of c3dpo_nrsfm.
    """
    alignment = "depth" if root is None else "centre"
    both = [_mean(distances(p, Y, known, alignment=alignment, root=root), known) for p in (P, mirrored(P))]
    return torch.minimum(*both)


def stress(
    P: Float[Tensor, "B N 3"], Y: Float[Tensor, "B N 3"], known: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, " B"]:
    """Stress: mean over the pairs of known keypoints of | |p_i - p_j| - |y_i - y_j| |.

    Blind to pose and mirror image, not to scale: as in C3DPO's code neither shape is normalised, the unit is Y's.
    """
    known = _checked(P, Y, known)
    P, Y = (torch.where(known[..., None], shape, 0) for shape in (P, Y))
    pairs = (known[:, :, None] & known[:, None, :]).triu(1)
    exact = "donot_use_mm_for_euclid_dist"
    difference = (torch.cdist(P, P, compute_mode=exact) - torch.cdist(Y, Y, compute_mode=exact)).abs()
    return torch.where(pairs, difference, 0).sum((1, 2)) / pairs.sum((1, 2))


def pck(
    P: Float[Tensor, "B N 3"], Y: Float[Tensor, "B N 3"], known: Bool[Tensor, "B N"] | None = None,
    *, threshold: float, alignment: Alignment, root: int | None = None,
) -> Float[Tensor, " B"]:
    """PCK: share of the known keypoints nearer than `threshold` (unit of Y; 150 mm is the custom for people)."""
    if not threshold > 0:
        raise ValueError(f"threshold is {threshold}: expected a length > 0 in the unit of Y")
    near = distances(P, Y, known, alignment=alignment, root=root) < threshold
    return _mean(near.to(P.dtype), known)


def auc(
    P: Float[Tensor, "B N 3"], Y: Float[Tensor, "B N 3"], known: Bool[Tensor, "B N"] | None = None,
    *, up_to: float, alignment: Alignment, root: int | None = None, steps: int = 31,
) -> Float[Tensor, " B"]:
    """Area under the PCK curve: mean PCK over `steps` even thresholds from 0 to `up_to` (31 of 5 mm for people)."""
    if not up_to > 0 or steps < 2:
        raise ValueError(f"up_to is {up_to} and steps {steps}: expected a length > 0 and 2 steps or more")
    distance = distances(P, Y, known, alignment=alignment, root=root)
    thresholds = torch.linspace(0, up_to, steps, dtype=distance.dtype, device=distance.device)
    return _mean((distance[..., None] < thresholds).to(distance.dtype).mean(-1), known)


def mirrored(P: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """The shape with its depth negated; under SO(3) alignment any mirror plane gives the same."""
    return torch.cat((P[..., :2], -P[..., 2:]), dim=-1)


class Flip(NamedTuple):
    """Per-category flip. bit: the category's predictions are taken mirrored; error: of each sample under that bit;
    mistake: the sample would be better against it."""

    error: Float[Tensor, " B"]
    bit: Bool[Tensor, " C"]
    mistake: Bool[Tensor, " B"]


def per_category_flip(
    P: Float[Tensor, "B N 3"], Y: Float[Tensor, "B N 3"], known: Bool[Tensor, "B N"] | None,
    category: Int[Tensor, " B"],
) -> Flip:
    """PA-MPJPE under SO(3) after one mirror bit per category, the one with the lower mean error over its samples.

    Args:
        P, Y, known: see `distances`. category: index 0..C-1; [B].
    Returns:
        Flip. A difference below 1e-6 of the error (a planar shape is its own mirror image) is no mistake.
    """
    return _flip(pa_mpjpe(P, Y, known, mirror="so3"), pa_mpjpe(mirrored(P), Y, known, mirror="so3"), category)


def _flip(plain: Tensor, other: Tensor, category: Tensor) -> Flip:
    """The choice, given the errors of the predictions and of their mirror images; [B] each."""
    count = int(category.max()) + 1 if len(category) else 0
    gain = torch.zeros(count, dtype=torch.float64, device=plain.device)
    gain.index_add_(0, category, (plain - other).double())
    bit = gain > 0
    flipped = bit[category]
    error, rest = torch.where(flipped, other, plain), torch.where(flipped, plain, other)
    return Flip(error, bit, rest < error * (1 - 1e-6))


def aggregate(values: Float[Tensor, " B"], category: Int[Tensor, " B"], names: Sequence[str]) -> dict[str, float]:
    """Mean of a per-sample value: per category that has samples, `class mean` of those, `pooled` over samples."""
    means = {name: float(values[category == c].mean()) for c, name in enumerate(names) if bool((category == c).any())}
    return {**means, CLASS_MEAN: math.fsum(means.values()) / len(means), POOLED: float(values.mean())}


def evaluate(
    P: Float[Tensor, "B N 3"],
    Y: Float[Tensor, "B N 3"],
    known: Bool[Tensor, "B N"] | None = None,
    category: Int[Tensor, " B"] | None = None,
    *,
    radius: Sequence[float],
    mm: Sequence[float | None] | None = None,
    names: Sequence[str] = ("all",),
) -> list[dict]:
    """PA-MPJPE under every mirror policy: one record per category, then `class mean` and `pooled` (several categories).

    Args:
        P: predicted shapes, any frame and scale. Y: true shapes in the categories' own units; [B, N, 3].
        known: keypoints that have a truth, None = all; [B, N]. category: index into `names`, None = one category; [B].
        radius: mean RMS radius of each category, in its unit. mm: millimetres per unit, None where not metric. names.
    Returns:
        Records with category, samples, o3, so3, flip (% of the RMS radius), mm (the flip error in millimetres; None
        unless every category in it is metric), mirrored (the mirror bit; None in summaries), mirror_mistakes (share of
        the samples that are better against their category's bit).
    Raises:
        ValueError: as `distances`; no samples; radius, mm and names differ in length; a category out of range; a radius
            that is not positive.
    """
    mm = [None] * len(names) if mm is None else mm
    category = torch.zeros(len(P), dtype=torch.int64, device=P.device) if category is None else category
    if not len(radius) == len(mm) == len(names):
        raise ValueError(f"{len(names)} names, {len(radius)} radii and {len(mm)} mm: expected one each per category")
    if not len(P):
        raise ValueError("no samples to evaluate")
    if not 0 <= int(category.min()) <= int(category.max()) < len(names):
        raise ValueError(f"category spans {int(category.min())}..{int(category.max())}, expected 0..{len(names) - 1}")
    for name, value in zip(names, radius, strict=True):
        if not 0 < value < math.inf:
            raise ValueError(f"category {name!r}: radius is {value}, expected a finite length > 0")
    P, Y = P.double(), Y.double()
    plain, other = (pa_mpjpe(shape, Y, known, mirror="so3") for shape in (P, mirrored(P)))
    flip = _flip(plain, other, category)
    # the best orthogonal map is a rotation of the prediction or of its mirror image: no third alignment is needed
    turned = torch.linalg.det(centred(Y, known).mT @ centred(P, known)) < 0
    percent = 100 / torch.tensor(list(radius), dtype=torch.float64, device=P.device)[category]
    columns = {
        "o3": torch.where(turned, other, plain) * percent,
        "so3": plain * percent,
        "flip": flip.error * percent,
        "mirror_mistakes": flip.mistake.double(),
    }
    present = category.unique().tolist()
    metric = all(mm[c] is not None for c in present)
    per_mm = torch.tensor([math.nan if v is None else v for v in mm], dtype=torch.float64, device=P.device)[category]
    columns["mm"] = flip.error * per_mm
    means = {key: aggregate(value, category, names) for key, value in columns.items()}
    records = []
    for c in present:
        record = {"category": names[c], "samples": int((category == c).sum()), "mirrored": bool(flip.bit[c])}
        records.append(record | {key: value[names[c]] for key, value in means.items()})
        records[-1]["mm"] = records[-1]["mm"] if mm[c] is not None else None
    if len(names) > 1:
        for summary in (CLASS_MEAN, POOLED):
            records.append({"category": summary, "samples": len(P), "mirrored": None})
            records[-1].update({key: value[summary] for key, value in means.items()})
            records[-1]["mm"] = records[-1]["mm"] if metric else None
    return records


def _mean(values: Tensor, known: Tensor | None) -> Tensor:
    if known is None:
        return values.mean(1)
    return torch.where(known, values, 0).sum(1) / known.sum(1)


def _rooted(shape: Tensor, known: Tensor, root: int | None) -> Tensor:
    if root is None:
        return centred(shape, known)
    if not 0 <= root < shape.shape[1]:
        raise ValueError(f"root is keypoint {root}, there are {shape.shape[1]}")
    if not bool(known[:, root].all()):
        raise ValueError(f"sample {int((~known[:, root]).nonzero()[0])}: root keypoint {root} is not known")
    return shape - shape[:, root : root + 1]


def _checked(P: Tensor, Y: Tensor, known: Tensor | None) -> Tensor:
    """The mask, once everything fits."""
    if P.ndim != 3 or P.shape[-1] != 3 or P.shape != Y.shape:
        raise ValueError(f"prediction {list(P.shape)} and truth {list(Y.shape)}: expected the same [B, N, 3]")
    if known is None:
        known = torch.ones(P.shape[:2], dtype=torch.bool, device=P.device)
    if known.shape != P.shape[:2] or known.dtype != torch.bool:
        raise ValueError(f"known is {known.dtype} {list(known.shape)}: expected torch.bool {list(P.shape[:2])}")
    few = known.sum(1) < 3
    if bool(few.any()):
        sample = int(few.nonzero()[0])
        raise ValueError(f"sample {sample}: {int(known[sample].sum())} known keypoints, an error needs at least 3")
    for what, shape in (("prediction", P), ("truth", Y)):
        wrong = (known & ~shape.isfinite().all(-1)).nonzero()
        if len(wrong):
            raise ValueError(f"sample {int(wrong[0, 0])}: {what} of keypoint {int(wrong[0, 1])} is not finite")
    return known
