"""Faces: one parametric face, read off in several keypoint conventions. They face +z, y is up, left is +x.

A face is the mean face of `face.toml` plus traits of its person, chance differences that are smooth over the skin, and
what muscles, mandible and lids do; the traits and their spreads are ours, no scan was used.
"""

import torch
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import Cast, Made, Number
from lfmlib.data.synthetic.face_template import Spot, field, follows, places, spots_of, template

PARTNER = {"upper_lid": "lower_lid", "upper_lip_inner": "lower_lip_inner"}
PARTNER |= {below: above for above, below in PARTNER.items()}
NEVER_NEARER = {"upper_lid": 0.8, "upper_lip_inner": 0.3}  # mm between lids and between lips that are shut
BELL = 1.7  # traits are uniform in +- this many standard deviations: a face off the chart is of no use


def face(count: int, generator: Generator, read: list[str], clip: int = 5, lopsided: Number = 0.25) -> Made:
    """People who make faces: each clip goes from rest towards one expression and back.

    Args:
        read: the convention's keypoints, see `face_template.spots_of`.
        clip: frames of a clip at most.
        lopsided: how much stronger one half of a face may be than the other, where the expression does not say.
    """
    said = template()
    cast = Cast(count, len(said["expressions"]), generator, clip)
    keypoints = spots_of(read)
    opposite = [_across(spot) for spot in keypoints.values() if spot.curve in PARTNER]
    spots = tuple(dict.fromkeys([*keypoints.values(), *opposite]))
    action, opened, closed = _expressions(cast, lopsided)
    moves = [field(pushes, spots, half) for pushes in said["actions"].values() for half in ("right", "left")]
    Y = _people(cast, spots)[:, cast.individual]  # [3 N, F]: what follows goes spot by spot
    Y = Y.addmm_(torch.stack(moves).flatten(1).T, action.T).view(len(spots), 3, count)
    _turn_mandible(Y, opened, follows(spots))
    _shut(Y, closed, spots)
    return cast.made({name: Y[spots.index(spot)].T for name, spot in keypoints.items()})


def _across(spot: Spot) -> Spot:
    """The place on the other lid or lip."""
    return Spot(PARTNER[spot.curve], spot.side, spot.share)


def _people(cast: Cast, spots: tuple[Spot, ...]) -> Tensor:
    """Each individual's face at rest, mm; [3 N, individuals]."""
    said, mean = template(), places(spots)
    basis = [field(pushes, spots, "right") + field(pushes, spots, "left") for pushes in said["identity"].values()]
    for centre in said["chance"]["at"]:
        for half in ("right", "left"):
            for axis in range(3):
                move = [said["chance"]["move"] * float(i == axis) for i in range(3)]
                basis.append(field([{"at": centre, "reach": said["chance"]["reach"], "move": move}], spots, half))
    people = int(cast.individual[-1]) + 1
    trait = torch.rand(people, len(basis), generator=cast.generator, dtype=torch.float64)
    return mean.view(-1, 1) + torch.stack(basis).flatten(1).T @ (BELL * (2 * trait - 1)).T


def _expressions(cast: Cast, lopsided: Number) -> tuple[Tensor, Tensor, Tensor]:
    """Strength of each action on the right and on the left, [F, 2 A]; of the mandible, [F]; of either lid, [F, 2]."""
    said = template()
    s = cast.to_and_fro
    uneven = torch.tensor([float(e.get("lopsided", lopsided)) for e in said["expressions"].values()])[cast.motion]
    strength = {}
    for name in (*said["actions"], "open", "close"):
        apex = [e.get(name, (0, 0)) for e in said["expressions"].values()]
        low, high = torch.tensor(apex, dtype=torch.float64)[cast.motion].unbind(1)
        idle = (cast.noise(0.08) if name != "open" else cast.noise(0.03)).abs()  # a face at rest is never quite still
        both = cast.by_motion(low, high) * s + idle
        skew = uneven * cast.by_motion(-1, 1)
        strength[name] = torch.stack([both * (1 + skew), both * (1 - skew)], 1)
    opened, closed = strength.pop("open").mean(1), strength.pop("close").clamp(0, 1)
    return torch.cat(list(strength.values()), 1), opened, closed


def _turn_mandible(Y: Tensor, opened: Tensor, share: Tensor) -> None:
    """Opens the mouth: the mandible turns about the line through its joints; `opened` [F], `share` [N]."""
    said = template()["mandible"]
    angle = torch.deg2rad(said["degrees"] * opened)
    c, s = angle.cos() - 1, angle.sin()
    for spot in share.nonzero().squeeze(1).tolist():
        y, z = Y[spot, 1] - said["axis"][1], Y[spot, 2] - said["axis"][2]
        Y[spot, 1] += share[spot] * (y * c - z * s)
        Y[spot, 2] += share[spot] * (y * s + z * c)


def _shut(Y: Tensor, closed: Tensor, spots: tuple[Spot, ...]) -> None:
    """Lowers the upper lids onto the lower ones, and keeps lids and lips from passing through each other."""
    for i, spot in enumerate(spots):
        lid = spot.curve == "upper_lid"
        if spot.curve not in NEVER_NEARER or spot.share == 0 or (lid and spot.share == 1):  # none, or their corner
            continue
        above, below = Y[i], Y[spots.index(_across(spot))]  # views
        if lid:
            above += closed[:, int(spot.side == "left")] * (below - above)
        lack = (NEVER_NEARER[spot.curve] - (above - below)[1]).clamp(min=0) / 2
        above[1] += lack
        below[1] -= lack
