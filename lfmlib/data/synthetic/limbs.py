"""Where the parts of a body are: rotations, limbs of two bones, the ground below them, bent backbones.

Everything is float64 and batched over the frames F; angles are in degrees, lengths in mm. Where something says left,
up or ahead, these are +x, +y and +z.
"""

import torch
from torch import Tensor

from lfmlib.data.synthetic.draw import Number


def turn(axis: str, degrees: Tensor) -> Tensor:
    """Rotation about a coordinate axis, right-handed; [F, 3, 3]."""
    angle = torch.deg2rad(degrees)
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    R = torch.zeros(len(angle), 3, 3, dtype=angle.dtype)
    R[:, i, i] = 1
    R[:, j, j] = R[:, k, k] = angle.cos()
    R[:, k, j] = angle.sin()
    R[:, j, k] = -angle.sin()
    return R


def vector(x: Tensor | Number, y: Tensor | Number, z: Tensor | Number, like: Tensor) -> Tensor:
    """Stacks three coordinates, each a number or [F], to [F, 3]."""
    return torch.stack([torch.as_tensor(c, dtype=torch.float64).expand(len(like)) for c in (x, y, z)], 1)


def apply(R: Tensor, offset: Tensor) -> Tensor:
    """R @ offset per frame; [F, 3]."""
    return (R * offset[:, None, :]).sum(-1)


def heading(frame: Tensor) -> Tensor:
    """Where a frame's z axis points, seen from above: degrees to the left of +z, [F]."""
    return torch.rad2deg(torch.atan2(-frame[:, 2, 0], frame[:, 0, 0]))


def slope(frame: Tensor) -> Tensor:
    """How far a frame's z axis points upwards; degrees, [F]."""
    return torch.rad2deg(frame[:, 1, 2].clamp(-1, 1).asin())


