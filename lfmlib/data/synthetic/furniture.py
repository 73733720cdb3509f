"""Furniture beyond Pascal3D+: y up, the front is -z, right is +x."""

import torch
from torch import Generator

from lfmlib.data.synthetic.draw import Instances, Made, Range, vector


def fourleg_chair(count: int, generator: Generator, kinds: dict[str, dict[str, Range]]) -> Made:
    """Chairs on four legs, from bar stools to lounge chairs."""
    these = Instances(count, generator, kinds)
    between = these.between
    height, width, depth, back, tilt = (these.pick(name) for name in these.names)
    half = {"front": width / 2 * between(0.95, 1.12), "back": width / 2 * between(0.78, 1.02)}
    lean = torch.deg2rad(tilt)
    drop = height * between(-0.01, 0.08)  # the seat falls to the back
    top = half["back"] * between(0.72, 1.15)
    rise = {"front": height, "back": height - drop}
    z = {"front": -depth / 2, "back": depth / 2}
    inset = between(0, 0.18) * these.chance(0.3)  # legs under the seat instead of at its corners
    at = {}
    for name, sign in (("right", 1.0), ("left", -1.0)):
        up, behind = rise["back"] + back * lean.cos(), z["back"] + back * lean.sin()
        at[f"back_top_{name}"] = vector(sign * top, up, behind, height)
    for end, out in (("front", -1.0), ("back", 1.0)):
        splay, rake = between(-4, 12), between(-6, 16) * (1 if end == "front" else 1.3)
        foot_x = half[end] * (1 - inset) + rise[end] * torch.deg2rad(splay).tan()
        foot_z = z[end] * (1 - inset) + out * rise[end] * torch.deg2rad(rake).tan()
        for name, sign in (("right", 1.0), ("left", -1.0)):
            at[f"seat_{end}_{name}"] = vector(sign * half[end], rise[end], z[end], height)
            at[f"leg_{end}_{name}"] = vector(sign * foot_x, 0, foot_z, height)
    return these.made(at)
