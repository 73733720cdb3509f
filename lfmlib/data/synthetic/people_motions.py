"""How people move: joint angles of walking, running, reaching, sitting and waving, within the limits of the joints."""

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor

from lfmlib.data.synthetic.draw import SIDES, Cast, Number, Range, act

# Degrees; the name's last word decides, left_ and right_ share a range.
LIMITS = {
    "pitch": (-20, 60), "roll": (-15, 15), "bend": (-25, 85), "lean": (-30, 30), "twist": (-45, 45),
    "nod": (-40, 50), "turn": (-65, 65), "hipflex": (-30, 120), "hipabd": (-18, 45), "hiprot": (-35, 40),
    "knee": (0, 145), "armflex": (-50, 175), "armabd": (-8, 150), "armrot": (-70, 85), "elbow": (2, 145),
    "ankle": (-35, 25), "toe": (-45, 5),
}  # fmt: skip


def body_angles(cast: Cast) -> dict[str, Tensor]:
    """Joint angles of every frame in degrees, [F] each: the frame's motion, a wander on top, cut to `LIMITS`."""
    sided = [name for name in LIMITS if name.startswith(("hip", "knee", "ankle", "toe", "arm", "elbow"))]
    names = [name for name in LIMITS if name not in sided] + [f"{side}_{name}" for side, _ in SIDES for name in sided]
    angle = {name: cast.noise(9.0 if "arm" in name else 4.0) for name in names}
    for side, _ in SIDES:
        angle[f"{side}_elbow"] = angle[f"{side}_elbow"] + 15  # a relaxed arm is not straight
    said = act(cast, MOTIONS.values())
    return {name: (wander + said.get(name, 0)).clamp(*LIMITS[name.split("_")[-1]]) for name, wander in angle.items()}


def stride(cast: Cast, swing: Range, lift: Range, elbow: Range, bend: Number) -> dict[str, Tensor]:
    """Walking and running: legs in antiphase, the knee folds while its hip swings forward, arms against the legs."""
    reach, fold, tuck = cast.by_motion(*swing), cast.by_motion(*lift), cast.by_motion(*elbow)
    arm, lag = cast.by_motion(0.4, 1.2), cast.by_motion(0.2, 0.7)
    out = {"bend": cast.by_motion(0, 2 * bend), "twist": 0.3 * reach * cast.phase.sin()}
    for side, sign in SIDES:
        wave = sign * cast.phase.sin()
        out[f"{side}_hipflex"] = 0.3 * reach + reach * wave
        out[f"{side}_knee"] = 6 + fold * (0.5 + 0.5 * sign * (cast.phase + lag).cos()).square()
        off = (-sign * (cast.phase + lag).sin()).clamp(min=0)  # the foot that pushes off stands on its ball
        out[f"{side}_ankle"] = -0.6 * reach * off
        out[f"{side}_toe"] = -0.8 * reach * off
        out[f"{side}_armflex"] = -arm * reach * wave
        out[f"{side}_elbow"] = tuck - 0.4 * arm * reach * wave
    return out


def reaching(cast: Cast) -> dict[str, Tensor]:
    """One hand or both go out to a target between the floor and overhead and come back; the trunk and knees help."""
    out_and_back = cast.to_and_fro
    stoop = cast.by_motion(-40, 70).clamp(min=0) * out_and_back
    squat = cast.by_motion(-50, 70).clamp(min=0) * out_and_back
    flex, arms = cast.by_motion(25, 165), cast.by_motion(-1, 1)
    out = {"bend": stoop, "twist": -35 * arms * out_and_back, "pitch": stoop / 3, "turn": -20 * arms}
    for side, sign in SIDES:
        part = (0.7 + sign * arms).clamp(0, 1) * out_and_back
        out[f"{side}_armflex"] = flex * part
        out[f"{side}_armabd"] = cast.by_motion(-10, 80) * part
        out[f"{side}_elbow"] = cast.by_motion(0, 90) * (1 - out_and_back)
        out[f"{side}_hipflex"] = squat + stoop / 3
        out[f"{side}_knee"] = 1.6 * squat
        out[f"{side}_hipabd"] = cast.by_motion(0, 20)
    return out


def sitting(cast: Cast) -> dict[str, Tensor]:
    """Down to a seat and up again, the trunk forward on the way; on the seat: slouch, stretched legs, busy hands."""
    down = (0.45 - 0.65 * cast.phase.cos()).clamp(0, 1)
    depth = cast.by_motion(60, 95) * down
    bend = 35 * (math.pi * down).sin() + cast.by_motion(-10, 35) * down
    out = {"bend": bend, "twist": cast.by_motion(-20, 20) * down}
    for side, _ in SIDES:
        out[f"{side}_hipflex"] = depth
        out[f"{side}_knee"] = depth * cast.by_motion(0.35, 1.2)
        out[f"{side}_hipabd"] = cast.by_motion(-8, 28) * down
        out[f"{side}_armflex"] = cast.by_motion(-10, 70) * down
        out[f"{side}_armrot"] = cast.by_motion(-20, 60) * down
        out[f"{side}_elbow"] = cast.by_motion(5, 110) * down
    return out


def waving(cast: Cast) -> dict[str, Tensor]:
    """A raised arm (at times both) swings the forearm; the weight rests on one leg."""
    arms, weight = cast.by_motion(-1, 1), cast.by_motion(-1, 1)
    out = {"lean": -8 * weight, "roll": 6 * weight, "turn": 30 * cast.by_motion(-1, 1)}
    for side, sign in SIDES:
        part = (0.6 + 2 * sign * arms).clamp(0, 1)
        out[f"{side}_armabd"] = part * (cast.by_motion(40, 140) + 12 * cast.phase.sin())
        out[f"{side}_armflex"] = part * cast.by_motion(-10, 70)
        out[f"{side}_armrot"] = part * (cast.by_motion(-40, 70) + 25 * (2 * cast.phase).cos())
        out[f"{side}_elbow"] = part * (cast.by_motion(20, 100) + 35 * (2 * cast.phase).sin())
        out[f"{side}_knee"] = (12 * sign * weight).clamp(min=0)
        out[f"{side}_hipflex"] = (8 * sign * weight).clamp(min=0)
    return out


MOTIONS: dict[str, Callable[[Cast], dict[str, Tensor]]] = {
    "walk": partial(stride, swing=(16, 32), lift=(40, 62), elbow=(0, 35), bend=5.0),
    "run": partial(stride, swing=(28, 52), lift=(75, 125), elbow=(55, 100), bend=10.0),
    "reach": reaching,
    "sit": sitting,
    "wave": waving,
}
