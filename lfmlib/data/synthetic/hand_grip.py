"""The grip of a hand: the joint angles that bring thumb and fingertips onto two parallel planes."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lfmlib.data.synthetic.draw import Cast, Number
from lfmlib.data.synthetic.hand_model import ARCH, FINGERS, FOLLOW, SPLAY, Anatomy, Pose, planar, root_of
from lfmlib.data.synthetic.limbs import apply, vector

PAD = 7.0  # mm from a fingertip's joint to what its skin touches
EASY = 40.0  # degrees: of two bends of a knuckle that reach a plane the one nearer to this


def grip_pose(cast: Cast, hand: Anatomy, gap: Tensor, tilt: Tensor | Number = 0.0) -> tuple[Pose, Tensor]:
    """A hand open for something of that thickness, its first finger joints not set yet, and the line of the grip.

    Args:
        gap: between the tips of thumb and fingers, mm, [F].
        tilt: of the grip towards the back of the hand, degrees: 0 for a glass, more for a plate.
    Returns:
        The pose, and the unit vector from the thumb's side to the fingers' in the hand's frame, [F, 3].
    """
    open_ = gap / hand.size
    swing, lift = 25 + 40 * open_ + cast.noise(3.0), 57 + 36 * open_ + cast.noise(3.0)
    thumb = (swing, lift, torch.full_like(gap, 70.0), *(30 - 40 * open_ + cast.noise(3.0) for _ in range(2)))
    style = cast.by_motion(-10, 14)
    cup, side, bend = {}, {}, {}
    for finger in FINGERS:
        middle = (58 - 50 * open_ + style + cast.noise(3.0)).clamp(4, 90)
        cup[finger] = ARCH[finger] * (0.7 - open_).clamp(0, 1)
        side[finger] = SPLAY[finger] * (2 + 10 * open_) + cast.noise(1.5)
        bend[finger] = [torch.zeros_like(gap), middle, FOLLOW * middle]
    inward = torch.deg2rad(17 - 20 * open_ + cast.noise(2.0))
    lean = torch.deg2rad(tilt + cast.noise(2.5))
    axis = vector(inward.sin() * lean.cos(), inward.cos() * lean.cos(), lean.sin(), gap)
    return Pose(cup, side, bend, thumb), axis


def tip_of(hand: Anatomy, pose: Pose, finger: str) -> Tensor:
    """The place of one fingertip in the hand's frame; [F, 3]."""
    R, base = root_of(hand, pose, finger)
    forward, down = _tip_ahead(hand, pose, finger)
    first = torch.deg2rad(pose.bend[finger][0]) if finger in FINGERS else torch.zeros_like(forward)
    y, z = forward * first.cos() - down * first.sin(), -forward * first.sin() - down * first.cos()
    return base + apply(R, vector(0, y, z, first))


def _tip_ahead(hand: Anatomy, pose: Pose, finger: str) -> tuple[Tensor, Tensor]:
    """How far a fingertip reaches ahead of its first joint and below it, that joint straight; [F] each."""
    bends = pose.bend[finger][1:] if finger in FINGERS else pose.thumb[3:]
    return planar([torch.zeros_like(hand.size), *bends], hand.bones[finger])[-1]


def reach(hand: Anatomy, pose: Pose, axis: Tensor, level: Tensor | Mapping[str, Tensor]) -> Pose:
    """The pose with the first joint of each finger set so that its tip lies in a plane, or as near as it can.

    Args:
        axis: the plane's unit normal in the hand's frame, [F, 3].
        level: its distance from the wrist along `axis`, mm, [F]; or one for each finger.
    """
    bend = {}
    for finger in FINGERS:
        R, base = root_of(hand, pose, finger)
        forward, down = _tip_ahead(hand, pose, finger)
        _, y, z = (R * axis[:, :, None]).sum(1).unbind(1)  # the axis as the finger sees it
        # tip . axis = a cos + b sin of the first bend
        a, b = y * forward - z * down, -y * down - z * forward
        wanted = (level if isinstance(level, Tensor) else level[finger]) - (base * axis).sum(-1)
        middle, half = torch.atan2(b, a), (wanted / torch.hypot(a, b)).clamp(-1, 1).acos()
        more, less = (torch.rad2deg(torch.remainder(angle + math.pi, 2 * math.pi) - math.pi)
                      for angle in (middle + half, middle - half))  # fmt: skip
        first = torch.where((more - EASY).abs() < (less - EASY).abs(), more, less)
        bend[finger] = [first.clamp(-25, 95), *pose.bend[finger][1:]]
    return pose._replace(bend=bend)


def beside(axis: Tensor, roll: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors at right angles to a grip's axis, turned by `roll` degrees: across the hand, and off the palm."""
    x = torch.nn.functional.normalize(vector(1, 0, 0, roll) - axis[:, :1] * axis, dim=-1)
    out = torch.linalg.cross(axis, x)
    c, s = torch.deg2rad(roll).cos()[:, None], torch.deg2rad(roll).sin()[:, None]
    return c * x + s * out, c * out - s * x
