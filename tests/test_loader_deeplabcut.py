"""DeepLabCut's and anipose's tables, written as their programs write them."""

import csv
import math
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from lfmlib.data import real
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders import anipose, deeplabcut

PARTS = ("left_eye", "right_eye", "nose", "tail")
RNG = np.random.default_rng(0)


def columns(coords: str, individuals: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Names of the columns as DeepLabCut orders them."""
    scorer = "DLC_resnet50_reachAug30shuffle1_103000"
    inside = [(part, coord) for part in PARTS for coord in coords.split()]
    return [(scorer, who, *pair) for who in individuals for pair in inside] or [(scorer, *pair) for pair in inside]


def table_csv(path: Path, names: list[tuple[str, ...]], values: np.ndarray, rows: list | None = None) -> Path:
    """What DataFrame.to_csv writes; a row's name may have several cells."""
    levels = ("scorer", "bodyparts", "coords") if len(names[0]) == 3 else deeplabcut.LEVELS
    rows = [(i,) for i in range(len(values))] if rows is None else rows
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        for i, level in enumerate(levels):
            table.writerow([level, *[""] * (len(rows[0]) - 1), *(name[i] for name in names)])
        for row, line in zip(rows, values, strict=True):
            table.writerow([*row, *("" if math.isnan(v) else v for v in line)])
    return path


def table_h5(path: Path, names: list[tuple[str, ...]], values: np.ndarray, key: str = "df_with_missing") -> Path:
    """What DataFrame.to_hdf(format="table") writes, as far as it matters."""
    with h5py.File(path, "w") as file:
        group = file.create_group(key)
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        kind = [("index", "<i8"), ("values_block_0", "<f8", (values.shape[1],))]
        rows = np.zeros(len(values), kind)
        rows["index"], rows["values_block_0"] = np.arange(len(values)), values
        table = group.create_dataset("table", data=rows)
        table.attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(names, 0))
    return path


