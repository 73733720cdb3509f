"""The indoor categories of Pascal3D+: x to the right, y from front to back, z up; left is -x. The floor is z = 0."""

from functools import partial

import torch
from torch import Generator

from lfmlib.data.synthetic import limbs
from lfmlib.data.synthetic.draw import Instances, Kinds, Made
from lfmlib.data.synthetic.limbs import vector

pair = partial(limbs.pair, left=-1.0)


def bottle(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Bottles, jars, sprays and cans around the z axis.

    As in Pascal3D+, body and bottom lie on the front of the body and mouth on the front of the rim; in a round bottle
    the front is as far from the axis as the sides are.
    """
    these = Instances(count, generator, kinds)
    pick = these.pick
    height = pick("height")
    half = height * pick("width") / 2
    deep, base = pick("depth"), pick("base")
    body, foot = height * pick("body"), height * these.between(0, 0.04)
    at = {
        "mouth": vector(0, -half * pick("mouth"), height, height),
        "body": vector(0, -half * deep, body, height),
        "bottom": vector(0, -half * deep * base, foot, height),
    }
    pair(at, "body_{}", half, 0, body)
    pair(at, "bottom_{}", half * base, 0, foot)
    return these.made(at)


def chair(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Chairs: seat_upper is the back edge of the seat, leg_upper the foot of a back leg.

    On a star of five feet the keypoints are the two pairs; the fifth points to the front or to the back.
    """
    these = Instances(count, generator, kinds)
    between, pick = these.between, these.pick
    height, width, depth, back = (pick(name) for name in ("height", "width", "depth", "back"))
    half, lean = width / 2, torch.deg2rad(pick("tilt"))
    rear, front, sink = depth / 2, -depth / 2, height * pick("sink")
    narrow, star = pick("narrow"), pick("star")
    at = {}
    pair(at, "seat_lower_{}", half, front, height)
    pair(at, "seat_upper_{}", half * narrow, rear, height - sink)
    top = half * narrow * pick("top")
    pair(at, "back_upper_{}", top, rear + back * lean.sin(), height - sink + back * lean.cos())
    radius = width * between(0.52, 0.70)
    odd = these.chance(0.5) == 1  # the fifth foot points to the back
    for name, y, spread, legs in (("upper", rear, pick("hind"), narrow), ("lower", front, pick("fore"), 1.0)):
        near = (name == "upper") == odd  # this pair lies 72 degrees from the fifth foot, the other 144
        angle = torch.deg2rad(36 + 36 * near.double())
        way = 1 if name == "upper" else -1
        out = torch.where(star == 1, radius * angle.sin(), half * legs * pick("splay"))
        along = torch.where(star == 1, way * radius * angle.cos(), y + way * height * spread)
        pair(at, f"leg_{name}_{{}}", out, along, 0)
    return these.made(at)


def diningtable(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Tables: corners and middles of the edges of the top, and feet; the corners of a round top lie on its rim."""
    these = Instances(count, generator, kinds)
    pick = these.pick
    half, height, corner = pick("width") / 2, pick("height"), pick("corner")
    deep = half * pick("depth")
    at = {"top_up": vector(0, deep, height, height), "top_down": vector(0, -deep, height, height)}
    pair(at, "top_{}", half, 0, height)
    foot_x, foot_y = half * corner * pick("stand"), deep * corner * pick("stride")
    for name, way in (("upper", 1.0), ("lower", -1.0)):
        pair(at, f"top_{name}_{{}}", half * corner, way * deep * corner, height)
        pair(at, f"leg_{name}_{{}}", foot_x, way * foot_y, 0)
    return these.made(at)


def sofa(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Sofas, from armchairs to benches: seat_bottom is the front edge of the seat, seat_top the back edge."""
    these = Instances(count, generator, kinds)
    between, pick = these.between, these.pick
    half, depth, height, seat = pick("width") / 2, pick("depth"), pick("height"), pick("seat")
    inside = half - pick("arm")
    front, rear = -depth / 2, depth / 2
    bottom = seat * pick("legs")
    behind = rear + (height - seat) * torch.deg2rad(pick("tilt")).sin()
    at = {}
    pair(at, "front_bottom_{}", half, front + depth * between(0, 0.08), bottom)
    pair(at, "seat_bottom_{}", inside, front, seat)
    pair(at, "{}_bottom_back", half * between(0.94, 1.0), rear, bottom)
    pair(at, "top_{}_corner", half * pick("top"), behind - depth * between(0, 0.12), height)
    pair(at, "seat_top_{}", inside, rear - depth * pick("cushion"), seat * between(0.92, 1.02))
    return these.made(at)


def tvmonitor(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Screens with a case behind them: picture tubes, flat panels, projectors."""
    these = Instances(count, generator, kinds)
    pick = these.pick
    half = pick("width") / 2
    height, depth = 2 * half * pick("height"), 2 * half * pick("depth")
    foot = height * these.between(0, 0.25)
    small, middle = pick("back"), foot + height * pick("middle")  # the back is smaller, around a height of its own
    high = height / 2 * small * pick("squat")
    at = {}
    for name, sign in (("bottom", -1.0), ("top", 1.0)):
        pair(at, f"front_{name}_{{}}", half, -depth / 2, foot + height * (1 + sign) / 2)
        pair(at, f"back_{name}_{{}}", half * small, depth / 2, middle + sign * high)
    return these.made(at)
