"""Everything that is wrong with a data file, at once: each broken rule of its layout, and what looks like a mistake."""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfmlib import rigs
from lfmlib.data import check_2d, doubts, formats, real
from lfmlib.rigs import Rig


class Report(NamedTuple):
    """What `examine` found.

    Args:
        content: what the file holds, in a line.
        problems: rules of the layout that it breaks: it cannot be used until they are mended.
        warnings: what is allowed, but looks like a mistake.
    """

    content: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def examine(path: str | os.PathLike) -> Report:
    """Checks a file of 3D shapes (.npz, as `real.load` reads it) or of 2D keypoints (.npz .csv .json, for `lfm lift`).

    A .npz file without problems is one that `real.load`, or `formats.read_keypoints`, accepts.

    Raises:
        FileNotFoundError: no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix.lower() in (".csv", ".json"):
        return _examine_2d(path, {}, [])
    problems: list[str] = []
    arrays = _arrays(path, problems)
    if "keypoints_2d" in arrays:
        return _examine_2d(path, arrays, problems)
    sound = dict(_well_formed(arrays, problems)) if arrays else {}
    problems += _broken_values(sound)
    problems += _broken_rig(path, sound)
    if not problems:  # whatever `real.load` may refuse besides
        try:
            real.load(path)
        except ValueError as error:
            problems.append(_short(error, path))
    whole = real.REQUIRED.keys() <= sound.keys()
    warnings = [*doubts.of_shapes(sound), *doubts.of_rig(path, sound)] if whole else []
    return Report(_content_3d(path, sound) if whole else "3D shapes", tuple(problems), tuple(warnings))


def _arrays(path: Path, problems: list[str]) -> dict[str, np.ndarray]:
    """Every array that can be read; the others are problems."""
    arrays = {}
    try:
        for name, array in real.members(path):
            if isinstance(array, str):
                problems.append(f"{name} {array}")
            else:
                arrays[name] = array
    except ValueError as error:
        problems.append(_short(error, path))
    return arrays


def _short(error: ValueError, path: Path) -> str:
    return re.sub(r"^(rig|shapes of) [^:]*: ", "", str(error).removeprefix(f"{path}: "))


def _well_formed(arrays: dict[str, np.ndarray], problems: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of the layout with the right type and shape; what is absent, unknown or malformed is a problem."""
    layout, sizes = real.REQUIRED | real.OPTIONAL, {}  # sizes: letter of an axis -> its length
    for name, (dtypes, shape) in real.REQUIRED.items():
        if name not in arrays:
            problems.append(f"{name} missing, expected {dtypes.split()[0]} [{', '.join(shape.split())}]")
    problems += _unexpected(arrays, (*layout,), f"optional ones are {', '.join(real.OPTIONAL)}")
    for name, (dtypes, shape) in layout.items():
        if name not in arrays:
            continue
        if fault := real.malformed(arrays[name], dtypes, shape, sizes):
            problems.append(f"{name} {fault}")
        else:
            yield name, arrays[name]


def _unexpected(arrays: dict[str, np.ndarray], layout: tuple[str, ...], there: str) -> Iterator[str]:
    unlike = []
    for name in arrays:
        if name not in layout and (near := difflib.get_close_matches(name, layout, n=1)):
            yield f"unexpected array {name}; did you mean {near[0]}?"
        elif name not in layout:
            unlike.append(name)
    if unlike:
        yield f"unexpected array {', '.join(unlike)}; {there}"