def fixed_h5(path: Path, names: list[tuple[str, ...]], values: np.ndarray, rows: list[tuple[str, ...]]) -> Path:
    """What DataFrame.to_hdf(format="fixed") writes, as far as it matters; the rows have names of several levels."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs.update({"pandas_type": np.bytes_(b"frame"), "nblocks": 1, "axis1_variety": np.bytes_(b"multi")})
        for axis, labels in (("block0_items", names), ("axis1", rows)):
            group.attrs[f"{axis}_nlevels"] = len(labels[0])
            for level, parts in enumerate(zip(*labels, strict=True)):
                found = sorted(set(parts))
                group[f"{axis}_level{level}"] = np.array(found, "S")
                group[f"{axis}_label{level}"] = np.array([found.index(part) for part in parts], np.int8)
        group["block0_values"] = values
    return path


def tracked() -> np.ndarray:
    """x, y and likelihood of four parts; one likelihood just below and one at the threshold, one missing."""
    values = RNG.uniform(10, 600, (4, 12))
    values[:, 2::3] = 0.9
    values[1, 2], values[2, 2], values[3, 3:6] = 0.5999, 0.6, math.nan
    return values


@pytest.mark.parametrize("writer", [table_csv, table_h5])
def test_2d_tables(tmp_path, writer):
    values = tracked()
    path = writer(tmp_path / f"Mouse 1DLC{'.csv' if writer is table_csv else '.h5'}", columns("x y likelihood"), values)
    ((name, keypoints),) = deeplabcut.read(path, 1).items()
    assert name == "mouse_1dlc" and isinstance(keypoints, Keypoints)
    assert keypoints.names == PARTS and keypoints.frames == (0, 1, 2, 3)
    hidden = torch.ones(4, 4, dtype=torch.bool)
    hidden[1, 0] = hidden[3, 1] = False
    assert torch.equal(keypoints.visible, hidden)
    xy = torch.from_numpy(values.reshape(4, 4, 3)[..., :2].astype(np.float32))
    assert torch.equal(keypoints.points, torch.where(hidden[..., None], xy, 0))
    thinned = deeplabcut.read(path, 3)[name]
    assert thinned.frames == (0, 3) and torch.equal(thinned.points, keypoints.points[::3])


def test_labelled_data_in_the_fixed_layout_and_as_csv(tmp_path):
    values = RNG.uniform(10, 600, (3, 8))
    values[0, 2:4] = math.nan
    rows = [("labeled-data", "run", f"img{i:03}.png") for i in range(3)]
    written = fixed_h5(tmp_path / "a.h5", columns("x y"), values, rows)
    written = [written, table_csv(tmp_path / "b.csv", columns("x y"), values, rows)]
    first, second = (next(iter(deeplabcut.read(path, 1).values())) for path in written)
    assert first.frames == second.frames == tuple("/".join(row) for row in rows)
    assert torch.equal(first.points, second.points) and torch.equal(first.visible, second.visible)
    assert first.visible.tolist() == [[True, False, True, True], [True] * 4, [True] * 4]


@pytest.mark.parametrize("writer", [table_csv, table_h5])
def test_individuals_are_apart(tmp_path, writer):
    values = np.concatenate([tracked(), tracked()], 1)
    names = columns("x y likelihood", ("m1", "m2"))
    found = deeplabcut.read(writer(tmp_path / f"a{'.csv' if writer is table_csv else '.h5'}", names, values), 1)
    assert list(found) == ["a_m1", "a_m2"]
    assert found["a_m2"].points[0, 3].tolist() == pytest.approx(values[0, 21:23].tolist(), rel=1e-6)


def test_3d_tables_are_shapes_in_camera_coordinates(tmp_path):
    for i in range(2):
        values = RNG.normal(size=(5, 12)) + (0, 0, 30) * 4
        values[2, 3:6] = math.nan
        table_csv(tmp_path / "stereo" / f"run{i}_DLC_3D.csv", columns("x y z"), values)
    (shapes,) = deeplabcut.read(tmp_path / "stereo", 2).values()
    assert shapes.rig.name == "stereo" and shapes.rig.up == "-y" and shapes.rig.mm is None
    assert shapes.rig.keypoints == PARTS and shapes.rig.symmetry == ((0, 1),)
    assert shapes.points.shape == (6, 4, 3) and (~shapes.known).nonzero().tolist() == [[1, 1], [4, 1]]
    assert shapes.split.tolist() == [0, 0, 0, 1, 1, 1] and torch.equal(shapes.camera_R, torch.eye(3).expand(6, 3, 3))
    assert shapes.points[5, 3].tolist() == pytest.approx(values[4, 9:].tolist(), rel=1e-6)
    real.save(shapes, tmp_path / "stereo.npz")
    assert torch.equal(real.load(tmp_path / "stereo.npz").points, shapes.points)


def test_a_csv_goes_before_its_h5_twin(tmp_path):
    table_csv(tmp_path / "a.csv", columns("x y likelihood"), tracked())
    (tmp_path / "a.h5").write_text("unread")
    table_h5(tmp_path / "b.h5", columns("x y likelihood"), tracked()[:2], key="tracks")
    assert [(name, len(found.frames)) for name, found in deeplabcut.read(tmp_path, 1).items()] == [("a", 4), ("b", 2)]


class Evil:
    def __reduce__(self):
        return eval, ("1/0",)


@pytest.mark.parametrize("content", [Evil(), [("a", Evil())], {"a": 1}, [1], ["a", None]])
def test_names_of_columns_that_are_no_text_are_refused_unrun(content):
    with pytest.raises(ValueError, match="need the opcode [A-Z]+, which is not read"):
        deeplabcut.plain(pickle.dumps(content, 0))


@pytest.mark.parametrize("names", [[("a", "b"), ("a", "c")], [], [("µ", "x\ny")], ["a", ("a",)]])
def test_names_of_columns_come_back(names):
    assert deeplabcut.plain(pickle.dumps(names, 0)) == names


GOOD = ["scorer,S,S,S,S,S,S", "bodyparts,a,a,b,b,c,c", "coords,x,y,x,y,x,y", "0,1,2,3,4,5,6", "1,1,2,3,4,5,6"]


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (0, "scorers,S,S,S,S,S,S", "do not begin with scorer"),
        (2, "coord,x,y,x,y,x,y", "do not begin with scorer"),
        (2, "coords,x,y,x,y,x,w", "column c 'w', expected x, y, z or likelihood"),
        (2, "coords,x,y,x,y,x,x", "column c x is there twice"),
        (2, "coords,x,y,x,y,x,likelihood", "c has the columns x, l, expected x, y"),
        (4, "1,1,2,3,4,5", "line 5 has 6 cells, the header has 7"),
        (4, "1,1,2,3,4,5,six", "line 5: could not convert"),
        (4, "1,1,2,3,4,5,inf", "row 1 has an infinite value"),
    ],
)
def test_broken_csv(tmp_path, line, text, message):
    path = tmp_path / "a.csv"
    path.write_text("\n".join([*GOOD[:line], text, *GOOD[line + 1 :]]))
    with pytest.raises(ValueError, match=message) as error:
        deeplabcut.read(path, 1)
    assert "a.csv" in str(error.value)


def test_broken_h5(tmp_path):
    path = table_h5(tmp_path / "a.h5", columns("x y likelihood"), tracked())
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="a.h5: not an .h5 table"):
            deeplabcut.read(path, 1)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        file["df_with_missing/table"].attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(Evil(), 0))
    with pytest.raises(ValueError, match="a.h5: .*need the opcode"):
        deeplabcut.read(path, 1)
    table_h5(path, columns("x y likelihood")[:-1], tracked())
    with pytest.raises(ValueError, match=r"4 frames and 11 columns, but values \[4, 12\]"):
        deeplabcut.read(path, 1)
    table_h5(path, [name[1:] for name in columns("x y likelihood")], tracked())
    with pytest.raises(ValueError, match="expected the names scorer, individuals"):
        deeplabcut.read(path, 1)


def test_absent_and_empty(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        deeplabcut.read(tmp_path / "none", 1)
    with pytest.raises(FileNotFoundError, match="no .csv or .h5"):
        deeplabcut.read(tmp_path, 1)
    (tmp_path / "a.csv").write_text("")
    for reader in (deeplabcut.read, anipose.read):
        with pytest.raises(ValueError, match="the file is empty"):
            reader(tmp_path / "a.csv", 1)
    (tmp_path / "a.csv").write_text("\n".join(GOOD[:3]))
    with pytest.raises(ValueError, match="0 frames and 6 columns"):
        deeplabcut.read(tmp_path / "a.csv", 1)
    for folder in ("x", "y"):
        table_csv(tmp_path / "twice" / folder / "a.csv", columns("x y likelihood"), tracked())
    with pytest.raises(ValueError, match="another file of that name"):
        deeplabcut.read(tmp_path / "twice", 1)


def pose_3d(path: Path, values: np.ndarray, cameras: np.ndarray, M: np.ndarray | None = None) -> Path:
    """A file as anipose's triangulation writes it; values [F, N, 3], cameras [F, N]."""
    header = [f"{part}_{field}" for part in PARTS for field in ("x", "y", "z", "error", "ncams", "score")]
    header += [f"M_{i}{j}" for i in range(3) for j in range(3)] + ["center_0", "center_1", "center_2", "fnum"]
    M = np.eye(3) if M is None else M
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(header)
        for f in range(len(values)):
            cells = [cell for n in range(4) for cell in (*values[f, n], 1.5, cameras[f, n], 0.9)]
            cells = ["" if math.isnan(cell) else cell for cell in cells]
            table.writerow([*cells, *M.ravel(), 0, 0, 0, f])
    return path


