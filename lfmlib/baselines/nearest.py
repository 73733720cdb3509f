"""The nearest training shape, chosen by the truth: what an answer out of memory could reach at best."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib import geometry
from lfmlib.baselines.floors import unit
from lfmlib.data.views import visible_or_all

SHAPES = 4000  # training shapes that are compared, evenly spread
CHUNK = 64  # true shapes at a time
NEWTON = 30  # steps; it converges from above, slowest (a factor 2 a step) where two rotations are alike


def nearest_shape_oracle(
    training: Float[Tensor, "F N 3"],
    Y: Float[Tensor, "B N 3"],
    training_known: Bool[Tensor, "F N"] | None = None,
    known: Bool[Tensor, "B N"] | None = None,
    mirror: Literal["so3", "o3"] = "so3",
    most: int = SHAPES,
) -> Float[Tensor, "B N 3"]:
    """For each true shape the training shape that comes nearest once aligned. It sees the truth: an oracle, no method.

        argmin over f of  min_{s, R, t} sum_{i known} || s R p_fi + t - y_bi ||^2

    Exact among the shapes that are compared. Only training shapes that know all that the true shape knows take part.

    Args:
        training: shapes, any unit; [F, N, 3].  Y: true shapes; [B, N, 3].
        training_known, known: None = all; the others may hold anything; [F, N], [B, N].
        mirror: "so3" keeps the handedness, "o3" lets a training shape be mirrored.
        most: training shapes that are compared, evenly spread.
    Returns:
        The chosen shapes, moved onto the truth, in its unit; 0 where the truth is not known; [B, N, 3].
    Raises:
        ValueError: shapes do not fit; no training shape; `most` below 1; a known coordinate that is not finite; fewer
            than 3 known keypoints; a true shape whose keypoints no training shape knows (names it); unknown mirror
            policy.
    """
    if training.ndim != 3 or Y.ndim != 3 or training.shape[1:] != Y.shape[1:] or Y.shape[-1] != 3:
        raise ValueError(f"training {list(training.shape)} and truth {list(Y.shape)}: expected [F, N, 3] and [B, N, 3]")
    if not len(training) or most < 1:
        raise ValueError(f"{len(training)} training shapes, at most {most} of them: expected 1 or more")
    kept = torch.arange(min(most, len(training)), device=Y.device) * len(training) // min(most, len(training))
    P, have = _checked("training shape", training[kept], visible_or_all(training_known, training)[kept])
    Y, known = _checked("true shape", Y, visible_or_all(known, Y))
    pieces = zip(Y.split(CHUNK), known.split(CHUNK), strict=True)
    shares = torch.cat([explained_share(P, have, part, there, mirror) for part, there in pieces])
    best = shares.max(1)
    if bool((best.values < 0).any()):
        sample = int((best.values < 0).nonzero()[0])
        raise ValueError(f"true shape {sample}: no training shape knows all of its keypoints")
    chosen = P[best.indices].to(Y)
    return torch.where(known[..., None], geometry.align(chosen, Y, known, mirror).apply(chosen), 0)


def explained_share(
    P: Float[Tensor, "F N 3"],
    have: Bool[Tensor, "F N"],
    Y: Float[Tensor, "B N 3"],
    known: Bool[Tensor, "B N"],
    mirror: Literal["so3", "o3"] = "so3",
) -> Float[Tensor, "B F"]:
    """Root of the share of a shape's squared radius that a similarity of another explains; for all pairs at once.

        1 - min_{s, R, t} || s R p + t - y ||^2 / || y ||^2  =  (sigma_1 + sigma_2 +- sigma_3)^2 / (|p|^2 |y|^2)

    over the keypoints that y knows, sigma the singular values of the 3 x 3 moment of both; -1 where p lacks one.

    Source: the sum is the largest root of a quartic whose coefficients the moment gives without a decomposition
        (Theobald, "Rapid calculation of RMSDs using a quaternion-based characteristic polynomial", 2005), by Newton's
        method from above.
    """
    y = unit(Y.double(), known)[0]
    p = torch.where(have[..., None], P, 0).double()
    w = known.double()
    inside = torch.einsum("bni,fnj->bfij", y, p)  # y is centred: the place of p drops out
    middle = torch.einsum("bn,fni->bfi", w, p)
    square = w @ p.square().sum(-1).mT - middle.square().sum(-1) / w.sum(1)[:, None]  # [B, F]
    H = inside / (square * w.sum(1)[:, None]).clamp_min(torch.finfo(w.dtype).tiny).sqrt()[..., None, None]
    share = _sum_of_singular_values(H, mirror)
    complete = w @ (~have).double().mT == 0
    return torch.where(complete, share, -1.0)


def _sum_of_singular_values(H: Float[Tensor, "*B 3 3"], mirror: str) -> Float[Tensor, "*B"]:
    """sigma_1 + sigma_2 + sigma_3, the last one with the sign of the determinant unless a mirror is allowed."""
    square = H.square().sum((-2, -1))
    fourth = (H.mT @ H).square().sum((-2, -1))
    a, b, c = H.unbind(-2)
    determinant = (a * torch.linalg.cross(b, c)).sum(-1)
    if mirror == "o3":
        determinant = determinant.abs()
    constant = 2 * fourth - square.square()
    root = (3 * square).sqrt()  # sum of three numbers of this square sum: at most this
    for _ in range(NEWTON):
        value = ((root.square() - 2 * square) * root - 8 * determinant) * root + constant
        slope = 4 * (root.square() - square) * root - 8 * determinant
        root = root - torch.where(slope > 0, value / slope.clamp_min(torch.finfo(root.dtype).tiny), 0).clamp_min(0)
    return root


def _checked(what: str, shapes: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    if bool((known.sum(1) < 3).any()):
        raise ValueError(f"{what} {int((known.sum(1) < 3).nonzero()[0])} has fewer than 3 known keypoints")
    wrong = (known & ~shapes.isfinite().all(-1)).any(1)
    if bool(wrong.any()):
        raise ValueError(f"{what} {int(wrong.nonzero()[0])} is not finite")
    return torch.where(known[..., None], shapes, 0), known
