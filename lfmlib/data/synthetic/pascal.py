"""The categories of Pascal3D+: x to the right, y from front to back, z up; left is -x."""

import torch
from torch import Generator

from lfmlib.data.synthetic.draw import Instances, Made, Range, vector


def aeroplane(count: int, generator: Generator, kinds: dict[str, dict[str, Range]]) -> Made:
    """Aeroplanes at full size, from airliners to fighters."""
    these = Instances(count, generator, kinds)
    between = these.between
    length, span, station, sweep, dihedral, fin, tail_span = (these.pick(name) for name in these.names)
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
    for side, sign in (("left", -1.0), ("right", 1.0)):
        at[f"{side}_wing"] = vector(sign * half, tip, low + half * torch.deg2rad(dihedral).tan(), length)
        at[f"{side}_elevator"] = vector(sign * elevator_half, elevator_y, elevator_z, length)
    return these.made(at)
