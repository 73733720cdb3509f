"""People: one body model, read off in several keypoint conventions. Upright they face +z, left is +x, y is up.

Segments are near the shares of stature of Drillis and Contini (1966), as printed in Winter, Biomechanics and Motor
Control of Human Movement, Fig. 4.1; their spread over people is ours.
"""

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import SIDES, Cast, Made, Range
from lfmlib.data.synthetic.limbs import apply, turn, vector
from lfmlib.data.synthetic.people_motions import MOTIONS, body_angles

# Joint to joint, as a share of stature; each varies by itself from person to person.
SEGMENTS = {
    "hip": 0.072, "thigh": 0.245, "shank": 0.246, "foot": 0.095, "toes": 0.042, "ankle": 0.039, "lumbar": 0.137,
    "chest": 0.148, "neck": 0.068, "head": 0.068, "shoulder": 0.098, "upper": 0.165, "fore": 0.145, "hand": 0.06,
    "nose": 0.018,
}  # fmt: skip
# From the middle of the skull, shares of stature.
FACE = {"nose": (0.0, 0.0, 0.058), "eye": (0.018, 0.019, 0.045), "ear": (0.042, 0.008, -0.004)}


def person(
    count: int,
    generator: Generator,
    names: dict[str, str] | None = None,
    stature: Range = (1500, 1960),
    spread: float = 0.07,
) -> Made:
    """People in motion: limb lengths of the person, joint-limited forward kinematics.

    Args:
        names: keypoint -> joint of this body, where a convention has names of its own.
        stature: standing height, mm.
        spread: largest deviation of a segment from its share of the stature.
    """
    cast = Cast(count, len(MOTIONS), generator)
    angle = body_angles(cast)
    height = cast.by_individual(*stature)
    length = {n: share * height * cast.by_individual(1 - spread, 1 + spread) for n, share in SEGMENTS.items()}
    pelvis = turn("y", cast.by_motion(-180, 180)) @ turn("x", angle["pitch"]) @ turn("z", angle["roll"])
    root = apply(pelvis, vector(0, 0.02 * height, 0, height))
    at = {"pelvis": torch.zeros(count, 3, dtype=torch.float64), "root": root}
    chest = _trunk(at, pelvis, angle, length)
    _head(at, chest, angle, length)
    for side, sign in SIDES:
        _leg(at, pelvis, side, sign, angle, length)
        _arm(at, chest, side, sign, angle, length)
    soles = [at[f"{side}_{joint}"][:, 1] - clear * length["ankle"] for side, _ in SIDES
             for joint, clear in (("ankle", 1.0), ("ball", 0.35), ("toe", 0.2))]  # fmt: skip
    floor = vector(0, -torch.stack(soles).amin(0), 0, height)
    at = {name: point + floor for name, point in at.items()}
    return cast.made(at | {new: at[joint] for new, joint in (names or {}).items()})


def _trunk(at: dict[str, Tensor], pelvis: Tensor, angle: dict[str, Tensor], length: dict[str, Tensor]) -> Tensor:
    """Two equal bends of the spine; returns the rotation of the chest."""
    half = turn("y", angle["twist"] / 2) @ turn("z", angle["lean"] / 2) @ turn("x", angle["bend"] / 2)
    low = pelvis @ half
    chest = low @ half
    at["spine"] = apply(low, vector(0, length["lumbar"], 0, angle["bend"]))
    at["chest"] = at["spine"] + apply(chest, vector(0, 0.45 * length["chest"], 0, angle["bend"]))
    at["thorax"] = at["spine"] + apply(chest, vector(0, length["chest"], 0, angle["bend"]))
    return chest


def _head(at: dict[str, Tensor], chest: Tensor, angle: dict[str, Tensor], length: dict[str, Tensor]) -> None:
    like = length["neck"]
    head = chest @ turn("y", angle["turn"]) @ turn("x", angle["nod"])
    at["neck_nose"] = at["thorax"] + apply(head, vector(0, length["neck"], length["nose"], like))
    at["head_top"] = at["neck_nose"] + apply(head, vector(0, length["head"], -length["nose"] / 2, like))
    size = length["head"] / SEGMENTS["head"]  # big heads have eyes far apart
    for part, (x, y, z) in FACE.items():
        for side, sign in SIDES if x else (("", 0.0),):
            name = f"{side}_{part}" if side else part
            at[name] = at["neck_nose"] + apply(head, vector(sign * x * size, y * size, z * size, like))


def _leg(
    at: dict[str, Tensor], pelvis: Tensor, side: str, sign: float, angle: dict[str, Tensor], length: dict[str, Tensor]
) -> None:
    of = lambda axis, name, sign=1.0: turn(axis, sign * angle[f"{side}_{name}"])  # noqa: E731
    like = length["hip"]
    at[f"{side}_hip"] = apply(pelvis, vector(sign * length["hip"], 0, 0, like))
    thigh = pelvis @ of("z", "hipabd", sign) @ of("x", "hipflex", -1.0) @ of("y", "hiprot", sign)
    at[f"{side}_knee"] = at[f"{side}_hip"] + apply(thigh, vector(0, -length["thigh"], 0, like))
    shank = thigh @ of("x", "knee")
    at[f"{side}_ankle"] = at[f"{side}_knee"] + apply(shank, vector(0, -length["shank"], 0, like))
    foot = shank @ of("x", "ankle", -1.0)
    at[f"{side}_ball"] = at[f"{side}_ankle"] + apply(foot, vector(0, -0.65 * length["ankle"], length["foot"], like))
    at[f"{side}_toe"] = at[f"{side}_ball"] + apply(foot @ of("x", "toe"), vector(0, 0, length["toes"], like))


def _arm(
    at: dict[str, Tensor], chest: Tensor, side: str, sign: float, angle: dict[str, Tensor], length: dict[str, Tensor]
) -> None:
    of = lambda axis, name, sign=1.0: turn(axis, sign * angle[f"{side}_{name}"])  # noqa: E731
    like = length["shoulder"]
    raised = (angle[f"{side}_armflex"].clamp(min=0) + angle[f"{side}_armabd"].clamp(min=0)).clamp(max=180)
    clavicle = chest @ turn("z", sign * (raised / 6 - 8))  # the shoulder girdle rises with the arm
    at[f"{side}_shoulder"] = at["thorax"] + apply(clavicle, vector(sign * length["shoulder"], 0, 0, like))
    upper = chest @ of("z", "armabd", sign) @ of("x", "armflex", -1.0) @ of("y", "armrot", -sign)
    at[f"{side}_elbow"] = at[f"{side}_shoulder"] + apply(upper, vector(0, -length["upper"], 0, like))
    fore = upper @ of("x", "elbow", -1.0)
    at[f"{side}_wrist"] = at[f"{side}_elbow"] + apply(fore, vector(0, -length["fore"], 0, like))
    at[f"{side}_hand"] = at[f"{side}_wrist"] + apply(fore, vector(0, -length["hand"], 0, like))
