"""Hands that hold things: a box between thumb and fingers, and a hinged thing between two hands."""

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import SIDES, Cast, Kinds, Made, Number, Range, traits
from lfmlib.data.synthetic.hand_grip import PAD, beside, grip_pose, reach, tip_of
from lfmlib.data.synthetic.hand_model import (
    FINGERS,
    FOLLOW,
    Anatomy,
    Pose,
    anatomy,
    either_way,
    facing,
    points,
    root_of,
    turned,
)
from lfmlib.data.synthetic.limbs import apply, turn, vector

HOLDS = ("hold", "turn", "release")
TASKS = ("lift", "both", "type", "carry")
CLEAR = 0.13  # of a hand's length: nothing held comes nearer to the palm's bones
HOVER = 0.28  # of a hand's length: how high the knuckles of a typing hand are over the keys


def hand_box(count: int, generator: Generator, kinds: Kinds, size: Range = (160, 210)) -> Made:
    """A right hand around a box: thumb on one face, fingers on the opposite one, opened as far as the box is thick.

    Args:
        kinds: sort of box -> mm of "grip" (thumb to fingers), "breadth" (across the fingers), "depth" (off the palm).
        size: length of the hand, mm.
    """
    cast = Cast(count, len(HOLDS), generator)
    hand = anatomy(cast, size)
    box = _sizes(cast, kinds)
    grip, breadth, depth = box["grip"], box["breadth"], box["depth"]
    s = cast.to_and_fro
    off = torch.where(cast.motion == HOLDS.index("release"), cast.by_motion(10, 35) * s, 0.0)
    pose, axis = grip_pose(cast, hand, grip + 2 * PAD + off)
    level = (axis * tip_of(hand, pose, "thumb")).sum(-1)
    at = points(hand, reach(hand, pose, axis, level + grip + 2 * PAD + off))
    roll = cast.by_motion(-10, 10) + torch.where(cast.motion == HOLDS.index("turn"), cast.by_motion(-22, 22) * s, 0.0)
    across, out = beside(axis, roll)
    spots = torch.stack([at[f"{finger}_tip"] for finger in ("thumb", "index", "middle")], 1)  # [F, 3, 3]
    sideways, ahead = (spots * across[:, None]).sum(-1), (spots * out[:, None]).sum(-1)
    low, high = sideways.amin(1), sideways.amax(1)
    slack = ((breadth - (high - low)) / 2 - 4).clamp(min=0)
    middle = (low + high) / 2 + slack * cast.by_motion(-0.2, 0.9)  # more of it lies towards the other fingers
    first = torch.maximum(CLEAR * hand.size, ahead.amax(1) + 3 - depth)
    last = torch.maximum(first, ahead.amin(1) - 3)
    near = first + (last - first) * cast.by_motion(0, 1)
    corners = {}
    for face, g in (("thumb", level + PAD + off / 2), ("finger", level + PAD + off / 2 + grip)):
        for end, d in (("near", near), ("far", near + depth)):
            for side, e in (("radial", middle - breadth / 2), ("ulnar", middle + breadth / 2)):
                corners[f"box_{face}_{end}_{side}"] = g[:, None] * axis + d[:, None] * out + e[:, None] * across
    return cast.made(turned(cast, at | corners, roll=40))


def hands_hinged(count: int, generator: Generator, kinds: Kinds, size: Range = (160, 210), lid: Number = 8) -> Made:
    """Two hands at a laptop, a box or a book that opens: its front is at -z, where the person sits who faces +z.

    Args:
        kinds: sort of thing -> mm of "width", "depth" and "height" of the base, and degrees of "open", the lid's range.
        size: length of either hand, mm.
        lid: thickness of the lid, mm.
    """
    cast = Cast(count, len(TASKS), generator)
    hand = anatomy(cast, size)
    thing = _sizes(cast, kinds)
    base = width, depth, height = thing["width"], thing["depth"], thing["height"]
    s = cast.to_and_fro
    least = torch.where(cast.motion == TASKS.index("type"), 0.7 * thing["open"], 12.0)
    begin, end = cast.by_motion(least, thing["open"]), cast.by_motion(least, thing["open"])
    still = cast.motion >= TASKS.index("type")
    angle = torch.deg2rad((torch.where(still, begin, begin + (end - begin) * s) + cast.noise(1.0)).clamp(min=8))
    free = vector(0, angle.sin(), -angle.cos(), s)  # along the lid, from the hinge to its free edge
    outer = vector(0, angle.cos(), angle.sin(), s)
    at = {}
    for side, sign in SIDES:
        edge = sign * width / 2
        at[f"base_front_{side}"], at[f"base_back_{side}"] = (vector(edge, 0, z * depth, s) for z in (-0.5, 0.5))
        at[f"lid_hinge_{side}"] = vector(edge, height, depth / 2, s)
        at[f"lid_edge_{side}"] = at[f"lid_hinge_{side}"] + depth[:, None] * free
    swapped = cast.by_motion(-1, 1) > 0  # which hand lifts the lid
    lifting = (cast.motion == TASKS.index("both"), cast.motion <= TASKS.index("both"))
    both = {
        "left": _hand_at(cast, hand, 1.0, lifting[0], base, (free, outer, lid)),
        "right": _hand_at(cast, hand, -1.0, lifting[1], base, (free, outer, lid)),
    }
    return cast.made(at | either_way(both, swapped))


def _sizes(cast: Cast, kinds: Kinds) -> dict[str, Tensor]:
    """Of what each individual holds."""
    return traits(cast, kinds, cast.by_individual(0, len(kinds)).long())


