"""Animal3D: 26 keypoints in camera coordinates, whichever way the file's axes lie."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lfmlib.data import real
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders import animal3d

RNG = np.random.default_rng(0)
SHAPE = RNG.normal(size=(26, 3))


def image(number: int, axes=(1, 1, 1), **changes) -> dict:
    """An entry of "data"; the picture shows SHAPE plus the number, 3D is in axes that may be turned."""
    xy = 50 * (SHAPE[:, :2] + number) + 200
    fields = {
        "img_path": f"images/n{number:03}.JPEG", "mask_path": "masks/1.png", "height": 500, "width": 400,
        "bbox": [1, 2, 30, 40], "keypoint_2d": np.c_[xy, np.arange(26) % 3 > 0].tolist(),
        "keypoint_3d": ((SHAPE + number) * axes).tolist(), "pose": [0.0] * 105, "shape": [0.0] * 20, "trans": [0, 0, 9],
    }  # fmt: skip
    return {key: value for key, value in (fields | changes).items() if value is not ...}


def write(root: Path, train: list, test: list | None = None) -> Path:
    """train.json and test.json."""
    for name, images in (("train", train), ("test", test)):
        if images is not None:
            (root / f"{name}.json").write_text(json.dumps({"data": images, "info": "animals"}))
    return root


def test_shapes_and_split(tmp_path):
    write(tmp_path, [image(0), image(1), image(2)], [image(3)])
    ((name, shapes),) = animal3d.read(tmp_path, 1).items()
    assert name == shapes.rig.name == "animal3d26" and shapes.rig.n == 26 and shapes.rig.up == "-y"
    assert len(shapes.rig.symmetry) == 10 and shapes.rig.mirror[24] == 24 and shapes.rig.family == "quadruped"
    assert shapes.split.tolist() == [0, 0, 0, 1] and shapes.sequence.tolist() == [0, 1, 2, 3] and shapes.known.all()
    torch.testing.assert_close(shapes.points[2], torch.from_numpy((SHAPE + 2).astype(np.float32)))
    assert torch.equal(shapes.camera_R, torch.eye(3).expand(4, 3, 3))
    assert animal3d.read(tmp_path, 2)[name].split.tolist() == [0, 0, 1]
    assert animal3d.read(tmp_path / "test.json", 1)[name].split.tolist() == [0]
    (tmp_path / "train.json").rename(tmp_path / "other.json")
    assert animal3d.read(tmp_path, 1)[name].split.tolist() == [0]
    real.save(shapes, tmp_path / "animal3d26.npz")
    assert torch.equal(real.load(tmp_path / "animal3d26.npz").points, shapes.points)


@pytest.mark.parametrize("axes", [(1, 1, 1), (1, -1, -1), (-1, -1, 1), (-1, 1, -1)])
def test_axes_are_turned_to_the_picture(tmp_path, axes):
    write(tmp_path, [image(number, axes) for number in range(3)])
    shapes = animal3d.read(tmp_path, 1)["animal3d26"]
    torch.testing.assert_close(shapes.points[1], torch.from_numpy((SHAPE + 1).astype(np.float32)))


def test_frames_without_a_fitted_model_are_left_out(tmp_path):
    write(tmp_path, [image(0), image(1, keypoint_3d=[[0, 0, 0]] * 26), image(2)])
    assert animal3d.read(tmp_path, 1)["animal3d26"].sequence.tolist() == [0, 2]


def test_files_without_3d_give_keypoints(tmp_path):
    write(tmp_path, [image(0, keypoint_3d=...), image(1, keypoint_3d=...)])
    keypoints = animal3d.read(tmp_path, 1)["animal3d26"]
    assert isinstance(keypoints, Keypoints) and keypoints.frames == ("images/n000.JPEG", "images/n001.JPEG")
    assert keypoints.visible[0].tolist() == [i % 3 > 0 for i in range(26)] and not keypoints.points[0, 0].any()
    assert keypoints.points[1, 1].tolist() == pytest.approx((50 * (SHAPE[1, :2] + 1) + 200).tolist(), rel=1e-6)


def nan_at(place: int) -> list:
    points = SHAPE.tolist()
    points[place][1] = math.nan
    return points


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoint_2d": ...}, r"image 1 \(images/n001.JPEG\): keypoint_2d has shape"),
        ({"keypoint_2d": [[1, 2, 3]] * 25}, r"keypoint_2d has shape \[25, 3\], expected \[26, 2 or 3\]"),
        ({"keypoint_2d": "none"}, "keypoint_2d is not an array of numbers"),
        ({"keypoint_3d": [[1, 2]] * 26}, r"keypoint_3d has shape \[26, 2\], expected \[26, 3 or 4\]"),
        ({"keypoint_3d": [[1, 2, 3]] * 25 + [[1]]}, "keypoint_3d is not an array of numbers"),
        ({"keypoint_3d": nan_at(24)}, "keypoint_3d of nose is not finite"),
        ({"keypoint_3d": ...}, "images/n001.JPEG has no keypoint_3d, other images have"),
    ],
)
def test_broken_images(tmp_path, changes, message):
    write(tmp_path, [image(0), image(1, **changes)])
    with pytest.raises(ValueError, match=message) as error:
        animal3d.read(tmp_path, 1)
    assert str(tmp_path) in str(error.value)


def test_broken_files(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(FileNotFoundError, match="no such file"):
            animal3d.read(path, 1)
    path = write(tmp_path, [image(0)]) / "train.json"
    whole = path.read_text()
    for content, message in (("", "not a JSON file"), (whole[:-5], "not a JSON file"), ("[]", 'an object with "data"')):
        path.write_text(content)
        with pytest.raises(ValueError, match=f"train.json: .*{message}"):
            animal3d.read(tmp_path, 1)
    write(tmp_path, [])
    with pytest.raises(ValueError, match='expected an object with "data"'):
        animal3d.read(tmp_path, 1)
    write(tmp_path, ["image"])
    with pytest.raises(ValueError, match="image 0 is not an object"):
        animal3d.read(tmp_path, 1)
