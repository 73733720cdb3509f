"""Life in the water: fish, sharks, seahorses and octopuses. y up, facing +z, the left side at +x."""

import math

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import SIDES, Cast, Kinds, Made, manner, traits
from lfmlib.data.synthetic.limbs import Backbone, apply, stations, turn, vector

PIECES = 12  # of a fish's axis
ARM_PIECES = 6  # of an octopus's arm
TRUNK_PIECES, TAIL_PIECES = 4, 5  # of a seahorse


def fish(count: int, generator: Generator, kinds: Kinds, motions: Kinds) -> Made:
    """Bony fish: the body wave grows towards the tail, the fins fold and spread.

    Args:
        kinds: species -> ranges. length: snout to root of the tail fin, mm. Shares of it: depth, width, eye (station),
            bill (snout before the mouth), dorsal (station of the fin's tip), rise (of that fin), belly (station of
            the pelvic fins), anal (station), drop (of the anal fin), pectoral (length), tail (length), fork (half of
            the tail's span). limber: largest turn of the tail, degrees; waves: of the body wave on the body.
        motions: how it swims -> ranges. vigour (of the wave), bend (of the whole body): shares of limber; open, flap:
            the pectoral fins stand off and beat, degrees.
    """
    cast = Cast(count, len(motions), generator)
    of = _individual(cast, kinds)
    angle, axis = _undulation(cast, of, motions)
    length = of["length"]
    at = {"snout": axis.at(0) - (of["bill"] * length)[:, None] * axis.back[:, 0]}
    at["dorsal_base"] = axis.at(of["dorsal"] - 0.08, up=_half(of, of["dorsal"] - 0.08))
    fold = torch.deg2rad(angle["fold"])
    rise = of["rise"] * length * angle["spread"]
    back = of["dorsal"] + of["rise"] * fold.sin()
    at["dorsal_tip"] = axis.at(back, up=_half(of, of["dorsal"]) + rise * fold.cos())
    at["belly"] = axis.at(of["belly"], up=-_half(of, of["belly"]))
    drop = of["drop"] * length * angle["spread"]
    at["anal_fin"] = axis.at(of["anal"] + 0.5 * of["drop"], up=-_half(of, of["anal"]) - drop)
    for side, sign in SIDES:
        out = 0.5 * of["width"] * length
        at[f"{side}_eye"] = axis.at(of["eye"], sign * 0.75 * out, 0.35 * _half(of, of["eye"]))
        reach = of["pectoral"] * length
        open_, flap = torch.deg2rad(angle[f"{side}_open"]), torch.deg2rad(angle[f"{side}_flap"])
        beside = sign * (out + reach * open_.sin() * flap.cos())
        behind = 0.28 + of["pectoral"] * open_.cos()
        at[f"{side}_fin"] = axis.at(behind, beside, reach * open_.sin() * flap.sin() - 0.2 * of["depth"] * length)
    _caudal(at, axis, of, angle, of["fork"], of["fork"])
    return cast.made(at)


def shark(count: int, generator: Generator, kinds: Kinds, motions: Kinds) -> Made:
    """Sharks: stiff fins on a body that bends from side to side.

    Args:
        kinds: as of `fish`, but: first, second (stations of the dorsal fins), rise (of the first), pectoral (station),
            fin (length of a pectoral fin), pelvic (station), head (from eye to eye), upper and lower (lobes of the
            tail).
        motions: as of `fish`.
    """
    cast = Cast(count, len(motions), generator)
    of = _individual(cast, kinds)
    angle, axis = _undulation(cast, of, motions)
    length = of["length"]
    at = {"snout": axis.at(0, up=-0.1 * of["depth"] * length)}
    at["dorsal_base"] = axis.at(of["first"], up=_half(of, of["first"]))
    at["dorsal_tip"] = axis.at(of["first"] + 0.8 * of["rise"], up=_half(of, of["first"]) + of["rise"] * length)
    at["second_dorsal"] = axis.at(of["second"] + 0.03, up=_half(of, of["second"]) + 0.35 * of["rise"] * length)
    for side, sign in SIDES:
        at[f"{side}_eye"] = axis.at(of["eye"], sign * 0.5 * of["head"] * length, 0.03 * length)
        out, low = sign * 0.46 * of["width"] * length, -0.6 * _half(of, of["pectoral"])
        at[f"{side}_pectoral_base"] = axis.at(of["pectoral"], out, low)
        sweep, flap = torch.deg2rad(angle[f"{side}_open"] * 0.4 + 12), torch.deg2rad(0.3 * angle[f"{side}_flap"] - 14)
        beside = of["fin"] * length * sweep.cos()
        tip = of["pectoral"] + of["fin"] * sweep.sin()
        at[f"{side}_pectoral_tip"] = axis.at(tip, out + sign * beside * flap.cos(), low + beside * flap.sin())
        at[f"{side}_pelvic"] = axis.at(of["pelvic"], sign * 0.5 * of["width"] * length, -_half(of, of["pelvic"]))
    _caudal(at, axis, of, angle, of["upper"], of["lower"])
    return cast.made(at)


