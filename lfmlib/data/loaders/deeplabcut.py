"""DeepLabCut's tables, .csv and .h5: 2D keypoints with a likelihood, or 3D ones of its stereo triangulation."""

import csv
import pickletools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders import mocap
from lfmlib.data.loaders.base import Loader
from lfmlib.data.loaders.mocap import Recording
from lfmlib.data.shapes import ShapeSet
from lfmlib.rigs import Rig

SURE = 0.6  # likelihood from which a keypoint counts as seen: the `pcutoff` that DeepLabCut writes into its projects
LEVELS = ("scorer", "individuals", "bodyparts", "coords")


class Table(NamedTuple):
    """A table as it stands: columns as (scorer, individual or "", body part, coordinate), row names, values [F, C]."""

    columns: list[tuple[str, ...]]
    rows: list[int | str]
    values: np.ndarray


def read(path: Path, every: int) -> dict[str, ShapeSet | Keypoints]:
    """Reads DeepLabCut tables. Columns x, y and likelihood are 2D, columns x, y and z are 3D.

    A 2D keypoint is visible where its likelihood is at least 0.6, or, in labelled data, which has none, where it has
    coordinates. 3D coordinates are those of the rectified first camera, in the unit of its calibration board.

    Args:
        path: a file, or a folder that is searched with all below it (a .csv goes before an .h5 of the same name).
        every: keep every so-manieth frame.
    Returns:
        Keypoints of each 2D file (and individual), named after the file; one set of shapes of all 3D files, named after
        the path.
    Raises:
        FileNotFoundError: no such path, or no table in it.
        ValueError: a file breaks the format; names the file and the column, line or frame.
    Source: DeepLabCut/DeepLabCut, pose_estimation_3d/triangulation.py (columns, 3D frame); files of pandas.
    """
    result: dict[str, ShapeSet | Keypoints] = {}
    recordings: list[Recording] = []
    for file in _files(path):
        table = _read_csv(file) if file.suffix.lower() == ".csv" else _read_h5(file)
        for individual, (names, axes, values) in _individuals(file, table).items():
            name = "_".join(part for part in (mocap.category(file, "deeplabcut"), individual) if part)
            if "z" in axes:
                points = values[::every, :, [axes.index(axis) for axis in "xyz"]]
                recordings.append(Recording(file, file.stem, names, (), points))
            elif name in result:
                raise ValueError(f"{file}: another file of that name is there too; read the folders one by one")
            else:
                result[name] = _keypoints(names, axes, values[::every], table.rows[::every])
    if recordings:
        name, names = mocap.category(path, "deeplabcut_3d"), recordings[0].names
        try:
            rig = Rig(name, names, (), mocap.mirror_pairs(names), "calibration unit", None, "-y", "animal")
        except ValueError as error:
            raise ValueError(f"{recordings[0].path}: {error}") from error
        result[name] = mocap.merged(rig, recordings, path, camera=True)
    return result


def _files(path: Path) -> list[Path]:
    if path.is_file() and path.suffix.lower() in (".csv", ".h5"):
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder, .csv or .h5 file")
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in (".csv", ".h5"))
    if not found:
        raise FileNotFoundError(f"{path}: no .csv or .h5 file in it")
    return list({p.with_suffix(""): p for p in reversed(found)}.values())[::-1]


def _individuals(path: Path, table: Table) -> dict[str, tuple[tuple[str, ...], str, np.ndarray]]:
    """Individual -> (body parts, axes of the coordinates as "xy", "xyz" or "xyl", values [F, N, len(axes)])."""
    at: dict[str, dict[str, dict[str, int]]] = {}
    for i, (_, individual, part, coord) in enumerate(table.columns):
        if coord not in ("x", "y", "z", "likelihood"):
            raise ValueError(f"{path}: column {part} {coord!r}, expected x, y, z or likelihood")
        cells = at.setdefault(individual, {}).setdefault(part, {})
        if coord[0] in cells:
            raise ValueError(f"{path}: column {part} {coord} is there twice")
        cells[coord[0]] = i
    result = {}
    for individual, parts in at.items():
        axes = "".join(next(iter(parts.values())))
        for part, cells in parts.items():
            if sorted(cells) != sorted(axes) or not set("xy") <= set(cells):
                raise ValueError(f"{path}: {part} has the columns {', '.join(cells)}, expected {', '.join(axes)}")
        index = [[cells[axis] for axis in axes] for cells in parts.values()]
        result[individual] = (tuple(parts), axes, table.values[:, index])
    return result


def _keypoints(names: tuple[str, ...], axes: str, values: np.ndarray, rows: list[int | str]) -> Keypoints:
    points = values[..., [axes.index("x"), axes.index("y")]]
    seen = np.isfinite(points).all(-1)
    if "l" in axes:
        seen &= values[..., axes.index("l")] >= SURE  # false for NaN
    points = np.where(seen[..., None], points, 0).astype(np.float32)
    return Keypoints(torch.from_numpy(points), torch.from_numpy(seen), names, tuple(rows))


def _table(path: Path, columns: list[tuple[str, ...]], rows: list[Any], values: np.ndarray) -> Table:
    """The table with all four levels of names; refuses what is no table of DeepLabCut."""
    if not columns or not rows or values.shape != (len(rows), len(columns)):
        raise ValueError(f"{path}: {len(rows)} frames and {len(columns)} columns, but values {list(values.shape)}")
    if wrong := [column for column in columns if not 3 <= len(column) <= 4]:
        raise ValueError(f"{path}: column {wrong[0]}, expected the names {', '.join(LEVELS)} (with or without the 2nd)")
    if np.isinf(values).any():
        raise ValueError(f"{path}: row {rows[int(np.isinf(values).any(1).argmax())]} has an infinite value")
    columns = [column if len(column) == 4 else (column[0], "", *column[1:]) for column in columns]
    return Table(columns, [int(row) if str(row).isdecimal() else row for row in rows], values)


