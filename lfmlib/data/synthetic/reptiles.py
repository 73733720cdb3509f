"""Snakes and four-legged sprawlers (lizards, crocodiles). y up, facing +z, the left side at +x."""

import math

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import SIDES, Cast, Kinds, Made, manner, traits
from lfmlib.data.synthetic.limbs import Backbone, apply, reach, stations, turn, vector

JOINTS = ("snout", "neck", *(f"body_{i}" for i in range(1, 13)), "tail_tip")  # of a snake
TRUNK_PIECES, TAIL_PIECES = 2, 3  # of a lizard


def snake(count: int, generator: Generator, kinds: Kinds, motions: Kinds) -> Made:
    """Snakes: a chain of segments of constant length, bent by waves, coils and a raised head.

    Args:
        kinds: species -> ranges. length: mm. head: share of it; taper: share by which the last segment is shorter than
            the first of the body. limber: of the waves, degrees.
        motions: what it does -> ranges. wave: share of limber; waves: on the body; turn: of the whole body, degrees;
            tight: how much more of that turn lies near the tail; raise: of the front, climb: of all, heave: waves up
            and down, degrees.
    """
    cast = Cast(count, len(motions), generator)
    of, says = traits(cast, kinds), manner(cast, motions)
    s = stations(len(JOINTS) - 1)[None]
    run, way = cast.phase[:, None], cast.by_motion(-1, 1).sign()[:, None]
    swell = (1 + cast.noise(0.25)[:, None] * (s - 0.5)).clamp_min(0)
    yaw = (of["limber"] * says["wave"])[:, None] * swell * (run - 2 * math.pi * says["waves"][:, None] * s).sin()
    coil = says["turn"] * (1 + 0.15 * cast.phase.sin())
    yaw = yaw + way * coil[:, None] * s ** says["tight"][:, None] + cast.noise(12.0)[:, None] * (s - 0.5)
    reared = (s / 0.12).clamp(max=1) * (1 - (s - 0.1) / 0.3).clamp(0, 1)
    pitch = (says["raise"] * (0.7 + 0.3 * cast.phase.cos()))[:, None] * reared + says["climb"][:, None]
    pitch = pitch + says["heave"][:, None] * (0.7 * run + 2 * math.pi * cast.by_motion(0.8, 1.8)[:, None] * s).sin()
    look = (cast.by_motion(-30, 30) + cast.noise(6.0))[:, None] * (s < 0.1)
    axis = Backbone(yaw + look, pitch + cast.noise(4.0)[:, None], of["length"])
    share = 1 - of["taper"][:, None] * s
    share = share / share[:, 1:].sum(1, keepdim=True) * (1 - of["head"])[:, None]
    share[:, 0] = of["head"]
    share = share * torch.stack([cast.by_individual(0.95, 1.05) for _ in JOINTS[1:]], 1)
    ends = (axis.back * (share * of["length"][:, None])[..., None]).cumsum(1)
    at = {JOINTS[0]: torch.zeros_like(ends[:, 0])} | {name: ends[:, i] for i, name in enumerate(JOINTS[1:])}
    return cast.made(at)


