"""Hands: fingers as chains of joint-limited bends, moved by gestures."""

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import Cast, Made, apply, turn, vector

GESTURES = ("grasp", "count", "pinch", "drum")

# Shares of the hand's length: base of the finger in the palm (x, y, z), then its three bones.
FINGERS = {
    "index": ((-0.13, 0.49, 0.0), (0.24, 0.14, 0.11)),
    "middle": ((-0.02, 0.50, 0.02), (0.26, 0.16, 0.115)),
    "ring": ((0.08, 0.46, 0.01), (0.24, 0.15, 0.115)),
    "little": ((0.165, 0.40, -0.02), (0.19, 0.11, 0.10)),
}
THUMB = ((-0.12, 0.13, -0.06), (0.245, 0.18, 0.145))


def hand(count: int, generator: Generator) -> Made:
    """A right hand: fingers along +y, palm towards -z, thumb at -x; the last two joints of a finger bend together."""
    cast = Cast(count, len(GESTURES), generator)
    curl, spread, oppose = hand_gesture(cast)
    size = cast.by_individual(160, 210)
    width = cast.by_individual(0.9, 1.12)
    at = {"wrist": torch.zeros(count, 3, dtype=torch.float64)}
    root = turn("z", cast.by_motion(-25, 25)) @ turn("x", cast.by_motion(-40, 40)) @ turn("y", cast.by_motion(-30, 30))
    for i, (finger, (base, bones)) in enumerate(FINGERS.items()):
        cup = root @ turn("x", -(4.0, 0.0, 5.0, 12.0)[i] * curl[finger])  # the palm's arch closes with the fist
        place = vector(base[0] * size * width, base[1] * size, base[2] * size, size)
        side = (-1.0, -0.15, 0.6, 1.3)[i] * spread * (1 - 0.8 * curl[finger].clamp(0, 1))
        knuckle = cup @ turn("z", -side + cast.noise(1.5)) @ turn("x", -(88 * curl[finger] - 8 + cast.noise(3.0)))
        middle = (100 * curl[finger] + 4 + cast.noise(3.0)).clamp(0, 110)
        at[f"{finger}_mcp"] = apply(cup, place)
        chain(at, finger, ("mcp", "pip", "dip", "tip"), knuckle, [middle, 0.65 * middle], bones, size, cast)
    thumb = root @ turn("z", 42 - 26 * oppose + cast.noise(3.0)) @ turn("x", -(12 + 38 * oppose + cast.noise(3.0)))
    thumb = thumb @ turn("y", -50 - 25 * oppose)
    at["thumb_cmc"] = apply(root, vector(THUMB[0][0] * size * width, THUMB[0][1] * size, THUMB[0][2] * size, size))
    bends = [(share * curl["thumb"] + cast.noise(3.5)).clamp(-12, share + 15) for share in (50, 65)]
    chain(at, "thumb", ("cmc", "mcp", "ip", "tip"), thumb, bends, THUMB[1], size, cast)
    return Made(at, cast.sequence, cast.individual)


def chain(
    at: dict[str, Tensor],
    finger: str,
    joints: tuple[str, ...],
    R: Tensor,
    bends: list[Tensor],
    bones: tuple[float, ...],
    size: Tensor,
    cast: Cast,
) -> None:
    """Adds a finger's joints to `at`: each bone along the local +y, each bend towards the palm (-z)."""
    for i, bone in enumerate(bones):
        R = R if i == 0 else R @ turn("x", -bends[i - 1])
        length = bone * size * cast.by_individual(0.93, 1.07)
        at[f"{finger}_{joints[i + 1]}"] = at[f"{finger}_{joints[i]}"] + apply(R, vector(0, length, 0, size))


def hand_gesture(cast: Cast) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Curl of each finger (0 straight, 1 closed), spread in degrees and thumb opposition (0..1), [F] each.

    Grasp: all fingers follow one synergy, the little one first. Count: between two random sets of straight fingers.
    Pinch: thumb meets index. Drum: the fingers tap one after the other.
    """
    s = 0.5 - 0.5 * cast.phase.cos()
    firm, rest = cast.by_motion(0.55, 1.0), cast.by_motion(0.0, 0.35)
    curl = {}
    for i, finger in enumerate(("thumb", *FINGERS)):
        lag = 0.5 - 0.5 * (cast.phase + 0.12 * i).cos()
        before, after = (cast.by_motion(-1, 1).sign() * 0.5 + 0.5 for _ in range(2))
        tap = 0.5 + 0.5 * (2 * cast.phase - 0.9 * i).sin()
        loose = cast.by_motion(0.0, 0.9)
        pinch = 0.18 + 0.3 * s if i < 2 else loose
        options = [firm * lag, before * (1 - s) + after * s, pinch, rest + 0.4 * tap * (0.4 if i == 0 else 1.0)]
        curl[finger] = torch.stack(options)[cast.motion, torch.arange(len(s))]
    spread = cast.by_motion(0, 16) * torch.where(cast.motion == 3, 0.4 + 0.6 * s, 1.0)
    grip = torch.stack([0.3 + 0.6 * firm * s, curl["thumb"], 0.45 + 0.5 * s, 0.15 + rest])
    return curl, spread, grip[cast.motion, torch.arange(len(s))]
