"""Rigs: what a category is (keypoint order, edges, symmetry, unit, world-up), and the registry of the known ones.

The registry is `rigs.toml` beside this file for measured data and the entries of `benchmark/*.toml` for the embedded
benchmark, so that adding a category is adding data, not code.
"""

import difflib
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

UP_AXES = ("+x", "-x", "+y", "-y", "+z", "-z")
Direction = tuple[tuple[int, ...], tuple[int, ...]]  # from the mean of some keypoints to the mean of others


@dataclass(frozen=True)
class Rig:
    """A category's keypoint order and what is known about it.

    Args:
        name: category.
        keypoints: names, in the order of the data's keypoint axis.
        edges: index pairs that are drawn as bones; a keypoint may have none.
        symmetry: (left, right) index pairs that a mirror swaps; keypoints in no pair lie on the mirror plane, or the
            category has none (a single hand).
        unit: word for the length unit of the data.
        mm: millimetres per unit; None where the unit is not metric.
        up: the data's axis that points away from the ground, one of +x -x +y -y +z -z.
        family: coarse group ("human", "vehicle", ...).
        handed: three directions in the shape that tell it from its mirror image: to its left, up and to its front. In
            a right-handed frame they have a positive triple product, whatever the pose; see `lfmlib.handedness`.
    Raises:
        ValueError: fewer than 3 keypoints, a repeated name, an index out of range, an edge from a keypoint to itself or
            given twice, a keypoint in two symmetry pairs, mm not positive, an unknown axis, or `handed` is not three
            directions between keypoints that differ; names the rig.
    """

    name: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()
    symmetry: tuple[tuple[int, int], ...] = ()
    unit: str = "unit"
    mm: float | None = None
    up: str = "+y"
    family: str = "other"
    handed: tuple[Direction, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.keypoints) < 3:
            raise ValueError(f"rig {self.name!r}: {len(self.keypoints)} keypoints, a camera needs at least 3")
        if repeated := sorted({k for k in self.keypoints if self.keypoints.count(k) > 1}):
            raise ValueError(f"rig {self.name!r}: keypoint names given twice: {', '.join(repeated)}")
        for field, pairs in (("edges", self.edges), ("symmetry", self.symmetry)):
            for pair in pairs:
                if len(pair) != 2 or not all(0 <= i < self.n for i in pair):
                    raise ValueError(f"rig {self.name!r}: {field} has {pair}, expected two indices in 0..{self.n - 1}")
                if pair[0] == pair[1]:
                    raise ValueError(f"rig {self.name!r}: {field} pairs keypoint {pair[0]} with itself")
        if len({frozenset(edge) for edge in self.edges}) != len(self.edges):
            raise ValueError(f"rig {self.name!r}: an edge is given twice")
        paired = [i for pair in self.symmetry for i in pair]
        if len(set(paired)) != len(paired):
            raise ValueError(f"rig {self.name!r}: a keypoint stands in two symmetry pairs")
        if self.mm is not None and not 0 < self.mm < float("inf"):
            raise ValueError(f"rig {self.name!r}: mm is {self.mm}, expected millimetres per unit > 0 or None")
        if self.up not in UP_AXES:
            raise ValueError(f"rig {self.name!r}: up is {self.up!r}, expected one of {' '.join(UP_AXES)}")
        if self.handed is not None and not (len(self.handed) == 3 and all(map(self._is_direction, self.handed))):
            raise ValueError(
                f"rig {self.name!r}: handed is {self.handed}, expected three pairs (from, to) of groups of keypoints, "
                f"none empty or overlapping, with indices in 0..{self.n - 1}"
            )

    def _is_direction(self, pair: Direction) -> bool:
        """Whether these are two groups of keypoints of the rig that have none in common."""
        if len(pair) != 2 or not pair[0] or not pair[1] or set(pair[0]) & set(pair[1]):
            return False
        return all(0 <= i < self.n for i in (*pair[0], *pair[1]))

    @property
    def n(self) -> int:
        """Number of keypoints, N."""
        return len(self.keypoints)

    @property
    def mirror(self) -> tuple[int, ...]:
        """Keypoint index that each keypoint becomes in a mirror image: swaps the symmetry pairs, keeps the others."""
        swapped = list(range(self.n))
        for left, right in self.symmetry:
            swapped[left], swapped[right] = right, left
        return tuple(swapped)


