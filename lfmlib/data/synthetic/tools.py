"""Tools and things of daily use: y up, the user's side is +z, left is +x. Held things lean by up to `tilt` degrees.

What turns, folds or opens does so about its real joint; each half stays rigid.
"""

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import SIDES, Kinds, Made, Number, Stock
from lfmlib.data.synthetic.limbs import apply, turn, vector

RIBS = 8  # of an umbrella
CROSSED = (("left", "right", 1.0), ("right", "left", -1.0))  # two halves that cross: where each ends, its sign


def laptop(count: int, generator: Generator, kinds: Kinds, tilt: Number = 0) -> Made:
    """Laptops that open about the hinge at their back; convertibles go on to the tent and the tablet."""
    its = Stock(count, generator, kinds)
    width, depth, thick, least, most = its.picks()
    by = its.by_individual
    hinge = vector(0, thick, by(0.0, 0.1) * depth - depth / 2, width)
    lid = depth * by(0.92, 1.06)
    chin, keys, pad, tray = by(0.06, 0.18), by(0.1, 0.22), by(0.6, 0.68), by(0.1, 0.2)
    R = turn("x", -its.swing(least, most))  # closed, the lid lies on the keys: it points to the front
    at = {}
    for side, x in SIDES:
        at[f"base_back_{side}"] = vector(x * width / 2, 0, -depth / 2, width)
        at[f"base_front_{side}"] = vector(x * width / 2, 0, depth / 2, width)
        at[f"keyboard_{side}"] = vector(x * width * 0.45, thick, depth * (keys - 0.5), width)
        at[f"touchpad_{side}"] = vector(x * width * tray, thick, depth * (pad - 0.5), width)
        at[f"screen_bottom_{side}"] = hinge + apply(R, vector(x * width * 0.48, 0, chin * lid, width))
        at[f"screen_top_{side}"] = hinge + apply(R, vector(x * width / 2, 0, lid, width))
    return _held(its, at, tilt)


def scissors(count: int, generator: Generator, kinds: Kinds, tilt: Number = 40) -> Made:
    """Scissors with the blades up; what has its tip at the left has its loop at the right."""
    its = Stock(count, generator, kinds)
    blade, shank, loop, girth, large, bend, curve, most = its.picks()
    opening, bow = torch.deg2rad(its.swing(0, most)).clamp(min=0.01), torch.deg2rad(bend)
    gap, slack = its.by_individual(1, 5), its.by_individual(0.1, 0.6)
    at = {"pivot": vector(0, 0, 0, blade)}
    for side, other, sign in CROSSED:
        R = turn("z", -sign * torch.rad2deg(opening) / 2)
        bigger = large if side == "left" else torch.ones_like(large)  # the half whose loop takes the fingers
        half, long = girth * bigger.sqrt() / 2, loop * bigger
        at[f"tip_{side}"] = apply(R, vector(sign * 0.5, blade * (1 - curve.square() / 2), blade * curve, blade))
        places = {
            "shank": (gap + slack * half, shank),
            "loop_inner": (gap, shank + 0.5 * long),
            "loop_outer": (gap + 2 * half, shank + 0.45 * long),
            "loop_end": (gap + (1.4 - slack) * half, shank + long),
        }
        for name, (x, down) in places.items():
            at[f"{name}_{other}"] = apply(R, vector(-sign * x, -down * bow.cos(), down * bow.sin(), blade))
    return _held(its, at, tilt)


