"""How four-legged animals stand, go, sit, lie, jump, feed and wash, as the numbers of a pose."""

import math
from functools import partial

import torch
from torch import Tensor

from lfmlib.data.synthetic.draw import SIDES, Cast, Number, Ranges, chosen
from lfmlib.data.synthetic.gaits import LEGS, LIMITS, Motions, Pose, dwell, held, played, stride

# Style of an animal; the rest changes from clip to clip.
BUILD = ("paw", "hock", "slope", "spine", "supple", "tucked", "fold")


def posture(cast: Cast, style: Ranges, motions: list[str]) -> Pose:
    """The numbers of `LIMITS` for every frame: each clip is one of `motions`, with a slow wander on top.

    Args:
        style: ranges of a species. At rest: neck, face, tail, slope (of the scapula), front and hind, paw and hock
            (heel of the fore and hind legs). In motion: stride (share of the leg), spine (degrees of a gallop),
            supple (degrees of a tight turn), fold (smallest angle of the knees), tucked (above 0.5: lies with the
            forelegs folded under).
        motions: names in `MOTIONS`; one that stands there twice is twice as frequent.
    Raises:
        ValueError: an unknown motion.
    """
    own = {name: (cast.by_individual if name in BUILD else cast.by_motion)(*said) for name, said in style.items()}
    return played(cast, own, standing(own), motions, MOTIONS, LIMITS)


def standing(own: Pose) -> Pose:
    """At ease on four legs."""
    zero = torch.zeros_like(own["front"])
    pose = {name: zero for name in LIMITS if name not in ("slope", "ahead", "out", "lift", "heel")}
    pose |= {name: own[name] for name in ("front", "hind", "neck", "face", "tail", "fold")}
    for leg in LEGS:
        pose |= {f"{leg}_{name}": zero for name in ("ahead", "out", "lift")}
        pose[f"{leg}_slope"] = own["slope"]
        pose[f"{leg}_heel"] = own["paw" if leg.endswith("fore") else "hock"]
    return pose


def looking(cast: Cast, own: Pose, rest: Pose) -> Pose:
    """Stands with its weight on some legs and looks around."""
    pose = held(cast, rest, torch.ones_like(cast.phase), {
        "+neck": (-15, 30), "+face": (-15, 25), "bend": (-15, 15), "fore_ahead": (-0.16, 0.16),
        "hind_ahead": (-0.16, 0.16),
    })  # fmt: skip
    pose["sway"] = cast.by_motion(-80, 80) * (0.6 + 0.4 * cast.phase.sin())
    pose["gaze"] = cast.by_motion(-30, 30) * cast.phase.sin()
    pose["wag"] = cast.by_motion(-40, 40) * (2 * cast.phase).sin()
    return pose


def turning(cast: Cast, own: Pose, rest: Pose) -> Pose:
    """Walks a tight turn: head, trunk and tail bend to the inside, the feet step across."""
    to = cast.by_motion(-1, 1)
    to = to.sign() * (0.35 + 0.65 * to.abs())
    pose = WALK(cast, own, rest)
    pose |= {"bend": own["supple"] * to, "sway": 60 * to * cast.by_motion(0.3, 1), "wag": -30 * to, "roll": -8 * to}
    for leg in LEGS:
        sign = 1.0 if leg.startswith("left") else -1.0
        pose[f"{leg}_out"] = 0.12 * to * sign * (pose[f"{leg}_ahead"] / own["stride"])
    return pose


def grazing(cast: Cast, own: Pose, rest: Pose) -> Pose:
    """Grazes or sniffs: the nose at the ground, sweeping, between slow steps."""
    pose = stride(cast, own, rest, order=(0.25, 0.75, 0, 0.5), duty=(0.7, 0.8), length=(0.2, 0.7), lift=(0.03, 0.08))
    return pose | {
        "neck": cast.by_motion(-78, -45) + 8 * cast.phase.sin(),
        "face": cast.by_motion(-85, -35) + 8 * (2 * cast.phase).cos(),
        "sway": cast.by_motion(-40, 40) + 20 * cast.phase.cos(),
        "front": 0.96 * pose["front"],
    }


