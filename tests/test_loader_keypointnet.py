"""KeypointNet: semantic ids become keypoints, what a model lacks is unknown, val and test models are test."""

import json
from pathlib import Path

import pytest
import torch

from lfmlib import rigs
from lfmlib.data import real
from lfmlib.data.loaders import keypointnet

CHAIR = "03001627"


def model(name: str, *ids: int, class_id: str = CHAIR) -> dict:
    """An entry of an annotation file; keypoint i of model m is at (i, length of m's name, -i)."""
    keypoints = [
        {
            "xyz": [float(i), len(name), -0.5 * i], "rgb": [1, 2, 3], "semantic_id": i,
            "pcd_info": {"point_index": 7}, "mesh_info": {"face_index": 9, "face_uv": [0.2, 0.3, 0.5]},
        }
        for i in ids
    ]  # fmt: skip
    return {"class_id": class_id, "model_id": name, "keypoints": keypoints, "symmetries": {}}


def write(root: Path, category: str, models: list[dict], val: str = "", test: str = "") -> Path:
    """annotations/<category>.json and the lists."""
    for folder in ("annotations", "splits"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    path = root / "annotations" / f"{category}.json"
    path.write_text(json.dumps(models))
    for part, lines in (("train", "x-y\n"), ("val", val), ("test", test)):
        (root / "splits" / f"{part}.txt").write_text(lines)
    return path


def test_a_category(tmp_path):
    models = [model("a", 0, 1, 4), model("bb", 3, 2, 1), model("ccc", 0, 1, 2, 3, 4), model("dddd", 0)]
    write(tmp_path, "mug", models, val=f"{CHAIR}-bb\n", test=f"{CHAIR}-ccc\n{CHAIR}-other\n")
    (shapes,) = keypointnet.read(tmp_path, 1).values()
    assert shapes.rig.name == "mug5_keypointnet" and shapes.rig.keypoints == tuple(f"mug_{i}" for i in range(5))
    assert (shapes.rig.unit, shapes.rig.mm, shapes.rig.up) == ("ShapeNet unit", None, "+y")
    assert shapes.known.int().tolist() == [[1, 1, 0, 0, 1], [0, 1, 1, 1, 0], [1] * 5]  # the last has one keypoint only
    assert shapes.points[1].tolist() == [[0, 0, 0], [1, 2, -0.5], [2, 2, -1], [3, 2, -1.5], [0, 0, 0]]
    assert shapes.split.tolist() == [0, 1, 1] and shapes.sequence.tolist() == [0, 1, 2]
    assert len(keypointnet.read(tmp_path, 2)["mug5_keypointnet"]) == 2
    real.save(shapes, tmp_path / "mug5_keypointnet.npz")
    assert torch.equal(real.load(tmp_path / "mug5_keypointnet.npz").points, shapes.points)


def test_chairs_get_the_registered_rigs(tmp_path):
    models = [model("a", *range(6), 17, 18, 19, 20), model("b", *range(6), *range(10, 17)), model("c", 0, 1, 20)]
    write(tmp_path, "chair", models, test=f"{CHAIR}-a")
    found = keypointnet.read(tmp_path, 1)
    assert [shapes.rig for shapes in found.values()] == [rigs.get(name) for name in found]
    many, few = found["chair21_keypointnet"], found["chair10_keypointnet"]
    assert many.known.sum(1).tolist() == [10, 13, 3] and few.sequence.tolist() == [0]
    assert few.points[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5, 17, 18, 19, 20] and few.split.tolist() == [1]


def test_chairs_of_the_first_release_are_another_category(tmp_path):
    write(tmp_path, "chair", [model("a", *range(17))])  # their legs had the ids of swivel legs
    assert list(keypointnet.read(tmp_path, 1)) == ["chair17_keypointnet"]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "expected a list of models"),
        ({"a": 1}, "expected a list of models"),
        ([model("a", 0, 1, 2), {"model_id": "b"}], "model 1: no class_id"),
        ([model("a") | {"keypoints": None}], "model 0 .*: keypoints is not a list"),
        ([model("a") | {"keypoints": [{"xyz": [1, 2, 3]}]}], "without semantic_id"),
        ([model("a") | {"keypoints": [{"xyz": [1, 2], "semantic_id": 4}]}], "xyz of semantic_id 4 is not three"),
        ([model("a") | {"keypoints": [{"xyz": [1, 2, None], "semantic_id": 4}]}], "xyz of semantic_id 4"),
        ([model("a") | {"keypoints": [{"xyz": [1, 2, float("nan")], "semantic_id": 4}]}], "semantic_id 4 with xyz"),
        ([model("a") | {"keypoints": [{"xyz": [1, 2, 3], "semantic_id": -1}]}], "semantic_id -1 with"),
        ([model("a", 10**6)], "semantic_id 1000000, expected small numbers"),
        ([model("a", 0, 1)], "no frame has 3 known keypoints"),
    ],
)
def test_broken_annotations(tmp_path, models, message):
    path = write(tmp_path, "mug", models)
    with pytest.raises(ValueError, match=message) as error:
        keypointnet.read(tmp_path, 1)
    assert str(path) in str(error.value)


def test_files_that_are_absent_or_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match="annotations: no <category>.json"):
        keypointnet.read(tmp_path, 1)
    path = write(tmp_path, "mug", [model("a", 0, 1, 2)], val="no_list")
    with pytest.raises(ValueError, match="val.txt: 'no_list', expected"):
        keypointnet.read(tmp_path, 1)
    (tmp_path / "splits" / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match="val.txt: no such file"):
        keypointnet.read(tmp_path, 1)
    write(tmp_path, "mug", [model("a", 0, 1, 2)])
    for content in ("", path.read_text()[:-9]):
        path.write_text(content)
        with pytest.raises(ValueError, match="mug.json: not a JSON file"):
            keypointnet.read(tmp_path, 1)
