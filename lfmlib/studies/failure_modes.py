"""Sec. 4.4's failure modes, counted limb by limb: depth flips, foreshortened limbs, collapsed hidden keypoints.

The thresholds are ours, fixed before any run; the paper names the modes and counts none.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

TILTED = 0.2  # |depth| of a limb over its length, above which its sign means something
POINTING, ACROSS = math.cos(math.radians(30)), 0.5  # the same: limbs that point at the camera; those that lie across
SHORT = 0.7  # of its true length: a shortened limb
COLLAPSED = 0.5  # of its true length: a limb whose end has collapsed onto the other
HIDDEN = 0.3  # share of the keypoints that are hidden at random where collapse is looked for
OCCURS = 0.01  # of the limbs in question, in every seed: a failure mode that occurs
MODES = {  # column -> what the rate is a share of
    "flipped": "limbs tilted in depth",
    "shortened": "limbs within 30° of the viewing direction",
    "shortened, across": "limbs across the picture",
    "collapsed": f"limbs with an end hidden ({100 * HIDDEN:.0f} % of keypoints are)",
    "collapsed, seen": "limbs with both ends seen, same pictures",
}


class Limbs(NamedTuple):
    """Edges of shapes against the truth: which count for a failure mode, and which fail in it; [B, E] each."""

    tilted: Bool[Tensor, "B E"]
    flipped: Bool[Tensor, "B E"]
    pointing: Bool[Tensor, "B E"]
    across: Bool[Tensor, "B E"]
    short: Bool[Tensor, "B E"]
    collapsed: Bool[Tensor, "B E"]
    hidden: Bool[Tensor, "B E"]


def limbs(
    P: Float[Tensor, "B N 3"],
    Y: Float[Tensor, "B N 3"],
    known: Bool[Tensor, "B N"],
    visible: Bool[Tensor, "B N"],
    edges: Sequence[tuple[int, int]],
) -> Limbs:
    """What is true of every limb of aligned shapes, by the thresholds above.

    Args:
        P: lifted shapes, aligned to Y.  Y: truth, camera frame.  known: keypoints with a truth: limbs need both ends.
        visible: keypoints that the picture showed.  edges: of the rig.
    """
    a, b = torch.tensor(edges, device=P.device).T
    counts = known[:, a] & known[:, b]
    true, ours = Y[:, b] - Y[:, a], P[:, b] - P[:, a]
    length = true.norm(dim=-1)
    slope = (true[..., 2] / length.clamp_min(torch.finfo(Y.dtype).tiny)).abs()
    ratio = ours.norm(dim=-1) / length.clamp_min(torch.finfo(Y.dtype).tiny)
    return Limbs(
        tilted=counts & (slope > TILTED), flipped=true[..., 2] * ours[..., 2] < 0,
        pointing=counts & (slope > POINTING), across=counts & (slope < ACROSS), short=ratio < SHORT,
        collapsed=counts & (ratio < COLLAPSED), hidden=counts & ~(visible[:, a] & visible[:, b]),
    )  # fmt: skip


def rates(whole: Limbs, obstructed: Limbs) -> dict[str, float]:
    """Share of the limbs in question that fail, in %, for each of MODES; NaN where there is none in question.

    Args:
        whole: limbs in pictures that show everything.  obstructed: in pictures with keypoints hidden.
    """
    seen = ~obstructed.hidden
    return {
        "flipped": _share(whole.flipped, whole.tilted), "shortened": _share(whole.short, whole.pointing),
        "shortened, across": _share(whole.short, whole.across),
        "collapsed": _share(obstructed.collapsed, obstructed.hidden),
        "collapsed, seen": _share(obstructed.collapsed, seen),
    }  # fmt: skip


def _share(fails: Tensor, among: Tensor) -> float:
    count = int(among.sum())
    return 100 * int((fails & among).sum()) / count if count else math.nan
