"""What looks like a mistake in a data file, though the layout allows it: frames, the whole set, the rig, the axes."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lfmlib import rigs
from lfmlib.data import real

UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4}
SCALE = 10.0  # a frame this much larger or smaller than the median one is likely in another unit
SAME = 1e-4  # of a frame's size: two frames that differ by less, up to a shift, are the same
# Words in keypoint names that tell top from bottom, whatever the creature or thing.
LOW = frozenset("foot feet ankle toe toes heel paw hoof claw wheel chin bottom lower".split())
HIGH = frozenset("head skull crown forehead roof brow top upper".split())
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def where(mask: np.ndarray) -> str:
    """Where a mask [F] or [F, N] holds: "in frame 3, keypoint 1", or how often and where first."""
    places = np.argwhere(mask)
    first = f"frame {places[0, 0]}" + (f", keypoint {places[0, 1]}" if mask.ndim == 2 else "")
    return f"in {first}" if len(places) == 1 else f"in {first} and {len(places) - 1} more"


def known_in(sound: dict[str, np.ndarray]) -> np.ndarray:
    """Which keypoints of `keypoints_3d` are known, [F, N]: as `visibility` says or, without it, the finite ones."""
    points = sound["keypoints_3d"]
    return sound["visibility"] if "visibility" in sound else np.isfinite(points).all(-1)


def of_frames(points: np.ndarray, known: np.ndarray, names: tuple[str, ...]) -> Iterator[str]:
    """What looks wrong in frames of either kind: a keypoint that is never there, no extent, mixed units.

    Args:
        points: [F, N, 2] or [F, N, 3], any unit; whatever stands where `known` is False.
        known: [F, N].
        names: of the N keypoints.
    Returns:
        A line for each doubt, with the first frame that it concerns.
    """
    offset, size = _size(points, known)
    if never := [name for name, seen in zip(names, known.any(0), strict=True) if not seen]:
        yield f"never visible: {', '.join(never)}"
    still = (size <= 1e-6 * max(float(np.abs(np.where(known[..., None], points, 0)).max(initial=0)), 1e-30)) & (
        known.sum(1) > 1
    )
    if still.any():
        yield f"all keypoints in one place {where(still)}"
    if len(size) > 2 and (middle := float(np.median(size[~still]) if (~still).any() else 0)) > 0:
        if (odd := ~still & ((size > SCALE * middle) | (size * SCALE < middle)) & (known.sum(1) > 2)).any():
            yield f"size differs from the usual one more than {SCALE:.0f} times {where(odd)}: units mixed?"


def of_shapes(sound: dict[str, np.ndarray]) -> Iterator[str]:
    """What looks wrong in a set of 3D shapes: its frames, flat or repeated shapes, and how it is split.

    Args:
        sound: at least the arrays of `real.REQUIRED`, in their types and shapes.
    """
    points, known, split = sound["keypoints_3d"], known_in(sound), sound["split"]
    if 0 in points.shape:
        return
    yield from of_frames(points, known, tuple(sound["keypoint_names"].tolist()))
    offset, size = _size(points, known)
    spread = np.ptp(offset, axis=1)
    if len(thin := np.flatnonzero((spread <= 1e-6 * size[:, None]).all(0))) and (size > 0).any():
        yield f"every shape is flat: {', '.join('xyz'[i] for i in thin)} does not vary: is this 2D data?"
    scaled = offset / np.maximum(size, 1e-30)[:, None, None] / SAME
    rounded = np.concatenate([np.rint(scaled).reshape(len(points), -1), known], 1).astype(np.int32)
    keys = np.array([hash(row.tobytes()) for row in rounded])
    again = (keys[1:] == keys[:-1]) & (sound["sequence_id"][1:] == sound["sequence_id"][:-1])
    if again.any():
        yield f"the same pose as in the frame before {where(np.concatenate([[False], again]))}: a frozen recording?"
    if (copied := (split == 1) & np.isin(keys, keys[split == 0])).any():
        yield f"test poses that are training poses, too, {where(copied)}: the test would measure memory"
    for value, word in ((1, "test"), (0, "training")):
        if not (split == value).any():
            result = "testing would use new views of the shapes that training saw" if value else "nothing to train on"
            yield f"no {word} frame (split {value}): {result}"


def of_rig(path: Path, sound: dict[str, np.ndarray]) -> Iterator[str]:
    """What looks wrong in what a file of 3D shapes says of its keypoints: unit, symmetry, and which way is up.

    Args:
        path: the file, whose name may be that of a registered rig.
        sound: at least the arrays of `real.REQUIRED`, in their types and shapes.
    """
    name, names = real.RIG_OF.get(path.stem, path.stem), tuple(sound["keypoint_names"].tolist())
    said = {key: sound[key].item() for key in ("unit", "mm", "up", "family") if key in sound}
    pairs = {tuple(sorted(pair)) for pair in sound.get("symmetry", np.zeros((0, 2), int)).tolist()}
    up = said.get("up", "+y")
    if name in rigs.names():
        rig = rigs.get(name)
        up = rig.up
        for key, value in said.items():
            if value != getattr(rig, key):
                yield f"{key} is {value!r}, but the file's name is that of a registered rig with {getattr(rig, key)!r}"
    else:
        if said.get("unit", "unit") == "unit":
            yield "unit missing: errors will be shown without one"
        elif said["unit"] in UNITS_MM and said.get("mm") != UNITS_MM[said["unit"]]:
            yield f"unit is {said['unit']!r}, but mm is {said.get('mm', 'missing')}, expected {UNITS_MM[said['unit']]}"
        if "up" not in said:
            yield "up missing: +y is taken to point away from the ground"
        if lone := [pair for pair in _sides(names) if tuple(sorted(pair)) not in pairs]:
            shown = ", ".join(f"{names[i]} - {names[j]}" for i, j in lone[:3])
            yield f"left and right by name, but no pair in symmetry: {shown}{' ...' if len(lone) > 3 else ''}"
    if up in rigs.UP_AXES and len(rise := _rise(sound["keypoints_3d"], known_in(sound), names)):
        axis, sign = "xyz".index(up[1]), 1 if up[0] == "+" else -1
        steepest = int(np.abs(rise).argmax())
        if sign * rise[axis] < 0.3 * abs(rise[steepest]):
            better = f"{'+' if rise[steepest] > 0 else '-'}{'xyz'[steepest]}"
            yield f"up is {up}, but from {_word(names, LOW)} to {_word(names, HIGH)} it goes along {better}"


def of_pictures(points: np.ndarray, visible: np.ndarray, names: tuple[str, ...] | None) -> Iterator[str]:
    """What looks wrong in 2D keypoints, or stands in the way of `lfm lift`.

    Args:
        points: x right, y down; [F, N, 2].
        visible: [F, N].
        names: of the N keypoints, or None where the file has none.
    """
    labels = names or tuple(map(str, range(visible.shape[1])))
    yield from of_frames(points, visible, labels)
    if (few := visible.sum(1) < 3).any():
        yield f"fewer than 3 visible keypoints {where(few)}: lfm lift needs --skip-unusable"
    if names is None:
        yield "no keypoint names: the order must be that of the category that is lifted"
    if len(rise := _rise(points, visible, labels)) and rise[1] > 0:
        yield f"{_word(labels, HIGH)} has the larger y than {_word(labels, LOW)}: if y points up, use --y-up"


def _sides(names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Pairs of names that differ in left and right, or in a lone L and R, alone."""
    at = {name: i for i, name in enumerate(names)}
    swaps = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"), (r"(?<![a-z])l(?![a-z])", "r"),
             (r"(?<![A-Z])L(?![a-z])", "R"), (r"(?<![A-Za-z])L(?=[A-Z])", "R"))  # fmt: skip
    found = {}
    for pattern, other in swaps:
        for name, i in at.items():
            swapped = re.sub(pattern, other, name)
            if swapped != name and swapped in at:
                found[i] = at[swapped]
    return sorted(found.items())


def _size(points: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [F, N, D] about the mean of the known ones, 0 elsewhere; and their RMS distance from it, [F]."""
    weight, count = known[..., None], np.maximum(known.sum(1), 1)
    points = np.where(weight & np.isfinite(points), points, 0).astype(np.float64)
    offset = np.where(weight, points - points.sum(1, keepdims=True) / count[:, None, None], 0)
    return offset, np.sqrt((offset**2).sum((1, 2)) / count)


def _rise(points: np.ndarray, known: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Mean vector from the keypoints named as low to those named as high; empty where no name tells."""
    offset, _ = _size(points, known)
    means = []
    for words, other in ((LOW, HIGH), (HIGH, LOW)):
        chosen = [i for i, name in enumerate(names) if _tokens(name) & words and not _tokens(name) & other]
        if not known[:, chosen].any():
            return np.zeros(0)
        means.append(offset[:, chosen][known[:, chosen]].mean(0))
    return means[1] - means[0]


def _word(names: tuple[str, ...], words: frozenset[str]) -> str:
    other = HIGH if words is LOW else LOW
    return next(name for name in names if _tokens(name) & words and not _tokens(name) & other)


def _tokens(name: str) -> frozenset[str]:
    return frozenset(word.lower() for word in WORD.findall(name))