def sitting(cast: Cast, own: Pose, rest: Pose, down: Tensor | None = None) -> Pose:
    """Down on the haunches and up again: shins and hind feet flat, forelegs straight, the back steep."""
    return held(cast, rest, dwell(cast) if down is None else down, {
        "hind": (0.08, 0.16), "arch": (-5, 45), "bend": (-18, 18), "+neck": (-20, 35), "+face": (-10, 35),
        "sway": (-60, 60), "wag": (-50, 50), "hind_ahead": (0.12, 0.38), "hind_out": (0, 0.22), "hind_heel": (82, 90),
        "fore_ahead": (-0.3, 0.05),
    })  # fmt: skip


def lying(cast: Cast, own: Pose, rest: Pose) -> Pose:
    """Lies on its belly or over on one hip; the forelegs stretched out, or folded under where the species does so."""
    down, over = dwell(cast), cast.by_motion(-1, 1)
    pose = held(cast, rest, down, {
        "front": (0.35, 0.47), "hind": (0.14, 0.24), "bend": (-20, 20), "arch": (-25, 20), "+neck": (-30, 10),
        "sway": (-70, 70), "wag": (-60, 60), "hind_ahead": (0.3, 0.6), "hind_out": (0, 0.15), "hind_heel": (82, 90),
        "fore_ahead": (0.35, 0.72), "fore_heel": (70, 88),
    })  # fmt: skip
    under = held(cast, rest, down, {"fore_ahead": (0, 0.2), "fore_heel": (-65, -45)})
    pose |= {name: torch.where(own["tucked"] > 0.5, value, pose[name]) for name, value in under.items()}
    pose |= {"twist": -22 * over * down, "roll": 16 * over * down, "bend": pose["bend"] + 20 * over * down}
    for side, sign in SIDES:
        pose[f"{side}_hind_out"] = pose[f"{side}_hind_out"] - 0.2 * sign * over * down
    return pose


def keyed(cycle: Tensor, *values: Tensor | Number) -> Tensor:
    """A closed curve through values that stand at equal distances of the cycle (0 to 1), at rest in each; [F]."""
    keys = [torch.as_tensor(value, dtype=torch.float64).expand(len(cycle)) for value in values]
    place = (cycle % 1) * len(values)
    i = place.long().clamp(max=len(values) - 1)
    part = 0.5 - 0.5 * (math.pi * (place - i)).cos()
    return chosen(keys, i) * (1 - part) + chosen(keys, (i + 1) % len(values)) * part


def jumping(cast: Cast, own: Pose, rest: Pose) -> Pose:
    """Crouches, pushes off with the hind legs, flies, and lands on the forelegs."""
    cycle, high = cast.phase / (2 * math.pi), cast.by_motion(0.15, 0.45)
    pose = {
        "front": rest["front"] * keyed(cycle, 1, 0.75, 1.15 + high, 1.1 + high, 0.8, 0.8),
        "hind": rest["hind"] * keyed(cycle, 1, 0.72, 0.95, 1.1 + high, 1 + high, 0.75),
        "arch": own["spine"] * keyed(cycle, 0.2, 0.9, -0.4, -0.2, 0.9, 0.6),
        "neck": rest["neck"] + keyed(cycle, 0, -20, 25, 5, -20, 0),
        "tail": rest["tail"] + keyed(cycle, 0, -10, 20, 30, 40, 0),
    }
    for side, _ in SIDES:
        fore, hind, hang = f"{side}_fore", f"{side}_hind", cast.by_motion(0.5, 0.8)
        pose[f"{hind}_ahead"] = keyed(cycle, 0, 0.1, -0.35, cast.by_motion(-0.5, -0.2), 0.3, 0.3)
        pose[f"{hind}_lift"] = keyed(cycle, 0, 0, 0, 1, 1, 0) * (pose["hind"] - hang).clamp_min(0)
        pose[f"{hind}_heel"] = rest[f"{hind}_heel"] + keyed(cycle, 0, 25, -25, -45, -20, 15)
        pose[f"{fore}_ahead"] = keyed(cycle, 0, 0, 0.25, cast.by_motion(0.1, 0.5), 0.3, -0.1)
        pose[f"{fore}_lift"] = keyed(cycle, 0, 0, 1, 1, 0, 0) * (pose["front"] - hang).clamp_min(0)
        pose[f"{fore}_heel"] = rest[f"{fore}_heel"] + keyed(cycle, 0, 0, -70, -50, 20, 0)
    return pose


