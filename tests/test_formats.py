"""Users' files: each format says the same thing, each fault is named with its place, nothing is half written."""

import csv
import json
import math
import re

import numpy as np
import pytest
import torch

from lfmlib import files
from lfmlib.data.formats import Keypoints, match_rig, read_keypoints, write_shapes
from lfmlib.rigs import Rig

RIG = Rig("toy", ("nose", "left_eye", "right_eye"))
NAMES = RIG.keypoints
POINTS = torch.tensor([[[1.5, 2.0], [0.1, -3.0], [1e-7, 4e6]], [[5.0, 6.0], [0.0, 0.0], [7.25, 8.0]]])
VISIBLE = torch.tensor([[True, True, True], [True, False, True]])

LONG = """frame,keypoint,x,y
4,nose,1.5,2
4,left_eye,0.1,-3
4,right_eye,1e-7,4e6
7,nose,5,6
7,left_eye,,
7,right_eye,7.25,8
"""
LONG_VISIBLE = """x,y,frame,keypoint,visible
1.5,2,4,nose,1
0.1,-3,4,left_eye,true
1e-7,4e6,4,right_eye,True
5,6,7,nose,1
99,99,7,left_eye,0
7.25,8,7,right_eye,1
"""
WIDE = """frame,nose_x,nose_y,left_eye_x,left_eye_y,right_eye_x,right_eye_y
4,1.5,2,0.1,-3,1e-7,4e6

7,5,6,nan,NaN,7.25,8
"""
WIDE_VISIBLE = """frame,nose_x,nose_y,left_eye_visible,left_eye_x,left_eye_y,right_eye_x,right_eye_y
4,1.5,2,1,0.1,-3,1e-7,4e6
7,5,6,false,3,3,7.25,8
"""
FRAMES = [[[1.5, 2], [0.1, -3], [1e-7, 4e6]], [[5, 6], None, [7.25, 8]]]
NULLS = [[[1.5, 2, 0.9], [0.1, -3, 1], [1e-7, 4e6, None]], [[5, 6, 1], [9, 9, 0], [7.25, 8, 0.01]]]


def text(tmp_path, content: str, name="in.csv"):
    path = tmp_path / name
    path.write_text(content)
    return path


def check(keypoints: Keypoints, names=NAMES, frames=(4, 7)):
    assert torch.equal(keypoints.points, POINTS) and torch.equal(keypoints.visible, VISIBLE)
    assert keypoints.names == names and keypoints.frames == frames
    assert keypoints.points.dtype == torch.float32


TABLES = [LONG, LONG_VISIBLE, WIDE, WIDE_VISIBLE, "\ufeff" + WIDE, LONG.replace("\n", "\r\n")]


@pytest.mark.parametrize("content", TABLES)
def test_csv(tmp_path, content):
    path = tmp_path / "in.csv"
    path.write_bytes(content.encode())
    check(read_keypoints(path))


def test_csv_with_indices_and_named_frames(tmp_path):
    content = LONG.replace("nose", "0").replace("left_eye", "1").replace("right_eye", "2").replace("4,", "a b,", 3)
    shuffled = content.splitlines()
    shuffled[1], shuffled[3] = shuffled[3], shuffled[1]
    check(read_keypoints(text(tmp_path, "\n".join(shuffled))), None, ("a b", "7"))


@pytest.mark.parametrize("frames", [FRAMES, NULLS, json.loads(json.dumps(FRAMES).replace("null", "[NaN, NaN]"))])
def test_json(tmp_path, frames):
    check(read_keypoints(text(tmp_path, json.dumps(frames), "in.json")), None, (0, 1))
    named = {"keypoint_names": list(NAMES), "frames": frames, "frame_ids": [4, 7]}
    check(read_keypoints(text(tmp_path, json.dumps(named), "in.JSON")))