def _broken_values(sound: dict[str, np.ndarray]) -> Iterator[str]:
    """The rules of the values."""
    if "keypoints_3d" in sound:
        points, known = sound["keypoints_3d"], doubts.known_in(sound)
        if len(points) == 0:
            yield "no frame"
        if (bad := np.isinf(points).any((1, 2))).any():
            yield f"keypoints_3d has an infinite coordinate {doubts.where(bad)}"
        some, every = np.isnan(points).any(-1), np.isnan(points).all(-1)
        if (bad := (some != every) | (sound.get("visibility", ~some) == some)).any():
            rule = "all three coordinates are NaN where a keypoint is not visible, none where it is"
            yield f"keypoints_3d contradicts visibility {doubts.where(bad)}: {rule}"
        if (bad := known.sum(1) < 3).any():
            yield f"fewer than 3 known keypoints {doubts.where(bad)}: leave such frames out"
    for name in ("cad_view_visibility", "split"):
        values = sound.get(name, np.zeros(0))
        if (bad := ~np.isin(values, (0, 1))).any():
            yield f"{name} has a value other than 0 and 1 {doubts.where(bad.reshape(len(bad), -1).any(1))}"
    if "cad_view_visibility" in sound and not {"cad_view_azimuth", "cad_view_elevation"} <= sound.keys():
        yield "cad_view_visibility without cad_view_azimuth and cad_view_elevation"
    if {"split", "sequence_id"} <= sound.keys():
        train, test = (set(sound["sequence_id"][sound["split"] == s].tolist()) for s in (0, 1))
        if both := sorted(train & test):
            more = f" and {len(both) - 1} more" if len(both) > 1 else ""
            yield f"sequence {both[0]}{more} is in both splits: the test would measure what training saw"
    if "camera_R" in sound:
        R = sound["camera_R"].astype(np.float64)
        with np.errstate(all="ignore"):
            off = np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max((1, 2), initial=0)
            bad = ~(off < 1e-4) | ~(np.linalg.det(np.nan_to_num(R)) > 0)
        if bad.any():
            yield f"camera_R is not a rotation {doubts.where(bad)}"
    if "tag" in sound and str(sound["tag"]) not in ("real", "synthetic"):
        yield f"tag is {str(sound['tag'])!r}, expected 'real' or 'synthetic'"


def _broken_rig(path: Path, sound: dict[str, np.ndarray]) -> Iterator[str]:
    """What the file says of its keypoints: that of the registered rig, or of a possible one."""
    names = tuple(sound["keypoint_names"].tolist()) if "keypoint_names" in sound else None
    pairs = {field: [tuple(p) for p in sound[field].tolist()] for field in ("skeleton", "symmetry") if field in sound}
    if names is not None:
        for field, given in pairs.items():
            if any(not 0 <= i < len(names) for pair in given for i in pair):
                yield f"{field} has an index outside 0..{len(names) - 1}"
    name = real.RIG_OF.get(path.stem, path.stem)
    if name in rigs.names():
        rig = rigs.get(name)
        if names is not None and names != rig.keypoints:
            yield f"keypoint_names differ from the registered rig {name}: {', '.join(rig.keypoints)}"
        if "skeleton" in pairs and {frozenset(e) for e in pairs["skeleton"]} != {frozenset(e) for e in rig.edges}:
            yield f"skeleton differs from the edges of the registered rig {name}"
        return
    count = 3 if names is None else max(len(names), 3)
    stand_in = tuple(map(str, range(count)))
    said = {key: {key: sound[key].item()} for key in ("mm", "up") if key in sound}
    for field, given in pairs.items():
        inside = tuple(pair for pair in given if all(0 <= i < count for i in pair))
        said[field] = {"edges" if field == "skeleton" else "symmetry": inside}
    for fields in ({} if names is None else {"keypoints": names}, *said.values()):
        try:
            Rig(**{"name": name, "keypoints": stand_in, **fields})
        except ValueError as error:
            yield _short(error, path)


def _content_3d(path: Path, sound: dict[str, np.ndarray]) -> str:
    frames, n = sound["keypoints_3d"].shape[:2]
    name, test = real.RIG_OF.get(path.stem, path.stem), int((sound["split"] == 1).sum())
    unit = rigs.get(name).unit if name in rigs.names() else str(sound.get("unit", "not stated"))
    known = float(doubts.known_in(sound).mean()) if frames else 0.0
    return (
        f"3D shapes: {frames} frames of {n} keypoints, {frames - test} train and {test} test, "
        f"{len(set(sound['sequence_id'].tolist()))} sequences, {100 * known:.0f} % visible, unit {unit}"
    )


def _examine_2d(path: Path, arrays: dict[str, np.ndarray], problems: list[str]) -> Report:
    """Of a text file, without arrays, the first fault alone is told: each is found on reading it."""
    if arrays:
        problems += _unexpected(arrays, check_2d.LAYOUT, f"expected {', '.join(check_2d.LAYOUT)}")
        problems += check_2d.broken(arrays)
    if not problems:
        try:
            given = formats.read_keypoints(path)
        except ValueError as error:
            problems.append(_short(error, path))
    if problems:
        return Report("2D keypoints", tuple(problems), ())
    points, visible = given.points.numpy(), given.visible.numpy()
    frames, n = visible.shape
    content = f"2D keypoints: {frames} frames of {n} keypoints, {100 * visible.mean():.0f} % visible"
    return Report(content, (), tuple(doubts.of_pictures(points, visible, given.names)))
