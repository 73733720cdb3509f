"""Birds in the keypoints of bird18_aves: z up, they face +y, so their left side is -x.

Trunk and head are rigid; the neck has two links, a leg two and a wing three, of which the rig sees the ends. What a
species looks like stands in benchmark/birds.toml, in shares of the trunk's length.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import Cast, Kinds, Made, act, traits
from lfmlib.data.synthetic.limbs import apply, turn, vector

SIDES = (("left", -1.0), ("right", 1.0))
SPREAD = 0.12  # largest deviation of a bird's part from what its species and its trunk's length say

# Degrees, but for the shares open (wing), level (trunk) and stretch (neck); left_ and right_ share a range.
LIMITS = {
    "pitch": (-70, 60), "roll": (-35, 35), "neck": (-170, 40), "curl": (-45, 45), "bend": (-85, 85),
    "turn": (-120, 120), "nod": (-120, 45), "tilt": (-60, 60), "tail": (-45, 30), "sway": (-35, 35),
    "level": (0, 1), "stretch": (0, 1), "thigh": (-75, 60), "ankle": (-43, 105), "splay": (-14, 45), "open": (0, 1),
    "stroke": (-65, 85), "sweep": (-55, 25),
}  # fmt: skip
SIDED = ("thigh", "ankle", "splay", "open", "stroke", "sweep")
WANDER = {"open": 0.05, "level": 0.05, "stretch": 0.05, "splay": 8.0}  # of the others: 6 degrees

# In the trunk's frame: right and up in shares of its depth, forward in shares of its length.
TRUNK = {
    "breast": (0.0, 0.42, -0.36), "back": (0.0, 0.10, 0.48), "tail_base": (0.0, -0.55, 0.04), "root": (0.0, 0.38, 0.22),
}  # fmt: skip
SHOULDER, HIP = (0.34, 0.26, 0.24), (0.36, -0.14, -0.30)

# From the middle of the skull, in shares of half the head.
SKULL = {
    "crown": (0.0, -0.1, 1.0), "forehead": (0.0, 0.78, 0.58), "left_eye": (-0.72, 0.5, 0.22),
    "right_eye": (0.72, 0.5, 0.22), "bill_base": (0.0, 1.05, -0.12), "throat": (0.0, 0.35, -0.95),
}  # fmt: skip

# A wing's bones: angle from straight out towards the front, folded and spread, degrees.
WING = {"arm": (-115.0, -22.0), "fore": (78.0, 20.0), "wing": (-96.0, -12.0)}


USUAL = ("perch", "peck", "walk", "preen", "stretch", "fly")  # what every bird does


def bird(count: int, generator: Generator, kinds: Kinds, motions: Sequence[str] = USUAL) -> Made:
    """Birds on the ground, on the water and in the air.

    Args:
        kinds: species -> ranges. body: trunk from breast to rump, mm. Shares of it: depth, neck, head, bill, tail,
            arm (humerus), wing (hand with its feathers), thigh (hip to ankle), leg (ankle to foot). Degrees: posture
            (trunk above the horizontal), poise (neck), curve (S of the neck), droop (bill), cock (tail above the
            trunk).
        motions: names in `MOTIONS`.
    Raises:
        ValueError: no such motion.
    """
    if unknown := [name for name in motions if name not in MOTIONS]:
        raise ValueError(f"no bird's motion {unknown[0]!r}; there are {', '.join(MOTIONS)}")
    cast = Cast(count, len(motions), generator)
    of = traits(cast, kinds)
    angle = _angles(cast, motions)
    share = ("depth", "neck", "head", "bill", "tail", "arm", "wing", "thigh", "leg")
    size = {name: of[name] * of["body"] * cast.by_individual(1 - SPREAD, 1 + SPREAD) for name in share}
    size["body"], size["fore"] = of["body"], size["arm"] * cast.by_individual(0.88, 1.08)
    pitch = (of["posture"] * (1 - angle["level"]) + angle["pitch"]).clamp(max=80)
    trunk = turn("x", pitch) @ turn("y", angle["roll"])
    own = {name: cast.by_individual(1 - SPREAD, 1 + SPREAD)[:, None] for name in TRUNK}
    at = {name: apply(trunk, own[name] * _placed(place, size)) for name, place in TRUNK.items()}
    tail = trunk @ turn("z", angle["sway"]) @ turn("x", angle["tail"] - of["cock"] * (1 - angle["level"]))
    at["tail_tip"] = at["tail_base"] + apply(tail, vector(0, -size["tail"], 0, of["body"]))
    _head(at, angle, of, size)
    _limbs(at, trunk, angle, size)
    return cast.made(at)


def _angles(cast: Cast, motions: Sequence[str]) -> dict[str, Tensor]:
    """Angles of every frame: its motion, a wander on top, cut to `LIMITS`."""
    said = act(cast, [MOTIONS[name] for name in motions])
    angle = {}
    for name in [n for n in LIMITS if n not in SIDED] + [f"{side}_{n}" for side, _ in SIDES for n in SIDED]:
        last = name.split("_")[-1]
        angle[name] = (said.get(name, 0) + cast.noise(WANDER.get(last, 6.0))).clamp(*LIMITS[last])
    return angle


def _placed(place: tuple[float, float, float], size: dict[str, Tensor]) -> Tensor:
    across, along, up = place
    return vector(across * size["depth"], along * size["body"], up * size["depth"], size["body"])


def _head(at: dict[str, Tensor], angle: dict[str, Tensor], of: dict[str, Tensor], size: dict[str, Tensor]) -> None:
    like, half = size["body"], size["head"] / 2
    held = 1 - angle["stretch"]
    curve = (of["curve"] + angle["curl"]) * held
    low = (of["poise"] * held + curve + angle["neck"]).clamp(-110, 150)
    high = (of["poise"] * held - curve + 1.1 * angle["neck"]).clamp(-130, 120)
    along = vector(0, size["neck"] / 2, 0, like)
    middle = at["root"] + apply(turn("z", 0.4 * angle["bend"]) @ turn("x", low), along)
    neck = turn("z", angle["bend"]) @ turn("x", high)
    top = middle + apply(neck, along)
    skull = turn("z", angle["bend"] + angle["turn"]) @ turn("x", angle["nod"]) @ turn("y", angle["tilt"])
    at["nape"] = 0.4 * middle + 0.6 * top + apply(neck, vector(0, 0, 0.55 * half, like))
    centre = top + apply(skull, vector(0, 0.35 * half, 0.45 * half, like))
    for name, place in SKULL.items():
        at[name] = centre + apply(skull, half[:, None] * vector(*place, like))
    down = torch.deg2rad(of["droop"])
    bill = vector(0, size["bill"] * down.cos(), -size["bill"] * down.sin(), like)
    at["bill_tip"] = at["bill_base"] + apply(skull, bill)


def _limbs(at: dict[str, Tensor], trunk: Tensor, angle: dict[str, Tensor], size: dict[str, Tensor]) -> None:
    """Hip to ankle (the backward joint that looks like a knee) to foot; the wings' tips.

    Shoulder, elbow, wrist and tip of a wing stay in one plane, which turns about the trunk's axis with the stroke.
    """
    like = size["body"]
    for side, sign in SIDES:
        say = {name: angle[f"{side}_{name}"] for name in SIDED}
        at[f"{side}_hip"] = apply(trunk, _placed((sign * HIP[0], *HIP[1:]), size))
        upper = turn("y", -sign * (10 + say["splay"])) @ turn("x", say["thigh"] - 25)
        at[f"{side}_shin"] = at[f"{side}_hip"] + apply(upper, vector(0, 0, -size["thigh"], like))
        lower = upper @ turn("x", 45 + say["ankle"])
        at[f"{side}_foot"] = at[f"{side}_shin"] + apply(lower, vector(0, 0, -size["leg"], like))
        out = along = torch.zeros_like(like)
        for bone, (folded, spread) in WING.items():
            swept = say["sweep"] if bone == "wing" else 0
            bent = torch.deg2rad(folded + (spread + swept - folded) * say["open"])
            out, along = out + size[bone] * bent.cos(), along + size[bone] * bent.sin()
        stroke = torch.deg2rad(say["stroke"])
        tip = vector(sign * out * stroke.cos(), along, out * stroke.sin(), like)
        at[f"{side}_wingtip"] = apply(trunk, _placed((sign * SHOULDER[0], *SHOULDER[1:]), size) + tip)


def perch(cast: Cast) -> dict[str, Tensor]:
    """Looks about between two directions, at times on one leg."""
    by, to = cast.by_motion, cast.to_and_fro
    a, b, leg = by(-95, 95), by(-95, 95), by(-1, 1)
    out = {"turn": a + (b - a) * to, "tilt": by(-20, 20), "bend": by(-25, 25), "nod": by(-30, 25)}
    out |= {"pitch": by(-18, 22), "neck": by(-35, 15), "curl": by(-35, 25), "tail": by(-35, 25), "sway": by(-30, 30)}
    for side, sign in SIDES:
        tucked = 1.0 * (sign * leg > 0.75)
        out[f"{side}_thigh"], out[f"{side}_ankle"] = by(-15, 15) - 25 * tucked, by(-25, 20) + 75 * tucked
        out[f"{side}_open"] = by(-0.1, 0.12)
    return out


def peck(cast: Cast) -> dict[str, Tensor]:
    """The bill goes to the ground and comes up again."""
    by, down = cast.by_motion, (0.6 - 0.6 * cast.phase.cos()).clamp(0, 1)
    out = {"pitch": by(-45, -10) * down, "neck": by(-130, -70) * down, "nod": by(-85, -35) * down, "level": 0.5 * down}
    out |= {"turn": by(-45, 45), "bend": by(-35, 35), "curl": by(-20, 20), "tail": by(-35, 20), "sway": by(-25, 25)}
    for side, _ in SIDES:
        out[f"{side}_thigh"], out[f"{side}_ankle"], out[f"{side}_open"] = by(-25, 25), by(-35, 30), by(-0.1, 0.1)
    return out


def walk(cast: Cast) -> dict[str, Tensor]:
    """Legs in antiphase, each folded while it swings forward; the head bobs at twice the pace."""
    by, bob = cast.by_motion, (2 * cast.phase).sin()
    reach, fold = by(18, 45), by(20, 60)
    out = {"neck": by(-30, 10) + 10 * bob, "curl": by(-20, 20) - 14 * bob, "tail": by(-35, 20) + 6 * bob}
    out |= {"pitch": by(-22, 15), "turn": by(-50, 50), "nod": by(-25, 15), "sway": by(-25, 25)}
    for side, sign in SIDES:
        swing, lifted = -sign * reach * cast.phase.sin(), (-sign * cast.phase.cos()).clamp(min=0)
        out[f"{side}_thigh"], out[f"{side}_ankle"] = swing - 0.2 * fold * lifted, fold * lifted - 0.5 * swing - 10
    return out | {"roll": 5 * cast.phase.sin()}


def stalk(cast: Cast) -> dict[str, Tensor]:
    """Slow steps with the trunk level and the neck reaching out to the front."""
    by = cast.by_motion
    out = walk(cast) | {"level": by(0.3, 1), "stretch": by(0, 0.9)}
    return out | {"neck": by(-45, 40), "nod": by(-50, 10), "bend": by(-50, 50)}


def preen(cast: Cast) -> dict[str, Tensor]:
    """The bill goes to the breast, the flank or the back of one side; that wing lifts a little."""
    by, there, way = cast.by_motion, (0.6 - 0.6 * cast.phase.cos()).clamp(0, 1), cast.by_motion(-1, 1).sign()
    out = {"bend": way * by(10, 80) * there, "turn": way * by(20, 115) * there, "tilt": way * by(-30, 40) * there}
    out |= {"nod": by(-80, 0) * there, "neck": by(-60, 20) * there, "curl": by(0, 30) * there}
    out |= {"pitch": by(-15, 25), "tail": by(-25, 25), "sway": -way * by(0, 35)}
    for side, sign in SIDES:
        out[f"{side}_open"], out[f"{side}_stroke"] = (-sign * way).clamp(min=0) * by(-0.2, 0.5) * there, by(-20, 30)
        out[f"{side}_thigh"], out[f"{side}_ankle"] = by(-15, 15), by(-25, 20)
    return out


def stretch(cast: Cast) -> dict[str, Tensor]:
    """Each wing opens by itself, hangs or is held up; the leg of one side goes back with it."""
    by, there, leg = cast.by_motion, (0.6 - 0.6 * cast.phase.cos()).clamp(0, 1), cast.by_motion(-1, 1)
    out = perch(cast)
    for side, sign in SIDES:
        back = (2 * sign * leg).clamp(0, 1) * there
        out[f"{side}_thigh"], out[f"{side}_ankle"] = by(-15, 15) - 45 * back, by(-15, 15) - 35 * back
        out[f"{side}_open"] = by(-0.15, 1.1) * there
        out[f"{side}_stroke"], out[f"{side}_sweep"] = by(-60, 70), by(-55, 25)
    return out


def fly(cast: Cast) -> dict[str, Tensor]:
    """Wing beats, half folded on the way up; the neck stretches and the legs trail or are tucked up."""
    by = cast.by_motion
    out = {"level": by(0.6, 1), "stretch": by(0.2, 1), "pitch": by(-15, 50), "roll": by(-25, 25), "nod": by(-20, 10)}
    out |= {"turn": by(-25, 25), "tail": by(-10, 25), "sway": by(-30, 30), "curl": by(-20, 20)}
    stroke = by(-10, 35) + by(0, 65) * cast.phase.cos()
    opened = by(0.5, 1.05) - by(0.1, 0.8) * cast.phase.sin().clamp(min=0)
    tuck = by(0, 1)
    limbs = {"stroke": stroke, "open": opened, "sweep": by(-55, 25), "thigh": 105 * tuck - 60, "ankle": 140 * tuck - 45}
    return out | {f"{side}_{name}": value for side, _ in SIDES for name, value in limbs.items()}


def swim(cast: Cast) -> dict[str, Tensor]:
    """Afloat and level, the feet paddle in turn."""
    by, stroke = cast.by_motion, cast.by_motion(15, 45)
    out = perch(cast) | {"level": by(0.8, 1), "pitch": by(-5, 8)}
    for side, sign in SIDES:
        out[f"{side}_thigh"] = stroke * sign * cast.phase.sin() + 15
        out[f"{side}_ankle"] = stroke * sign * (cast.phase + 1.5).sin() + 5
    return out


MOTIONS: dict[str, Callable[[Cast], dict[str, Tensor]]] = {
    motion.__name__: motion for motion in (perch, peck, walk, stalk, preen, stretch, fly, swim)
}
