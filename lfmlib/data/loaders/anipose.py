"""anipose: triangulated keypoints, one .csv per recording."""

import csv
from pathlib import Path

import numpy as np

from lfmlib.data.loaders import mocap
from lfmlib.data.loaders.base import Loader
from lfmlib.data.loaders.mocap import Recording
from lfmlib.data.shapes import ShapeSet
from lfmlib.rigs import Rig

AXES = ("x", "y", "z")
EXTRAS = ("error", "ncams", "score")
OTHER = {f"M_{i}{j}" for i in range(3) for j in range(3)} | {f"center_{i}" for i in range(3)} | {"fnum"}
CAMERAS = 2.0  # a point that fewer cameras saw was filled in by smoothing, not measured


def read(path: Path, every: int) -> dict[str, ShapeSet]:
    """Reads anipose's pose-3d files: columns NAME_x, NAME_y, NAME_z, and NAME_error, NAME_ncams, NAME_score.

    A keypoint is known where it has coordinates and, if the file counts them, at least 2 cameras saw it. Coordinates
    are as written, in the unit of the calibration board: in the project's own axes where it defines some (taken as z
    up), or else, where M is the identity, about those of the first camera (y down).

    Args:
        path: a file, or a folder that is searched with all below it.
        every: keep every so-manieth frame.
    Returns:
        One category, named after the path.
    Raises:
        FileNotFoundError: no such path, or no .csv file in it.
        ValueError: a column is wrong or absent, a line has another length, a value is no number; names the file.
    Source: lambdaloop/anipose, anipose/triangulate.py.
    """
    found = [_recording(file, every) for file in mocap.find(path, ".csv")]
    recordings = [recording for recording, _ in found]
    names = recordings[0].names
    up = "-y" if all(raw for _, raw in found) else "+z"
    try:
        rig = Rig(mocap.category(path, "anipose"), names, (), mocap.mirror_pairs(names), "calibration unit", None, up)
    except ValueError as error:
        raise ValueError(f"{recordings[0].path}: {error}") from error
    return {rig.name: mocap.merged(rig, recordings, path)}


def _recording(path: Path, every: int) -> tuple[Recording, bool]:
    """The recording, and whether it is in the axes of the calibration, for want of any of the project's own."""
    try:
        lines = [line for line in csv.reader(mocap.text_of(path).splitlines(), strict=True) if line]
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV file ({error})") from error
    header = lines[0]
    parts: dict[str, set[str]] = {}
    for column in header:
        name, _, field = column.rpartition("_")
        if column in OTHER:
            continue
        if not name or field not in AXES + EXTRAS:
            raise ValueError(f"{path}: column {column!r}, expected NAME_x, _y, _z, _error, _ncams or _score")
        parts.setdefault(name, set()).add(field)
    for name, fields in parts.items():
        if missing := [axis for axis in AXES if axis not in fields]:
            raise ValueError(f"{path}: column {name}_{missing[0]} is absent")
    if len(set(header)) != len(header) or len(lines) < 2:
        raise ValueError(f"{path}: {'a column is there twice' if len(lines) > 1 else 'no frame'}")
    values = np.empty((len(lines) - 1, len(header)))
    for i, line in enumerate(lines[1:]):
        if len(line) != len(header):
            raise ValueError(f"{path}: line {i + 2} has {len(line)} cells, the header has {len(header)}")
        try:
            values[i] = [float(cell) if cell else np.nan for cell in line]
        except ValueError as error:
            raise ValueError(f"{path}: line {i + 2}: {error}") from error
    if np.isinf(values).any():
        raise ValueError(f"{path}: line {int(np.isinf(values).any(1).argmax()) + 2} has an infinite value")
    at = {column: i for i, column in enumerate(header)}
    points = values[:, [[at[f"{name}_{axis}"] for axis in AXES] for name in parts]]
    known = np.isfinite(points).all(-1)
    for i, (name, fields) in enumerate(parts.items()):
        if "ncams" in fields:
            known[:, i] &= values[:, at[f"{name}_ncams"]] >= CAMERAS  # false for NaN
    M = [at[f"M_{i}{j}"] for i in range(3) for j in range(3) if f"M_{i}{j}" in at]
    raw = len(M) == 9 and bool((values[:, M] == np.eye(3).ravel()).all())
    return Recording(path, path.stem, tuple(parts), (), points[::every], known[::every]), raw


LOADER = Loader(
    name="anipose",
    title="anipose 3D keypoints (pose-3d/*.csv)",
    get="your own project; github.com/lambdaloop/anipose",
    licence="your own",
    expects="a .csv file of pose-3d, or a folder of them",
    gives="keypoints in the project's axes (z up), or the calibration's where it defines none (y down); unit of the "
    "calibration; every fifth file is test, of a lone one the last fifth",
    read=read,
)
