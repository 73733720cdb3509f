"""Quadrupeds: one parametric body of which a species is a table of proportions; facing +z, left is +x, y up."""

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import SIDES, Kinds, Made, Number, Ranges
from lfmlib.data.synthetic.gaits import Pose, animals, of_leg
from lfmlib.data.synthetic.limbs import apply, heading, laid, level_axes, lifted, slope, step, turn, vector
from lfmlib.data.synthetic.quadruped_motions import posture

ELBOW, STRAIGHT = 32, 167  # smallest angle of an elbow, largest of elbows and knees, degrees

# Bones of `bones`, by the factor of a sub-type that stretches them.
PARTS = {
    "legs": ("upper", "fore", "pastern", "thigh", "shank", "metatarsal"),
    "trunk": ("loin", "back", "rump"),
    "neck": ("neck",),
    "head": ("head", "ear"),
    "tail": ("tail",),
    "width": ("chest", "hips"),
    "depth": ("scapula", "withers", "croup", "flesh", "skin"),
}
MOUSE = {
    "Shoulder": "shoulder", "Elbow": "elbow", "Wrist": "wrist", "Forepaw": "fore_toe", "Knee": "knee", "Ankle": "hock",
    "Hindpaw": "hind_toe",
}  # fmt: skip


def quadruped(
    count: int, generator: Generator, bones: dict[str, Number], kinds: Kinds, style: Ranges, motions: list[str]
) -> Made:
    """Animals of a species in motion.

    Args:
        bones: lengths as shares of `size`: loin and back (pelvis, spine, base of the neck), neck, head (to the nose),
            chest and hips (half widths), withers and croup (how far scapula and hip lie below the back), scapula,
            upper, fore, pastern, thigh, shank, metatarsal, rump (pelvis to tail), tail.
        kinds: sub-type -> size in mm and factors of `PARTS`, each a range.
        style, motions: see `quadruped_motions.posture`.
    """
    cast, length = animals(count, generator, bones, kinds, PARTS)
    at, _ = body(length, posture(cast, style, motions))
    return cast.made(at)


def mouse(
    count: int, generator: Generator, bones: dict[str, Number], kinds: Kinds, style: Ranges, motions: list[str]
) -> Made:
    """The same body with the keypoints of mouse22_dannce: z up, facing -y.

    Args:
        bones: also ear (half the distance of the ears), flesh (height of the back over the spine) and skin (how far a
            mark on the skin wanders over the bone below it).
    """
    cast, length = animals(count, generator, bones, kinds, PARTS)
    at, frame = body(length, posture(cast, style, motions))
    ear, flesh = length["ear"], vector(0, length["flesh"], 0, length["ear"])
    above = 0.7 * ear * cast.by_individual(0.7, 1.3)
    made = {"Snout": at["nose"], "SpineF": at["neck_base"] + apply(frame["chest"], flesh)}
    made["SpineM"] = at["spine"] + apply((frame["chest"] + frame["hips"]) / 2, 1.5 * flesh)
    made |= {f"Tail({new})": at[f"tail_{old}"] for new, old in (("base", "base"), ("mid", "mid"), ("end", "tip"))}
    for side, sign in SIDES:
        letter = side[0].upper()
        made[f"Ear{letter}"] = at["head"] + apply(frame["head"], vector(sign * ear, above, -0.2 * ear, ear))
        made |= {f"{new}{letter}": at[f"{side}_{old}"] for new, old in MOUSE.items()}
    for name in ("SpineF", "SpineM", "ShoulderL", "ShoulderR", "KneeL", "KneeR"):
        made[name] = made[name] + length["skin"][:, None] * torch.stack([cast.noise(1.0) for _ in range(3)], 1)
    turned = {name: torch.stack([point[:, 0], -point[:, 2], point[:, 1]], 1) for name, point in made.items()}
    return cast.made(turned)


