"""Furniture beyond Pascal3D+: y up. Chairs have their front at -z and right at +x; all else faces +z, left is +x."""

import torch
from torch import Generator

from lfmlib.data.synthetic.draw import SIDES, Instances, Kinds, Made, Range, Stock
from lfmlib.data.synthetic.limbs import apply, turn, vector


def fourleg_chair(count: int, generator: Generator, kinds: Kinds, slip: Range = (0.003, 0.022)) -> Made:
    """Chairs on four legs, from bar stools to deck chairs, as annotators mark them.

    Args:
        slip: standard deviation of a mark about its place, as a share of the mean of seat and back height; the
            annotators of KeypointNet's chairs break the mirror symmetry by that much.
    """
    these = Instances(count, generator, kinds)
    between = these.between
    height, width, depth, back, tilt, flare, rake, kick = these.picks()
    lean = torch.deg2rad(tilt)
    stance = width / 2 * flare  # both pairs of feet: they stand in line more often than not
    half = {"front": width / 2 * between(0.97, 1.1), "back": width / 2 * between(0.8, 1.08)}
    drop = height * between(-0.1, 0.11)  # the seat falls to the back, or to the front
    top = half["back"] * between(0.74, 1.3)
    rise = {"front": height, "back": height - drop}
    z = {"front": -depth / 2, "back": depth / 2}
    reach = {"front": -(rake + between(-5, 5)), "back": kick + between(-7, 7)}
    places = {"back_top": (top, rise["back"] + back * lean.cos(), z["back"] + back * lean.sin())}
    for end in ("front", "back"):
        inset = depth * between(0, 0.16) * these.chance(0.35)  # legs under the seat instead of at its corners
        foot = z[end] + rise[end] * torch.deg2rad(reach[end]).tan() + (inset if end == "front" else -inset)
        places[f"seat_{end}"] = (half[end], rise[end], z[end])
        places[f"leg_{end}"] = (stance * between(0.88, 1.12), torch.zeros_like(height), foot)
    error = (height + back) / 2 * between(*slip)
    at = {}
    for name, (x, y, far) in places.items():
        for side, sign in (("right", 1.0), ("left", -1.0)):
            blur = torch.randn(count, 3, generator=generator, dtype=torch.float64)
            at[f"{name}_{side}"] = vector(sign * x, y, far, height) + error[:, None] * blur
    return these.made(at)


