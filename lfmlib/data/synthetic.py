"""The embedded benchmark: shapes from parametric families, so that everything runs and tests without a data folder.

Each category is one family function, entered in `FAMILIES`; its rig stands in rigs.toml. Lengths and angles are ours,
set to plausible anatomy and manufacture; no recording was used.
"""

import hashlib
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor

from lfmlib import rigs
from lfmlib.data.shapes import ShapeSet

Number = float | int
Range = tuple[Number, Number]

VERSION = "synthetic 1"  # enters the fingerprint: raise it whenever any shape changes
DEFAULT_COUNT = 4000
QUANTUM = 2.0**-8  # mm; far above float64 noise, so that threads and processors do not change a byte
TEST_SHARE = 0.2

# Degrees; the name's last word decides, left_ and right_ share a range.
LIMITS = {
    "pitch": (-20, 60), "roll": (-15, 15), "bend": (-25, 85), "lean": (-30, 30), "twist": (-45, 45),
    "nod": (-40, 50), "turn": (-65, 65), "hipflex": (-30, 120), "hipabd": (-18, 45), "hiprot": (-35, 40),
    "knee": (0, 145), "armflex": (-50, 175), "armabd": (-8, 150), "armrot": (-70, 85), "elbow": (2, 145),
}  # fmt: skip
MOTIONS = ("walk", "run", "reach", "sit", "wave")
GESTURES = ("grasp", "count", "pinch", "drum")
SIDES = (("left", 1.0), ("right", -1.0))