def test_npz(tmp_path):
    points = torch.where(VISIBLE[..., None], POINTS, torch.nan).numpy()
    np.savez(tmp_path / "a.npz", keypoints_2d=points)
    check(read_keypoints(tmp_path / "a.npz"), None, (0, 1))
    np.savez(
        tmp_path / "b.npz",
        keypoints_2d=POINTS.double().numpy() + 7.0 * ~VISIBLE.numpy()[..., None],
        visible=VISIBLE.numpy(),
        keypoint_names=np.array(NAMES),
        frames=np.array([4, 7]),
    )
    check(read_keypoints(tmp_path / "b.npz"))


SHAPES = torch.tensor([[[0.1, 1 / 3, -2e-5], [1, 2, 3], [4, 5, 6]], [[7, 8, 9], [1e7 / 3, 0, 0], [1, 1, 1]]])


def read_back(path):
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as content:
            names, frames = content["keypoint_names"].tolist(), content["frames"].tolist()
            return torch.from_numpy(content["keypoints_3d"]), torch.from_numpy(content["visible"]), names, frames
    if path.suffix == ".json":
        content = files.read_json(path)
        shapes, visible = torch.tensor(content["frames"]), torch.tensor(content["visible"])
        return shapes, visible, content["keypoint_names"], content["frame_ids"]
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["frame", "keypoint", "x", "y", "z", "visible"]
    names = list(dict.fromkeys(row["keypoint"] for row in rows))
    frames = list(dict.fromkeys(row["frame"] for row in rows))
    xyz = torch.tensor([[float(row[axis]) for axis in "xyz"] for row in rows]).reshape(len(frames), len(names), 3)
    visible = torch.tensor([row["visible"] == "1" for row in rows]).reshape(xyz.shape[:2])
    return xyz, visible, names, [int(f) for f in frames]


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".json"])
def test_written_shapes_read_back_bit_for_bit(tmp_path, suffix):
    path = tmp_path / "new" / f"out{suffix}"
    write_shapes(path, SHAPES.requires_grad_(), VISIBLE, NAMES, (4, 7))
    shapes, visible, names, frames = read_back(path)
    assert torch.equal(shapes, SHAPES) and torch.equal(visible, VISIBLE)
    assert names == list(NAMES) and frames == [4, 7]
    before = path.read_bytes()
    write_shapes(path, SHAPES, VISIBLE, NAMES, (4, 7))
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".json"])
def test_written_defaults(tmp_path, suffix):
    write_shapes(tmp_path / f"out{suffix}", SHAPES)
    _, visible, names, frames = read_back(tmp_path / f"out{suffix}")
    assert visible.all() and names == ["0", "1", "2"] and frames == [0, 1]


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".json"])
def test_nothing_is_half_written(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"out{suffix}"
    write_shapes(path, SHAPES)
    before = path.read_bytes()
    for value in (math.nan, math.inf):
        broken = SHAPES.detach().clone()
        broken[1, 2, 0] = value
        with pytest.raises(ValueError, match="frame 7, keypoint right_eye is not finite"):
            write_shapes(path, broken, VISIBLE, NAMES, (4, 7))
    with pytest.raises(ValueError, match="1 frames, 3 names"):
        write_shapes(path, SHAPES, frames=(1,))

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError, match="nothing was changed"):
        write_shapes(path, SHAPES * 2)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_unknown_suffix_and_absent_file(tmp_path):
    with pytest.raises(ValueError, match=r"in\.txt: unknown suffix '\.txt', expected one of \.npz \.csv \.json"):
        read_keypoints(text(tmp_path, "x", "in.txt"))
    with pytest.raises(ValueError, match="unknown suffix"):
        write_shapes(tmp_path / "out.xlsx", SHAPES)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_keypoints(tmp_path / "none.csv")
    for suffix in (".npz", ".csv", ".json"):
        with pytest.raises(ValueError, match="the file is empty"):
            read_keypoints(text(tmp_path, "", f"in{suffix}"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n\n", "the file is empty"),
        ("frame,keypoint,x,y\n", "no frame"),
        ("frame,keypoint,x,z\n1,a,2,3\n", "line 1: column y, z is wrong or absent"),
        ("frame,keypoint,x\n1,a,2\n", "line 1: column y is wrong"),
        ("frame;keypoint;x;y\n1;a;2;3\n", "line 1: no column 'frame'"),
        ("frame,keypoint,x,x\n1,a,2,3\n", "line 1: a column stands twice"),
        ("frame,nose_x\n1,2\n", "line 1: column nose_y is absent"),
        ("frame,nose_x,nose_y,nose_z\n1,2,3,4\n", "line 1: column 'nose_z'"),
        ("frame,nosex,nosey\n1,2,3\n", "line 1: column 'nosex'"),
        ("frame\n1\n", "no frame"),
        (LONG.replace("0.1", "o.1"), "line 3, frame 4, keypoint left_eye: x is 'o.1', expected a number"),
        (LONG.replace("0.1", "1_0"), "line 3, frame 4, keypoint left_eye: x is '1_0', expected a number"),
        (WIDE.replace("-3", "abc"), "line 2, frame 4, keypoint left_eye: y is 'abc'"),
        (LONG.replace("4e6", "inf"), "line 4, frame 4, keypoint right_eye: y is inf, expected a finite"),
        (LONG.replace("4e6", "4e60"), "line 4, frame 4, keypoint right_eye: y is 4e[+]60, expected a finite"),
        (LONG.replace("7,left_eye", "7,nose"), "line 6, frame 7, keypoint nose is given twice"),
        (WIDE.replace("7,5,6", "4,5,6"), "line 4, frame 4, keypoint nose is given twice"),
        (LONG.replace("7,left_eye,,\n", ""), "frame 7 has 2 of 3 keypoints, left_eye is absent"),
        (LONG.replace("5,6", "5,6,1"), "line 5 has 5 cells, the header has 4"),
        (LONG.replace("5,6", "5,"), "line 5, frame 7, keypoint nose: only one of x and y"),
        (LONG_VISIBLE.replace("99,99,7,left_eye,0", ",,7,left_eye,1"), "left_eye: visible, but x and y are missing"),
        (LONG_VISIBLE.replace("True", "maybe"), "line 4, frame 4, keypoint right_eye: visible is 'maybe'"),
        (LONG.replace("7,nose", ",nose"), "line 5: frame is empty"),
        (LONG.replace("7,nose", "7,"), "line 5: keypoint is empty"),
        ("frame,keypoint,x,y\n1,0,2,3\n1,2,2,3\n", "keypoint indices are 0, 2, expected 0 to 1"),
        ('frame,keypoint,x,y\n1,"a,2,3\n', "not a CSV file"),
        ("frame,keypoint,x,y\n1,\xff,2,3\n".encode("latin-1"), "not a CSV file in UTF-8"),
    ],
)
def test_csv_faults_are_named(tmp_path, content, message):
    path = tmp_path / "in.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=rf"in\.csv: .*{message}"):
        read_keypoints(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[[1, 2]", "not a JSON file"),
        ("3", "expected a list of frames"),
        ('{"poses": []}', "expected a list of frames"),
        ('{"frames": [[[1, 2]]], "fps": 30}', "unexpected field fps"),
        ("[]", "no frame"),
        ("[[]]", "no keypoint"),
        ("[1]", "frame 0 is not a list"),
        ("[[[1, 2]], [[1, 2], [3, 4]]]", "frame 1 has 2 keypoints, expected 1"),
        ("[[[1, 2, 3, 4]]]", r"frame 0, keypoint 0 is \[1, 2, 3, 4\], expected \[x, y\]"),
        ('[[[1, "2"]]]', "frame 0, keypoint 0: y is '2', expected a number"),
        ("[[[true, 2]]]", "frame 0, keypoint 0: x is 'True', expected a number"),
        ("[[[1, Infinity]]]", "frame 0, keypoint 0: y is inf"),
        (f"[[[1, {'9' * 400}]]]", "frame 0, keypoint 0: y is 9+, expected a finite"),
        ("[[[1, null]]]", "only one of x and y"),
        ("[[[1, 2, -1]]]", "confidence is -1"),
        ("[[[1, 2, NaN]]]", "confidence is nan"),
        ('{"keypoint_names": ["a", "b"], "frames": [[[1, 2]]]}', "frame 0 has 1 keypoints, expected 2"),
        ('{"keypoint_names": ["a", "a"], "frames": [[[1, 2], [1, 2]]]}', "given twice: a"),
        ('{"keypoint_names": "ab", "frames": [[[1, 2], [1, 2]]]}', "keypoint_names is not a list"),
        ('{"frame_ids": [1], "frames": [[null], [null]]}', "frame_ids is not a list of 2"),
        ('{"frame_ids": [1, 1], "frames": [[null], [null]]}', "frame id is given twice"),
        ("[" * 100000, "(nested too deeply|not a JSON file)"),
    ],
)
def test_json_faults_are_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"in\.json: .*{message}"):
        read_keypoints(text(tmp_path, content, "in.json"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"points": np.zeros((1, 3, 2))}, "unexpected array points"),
        ({"visible": np.ones((1, 3), bool)}, "keypoints_2d missing"),
        ({"keypoints_2d": np.zeros((3, 2))}, r"keypoints_2d is float64 \[3, 2\], expected numbers"),
        ({"keypoints_2d": np.full((1, 3, 2), "a")}, "keypoints_2d is <U1"),
        ({"keypoints_2d": np.zeros((0, 3, 2))}, "no frame"),
        ({"keypoints_2d": np.full((2, 3, 2), np.inf), "frames": np.array([5, 6])}, "frame 5, keypoint 0: not a finite"),
        ({"keypoints_2d": np.array([[[1.0, 2.0], [np.nan, 1.0]]])}, "frame 0, keypoint 1: only one of x and y"),
        ({"keypoints_2d": np.zeros((1, 3, 2)), "visible": np.ones((3, 1), bool)}, r"visible is bool \[3, 1\]"),
        ({"keypoints_2d": np.full((1, 3, 2), np.nan), "visible": np.ones((1, 3), bool)}, "visible, but x and y"),
        ({"keypoints_2d": np.zeros((1, 3, 2)), "keypoint_names": np.array(["a"])}, "keypoint_names is <U1"),
        ({"keypoints_2d": np.zeros((1, 2, 2)), "keypoint_names": np.array(["a", "a"])}, "given twice: a"),
        ({"keypoints_2d": np.zeros((1, 3, 2)), "frames": np.zeros(1)}, "frames is float64"),
        ({"keypoints_2d": np.array([[[None, 1]]])}, "keypoints_2d cannot be read as a plain array"),
    ],
)
def test_npz_faults_are_named(tmp_path, content, message):
    np.savez(tmp_path / "in.npz", **content)
    with pytest.raises(ValueError, match=rf"in\.npz: .*{message}"):
        read_keypoints(tmp_path / "in.npz")


def test_names_map_onto_the_rig():
    order = [2, 0, 1]
    shuffled = Keypoints(POINTS[:, order], VISIBLE[:, order], tuple(NAMES[i] for i in order), (4, 7))
    check(match_rig(shuffled, RIG))
    check(match_rig(Keypoints(POINTS, VISIBLE, None, (4, 7)), RIG))


@pytest.mark.parametrize(
    ("names", "count", "message"),
    [
        (None, 2, "2 keypoints, but toy has 3: nose, left_eye, right_eye"),
        (("nose", "lefteye", "right_eye"), 3, "unknown keypoint 'lefteye' for toy; did you mean 'left_eye'?"),
        (("nose", "left_eye", "right_eye", "zzz"), 4, "unknown keypoint 'zzz' for toy; expected nose"),
        (("nose", "right_eye"), 2, "2 keypoints, but toy has 3; absent: left_eye"),
    ],
)
def test_keypoints_that_do_not_fit_the_rig(names, count, message):
    keypoints = Keypoints(torch.zeros(1, count, 2), torch.ones(1, count, dtype=torch.bool), names, (0,))
    with pytest.raises(ValueError, match=re.escape(message)):
        match_rig(keypoints, RIG)
