"""Monkeys and apes: on all fours, sitting, upright, climbing and hanging; facing +z, left is +x, y up."""

from functools import partial

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import SIDES, Cast, Kinds, Made, Number, Ranges
from lfmlib.data.synthetic.gaits import LEGS, LIMITS, Motions, Pose, animals, dwell, held, of_leg, played, stride
from lfmlib.data.synthetic.limbs import apply, heading, laid, level_axes, lifted, slope, step, turn, vector

FOLDED, STRAIGHT = 28, 172  # smallest and largest angle of elbows and knees, degrees
PARTS = {
    "trunk": ("loin", "back"),
    "arms": ("upper", "fore", "wrist"),
    "legs": ("thigh", "shank", "ankle"),
    "head": ("head", "muzzle", "eye"),
    "tail": ("tail",),
    "width": ("shoulder", "hips"),
}
# As for four-legged animals, and: pitch of the trunk, 90 upright; free: 0 where a hand or foot is on the ground, 1
# where it is held at `up` (share of the limb) above its shoulder or hip; splay: elbows and knees point outwards.
REACH = LIMITS | {
    "pitch": (-35, 100), "tilt": (-35, 35), "front": (0.1, 1.1), "hind": (0.08, 1.1), "ahead": (-0.9, 0.97),
    "out": (-0.6, 0.95), "up": (-1, 1), "free": (0, 1), "splay": (0, 3), "gaze": (-80, 80), "arch": (-30, 65),
}  # fmt: skip


def primate(
    count: int, generator: Generator, bones: dict[str, Number], kinds: Kinds, style: Ranges, motions: list[str]
) -> Made:
    """Primates of a species in motion, with the keypoints of OpenMonkeyChallenge.

    Args:
        bones: lengths as shares of `size`: loin and back (hip, middle of the spine, neck), shoulder and hips (half
            widths), upper, fore, wrist (its height with the hand on the ground), thigh, shank, ankle (its height),
            head (neck to crown), muzzle (neck to nose), eye (half their distance), tail.
        kinds: sub-type -> size in mm and factors of `PARTS`, each a range.
        style: ranges of a species: front and hind (height of shoulders and hips on all fours over the straight limb),
            stride (share of the limb), face and tail (degrees above the horizontal).
        motions: names in `MOTIONS`; one that stands there twice is twice as frequent.
    Source: the 17 landmarks are those of OpenMonkeyChallenge (Yao et al., IJCV 2023). That the tail's landmark is its
        tip, and all proportions, are ours.
    """
    cast, length = animals(count, generator, bones, kinds, PARTS)
    own = {name: cast.by_motion(*said) for name, said in style.items()}
    trunk = length["loin"] + length["back"]
    for name, chain in (("arm", ("upper", "fore", "wrist")), ("leg", ("thigh", "shank", "ankle"))):
        own[name] = sum(length[bone] for bone in chain) / trunk
    own["spine"] = torch.zeros_like(trunk)
    pose = played(cast, own, at_ease(own), motions, MOTIONS, REACH)
    return cast.made(body(length, pose))


def at_ease(own: Pose) -> Pose:
    """On all fours."""
    zero = torch.zeros_like(own["front"])
    pose = {name: zero for name in ("arch", "bend", "twist", "roll", "tuck", "neck", "gaze", "tilt", "curl", "wag")}
    pose |= {name: own[name] for name in ("front", "hind", "face", "tail")}
    for leg in LEGS:
        pose |= {f"{leg}_{name}": zero for name in ("ahead", "out", "lift", "heel", "slope", "up", "free")}
        pose[f"{leg}_splay"] = zero + 0.2
    pose["pitch"] = level(own, pose)
    return pose


def level(own: Pose, pose: Pose) -> Tensor:
    """Pitch of the trunk that puts the shoulders at `front` and the hips at `hind`; degrees, [F]."""
    rise = pose["front"] * own["arm"] - pose["hind"] * own["leg"]
    return torch.rad2deg(rise.clamp(-0.6, 0.9).asin())