def bowing(cast: Cast, own: Pose, rest: Pose) -> Pose:
    """Stretches: chest and forearms down, rump up."""
    return held(cast, rest, dwell(cast), {
        "front": (0.3, 0.5), "arch": (-28, 0), "+neck": (-20, 30), "+tail": (0, 50), "sway": (-45, 45),
        "fore_ahead": (0.45, 0.75), "fore_heel": (65, 85),
    })  # fmt: skip


def rearing(cast: Cast, own: Pose, rest: Pose) -> Pose:
    """Up on the hind legs, the forefeet hanging or held out to a wall."""
    up = dwell(cast)
    pose = held(cast, rest, up, {
        "+front": (0.7, 2.2), "+hind": (-0.15, 0.3), "arch": (-15, 45), "bend": (-20, 20), "+neck": (20, 75),
        "+face": (-20, 70), "sway": (-50, 50), "fore_ahead": (0.15, 0.8), "+fore_heel": (-60, 40),
        "hind_ahead": (-0.1, 0.25),
    })  # fmt: skip
    for leg in LEGS[:2]:
        pose[f"{leg}_lift"] = up * (pose["front"] - cast.by_motion(0.1, 0.7)).clamp_min(0)
    return pose


def grooming(cast: Cast, own: Pose, rest: Pose) -> Pose:
    """Sits hunched and washes its face with both forepaws."""
    whole = torch.ones_like(cast.phase)
    pose = sitting(cast, own, rest, whole) | held(cast, rest, whole, {
        "+front": (-0.2, 0.2), "arch": (40, 85), "neck": (-50, 10), "face": (-85, -30), "sway": (-25, 25),
        "fore_out": (-0.2, 0.05), "fore_heel": (-40, 60),
    })  # fmt: skip
    for i, leg in enumerate(LEGS[:2]):
        rub = (3 * cast.phase + 0.6 * i).sin()
        pose[f"{leg}_ahead"] = cast.by_motion(0.2, 0.5) + 0.1 * rub
        pose[f"{leg}_lift"] = (pose["front"] - cast.by_motion(0.1, 0.45) + 0.12 * rub).clamp_min(0)
    return pose


WALK = partial(stride, order=(0.25, 0.75, 0, 0.5), duty=(0.6, 0.7), length=(0.7, 1.05), lift=(0.06, 0.14))
TROT = partial(stride, order=(0, 0.5, 0.5, 0), duty=(0.38, 0.5), length=(0.9, 1.4), lift=(0.12, 0.25))
GALLOP = partial(stride, order=(0.6, 0.47, 0, 0.1), duty=(0.24, 0.34), length=(1.1, 1.5), lift=(0.1, 0.25), flight=1.0)
MOTIONS: Motions = {
    "look": looking, "walk": WALK, "trot": TROT, "gallop": GALLOP, "turn": turning, "graze": grazing, "sit": sitting,
    "lie": lying, "jump": jumping, "bow": bowing, "rear": rearing, "groom": grooming,
}  # fmt: skip
