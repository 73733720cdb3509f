"""Human3.6M: the files of 3d-pose-baseline, of the MATLAB conversion and of VideoPose3D say the same thing."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat

from lfmlib.data import loaders, real
from lfmlib.data.loaders import human36m, videopose3d

MOVING = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
RECORDINGS = {"S1": {"Walking": 4, "Walking 1": 3}, "S8": {"Photo": 2}, "S9": {"Walking": 3}, "S11": {"Sitting": 2}}


def positions(subject: str, action: str, frames: int) -> np.ndarray:
    """[T, 32, 3] in mm; each coordinate tells subject, frame, joint and axis."""
    t, j, axis = np.meshgrid(np.arange(frames), np.arange(32), np.arange(3), indexing="ij")
    return (1000 * int(subject[1:]) + 100 * t + 3 * j + axis + 0.25 * len(action)).astype(np.float64)


def data() -> dict[str, dict[str, np.ndarray]]:
    return {s: {a: positions(s, a, n) for a, n in actions.items()} for s, actions in RECORDINGS.items()}


def write_h5(folder: Path, content: dict) -> Path:
    for subject, actions in content.items():
        (folder / subject / "MyPoses" / "3D_positions").mkdir(parents=True)
        for action, p in actions.items():
            with h5py.File(folder / subject / "MyPoses" / "3D_positions" / f"{action}.h5", "w") as file:
                file["3D_positions"] = p.reshape(-1, 96).T
    return folder


def write_mat(folder: Path, content: dict) -> Path:
    for subject, actions in content.items():
        (folder / subject / "MyPoseFeatures" / "D3_Positions").mkdir(parents=True)
        for action, p in actions.items():
            cell = np.empty((1, 1), object)
            cell[0, 0] = p.reshape(-1, 96).astype(np.float32)
            savemat(folder / subject / "MyPoseFeatures" / "D3_Positions" / f"{action}.cdf.mat", {"data": cell})
    return folder


def write_npz(folder: Path, content: dict) -> Path:
    metres = {s: {a: (p / 1000).astype("float32") for a, p in actions.items()} for s, actions in content.items()}
    np.savez_compressed(folder / "data_3d_h36m", positions_3d=metres)
    return folder / "data_3d_h36m.npz"


@pytest.mark.parametrize("write", [write_h5, write_mat, write_npz])
def test_seventeen_joints_of_every_recording(tmp_path, write):
    path = write(tmp_path, data())
    loader = loaders.get("videopose3d" if write is write_npz else "human36m")
    ((name, shapes),) = loader.read(path, 1).items()
    rig, expected = shapes.rig, data()
    assert name == rig.name == ("videopose3d17" if write is write_npz else "human36m17")
    assert (rig.unit, rig.mm) == (("m", 1000.0) if write is write_npz else ("mm", 1.0)) and rig.up == "+z"
    assert rig.keypoints[0] == "pelvis" and rig.keypoints[1:4] == ("right_hip", "right_knee", "right_ankle")
    assert [rig.keypoints[i] for i in (4, 11, 16)] == ["left_hip", "left_shoulder", "right_wrist"]
    order = [expected[s][a] for s in human36m.TRAIN + human36m.TEST if s in expected for a in sorted(expected[s])]
    by_hand = np.concatenate(order)[:, MOVING] / (1000 if write is write_npz else 1)
    torch.testing.assert_close(shapes.points, torch.tensor(by_hand, dtype=torch.float32))
    assert shapes.split.tolist() == [0] * 9 + [1] * 5 and shapes.known.all()
    assert [len(shapes.sequence[shapes.sequence == s]) for s in shapes.sequence.unique()] == [4, 3, 2, 3, 2]
    assert shapes.tag == "real" and shapes.camera_R is None


def test_every_frame_counts_within_a_recording(tmp_path):
    shapes = human36m.read(write_h5(tmp_path, data()), 2)["human36m17"]
    assert [len(shapes.sequence[shapes.sequence == s]) for s in shapes.sequence.unique()] == [2, 2, 1, 2, 1]
    walking = positions("S1", "Walking", 4)[::2, MOVING]
    torch.testing.assert_close(shapes.points[:2], torch.tensor(walking, dtype=torch.float32))


@pytest.mark.parametrize("write", [write_h5, write_npz])
def test_the_damaged_recording_is_left_out(tmp_path, write):
    content = {"S11": {"Directions": positions("S11", "x", 5), "Directions 1": positions("S11", "y", 2)}}
    loader = loaders.get("videopose3d" if write is write_npz else "human36m")
    (shapes,) = loader.read(write(tmp_path, content), 1).values()
    assert len(shapes) == 2 and shapes.split.tolist() == [1, 1]


def test_saved_and_loaded_again(tmp_path):
    shapes = human36m.read(write_mat(tmp_path / "data", data()), 1)["human36m17"]
    real.save(shapes, tmp_path / "human36m17.npz")
    again = real.load(tmp_path / "human36m17.npz")
    assert torch.equal(again.points, shapes.points) and torch.equal(again.split, shapes.split)
    assert again.rig == shapes.rig and torch.equal(again.sequence, shapes.sequence)


def test_files_already_reduced(tmp_path):
    content = {s: {a: p[:, MOVING] for a, p in actions.items()} for s, actions in data().items()}
    shapes = videopose3d.read(write_npz(tmp_path, content).parent, 1)["videopose3d17"]
    assert shapes.points.shape == (14, 17, 3) and float(shapes.points[0, 4, 0]) == pytest.approx(1.01975)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"S1": {"Walking": np.zeros((2, 15, 3))}}, r"S1 Walking: shape \[2, 15, 3\], expected \[T, 32, 3\]"),
        ({"S1": {"Walking": np.full((2, 32, 3), np.nan)}}, "S1 Walking: frame 0 is not finite"),
        ({"S2": {"Walking": np.zeros((2, 32, 3))}}, "S2 Walking: subject 'S2', expected one of S1"),
        ({"S1": {"Walking": np.array([["a"]])}}, "S1 Walking: <U1 in place of numbers"),
        ({"S1": {"Walking": None}}, "S1 Walking: object in place of numbers"),
        ({"S1": np.zeros(3)}, "S1 is no dictionary of actions"),
        ({}, "no recording"),
    ],
)
def test_bad_npz(tmp_path, content, message):
    np.savez_compressed(tmp_path / "data_3d_h36m.npz", positions_3d=content)
    with pytest.raises(ValueError, match=f"data_3d_h36m.npz.*{message}"):
        videopose3d.read(tmp_path, 1)


def test_bad_npz_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="data_3d_h36m.npz"):
        videopose3d.read(tmp_path, 1)
    np.savez(tmp_path / "data_3d_h36m.npz", positions_2d={"S1": {}})
    with pytest.raises(ValueError, match=r"data_3d_h36m.npz: no dictionary positions_3d"):
        videopose3d.read(tmp_path, 1)
    whole = write_npz(tmp_path, data())
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"data_3d_h36m.npz: .*cut short"):
        videopose3d.read(whole, 1)


def damage(kind: str, folder: Path) -> None:
    write = write_h5 if kind.startswith("h5") else write_mat
    write(folder, {"S1": {"Walking": positions("S1", "Walking", 2)}})
    (file,) = (path for path in folder.rglob("Walking*") if path.is_file())
    if kind.endswith("empty"):
        file.write_bytes(b"")
    elif kind.endswith("cut"):
        file.write_bytes(file.read_bytes()[:-100])
    elif kind.endswith("text"):
        file.write_text("no such file " * 20)
    elif kind.startswith("h5"):
        value = {"name": np.zeros((96, 2)), "shape": np.zeros((2, 96)), "nan": np.full((96, 2), np.nan)}[kind[3:]]
        with h5py.File(file, "w") as archive:
            archive["positions" if kind == "h5 name" else "3D_positions"] = value
    else:
        value = {"name": np.zeros((2, 96)), "shape": np.zeros((96, 2)), "nan": np.full((2, 96), np.nan)}[kind[4:]]
        cell = np.empty((1, 1), object)
        cell[0, 0] = value
        savemat(file, {"positions" if kind == "mat name" else "data": cell})


KINDS = [f"{suffix} {fault}" for suffix in ("h5", "mat") for fault in ("empty", "cut", "text", "name", "shape", "nan")]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_files(tmp_path, kind):
    damage(kind, tmp_path)
    words = {"shape": "expected", "nan": "not finite"}.get(kind.split()[1], "no HDF5 file|no MATLAB file")
    with pytest.raises(ValueError, match=f"Walking.*({words})"):
        human36m.read(tmp_path, 1)


def test_no_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent: no such folder"):
        human36m.read(tmp_path / "absent", 1)
    with pytest.raises(FileNotFoundError, match=r"no S\*/MyPoses/3D_positions/\*\.h5"):
        human36m.read(tmp_path, 1)
    raw = tmp_path / "S1" / "MyPoseFeatures" / "D3_Positions"
    raw.mkdir(parents=True)
    (raw / "Walking.cdf").write_bytes(b"CDF")
    with pytest.raises(FileNotFoundError, match=r"\.cdf files there need .*convert_cdf_to_mat"):
        human36m.read(tmp_path, 1)