def pliers(count: int, generator: Generator, kinds: Kinds, tilt: Number = 40) -> Made:
    """Pliers with the jaws up; a jaw at the left belongs to the handle at the right."""
    its = Stock(count, generator, kinds)
    jaw, cheek, handle, bow, slant, bend, most = its.picks()
    opening = its.swing(0, most)
    by = its.by_individual
    flare, nose, close = by(0.3, 1.0), by(0.1, 0.5), by(0.25, 0.5)
    head = turn("z", slant) @ turn("x", bend)
    at = {"pivot": vector(0, 0, 0, jaw)}
    for side, other, sign in CROSSED:
        R = turn("z", -sign * opening / 2)
        for name, x, y in (("jaw_tip", nose * cheek, jaw), ("jaw_cheek", cheek, 0.25 * jaw)):
            at[f"{name}_{side}"] = apply(R @ head, vector(sign * x, y, 0, jaw))
        for name, x, y in (("neck", close * bow, 0.15), ("grip", bow, 0.55), ("end", bow * (0.5 + flare), 1.0)):
            at[f"{name}_{other}"] = apply(R, vector(-sign * x, -y * handle, 0, jaw))
    return _held(its, at, tilt)


def hammer(count: int, generator: Generator, kinds: Kinds, tilt: Number = 40) -> Made:
    """Hammers held upright: the face at +z, the claw or peen at -z, its two tips at the sides."""
    its = Stock(count, generator, kinds, clips=1, longest=1)
    handle, face, claw, size, droop, spread, sweep = its.picks()
    by = its.by_individual
    low = torch.deg2rad(droop)
    bow = handle * by(-0.03, 0.06)
    at = {
        "butt": vector(0, 0, bow - sweep * handle, handle),
        "grip": vector(0, handle * by(0.2, 0.35), bow, handle),
        "eye_bottom": vector(0, handle, 0, handle),
        "eye_top": vector(0, handle + size * by(0.9, 1.2), 0, handle),
    }
    middle, round_ = handle + size / 2, size * by(0.42, 0.62)
    for name, sign in (("top", 1.0), ("bottom", -1.0)):
        at[f"face_{name}"] = vector(0, middle + sign * round_, face, handle)
    for side, x in SIDES:
        at[f"face_{side}"] = vector(x * round_, middle, face, handle)
        at[f"claw_{side}"] = vector(x * spread * size / 2, middle - claw * low.sin(), -claw * low.cos(), handle)
    return _held(its, at, tilt)


def spectacles(count: int, generator: Generator, kinds: Kinds, tilt: Number = 25) -> Made:
    """Spectacles as their wearer has them; the temples fold inwards, each by itself."""
    its = Stock(count, generator, kinds)
    width, lens, height, wrap, brow, temple, drop = its.picks()
    by = its.by_individual
    gap, splay, ear, high, slope = by(14, 24), by(-3, 8), by(0.64, 0.76), by(-0.1, 0.45), by(-5, 5)
    deep = lambda x: -wrap * (2 * x / width).square() * width  # the front is bent round the face  # noqa: E731
    at = {"bridge": vector(0, height * by(0.05, 0.4), by(0, 4), width)}
    for side, sign in SIDES:
        middle = gap / 2 + lens / 2
        edge = gap / 2 + 0.02 * lens
        at[f"lens_inner_{side}"] = vector(sign * edge, -0.1 * height, deep(edge), width)
        at[f"lens_top_{side}"] = vector(sign * (middle + brow * lens), height / 2, deep(middle), width)
        at[f"lens_bottom_{side}"] = vector(sign * middle, -height / 2, deep(middle), width)
        hinge = vector(sign * width / 2, high * height, deep(width / 2), width)
        fold = torch.maximum(its.swing(-100, 150), -splay).clamp(max=89)
        R = turn("y", sign * fold) @ turn("x", slope)  # folding, the temple turns to the other side
        at[f"hinge_{side}"] = hinge
        at[f"ear_{side}"] = hinge + apply(R, vector(0, 0, -ear * temple, width))
        at[f"temple_{side}"] = hinge + apply(R, vector(0, -drop, -temple + 0.4 * drop, width))
    return _held(its, at, tilt)


