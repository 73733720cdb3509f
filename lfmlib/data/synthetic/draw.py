"""Drawing a family: who does what in each frame, and the lengths and angles of individuals, clips and sub-types.

Everything is float64 and batched over the frames F; angles are in degrees, lengths in mm.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

Number = float | int
Range = tuple[Number, Number] | list[Number]
Ranges = dict[str, Range]
Kinds = dict[str, Ranges]  # sub-type, or motion -> named ranges (low, high)

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

    @property
    def to_and_fro(self) -> Tensor:
        """From 0 to 1 and back in each cycle of the phase; [F]."""
        return 0.5 - 0.5 * self.phase.cos()

    def made(self, at: dict[str, Tensor]) -> Made:
        """The result."""
        return Made(at, self.sequence, self.individual)


class SubTypes:
    """Individuals of several sub-types: draws from the ranges that hold for each one's own.

    A subclass sets `ends` (see `ends_of`), `kind`, the sub-type of each frame (int64 [F]), and `between`, a draw per
    individual from a common range (low, high -> [F]).
    """

    ends: dict[str, Tensor]
    kind: Tensor
    between: Callable[..., Tensor]

    def pick(self, name: str) -> Tensor:
        """A draw per individual from its sub-type's range of that name; [F]."""
        return self.between(*self.ends[name][self.kind].unbind(1))

    def picks(self, *names: str) -> list[Tensor]:
        """`pick` of each of these names, or of all, in the order of the first sub-type."""
        return [self.pick(name) for name in names or self.ends]

    def chance(self, probability: Number) -> Tensor:
        """1.0 with that probability, else 0.0, per individual; [F]."""
        return (self.between(0, 1) < probability).double()


class Stock(SubTypes, Cast):
    """Individuals of several sub-types in motion.

    Args:
        kinds: sub-type -> named ranges; every sub-type has the same names.
        clips: movements of each individual.
    """

    between = Cast.by_individual

    def __init__(self, count: int, generator: Generator, kinds: Kinds, clips: int = 2, longest: int = 8) -> None:
        super().__init__(count, clips, generator, longest)
        self.ends = ends_of(kinds)
        self.kind = self.by_individual(0, len(kinds)).long()

    def swing(self, low: Number | Tensor, high: Number | Tensor) -> Tensor:
        """To and fro between two draws per clip; [F]."""
        start, end = self.by_motion(low, high), self.by_motion(low, high)
        return start + (end - start) * (0.5 - 0.5 * (self.phase + self.by_motion(0, 1.5)).cos())


class Instances(SubTypes):
    """Rigid things: every frame is an individual of its own, of one of several sub-types.

    Args:
        count: frames.
        kinds: sub-type -> named ranges; every sub-type has the same names.
    """

    def __init__(self, count: int, generator: Generator, kinds: Kinds) -> None:
        self.count, self.generator = count, generator
        self.ends = ends_of(kinds)
        self.kind = torch.randint(len(kinds), (count,), generator=generator)

    def between(self, low: Number | Tensor, high: Number | Tensor) -> Tensor:
        """A draw per thing from a common range; [F]."""
        return low + (high - low) * torch.rand(self.count, generator=self.generator, dtype=torch.float64)

    def made(self, at: dict[str, Tensor]) -> Made:
        """The result, each thing a sequence and an individual of its own."""
        return Made(at, torch.arange(self.count), torch.arange(self.count))


def ends_of(kinds: Kinds) -> dict[str, Tensor]:
    """Low and high end of each named range, of every sub-type; float64 [K, 2] by name.

    Raises:
        ValueError: a sub-type lacks a range that another one has; names both.
    """
    names = next(iter(kinds.values()))
    for kind, ranges in kinds.items():
        if wrong := set(ranges) ^ set(names):
            raise ValueError(f"sub-type {kind!r}: range {min(wrong)!r} is not in every sub-type")
    return {name: torch.tensor([ranges[name] for ranges in kinds.values()], dtype=torch.float64) for name in names}


def traits(cast: Cast, kinds: Kinds, kind: Tensor | None = None) -> dict[str, Tensor]:
    """What each individual is like: a draw from each range of its sub-type, [F] by name.

    Args:
        kind: index of the sub-type in each frame, int64 [F]; None: individuals take turns.
    """
    kind = cast.individual % len(kinds) if kind is None else kind
    return {name: cast.by_individual(*ends[kind].unbind(1)) for name, ends in ends_of(kinds).items()}


def manner(cast: Cast, motions: Kinds) -> dict[str, Tensor]:
    """How each clip moves: a draw from each range of its motion, [F] by name."""
    return {name: cast.by_motion(*ends[cast.motion].unbind(1)) for name, ends in ends_of(motions).items()}


def act(cast: Cast, motions: Iterable[Callable[[Cast], dict[str, Tensor]]]) -> dict[str, Tensor]:
    """What each frame's own motion says: name -> [F], 0 where a motion leaves a name out."""
    said: dict[str, Tensor] = {}
    for number, motion in enumerate(motions):
        now = cast.motion == number
        for name, value in motion(cast).items():
            said[name] = torch.where(now, value, said.get(name, torch.zeros_like(value)))
    return said


def chosen(options: Iterable[Tensor], which: Tensor) -> Tensor:
    """Of several values per frame the one that `which` (int64 [F]) names; [F, ...]."""
    return torch.stack(list(options))[which, torch.arange(len(which))]
