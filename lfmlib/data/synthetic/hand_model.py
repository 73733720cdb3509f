"""The hand: bones of a person, bends of its joints, and where that puts it.

In its own frame the wrist is at the origin, fingers point along +y and the palm looks towards -z; the thumb of a right
hand is at -x, a left hand is its mirror image in x. Bones are near those of adults (a middle finger of 0.44 of the
hand's length); lengths, limits and spreads are ours.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lfmlib.data.synthetic.draw import Cast, Number, Range
from lfmlib.data.synthetic.limbs import apply, turn, vector

# Shares of the hand's length: base of the finger in the palm (x, y, z), then its three bones.
FINGERS = {
    "index": ((-0.13, 0.49, 0.0), (0.24, 0.14, 0.11)),
    "middle": ((-0.02, 0.50, 0.02), (0.26, 0.16, 0.115)),
    "ring": ((0.08, 0.46, 0.01), (0.24, 0.15, 0.115)),
    "little": ((0.165, 0.40, -0.02), (0.19, 0.11, 0.10)),
}
THUMB = ((-0.12, 0.13, -0.06), (0.245, 0.18, 0.145))
JOINTS = {"thumb": ("cmc", "mcp", "ip", "tip")} | {finger: ("mcp", "pip", "dip", "tip") for finger in FINGERS}
SPLAY = {"index": -1.0, "middle": -0.15, "ring": 0.6, "little": 1.3}  # share of the spread, towards the little finger
ARCH = {"index": 4.0, "middle": 0.0, "ring": 5.0, "little": 12.0}  # degrees that the palm's arch adds to a closed fist
FOLLOW = 0.65  # the last joint of a finger bends by this share of the middle one: one tendon moves both
PALM = 0.33  # the middle of the palm, as a share of the hand's length from the wrist


class Anatomy(NamedTuple):
    """A person's hand: its length, the palm's width (1: average), and each finger's bones from the palm on; mm [F]."""

    size: Tensor
    width: Tensor
    bones: dict[str, list[Tensor]]


class Pose(NamedTuple):
    """Joint angles in degrees, [F] each.

    Args:
        cup: of the palm's arch, per finger.
        side: of a finger towards the little finger.
        bend: of a finger's three joints towards the palm.
        thumb: swing away from the palm's edge, lift out of the palm's plane, roll, and the bends of its two joints.
    """

    cup: dict[str, Tensor]
    side: dict[str, Tensor]
    bend: dict[str, list[Tensor]]
    thumb: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def anatomy(cast: Cast, size: Range | Tensor = (160, 210), spread: Number = 0.07) -> Anatomy:
    """Draws the hand of each individual.

    Args:
        size: length from wrist to middle fingertip, mm: a range to draw from, or the lengths themselves, [F].
        spread: largest deviation of a bone from its share of the length.
    """
    length = size if isinstance(size, Tensor) else cast.by_individual(*size)
    width = cast.by_individual(0.9, 1.12)
    shares = {"thumb": THUMB[1]} | {finger: bones for finger, (_, bones) in FINGERS.items()}
    bones = {
        finger: [share * length * cast.by_individual(1 - spread, 1 + spread) for share in own]
        for finger, own in shares.items()
    }
    return Anatomy(length, width, bones)


def relaxed(cast: Cast, curl: dict[str, Tensor], spread: Tensor, oppose: Tensor) -> Pose:
    """The joint angles of a gesture, with a little noise.

    Args:
        curl: per finger and thumb, 0 straight to 1 closed, [F].
        spread: of the fingers, degrees, [F].
        oppose: of the thumb, 0 beside the palm to 1 across it, [F].
    """
    cup, side, bend = {}, {}, {}
    for finger in FINGERS:
        closed = curl[finger]
        cup[finger] = ARCH[finger] * closed
        side[finger] = SPLAY[finger] * spread * (1 - 0.8 * closed.clamp(0, 1)) + cast.noise(1.5)
        middle = (100 * closed + 4 + cast.noise(3.0)).clamp(0, 110)
        bend[finger] = [(88 * closed - 8 + cast.noise(3.0)).clamp(-25, 95), middle, FOLLOW * middle]
    bends = [(share * curl["thumb"] + cast.noise(3.5)).clamp(-12, share + 15) for share in (50, 65)]
    swing, lift = 42 - 26 * oppose + cast.noise(3.0), 12 + 38 * oppose + cast.noise(3.0)
    return Pose(cup, side, bend, (swing, lift, 50 + 25 * oppose, *bends))


