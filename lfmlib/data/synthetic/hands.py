"""Hands alone, in pairs and at the end of arms, moved by gestures; `hand_objects` lets them hold things."""

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic import people
from lfmlib.data.synthetic.draw import SIDES, Cast, Made, Number, Range, chosen
from lfmlib.data.synthetic.hand_model import (
    FINGERS,
    PALM,
    anatomy,
    either_way,
    facing,
    mirrored,
    placed,
    points,
    relaxed,
    turned,
)
from lfmlib.data.synthetic.limbs import turn, vector

GESTURES = ("grasp", "count", "pinch", "drum")
DUETS = ("clap", "pass", "fold", "show", "talk")
SHARED = {"slope": (0.2, 1.6), "swing": (60, 150), "wide": (80, 240), "laced": (0.5, 0.72)}  # of a pair, per clip
HAND_TO_FOREARM = 0.745  # 0.108 over 0.145 of the stature
HANG = 0.06  # the hand's root lies beyond the wrist's centre of rotation by this share of its length


def hand(count: int, generator: Generator, size: Range = (160, 210)) -> Made:
    """A right hand: fingers along +y, palm towards -z, thumb at -x; the last two joints of a finger bend together.

    Args:
        size: length from wrist to middle fingertip, mm.
    """
    cast = Cast(count, len(GESTURES), generator)
    at = points(anatomy(cast, size), relaxed(cast, *gesture(cast, cast.motion)))
    return cast.made(turned(cast, at))


