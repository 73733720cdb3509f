"""The mean face of `face.toml`: points on its curves, and the fields of displacement that its pushes make there."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lfmlib.data.synthetic.draw import Number

SIDES = ("right", "left", "middle")
SEAM = 6.0  # mm beside the middle over which one half of the face gives way to the other
FLIP = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)

Push = Mapping[str, Any]


class Spot(NamedTuple):
    """A place on the face: a curve, the half of the face, and how far along the curve, 0 to 1."""

    curve: str
    side: str
    share: float

    @property
    def flip(self) -> Tensor:
        """What the right half is multiplied by to give this spot's half; [3]."""
        return FLIP if self.side == "left" else torch.ones(3, dtype=torch.float64)


@cache
def template() -> dict[str, Any]:
    """The content of `face.toml`."""
    with open(Path(__file__).with_name("face.toml"), "rb") as file:
        return tomllib.load(file)


def spots_of(read: Sequence[str]) -> dict[str, Spot]:
    """The places that a convention's keypoints stand for.

    Args:
        read: "group curve side share share ...": the group's next keypoints, which are called group_0, group_1, ...
    Raises:
        ValueError: an unknown curve or side, or a share outside 0..1; names the line.
    """
    found: dict[str, Spot] = {}
    count: dict[str, int] = {}
    for line in read:
        group, curve, side, *shares = line.split()
        if curve not in template()["curves"] or side not in SIDES or any(not 0 <= float(s) <= 1 for s in shares):
            raise ValueError(f"face: {line!r}: expected group, curve, {' or '.join(SIDES)}, and shares in 0..1")
        for share in shares:
            found[f"{group}_{count.get(group, 0)}"] = Spot(curve, side, float(share))
            count[group] = count.get(group, 0) + 1
    return found


def along(values: Sequence[Number] | Sequence[Sequence[Number]], share: float) -> Tensor:
    """What a curve's control points carry (a place, a weight) at `share` of the way; a Catmull-Rom spline."""
    v = torch.tensor(values, dtype=torch.float64)
    x = share * (len(v) - 1)
    i = min(int(x), len(v) - 2)
    t = x - i
    before = v[i - 1] if i > 0 else 2 * v[i] - v[i + 1]
    after = v[i + 2] if i + 2 < len(v) else 2 * v[i + 1] - v[i]
    a, b = (v[i + 1] - before) / 2, (after - v[i]) / 2
    return (1 + 2 * t) * (1 - t) ** 2 * v[i] + t * (1 - t) ** 2 * a + t**2 * (3 - 2 * t) * v[i + 1] - t**2 * (1 - t) * b


@cache
def places(spots: tuple[Spot, ...]) -> Tensor:
    """Where the spots are on the mean face, mm; [N, 3], not to be written to."""
    return torch.stack([along(template()["curves"][spot.curve], spot.share) * spot.flip for spot in spots])


def follows(spots: tuple[Spot, ...]) -> Tensor:
    """How much each spot follows the mandible, 0 to 1; [N]."""
    said = template()["mandible"]
    shares = [along(said[spot.curve], spot.share) if spot.curve in said else torch.tensor(0.0) for spot in spots]
    return torch.stack([share.double().clamp(0, 1) for share in shares])


def field(pushes: Sequence[Push], spots: tuple[Spot, ...], half: str) -> Tensor:
    """What some pushes do at the spots, in mm, when only one half of the face makes them.

    Args:
        half: "right" or "left".
    Returns:
        [N, 3].
    """
    flip = FLIP if half == "left" else torch.ones_like(FLIP)
    q = places(spots) * flip  # as if it were the right half
    total = torch.zeros_like(q)
    for push in pushes:
        centre = torch.tensor(push.get("at", (0, 0, 0)), dtype=torch.float64)
        offset = q - centre
        weight = _on(push, spots)
        if "reach" in push:
            weight = weight * (-offset.square().sum(1) / (2 * push["reach"] ** 2)).exp()
        if centre[0] == 0:  # the push of either half is the same one
            weight = weight * (0.5 - 0.5 * (q[:, 0] / SEAM).tanh())
        move = torch.tensor(push.get("move", (0, 0, 0)), dtype=torch.float64)
        move = move * flip if push.get("odd") else move
        stretch = torch.tensor(push.get("stretch", (0, 0, 0)), dtype=torch.float64)
        total += weight[:, None] * (move + stretch * offset)
    return total * flip


def _on(push: Push, spots: tuple[Spot, ...]) -> Tensor:
    groups = template()["groups"]
    curves = {curve for name in push.get("on", ()) for curve in groups.get(name, [name])}
    return torch.tensor([float(not curves or spot.curve in curves) for spot in spots], dtype=torch.float64)