class Cast:
    """Who does what in each frame: person, motion and phase, and draws that are constant within one of them.

    Sequence s is motion s % M of person s // M. Draws are uniform in [low, high], float64 [F].
    """

    def __init__(self, count: int, motions: int, generator: Generator, longest: int = 25) -> None:
        length = min(longest, max(1, count // 50))
        self.generator = generator
        self.sequence = torch.arange(count) // length
        self.person, self.motion = self.sequence // motions, self.sequence % motions
        step = (torch.arange(count) % length) / length
        self.phase = self.by_motion(0, 2 * math.pi) + 2 * math.pi * step * self.by_motion(0.6, 1.6)

    def _draw(self, group: Tensor, low: Number, high: Number) -> Tensor:
        u = torch.rand(int(group.max()) + 1, generator=self.generator, dtype=torch.float64)
        return (low + (high - low) * u)[group]

    def by_motion(self, low: Number, high: Number) -> Tensor:
        return self._draw(self.sequence, low, high)

    def by_person(self, low: Number, high: Number) -> Tensor:
        return self._draw(self.person, low, high)

    def noise(self, spread: float) -> Tensor:
        """A slow wander: a constant and one oscillation per sequence, about `spread` in standard deviation."""
        swing = (self.phase * self.by_motion(0.5, 1.5) + self.by_motion(0, 2 * math.pi)).sin()
        return spread * (self.by_motion(-1.5, 1.5) + 0.6 * swing)


def categories() -> tuple[str, ...]:
    """The categories that `generate` knows."""
    return tuple(FAMILIES)


def generate(category: str, count: int = DEFAULT_COUNT, seed: int = 0) -> ShapeSet:
    """Shapes of a synthetic category; the same bytes for the same arguments, in any process.

    Args:
        category: one of `categories()`.
        count: frames, at least 2.
        seed: of the draw; each category has a stream of its own.
    Returns:
        Shapes in mm. About a fifth of the people (body, hand) or instances (chair, aeroplane) are split 1.
    Raises:
        ValueError: unknown category (lists them), or `count` below 2.
    """
    if category not in FAMILIES:
        raise ValueError(f"no synthetic category {category!r}; there are {', '.join(FAMILIES)}")
    if count < 2:
        raise ValueError(f"count is {count}, expected at least 2")
    digest = hashlib.sha256(f"{category}\n{seed}".encode()).digest()
    generator = Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)  # 63 bits: torch takes no more
    named, sequence, group = FAMILIES[category](count, generator)
    rig = rigs.get(category)
    points = torch.stack([named[keypoint] for keypoint in rig.keypoints], 1)  # [F, N, 3]
    groups = int(group.max()) + 1
    tested = torch.randperm(groups, generator=generator)[: max(1, round(TEST_SHARE * groups))] if groups > 1 else []
    return ShapeSet(
        rig=rig,
        points=((points / QUANTUM).round() * QUANTUM).to(torch.float32),
        known=torch.ones(points.shape[:2], dtype=torch.bool),
        split=torch.isin(group, torch.as_tensor(tested)).to(torch.int8),
        sequence=sequence,
        tag="synthetic",
        fingerprint=hashlib.sha256(f"{VERSION}\n{category}\n{count}\n{seed}".encode()).hexdigest(),
    )


def turn(axis: str, degrees: Tensor) -> Tensor:
    """Rotation about a coordinate axis, right-handed; [F, 3, 3]."""
    angle = torch.deg2rad(degrees)
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    R = torch.zeros(len(angle), 3, 3, dtype=angle.dtype)
    R[:, i, i] = 1
    R[:, j, j] = R[:, k, k] = angle.cos()
    R[:, k, j] = angle.sin()
    R[:, j, k] = -angle.sin()
    return R


def vector(x: Tensor | Number, y: Tensor | Number, z: Tensor | Number, like: Tensor) -> Tensor:
    """Stacks three coordinates, each a number or [F], to [F, 3]."""
    return torch.stack([torch.as_tensor(c, dtype=torch.float64).expand(len(like)) for c in (x, y, z)], 1)


def apply(R: Tensor, offset: Tensor) -> Tensor:
    """R @ offset per frame; [F, 3]."""
    return (R * offset[:, None, :]).sum(-1)


def body(count: int, generator: Generator) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """People in motion: limb lengths of the person, joint-limited forward kinematics; facing +z, left is +x."""
    cast = Cast(count, len(MOTIONS), generator)
    angle = body_angles(cast)
    turned = lambda axis, name, sign=1.0: turn(axis, sign * angle[name])  # noqa: E731
    height = cast.by_person(1570, 1950)
    length = {
        name: share * height * cast.by_person(0.94, 1.06)
        for name, share in {
            "hip": 0.072, "thigh": 0.245, "shank": 0.246, "lumbar": 0.137, "chest": 0.148, "neck": 0.068,
            "head": 0.068, "shoulder": 0.098, "upper": 0.165, "fore": 0.145, "nose": 0.018,
        }.items()
    }  # fmt: skip
    at: dict[str, Tensor] = {}
    root = turn("y", cast.by_motion(-180, 180)) @ turned("x", "pitch") @ turned("z", "roll")
    at["pelvis"] = torch.zeros(count, 3, dtype=torch.float64)
    half = turn("y", angle["twist"] / 2) @ turn("z", angle["lean"] / 2) @ turn("x", angle["bend"] / 2)
    low = root @ half
    chest = low @ half
    at["spine"] = apply(low, vector(0, length["lumbar"], 0, height))
    at["thorax"] = at["spine"] + apply(chest, vector(0, length["chest"], 0, height))
    head = chest @ turned("y", "turn") @ turned("x", "nod")
    at["neck_nose"] = at["thorax"] + apply(head, vector(0, length["neck"], length["nose"], height))
    at["head_top"] = at["neck_nose"] + apply(head, vector(0, length["head"], -length["nose"] / 2, height))
    for side, sign in SIDES:
        of = lambda axis, name, sign=1.0, side=side: turned(axis, f"{side}_{name}", sign)  # noqa: E731
        at[f"{side}_hip"] = apply(root, vector(sign * length["hip"], 0, 0, height))
        thigh = root @ of("z", "hipabd", sign) @ of("x", "hipflex", -1.0) @ of("y", "hiprot", sign)
        at[f"{side}_knee"] = at[f"{side}_hip"] + apply(thigh, vector(0, -length["thigh"], 0, height))
        shank = thigh @ of("x", "knee")
        at[f"{side}_ankle"] = at[f"{side}_knee"] + apply(shank, vector(0, -length["shank"], 0, height))
        raised = (angle[f"{side}_armflex"].clamp(min=0) + angle[f"{side}_armabd"].clamp(min=0)).clamp(max=180)
        clavicle = chest @ turn("z", sign * (raised / 6 - 8))  # the shoulder girdle rises with the arm
        at[f"{side}_shoulder"] = at["thorax"] + apply(clavicle, vector(sign * length["shoulder"], 0, 0, height))
        upper = chest @ of("z", "armabd", sign) @ of("x", "armflex", -1.0) @ of("y", "armrot", -sign)
        at[f"{side}_elbow"] = at[f"{side}_shoulder"] + apply(upper, vector(0, -length["upper"], 0, height))
        fore = upper @ of("x", "elbow", -1.0)
        at[f"{side}_wrist"] = at[f"{side}_elbow"] + apply(fore, vector(0, -length["fore"], 0, height))
    lowest = torch.minimum(at["left_ankle"][:, 1], at["right_ankle"][:, 1])
    floor = vector(0, 0.045 * height - lowest, 0, height)
    return {name: point + floor for name, point in at.items()}, cast.sequence, cast.person


def body_angles(cast: Cast) -> dict[str, Tensor]:
    """Joint angles of every frame in degrees, [F] each: the frame's motion, a wander on top, cut to `LIMITS`."""
    sided = [name for name in LIMITS if name.startswith(("hip", "knee", "arm", "elbow"))]
    names = [name for name in LIMITS if name not in sided] + [f"{side}_{name}" for side, _ in SIDES for name in sided]
    angle = {name: cast.noise(9.0 if "arm" in name else 4.0) for name in names}
    angle["left_elbow"] = angle["left_elbow"] + 15
    angle["right_elbow"] = angle["right_elbow"] + 15
    for number, motion in enumerate(MOTIONS):
        chosen = cast.motion == number
        for name, value in BODY_MOTION[motion](cast).items():
            angle[name] = torch.where(chosen, angle[name] + value, angle[name])
    return {name: value.clamp(*LIMITS[name.split("_")[-1]]) for name, value in angle.items()}


def stride(
    cast: Cast, swing: Range, lift: Range, elbow: Range, bend: Number
) -> dict[str, Tensor]:
    """Walking and running: legs in antiphase, the knee folds while its hip swings forward, arms against the legs."""
    reach, fold, tuck = cast.by_motion(*swing), cast.by_motion(*lift), cast.by_motion(*elbow)
    arm, lag = cast.by_motion(0.4, 1.2), cast.by_motion(0.2, 0.7)
    out = {"bend": cast.by_motion(0, 2 * bend), "twist": 0.3 * reach * cast.phase.sin()}
    for side, sign in SIDES:
        wave = sign * cast.phase.sin()
        out[f"{side}_hipflex"] = 0.3 * reach + reach * wave
        out[f"{side}_knee"] = 6 + fold * (0.5 + 0.5 * sign * (cast.phase + lag).cos()).square()
        out[f"{side}_armflex"] = -arm * reach * wave
        out[f"{side}_elbow"] = tuck - 0.4 * arm * reach * wave
    return out


def reaching(cast: Cast) -> dict[str, Tensor]:
    """One hand or both go out to a target between the floor and overhead and come back; the trunk and knees help."""
    out_and_back = 0.5 - 0.5 * cast.phase.cos()
    stoop = cast.by_motion(-40, 70).clamp(min=0) * out_and_back
    squat = cast.by_motion(-50, 70).clamp(min=0) * out_and_back
    flex, arms = cast.by_motion(25, 165), cast.by_motion(-1, 1)
    out = {"bend": stoop, "twist": -35 * arms * out_and_back, "pitch": stoop / 3, "turn": -20 * arms}
    for side, sign in SIDES:
        part = (0.7 + sign * arms).clamp(0, 1) * out_and_back
        out[f"{side}_armflex"] = flex * part
        out[f"{side}_armabd"] = cast.by_motion(-10, 80) * part
        out[f"{side}_elbow"] = cast.by_motion(0, 90) * (1 - out_and_back)
        out[f"{side}_hipflex"] = squat + stoop / 3
        out[f"{side}_knee"] = 1.6 * squat
        out[f"{side}_hipabd"] = cast.by_motion(0, 20)
    return out


def sitting(cast: Cast) -> dict[str, Tensor]:
    """Down to a seat and up again, the trunk forward on the way; on the seat: slouch, stretched legs, busy hands."""
    down = (0.45 - 0.65 * cast.phase.cos()).clamp(0, 1)
    depth = cast.by_motion(60, 95) * down
    bend = 35 * (math.pi * down).sin() + cast.by_motion(-10, 35) * down
    out = {"bend": bend, "twist": cast.by_motion(-20, 20) * down}
    for side, _ in SIDES:
        out[f"{side}_hipflex"] = depth
        out[f"{side}_knee"] = depth * cast.by_motion(0.35, 1.2)
        out[f"{side}_hipabd"] = cast.by_motion(-8, 28) * down
        out[f"{side}_armflex"] = cast.by_motion(-10, 70) * down
        out[f"{side}_armrot"] = cast.by_motion(-20, 60) * down
        out[f"{side}_elbow"] = cast.by_motion(5, 110) * down
    return out


def waving(cast: Cast) -> dict[str, Tensor]:
    """A raised arm (at times both) swings the forearm; the weight rests on one leg."""
    arms, weight = cast.by_motion(-1, 1), cast.by_motion(-1, 1)
    out = {"lean": -8 * weight, "roll": 6 * weight, "turn": 30 * cast.by_motion(-1, 1)}
    for side, sign in SIDES:
        part = (0.6 + 2 * sign * arms).clamp(0, 1)
        out[f"{side}_armabd"] = part * (cast.by_motion(40, 140) + 12 * cast.phase.sin())
        out[f"{side}_armflex"] = part * cast.by_motion(-10, 70)
        out[f"{side}_armrot"] = part * (cast.by_motion(-40, 70) + 25 * (2 * cast.phase).cos())
        out[f"{side}_elbow"] = part * (cast.by_motion(20, 100) + 35 * (2 * cast.phase).sin())
        out[f"{side}_knee"] = (12 * sign * weight).clamp(min=0)
        out[f"{side}_hipflex"] = (8 * sign * weight).clamp(min=0)
    return out


BODY_MOTION: dict[str, Callable[[Cast], dict[str, Tensor]]] = {
    "walk": partial(stride, swing=(16, 32), lift=(40, 62), elbow=(0, 35), bend=5.0),
    "run": partial(stride, swing=(28, 52), lift=(75, 125), elbow=(55, 100), bend=10.0),
    "reach": reaching,
    "sit": sitting,
    "wave": waving,
}

# Shares of the hand's length: base of the finger in the palm (x, y, z), then its three bones.
FINGERS = {
    "index": ((-0.13, 0.49, 0.0), (0.24, 0.14, 0.11)),
    "middle": ((-0.02, 0.50, 0.02), (0.26, 0.16, 0.115)),
    "ring": ((0.08, 0.46, 0.01), (0.24, 0.15, 0.115)),
    "little": ((0.165, 0.40, -0.02), (0.19, 0.11, 0.10)),
}
THUMB = ((-0.12, 0.13, -0.06), (0.245, 0.18, 0.145))


def hand(count: int, generator: Generator) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """A right hand: fingers along +y, palm towards -z, thumb at -x; the last two joints of a finger bend together."""
    cast = Cast(count, len(GESTURES), generator)
    curl, spread, oppose = hand_gesture(cast)
    size = cast.by_person(160, 210)
    width = cast.by_person(0.9, 1.12)
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
    return at, cast.sequence, cast.person


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
        length = bone * size * cast.by_person(0.93, 1.07)
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


# Sub-types: seat height, width and depth, back height (mm), back tilt (degrees), each as (low, high).
CHAIRS = {
    "dining": ((420, 480), (380, 500), (380, 480), (380, 620), (2, 14)),
    "armchair": ((380, 450), (520, 700), (480, 620), (380, 600), (6, 22)),
    "low back": ((400, 500), (340, 460), (320, 420), (120, 280), (0, 12)),
    "bar stool": ((620, 800), (320, 420), (300, 400), (150, 420), (0, 14)),
    "lounge": ((260, 380), (520, 720), (520, 720), (420, 800), (16, 42)),
}


def chair(count: int, generator: Generator) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Chairs of five sub-types; right is +x, the front is -z. Every instance is its own sequence."""
    kind, pick, between = instances(count, generator, CHAIRS)
    height, width, depth, back, tilt = (pick(i) for i in range(5))
    half = {"front": width / 2 * between(0.95, 1.12), "back": width / 2 * between(0.78, 1.02)}
    lean = torch.deg2rad(tilt)
    drop = height * between(-0.01, 0.08)  # the seat falls to the back
    top = half["back"] * between(0.72, 1.15)
    rise = {"front": height, "back": height - drop}
    z = {"front": -depth / 2, "back": depth / 2}
    inset = between(0, 0.18) * (between(0, 1) < 0.3)  # legs under the seat instead of at its corners
    at = {}
    for name, sign in (("right", 1.0), ("left", -1.0)):
        up, behind = rise["back"] + back * lean.cos(), z["back"] + back * lean.sin()
        at[f"back_top_{name}"] = vector(sign * top, up, behind, kind)
    for end, out in (("front", -1.0), ("back", 1.0)):
        splay, rake = between(-4, 12), between(-6, 16) * (1 if end == "front" else 1.3)
        foot_x = half[end] * (1 - inset) + rise[end] * torch.deg2rad(splay).tan()
        foot_z = z[end] * (1 - inset) + out * rise[end] * torch.deg2rad(rake).tan()
        for name, sign in (("right", 1.0), ("left", -1.0)):
            at[f"seat_{end}_{name}"] = vector(sign * half[end], rise[end], z[end], kind)
            at[f"leg_{end}_{name}"] = vector(sign * foot_x, 0, foot_z, kind)
    return at, torch.arange(count), torch.arange(count)


# Sub-types: length (m), span / length, wing station / length, sweep and dihedral (degrees), fin / length, tail / span.
AEROPLANES = {
    "airliner": ((28, 74), (0.82, 1.08), (-0.10, 0.02), (18, 38), (3, 8), (0.12, 0.18), (0.30, 0.40)),
    "propeller": ((6.5, 13), (1.10, 1.50), (-0.20, -0.06), (-2, 6), (0, 8), (0.12, 0.20), (0.28, 0.38)),
    "glider": ((6, 8.5), (1.4, 2.0), (-0.16, -0.04), (-3, 4), (1, 6), (0.13, 0.20), (0.14, 0.20)),
    "fighter": ((13, 20), (0.60, 0.90), (-0.05, 0.12), (35, 58), (-8, 3), (0.13, 0.24), (0.45, 0.85)),
}


def aeroplane(count: int, generator: Generator) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Aeroplanes of four sub-types at full size; left is -x, the nose is -y. Every instance is its own sequence."""
    kind, pick, between = instances(count, generator, AEROPLANES)
    length, span, station, sweep, dihedral, fin, tail_span = (pick(i) for i in range(7))
    length = 1000 * length
    half = span * length / 2
    tip = station * length + half * torch.deg2rad(sweep).tan()  # y of the wing tips
    low = length * between(-0.045, 0.035)  # low or high wing
    tail_y, tail_z = length * between(0.42, 0.48), length * between(-0.01, 0.03)
    tee = (between(0, 1) < 0.2).double()  # T-tail: the elevators sit on the fin
    elevator_half = half * tail_span
    elevator_y = tail_y - length * between(0.0, 0.07) + elevator_half * torch.deg2rad(sweep / 2).tan()
    elevator_z = tail_z + tee * fin * length + elevator_half * torch.deg2rad(dihedral * between(-0.5, 1.2)).tan()
    fin_root = tail_y - length * between(0.10, 0.20)
    at = {
        "noselanding": vector(0, -length * between(0.36, 0.48), -length * between(0.02, 0.07), kind),
        "rudder_lower": vector(0, fin_root, tail_z + length * between(0.01, 0.03), kind),
        "rudder_upper": vector(0, fin_root + length * between(0.06, 0.24), tail_z + fin * length, kind),
        "tail": vector(0, tail_y, tail_z, kind),
    }
    for side, sign in (("left", -1.0), ("right", 1.0)):
        at[f"{side}_wing"] = vector(sign * half, tip, low + half * torch.deg2rad(dihedral).tan(), kind)
        at[f"{side}_elevator"] = vector(sign * elevator_half, elevator_y, elevator_z, kind)
    return at, torch.arange(count), torch.arange(count)


def instances(count: int, generator: Generator, kinds: dict) -> tuple[Tensor, Callable, Callable]:
    """Sub-type of each instance, a draw from the sub-type's i-th range, and a draw from a common range; [F] each."""
    table = torch.tensor(list(kinds.values()), dtype=torch.float64)  # [kinds, ranges, 2]
    kind = torch.randint(len(kinds), (count,), generator=generator)

    def between(low: Number | Tensor, high: Number | Tensor) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    return kind, lambda i: between(*table[kind, i].unbind(1)), between


FAMILIES: dict[str, Callable[[int, Generator], tuple[dict[str, Tensor], Tensor, Tensor]]] = {
    "synthetic_body17": body,
    "synthetic_hand21": hand,
    "synthetic_chair10": chair,
    "synthetic_aeroplane8": aeroplane,
}