def test_anipose(tmp_path):
    values, cameras = RNG.normal(size=(10, 4, 3)), np.full((10, 4), 3.0)
    values[1, 2] = cameras[1, 2] = math.nan
    cameras[2, 3], cameras[4, 0] = 1, math.nan  # filled in by smoothing
    path = pose_3d(tmp_path / "fly.csv", values, cameras)
    (shapes,) = anipose.read(path, 1).values()
    assert shapes.rig.name == "fly" and shapes.rig.keypoints == PARTS and shapes.rig.up == "-y"
    assert (~shapes.known).nonzero().tolist() == [[1, 2], [2, 3], [4, 0]]
    expected = torch.where(shapes.known[..., None], torch.from_numpy(values.astype(np.float32)), 0)
    assert torch.equal(shapes.points, expected)
    assert shapes.split.tolist() == shapes.sequence.tolist() == [0] * 8 + [1] * 2
    assert len(anipose.read(path, 4)["fly"]) == 3
    turned = pose_3d(tmp_path / "set" / "b.csv", values, cameras, M=np.eye(3)[[1, 2, 0]])
    assert anipose.read(turned.parent, 1)["set"].rig.up == "+z"
    real.save(shapes, tmp_path / "fly.npz")
    assert torch.equal(real.load(tmp_path / "fly.npz").points, shapes.points)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nose_y", "nose_w", "column 'nose_w'"),
        ("nose_y,", "tail_y,", "column nose_y is absent"),
        ("nose_score", "tail_score", "a column is there twice"),
        ("1.5", "high", "line 2: could not convert"),
        ("1.5", "inf", "line 2 has an infinite value"),
        ("1.5,", "", "line 2 has 33 cells, the header has 37"),
    ],
)
def test_broken_anipose(tmp_path, old, new, message):
    path = pose_3d(tmp_path / "a.csv", np.ones((2, 4, 3)), np.full((2, 4), 3.0))
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message) as error:
        anipose.read(path, 1)
    assert "a.csv" in str(error.value)