def level_axes(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors to the left of a frame and ahead of it, both level with the ground; [F, 3] each."""
    left = frame[:, :, 0] * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    left = left / left.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    return left, torch.stack([-left[:, 2], left[:, 1], left[:, 0]], 1)


def lifted(at: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same points, so much higher that none is below the ground (y = 0)."""
    lowest = torch.stack([point[:, 1] for point in at.values()]).amin(0)
    return {name: point + vector(0, (-lowest).clamp_min(0), 0, lowest) for name, point in at.items()}


def laid(start: Tensor, step: Tensor, floor: Tensor) -> Tensor:
    """End of a stiff part from `start`: a `step` away, laid on the ground where it would go below `floor` (y, [F])."""
    length = step.norm(dim=-1)
    rise = torch.minimum(torch.maximum(step[:, 1], floor - start[:, 1]), length)
    level = step[:, [0, 2]]
    level = level / level.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    level = level * (length**2 - rise**2).clamp_min(0).sqrt()[:, None]
    return start + torch.stack([level[:, 0], rise, level[:, 1]], 1)


def reach(root: Tensor, target: Tensor, upper: Tensor, lower: Tensor, pole: Tensor) -> tuple[Tensor, Tensor]:
    """Two bones from a root towards a target: the joint between them and their end, [F, 3] each.

    Args:
        root, target: [F, 3]; a target out of reach is reached for as far as the bones go.
        upper, lower: lengths; [F].
        pole: the side on which the joint lies, any length; [F, 3] or [3].
    """
    span = target - root
    far = span.norm(dim=-1).clamp_min(1e-9)
    along = span / far[:, None]
    far = torch.minimum(torch.maximum(far, 1.02 * (upper - lower).abs()), 0.995 * (upper + lower))
    forth = (far.square() + upper.square() - lower.square()) / (2 * far)
    return _joint(root, along, forth[:, None], upper[:, None], pole), root + far[:, None] * along


def step(
    root: Tensor,
    foot: Tensor,
    ankle: Tensor,
    upper: Tensor,
    lower: Tensor,
    pole: Tensor,
    least: Number | Tensor,
    most: Number,
) -> tuple[Tensor, Tensor, Tensor]:
    """Two bones and a foot from a root to a place on the ground; what is out of reach keeps its height.

    Args:
        root: shoulder or hip, [F, 3].
        foot: where the toes should be, [F, 3].
        ankle: from the toes to the ankle, [F, 3].
        upper, lower: lengths; [F].
        pole: direction to which the knee or elbow points, any length, [F, 3].
        least: smallest angle between the two bones, degrees; one or [F].
        most: largest; a place that is too near or out of reach is moved level with the ground, as far as it needs.
    Returns:
        Knee, ankle, toes; [F, 3] each.
    """
    span = foot + ankle - root
    a, b = upper[:, None], lower[:, None]
    angles = (torch.deg2rad(torch.as_tensor(angle, dtype=a.dtype)).reshape(-1, 1) for angle in (least, most))
    near, far = ((a**2 + b**2 - 2 * a * b * angle.cos()).sqrt() for angle in angles)
    rise, level = span[:, 1:2], span[:, [0, 2]]
    rise = torch.minimum(rise.abs(), far) * rise.sign()
    aside = level.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    closest, furthest = ((bound**2 - rise**2).clamp_min(0).sqrt() for bound in (near, far))
    level = level * (torch.minimum(torch.maximum(aside, closest), furthest) / aside)
    span = torch.cat([level[:, :1], rise, level[:, 1:]], 1)
    length = span.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    along = span / length
    end = root + length * along
    return _joint(root, along, (a**2 - b**2 + length**2) / (2 * length), a, pole), end, end - ankle


def _joint(root: Tensor, along: Tensor, forth: Tensor, upper: Tensor, pole: Tensor) -> Tensor:
    """The end of a bone from `root` that goes `forth` (mm, [F, 1]) along a unit vector, and else towards the pole."""
    aside = pole - (pole * along).sum(-1, keepdim=True) * along
    aside = aside / aside.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    return root + forth * along + (upper**2 - forth**2).clamp_min(0).sqrt() * aside


class Backbone:
    """A bent axis of straight pieces of equal length, from the front end at the origin backwards; points beside it.

    Args:
        yaw: heading of each piece, degrees to the left of +z; [F, K].
        pitch: of each piece, degrees nose up; [F, K].
        length: of the whole axis, mm; [F].
    """

    def __init__(self, yaw: Tensor, pitch: Tensor, length: Tensor) -> None:
        yaw, pitch = torch.deg2rad(yaw), torch.deg2rad(pitch)
        self.pieces, self.step = yaw.shape[1], length / yaw.shape[1]
        flat = pitch.cos()
        self.back = -torch.stack([yaw.sin() * flat, pitch.sin(), yaw.cos() * flat], -1)  # [F, K, 3]
        self.up = torch.stack([-yaw.sin() * pitch.sin(), flat, -yaw.cos() * pitch.sin()], -1)
        self.left = torch.stack([yaw.cos(), torch.zeros_like(yaw), -yaw.sin()], -1)
        ends = (self.back * self.step[:, None, None]).cumsum(1)
        self.nodes = torch.cat([torch.zeros_like(ends[:, :1]), ends], 1)  # [F, K + 1, 3]

    def at(self, station: Tensor | Number, left: Tensor | Number = 0, up: Tensor | Number = 0) -> Tensor:
        """The point at a share of the length from the front, and so many mm to the left and up from there; [F, 3]."""
        where = torch.as_tensor(station, dtype=torch.float64).expand(len(self.step)) * self.pieces
        piece = where.long().clamp(0, self.pieces - 1)
        row = torch.arange(len(piece))
        beyond = ((where - piece) * self.step)[:, None]
        point = self.nodes[row, piece] + beyond * self.back[row, piece]
        for axis, shift in ((self.left, left), (self.up, up)):
            point = point + torch.as_tensor(shift, dtype=torch.float64).reshape(-1, 1) * axis[row, piece]
        return point


def stations(pieces: int) -> Tensor:
    """Middle of each piece as a share of the axis; [K]."""
    return (torch.arange(pieces, dtype=torch.float64) + 0.5) / pieces


def pair(
    at: dict[str, Tensor],
    name: str,
    x: Tensor | Number,
    y: Tensor | Number,
    z: Tensor | Number,
    left: Number = 1.0,
) -> None:
    """Adds a keypoint of each side, one the exact mirror image of the other.

    Args:
        at: where to add them.
        name: of both, "{}" in place of the side.
        x: distance from the mirror plane in mm; this, y and z are numbers or [F], at least one of them [F].
        left: 1 where the left side is at +x, -1 where it is at -x.
    """
    like = next(c for c in (x, y, z) if isinstance(c, Tensor))
    for side, sign in (("left", left), ("right", -left)):
        at[name.format(side)] = vector(sign * x, y, z, like)