def body(length: dict[str, Tensor], pose: Pose) -> dict[str, Tensor]:
    """Keypoints, the lowest of them no lower than the ground at y = 0."""
    like = length["back"]
    root = turn("x", -pose["pitch"] - pose["arch"] / 2) @ turn("z", pose["roll"])
    half = root @ turn("y", pose["bend"] / 2) @ turn("x", pose["arch"] / 2) @ turn("z", pose["twist"] / 2)
    chest = root @ turn("y", pose["bend"]) @ turn("x", pose["arch"]) @ turn("z", pose["twist"])
    leg = length["thigh"] + length["shank"] + length["ankle"]
    at = {"hip": vector(0, pose["hind"] * leg, 0, like)}
    middle = at["hip"] + apply(half, vector(0, 0, length["loin"], like))
    at["neck"] = middle + apply(chest, vector(0, 0, length["back"], like))
    for side, sign in SIDES:
        for girdle, frame in (("fore", chest), ("hind", root)):
            limb, up = of_leg(pose, f"{side}_{girdle}"), vector(0, 1, 0, like)
            left, forward = level_axes(frame)
            outward = sign * (0.3 + limb["splay"]) * left
            if girdle == "fore":
                raised = 25 * (pose[f"{side}_fore_free"] * (0.4 + pose[f"{side}_fore_up"])).clamp(0, 1)
                shrug = chest @ turn("y", sign * raised)  # the shoulder blade follows a raised arm
                root_at = at["neck"] + apply(shrug, vector(sign, -0.25, -0.25, like) * length["shoulder"][:, None])
                at[f"{side}_shoulder"] = root_at
                bones, joints, pole = ("upper", "fore", "wrist"), ("elbow", "wrist"), -forward - up
            else:
                root_at = at["hip"] + apply(root, vector(sign * length["hips"], 0, 0, like))
                bones, joints, pole = ("thigh", "shank", "ankle"), ("knee", "ankle"), forward + 0.7 * up
            upper, lower, sole = (length[bone] for bone in bones)
            reach = (upper + lower)[:, None]
            place = root_at + reach * (limb["ahead"] * forward + sign * limb["out"] * left)
            free, low = limb["free"], sole[:, None] + limb["lift"] * reach
            height = free * (root_at[:, 1:2] + limb["up"] * reach) + (1 - free) * low
            place = torch.cat([place[:, :1], height, place[:, 2:]], 1)
            zero = torch.zeros_like(place)
            found = step(root_at, place, zero, upper, lower, pole + outward, FOLDED, STRAIGHT)
            at |= {f"{side}_{joint}": point for joint, point in zip(joints, found[:2], strict=True)}
    at = lifted(at)
    head = turn("y", heading(chest) + pose["gaze"]) @ turn("x", -pose["face"]) @ turn("z", pose["tilt"])
    crown, muzzle = length["head"], length["muzzle"]
    at["head"] = at["neck"] + apply(head, vector(0, 0.94 * crown, 0.34 * crown, like))
    at["nose"] = at["neck"] + apply(head, vector(0, 0.15 * muzzle, 0.99 * muzzle, like))
    for side, sign in SIDES:
        eye = vector(sign * length["eye"], 0.48 * crown, 0.78 * muzzle, like)
        at[f"{side}_eye"] = at["neck"] + apply(head, eye)
    tip, hang = at["hip"], 1.15 * slope(root).clamp_min(0) - 85
    for share in (0.0, 1.0):  # two stiff halves, about straight down at most
        lean = torch.maximum(pose["tail"] + share * pose["curl"], hang)
        half = root @ turn("y", (0.6 + share) * pose["wag"]) @ turn("x", lean)
        tip = laid(tip, apply(half, vector(0, 0, -length["tail"] / 2, like)), 0.01 * like)
    return at | {"tail": tip}


def walking(cast: Cast, own: Pose, rest: Pose) -> Pose:
    """On all fours, on palms or knuckles: each hand lands after the foot of the other side."""
    pose = stride(cast, own, rest, order=(0.75, 0.25, 0, 0.5), duty=(0.52, 0.68), length=(0.7, 1.15), lift=(0.06, 0.2))
    pose |= {"pitch": level(own, pose), "gaze": cast.by_motion(-45, 45), "wag": cast.by_motion(-25, 25)}
    return pose


def sitting(cast: Cast, own: Pose, rest: Pose, share: Tensor | None = None) -> Pose:
    """Down on the haunches, knees up, the back round; a hand goes between the ground and the mouth."""
    down = dwell(cast) if share is None else share
    pose = held(cast, rest, down, {
        "hind": (0.10, 0.18), "pitch": (50, 88), "arch": (0, 55), "bend": (-15, 15), "twist": (-20, 20),
        "+face": (-35, 15), "gaze": (-70, 70), "tilt": (-15, 15), "wag": (-60, 60), "hind_ahead": (0.25, 0.62),
        "hind_out": (-0.08, 0.3), "hind_splay": (0.1, 1.5), "fore_ahead": (0.1, 0.65), "fore_out": (-0.3, 0.2),
        "fore_up": (-0.8, -0.1), "fore_splay": (0.2, 1.2), "fore_free": (1, 1),
    })  # fmt: skip
    feed = cast.by_motion(-1, 1)
    for side, sign in SIDES:
        to = down * (sign * feed > 0.2) * cast.to_and_fro  # to the mouth
        for name, value in (("ahead", 0.3), ("out", -0.22), ("up", 0.15)):
            pose[f"{side}_fore_{name}"] = pose[f"{side}_fore_{name}"] * (1 - to) + value * to
    return pose


