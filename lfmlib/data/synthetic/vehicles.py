"""Vehicles and machines beyond Pascal3D+, with parts that move: y up, facing +z, left is +x. The ground is y = 0."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import Kinds, Made, Number, Stock
from lfmlib.data.synthetic.limbs import apply, pair, turn, vector

Motions = dict[str, list[Number]]


class Fleet(Stock):
    """Machines of several sub-types, each a rigid body with joints that move in clips.

    Args:
        motions: kind of motion -> how far the joints go, in the maker's order.
    """

    def __init__(self, count: int, generator: Generator, kinds: Kinds, motions: Motions) -> None:
        super().__init__(count, generator, kinds, clips=len(motions), longest=12)
        self.reach = torch.tensor(list(motions.values()), dtype=torch.float64)[self.motion]

    def swing(self, low: Number | Tensor, high: Number | Tensor) -> Tensor:
        """A joint that goes to and fro within [low, high], each clip over a stretch of its own; [F].

        The joints of a machine keep no time with each other, unlike the parts of other things.
        """
        ends = self.by_motion(0, 1), self.by_motion(0, 1)
        share = ends[0] + (ends[1] - ends[0]) * (0.5 + 0.5 * (self.phase + self.by_motion(0, 6.3)).sin())
        return low + (high - low) * share


def move(at: dict[str, Tensor], part: Sequence[str], R: Tensor, pivot: Tensor) -> None:
    """Turns a rigid part about a pivot.

    Args:
        at: the keypoints, changed in place.
        part: words; a keypoint is of the part if its name has one of them.
        R: rotation; [F, 3, 3].
        pivot: what stays in place, in mm; [F, 3].
    """
    for name in at:
        if any(word in name for word in part):
            at[name] = pivot + apply(R, at[name] - pivot)


def truck(count: int, generator: Generator, kinds: Kinds, motions: Motions) -> Made:
    """Articulated trucks: the trailer swings about the coupling over the driven wheels."""
    fleet = Fleet(count, generator, kinds, motions)
    by = fleet.by_individual
    base, cab, nose, length, width, floor, box = fleet.picks("base", "cab", "nose", "length", "width", "floor", "box")
    half, wheel = width / 2, by(480, 540)
    bumper = base + by(1250, 1500)
    coupling = by(150, 750)  # before the driven axle, which is z = 0
    front, rear = coupling + by(700, 1400), coupling + by(700, 1400) - length
    at = {}
    pair(at, "{}_front_wheel", half * 0.86, wheel, base)
    pair(at, "{}_drive_wheel", half * 0.90, wheel, 0 * base)
    pair(at, "{}_bumper", half * by(0.90, 1.00), by(350, 550), bumper)
    pair(at, "{}_cab_top", half * by(0.76, 0.96), cab, bumper - nose)
    for end, z in (("front", front), ("rear", rear)):
        pair(at, f"{{}}_box_{end}_lower", half, floor, z)
        pair(at, f"{{}}_box_{end}_upper", half, floor + box, z)
    bend = fleet.swing(-fleet.reach[:, 0], fleet.reach[:, 0])
    move(at, ("box",), turn("y", bend), vector(0, 1150, coupling, coupling))
    return fleet.made(at)


def helicopter(count: int, generator: Generator, kinds: Kinds, motions: Motions) -> Made:
    """Helicopters with four blades; each rotor keypoint is the tip of the blade that points most nearly that way."""
    fleet = Fleet(count, generator, kinds, motions)
    by = fleet.by_individual
    radius, height, boom, cabin, gear, fin = fleet.picks("radius", "height", "boom", "cabin", "gear", "fin")
    belly = height * by(0.14, 0.26)
    tail_y, tail_z = belly + (height - belly) * by(0.35, 0.80), -radius * boom
    plane, at = radius * by(0.16, 0.28), {}
    at["nose"] = vector(0, belly + height * by(0.10, 0.24), radius * cabin, radius)
    at["tail"] = vector(0, tail_y, tail_z, radius)
    at["fin_top"] = vector(0, tail_y + radius * fin, tail_z - radius * by(0.02, 0.14), radius)
    pair(at, "{}_stabiliser", plane, tail_y + radius * by(-0.03, 0.16), tail_z + radius * by(0.0, 0.25))
    pair(at, "{}_gear_front", radius * gear, 0, radius * cabin * by(0.40, 0.75))
    pair(at, "{}_gear_back", radius * gear * by(0.95, 1.10), 0, -radius * by(0.05, 0.32))
    hub = at["rotor_hub"] = vector(0, height, 0, radius)
    angle = (fleet.phase * by(40, 90) + 45) % 90 - 45  # a quarter turn later the next blade has its place
    tilt = turn("x", fleet.noise(1) * fleet.reach[:, 0]) @ turn("z", fleet.noise(1) * fleet.reach[:, 0])
    cone = torch.deg2rad(fleet.swing(fleet.reach[:, 1], fleet.reach[:, 2]))  # blades hang at rest and rise with lift
    blade = vector(0, radius * cone.sin(), radius * cone.cos(), radius)
    for name, quarter in (("front", 0), ("left", 90), ("back", 180), ("right", 270)):
        at[f"rotor_{name}"] = hub + apply(tilt @ turn("y", angle + quarter), blade)
    return fleet.made(at)


def sailboat(count: int, generator: Generator, kinds: Kinds, motions: Motions) -> Made:
    """Sailing boats that heel; the boom swings with the sheet, the rudder against the tiller. The water is y = 0."""
    fleet = Fleet(count, generator, kinds, motions)
    by = fleet.by_individual
    length, beam, stern, free, mast, keel, foot, step = fleet.picks(
        "length", "beam", "stern", "free", "mast", "keel", "foot", "step"
    )
    half, deck, front, back = length * beam / 2, length * free, length / 2, -length / 2
    mast_z, boom_y = front - length * step, deck + length * by(0.06, 0.12)
    sheer = deck * by(1.1, 1.5)
    at = {"bow": vector(0, sheer, front, length), "keel": vector(0, -length * keel, length * by(-0.10, 0.08), length)}
    at["mast_foot"] = vector(0, boom_y, mast_z, length)
    at["mast_top"] = vector(0, deck + length * mast, mast_z - length * by(0, 0.06), length)
    pair(at, "{}_beam", half, deck, length * by(-0.12, 0.06))
    pair(at, "{}_stern", half * stern, deck * by(0.85, 1.1), back)
    side = torch.where(fleet.by_motion(0, 1) < 0.5, -1.0, 1.0)  # the sail is out to the left or to the right
    sheet = side * fleet.swing(fleet.reach[:, 0], fleet.reach[:, 1])
    lift = fleet.by_motion(0, 6)
    boom = turn("y", -sheet) @ turn("x", lift)
    at["boom_end"] = at["mast_foot"] + apply(boom, vector(0, 0, -length * foot, length))
    tack = vector(0, sheer + length * 0.02, front, length)
    clew = vector(0, length * by(0.02, 0.10), -(front - mast_z) * by(0.75, 1.15), length)
    at["jib_clew"] = tack + apply(turn("y", -0.7 * sheet - 4 * side), clew)
    helm = turn("y", fleet.swing(-fleet.reach[:, 2], fleet.reach[:, 2]))
    post = vector(0, deck * 1.05, back, length)
    at["tiller_end"] = post + apply(helm, vector(0, length * by(0.01, 0.04), length * by(0.10, 0.17), length))
    at["rudder_tip"] = post + apply(helm, vector(0, -deck - length * by(0.04, 0.12), -length * by(0.02, 0.07), length))
    move(at, tuple(at), turn("z", -side * fleet.swing(-2, fleet.reach[:, 3])), vector(0, 0, 0, length))
    return fleet.made(at)


def skateboard(count: int, generator: Generator, kinds: Kinds, motions: Motions) -> Made:
    """Skateboards: leaning on the deck turns the front axle into the curve and the back axle out of it."""
    fleet = Fleet(count, generator, kinds, motions)
    by = fleet.by_individual
    length, width, base, wheel, kick, axle = fleet.picks("length", "width", "base", "wheel", "kick", "axle")
    half, deck, lift = width / 2, 2 * wheel + by(20, 45), torch.deg2rad(kick)
    at = {}
    for end, tip, way in (("front", "nose", 1.0), ("back", "tail", -1.0)):
        over = length / 2 - base / 2
        kicked = over * by(0.65, 0.85)
        at[tip] = vector(0, deck + kicked * lift.sin(), way * (length / 2 - kicked * (1 - lift.cos())), length)
        pair(at, f"{{}}_deck_{end}", half * by(0.94, 1.0), deck, way * (length / 2 - kicked))
    lean = fleet.swing(-fleet.reach[:, 0], fleet.reach[:, 0])  # to the right
    move(at, ("deck", "nose", "tail"), turn("z", lean), vector(0, deck - 25, 0, length))
    for end, way in (("front", 1.0), ("back", -1.0)):
        pair(at, f"{{}}_{end}_wheel", axle / 2, wheel, way * base / 2)
        steer = turn("y", -way * 0.7 * lean) @ turn("z", fleet.noise(1))  # and the ground is uneven
        move(at, (f"{end}_wheel",), steer, vector(0, wheel, way * base / 2, length))
    return fleet.made(at)


def pram(count: int, generator: Generator, kinds: Kinds, motions: Motions) -> Made:
    """Prams and pushchairs: the hood unfolds about its hinge, the handle turns up and down. The pusher is behind."""
    fleet = Fleet(count, generator, kinds, motions)
    by = fleet.by_individual
    base, track, front, wheel, floor, long, wide, deep, push, hood = fleet.picks(
        "base", "track", "front", "wheel", "floor", "long", "wide", "deep", "push", "hood"
    )
    half, rim, at = wide / 2, floor + deep, {}
    pair(at, "{}_back_wheel", track / 2, wheel * by(1.0, 1.35), -base / 2)
    pair(at, "{}_front_wheel", front / 2, wheel, base / 2)
    pair(at, "{}_basket_front", half, rim * by(0.86, 1.02), long / 2)
    pair(at, "{}_basket_back", half, rim, -long / 2)
    hinge = vector(0, rim, -long / 2 + long * by(0.12, 0.30), long)
    pair(at, "{}_hood", half, rim, hinge[:, 2] - hood)
    at["hood_middle"] = vector(0, rim + hood * by(-0.05, 0.10), hinge[:, 2] - hood * by(1.05, 1.30), long)
    move(at, ("hood",), turn("x", fleet.swing(fleet.reach[:, 0], fleet.reach[:, 1])), hinge)
    pair(at, "{}_handle", half * by(0.85, 1.05), rim, -long / 2 - push)
    grip = turn("x", by(12, 55) + fleet.swing(-fleet.reach[:, 2], fleet.reach[:, 2]))
    move(at, ("handle",), grip, vector(0, rim, -long / 2, long))
    return fleet.made(at)


def tractor(count: int, generator: Generator, kinds: Kinds, motions: Motions) -> Made:
    """Farm tractors with a front loader: arms that rise, a bucket that tips, a front axle that rocks."""
    fleet = Fleet(count, generator, kinds, motions)
    by = fleet.by_individual
    base, big, small, track, roof, bonnet, arm = fleet.picks("base", "big", "small", "track", "roof", "bonnet", "arm")
    half, cab, at = track / 2, by(420, 620), {}
    pair(at, "{}_back_wheel", half, big, 0 * base)
    pair(at, "{}_roof_back", cab, roof, -big * by(0.3, 0.7))
    pair(at, "{}_roof_front", cab * by(0.85, 1.0), roof * by(0.97, 1.0), base * by(0.34, 0.50))
    pair(at, "{}_bonnet", by(220, 340), bonnet, base + small * by(0.4, 1.2))
    pair(at, "{}_front_wheel", half * by(0.80, 1.00), small, base)
    pivot = vector(0, bonnet * by(0.90, 1.05), base * by(0.50, 0.62), base)
    out, lip = by(380, 480), by(650, 900)
    raised = fleet.swing(fleet.reach[:, 0], fleet.reach[:, 1])  # above the level
    wrist = pivot + apply(turn("x", -raised), vector(0, 0, arm, arm))
    edge = apply(turn("x", fleet.swing(-fleet.reach[:, 2], fleet.reach[:, 3])), vector(0, 0, lip, lip))
    pair(at, "{}_arm_pivot", out, pivot[:, 1], pivot[:, 2])
    pair(at, "{}_arm_end", out, wrist[:, 1], wrist[:, 2])
    pair(at, "{}_bucket", half * by(0.95, 1.15), (wrist + edge)[:, 1], (wrist + edge)[:, 2])
    move(at, ("front_wheel",), turn("z", fleet.noise(4)), vector(0, small, base, base))
    return fleet.made(at)


def excavator(count: int, generator: Generator, kinds: Kinds, motions: Motions) -> Made:
    """Small excavators: the house slews on its tracks, boom, stick and bucket fold like an arm."""
    fleet = Fleet(count, generator, kinds, motions)
    by = fleet.by_individual
    track, gauge, roof, tail, boom, stick, bucket = fleet.picks(
        "track", "gauge", "roof", "tail", "boom", "stick", "bucket"
    )
    low, deck, at = track * by(0.12, 0.20), track * by(0.30, 0.42), {}
    pair(at, "{}_track_front", gauge / 2, low, track / 2)
    pair(at, "{}_track_back", gauge / 2, low, -track / 2)
    pair(at, "{}_roof", gauge * by(0.28, 0.40), roof, track * by(0.0, 0.15))
    pair(at, "{}_tail", gauge * by(0.36, 0.50), deck * by(1.0, 1.5), -tail)
    at["boom_foot"] = vector(0, deck * by(1.0, 1.3), track * by(0.28, 0.42), track)
    up = fleet.swing(fleet.reach[:, 0], fleet.reach[:, 1])  # of the boom above the level
    fold = up - fleet.swing(fleet.reach[:, 2], fleet.reach[:, 3])  # of the stick
    curl = fold - fleet.swing(0, 110)  # of the bucket
    sway = turn("y", fleet.swing(-25, 25))
    joint = at["boom_foot"]
    for name, angle, length in (("boom_end", up, boom), ("stick_end", fold, stick), ("bucket_tip", curl, bucket)):
        joint = at[name] = joint + apply(sway @ turn("x", -angle), vector(0, 0, length, length))
    slew = turn("y", fleet.swing(-fleet.reach[:, 4], fleet.reach[:, 4]))
    move(at, ("roof", "tail", "boom", "stick", "bucket"), slew, vector(0, 0, 0, track))
    return fleet.made(at)
