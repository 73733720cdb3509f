"""The vehicles of Pascal3D+: x to the right, y from front to back, z up; left is -x. Ground and water are z = 0."""

from functools import partial

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic import limbs
from lfmlib.data.synthetic.draw import Instances, Kinds, Made
from lfmlib.data.synthetic.limbs import vector

pair = partial(limbs.pair, left=-1.0)


def run(degrees: Tensor) -> Tensor:
    """Horizontal length of a tube per height.

    Args:
        degrees: angle from the ground; [F].
    Returns:
        [F].
    """
    return 1 / torch.deg2rad(degrees).tan()


def aeroplane(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Aeroplanes at full size, from airliners to fighters."""
    these = Instances(count, generator, kinds)
    between = these.between
    length, span, station, sweep, dihedral, fin, tail_span = these.picks()
    length = 1000 * length
    half = span * length / 2
    tip = station * length + half * torch.deg2rad(sweep).tan()  # y of the wing tips
    low = length * between(-0.045, 0.035)  # low or high wing
    tail_y, tail_z = length * between(0.42, 0.48), length * between(-0.01, 0.03)
    tee = these.chance(0.2)  # T-tail: the elevators sit on the fin
    elevator_half = half * tail_span
    elevator_y = tail_y - length * between(0.0, 0.07) + elevator_half * torch.deg2rad(sweep / 2).tan()
    elevator_z = tail_z + tee * fin * length + elevator_half * torch.deg2rad(dihedral * between(-0.5, 1.2)).tan()
    fin_root = tail_y - length * between(0.10, 0.20)
    at = {
        "noselanding": vector(0, -length * between(0.36, 0.48), -length * between(0.02, 0.07), length),
        "rudder_lower": vector(0, fin_root, tail_z + length * between(0.01, 0.03), length),
        "rudder_upper": vector(0, fin_root + length * between(0.06, 0.24), tail_z + fin * length, length),
        "tail": vector(0, tail_y, tail_z, length),
    }
    pair(at, "{}_wing", half, tip, low + half * torch.deg2rad(dihedral).tan())
    pair(at, "{}_elevator", elevator_half, elevator_y, elevator_z)
    return these.made(at)


def bicycle(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Bicycles with straight handlebars; a pedal keypoint is the end of the crank axle, where Pascal3D+ has it."""
    these = Instances(count, generator, kinds)
    between, pick = these.between, these.pick
    wheel, base, head, crank, saddle = (pick(name) for name in ("wheel", "base", "head", "crank", "saddle"))
    head_y = -base / 2 + between(35, 65) + (head - wheel) * run(pick("angle"))
    crank_y = base / 2 - pick("chain")
    saddle_y = crank_y + (saddle - crank) * run(pick("seat"))
    long = between(230, 290) * (base / 1050).sqrt()
    tilt = long * between(-0.06, 0.06)
    at = {
        "head_center": vector(0, head_y, head, base),
        "seat_front": vector(0, saddle_y - 0.55 * long, saddle - tilt, base),
        "seat_back": vector(0, saddle_y + 0.45 * long, saddle + tilt, base),
    }
    pair(at, "{}_front_wheel", between(38, 58), -base / 2, wheel)
    pair(at, "{}_back_wheel", between(50, 78), base / 2, wheel * between(0.98, 1.02))
    pair(at, "{}_pedal_center", between(55, 100), crank_y, crank)
    pair(at, "{}_handle", pick("bars"), head_y - pick("reach"), head + pick("rise"))
    return these.made(at)


def boat(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Boats and ships: the line of the deck and the stem."""
    these = Instances(count, generator, kinds)
    between, pick = these.between, these.pick
    length = 1000 * pick("length")
    half, free, sheer = length * pick("beam") / 2, length * pick("free"), length * pick("sheer")
    station, stern = pick("station"), pick("stern")
    bow, back = -length / 2, length / 2
    stern_z = free + sheer * pick("poop")
    at = {
        "head": vector(0, bow, free + sheer, length),
        "head_down": vector(0, bow + length * pick("rake"), -length * pick("draught"), length),
    }
    rise = sheer * (1 - 2 * station).clamp_min(0).square()
    pair(at, "head_{}", half * pick("shoulder"), bow + station * length, free + rise)
    pair(at, "tail_{}", half * stern, back - length * between(0, 0.05), stern_z)
    at["tail"] = vector(0, back, stern_z * between(0.35, 1.0), length)
    return these.made(at)


def bus(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Buses, from minibuses to articulated ones."""
    these = Instances(count, generator, kinds)
    between, pick = these.between, these.pick
    length, width, height = (1000 * pick(name) for name in ("length", "width", "height"))
    half, sill, roof = width / 2, pick("sill"), height * between(0.93, 0.99)
    front, back = -length / 2, length / 2
    upper, wheel = half * pick("roof"), sill * between(0.9, 1.5)
    tail = back - height * pick("tail")
    at = {}
    pair(at, "body_front_{}_lower", half * between(0.92, 1.0), front, sill)
    pair(at, "body_front_{}_upper", upper, front + height * pick("rake"), roof)
    pair(at, "body_back_{}_lower", half * between(0.95, 1.0), back, sill * between(1.0, 1.3))
    pair(at, "body_back_{}_upper", upper * between(0.97, 1.03), tail, roof * between(0.98, 1.01))
    pair(at, "{}_front_wheel", half * between(0.94, 1.0), front + length * pick("front"), wheel)
    pair(at, "{}_back_wheel", half * between(0.94, 1.0), back - length * pick("back"), wheel)
    return these.made(at)


def car(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Cars, vans and pickups."""
    these = Instances(count, generator, kinds)
    between, pick = these.between, these.pick
    base, width, height = (pick(name) for name in ("base", "width", "height"))
    half, front = width / 2, -base / 2
    roof, trunk = half * pick("roof"), base / 2 + pick("back")
    rear = torch.minimum(front + base * pick("rear"), trunk - between(20, 120))  # no window overhangs the trunk
    at = {}
    pair(at, "{}_front_wheel", half * between(0.92, 1.0), front, pick("wheel"))
    pair(at, "{}_back_wheel", half * between(0.92, 1.0), base / 2, at["left_front_wheel"][:, 2] * between(1.0, 1.03))
    pair(at, "upper_{}_windshield", roof, front + base * pick("screen"), height * between(0.93, 0.98))
    pair(at, "upper_{}_rearwindow", roof * between(0.92, 1.05), rear, height * pick("slope"))
    pair(at, "{}_front_light", half * between(0.68, 0.86), front - pick("front"), height * pick("light"))
    pair(at, "{}_back_trunk", half * between(0.68, 0.86), trunk, height * pick("boot"))
    return these.made(at)


def motorbike(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Motorcycles, from mopeds to choppers, with straight handlebars."""
    these = Instances(count, generator, kinds)
    between, pick = these.between, these.pick
    wheel, base, head, seat = (pick(name) for name in ("wheel", "base", "head", "seat"))
    head_y = -base / 2 + between(20, 80) + (head - wheel) * run(pick("angle"))
    seat_y = -base / 2 + base * pick("place")
    at = {
        "head_center": vector(0, head_y, head, base),
        "headlight_center": vector(0, head_y - pick("ahead"), head + pick("light"), base),
        "front_seat": vector(0, seat_y, seat, base),
        "back_seat": vector(0, seat_y + pick("long"), seat + pick("step"), base),
    }
    pair(at, "{}_front_wheel", between(55, 95), -base / 2, wheel)
    pair(at, "{}_back_wheel", between(75, 140), base / 2, wheel * pick("rear"))
    pair(at, "{}_handle_center", pick("bars"), head_y - pick("reach"), head + pick("rise"))
    return these.made(at)


def train(count: int, generator: Generator, kinds: Kinds) -> Made:
    """Trains on a straight track: three cars, or three sections of one, with corners where they meet."""
    these = Instances(count, generator, kinds)
    between, pick = these.between, these.pick
    car_length, width, height = (1000 * pick(name) for name in ("car", "width", "height"))
    first = height * pick("engine")  # roof of the first car
    lengths = (car_length * pick("head"), car_length * between(0.96, 1.04), car_length * pick("tail"))
    front = -sum(lengths) / 2
    half, floor, roof = width / 2, height * between(0.06, 0.24), pick("roof")
    nose = height * pick("nose")
    top = front + nose * between(0.6, 1.0)
    at = {"head_top": vector(0, top, first * between(1.0, 1.10), height)}
    pair(at, "head_{}_bottom", half * pick("muzzle"), front, floor * between(0.8, 1.5))
    pair(at, "head_{}_top", half * roof * between(0.9, 1.0), front + nose, first)
    y = front
    for name, length in zip(("mid1", "mid2"), lengths, strict=False):
        y = y + length
        pair(at, f"{name}_{{}}_bottom", half, y, floor)
        pair(at, f"{name}_{{}}_top", half * roof, y, height)
    pair(at, "tail_{}_bottom", half * between(0.9, 1.0), -front, floor)
    pair(at, "tail_{}_top", half * roof * between(0.9, 1.0), -front - nose * pick("twin"), height * between(0.97, 1.0))
    return these.made(at)
