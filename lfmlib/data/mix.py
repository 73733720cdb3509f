"""Which category each sample of a batch shows: balanced or by temperature, in buckets of rigs of about one size.

Rigs have from 7 to 83 keypoints; a batch padded to the largest would be mostly padding. So the categories are put into
buckets, and a batch comes from one bucket: none wastes more than a seventh.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

Generators = Generator | Sequence[Generator]  # several: each gives its share of the batch, as if asked alone

WASTE = 0.15  # largest share of padding in a bucket
GOLDEN = (math.sqrt(5) - 1) / 2


def uniform(
    generators: Generators, shape: tuple[int, ...], axis: int = 0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Numbers in [0, 1) on the generator's device; of several generators each fills its part of the axis."""
    if isinstance(generators, Generator):
        return torch.rand(shape, generator=generators, device=generators.device, dtype=dtype)
    if shape[axis] % len(generators):
        raise ValueError(f"{shape[axis]} numbers cannot be shared by {len(generators)} generators")
    share = (*shape[:axis], shape[axis] // len(generators), *shape[axis + 1 :])
    return torch.cat([torch.rand(share, generator=g, device=g.device, dtype=dtype) for g in generators], axis)


class Bucket(NamedTuple):
    """Categories that are batched together.

    Args:
        categories: indices, int64 [K].
        edges: running sum of their shares, the last one 1; float64 [K].
        keypoints: N of the largest.
        waste: expected share of padding.
    """

    categories: Tensor
    edges: Tensor
    keypoints: int
    waste: float

    def draw(self, count: int, generator: Generators) -> Tensor:
        """Category of each sample; int64 [B]."""
        if len(self.categories) == 1:
            return self.categories.expand(count)
        at = uniform(generator, (count,), dtype=torch.float64)
        return self.categories[torch.searchsorted(self.edges, at, right=True).clamp_max(len(self.edges) - 1)]


class Mix:
    """Shares of the categories and their buckets.

    Args:
        keypoints: N of each category.
        frames: shapes of each category.
        temperature: T: a category's share is proportional to frames^(1/T), 1 = as in the data; None: all alike
            ("balanced category sampling", Sec. 3.5), which is T without bound.
        waste: largest expected share of padding in a bucket; 1: one bucket.
    Attributes:
        shares: of each category; they add up to 1.
        buckets: what batches come from.
        whole: all categories in one bucket, all alike whatever the temperature: for statistics of every category.
    Raises:
        ValueError: temperature is not positive and finite, or waste is not in (0, 1].
    """

    def __init__(
        self,
        keypoints: Sequence[int],
        frames: Sequence[int],
        temperature: float | int | None = None,
        waste: float | int = WASTE,
        device: torch.device | str = "cpu",
    ) -> None:
        if temperature is not None and not 0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature!r}, expected a finite number > 0, or None for balanced")
        if not 0 < waste <= 1:
            raise ValueError(f"waste is {waste!r}, expected a share in (0, 1]")
        power = 0.0 if temperature is None else 1 / temperature
        largest = max(frames)  # shares relative to it: no power overflows
        shares = [(count / largest) ** power for count in frames]
        self.shares = [share / math.fsum(shares) for share in shares]
        order = sorted(range(len(keypoints)), key=lambda c: (keypoints[c], c))
        groups: list[list[int]] = []
        for c in order:
            if not groups or _waste([*groups[-1], c], keypoints, self.shares) > waste:
                groups.append([])
            groups[-1].append(c)
        self.buckets = tuple(_bucket(sorted(group), keypoints, self.shares, device) for group in groups)
        self.whole = _bucket(list(range(len(keypoints))), keypoints, [1.0] * len(keypoints), device)
        masses = [math.fsum(self.shares[c] for c in group) for group in groups]
        self.masses = [math.fsum(masses[: i + 1]) for i in range(len(masses))]

    def turn(self, number: int) -> Bucket:
        """The bucket of the batch with that number: each comes as often as its share says, spread evenly.

        No chance is in it (the golden ratio's multiples fill [0, 1) evenly), so that a run that is taken up again goes
        on with the same buckets and a GPU is never asked for a number.
        """
        at = (0.5 + number * GOLDEN) % 1.0
        return self.buckets[next((i for i, edge in enumerate(self.masses) if at < edge), len(self.buckets) - 1)]

    @property
    def waste(self) -> float:
        """Expected share of padding over all batches, by tokens."""
        tokens = padded = 0.0
        before = 0.0
        for bucket, edge in zip(self.buckets, self.masses, strict=True):
            padded += (edge - before) * bucket.keypoints
            tokens += (edge - before) * bucket.keypoints * (1 - bucket.waste)
            before = edge
        return 1 - tokens / padded


def _bucket(group: list[int], keypoints: Sequence[int], shares: Sequence[float], device: torch.device | str) -> Bucket:
    share = torch.tensor([shares[c] for c in group], dtype=torch.float64)
    most = max(keypoints[c] for c in group)
    edges = (share.cumsum(0) / share.sum()).to(device)
    return Bucket(torch.tensor(group, device=device), edges, most, _waste(group, keypoints, shares))


def _waste(group: Sequence[int], keypoints: Sequence[int], shares: Sequence[float]) -> float:
    """1 - (mean N of the group) / (its largest N), the mean weighted by the shares."""
    mass = math.fsum(shares[c] for c in group)
    mean = math.fsum(shares[c] * keypoints[c] for c in group) / mass if mass else 0.0
    return max(0.0, 1 - mean / max(keypoints[c] for c in group))