def _individual(cast: Cast, kinds: Kinds) -> dict[str, Tensor]:
    return {name: value * cast.by_individual(0.95, 1.05) for name, value in traits(cast, kinds).items()}


def _undulation(cast: Cast, of: dict[str, Tensor], motions: Kinds) -> tuple[dict[str, Tensor], Backbone]:
    """The fins' angles, and the axis bent by a wave that runs backwards (plus a turn of the whole body)."""
    says = manner(cast, motions)
    s = stations(PIECES)[None]
    wave = (cast.phase[:, None] - 2 * math.pi * of["waves"][:, None] * s).sin()
    yaw = (of["limber"] * says["vigour"])[:, None] * (0.12 + 0.88 * s.square()) * wave
    turning = of["limber"] * says["bend"] * (0.6 + 0.4 * (0.7 * cast.phase).sin())
    yaw = yaw + turning[:, None] * (s - 0.3) + cast.noise(2.0)[:, None]
    pitch = cast.noise(5.0)[:, None] * (1 - 2 * s) + cast.by_motion(-12, 12)[:, None]
    angle = {"lean": cast.noise(5.0) - 18 * says["vigour"] * (cast.phase - 2.2).sin()}
    angle |= {"fold": cast.by_motion(10, 65), "spread": cast.by_motion(0.7, 1.0)}
    beat, way = (1.3 * cast.phase + cast.by_motion(0, 6)).sin(), cast.by_motion(-45, 10)
    for side, _ in SIDES:
        angle[f"{side}_open"] = (says["open"] + 0.5 * says["flap"] * beat + cast.noise(8.0)).clamp(8, 95)
        angle[f"{side}_flap"] = (way + says["flap"] * beat.square() + cast.noise(10.0)).clamp(-80, 60)
    return angle, Backbone(yaw, pitch, of["length"])


def _half(of: dict[str, Tensor], station: Tensor) -> Tensor:
    """Half the depth of the body at a station, mm: deepest at 0.38, a thin root of the tail."""
    far = torch.where(station < 0.38, (0.38 - station) / 0.46, (station - 0.38) / 0.66)
    return 0.5 * of["depth"] * of["length"] * (1 - far.square()).clamp_min(0).sqrt()


def _caudal(
    at: dict[str, Tensor], axis: Backbone, of: dict[str, Tensor], angle: dict[str, Tensor], up: Tensor, down: Tensor
) -> None:
    """The tail fin on the axis's end; it lags behind by `lean` degrees."""
    lean = torch.deg2rad(angle["lean"])
    reach, side = of["tail"] * lean.cos(), of["tail"] * lean.sin() * of["length"]
    at["tail_base"] = axis.at(1)
    at["tail_upper"] = axis.at(1 + reach, side, up * of["length"] * angle["spread"])
    at["tail_lower"] = axis.at(1 + reach * (down / up).clamp(max=1), side, -down * of["length"] * angle["spread"])