def lizard(count: int, generator: Generator, kinds: Kinds, motions: Kinds) -> Made:
    """Lizards and crocodiles: sprawling legs that step crosswise, trunk and tail wave from side to side.

    Args:
        kinds: species -> ranges. trunk: shoulder to hip, mm. Shares of it: head (neck to snout), neck, width, upper,
            lower and foot (segments of the fore leg), hind (of the hind leg over the fore leg), clear (height of the
            shoulder), tail. limber: bend of the trunk, degrees.
        motions: what it does -> ranges. stride, lift, sprawl (feet further out), trail (feet further back): shares of
            the leg; rise: share of clear; bend, wag: shares of limber; curl (of the tail to a side), lash (up), arch
            (of the trunk), nod, look (of the head): degrees.
    """
    cast = Cast(count, len(motions), generator)
    of, says = traits(cast, kinds), manner(cast, motions)
    of = {name: value * cast.by_individual(0.94, 1.06) for name, value in of.items()}
    long = of["trunk"]
    size = {name: of[name] * long for name in ("head", "neck", "width", "upper", "lower", "foot", "tail")}
    s, t = stations(TRUNK_PIECES)[None], stations(TAIL_PIECES)[None]
    bend = of["limber"] * says["bend"] * cast.phase.cos() + cast.by_motion(-1, 1) * says["curl"] * 0.3
    arch = says["arch"] + cast.noise(4.0)
    trunk = Backbone(1.6 * bend[:, None] * (1 - 2 * s), arch[:, None] * (1.2 - s), long)
    wag = (of["limber"] * says["wag"])[:, None] * (cast.phase[:, None] + 0.5 - 5.0 * t).cos() * (0.3 + t)
    side = (cast.by_motion(-1, 1) * says["curl"])[:, None] * t.square() + cast.noise(6.0)[:, None] * t
    drop = (says["lash"] + cast.noise(4.0))[:, None] * (1 - 1.4 * t) + 0.2 * arch[:, None]
    tail = Backbone(-bend[:, None] + wag + side, drop, size["tail"])
    at = {"chest": trunk.at(0), "trunk": trunk.at(0.5), "pelvis": trunk.at(1)}
    for name, station in (("tail_1", 1 / 3), ("tail_2", 2 / 3), ("tail_tip", 1.0)):
        at[name] = at["pelvis"] + tail.at(station)
    look = turn("y", says["look"] + bend + cast.noise(5.0)) @ turn("x", -says["nod"] - cast.noise(4.0))
    skull = at["chest"] + apply(look, vector(0, 0.1 * size["neck"], size["neck"], long))
    at["snout"] = skull + apply(look, vector(0, -0.05 * size["head"], size["head"], long))
    for sided, sign in SIDES:
        eye = vector(sign * 0.24 * size["head"], 0.16 * size["head"], 0.38 * size["head"], long)
        at[f"{sided}_eye"] = skull + apply(look, eye)
        for end in ("fore", "hind"):
            _leg(at, cast, trunk, (end, sided, sign), of, says, size)
    return cast.made(at)


def _leg(
    at: dict[str, Tensor],
    cast: Cast,
    trunk: Backbone,
    which: tuple[str, str, float],
    of: dict[str, Tensor],
    says: dict[str, Tensor],
    size: dict[str, Tensor],
) -> None:
    """Girdle, elbow or knee, wrist or ankle, toe. Elbows point back, knees to the front, both out and up."""
    end, side, sign = which
    fore = end == "fore"
    own = [size[name] * cast.by_individual(0.94, 1.06) for name in ("upper", "lower", "foot")]
    own = own if fore else [part * of["hind"] for part in own]
    whole = own[0] + own[1]
    station, width = (0.04, 0.5) if fore else (0.96, 0.4)
    root = trunk.at(station, sign * width * size["width"], -0.1 * size["width"])
    step = cast.phase + (0.0 if (sign > 0) == fore else math.pi)
    stride, lift = says["stride"] * whole, says["lift"] * whole
    swing = step.sin().clamp(min=0)
    out = sign * (0.62 + says["sprawl"]) * whole * (1 + cast.noise(0.06))
    ahead = (0.12 if fore else -0.05) * whole + stride * step.cos() + cast.noise(0.1) * whole - says["trail"] * whole
    clear = of["clear"] * says["rise"] * torch.maximum(size["width"], 0.5 * whole)
    ground = at["pelvis"][:, 1] - clear - root[:, 1] + lift * swing  # one floor for all feet, also under a raised chest
    foot = vector(out, ground, ahead, whole)
    pole = vector(sign * 0.8, 1.0, -0.9 if fore else 0.9, whole)
    bent, tip = reach(root, root + foot, own[0], own[1], pole)
    splay = turn("y", sign * (cast.by_motion(5, 45) + 60 * says["trail"]) + cast.noise(6.0))
    toe = splay @ turn("x", 8 + 35 * says["lift"] * swing + cast.noise(4.0))
    names = ("shoulder", "elbow", "wrist", "fore_toe") if fore else ("hip", "knee", "ankle", "hind_toe")
    points = (root, bent, tip, tip + apply(toe, vector(0, 0, own[2], whole)))
    at |= {f"{side}_{name}": point for name, point in zip(names, points, strict=True)}