def gesture(cast: Cast, kind: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Curl of each finger (0 straight, 1 closed), spread in degrees and thumb opposition (0..1), [F] each.

    Grasp: all fingers follow one synergy, the little one first. Count: between two random sets of straight fingers.
    Pinch: thumb meets index. Drum: the fingers tap one after the other.

    Args:
        kind: index into `GESTURES`, int64 [F].
    """
    s = cast.to_and_fro
    firm, rest = cast.by_motion(0.55, 1.0), cast.by_motion(0.0, 0.35)
    curl = {}
    for i, finger in enumerate(("thumb", *FINGERS)):
        lag = 0.5 - 0.5 * (cast.phase + 0.12 * i).cos()
        before, after = (cast.by_motion(-1, 1).sign() * 0.5 + 0.5 for _ in range(2))
        tap = 0.5 + 0.5 * (2 * cast.phase - 0.9 * i).sin()
        loose = cast.by_motion(0.0, 0.9)
        pinch = 0.18 + 0.3 * s if i < 2 else loose
        options = [firm * lag, before * (1 - s) + after * s, pinch, rest + 0.4 * tap * (0.4 if i == 0 else 1.0)]
        curl[finger] = chosen(options, kind)
    spread = cast.by_motion(0, 16) * torch.where(kind == 3, 0.4 + 0.6 * s, 1.0)
    grip = [0.3 + 0.6 * firm * s, curl["thumb"], 0.45 + 0.5 * s, 0.15 + rest]
    return curl, spread, chosen(grip, kind)


def two_hands(count: int, generator: Generator, size: Range = (160, 210)) -> Made:
    """Both hands of a person who faces +z: clapping, passing something on, folded, showing a size, talking.

    Args:
        size: length of either hand, mm.
    """
    cast = Cast(count, len(DUETS), generator)
    bones = anatomy(cast, size)
    swapped = cast.by_motion(-1, 1) > 0  # who gives and who takes, which thumb is on top
    both: dict[str, dict[str, Tensor]] = {}
    shared = {name: cast.by_motion(*extent) for name, extent in SHARED.items()}
    shared["apart"] = cast.to_and_fro
    for side in ("right", "left"):
        fingers, palm, target, moved = _duet(cast, side, shared, bones.size)
        at = points(bones, relaxed(cast, *moved))
        at = mirrored(at) if side == "left" else at
        R = facing(fingers, palm) @ turn("x", cast.noise(6.0)) @ turn("y", cast.noise(6.0)) @ turn("z", cast.noise(6.0))
        both[side] = placed(at, R, target, vector(0, PALM * bones.size, 0, bones.size))
    return cast.made(either_way(both, swapped))


def _duet(
    cast: Cast, side: str, shared: dict[str, Tensor], size: Tensor
) -> tuple[Tensor, Tensor, Tensor, tuple[dict[str, Tensor], Tensor, Tensor]]:
    """Where fingers and palm of one hand point and where its palm is, [F, 3] each, and its `gesture`.

    The right hand is the one that gives. `shared`: what both do alike, see `SHARED`; "apart" is 0 together to 1 apart.
    """
    sign = 1.0 if side == "left" else -1.0
    giver = side == "right"
    s, slope = shared["apart"], shared["slope"]
    pick = lambda of: chosen((of[name] for name in DUETS), cast.motion)  # noqa: E731
    drift = cast.by_motion(-15, 15)
    wander = [cast.noise(spread) for spread in (45.0, 45.0, 35.0)]  # who talks moves each hand by itself
    yaw, tilt = cast.noise(1.0), cast.noise(1.4)
    target = {
        "clap": vector(sign * (0.075 * size + shared["swing"] * s), drift / 3, drift / 2, s),
        "pass": vector(sign * cast.by_motion(0, 20), 0.42 * size + 80 * s if giver else -0.12 * size, drift, s),
        "fold": vector(sign * (0.06 * size + 6 * s), -sign * 0.05 * size, 0, s),
        "show": vector(sign * (40 + shared["wide"] * (0.35 + 0.65 * s)), wander[0] / 3, wander[1] / 3, s),
        "talk": vector(sign * (140 + wander[0]), wander[1], wander[2], s),
    }
    fingers = {
        "clap": vector(0, slope, 1, s),
        "pass": vector(-0.7 * sign, -0.9, 1, s) if giver else vector(-0.35 * sign, 0, 1, s),
        "fold": vector(-0.9 * sign, slope, 0.8, s),
        "show": vector(0, slope, 1, s),
        "talk": vector(-sign * yaw, slope - 0.4, 1, s),
    }
    inward = vector(-sign, 0, 0, s)
    palm = dict.fromkeys(DUETS, inward) | {
        "pass": vector(0, -1, -0.4, s) if giver else vector(0, 1, 0, s),
        "talk": vector(-sign, tilt, 0, s),
    }
    loose, free_spread, free_oppose = gesture(cast, cast.sequence % len(GESTURES))
    flat, bowl = cast.by_motion(0.0, 0.18), cast.by_motion(0.12, 0.4)
    laced = shared["laced"] - 0.12 * s
    curl = {}
    for i, finger in enumerate(("thumb", *FINGERS)):
        hold = (0.3 + 0.15 * s if i < 3 else cast.by_motion(0.3, 0.7)) if giver else bowl + 0.12 * (1 - s)
        options = (flat, hold, laced * (0.5 if i == 0 else 1.0), flat + 0.1 * s, loose[finger])
        curl[finger] = pick(dict(zip(DUETS, options, strict=True)))
    taut = cast.by_motion(0, 14)
    spread = pick(dict(zip(DUETS, (taut, taut / 2, 0.4 * taut, taut, free_spread), strict=True)))
    across = (0.1 + flat, 0.85 - 0.2 * s if giver else bowl, torch.full_like(s, 0.25), flat, free_oppose)
    return pick(fingers), pick(palm), pick(target), (curl, spread, pick(dict(zip(DUETS, across, strict=True))))


def body_hands(count: int, generator: Generator, size: Number = HAND_TO_FOREARM, **body: object) -> Made:
    """A person with both hands: each hand goes on where its forearm ends, turned by the forearm and bent at the wrist.

    Args:
        size: length of the hand over that of the forearm, before it varies by 6 %.
        body: of `people.person`.
    """
    made = people.person(count, generator, **body)
    cast = Cast(count, 1, generator)
    cast.sequence, cast.individual = made.sequence, made.individual
    at = dict(made.at)
    fore = {side: at[f"{side}_wrist"] - at[f"{side}_elbow"] for side, _ in SIDES}
    bones = anatomy(cast, fore["left"].norm(dim=-1) * size * cast.by_individual(0.94, 1.06))
    across = torch.nn.functional.normalize(at["right_shoulder"] - at["left_shoulder"], dim=-1)
    for side, sign in SIDES:
        kind = cast.by_motion(0, len(GESTURES)).long()
        hand = points(bones, relaxed(cast, *gesture(cast, kind)))
        hand = mirrored(hand) if side == "left" else hand
        ahead = torch.nn.functional.normalize(fore[side], dim=-1)
        upper = torch.nn.functional.normalize(at[f"{side}_elbow"] - at[f"{side}_shoulder"], dim=-1)
        hinge = torch.linalg.cross(upper, ahead) + 0.3 * across  # a straight elbow has no plane of its own
        roll = (cast.by_motion(-60, 70) + cast.noise(10.0)).clamp(-85, 85)  # palm up to palm down
        flex, sweep = (cast.by_motion(-45, 50) + cast.noise(9.0)).clamp(-65, 70), cast.noise(8.0).clamp(-20, 30)
        R = facing(ahead, sign * hinge) @ turn("y", sign * roll) @ turn("x", -flex) @ turn("z", -sign * sweep)
        root = at[f"{side}_wrist"] + HANG * bones.size[:, None] * ahead
        hand = placed(hand, R, root, torch.zeros_like(root))
        at |= {f"{side}_{'hand_root' if joint == 'wrist' else joint}": point for joint, point in hand.items()}
    return made._replace(at=at)
