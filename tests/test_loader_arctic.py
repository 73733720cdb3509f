"""ARCTIC: joints and keypoints of one standing camera out of the split files; files without joints are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lfmlib.data import real
from lfmlib.data.loaders import arctic


def sequence(seed: int, frames: int) -> dict:
    """What ARCTIC's scripts aggregate for one recording: ten views; a camera's points are the world's, moved."""
    rng = np.random.default_rng(seed)

    def views(count: int) -> np.ndarray:
        return rng.normal(size=(frames, 10, count, 3)).astype(np.float32)

    camera = {"joints.right": views(21), "joints.left": views(21), "kp3d": views(32), "bbox3d": views(16)}
    camera |= {"joints.smplx": np.full((frames, 10, 127, 3), np.nan, np.float32)}
    camera |= {"is_valid": np.zeros((frames, 9), np.int64), "rot_r_cam": np.zeros((frames, 9, 3), np.float32)}
    flat = {"joints.right": np.zeros((frames, 10, 21, 2), np.float32)}
    return {"cam_coord": camera, "2d": flat, "bbox": np.zeros((frames, 9, 3)), "params": {"rot_r": np.zeros((3, 3))}}


def write(folder: Path, name: str, recordings: dict) -> Path:
    images = [f"./data/arctic_data/data/images/{recording}/1/00010.jpg" for recording in recordings]
    np.save(folder / name, {"data_dict": recordings, "imgnames": images}, allow_pickle=True)
    return folder / name


@pytest.fixture
def folder(tmp_path) -> Path:
    write(tmp_path, "p1_train.npy", {"s01/box_use_01": sequence(0, 4), "s01/laptop_grab_01": sequence(1, 3)})
    write(tmp_path, "p1_val.npy", {"s05/box_use_02": sequence(2, 2)})
    write(tmp_path, "p2_val.npy", {"s05/box_use_02": sequence(2, 2)})
    return tmp_path


def view(seed: int, frames: int, field: str) -> np.ndarray:
    return sequence(seed, frames)["cam_coord"][field][:, 1]


def test_hands(folder):
    shapes = arctic.read(folder, 1)["arctic_hands42"]
    expected = [[view(s, n, f"joints.{side}") for s, n in ((0, 4), (1, 3), (2, 2))] for side in ("left", "right")]
    both = np.concatenate([np.concatenate(side) for side in expected], 1)
    assert torch.equal(shapes.points, torch.from_numpy(both)) and shapes.known.all()
    assert shapes.split.tolist() == [0] * 7 + [1] * 2 and shapes.sequence.tolist() == [0] * 4 + [1] * 3 + [2] * 2
    assert torch.equal(shapes.camera_R, torch.eye(3).expand(9, 3, 3))
    rig = shapes.rig
    assert (rig.unit, rig.mm, rig.up) == ("m", 1000.0, "-y")
    assert rig.keypoints[:5] == ("left_wrist", "left_index1", "left_index2", "left_index3", "left_middle1")
    assert rig.keypoints[16:21] == tuple(f"left_{tip}_tip" for tip in ("thumb", "index", "middle", "ring", "pinky"))
    assert rig.keypoints[21] == "right_wrist" and (0, 21) in rig.symmetry and len(rig.symmetry) == 21
    assert (13, 14) in rig.edges and (15, 16) in rig.edges and len(rig.edges) == 40  # the thumb's, to its tip


def test_objects(folder):
    found = arctic.read(folder, 1)
    assert list(found) == ["arctic_hands42", "arctic_box32", "arctic_laptop32"]
    box = found["arctic_box32"]
    assert torch.equal(box.points, torch.from_numpy(np.concatenate([view(0, 4, "kp3d"), view(2, 2, "kp3d")])))
    assert box.rig.keypoints[0] == "top_00" and box.rig.keypoints[31] == "bottom_15"
    assert box.split.tolist() == [0] * 4 + [1] * 2 and len(found["arctic_laptop32"]) == 3


def test_one_file_and_fewer_frames(folder):
    found = arctic.read(folder / "p1_train.npy", 2)
    assert len(found["arctic_hands42"]) == 4 and found["arctic_hands42"].shares_shapes
    assert torch.equal(found["arctic_box32"].points, torch.from_numpy(view(0, 4, "kp3d")[::2]))
    (folder / "p1_train.npy").unlink()
    (folder / "p1_val.npy").unlink()
    assert arctic.read(folder, 1)["arctic_hands42"].split.tolist() == [1, 1]  # p2 alone