def _read_csv(path: Path) -> Table:
    try:
        lines = [line for line in csv.reader(mocap.text_of(path).splitlines(), strict=True) if line]
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV file ({error})") from error
    depth = next((i for i, line in enumerate(lines) if line[0] == LEVELS[-1]), -1) + 1
    head, body = lines[:depth], lines[depth:]
    if [line[0] for line in head] not in ([*LEVELS], [LEVELS[0], *LEVELS[2:]]):
        raise ValueError(f"{path}: the first lines do not begin with {', '.join(LEVELS)}: not a DeepLabCut table")
    index = next((i for i, cell in enumerate(head[0]) if i and cell), len(head[0]))  # columns that name the row
    for number, line in enumerate(lines, 1):
        if len(line) != len(head[0]):
            raise ValueError(f"{path}: line {number} has {len(line)} cells, the header has {len(head[0])}")
    values = np.empty((len(body), len(head[0]) - index))
    for i, line in enumerate(body):
        try:
            values[i] = [float(cell) if cell else np.nan for cell in line[index:]]
        except ValueError as error:
            raise ValueError(f"{path}: line {i + depth + 1}: {error}") from error
    columns = list(zip(*(line[index:] for line in head), strict=True))
    return _table(path, columns, ["/".join(line[:index]) for line in body], values)


def _read_h5(path: Path) -> Table:
    import h5py

    try:
        with h5py.File(path) as file:
            groups = [group for group in file.values() if "pandas_type" in group.attrs]
            if len(groups) != 1:
                raise ValueError(f"{len(groups)} tables of pandas in it, expected one")
            appendable = groups[0].attrs["pandas_type"] == b"frame_table"
            content = _appendable(groups[0]) if appendable else _fixed(groups[0])
    except (ValueError, OSError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not an .h5 table of DeepLabCut ({error})") from error
    return _table(path, *content)


def _appendable(group: Any) -> tuple[list[tuple[str, ...]], list[Any], np.ndarray]:
    """pandas' "table" layout: rows in one compound array, names of the columns in attributes."""
    table = group["table"]
    blocks = sorted(name for name in table.dtype.names if name.startswith("values_block_"))
    columns = [tuple(column) for block in blocks for column in plain(table.attrs[f"{block}_kind"])]
    return columns, _text(table["index"]), np.concatenate([_floats(table[block]) for block in blocks], 1)


def _fixed(group: Any) -> tuple[list[tuple[str, ...]], list[Any], np.ndarray]:
    """pandas' "fixed" layout: an array for each level of the names and for each block of values."""
    blocks = range(int(group.attrs["nblocks"]))
    columns = [column for b in blocks for column in zip(*_labels(group, f"block{b}_items"), strict=True)]
    if group.attrs["axis1_variety"] == b"multi":
        rows = ["/".join(parts) for parts in zip(*_labels(group, "axis1"), strict=True)]
    else:
        rows = _text(group["axis1"])
    return columns, rows, np.concatenate([_floats(group[f"block{b}_values"]) for b in blocks], 1)


def _labels(group: Any, axis: str) -> list[list[str]]:
    """Each level's names, one per entry of the axis."""
    levels = range(int(group.attrs[f"{axis}_nlevels"]))
    return [[_text(group[f"{axis}_level{i}"])[n] for n in group[f"{axis}_label{i}"][:]] for i in levels]


def _text(array: Any) -> list[Any]:
    return [cell.decode() if isinstance(cell, bytes) else cell for cell in array[:].tolist()]


def _floats(array: Any) -> np.ndarray:
    if array.dtype.kind != "f":
        raise ValueError(f"values are {array.dtype}, expected floating point")
    return np.asarray(array[:], np.float64)


def plain(code: bytes) -> list:
    """The names of columns, lists of tuples of text that PyTables stores as a pickle, read without unpickling.

    It steps through the opcodes that such names need (protocol 0, which PyTables always writes); any other, such as
    the name of a class, is refused.

    Raises:
        ValueError: another opcode; names it.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(bytes(code)):
        match opcode.name:
            case "MARK":
                marks.append(len(stack))
            case "UNICODE" | "STRING":
                stack.append(argument)
            case "LIST" | "TUPLE":
                start = marks.pop()
                stack[start:] = [stack[start:] if opcode.name == "LIST" else tuple(stack[start:])]
            case "APPEND":
                item = stack.pop()
                stack[-1].append(item)
            case "PUT":
                memo[argument] = stack[-1]
            case "GET":
                stack.append(memo[argument])
            case "STOP":
                return list(stack[-1])
            case name:
                raise ValueError(f"the names of its columns need the opcode {name}, which is not read")
    raise ValueError("the names of its columns are cut short")


LOADER = Loader(
    name="deeplabcut",
    title="DeepLabCut tables (.csv, .h5): 2D with likelihood, or 3D",
    get="your own project; github.com/DeepLabCut/DeepLabCut",
    licence="your own",
    expects="a .csv or .h5 file with the levels scorer, [individuals,] bodyparts, coords, or a folder of them",
    gives="2D keypoints per file (visible from likelihood 0.6); 3D as shapes in coordinates of the rectified first "
    "camera (y down), unit of the calibration; every fifth 3D file is test, of a lone one the last fifth",
    read=read,
)
