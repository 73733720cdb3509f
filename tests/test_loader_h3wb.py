"""H3WB: 133 keypoints from recordings (.npz) and from samples (.json), and what the files leave out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lfmlib.data import real
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders import h3wb

CAMERAS = ("54138969", "55011271", "58860488", "60457274")


def pose(seed: int, frames: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 500, (frames, 133, 3)).astype(np.float32)


def recording(seed: int, frames: int, extra_axis: bool = False) -> dict:
    points = pose(seed, frames)
    views = {
        camera: {"camera_3d": points + 1, "pose_2d": points[..., :2], "sample_id": np.arange(frames)}
        for camera in CAMERAS
    }
    return {"global_3d": points[:, None] if extra_axis else points, "frame_id": np.arange(frames) * 5} | views


def write_npz(folder: Path) -> Path:
    camera = {"K": np.eye(3)[None], "R": np.eye(3)[None], "T": np.zeros((1, 3)), "Distortion": np.zeros((1, 5))}
    metadata = {"left_side": [1, 3], "right_side": [2, 4], "face": list(range(23, 91))}
    metadata |= {s: dict.fromkeys(CAMERAS, camera) for s in ("S1", "S5")}
    train = {"S1": {"Walking": recording(0, 3), "Photo 1": recording(1, 2, extra_axis=True)}}
    train |= {"S5": {"Walking": recording(2, 2)}}
    np.savez_compressed(folder / "h3wb_train.npz", metadata=metadata, train_data=train)
    np.savez_compressed(folder / "task1_test_3d.npz", data={"S8": {"Sitting": recording(3, 4)}})
    return folder


def sample(points: np.ndarray, path: str | None = None, axes: str = "xyz") -> dict:
    field = f"keypoints_{len(axes)}d"
    content = {field: {str(j): dict(zip(axes, map(float, p), strict=True)) for j, p in enumerate(points)}}
    if path is not None:
        content |= {"image_path": path, "bbox": {"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4}}
    return content


def write_json(file: Path, poses: int, seed: int, subject: str | None = "S5", axes: str = "xyz") -> np.ndarray:
    """Samples 4k .. 4k + 3 are pose k from four cameras; the dictionary's order is not the samples'."""
    points = pose(seed, 4 * poses)[..., : len(axes)]
    samples = {}
    for i in reversed(range(4 * poses)):
        path = f"{subject}/Images/Walking {i // 8}.{CAMERAS[i % 4]}/frame_{i // 4 * 5:04}.jpg" if subject else None
        samples[str(i)] = sample(points[i], path, axes)
    file.write_text(json.dumps(samples))
    return points


def test_rig():
    rig = h3wb.rig133("h3wb133", "+z")
    at = {name: i for i, name in enumerate(rig.keypoints)}
    assert rig.n == 133 and (rig.unit, rig.mm) == ("mm", 1.0)
    places = {"nose": 0, "right_ankle": 16, "right_heel": 22, "jaw_0": 23, "nose_bridge_0": 50, "inner_lip_7": 90}
    places |= {"left_hand_root": 91, "left_thumb1": 92, "left_pinky_finger4": 111, "right_hand_root": 112}
    assert {name: at[name] for name in places} == places
    mirrored = {rig.keypoints[i]: rig.keypoints[j] for i, j in enumerate(rig.mirror)}
    pairs = {"nose": "nose", "left_heel": "right_heel", "right_thumb3": "left_thumb3", "jaw_0": "jaw_16"}
    pairs |= {"right_brow_0": "left_brow_4", "right_eye_0": "left_eye_3", "nose_base_2": "nose_base_2"}
    assert {name: mirrored[name] for name in pairs} == pairs
    assert (at["left_wrist"], at["left_hand_root"]) in rig.edges and (23, 24) in rig.edges


def test_recordings(tmp_path):
    ((name, shapes),) = h3wb.read(write_npz(tmp_path), 1).items()
    assert name == shapes.rig.name == "h3wb133" and shapes.rig.up == "+z"
    expected = np.concatenate([pose(0, 3), pose(1, 2), pose(2, 2), pose(3, 4)])
    assert torch.equal(shapes.points, torch.from_numpy(expected))
    assert shapes.split.tolist() == [0] * 7 + [1] * 4
    assert shapes.sequence.tolist() == [0] * 3 + [1] * 2 + [2] * 2 + [3] * 4
    real.save(shapes, tmp_path / "h3wb133.npz")
    again = real.load(tmp_path / "h3wb133.npz")
    assert torch.equal(again.points, shapes.points) and again.rig == shapes.rig
    thinned = h3wb.read(tmp_path / "h3wb_train.npz", 2)["h3wb133"]
    assert torch.equal(thinned.points, shapes.points[[0, 2, 3, 5]]) and thinned.shares_shapes


def test_samples(tmp_path):
    train = write_json(tmp_path / "RGBto3D_train.json", 3, 5)
    write_json(tmp_path / "2Dto3D_train.json", 3, 6, None)  # the same samples without their pictures
    test = write_json(tmp_path / "RGBto3D_test_3d.json", 1, 7, "S8")
    ((name, shapes),) = h3wb.read(tmp_path, 1).items()
    assert name == shapes.rig.name == "h3wb133_camera" and shapes.rig.up == "-y"
    assert torch.equal(shapes.points, torch.from_numpy(np.concatenate([train, test])))
    assert shapes.split.tolist() == [0] * 12 + [1] * 4
    assert shapes.sequence.tolist() == [0] * 8 + [1] * 4 + [2] * 4  # one recording for all its cameras
    assert torch.equal(shapes.camera_R, torch.eye(3).expand(16, 3, 3))
    thinned = h3wb.read(tmp_path / "RGBto3D_train.json", 2)["h3wb133_camera"]
    assert torch.equal(thinned.points, shapes.points[[0, 1, 2, 3, 8, 9, 10, 11]])


def test_samples_in_parts_without_pictures(tmp_path):
    parts = [write_json(tmp_path / f"2Dto3D_train_part{i}.json", 2, i, None) for i in (1, 2)]
    tests = [write_json(tmp_path / f"{task}to3D_test_3d.json", 1, 9, None) for task in ("2D", "I2D")]
    shapes = h3wb.read(tmp_path, 1)["h3wb133_camera"]
    assert torch.equal(shapes.points, torch.from_numpy(np.concatenate(parts + tests)))
    assert len(shapes.sequence.unique()) == 6 and shapes.split.tolist() == [0] * 16 + [1] * 8


def test_two_dimensions_alone(tmp_path):
    points = write_json(tmp_path / "2Dto3D_test_2d.json", 2, 3, None, "xy")
    found = h3wb.read(tmp_path / "2Dto3D_test_2d.json", 1)["h3wb133_2d"]
    assert isinstance(found, Keypoints) and torch.equal(found.points, torch.from_numpy(points))
    assert found.visible.all() and found.names[91] == "left_hand_root" and found.frames == tuple(range(8))


def broken(tmp_path: Path, change) -> Path:
    file = tmp_path / "RGBto3D_train.json"
    write_json(file, 1, 0)
    content = json.loads(file.read_text())
    file.write_text(json.dumps(change(content)))
    return file


def without(content: dict, *keys: str) -> dict:
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner.pop(keys[-1])
    return content


def put(content: dict, value, *keys: str) -> dict:
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {}, "empty one"),
        (lambda c: [1], "no dictionary of samples"),
        (lambda c: {"a": {}}, "sample 'a' is not a number"),
        (lambda c: {"0": 3}, "sample '0' is not"),
        (lambda c: put(c, None, "0", "keypoints_3d"), "sample 0: keypoints_3d lacks"),
        (lambda c: without(c, "2", "keypoints_3d"), "sample 2: keypoints_3d lacks 'keypoints_3d'"),
        (lambda c: without(c, "2", "keypoints_3d", "132"), "sample 2: keypoints_3d lacks '132'"),
        (lambda c: without(c, "2", "keypoints_3d", "5", "z"), "sample 2: keypoints_3d lacks 'z'"),
        (lambda c: put(c, "far", "2", "keypoints_3d", "5", "z"), "in place of numbers"),
        (lambda c: put(c, float("nan"), "2", "keypoints_3d", "5", "z"), "frame 2 is not finite"),
        (lambda c: {"0": {"image_path": "S8/a/b.jpg", "bbox": {}}}, "sample 0: keypoints_2d lacks"),
    ],
)
def test_bad_samples(tmp_path, change, message):
    with pytest.raises(ValueError, match=f"RGBto3D_train.json: .*{message}"):
        h3wb.read(broken(tmp_path, change), 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"metadata": {}}, "no dictionary train_data or data"),
        ({"data": np.zeros(3)}, "no dictionary train_data"),
        ({"train_data": {"S9": {}}}, "'S9' is not one of S1"),
        ({"train_data": {"S1": [1]}}, "'S1' is not one of"),
        ({"train_data": {"S1": {"Walking": {"frame_id": [1]}}}}, "S1 Walking: no global_3d"),
        ({"train_data": {"S1": {"Walking": {"global_3d": np.zeros((2, 17, 3))}}}}, r"S1 Walking: .*\[T, 133, 3\]"),
        ({"train_data": {"S1": {"Walking": {"global_3d": np.full((2, 133, 3), np.inf)}}}}, "frame 0 is not finite"),
        ({"train_data": {}}, "no recording"),
    ],
)
def test_bad_recordings(tmp_path, content, message):
    np.savez(tmp_path / "h3wb_train.npz", **content)
    with pytest.raises(ValueError, match=f"h3wb_train.npz.*{message}"):
        h3wb.read(tmp_path / "h3wb_train.npz", 1)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="none of h3wb_train.npz"):
        h3wb.read(tmp_path, 1)
    with pytest.raises(FileNotFoundError, match="absent.json: no such file"):
        h3wb.read(tmp_path / "absent.json", 1)
    write_json(tmp_path / "RGBto3D_train.json", 1, 0)
    text = (tmp_path / "RGBto3D_train.json").read_text()
    for content in ("", text[:-200]):
        (tmp_path / "RGBto3D_train.json").write_text(content)
        with pytest.raises(ValueError, match="RGBto3D_train.json: not a JSON file"):
            h3wb.read(tmp_path, 1)