def seahorse(count: int, generator: Generator, kinds: Kinds, motions: Kinds) -> Made:
    """Seahorses: upright, the head bent forward, the tail curls to the front.

    Args:
        kinds: species -> ranges. height: trunk and tail stretched, mm. Shares of it: trunk, belly (depth), head, snout,
            crown. curl: of the tail where it holds on, degrees.
        motions: what it does -> ranges. Degrees: lean (backwards), arch (of the trunk), twist (of the tail), look (turn
            of the head), roll. curl: share of the species' own.
    """
    cast = Cast(count, len(motions), generator)
    of, says = _individual(cast, kinds), manner(cast, motions)
    height, head = of["height"], of["head"] * of["height"]
    s, t, to = stations(TRUNK_PIECES)[None], stations(TAIL_PIECES)[None], cast.to_and_fro
    lean = (90 + says["lean"] + cast.noise(4.0))[:, None] + (says["arch"] + cast.noise(6.0))[:, None] * (s - 0.5)
    side = (says["twist"] * (0.3 + 0.7 * to) + cast.noise(6.0))[:, None]
    trunk = Backbone((0.3 * side * s).expand(-1, TRUNK_PIECES), lean, of["trunk"] * height)
    curl = of["curl"] * (says["curl"] + 0.2 * (to - 0.5)) + cast.noise(12.0)
    curl = curl[:, None] * t ** cast.by_motion(0.8, 2.2)[:, None]
    tail = Backbone(0.3 * side + side * t, lean[:, -1:] - 25 + 25 * t + curl, (1 - of["trunk"]) * height)
    at = {"neck": trunk.at(0), "vent": trunk.at(1)}
    at["dorsal_fin"] = trunk.at(0.8, up=0.55 * of["belly"] * height)
    at["belly"] = trunk.at(0.5, up=-0.62 * of["belly"] * height)
    for i, name in enumerate(("tail_1", "tail_2", "tail_3", "tail_4", "tail_tip")):
        at[name] = at["vent"] + tail.at((i + 1) / 5)
    nod = cast.by_motion(0, 60) + 0.3 * says["lean"] - 25 * (2 * cast.phase).sin().clamp(min=0)
    look = turn("y", says["look"] + cast.noise(4.0)) @ turn("x", nod + cast.noise(5.0))
    centre = apply(look, vector(0, 0.35 * head, 0.3 * head, head))
    at["coronet"] = centre + apply(look, vector(0, of["crown"] * height, -0.3 * head, head))
    at["snout"] = centre + apply(look, vector(0, -0.1 * head, 0.4 * head + of["snout"] * height, head))
    for side, sign in SIDES:
        at[f"{side}_eye"] = centre + apply(look, vector(sign * 0.3 * head, 0.1 * head, 0.2 * head, head))
    roll = turn("z", says["roll"])
    at = {name: apply(roll, point) for name, point in at.items()}
    return cast.made(at)


def octopus(count: int, generator: Generator, kinds: Kinds, motions: Kinds) -> Made:
    """Octopuses: a mantle above eight arms of equal plan, each bent along its length by itself.

    Args:
        kinds: species -> ranges. arm: length of an arm, mm. Shares of it: mantle (length), head (width).
        motions: what it does -> ranges in degrees. rise, curl, spiral: an arm's start above the horizontal, its bend
            upwards and sideways; wave: that runs round the arms; pulse: all arms close together; reach: an arm or
            two of the front lift; tilt, swing: of the mantle.
    """
    cast = Cast(count, len(motions), generator)
    of, says = _individual(cast, kinds), manner(cast, motions)
    head, to = of["head"] * of["arm"], cast.to_and_fro
    tilt = turn("y", says["swing"] + cast.noise(6.0)) @ turn("x", says["tilt"] + cast.noise(5.0))
    at = {"mouth": torch.zeros(count, 3, dtype=torch.float64)}
    at["mantle_tip"] = apply(tilt, vector(0, 0.5 * head + of["mantle"] * of["arm"], -0.3 * head, head))
    t, favoured = stations(ARM_PIECES)[None], cast.by_motion(-1, 1)
    for side, sign in SIDES:
        at[f"{side}_eye"] = apply(tilt, vector(sign * 0.5 * head, 0.75 * head, 0.25 * head, head))
        for i in range(4):
            lag, round_ = cast.phase - sign * (0.9 * i + 0.4), 22.5 + 45 * i
            rise = says["rise"] - says["pulse"] * to + says["wave"] * lag.sin() + cast.noise(11.0)
            if i < 2:
                rise = rise + says["reach"] * (0.7 + 1.2 * sign * favoured).clamp(0, 1) * to
            curl = says["curl"] + 0.8 * says["wave"] * (lag - 1).sin() + cast.noise(22.0)
            bend = says["spiral"] + says["wave"] * lag.cos() + cast.noise(22.0)
            yaw = 180 + (sign * round_ + cast.noise(8.0))[:, None] + bend[:, None] * (t - 0.15)
            pitch = -(rise.clamp(-88, 88)[:, None] + curl[:, None] * t)
            arm = Backbone(yaw, pitch, of["arm"] * cast.by_individual(0.9, 1.1) * (1.06 - 0.04 * i))
            out = (sign * math.sin(math.radians(round_)), 0, math.cos(math.radians(round_)))
            root = 0.4 * head[:, None] * vector(*out, head)
            for part, station in (("near", 0.3), ("mid", 0.65), ("tip", 1.0)):
                at[f"{side}_arm_{i + 1}_{part}"] = root + arm.at(station)
    return cast.made(at)
