"""Tools of the family functions: who does what in each frame, draws of lengths and angles, rotations of bones.

Everything is float64 and batched over the frames F; angles are in degrees, lengths in mm.
"""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

Number = float | int
Range = tuple[Number, Number] | list[Number]

SIDES = (("left", 1.0), ("right", -1.0))  # +x is the left side of a body that faces +z


class Made(NamedTuple):
    """What a family function returns.

    Args:
        at: keypoint name -> positions in mm, [F, 3]; further names do no harm.
        sequence: motion clip (or single object) that a frame belongs to; int64 [F].
        individual: person, animal or object that a frame shows; no individual is in both splits; int64 [F].
    """

    at: dict[str, Tensor]
    sequence: Tensor
    individual: Tensor


class Cast:
    """Individuals in motion: who moves how in each frame, and draws that are constant within an individual or a clip.

    Sequence s is motion s % M of individual s // M. Draws are uniform in [low, high], float64 [F].

    Args:
        count: frames.
        motions: how many kinds of motion, M.
        longest: frames of a sequence, where there are enough frames for some 50 sequences.
    """

    def __init__(self, count: int, motions: int, generator: Generator, longest: int = 25) -> None:
        length = min(longest, max(1, count // 50))
        self.count, self.generator = count, generator
        self.sequence = torch.arange(count) // length
        self.individual, self.motion = self.sequence // motions, self.sequence % motions
        step = (torch.arange(count) % length) / length
        self.phase = self.by_motion(0, 2 * math.pi) + 2 * math.pi * step * self.by_motion(0.6, 1.6)

    def _draw(self, group: Tensor, low: Number | Tensor, high: Number | Tensor) -> Tensor:
        u = torch.rand(int(group[-1]) + 1, generator=self.generator, dtype=torch.float64)
        return low + (high - low) * u[group]

    def by_motion(self, low: Number | Tensor, high: Number | Tensor) -> Tensor:
        """A draw per sequence."""
        return self._draw(self.sequence, low, high)

    def by_individual(self, low: Number | Tensor, high: Number | Tensor) -> Tensor:
        """A draw per individual."""
        return self._draw(self.individual, low, high)

    def noise(self, spread: Number) -> Tensor:
        """A slow wander: a constant and one oscillation per sequence, about `spread` in standard deviation."""
        swing = (self.phase * self.by_motion(0.5, 1.5) + self.by_motion(0, 2 * math.pi)).sin()
        return spread * (self.by_motion(-1.5, 1.5) + 0.6 * swing)


class Instances:
    """Rigid things: every frame is an individual of its own, of one of several sub-types.

    Args:
        count: frames.
        kinds: sub-type -> named ranges (low, high); every sub-type has the same names.
    Raises:
        ValueError: a sub-type lacks a range that another one has; names both.
    """

    def __init__(self, count: int, generator: Generator, kinds: dict[str, dict[str, Range]]) -> None:
        self.count, self.generator = count, generator
        self.names = tuple(next(iter(kinds.values())))
        self.kinds = tuple(kinds)
        for kind, ranges in kinds.items():
            if wrong := set(ranges) ^ set(self.names):
                raise ValueError(f"sub-type {kind!r}: range {min(wrong)!r} is not in every sub-type")
        self.table = torch.tensor([[kind[name] for name in self.names] for kind in kinds.values()], dtype=torch.float64)
        self.kind = torch.randint(len(kinds), (count,), generator=generator)

    def between(self, low: Number | Tensor, high: Number | Tensor) -> Tensor:
        """A draw per thing from a common range; [F]."""
        return low + (high - low) * torch.rand(self.count, generator=self.generator, dtype=torch.float64)

    def pick(self, name: str) -> Tensor:
        """A draw per thing from its sub-type's range of that name; [F]."""
        return self.between(*self.table[self.kind, self.names.index(name)].unbind(1))

    def chance(self, probability: Number) -> Tensor:
        """1.0 with that probability, else 0.0; [F]."""
        return (self.between(0, 1) < probability).double()

    def made(self, at: dict[str, Tensor]) -> Made:
        """The result, each thing a sequence and an individual of its own."""
        return Made(at, torch.arange(self.count), torch.arange(self.count))


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