def upright(cast: Cast, own: Pose, rest: Pose, share: Tensor | None = None) -> Pose:
    """Up on two legs, hips and knees bent, the arms hanging or held up."""
    return held(cast, rest, dwell(cast) if share is None else share, {
        "hind": (0.78, 0.97), "pitch": (50, 88), "arch": (-10, 25), "bend": (-15, 15), "+face": (-15, 20),
        "gaze": (-60, 60), "tail": (-10, 70), "hind_ahead": (-0.18, 0.25), "hind_out": (-0.05, 0.15),
        "hind_splay": (0, 0.8), "fore_ahead": (-0.1, 0.6), "fore_out": (-0.1, 0.35), "fore_up": (-0.95, -0.2),
        "fore_splay": (0, 1), "fore_free": (1, 1),
    })  # fmt: skip


def reaching(cast: Cast, own: Pose, rest: Pose) -> Pose:
    """One arm goes out to something and comes back, from the haunches, on two legs or on three."""
    whole, where = torch.ones_like(cast.phase), cast.by_motion(0, 3)
    base, stand = sitting(cast, own, rest, whole), upright(cast, own, rest, whole)
    pose = dict(rest)
    for name, value in base.items():
        three = torch.where(where > 2, rest[name], value)
        pose[name] = torch.where(where < 1, stand.get(name, rest[name]), three)
    out, left = (0.6 - 0.7 * cast.phase.cos()).clamp(0, 1), cast.by_motion(-1, 1)
    goal = held(cast, pose, out, {
        "fore_ahead": (-0.1, 0.95), "fore_out": (-0.3, 0.85), "fore_up": (-0.5, 0.95), "fore_free": (1, 1),
    })  # fmt: skip
    for side, sign in SIDES:
        chosen = sign * left > 0
        pose |= {name: torch.where(chosen, goal[name], pose[name]) for name in goal if name.startswith(side)}
    return pose | {"gaze": 40 * left * out}


def climbing(cast: Cast, own: Pose, rest: Pose, order: tuple[Number, ...] = (0.0, 0.5, 0.5, 0.0)) -> Pose:
    """Up a trunk in front of it: hands and feet grip in turn and pass downwards along the body."""
    pose = held(cast, rest, torch.ones_like(cast.phase), {
        "hind": (0.9, 1.0), "pitch": (55, 92), "arch": (-15, 30), "+face": (-20, 40), "gaze": (-60, 60),
        "tail": (0, 70), "fore_splay": (0.3, 1.5), "hind_splay": (0.4, 1.8), "fore_free": (1, 1),
        "hind_free": (1, 1), "fore_out": (-0.25, 0.2), "hind_out": (-0.1, 0.25),
    })  # fmt: skip
    thick, span = cast.by_motion(0.25, 0.6), cast.by_motion(0.2, 0.4)
    pose |= {"bend": cast.by_motion(3, 14) * cast.phase.sin(), "roll": cast.by_motion(-12, 12)}
    for leg, start in zip(LEGS, order, strict=True):
        swing = (cast.phase + 2 * torch.pi * start).cos()
        height = cast.by_motion(0.2, 0.6) if leg.endswith("fore") else cast.by_motion(-0.75, -0.4)
        pose[f"{leg}_ahead"] = thick + 0.1 * cast.by_motion(-1, 1)
        pose[f"{leg}_up"] = height + span * swing
    return pose


def hanging(cast: Cast, own: Pose, rest: Pose) -> Pose:
    """Under a branch by one or both hands, swinging, the legs loose or drawn up."""
    swing = cast.phase.sin()
    pose = held(cast, rest, torch.ones_like(cast.phase), {
        "hind": (1.0, 1.1), "arch": (-20, 35), "gaze": (-70, 70), "+face": (-10, 40), "tilt": (-25, 25),
        "tail": (0, 70), "fore_ahead": (-0.1, 0.3), "fore_out": (-0.15, 0.3), "fore_up": (0.8, 0.98),
        "fore_splay": (0.4, 2), "fore_free": (1, 1), "hind_ahead": (-0.15, 0.5), "hind_out": (-0.1, 0.3),
        "hind_up": (-0.98, -0.4), "hind_splay": (0, 1.5), "hind_free": (1, 1),
    })  # fmt: skip
    one = cast.by_motion(-1, 1)
    loose = held(cast, rest, torch.ones_like(swing), {
        "fore_ahead": (-0.1, 0.6), "fore_out": (-0.1, 0.7), "fore_up": (-0.95, 0.3),
    })  # fmt: skip
    for side, sign in SIDES:
        free = sign * one > 0.35
        pose |= {name: torch.where(free, loose[name], pose[name]) for name in loose if name.startswith(side)}
    pose["pitch"] = cast.by_motion(55, 92) + cast.by_motion(0, 18) * swing
    pose["roll"] = cast.by_motion(-8, 8) + 18 * one * (one.abs() > 0.35)
    pose["twist"] = cast.by_motion(-20, 20) * swing
    return pose


MOTIONS: Motions = {
    "walk": walking, "sit": sitting, "stand": upright, "reach": reaching, "climb": climbing, "hang": hanging,
    "pull_up": partial(climbing, order=(0.0, 0.0, 0.5, 0.5)),
}  # fmt: skip
