"""What all that goes on four legs shares, monkeys too: bone lengths, postures as numbers per frame, the gait."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import SIDES, Cast, Kinds, Number, Range, Ranges, Stock

Pose = dict[str, Tensor]
Motions = dict[str, Callable[[Cast, Pose, Pose], Pose]]  # name -> pose from the cast, the individuals' own, and at rest

CLIPS = 3  # of an individual
EITHER: Range = (0.96, 1.04)  # of a factor that a sub-type does not name
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


def animals(
    count: int, generator: Generator, bones: dict[str, Number], kinds: Kinds, parts: dict[str, tuple[str, ...]]
) -> tuple[Stock, dict[str, Tensor]]:
    """Animals of a species and their bone lengths in mm, [F] each.

    Args:
        bones: lengths as shares of `size`.
        kinds: sub-type -> ranges of `size` in mm and of factors of `parts`.
        parts: factor of a sub-type -> the bones that it stretches.
    """
    names = ("size", *parts)
    full = {kind: {name: said.get(name, EITHER) for name in names} for kind, said in kinds.items()}
    its = Stock(count, generator, full, CLIPS, longest=25)
    factor = dict(zip(names, its.picks(), strict=True))
    part = {bone: name for name, group in parts.items() for bone in group}
    length = {
        bone: share * factor["size"] * factor[part[bone]] * its.by_individual(0.94, 1.06)
        for bone, share in bones.items()
    }
    return its, length


def played(cast: Cast, own: Pose, rest: Pose, motions: list[str], known: Motions, limits: Ranges) -> Pose:
    """Every clip's motion, drawn from `motions`, over the posture at rest; with a slow wander, cut to `limits`.

    Raises:
        ValueError: a motion that is not `known`.
    """
    if unknown := [motion for motion in motions if motion not in known]:
        raise ValueError(f"no motion {unknown[0]!r}; there are {', '.join(known)}")
    pose = dict(rest)
    number = cast.by_motion(0, len(motions)).long()
    for motion in dict.fromkeys(motions):
        shown = torch.tensor([other == motion for other in motions])[number]
        for name, value in known[motion](cast, own, rest).items():
            pose[name] = torch.where(shown, value, pose[name])
    for name in pose:
        word = name.split("_")[-1]
        pose[name] = (pose[name] + cast.noise(SPREAD.get(word, 0.0))).clamp(*limits[word])
    return pose


def held(cast: Cast, rest: Pose, share: Tensor, targets: Ranges) -> Pose:
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


def of_leg(pose: Pose, leg: str) -> Pose:
    """What a pose says of one of `LEGS`, without the name of the leg; [F, 1] each."""
    return {name.removeprefix(f"{leg}_"): value[:, None] for name, value in pose.items() if name.startswith(leg)}


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