def body(length: dict[str, Tensor], pose: Pose) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Keypoints of dog26_ai4animation standing on y = 0, and the frames of the chest, the hips and the head.

    The trunk is built level first, then pitched so that shoulders and hips are as high as the pose wants them; then the
    legs reach for their places on the ground.
    """
    at, chest, hips = trunk(length, pose)
    front_leg = length["upper"] + length["fore"] + length["pastern"]
    hind_leg = length["thigh"] + length["shank"] + length["metatarsal"]
    for girdle, frame, reach in (("fore", chest, front_leg), ("hind", hips, hind_leg)):
        left, forward = level_axes(frame)
        for side, sign in SIDES:
            leg, up, r = of_leg(pose, f"{side}_{girdle}"), vector(0, 1, 0, reach), reach[:, None]
            heel = torch.deg2rad(leg["heel"])
            if girdle == "fore":
                root, bones, least = at[f"{side}_shoulder"], ("upper", "fore", "pastern"), ELBOW
                joints = ("elbow", "wrist", "fore_toe")
                rest, wide, pole = 0.3 * (at[f"{side}_scapula"] - root), -0.12, -forward
            else:
                root, bones, least = at[f"{side}_hip"], ("thigh", "shank", "metatarsal"), pose["fold"]
                joints = ("knee", "hock", "hind_toe")
                rest, wide, pole = -0.1 * r * forward, 0.03, forward + 0.7 * up
            place = root + rest + (leg["ahead"] * forward + sign * (wide + leg["out"]) * left) * r
            place = place * vector(1, 0, 1, reach) + leg["lift"] * r * up
            ankle = (heel.cos() * up - heel.sin() * forward) * length[bones[2]][:, None]
            pole = pole + sign * (0.15 + 1.5 * leg["out"]) * left  # knees and elbows go out with the feet
            found = step(root, place, ankle, length[bones[0]], length[bones[1]], pole, least, STRAIGHT)
            at |= {f"{side}_{joint}": point for joint, point in zip(joints, found, strict=True)}
    at, head = ends(lifted(at), length, pose, chest, hips)
    return at, {"chest": chest, "hips": hips, "head": head}


def trunk(length: dict[str, Tensor], pose: Pose) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Pelvis, spine, base of the neck, scapulas, shoulders and hips at their height; frames of chest and hips."""
    like = length["back"]
    half, chest = (
        turn("y", share * pose["bend"]) @ turn("x", share * pose["arch"]) @ turn("z", share * pose["twist"])
        for share in (0.5, 1.0)
    )
    hips = turn("x", pose["tuck"])
    at = {"pelvis": torch.zeros_like(chest[:, 0])}
    at["spine"] = apply(half, vector(0, 0, length["loin"], like))
    at["neck_base"] = at["spine"] + apply(chest, vector(0, 0, length["back"], like))
    at["tail_base"] = apply(hips, vector(0, -0.35 * length["rump"], -0.94 * length["rump"], like))
    for side, sign in SIDES:
        offset = vector(0.6 * sign * length["chest"], -length["withers"], 0, like)
        at[f"{side}_scapula"] = at["neck_base"] + apply(chest, offset)
        blade = chest @ turn("x", -pose[f"{side}_fore_slope"]) @ turn("z", 14.0 * sign * torch.ones_like(like))
        at[f"{side}_shoulder"] = at[f"{side}_scapula"] + apply(blade, vector(0, -length["scapula"], 0, like))
        at[f"{side}_hip"] = apply(hips, vector(sign * length["hips"], -length["croup"], 0, like))
    shoulders = (at["left_shoulder"] + at["right_shoulder"]) / 2
    middle = (at["left_hip"] + at["right_hip"]) / 2
    rolled = turn("z", pose["roll"])
    lead = apply(rolled, shoulders - middle)
    front = pose["front"] * (length["upper"] + length["fore"] + length["pastern"])
    hind = pose["hind"] * (length["thigh"] + length["shank"] + length["metatarsal"])
    steep = ((front - hind) / lead[:, 1:].norm(dim=-1)).clamp(-0.97, 0.97).asin()
    pitch = torch.rad2deg(steep - torch.atan2(lead[:, 1], lead[:, 2]))
    root = turn("x", -pitch) @ rolled
    at = {name: apply(root, point) for name, point in at.items()}
    lowest = torch.stack([point[:, 1] for point in at.values()]).amin(0)
    lift = torch.maximum(hind - apply(root, middle)[:, 1], -lowest)  # whoever sits low sits on the tail's root
    return {name: point + vector(0, lift, 0, like) for name, point in at.items()}, root @ chest, root @ hips


def ends(
    at: dict[str, Tensor], length: dict[str, Tensor], pose: Pose, chest: Tensor, hips: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Adds neck, head and tail, none of them below the ground; also the head's frame (z to the nose)."""
    like, floor = length["head"], 0.02 * length["neck"]
    steep, yaw = slope(chest), heading(chest)
    neck = torch.minimum(torch.maximum(pose["neck"], steep - 95), steep + 80)
    face = torch.minimum(torch.maximum(pose["face"], neck - 105), neck + 45)
    toward = turn("y", yaw + pose["sway"]) @ turn("x", -neck)
    aside = turn("y", yaw + pose["sway"] + pose["gaze"])
    at["head"] = laid(at["neck_base"], apply(toward, vector(0, 0, length["neck"], like)), floor)
    at["nose"] = laid(at["head"], apply(aside @ turn("x", -face), vector(0, 0, length["head"], like)), floor)
    rise = ((at["nose"] - at["head"])[:, 1] / length["head"]).clamp(-1, 1)
    head = aside @ turn("x", -torch.rad2deg(rise.asin()))
    bone = vector(0, 0, -length["tail"] / 2, like)
    hang = 1.4 * slope(hips).clamp_min(0) - 85  # no further down than this, or a sitting animal's would point forward
    for start, end, share in (("tail_base", "tail_mid", 0.0), ("tail_mid", "tail_tip", 1.0)):
        lean = torch.maximum(pose["tail"] + share * pose["curl"], hang)
        half = apply(hips @ turn("y", (0.6 + 0.8 * share) * pose["wag"]) @ turn("x", lean), bone)
        at[end] = laid(at[start], half, floor)
    return at, head
