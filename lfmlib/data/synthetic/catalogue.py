"""What is in the benchmark, and `generate`, which makes it: the same bytes for the same arguments, everywhere."""

import difflib
import hashlib
import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Generator

from lfmlib import rigs
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.surface import Surface
from lfmlib.data.synthetic.draw import Made
from lfmlib.rigs import Rig

VERSION = "synthetic 2"  # enters the fingerprint: raise it whenever any shape changes
CAP = 4000  # frames of a category where nobody asks for a number: the benchmark's own count, but not more than these
# Coordinates are whole multiples of 2^-BITS mm: far above float64 noise, so that threads and processors do not change a
# byte. An entry of small things asks for more bits.
BITS = 8
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Entry:
    """A category of the benchmark.

    Args:
        rig: its keypoints; lengths are in mm.
        samples: how many the benchmark has of it, with nothing capped.
        maker: "module.function" of this package.
        shape: the function's arguments.
        surface: what hides keypoints from view.
        bits: its coordinates are multiples of 2^-bits mm.
    """

    rig: Rig
    samples: int
    maker: str
    shape: dict[str, Any]
    surface: Surface
    bits: int = BITS


@cache
def _entries() -> dict[str, Entry]:
    made = {}
    for name, content in rigs.benchmark().items():
        rig = rigs.get(name)
        surface = Surface.of(rig, **content.get("surface", {}))
        made[name] = Entry(rig, content["samples"], content["maker"], content.get("shape", {}), surface,
                           content.get("bits", BITS))  # fmt: skip
    return made


def categories() -> tuple[str, ...]:
    """The categories that `generate` knows."""
    return tuple(_entries())


def entry(category: str) -> Entry:
    """What the benchmark says of a category.

    Raises:
        ValueError: no such category; the message offers the nearest names.
    """
    if category not in _entries():
        near = difflib.get_close_matches(category, categories(), n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(categories())}"
        raise ValueError(f"no synthetic category {category!r}; {hint}")
    return _entries()[category]


def cap(profile: str) -> int:
    """Most frames of a category that a profile uses: every one that there is in `full`, `CAP` elsewhere."""
    return max(said.samples for said in _entries().values()) if profile == "full" else CAP


def generate(category: str, count: int | None = None, seed: int = 0) -> ShapeSet:
    """Shapes of a synthetic category; the same bytes for the same arguments, in any process.

    Args:
        category: one of `categories()`.
        count: frames, at least 2; None: as many as the benchmark has, at most `CAP`.
        seed: of the draw; each category has a stream of its own.
    Returns:
        Shapes in mm. About a fifth of the individuals (people, animals, objects) are split 1.
    Raises:
        ValueError: unknown category, or `count` below 2.
    """
    said = entry(category)
    count = min(said.samples, CAP) if count is None else count
    if count < 2:
        raise ValueError(f"count is {count}, expected at least 2")
    digest = hashlib.sha256(f"{category}\n{seed}".encode()).digest()
    generator = Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)  # 63 bits: torch takes no more
    module, _, function = said.maker.partition(".")
    maker = getattr(importlib.import_module(f"lfmlib.data.synthetic.{module}"), function)
    made: Made = maker(count, generator, **said.shape)
    points, bits = torch.empty(count, said.rig.n, 3), torch.tensor(said.bits)
    for i, keypoint in enumerate(said.rig.keypoints):  # one at a time: a million frames would not fit twice
        points[:, i] = (made.at[keypoint].ldexp(bits).round().ldexp(-bits)).to(torch.float32)
    individuals = int(made.individual.max()) + 1
    tested = torch.tensor([], dtype=torch.int64)
    if individuals > 1:
        tested = torch.randperm(individuals, generator=generator)[: max(1, round(TEST_SHARE * individuals))]
    return ShapeSet(
        rig=said.rig,
        points=points,
        known=torch.ones(points.shape[:2], dtype=torch.bool),
        split=torch.isin(made.individual, tested).to(torch.int8),
        sequence=made.sequence,
        tag="synthetic",
        fingerprint=hashlib.sha256(f"{VERSION}\n{category}\n{count}\n{seed}".encode()).hexdigest(),
        surface=said.surface,
    )
