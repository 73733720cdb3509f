"""Users' files: 2D keypoints in, lifted shapes out, as .npz, .csv or .json; each fault is named with its place."""

import csv
import difflib
import io
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib import files
from lfmlib.data import real
from lfmlib.rigs import Rig

SUFFIXES = (".npz", ".csv", ".json")
LARGEST = float(np.finfo(np.float32).max)
BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
AXES = "camera frame: x right, y down, z away from the camera; unit of the input"


class Keypoints(NamedTuple):
    """2D keypoints of a file: points float32 [F, N, 2] (0 where missing), visible [F, N], names and frame ids."""

    points: Float[Tensor, "F N 2"]
    visible: Bool[Tensor, "F N"]
    names: tuple[str, ...] | None
    frames: tuple[int | str, ...]


def read_keypoints(path: str | os.PathLike) -> Keypoints:
    """Reads 2D keypoints, x right and y down, any unit.

    .npz: `keypoints_2d` [F, N, 2]; optional `visible` [F, N], `keypoint_names` [N], `frames` [F].
    .csv long: columns frame, keypoint, x, y and optionally visible; `keypoint` is a name or an index from 0.
    .csv wide: columns frame, NAME_x, NAME_y and optionally NAME_visible.
    .json: a list of frames, each a list of [x, y], [x, y, confidence] or null; or {"keypoint_names": [...],
    "frames": [...], "frame_ids": [...]} where names and ids are optional.
    A keypoint is missing where its coordinates are empty, null or NaN, `visible` is false or the confidence is 0.

    Returns:
        Keypoints, in the file's order of frames and keypoints; see `match_rig` for a rig's order.
    Raises:
        FileNotFoundError: no such file.
        ValueError: the file breaks the format; names the file, the line or frame, and the field.
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".csv": _read_csv, ".json": _read_json}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: unknown suffix {path.suffix!r}, expected one of {' '.join(SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    return readers[path.suffix.lower()](path)


def match_rig(keypoints: Keypoints, rig: Rig) -> Keypoints:
    """The keypoints in the rig's order: by name where the file has names, otherwise as they stand.

    Raises:
        ValueError: a name that the rig lacks, a keypoint of the rig that the file lacks, or the wrong number of them.
    """
    if keypoints.names is None:
        if keypoints.points.shape[1] != rig.n:
            raise ValueError(
                f"{keypoints.points.shape[1]} keypoints, but {rig.name} has {rig.n}: {', '.join(rig.keypoints)}"
            )
        return keypoints._replace(names=rig.keypoints)
    for name in keypoints.names:
        if name not in rig.keypoints:
            near = difflib.get_close_matches(name, rig.keypoints, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(rig.keypoints)}"
            raise ValueError(f"unknown keypoint {name!r} for {rig.name}; {hint}")
    if absent := [name for name in rig.keypoints if name not in keypoints.names]:
        raise ValueError(
            f"{len(keypoints.names)} keypoints, but {rig.name} has {rig.n}; absent: {', '.join(absent)} "
            "(one that is never seen needs its place too, with missing coordinates)"
        )
    order = [keypoints.names.index(name) for name in rig.keypoints]
    return Keypoints(keypoints.points[:, order], keypoints.visible[:, order], rig.keypoints, keypoints.frames)


def write_shapes(
    path: str | os.PathLike,
    shapes: Float[Tensor, "F N 3"],
    visible: Bool[Tensor, "F N"] | None = None,
    names: Sequence[str] | None = None,
    frames: Sequence[int | str] | None = None,
) -> None:
    """Writes lifted shapes atomically: every keypoint of every frame, and whether its 2D position was given.

    Args:
        path: .npz, .csv (frame, keypoint, x, y, z, visible) or .json.
        shapes: camera frame (x right, y down, z away), unit of the input; [F, N, 3].
        visible: keypoints that the 2D input had; None: all; [F, N].
        names: of the keypoints; None: their indices stand in.
        frames: ids; None: 0, 1, ...
    Raises:
        ValueError: unknown suffix, a coordinate that is not finite, or lengths that differ; nothing is written.
        OSError: the file cannot be written; an older one stays as it was.
    """
    path = Path(path)
    xyz = shapes.detach().cpu().to(torch.float32).numpy()
    seen = np.ones(xyz.shape[:2], bool) if visible is None else visible.cpu().numpy()
    labels = tuple(str(i) for i in range(xyz.shape[1])) if names is None else tuple(names)
    ids = tuple(range(len(xyz))) if frames is None else tuple(frames)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: unknown suffix {path.suffix!r}, expected one of {' '.join(SUFFIXES)}")
    if (len(ids), len(labels)) != xyz.shape[:2] or seen.shape != xyz.shape[:2]:
        raise ValueError(
            f"{path}: shapes are {list(xyz.shape)}, but there are {len(ids)} frames, {len(labels)} names and "
            f"visible {list(seen.shape)}"
        )
    if len(bad := np.argwhere(~np.isfinite(xyz))):
        raise ValueError(f"{path}: frame {ids[bad[0, 0]]}, keypoint {labels[bad[0, 1]]} is not finite")
    if path.suffix.lower() == ".npz":
        numbers = np.array(ids)
        numbers = numbers if numbers.dtype.kind in "iuU" else np.array([str(i) for i in ids])  # beyond 64 bits: as text
        arrays = {"keypoints_3d": xyz, "visible": seen, "keypoint_names": np.array(labels), "frames": numbers}
        with files.atomic_path(path) as temporary:
            np.savez_compressed(temporary, **arrays)
        return
    rounded = xyz.astype(str).astype(np.float64).tolist()  # the shortest digits that are the same float32
    if path.suffix.lower() == ".json":
        content = {"axes": AXES, "keypoint_names": labels, "frame_ids": ids, "frames": rounded}
        files.write_text(path, json.dumps(content | {"visible": seen.tolist()}, allow_nan=False) + "\n")
        return
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("frame", "keypoint", "x", "y", "z", "visible"))
    for f, frame in enumerate(rounded):
        table.writerows((ids[f], labels[n], *point, int(seen[f, n])) for n, point in enumerate(frame))
    files.write_text(path, text.getvalue())


def _point(where: str, x: Any, y: Any, visible: bool | None) -> tuple[float, float, bool]:
    """One keypoint from two cells (a number, or None); (0, 0, False) where it is missing."""
    values = []
    for axis, cell in (("x", x), ("y", y)):
        if cell is not None and type(cell) not in (int, float):
            raise ValueError(f"{where}: {axis} is {str(cell)[:40]!r}, expected a number")
        if cell is not None and abs(cell) > LARGEST:  # false for NaN; true for an int that no float can hold
            raise ValueError(f"{where}: {axis} is {str(cell)[:40]}, expected a finite number of at most {LARGEST:.1e}")
        values.append(math.nan if cell is None else float(cell))
    given = [not math.isnan(v) for v in values]
    if visible is not False and given[0] != given[1]:
        raise ValueError(f"{where}: only one of x and y is given")
    if visible and not all(given):
        raise ValueError(f"{where}: visible, but x and y are missing")
    return (values[0], values[1], True) if all(given) and visible is not False else (0.0, 0.0, False)


def _keypoints(
    path: Path, rows: list | np.ndarray, names: tuple[str, ...] | None, frames: tuple[int | str, ...]
) -> Keypoints:
    if not len(rows) or not len(rows[0]):
        raise ValueError(f"{path}: no {'keypoint' if len(rows) else 'frame'}")
    if names is not None and (twice := {name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path}: keypoint name given twice: {', '.join(sorted(twice))}")
    if len(set(frames)) != len(frames):
        raise ValueError(f"{path}: a frame id is given twice")
    cells = torch.as_tensor(rows, dtype=torch.float64)  # [F, N, 3]
    return Keypoints(cells[..., :2].to(torch.float32), cells[..., 2] > 0, names, frames)


def _read_npz(path: Path) -> Keypoints:
    arrays = real.read_arrays(path)
    if unexpected := set(arrays) - {"keypoints_2d", "visible", "keypoint_names", "frames"}:
        raise ValueError(
            f"{path}: unexpected array {', '.join(sorted(unexpected))}; expected keypoints_2d and optionally visible, "
            "keypoint_names, frames"
        )
    if "keypoints_2d" not in arrays:
        raise ValueError(f"{path}: keypoints_2d missing")
    points = arrays["keypoints_2d"]
    if points.ndim != 3 or points.shape[2] != 2 or points.dtype.kind not in "fiu":
        raise ValueError(f"{path}: keypoints_2d is {points.dtype} {list(points.shape)}, expected numbers [F, N, 2]")
    count, n = points.shape[:2]
    visible = arrays.get("visible", np.ones((count, n), bool))
    names, ids = arrays.get("keypoint_names"), arrays.get("frames", np.arange(count))
    wanted = {"visible": (visible, "b", (count, n)), "frames": (ids, "iuU", (count,))}
    if names is not None:
        wanted["keypoint_names"] = (names, "U", (n,))
    for field, (array, kinds, shape) in wanted.items():
        if array.dtype.kind not in kinds or array.shape != shape:
            words = {"b": "bool", "U": "names", "iuU": "whole numbers or names"}
            expected = f"{words[kinds]} {list(shape)}"
            raise ValueError(f"{path}: {field} is {array.dtype} {list(array.shape)}, expected {expected}")
    hidden = np.isnan(points.astype(np.float64))
    given = ~hidden.all(-1) & visible
    faults = {
        "only one of x and y is given": hidden.any(-1) & given,
        "not a finite number": (np.abs(points.astype(np.float64)) > LARGEST).any(-1) & given,
        "visible, but x and y are missing": hidden.all(-1) & visible & ("visible" in arrays),
    }
    for fault, mask in faults.items():
        if len(bad := np.argwhere(mask)):
            raise ValueError(f"{path}: frame {ids[bad[0, 0]]}, keypoint {bad[0, 1]}: {fault}")
    rows = np.concatenate([np.where(given[..., None], points, 0), given[..., None]], -1)
    return _keypoints(path, rows, None if names is None else tuple(names.tolist()), tuple(ids.tolist()))


def _is_coco(content: Any) -> bool:
    """Whether JSON is a COCO keypoint file: a data set with annotations, or a list of detected objects."""
    if isinstance(content, dict):
        return "annotations" in content
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "keypoints" in content[0]


def _read_json(path: Path) -> Keypoints:
    try:
        content = files.read_json(path)
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply") from None
    if _is_coco(content):
        from lfmlib.data.detectors import read_coco  # which rests on this module

        return read_coco(path)
    content = {"frames": content} if isinstance(content, list) else content
    if not isinstance(content, dict) or not isinstance(content.get("frames"), list):
        raise ValueError(f'{path}: expected a list of frames, or an object with "frames", a list')
    if unexpected := set(content) - {"keypoint_names", "frames", "frame_ids"}:
        raise ValueError(f"{path}: unexpected field {', '.join(sorted(unexpected))}")
    names, frames = content.get("keypoint_names"), content["frames"]
    ids = content.get("frame_ids", list(range(len(frames))))
    if not isinstance(ids, list) or len(ids) != len(frames) or not all(type(i) in (int, str) for i in ids):
        raise ValueError(f"{path}: frame_ids is not a list of {len(frames)} numbers or names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{path}: keypoint_names is not a list of names")
    rows = []
    for number, frame in zip(ids, frames, strict=True):
        if not isinstance(frame, list):
            raise ValueError(f"{path}: frame {number} is not a list of keypoints")
        wanted = len(names) if names is not None else len(rows[0]) if rows else len(frame)
        if len(frame) != wanted:
            raise ValueError(f"{path}: frame {number} has {len(frame)} keypoints, expected {wanted}")
        row = []
        for n, point in enumerate(frame):
            where = f"{path}: frame {number}, keypoint {names[n] if names else n}"
            point = [None, None] if point is None else point
            if not isinstance(point, list) or len(point) not in (2, 3):
                raise ValueError(f"{where} is {str(point)[:40]}, expected [x, y], [x, y, confidence] or null")
            confidence = point[2] if len(point) == 3 else None
            if confidence is not None and (type(confidence) not in (int, float) or not 0 <= confidence < math.inf):
                raise ValueError(f"{where}: confidence is {confidence!r}, expected a number of 0 or more")
            row.append(_point(where, *point[:2], False if confidence == 0 else None))
        rows.append(row)
    return _keypoints(path, rows, tuple(names) if names is not None else None, tuple(ids))


def _read_csv(path: Path) -> Keypoints:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = csv.reader(file, strict=True)
            lines = [(table.line_num, [cell.strip() for cell in row]) for row in table if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if not lines:
        raise ValueError(f"{path}: the file is empty")
    header = lines.pop(0)[1]
    if "frame" not in header or len(set(header)) != len(header):
        fault = "a column stands twice" if "frame" in header else "no column 'frame'"
        raise ValueError(f"{path}: line 1: {fault}; the columns are {', '.join(header)} (separated by commas)")
    records = []
    for number, row in lines:
        if len(row) != len(header):
            raise ValueError(f"{path}: line {number} has {len(row)} cells, the header has {len(header)}")
        records.append((number, dict(zip(header, row, strict=True))))
    cells = _long(path, header, records) if "keypoint" in header else _wide(path, header, records)
    ids: dict[str, dict[str, tuple]] = {}
    for number, frame, keypoint, cell in cells:
        where = f"{path}: line {number}, frame {frame}, keypoint {keypoint}"
        if not frame or not keypoint:
            raise ValueError(f"{path}: line {number}: {'keypoint' if frame else 'frame'} is empty")
        if keypoint in ids.setdefault(frame, {}):
            raise ValueError(f"{where} is given twice")
        ids[frame][keypoint] = _point(where, _number(cell["x"]), _number(cell["y"]), _visible(where, cell))
    names = list(dict.fromkeys(keypoint for points in ids.values() for keypoint in points))
    by_number = bool(names) and all(name.isdecimal() for name in names)
    if by_number:
        names.sort(key=int)
        if names != [str(i) for i in range(len(names))]:
            raise ValueError(f"{path}: keypoint indices are {', '.join(names[:40])}, expected 0 to {len(names) - 1}")
    for frame, points in ids.items():
        if absent := [name for name in names if name not in points]:
            raise ValueError(
                f"{path}: frame {frame} has {len(points)} of {len(names)} keypoints, {absent[0]} is absent "
                "(a missing one needs its row too, with empty x and y)"
            )
    rows = [[points[name] for name in names] for points in ids.values()]
    numbers = all(frame.isdecimal() and str(int(frame)) == frame for frame in ids)
    return _keypoints(path, rows, None if by_number else tuple(names), tuple(map(int, ids)) if numbers else tuple(ids))


def _long(path: Path, header: list[str], records: list[tuple[int, dict[str, str]]]) -> list[tuple]:
    if wrong := set(header) - {"visible"} ^ {"frame", "keypoint", "x", "y"}:
        expected = "expected frame, keypoint, x, y and optionally visible"
        raise ValueError(f"{path}: line 1: column {', '.join(sorted(wrong))} is wrong or absent; {expected}")
    return [(number, cell["frame"], cell["keypoint"], cell) for number, cell in records]


def _wide(path: Path, header: list[str], records: list[tuple[int, dict[str, str]]]) -> list[tuple]:
    columns: dict[str, dict[str, str]] = {}
    for column in header:
        name, _, field = column.rpartition("_")
        if column != "frame" and (not name or field not in ("x", "y", "visible")):
            raise ValueError(f"{path}: line 1: column {column!r}, expected frame, NAME_x, NAME_y or NAME_visible")
        if column != "frame":
            columns.setdefault(name, {})[field] = column
    for name, fields in columns.items():
        if absent := [f for f in ("x", "y") if f not in fields]:
            raise ValueError(f"{path}: line 1: column {name}_{absent[0]} is absent")
    return [
        (number, row["frame"], name, {field: row[column] for field, column in fields.items()})
        for number, row in records
        for name, fields in columns.items()
    ]


def _number(text: str) -> float | str | None:
    """The number that a cell holds, None for an empty one, the text itself where it is no number."""
    try:
        return float(text) if text and "_" not in text else text or None  # float() would take 1_000
    except ValueError:
        return text


def _visible(where: str, cell: dict[str, str]) -> bool | None:
    if "visible" not in cell:
        return None
    if (value := BOOLEANS.get(cell["visible"].lower())) is None:
        raise ValueError(f"{where}: visible is {cell['visible']!r}, expected 1, 0, true or false")
    return value