def _hand_at(
    cast: Cast,
    hand: Anatomy,
    sign: float,
    lifts: Tensor,
    base: tuple[Tensor, Tensor, Tensor],
    cover: tuple[Tensor, Tensor, Number],
) -> dict[str, Tensor]:
    """One hand in the world: on the lid's free edge where it `lifts`, else on the base's side, or typing on the base.

    Args:
        sign: 1 the left hand, -1 the right one.
        base: width, depth and height, [F] each.
        cover: the lid's direction from the hinge and its outer normal, [F, 3] each, and its thickness.
    """
    (width, depth, height), (free, outer, lid) = base, cover
    typing = cast.motion == TASKS.index("type")
    gap = torch.where(lifts, lid, height) + 2 * PAD
    pose, axis = grip_pose(cast, hand, gap, torch.where(lifts, cast.by_motion(20, 45), cast.by_motion(25, 45)))
    level = (axis * tip_of(hand, pose, "thumb")).sum(-1)
    R_typing, drop, keys, typist = _typing(cast, hand, sign, pose)
    pose = Pose(*(_where(typing, a, b) for a, b in zip(typist, pose, strict=True)))
    plane = torch.where(typing[:, None], drop, axis)
    at = points(hand, reach(hand, pose, plane, {f: torch.where(typing, keys[f], level + gap) for f in FINGERS}))
    across, out = beside(axis, torch.zeros_like(gap))
    spots = torch.stack([at[f"{finger}_tip"] for finger in ("thumb", "index", "middle")], 1)
    beyond, ahead = (spots * across[:, None]).sum(-1).mean(1), (spots * out[:, None]).sum(-1).amin(1)
    anchor = beyond[:, None] * across + ahead[:, None] * out + (level + gap / 2)[:, None] * axis
    anchor = torch.where(typing[:, None], root_of(hand, pose, "middle")[1], anchor)
    yaw = torch.deg2rad(cast.by_motion(5, 55))[:, None]
    inward = vector(-sign, 0, 0, gap)
    into = torch.where(
        lifts[:, None], -free * yaw.cos() + inward * yaw.sin(), inward * yaw.cos() + vector(0, 0, 1, gap) * yaw.sin()
    )
    thumb_to_fingers = torch.where(lifts[:, None], outer, vector(0, -1, 0, gap))
    together = cast.motion == TASKS.index("both")
    along = torch.where(together, cast.by_motion(0.25, 0.42), cast.by_motion(-0.35, 0.35)) * sign * width
    inset = cast.by_motion(3, 15)[:, None] * into
    on_lid = vector(along, height, depth / 2, gap) + depth[:, None] * free + inset
    on_side = vector(sign * width / 2, height / 2, depth * cast.by_motion(-0.35, 0.2), gap) + inset
    beside_keys = torch.maximum(width * cast.by_motion(0.14, 0.28), 0.26 * hand.size)
    on_keys = vector(sign * beside_keys, height + PAD + HOVER * hand.size, depth * cast.by_motion(-0.3, 0.1), gap)
    target = torch.where(typing[:, None], on_keys, torch.where(lifts[:, None], on_lid, on_side))
    flip = axis.new_tensor([-sign, 1.0, 1.0])  # the left hand is the mirror image of the one that was posed
    R = _onto(axis * flip, out * flip, thumb_to_fingers, into)
    R = torch.where(typing[:, None, None], R_typing, R)
    return {joint: target + apply(R, (point - anchor) * flip) for joint, point in at.items()}


def _typing(cast: Cast, hand: Anatomy, sign: float, grip: Pose) -> tuple[Tensor, Tensor, dict[str, Tensor], Pose]:
    """A hand over keys: its rotation, the way down in its own frame, how low each fingertip is, and its angles."""
    like = hand.size
    R = facing(vector(-sign * cast.by_motion(-0.1, 0.5), 0, 1, like), vector(0, -1, 0, like))
    R = R @ turn("x", cast.by_motion(2, 16)) @ turn("y", sign * cast.by_motion(-8, 10))
    down = -R[:, 1] * like.new_tensor([-sign, 1.0, 1.0])
    keys = (root_of(hand, grip, "middle")[1] * down).sum(-1) + HOVER * hand.size
    bend, level, style = {}, {}, cast.by_motion(28, 55)
    for i, finger in enumerate(FINGERS):
        middle = style + cast.noise(4.0)
        bend[finger] = [torch.zeros_like(like), middle, FOLLOW * middle]
        tap = (2 * cast.phase - 1.1 * i + cast.noise(0.3)).sin().clamp(min=0)
        level[finger] = keys - 12 * tap
    thumb = tuple(mean + cast.noise(4.0) for mean in (36.0, 13.0, 60.0, 8.0, 10.0))
    return R, down, level, Pose(grip.cup, grip.side, bend, thumb)


def _where(chosen: Tensor, a: object, b: object) -> object:
    """torch.where through the dicts, lists and tuples of a pose."""
    if isinstance(a, dict) and isinstance(b, dict):
        return {key: _where(chosen, a[key], b[key]) for key in a}
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return type(a)(_where(chosen, x, y) for x, y in zip(a, b, strict=True))
    return torch.where(chosen, a, b)


def _onto(axis: Tensor, out: Tensor, axis_to: Tensor, out_to: Tensor) -> Tensor:
    """Rotation that takes one pair of perpendicular unit vectors to another; [F, 3, 3]."""
    one = torch.stack([torch.linalg.cross(out, axis), axis, out], -1)
    other = torch.stack([torch.linalg.cross(out_to, axis_to), axis_to, out_to], -1)
    return other @ one.mT
