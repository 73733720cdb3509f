"""How four-legged animals move: postures and gaits as numbers per frame, cut to what the joints allow."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lfmlib.data.synthetic.draw import SIDES, Cast, Number, Range

Pose = dict[str, Tensor]

LEGS = tuple(f"{side}_{girdle}" for girdle in ("fore", "hind") for side, _ in SIDES)

# The name's last word decides. front, hind: height of the shoulders and hips over the length of the straight leg below
# them; ahead, out, lift: where the foot is asked to go, the same shares; all others: degrees. heel: lean of the last
# bone of a leg, 0 upright, 90 flat on the ground with the toes in front; fold: smallest angle of the knees.
LIMITS = {
    "front": (0.1, 2.6), "hind": (0.06, 1.8), "arch": (-35, 95), "bend": (-88, 88), "twist": (-35, 35),
    "roll": (-35, 35), "tuck": (-30, 45), "neck": (-85, 88), "sway": (-100, 100), "face": (-90, 80),
    "gaze": (-70, 70), "tail": (-85, 85), "curl": (-80, 80), "wag": (-80, 80), "slope": (5, 85),
    "ahead": (-0.85, 0.95), "out": (-0.3, 0.5), "lift": (0, 2.2), "heel": (-90, 92), "fold": (10, 90),
}  # fmt: skip
SPREAD = {
    "front": 0.01, "hind": 0.01, "arch": 3.0, "bend": 5.0, "twist": 3.0, "roll": 2.5, "tuck": 3.0, "neck": 6.0,
    "sway": 11.0, "face": 6.0, "gaze": 8.0, "tail": 8.0, "curl": 12.0, "wag": 13.0, "slope": 3.0, "ahead": 0.025,
    "out": 0.02, "heel": 2.5,
}  # fmt: skip
# Style of an animal; the rest changes from clip to clip.
BUILD = ("paw", "hock", "slope", "spine", "supple", "tucked", "fold")


def posture(cast: Cast, style: dict[str, Range], motions: list[str]) -> Pose:
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


def played(
    cast: Cast,
    own: Pose,
    rest: Pose,
    motions: list[str],
    known: dict[str, Callable[[Cast, Pose, Pose], Pose]],
    limits: dict[str, Range],
) -> Pose:
    """Every clip's motion, drawn from `motions`, over the posture at rest; with a slow wander, cut to `limits`.

    Raises:
        ValueError: a motion that is not `known`.
    """
    if unknown := [motion for motion in motions if motion not in known]:
        raise ValueError(f"no motion {unknown[0]!r}; there are {', '.join(known)}")
    pose = dict(rest)
    chosen = (cast.by_motion(0, 1) * len(motions)).long().clamp(max=len(motions) - 1)
    for motion in dict.fromkeys(motions):
        shown = torch.tensor([other == motion for other in motions])[chosen]
        for name, value in known[motion](cast, own, rest).items():
            pose[name] = torch.where(shown, value, pose[name])
    for name in pose:
        word = name.split("_")[-1]
        pose[name] = (pose[name] + cast.noise(SPREAD.get(word, 0.0))).clamp(*limits[word])
    return pose


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


def held(cast: Cast, rest: Pose, share: Tensor, targets: dict[str, Range]) -> Pose:
    """From `rest` (share 0) to a posture (share 1) that is drawn per clip.

    Args:
        targets: name -> range; "+name" is added to the rest; "fore_x" and "hind_x" stand for both legs, each with a
            draw of its own.
    """
    pose = {}
    for said, (low, high) in targets.items():
        word = said.removeprefix("+")
        sides = [f"{side}_{word}" for side, _ in SIDES] if word.startswith(("fore_", "hind_")) else [word]
        for name in sides:
            target = cast.by_motion(low, high)
            pose[name] = rest[name] + share * (target if said != word else target - rest[name])
    return pose


def keyed(cycle: Tensor, *values: Tensor | Number) -> Tensor:
    """A closed curve through values that stand at equal distances of the cycle (0 to 1), at rest in each; [F]."""
    keys = torch.stack([torch.as_tensor(value, dtype=torch.float64).expand(len(cycle)) for value in values])
    place = (cycle % 1) * len(values)
    i = place.long().clamp(max=len(values) - 1)
    part, frame = 0.5 - 0.5 * (math.pi * (place - i)).cos(), torch.arange(len(cycle))
    return keys[i, frame] * (1 - part) + keys[(i + 1) % len(values), frame] * part


def dwell(cast: Cast) -> Tensor:
    """0 for a short while, 1 for a longer one, and the way between; [F]."""
    return (0.9 - 0.95 * cast.phase.cos()).clamp(0, 1)


def stride(
    cast: Cast,
    own: Pose,
    rest: Pose,
    order: tuple[Number, ...],
    duty: Range,
    length: Range,
    lift: Range,
    flight: Number = 0.0,
) -> Pose:
    """A gait: each foot stands for `duty` of the cycle while the body passes over it, then swings forward.

    Args:
        order: part of the cycle at which each of `LEGS` sets its foot down; left and right are swapped in some clips.
        length: of the step, over the animal's own stride.
        lift: of the swinging foot, over the leg's length.
        flight: 1 for a gallop: the back gathers and stretches, shoulders and hips rise in turn.
    """
    cycle, swapped = cast.phase / (2 * math.pi), cast.by_motion(-1, 1) > 0
    stands, half = cast.by_motion(*duty), own["stride"] * cast.by_motion(*length)
    high, fold = cast.by_motion(*lift), cast.by_motion(20, 50)
    low = (1 - half.clamp(0, 0.7) ** 2).sqrt()  # the longer the step, the lower the body
    heave, sway = flight * cast.by_motion(0.04, 0.10), cast.by_motion(0, 6)
    gather = flight * own["spine"] * (cast.phase + 0.35).cos()
    pose = {
        "front": rest["front"] * low + 0.01 * (2 * cast.phase).sin() - heave * (cast.phase - 0.3).cos(),
        "hind": rest["hind"] * low - 0.01 * (2 * cast.phase).sin() + heave * (cast.phase - 0.9).cos(),
        "arch": gather + 0.25 * flight * own["spine"],
        "tuck": 0.4 * gather,
        "bend": sway * cast.phase.sin(),
        "twist": 0.7 * sway * cast.phase.cos(),
        "neck": rest["neck"] - 15 * flight + (1 + flight) * cast.by_motion(0, 8) * (2 * cast.phase).sin(),
    }
    fold = fold * (1 + 0.4 * flight)
    for i, leg in enumerate(LEGS):
        start = torch.where(swapped, float(order[i ^ 1]), float(order[i]))
        part = (cycle - start) % 1
        swing = ((part - stands) / (1 - stands)).clamp(0, 1)
        path = torch.where(part > stands, -(math.pi * swing).cos(), 1 - 2 * part / stands)
        air = (math.pi * swing).sin()
        pose[f"{leg}_ahead"] = half * path
        pose[f"{leg}_lift"] = high * air
        pose[f"{leg}_heel"] = rest[f"{leg}_heel"] + 60 * half * path - fold * air * (1.0 if i < 2 else 0.3)
        pose[f"{leg}_slope"] = rest[f"{leg}_slope"] + 35 * half * path
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
MOTIONS: dict[str, Callable[[Cast, Pose, Pose], Pose]] = {
    "look": looking, "walk": WALK, "trot": TROT, "gallop": GALLOP, "turn": turning, "graze": grazing, "sit": sitting,
    "lie": lying, "jump": jumping, "bow": bowing, "rear": rearing, "groom": grooming,
}  # fmt: skip
