"""Flies, spiders and butterflies. Feet go where the motion wants them; the leg's joints follow, with constant segments.

The fly has the axes of fly30_walk (x to the front, y to the left, z up); the others have y up and face +z, left is +x.
"""

import math

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import SIDES, Cast, Kinds, Made, manner, traits
from lfmlib.data.synthetic.limbs import apply, reach, turn, vector

# A fly's legs, mm of an animal of 2.5 mm: joint of coxa and body, direction of the coxa, its length, femur, tibia,
# tarsus, and where the claw stands. The sizes are near those of fly30_walk.
FLY_LEGS = {
    "front": ((0.36, 0.15, 0.02), (-0.15, 0.02, -1.0), (0.38, 0.68, 0.52, 0.62), (1.30, 0.66, -0.82)),
    "middle": ((0.04, 0.15, -0.14), (0.05, 0.05, -1.0), (0.19, 0.75, 0.63, 0.70), (0.38, 1.38, -0.82)),
    "hind": ((-0.18, 0.12, -0.18), (-0.25, 0.02, -1.0), (0.21, 0.79, 0.70, 0.82), (-1.20, 1.00, -0.82)),
}
# Feet of a tripod leave the ground together.
TRIPOD = {"left_front": 0.0, "right_middle": 0.0, "left_hind": 0.0, "right_front": 0.5, "left_middle": 0.5,
          "right_hind": 0.5}  # fmt: skip
SPIDER_ANGLES = (28.0, 68.0, 110.0, 150.0)  # of the legs from straight ahead