def mug(count: int, generator: Generator, kinds: Kinds, tilt: Number = 0) -> Made:
    """Mugs, cups and jugs; the handle is at -z, the spout of a jug at +z."""
    its = Stock(count, generator, kinds, clips=1, longest=1)
    height, rim, base, belly, handle, loop, spout = its.picks()
    by = its.by_individual
    middle, upper = by(0.35, 0.6), by(0.72, 0.98)
    lower = (upper - loop).clamp(min=0.08)
    waist = (rim + base) / 2 * belly

    def wall(share: Tensor) -> Tensor:
        """Radius at a share of the height: straight from the base to the belly and on to the rim."""
        up = waist + (rim - waist) * (share - middle) / (1 - middle)
        return torch.where(share < middle, base + (waist - base) * share / middle, up)

    at = {
        "rim_front": vector(0, height * (1 + 0.3 * spout), rim * (1 + spout), height),
        "rim_back": vector(0, height, -rim, height),
        "base_front": vector(0, 0, base, height),
        "base_back": vector(0, 0, -base, height),
        "handle_top": vector(0, upper * height, -wall(upper), height),
        "handle_bottom": vector(0, lower * height, -wall(lower), height),
    }
    out = torch.maximum(wall(upper), wall(lower)) + handle * height
    at["handle_outer"] = vector(0, height * (lower + (upper - lower) * by(0.45, 0.9)), -out, height)
    for side, x in SIDES:
        at[f"rim_{side}"] = vector(x * rim, height, 0, height)
        at[f"belly_{side}"] = vector(x * waist, middle * height, 0, height)
        at[f"base_{side}"] = vector(x * base, 0, 0, height)
    return _held(its, at, tilt)


def guitar(count: int, generator: Generator, kinds: Kinds, tilt: Number = 35) -> Made:
    """Guitars and their kin, neck up, strings at +z; the left shoulder of an electric one is its longer horn."""
    its = Stock(count, generator, kinds, clips=1, longest=1)
    scale, body, lower, upper, waist, depth, head, horn = its.picks()
    by = its.by_individual
    bridge, back = body * by(0.2, 0.34), torch.deg2rad(by(0, 16))
    nut, high, low, narrow = bridge + scale, by(0.76, 0.86), by(0.22, 0.32), by(0.55, 0.64)
    at = {
        "tail": vector(0, 0, 0, body),
        "bridge": vector(0, bridge, by(4, 14), body),
        "heel": vector(0, body, by(2, 8), body),
        "nut": vector(0, nut, 4, body),
        "head": vector(0, nut + head * back.cos(), 4 - head * back.sin(), body),
        "back_lower": vector(0, low * body, -depth, body),
        "back_upper": vector(0, high * body, -depth * by(0.78, 1.0), body),
    }
    for side, x in SIDES:
        longer = horn * (1.0 if side == "left" else 0.25)
        at[f"shoulder_{side}"] = vector(x * upper * lower / 2, (high + longer) * body, 0, body)
        at[f"waist_{side}"] = vector(x * waist * lower / 2, (narrow + 0.3 * longer) * body, 0, body)
        at[f"bout_{side}"] = vector(x * lower / 2, low * body, 0, body)
    return _held(its, at, tilt)


def umbrella(count: int, generator: Generator, kinds: Kinds, tilt: Number = 35) -> Made:
    """Umbrellas that open: the runner slides on the shaft and its stretchers push the ribs; gusts lift one side."""
    its = Stock(count, generator, kinds)
    rib, shaft, hook, droop, least, most, gust = its.picks()
    by = its.by_individual
    opening = its.swing(least, most)  # of the ribs at the crown, from the shaft, degrees
    bow = torch.deg2rad(droop * (opening / 85).clamp(0, 1)) + 1e-6  # a taut canopy bends the ribs
    stretcher, joint = 0.54 * rib, 0.5 * rib
    at = {"crown": vector(0, 0, 0, rib), "ferrule": vector(0, rib * by(0.05, 0.16), 0, rib)}
    at["handle"] = vector(0, -shaft, 0, rib)
    at["hook"] = at["handle"] + vector(hook, -hook * by(0.0, 1.2), 0, rib)
    first, blows = its.by_motion(0, 45), its.by_motion(0, 360)
    angle = torch.deg2rad(opening)
    inner = (joint * angle.sin()).clamp(max=0.98 * stretcher)
    at["runner"] = vector(0, -joint * angle.cos() - (stretcher.square() - inner.square()).sqrt(), 0, rib)
    for i in range(RIBS):
        around = first + 360 / RIBS * i
        lift = gust * torch.deg2rad(around - blows).cos() * angle.sin()
        start = torch.deg2rad(opening + its.noise(1.0) + lift).clamp(min=0.03)
        out = rib * ((start - bow).cos() - start.cos()) / bow  # a rib is an arc that turns down by `bow`
        down = rib * (start.sin() - (start - bow).sin()) / bow
        at[f"rib_{i + 1}"] = apply(turn("y", around), vector(0, -down, out, rib))
    return _held(its, at, tilt)