def build(name: str, keypoints: Sequence[str], bones: Iterable[str] = (), **fields: Any) -> Rig:
    """A rig written in words.

    Args:
        name: category.
        keypoints: names in order.
        bones: chains of keypoint names; "a b c" is the edges a-b and b-c.
        fields: unit, mm, up, family of the rig; `symmetry` pairs where they do not follow from the names: by default
            two keypoints are a mirror pair if their names differ in the word left or right alone.
    Raises:
        ValueError: a bone names an unknown keypoint, or `Rig` refuses; names the rig.
    """
    keypoints = tuple(keypoints)
    at = {keypoint: i for i, keypoint in enumerate(keypoints)}
    edges = []
    for chain in bones:
        joints = chain.split()
        if unknown := [joint for joint in joints if joint not in at]:
            raise ValueError(f"rig {name!r}: bone {chain!r} names {unknown[0]!r}, which is no keypoint of it")
        edges += [(at[a], at[b]) for a, b in zip(joints, joints[1:], strict=False)]
    pairs = fields.pop("symmetry", None)
    fields["symmetry"] = mirror_pairs(keypoints) if pairs is None else tuple((left, right) for left, right in pairs)
    return Rig(name=name, keypoints=keypoints, edges=tuple(edges), **fields)


def directions(name: str, keypoints: Sequence[str], lines: Sequence[str]) -> tuple[Direction, ...]:
    """Directions written in words: "right_hip > left_hip", several keypoints on a side stand for their mean.

    Raises:
        ValueError: a line has not two sides, or names an unknown keypoint; names the rig.
    """
    at = {keypoint: i for i, keypoint in enumerate(keypoints)}
    found = []
    for line in lines:
        sides = [side.split() for side in line.split(" > ")]
        if len(sides) != 2:
            raise ValueError(f"rig {name!r}: direction {line!r} has {len(sides)} sides, expected two, as in 'a b > c'")
        if unknown := [keypoint for side in sides for keypoint in side if keypoint not in at]:
            raise ValueError(f"rig {name!r}: direction {line!r} names {unknown[0]!r}, which is no keypoint of it")
        found.append(tuple(tuple(at[keypoint] for keypoint in side) for side in sides))
    return tuple(found)


def mirror_pairs(keypoints: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """(left, right) index pairs of the names that differ in the word left or right alone ("left_eye", "right_eye")."""
    words = [keypoint.split("_") for keypoint in keypoints]
    at = {tuple(word): i for i, word in enumerate(words)}
    swapped = [tuple("right" if part == "left" else part for part in word) for word in words]
    return tuple((i, at[other]) for i, other in enumerate(swapped) if "left" in words[i] and other in at)


@cache
def benchmark() -> dict[str, dict[str, Any]]:
    """Every entry of benchmark/*.toml as written, in the order of the files; what `like` names is filled in.

    An entry holds the rig (keypoints, bones, family, up), and for `lfmlib.data.synthetic` samples, maker, shape and
    surface. `like = "other"` takes over what the entry does not say itself.

    Raises:
        ValueError: an entry is given twice, or is like one that is not there or stands later; names it.
    """
    entries: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(__file__).with_name("benchmark").glob("*.toml")):
        with open(path, "rb") as file:
            found = tomllib.load(file)
        for name, own in found.items():
            if name in entries:
                raise ValueError(f"{path.name}: {name} is given twice")
            if (base := own.pop("like", None)) is not None and base not in entries:
                raise ValueError(f"{path.name}: {name} is like {base!r}, which is not there or stands later")
            entries[name] = entries.get(base, {}) | own
    return entries


@cache
def _registry() -> dict[str, Rig]:
    with open(Path(__file__).with_name("rigs.toml"), "rb") as file:
        measured = tomllib.load(file)
    rigs = {name: _rig(name, entry) for name, entry in measured.items()}
    for name, entry in benchmark().items():
        fields = {key: entry[key] for key in ("family", "up", "symmetry") if key in entry}
        rigs[name] = build(name, entry["keypoints"], entry.get("bones", ()), unit="mm", mm=1.0, **fields)
    return rigs


def _rig(name: str, entry: dict) -> Rig:
    pairs = {key: tuple(tuple(pair) for pair in entry.get(key, ())) for key in ("edges", "symmetry")}
    handed = directions(name, entry["keypoints"], entry["handed"]) if "handed" in entry else None
    return Rig(name=name, **{**entry, **pairs, "keypoints": tuple(entry["keypoints"]), "handed": handed})


def names() -> tuple[str, ...]:
    """Every registered category, in the registry's order."""
    return tuple(_registry())


def get(name: str) -> Rig:
    """The registered rig of a category.

    Raises:
        ValueError: no such category; the message offers the nearest names.
    """
    registry = _registry()
    if name not in registry:
        near = difflib.get_close_matches(name, registry, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(registry)}"
        raise ValueError(f"unknown category {name!r}; {hint}")
    return registry[name]