def office_chair(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Swivel chairs on five legs: the seat rises and turns, the back reclines. Front at -z, right at +x."""
    its = Stock(count, generator, kinds)
    width, depth, back, recline, low, high, spread, arm = its.picks()
    seat = its.swing(low, high)
    by = its.by_individual
    rock = turn("x", its.swing(-2, 8))  # +x turns the front (-z) up
    pivot = vector(0, seat, 0, seat)
    lean = torch.deg2rad(recline + its.swing(0, 18))
    front, hip = width / 2 * by(0.94, 1.06), width / 2 * by(0.8, 1.0)
    top, elbow, from_back, long = hip * by(0.6, 1.05), width / 2 * by(1.0, 1.25), depth * by(0.05, 0.25), by(0.4, 0.7)
    droop = by(-0.25, 0.25)
    at = {"swivel_top": pivot - vector(0, by(40, 80), 0, seat), "swivel_bottom": vector(0, by(60, 130), 0, seat)}
    for side, sign in (("right", 1.0), ("left", -1.0)):
        parts = {
            "seat_front": (front, 0, -depth / 2),
            "seat_back": (hip, 0, depth / 2),
            "back_top": (top, back * lean.cos(), depth / 2 + back * lean.sin()),
            "arm_back": (elbow, arm, depth / 2 - from_back),
            "arm_front": (elbow, arm * (1 + droop), depth / 2 - from_back - long * depth),
        }
        for part, place in parts.items():
            at[f"{part}_{side}"] = pivot + apply(rock, vector(sign * place[0], place[1], place[2], seat))
    turned = its.swing(-120, 120)  # of the base against the seat
    hub = by(20, 50)
    for i in range(5):
        at[f"swivel_leg_{i}"] = apply(turn("y", turned + 72 * i), vector(0, hub, -spread, seat))
    return its.made(at)


def bed(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Beds with a head board (at -z) and a foot board; sleigh beds lean outwards, arched boards rise in the middle."""
    these = Instances(count, generator, kinds)
    between = these.between
    length, width, height, head, foot, lean = these.picks()
    at = {}
    for end, sign, rise, board in (("head", -1.0, head, "headboard"), ("foot", 1.0, foot, "footboard")):
        tilt = torch.deg2rad(lean * between(0.6, 1.2))
        top = height + rise * tilt.cos()
        z = sign * length / 2
        over = z + sign * rise * tilt.sin()
        wide, under = width / 2 * between(0.96, 1.12), width / 2 * (1 - between(0, 0.14))
        arch = width * between(-0.05, 0.2) * these.chance(0.6)
        edge, leg = width / 2 * between(0.97, 1.02), z - sign * length * between(0, 0.12) * these.chance(0.5)
        at[f"{board}_middle"] = vector(0, top + arch, over, width)
        for side, x in SIDES:
            at[f"{board}_{side}"] = vector(x * wide, top, over, width)
            at[f"mattress_{end}_{side}"] = vector(x * edge, height, z, width)
            at[f"leg_{end}_{side}"] = vector(x * under, 0, leg, width)
    return these.made(at)


def cabinet(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Cabinets with two doors that open by themselves, hinged at the sides, and a drawer below them."""
    its = Stock(count, generator, kinds)
    width, height, depth, share, splay = its.picks()
    by = its.by_individual
    cornice, sill = splay, height * share  # the drawer is as high as the sill; a cornice makes the top wider
    at = {}
    for side, x in SIDES:
        for level, y, more in (("bottom", torch.zeros_like(height), 0 * cornice), ("top", height, cornice)):
            at[f"{level}_back_{side}"] = vector(x * (width / 2 + more), y, -depth / 2, width)
            at[f"{level}_front_{side}"] = vector(x * (width / 2 + more), y, depth / 2 + more, width)
    drawn = depth * its.swing(-0.3, 0.85).clamp(min=0)
    near, knob = by(0.06, 0.2), by(0.2, 0.8)
    for side, x in SIDES:
        hinge = vector(x * width / 2, 0, depth / 2, width)
        leaf = turn("y", x * (its.swing(-60, 150).clamp(0, 122) + its.swing(0, 3)))  # outwards
        for name, across, y, off in (
            (f"door_bottom_{side}", width / 2, sill, 0),
            (f"door_top_{side}", width / 2, height, 0),
            (f"handle_{side}", width / 2 * (1 - near), sill + (height - sill) * knob, 30),
        ):
            at[name] = hinge + apply(leaf, vector(-x * across, y, off, width))
        at[f"drawer_{side}"] = vector(x * width / 2 * 0.97, 0.9 * sill, depth / 2 + drawn, width)
    return its.made(at)


def desk_lamp(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Lamps with a foot, a column, two arms and a shade, each joint of which turns."""
    its = Stock(count, generator, kinds)
    foot, column, lower, upper, shade, rim = its.picks()
    first = its.swing(-45, 35)  # from upright to the front, degrees
    second = first + its.swing(35, 120)
    least = (shade + rim - column - lower * torch.deg2rad(first).cos()) / upper  # the shade clears the table
    second = torch.minimum(second, torch.rad2deg(least.clamp(-1, 0.95).acos()))
    third = (second + its.swing(-10, 90)).clamp(60, 200)  # the shade points ahead or down, not up
    along = lambda angle: vector(0, torch.deg2rad(angle).cos(), torch.deg2rad(angle).sin(), foot)  # noqa: E731
    at = {"foot": vector(0, 0, 0, foot), "column": vector(0, column, 0, foot)}
    at["elbow"] = at["column"] + lower[:, None] * along(first)
    at["neck"] = at["elbow"] + upper[:, None] * along(second)
    roll = turn("x", third) @ turn("y", its.swing(-25, 25)) @ turn("z", its.swing(-25, 25))
    at["cap"] = at["neck"] - apply(roll, vector(0, 0.35 * shade, 0, foot))
    opening = vector(0, shade, 0, foot)  # of the shade, in a frame whose y points where the light goes
    for side, x, z in (("left", 1.0, 0.0), ("right", -1.0, 0.0), ("front", 0.0, -1.0), ("back", 0.0, 1.0)):
        at[f"shade_{side}"] = at["neck"] + apply(roll, opening + vector(x * rim, 0, z * rim, foot))
    swung = turn("y", its.swing(-70, 70))
    at = {name: apply(swung, point) for name, point in at.items()}
    long = foot * its.by_individual(0.85, 1.3)
    for side, x, z in (("left", 1.0, 0.0), ("right", -1.0, 0.0), ("front", 0.0, 1.0), ("back", 0.0, -1.0)):
        at[f"foot_{side}"] = vector(x * foot, 0, z * long, foot)
    return its.made(at)


def bookshelf(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Shelves with an open front, from cubes to ladder shelves; the two shelves between stand at any height."""
    these = Instances(count, generator, kinds)
    between = these.between
    width, height, depth, taper, narrow, slope = these.picks()
    low = between(0.15, 0.5)
    high = low + (0.92 - low) * between(0.25, 1)
    tilt = torch.deg2rad(slope).tan()
    at = {}
    for name, share in (("bottom", 0 * low), ("low", low), ("high", high), ("top", 1 + 0 * low)):
        deep, half = depth * (1 - (1 - taper) * share), width / 2 * (1 - (1 - narrow) * share)
        shelf = deep * tilt * (between(0.6, 1) if name in ("low", "high") else 0)  # racks slope to the front
        for side, x in SIDES:
            at[f"{name}_back_{side}"] = vector(x * half, height * share + shelf / 2, -depth / 2, width)
            at[f"{name}_front_{side}"] = vector(x * half, height * share - shelf / 2, deep - depth / 2, width)
    return these.made(at)


def bathtub(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Bathtubs: the back rest is at -z, the drain near the foot; some stand on feet, slipper tubs rise at the head."""
    these = Instances(count, generator, kinds)
    between = these.between
    length, width, height, slope, slipper, corner, lift = these.picks()
    back = height * slipper
    waist, narrow = between(0.94, 1.08), between(0.72, 1.02)
    rim = {"head": (0, 1, -1), "head_side": (corner, 0.75, -corner), "": (waist, 0.0, between(-0.15, 0.15))}
    rim |= {"foot_side": (corner * narrow, between(-0.1, 0.4), corner), "foot": (0, between(0, 0.5), 1)}
    at = {}
    for name, (x, up, z) in rim.items():
        for side, sign in SIDES if name in ("head_side", "", "foot_side") else (("", 0.0),):
            place = vector(sign * x * width / 2, height + up * back, z * length / 2, width)
            at["_".join(("rim", *filter(None, (name.removesuffix("_side"), side))))] = place
    inset = {"head": height * torch.deg2rad(slope).tan(), "foot": length * between(0.02, 0.12)}
    base = between(0.55, 0.85)
    for end, sign in (("head", -1.0), ("foot", 1.0)):
        z = sign * (length / 2 * corner - inset[end])
        for side, x in SIDES:
            slim = narrow if end == "foot" else 1.0
            at[f"floor_{end}_{side}"] = vector(x * base * corner * slim * width / 2, lift, z, width)
    at["drain"] = vector(0, lift, length / 2 * corner - inset["foot"] - length * between(0.05, 0.2), width)
    return these.made(at)


def stepladder(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Stepladders: the front, with its steps and a handle above them, and the prop behind it open about the top."""
    its = Stock(count, generator, kinds)
    rail, base, top, prop, hoop, least, most = its.picks()
    opening = torch.deg2rad(its.swing(least, most))
    front = torch.atan2(1 - prop * opening.cos(), prop * opening.sin())  # from upright, so that all four feet stand
    behind = opening - front
    height, ahead = rail * front.cos(), rail * front.sin()
    steps = torch.stack([its.by_individual(0.2, 0.27) for _ in range(3)]).cumsum(0)
    names = ("front_foot", "step_low", "step_middle", "step_high", "top", "handle")
    heights = dict(zip(names, (0 * rail, *steps, 1 + 0 * rail, 1 + hoop), strict=True))
    at = {}
    for side, x in SIDES:
        for name, share in heights.items():
            half = (base + (top - base) * share.clamp(max=1)) / 2
            at[f"{name}_{side}"] = vector(x * half, height * share, ahead * (1 - share), rail)
        at[f"back_foot_{side}"] = vector(x * base / 2 * 0.94, 0, -prop * rail * behind.sin(), rail)
    return its.made(at)