def pocket_knife(count: int, generator: Generator, kinds: Kinds, tilt: Number = 40) -> Made:
    """Folding knives: handle down, the edge at +z, the blade turns about the pivot into the handle."""
    its = Stock(count, generator, kinds)
    handle, blade, deep, thick, broad, curve, bow = its.picks()
    by = its.by_individual
    middle, choil, straight = by(0.4, 0.65), by(0.06, 0.18), by(0.35, 0.6)
    R = turn("x", its.swing(-40, 190).clamp(0, 178))  # 0 is open
    at = {
        "pivot": vector(0, 0, 0, handle),
        "butt": vector(0, -handle, bow * handle, handle),
        "grip_back": vector(0, -middle * handle, -deep * 0.5, handle),
        "grip_front": vector(0, -middle * handle, deep * 0.5, handle),
        "heel": apply(R, vector(0, choil * blade, 0.4 * broad, handle)),
        "edge": apply(R, vector(0, straight * blade, broad * by(0.4, 0.6), handle)),
        "spine": apply(R, vector(0, straight * blade, -broad * by(0.4, 0.55), handle)),
        "tip": apply(R, vector(0, blade, curve * broad, handle)),
    }
    for side, x in SIDES:
        at[f"grip_{side}"] = vector(x * thick / 2, -middle * handle, 0, handle)
    return _held(its, at, tilt)


def headphones(count: int, generator: Generator, kinds: Kinds, tilt: Number = 30) -> Made:
    """Headphones as worn: a band that springs open, cups that slide on it and swivel."""
    its = Stock(count, generator, kinds)
    band, least, most, slide, cup, oval, swivel = its.picks()
    total = torch.deg2rad(its.swing(least, most))  # by which each half of the band turns down
    at = {"band_top": vector(0, 0, 0, band)}
    pulled, offset = slide * its.swing(0.1, 1), its.by_individual(0, 14)
    for side, x in SIDES:
        for name, share in (("band", 0.5), ("yoke", 1.0)):
            bent = total * share
            at[f"{name}_{side}"] = vector(x * bent.sin(), bent.cos() - 1, 0, band) * (band / total)[:, None]
        down = vector(x * total.cos(), -total.sin(), 0, band)
        R = turn("z", x * its.swing(-12, 12)) @ turn("y", x * swivel * its.swing(-0.3, 1))
        R = R @ turn("x", its.swing(-14, 14))
        middle = at[f"yoke_{side}"] + (pulled + cup)[:, None] * down + vector(-x * offset, 0, 0, band)
        for name, y, z in (("top", 1, 0), ("bottom", -1, 0), ("front", 0, oval), ("back", 0, -oval)):
            at[f"cup_{name}_{side}"] = middle + apply(R, vector(0, y * cup, z * cup, band))
    return _held(its, at, tilt)


def _held(its: Stock, at: dict[str, Tensor], tilt: Number) -> Made:
    """The result, leaning to the side and to the front by up to about `tilt` degrees: nobody's hand is still."""
    if tilt:
        lean = (its.by_motion(-tilt, tilt) + its.noise(tilt / 20) for _ in range(2))
        R = turn("z", next(lean)) @ turn("x", next(lean))
        at = {name: apply(R, point) for name, point in at.items()}
    return its.made(at)
