"""KeypointNet: semantic keypoints on ShapeNet models, one JSON file per category."""

from pathlib import Path
from typing import Any

import numpy as np

from lfmlib import files, rigs
from lfmlib.data.loaders.base import Loader, shape_set
from lfmlib.data.shapes import ShapeSet
from lfmlib.rigs import Rig

FAMILY = dict.fromkeys(("airplane", "car", "motorcycle", "vessel", "skateboard"), "vehicle")
FAMILY |= dict.fromkeys(("bathtub", "bed", "chair", "table"), "furniture")
FAMILY |= dict.fromkeys(("bottle", "mug"), "container") | dict.fromkeys(("cap", "helmet"), "clothing")
FAMILY |= dict.fromkeys(("guitar", "knife"), "tool") | {"laptop": "electronics"}
FOUR_LEGS = "chair10_keypointnet"


def read(path: Path, every: int) -> dict[str, ShapeSet]:
    """Reads annotations/<category>.json; an id that a model lacks is unknown.

    The keypoints of a category are its semantic ids. Chairs of the release since April 2020, with 21 ids, get the
    registered rig and its names, and those that have the ten keypoints of a four-legged one give that category as
    well; the others' keypoints are numbered.

    Args:
        path: the repository or data folder with `annotations` and `splits` in it.
        every: keep every so-manieth model.
    Returns:
        Category <name><number of ids>_keypointnet -> one frame per model, ShapeNet unit, y up. Models of val.txt and
        test.txt are split 1.
    Raises:
        FileNotFoundError: no annotations or no splits.
        ValueError: a file breaks the format; names the file, the model and the field.
    Source: qq456cvb/KeypointNet, README.md (format, splits), CHANGELOG.md (ids of chairs).
    """
    names = sorted((path / "annotations").glob("*.json"))
    names = [p for p in names if p.stem not in ("all", "all_annotations")]  # every category once more in one file
    if not names:
        raise FileNotFoundError(f"{path / 'annotations'}: no <category>.json in it")
    test = {model for part in ("val", "test") for model in _models(path / "splits" / f"{part}.txt")}
    result = {}
    for file in names:
        result |= _category(file, test, every)
    return result


def _models(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    models = path.read_text().split()
    if wrong := [model for model in models if "-" not in model]:
        raise ValueError(f"{path}: {wrong[0]!r}, expected <class id>-<model id>")
    return models


def _category(path: Path, test: set[str], every: int) -> dict[str, ShapeSet]:
    content = files.read_json(path)
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path}: expected a list of models")
    found = [_model(path, number, model) for number, model in enumerate(content)]
    count = 1 + max(max(points, default=0) for _, points in found)
    if count > 1000:
        raise ValueError(f"{path}: semantic_id {count - 1}, expected small numbers counted from 0")
    rig = _rig(path.stem, count)
    shapes = np.full((len(found), rig.n, 3), np.nan)
    for i, (_, points) in enumerate(found):
        for number, xyz in points.items():
            shapes[i, number] = xyz
    split = np.array([key in test for key, _ in found], np.int8)
    index = np.arange(len(found))
    keep = slice(None, None, every)
    result = {rig.name: shape_set(rig, shapes[keep], split[keep], index[keep], str(path))}
    if rig.name == "chair21_keypointnet":
        four = rigs.get(FOUR_LEGS)
        ten = shapes[:, [rig.keypoints.index(name) for name in four.keypoints]]
        whole = index[np.isfinite(ten).all((1, 2))][keep]
        if len(whole):
            result[FOUR_LEGS] = shape_set(four, ten[whole], split[whole], whole, str(path))
    return result


def _rig(category: str, count: int) -> Rig:
    name = f"{category}{count}_keypointnet"
    if name in rigs.names():
        return rigs.get(name)
    keypoints = [f"{category}_{i}" for i in range(max(count, 3))]
    family = FAMILY.get(category, "other")
    return rigs.build(name, keypoints, symmetry=(), unit="ShapeNet unit", up="+y", family=family)


def _model(path: Path, number: int, model: Any) -> tuple[str, dict[int, list[float | int]]]:
    """The model's name in the splits, and semantic id -> position."""
    where = f"{path}: model {number}"
    if not isinstance(model, dict) or not all(isinstance(model.get(f), str) for f in ("class_id", "model_id")):
        raise ValueError(f"{where}: no class_id or no model_id")
    key = f"{model['class_id']}-{model['model_id']}"
    keypoints = model.get("keypoints")
    if not isinstance(keypoints, list):
        raise ValueError(f"{where} ({key}): keypoints is not a list")
    points = {}
    for keypoint in keypoints:
        if not isinstance(keypoint, dict) or type(keypoint.get("semantic_id")) is not int:
            raise ValueError(f"{where} ({key}): a keypoint without semantic_id, a whole number")
        xyz = keypoint.get("xyz")
        if not isinstance(xyz, list) or len(xyz) != 3 or not all(type(v) in (int, float) for v in xyz):
            raise ValueError(f"{where} ({key}): xyz of semantic_id {keypoint['semantic_id']} is not three numbers")
        if keypoint["semantic_id"] < 0 or not np.isfinite(xyz).all():
            raise ValueError(f"{where} ({key}): semantic_id {keypoint['semantic_id']} with xyz {xyz}")
        points[keypoint["semantic_id"]] = xyz
    return key, points


LOADER = Loader(
    name="keypointnet",
    title="KeypointNet (JSON annotations of ShapeNet models)",
    get="github.com/qq456cvb/KeypointNet",
    licence="MIT (annotations)",
    expects="the folder with annotations/CATEGORY.json and splits/val.txt, test.txt",
    gives="one shape per model, ShapeNet unit, y up; an id that a model lacks is unknown; val and test models are test",
    read=read,
)