def test_saved_and_loaded_again(folder):
    for name, shapes in arctic.read(folder, 1).items():
        real.save(shapes, folder / f"{name}.npz")
        again = real.load(folder / f"{name}.npz")
        assert torch.equal(again.points, shapes.points) and again.rig == shapes.rig
        assert torch.equal(again.camera_R, shapes.camera_R)


def test_files_without_joints(tmp_path):
    raw = tmp_path / "raw_seqs" / "s01"
    raw.mkdir(parents=True)
    hand = {"rot": np.zeros((60, 3)), "pose": np.zeros((60, 45)), "trans": np.zeros((60, 3)), "shape": np.zeros(10)}
    np.save(raw / "box_use_01.mano.npy", {"right": hand, "left": hand}, allow_pickle=True)
    with pytest.raises(ValueError, match=r"box_use_01\.mano\.npy: .*MANO's and SMPL-X's own models.*licences"):
        arctic.read(raw / "box_use_01.mano.npy", 1)
    with pytest.raises(FileNotFoundError, match=r"no p1_train\.npy.*\.mano\.npy holds parameters, not joints"):
        arctic.read(tmp_path, 1)
    np.save(tmp_path / "box_use_01.npy", sequence(0, 2), allow_pickle=True)
    with pytest.raises(ValueError, match=r"box_use_01\.npy: a single sequence; .*build_splits"):
        arctic.read(tmp_path / "box_use_01.npy", 1)


def changed(**fields) -> dict:
    good = sequence(0, 2)
    good["cam_coord"] |= fields
    good["cam_coord"] = {name: value for name, value in good["cam_coord"].items() if value is not None}
    return good


NAN = np.full((2, 10, 21, 3), np.nan)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (changed(**{"joints.left": None}), "no joints.left"),
        (changed(**{"joints.left": NAN}), "joints.left: frame 0 is not finite"),
        (changed(**{"joints.right": np.zeros((2, 21, 3))}), r"joints.right has shape \[2, 21, 3\]"),
        (changed(**{"joints.right": np.zeros((2, 10, 16, 3))}), r"joints.right: shape \[2, 16, 3\]"),
        (changed(**{"joints.right": np.zeros((3, 10, 21, 3))}), "different numbers of frames"),
        (changed(kp3d=np.zeros((2, 1, 32, 3))), "kp3d has shape"),
        (changed(kp3d=np.full((2, 10, 32, 3), "a")), "kp3d: <U1 in place of numbers"),
        ({"2d": {}}, "no dictionary cam_coord"),
        (None, "no dictionary cam_coord"),
    ],
)
def test_bad_recordings(tmp_path, entry, message):
    path = write(tmp_path, "p1_val.npy", {"s05/box_use_02": entry})
    with pytest.raises(ValueError, match=f"p1_val.npy: s05/box_use_02: .*{message}"):
        arctic.read(path, 1)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="p1_val.npy: no such file"):
        arctic.read(tmp_path / "p1_val.npy", 1)
    for content in ({"imgnames": []}, [1], {"data_dict": 3}):
        np.save(tmp_path / "p1_val.npy", content, allow_pickle=True)
        with pytest.raises(ValueError, match="p1_val.npy: no dictionary with data_dict"):
            arctic.read(tmp_path, 1)
    write(tmp_path, "p1_val.npy", {})
    with pytest.raises(ValueError, match="no recording"):
        arctic.read(tmp_path, 1)
    whole = write(tmp_path, "p1_val.npy", {"s05/box_use_02": sequence(2, 2)})
    with pytest.raises(ValueError, match="mine.npy: the name says neither train nor val"):
        arctic.read(whole.rename(tmp_path / "mine.npy"), 1)
    whole = write(tmp_path, "p1_val.npy", {"s05/box_use_02": sequence(2, 2)})
    for size in (0, 40, 3000):
        whole.write_bytes(whole.read_bytes()[:size] if size else b"")
        with pytest.raises(ValueError, match="p1_val.npy"):
            arctic.read(tmp_path, 1)
        whole = write(tmp_path, "p1_val.npy", {"s05/box_use_02": sequence(2, 2)})