def points(hand: Anatomy, pose: Pose) -> dict[str, Tensor]:
    """The 21 joints of a right hand in its own frame, mm, [F, 3] each."""
    at = {"wrist": torch.zeros(len(hand.size), 3, dtype=torch.float64)}
    for finger in JOINTS:
        R, base = root_of(hand, pose, finger)
        bends = pose.bend[finger] if finger in FINGERS else [torch.zeros_like(hand.size), *pose.thumb[3:]]
        first, *others = (f"{finger}_{joint}" for joint in JOINTS[finger])
        at[first] = base
        for joint, (ahead, down) in zip(others, planar(bends, hand.bones[finger]), strict=True):
            at[joint] = base + apply(R, vector(0, ahead, -down, ahead))
    return at


def root_of(hand: Anatomy, pose: Pose, finger: str) -> tuple[Tensor, Tensor]:
    """The frame that a finger bends in (about its x) and the place of its first joint; [F, 3, 3] and [F, 3]."""
    x, y, z = THUMB[0] if finger == "thumb" else FINGERS[finger][0]
    base = vector(x * hand.size * hand.width, y * hand.size, z * hand.size, hand.size)
    if finger == "thumb":
        swing, lift, roll, *_ = pose.thumb
        return turn("z", swing) @ turn("x", -lift) @ turn("y", -roll), base
    cup = turn("x", -pose.cup[finger])
    return cup @ turn("z", -pose.side[finger]), apply(cup, base)


def planar(bends: list[Tensor], bones: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """How far each bone of a finger ends ahead of its first joint, and below it; [F] each.

    A finger bends in one plane, so that one rotation serves all its bones.

    Args:
        bends: at the beginning of each bone, degrees, [F].
        bones: lengths, [F].
    """
    angle = ahead = down = torch.zeros_like(bones[0])
    ends = []
    for bend, bone in zip(bends, bones, strict=True):
        angle = angle + torch.deg2rad(bend)
        ahead, down = ahead + bone * angle.cos(), down + bone * angle.sin()
        ends.append((ahead, down))
    return ends


def mirrored(at: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same points of the other hand."""
    return {joint: point * point.new_tensor([-1.0, 1.0, 1.0]) for joint, point in at.items()}


def either_way(both: dict[str, dict[str, Tensor]], swapped: Tensor) -> dict[str, Tensor]:
    """The joints of two hands by "side_joint", seen in a mirror in the frames that are `swapped`; bool [F]."""
    made = {}
    for side, other in (("right", "left"), ("left", "right")):
        image = mirrored(both[other])
        made |= {f"{side}_{name}": torch.where(swapped[:, None], image[name], at) for name, at in both[side].items()}
    return made


def turned(cast: Cast, at: dict[str, Tensor], roll: Number = 30) -> dict[str, Tensor]:
    """The same points in another position of the hand in each clip, about its fingers by up to `roll` degrees."""
    R = turn("z", cast.by_motion(-25, 25)) @ turn("x", cast.by_motion(-40, 40)) @ turn("y", cast.by_motion(-roll, roll))
    return {name: apply(R, point) for name, point in at.items()}


def facing(fingers: Tensor, palm: Tensor) -> Tensor:
    """Rotation of a hand whose fingers shall point that way and whose palm shall look that way, as far as it can.

    Args:
        fingers: direction of any length, [F, 3]; kept exactly.
        palm: direction of any length, [F, 3], not along `fingers`.
    Returns:
        [F, 3, 3]; columns are the world's images of the hand's axes.
    """
    y = torch.nn.functional.normalize(fingers, dim=-1)
    z = -torch.nn.functional.normalize(palm - (palm * y).sum(-1, keepdim=True) * y, dim=-1)
    return torch.stack([torch.linalg.cross(y, z), y, z], -1)


def placed(at: dict[str, Tensor], R: Tensor, origin: Tensor, anchor: Tensor) -> dict[str, Tensor]:
    """Turns a hand and moves it so that its own point `anchor` comes to `origin`; both [F, 3]."""
    return {joint: origin + apply(R, point - anchor) for joint, point in at.items()}