def leg(
    root: Tensor, foot: Tensor, segments: tuple[Tensor, Tensor, Tensor], slope: Tensor, up: Tensor, lean: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Knee, ankle and tip of a leg whose last segment goes out and down.

    Args:
        root, foot: where the leg begins and shall end; [F, 3].
        segments: lengths, [F] each.
        slope: of the last segment below the horizontal, degrees; steeper under the body, so that no leg crosses it.
        up: [3].
        lean: added to `up` for the side on which the knee lies; [F, 3].
    """
    out = foot - root
    out = out - (out * up).sum(-1, keepdim=True) * up
    far = out.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    out = out / far
    slope = torch.deg2rad(slope)[:, None]
    steep = (0.7 * far / segments[2][:, None]).clamp(max=1).acos()
    slope = torch.where(slope > -steep, torch.maximum(slope, steep), slope)
    last = segments[2][:, None] * (out * slope.cos() - up * slope.sin())
    knee, ankle = reach(root, foot - last, segments[0], segments[1], up + lean)
    return knee, ankle, ankle + last


def fly(count: int, generator: Generator, kinds: Kinds, motions: Kinds) -> Made:
    """Drosophila, tethered: walks in a tripod gait, rubs its front legs or wipes its abdomen with the hind ones.

    Args:
        kinds: sub-type -> ranges. size: of the animal, 1 is 2.5 mm; leg: of its legs; abdomen: length, mm.
        motions: what it does -> ranges. stride: mm; lift: mm; rub, wipe: share of the way of the front claws to the
            head, of the hind claws to the abdomen; rock: how far those claws go to and fro, mm; droop: degrees that
            the abdomen hangs.
    Source: the order of the keypoints is that of skeleton_fly.py in NeLy-EPFL/DeepFly3D; that the right side comes
        first is written out in NeLy-EPFL/df3dPostProcessing.
    """
    cast = Cast(count, len(motions), generator)
    of, says = traits(cast, kinds), manner(cast, motions)
    size, like = of["size"], of["size"]
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    at = {}
    veer, rocking = cast.by_motion(-0.3, 0.3), (3 * cast.phase).sin()
    head = turn("z", cast.noise(5.0)) @ turn("y", cast.noise(6.0) + 10 * says["rub"] * rocking)
    belly = turn("z", cast.noise(6.0)) @ turn("y", -says["droop"] - cast.noise(4.0))
    for side, sign in SIDES:
        apart = cast.by_individual(0.10, 0.14)
        place = vector(0.30, sign * apart, 0.10, like) + cast.by_individual(-0.02, 0.02)[:, None]
        at[f"{side}_antenna"] = size[:, None] * (vector(0.48, 0, 0.10, like) + apply(head, place))
        for i, (along, wide, high) in enumerate(((0.22, 0.30, 0.06), (0.48, 0.33, 0.02), (0.74, 0.26, -0.06))):
            stripe = vector(-along * of["abdomen"], sign * wide * of["abdomen"], high, like)
            stripe = stripe * cast.by_individual(0.93, 1.07)[:, None]
            at[f"{side}_stripe_{i}"] = size[:, None] * (vector(-0.42, 0, 0.05, like) + apply(belly, stripe))
        for name, (joint, way, lengths, foot) in FLY_LEGS.items():
            this = f"{side}_{name}"
            scale = size * of["leg"]
            coxa, *rest = (length * scale * cast.by_individual(0.9, 1.1) for length in lengths)
            step = cast.phase + 2 * math.pi * TRIPOD[this]
            stride = says["stride"] * (1 - sign * veer)
            shift = (0.5 * stride * step.cos() + cast.noise(0.12)).clamp(-0.5, 0.5)
            lift = says["lift"] * step.sin().clamp(min=0) + cast.noise(0.04)
            claw = vector(foot[0] + shift, sign * (foot[1] + cast.noise(0.12)), foot[2] + lift, like)
            sweep = 0.0
            if name != "middle":
                way_to = says["rub" if name == "front" else "wipe"]
                rub = says["rock"] * (rocking if name == "front" else sign * rocking)
                there = vector(1.02 + 0.6 * rub, sign * (0.08 + 0.2 * rub.abs()), -0.25 + rub, like)
                if name == "hind":
                    there = vector(-1.15 + rub, sign * 0.30, 0.05 + 0.5 * rub, like)
                claw = claw + way_to[:, None] * (there - claw)
                sweep = way_to * rub
            swing = 30 * sweep + 25 * says["stride"] * step.cos() + cast.noise(5.0)
            tilt = turn("y", swing) @ turn("x", cast.noise(4.0))
            base = vector(joint[0], sign * joint[1], joint[2], like) * scale[:, None]
            down = torch.tensor([way[0], sign * way[1], way[2]], dtype=torch.float64)
            root = base + apply(tilt, coxa[:, None] * (down / down.norm()))
            slope = cast.by_individual(30, 52) + cast.noise(5.0)
            lean = vector(0, sign * cast.by_motion(0.3, 0.7), 0, like)
            joints = leg(root, scale[:, None] * claw, tuple(rest), slope, up, lean)
            for part, point in zip(("coxa", "femur", "tibia", "tarsus", "claw"), (base, root, *joints), strict=True):
                at[f"{this}_{part}"] = point
    return cast.made(at)


def spider(count: int, generator: Generator, kinds: Kinds, motions: Kinds) -> Made:
    """Spiders: eight legs with high knees around the front half of the body.

    Args:
        kinds: family -> ranges. body: of the front half, mm. In body lengths: abdomen; leg_1 .. leg_4, stretched.
            stance: how far out the feet stand, share of the leg; clear: height of the body above the feet, share
            of the leg; slope: of a leg's last segment below the horizontal, degrees.
        motions: what it does -> ranges. stride, lift: shares of the leg; raise: of the first two pairs, degrees;
            pull: how far the feet come in; rise: share of clear; swing: of the abdomen, degrees up; turn: of the legs
            towards front and back, degrees.
    """
    cast = Cast(count, len(motions), generator)
    of, says = traits(cast, kinds), manner(cast, motions)
    body = of["body"]
    up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    waist = vector(0, 0, -0.5 * body, body)
    back = turn("y", cast.noise(8.0)) @ turn("x", says["swing"] + cast.noise(5.0))
    at = {"head": vector(0, 0.05 * body, 0.5 * body, body), "waist": waist}
    at["abdomen_tip"] = waist + apply(back, vector(0, 0.1 * body, -of["abdomen"] * body, body))
    high = apply(back, vector(0, 0.38 * of["abdomen"] * body, -0.45 * of["abdomen"] * body, body))
    at["abdomen_top"] = waist + high
    clear = of["clear"] * says["rise"]
    for side, sign in SIDES:
        for i, angle in enumerate(SPIDER_ANGLES):
            whole = of[f"leg_{i + 1}"] * body
            segments = [share * whole * cast.by_individual(0.92, 1.08) for share in (0.36, 0.30, 0.38)]
            step = cast.phase + math.pi * (i + (sign > 0))
            raised = (says["raise"] * (1.0, 0.45, 0.0, 0.0)[i] + cast.noise(3.0)).clamp(-10, 100)
            spread = angle + says["turn"] * (-1 if i < 2 else 1) + cast.noise(6.0)
            way = torch.deg2rad(spread)
            far = whole * of["stance"] * (1 - says["pull"]) * (1 + 0.1 * cast.noise(1.0))
            out = vector(sign * way.sin(), 0, way.cos(), body)
            side_way, ahead = math.sin(math.radians(angle)), math.cos(math.radians(angle))
            root = body[:, None] * vector(sign * 0.36 * side_way, 0, 0.42 * ahead, body)
            foot = root + far[:, None] * out - (clear * whole)[:, None] * up
            stride = says["stride"] * whole
            foot = foot + vector(0, says["lift"] * whole * step.sin().clamp(min=0), stride * step.cos(), body)
            lifted = torch.deg2rad(raised)[:, None]
            aloft = root + 0.8 * whole[:, None] * (out * lifted.cos() + up * lifted.sin())
            foot = torch.lerp(foot, aloft, (raised / 35).clamp(0, 1)[:, None])
            slope = (of["slope"] - raised + cast.noise(4.0)).clamp(-70, 85)
            joints = leg(root, foot, tuple(segments), slope, up, 0.6 * out)
            for part, point in zip(("base", "knee", "ankle", "tip"), (root, *joints), strict=True):
                at[f"{side}_leg_{i + 1}_{part}"] = point
    return cast.made(at)


def butterfly(count: int, generator: Generator, kinds: Kinds, motions: Kinds) -> Made:
    """Butterflies and moths: two pairs of stiff wings that flap about the body's axis, the hind ones a little behind.

    Args:
        kinds: sub-type -> ranges. wing: fore wing from root to tip, mm. Shares of it: width (of the fore wing), hind
            (length), tail (of the hind wing), abdomen, antenna. sweep: of the fore wing's edge to the front, degrees.
        motions: what it does -> ranges in degrees. up: mean height of the wings; beat: of the flapping; forward: the
            fore wings are drawn to the front; pitch: of the body; bend: of the abdomen.
    """
    cast = Cast(count, len(motions), generator)
    of, says = traits(cast, kinds), manner(cast, motions)
    wing = of["wing"]
    trunk = turn("x", -says["pitch"] - cast.noise(4.0))
    at = {"thorax": torch.zeros(count, 3, dtype=torch.float64)}
    at["head"] = apply(trunk, vector(0, 0.03 * wing, 0.16 * wing, wing))
    tail = trunk @ turn("y", cast.noise(5.0)) @ turn("x", -says["bend"] - cast.noise(6.0))
    at["abdomen_tip"] = apply(tail, vector(0, 0, -of["abdomen"] * wing, wing))
    spread, swept, lag = cast.by_individual(18, 50), of["sweep"] + says["forward"], cast.by_motion(0.1, 0.6)
    for side, sign in SIDES:
        feeler = trunk @ turn("y", sign * (spread + cast.noise(6.0))) @ turn("x", -cast.by_motion(5, 45))
        at[f"{side}_antenna"] = at["head"] + apply(feeler, vector(0, 0, of["antenna"] * wing, wing))
        beat = says["up"] + cast.noise(2.5)
        forward = swept + cast.noise(2.0) - 6 * cast.phase.cos()
        for pair, late in (("fore", 0.0), ("hind", 1.0)):
            height = beat + says["beat"] * (cast.phase - late * lag).sin() - 6 * late
            flap = turn("z", sign * height.clamp(-50, 89)) @ turn("x", 10 * late + cast.noise(3.0))
            flap = flap @ turn("y", -sign * (forward if pair == "fore" else 0.4 * forward - 35 - cast.noise(3.0)))
            length = wing if pair == "fore" else of["hind"] * wing
            width = of["width"] * wing * (1.0 if pair == "fore" else 1.25)
            root = vector(sign * 0.04 * wing, 0, (0.05 - 0.09 * late) * wing, wing)
            twist = torch.deg2rad(12 * (cast.phase - late * lag - 0.8).cos() * (says["beat"] / 50))
            corners = {"tip": (length, 0 * width), "corner": (0.72 * length, -width)}
            if pair == "hind":
                corners["corner"] = (0.55 * length + 0.4 * of["tail"] * wing, -width - of["tail"] * wing)
            for corner, (out, along) in corners.items():
                panel = vector(sign * out, along * twist.sin(), along * twist.cos(), wing)
                at[f"{side}_{pair}wing_{corner}"] = apply(trunk, root + apply(flap, panel))
    return cast.made(at)
