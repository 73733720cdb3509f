"""A glove with markers for motion capture: three on the back of the hand, two on the back of each finger."""

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import Cast, Made, Number, Range
from lfmlib.data.synthetic.hand_model import FINGERS, JOINTS, Anatomy, Pose, anatomy, points, relaxed, root_of, turned
from lfmlib.data.synthetic.limbs import vector

MOVES = ("squeeze", "wave", "oppose", "hold")
# Shares of the hand's length; the thumb's side of a right hand is the left one, seen from its back.
BACK = {"hand_top": (0.0, 0.33, 0.075), "hand_left": (-0.13, 0.08, 0.05), "hand_right": (0.03, 0.08, 0.06)}
ON_BONE = {"middle": (0, 0.8), "tip": (2, 0.75)}  # the bone, from the knuckle on, and the share of it
THICK = 0.055  # from a finger's bone to a marker on its back, as a share of the hand's length


def glove(
    count: int,
    generator: Generator,
    size: Range = (184, 196),
    curl: Range = (0.12, 0.34),
    oppose: Range = (0.6, 0.9),
    wander: Number = 0.01,
) -> Made:
    """A right hand in a marker glove, fingers along +y, back towards +z.

    Args:
        size: length of the hand, mm.
        curl: of the fingers, 0 straight to 1 closed.
        oppose: of the thumb, 0 beside the palm to 1 across it.
        wander: a marker sits up to this share of the hand's length beside where it should.
    """
    cast = Cast(count, len(MOVES), generator)
    hand = anatomy(cast, size, 0.03)
    s = cast.to_and_fro
    curls, across = {}, cast.by_motion(*oppose)
    start, end = cast.by_motion(*curl), cast.by_motion(*curl)
    shared = torch.where(cast.motion == MOVES.index("squeeze"), start + (end - start) * s, start)
    for i, finger in enumerate(("thumb", *FINGERS)):
        wave = 0.05 * (cast.phase - 0.8 * i).sin() * (cast.motion == MOVES.index("wave"))
        curls[finger] = (shared + wave + cast.noise(0.015)).clamp(0, 1) * (0.5 if finger == "thumb" else 1.0)
    moved = cast.by_motion(*oppose) - across
    across = across + moved * s * (cast.motion == MOVES.index("oppose"))
    pose = relaxed(cast, curls, cast.by_motion(7, 10), across)
    return cast.made(turned(cast, _markers(cast, hand, pose, wander)))


def _markers(cast: Cast, hand: Anatomy, pose: Pose, wander: Number) -> dict[str, Tensor]:
    """Each marker where the glove of that person holds it."""
    slip = lambda: cast.by_individual(-wander, wander) * hand.size  # noqa: E731
    at = {}
    for marker, (x, y, z) in BACK.items():
        place = vector(x * hand.size * hand.width, y * hand.size, z * hand.size, hand.size)
        at[marker] = place + vector(slip(), slip(), slip() / 3, hand.size)
    joint = points(hand, pose)
    for finger, names in JOINTS.items():
        hinge = root_of(hand, pose, finger)[0][:, :, 0]
        for marker, (bone, share) in ON_BONE.items():
            bone += finger == "thumb" and marker == "middle"  # the thumb's first bone lies in the palm
            a, b = (joint[f"{finger}_{name}"] for name in names[bone : bone + 2])
            along = torch.nn.functional.normalize(b - a, dim=-1)
            place = a + share * (b - a) + THICK * hand.size[:, None] * torch.linalg.cross(hinge, along)
            at[f"{finger}_{marker}"] = place + slip()[:, None] * along + slip()[:, None] / 2 * hinge
    return at
