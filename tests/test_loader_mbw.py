"""MBW and MV-NRSfM: pickles of one camera each, with measured shapes, hand-made 2D labels or MBW's own labels."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from lfmlib.data import real
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders import mbw

RNG = np.random.default_rng(0)


def write(folder: Path, cameras: list, as_dict: bool = False) -> Path:
    (folder / "annot").mkdir(parents=True, exist_ok=True)
    for i, frames in enumerate(cameras):
        content = dict(enumerate(frames)) if as_dict else frames
        (folder / "annot" / f"CAM_{i + 1}.pkl").write_bytes(pickle.dumps(content))
    return folder


def measured(frames: int, joints: int = 17) -> list[dict]:
    return [{"W_GT": RNG.normal(size=(joints, 2)), "S_GT": RNG.normal(size=(joints, 3))} for _ in range(frames)]


def zoo(frames: int, joints: int, labelled: tuple[int, ...] = (0,), predicted: bool = True) -> list[dict]:
    """Frames of the Zoo: labels in a few of them, NaN in the rest, and what MBW made of it."""
    result = []
    for i in range(frames):
        frame = {"W_GT": RNG.normal(size=(joints, 2)) if i in labelled else np.full((joints, 2), np.nan)}
        if predicted:
            frame |= {"W_Pred": RNG.normal(size=(joints, 2)), "S_Pred": RNG.normal(size=(joints, 3))}
            frame |= {"BBox": (9.0, 1.0, 8.0, 2.0), "confidence": np.bool_(i % 2 == 0)}
        result.append(frame)
    return result


@pytest.mark.parametrize("as_dict", [False, True])
def test_measured_shapes(tmp_path, as_dict):
    cameras = [measured(5), measured(5)]
    ((name, shapes),) = mbw.read(write(tmp_path / "Human36M", cameras, as_dict), 2).items()
    expected = np.array([frame["S_GT"] for frame in cameras[0]], np.float32)[::2]
    assert name == shapes.rig.name == "mbw_human36m" and torch.equal(shapes.points, torch.from_numpy(expected))
    assert shapes.rig.keypoints[1] == "right_hip" and shapes.rig.mm is None
    assert shapes.shares_shapes and shapes.sequence.tolist() == [0, 0, 0]
    real.save(shapes, tmp_path / "mbw_human36m.npz")
    again = real.load(tmp_path / "mbw_human36m.npz")
    assert torch.equal(again.points, shapes.points) and again.rig == shapes.rig


def test_a_joint_that_is_not_measured(tmp_path):
    frames = measured(2)
    frames[1]["S_GT"][3] = np.nan
    shapes = mbw.read(write(tmp_path / "Human36M", [frames]), 1)["mbw_human36m"]
    assert shapes.known.sum(1).tolist() == [17, 16] and not shapes.known[1, 3]


def test_labels_of_every_camera(tmp_path):
    cameras = [zoo(5, 16, (0, 4)), zoo(5, 16, (2,))]
    cameras[0][4]["W_GT"][7] = np.nan
    write(tmp_path / "data" / "Colobus_Monkey", cameras)
    write(tmp_path / "data" / "Turtle", [zoo(3, 9, (1,), predicted=False)])
    found = mbw.read(tmp_path / "data", 1)
    assert list(found) == ["mbw_colobus_monkey", "mbw_colobus_monkey_predicted", "mbw_turtle"]
    labels = found["mbw_colobus_monkey"]
    assert isinstance(labels, Keypoints) and labels.frames == ("CAM_1/0", "CAM_1/4", "CAM_2/2")
    assert labels.visible.sum(1).tolist() == [16, 15, 16] and labels.points[1, 7].tolist() == [0, 0]
    torch.testing.assert_close(labels.points[2].double(), torch.from_numpy(cameras[1][2]["W_GT"]), atol=1e-6, rtol=1e-6)
    assert labels.names == tuple(f"joint_{i:02}" for i in range(16)) and len(found["mbw_turtle"].names) == 9
    made = found["mbw_colobus_monkey_predicted"]
    expected = np.array([frame["S_Pred"] for frame in cameras[0]], np.float32)[::2]  # those that MBW trusts
    assert torch.equal(made.points, torch.from_numpy(expected)) and (9, 10) in made.rig.edges


def test_names_and_one_file(tmp_path):
    folder = write(tmp_path / "Clownfish", [zoo(2, 6), zoo(2, 6)])
    found = mbw.read(folder / "annot" / "CAM_1.pkl", 1)
    assert found["mbw_clownfish"].names[4:] == ("left_fin", "right_fin")
    assert found["mbw_clownfish_predicted"].rig.symmetry == ((4, 5),)
    assert mbw.rig_of("clownfish", 7, "x").edges == ()  # not the joints that are known of it


def test_the_cameras_are_in_their_order(tmp_path):
    cameras = [zoo(1, 6) for _ in range(11)]
    found = mbw.read(write(tmp_path / "Seahorse", cameras), 1)["mbw_seahorse"]
    assert found.frames == tuple(f"CAM_{i}/0" for i in range(1, 12))


def test_frames_that_mbw_gave_up(tmp_path):
    frames = zoo(3, 12)
    frames[0]["S_Pred"] = np.zeros((12, 3))
    frames[2]["S_Pred"][5] = np.nan
    made = mbw.read(write(tmp_path / "Fish", [frames]), 1)["mbw_fish_predicted"]
    assert made.known.sum(1).tolist() == [11]


def fault(change) -> list[dict]:
    frames = zoo(3, 12)
    change(frames)
    return frames


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (fault(lambda f: f[1].pop("W_GT")), "frame 1 has no W_GT"),
        (fault(lambda f: f[0].pop("W_GT")), "frame 0 has no W_GT"),
        (fault(lambda f: f[2].pop("S_Pred")), "frame 2 has no S_Pred"),
        (fault(lambda f: f[1].update(W_GT=np.zeros((11, 2)))), "W_GT: not the same number"),
        (fault(lambda f: f[1].update(W_GT="a")), "W_GT: not the same number"),
        (fault(lambda f: [x.update(W_GT=np.zeros((12, 3))) for x in f]), r"W_GT: shape \[1, 12, 3\]"),
        (fault(lambda f: f[1].update(W_GT=np.full((12, 2), np.inf))), "W_GT: frame 1 is not finite"),
        (fault(lambda f: [x.update(S_Pred=np.zeros((12, 2))) for x in f]), "S_Pred: shape"),
        (fault(lambda f: [x.update(W_GT=np.zeros((2, 2))) for x in f]), "W_GT has 2 joints"),
        (zoo(2, 12, (), predicted=False), "no label"),
        ([], "no list of frames"),
        ([3], "no list of frames"),
        ({"a": {}}, "no list of frames"),
        (np.zeros(3), "no list of frames"),
    ],
)
def test_bad_frames(tmp_path, frames, message):
    path = write(tmp_path / "Fish", [frames]) if isinstance(frames, list) else tmp_path / "Fish" / "annot"
    if not isinstance(frames, list):
        path.mkdir(parents=True)
        (path / "CAM_1.pkl").write_bytes(pickle.dumps(frames))
    with pytest.raises(ValueError, match=f"CAM_1.pkl.*{message}"):
        mbw.read(path, 1)


class Hostile:
    def __reduce__(self):
        return os.system, ("true",)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent: no such file or folder"):
        mbw.read(tmp_path / "absent", 1)
    with pytest.raises(FileNotFoundError, match=r"no \.pkl"):
        mbw.read(tmp_path, 1)
    whole = pickle.dumps(zoo(2, 12))
    write(tmp_path / "Fish", [zoo(2, 12)])
    path = tmp_path / "Fish" / "annot" / "CAM_1.pkl"
    for content, message in (
        (b"", "empty"),
        (whole[:-30], "cannot be read"),
        (b"text", "cannot be read"),
        (pickle.dumps([{"W_GT": Hostile()}]), rf"it names {os.name}\.system, which is refused"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"CAM_1.pkl: .*{message}"):
            mbw.read(tmp_path, 1)
