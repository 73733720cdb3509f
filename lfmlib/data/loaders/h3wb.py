"""H3WB: Human3.6M with 133 whole-body keypoints, as one .npz of recordings or as .json of single samples."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lfmlib import files, rigs
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders.base import Loader, shape_set, split_by
from lfmlib.data.loaders.unpickle import load_npz_objects, numbers
from lfmlib.data.shapes import ShapeSet
from lfmlib.rigs import Rig

SUBJECTS, TEST = ("S1", "S5", "S6", "S7", "S8"), ("S8",)
ARCHIVES = ("h3wb_train.npz", "task1_test_3d.npz", "task2_test_3d.npz")
# samples of the later names are among those of the first that is there
TRAIN_JSON = ("RGBto3D_train.json", "2Dto3D_train.json", "2Dto3D_train_part*.json")
TEST_JSON = ("RGBto3D_test_3d.json", "*2Dto3D_test_3d.json")
VIEWS = 4  # successive samples show one pose from the four cameras

BODY = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle", "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
BONES = (
    "left_ear left_eye nose right_eye right_ear", "left_shoulder right_shoulder right_hip left_hip left_shoulder",
    "{} shoulder elbow wrist hand_root", "{} hip knee ankle big_toe", "{} ankle small_toe", "{} ankle heel",
    *(f"{{}} hand_root {finger}1 {finger}2 {finger}3 {finger}4" for finger in FINGERS),
)  # fmt: skip


@cache
def rig133(name: str, up: str) -> Rig:
    """The 133 keypoints of COCO-WholeBody: body, feet, face (named as in face68_ict), left hand, right hand."""
    face, sides = rigs.get("face68_ict"), ("left", "right")
    hands = [f"{side}_{n}" for side in sides for n in ("hand_root", *(f"{f}{i}" for f in FINGERS for i in range(1, 5)))]
    keypoints = (*BODY, *face.keypoints, *hands)
    first, end = len(BODY), len(BODY) + face.n
    bones = [f"{face.keypoints[a]} {face.keypoints[b]}" for a, b in face.edges]
    for chain in BONES:
        marked, *joints = chain.split()
        bones += [" ".join(f"{s}_{j}" for j in joints) for s in sides] if marked == "{}" else [chain]
    pairs = [pair for pair in rigs.mirror_pairs(keypoints) if not first <= pair[0] < end]
    pairs += [(first + left, first + right) for left, right in face.symmetry]
    return rigs.build(name, keypoints, bones, symmetry=tuple(pairs), unit="mm", mm=1.0, up=up, family="human")


def read(path: Path, every: int) -> dict[str, ShapeSet | Keypoints]:
    """h3wb133 (.npz: world frame, z up) and h3wb133_camera (.json: axes of each camera, y down), in mm.

    Args:
        path: one file, or the folder with them: h3wb_train.npz and task*_test_3d.npz, or RGBto3D_*.json and
            2Dto3D_*.json. A file with 2D alone (..._test_2d.json, if it is `path`) gives the keypoints h3wb133_2d.
        every: keep every so-manieth frame of each recording, or pose (of four views) of a .json.
    Raises:
        FileNotFoundError: no such file, or none of them in the folder.
        ValueError: a file is damaged or not laid out as stated; names the file, the sample or recording, the field.

    Source: README.md, utils/utils.py, utils/prepare_data_h3wb.py and issues 5, 9, 12 and 16 of
    github.com/wholebody3d/wholebody3d; configs/_base_/datasets/h3wb.py of github.com/open-mmlab/mmpose (names).
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    archives, samples = [path] if path.suffix == ".npz" else [], [path] if path.suffix == ".json" else []
    if path.is_dir():
        archives = [path / name for name in ARCHIVES if (path / name).is_file()]
        for patterns in (TRAIN_JSON, TEST_JSON):
            samples += next((found for p in patterns if (found := sorted(path.glob(p)))), [])
    if not archives and not samples:
        raise FileNotFoundError(f"{path}: none of {', '.join((*ARCHIVES, *TRAIN_JSON, *TEST_JSON))}")
    result: dict[str, ShapeSet | Keypoints] = {}
    if archives:
        result["h3wb133"] = _from_archives(archives, every, str(path))
    if samples:
        contents = [(file, _samples(file, every)) for file in samples]
        if len(contents) == 1 and "keypoints_3d" not in contents[0][1][0][1]:
            return result | {"h3wb133_2d": _flat(*contents[0])}
        result["h3wb133_camera"] = _from_samples(contents, str(path))
    return result


def _from_archives(archives: list[Path], every: int, where: str) -> ShapeSet:
    points, subjects, sequence, number = [], [], [], 0
    for file in archives:
        arrays = load_npz_objects(file, ("train_data", "data"))
        content = arrays.get("train_data", arrays.get("data"))
        if not isinstance(content, dict):
            raise ValueError(f"{file}: no dictionary train_data or data")
        for subject, actions in content.items():
            if subject not in SUBJECTS or not isinstance(actions, dict):
                raise ValueError(f"{file}: {subject!r} is not one of {', '.join(SUBJECTS)} with its actions")
            for action, entry in actions.items():
                if not isinstance(entry, dict) or "global_3d" not in entry:
                    raise ValueError(f"{file}: {subject} {action}: no global_3d")
                found = entry["global_3d"]
                if isinstance(found, np.ndarray) and found.ndim == 4 and found.shape[1] == 1:
                    found = found[:, 0]
                kept = numbers(found, ("T", 133, 3), f"{file}: {subject} {action}: global_3d")[::every]
                points.append(kept.astype(np.float32))
                subjects += [subject] * len(kept)
                sequence += [number] * len(kept)
                number += 1
    if not subjects:
        raise ValueError(f"{where}: no recording")
    rig = rig133("h3wb133", "+z")
    return shape_set(rig, np.concatenate(points), split_by(subjects, TEST), np.array(sequence), where)


def _samples(file: Path, every: int) -> list[tuple[int, dict[str, Any]]]:
    """(number, sample) in order of the numbers."""
    content = files.read_json(file)
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{file}: no dictionary of samples, or an empty one")
    if bad := next((k for k, v in content.items() if not k.isdecimal() or not isinstance(v, dict)), None):
        raise ValueError(f"{file}: sample {bad!r} is not a number with a dictionary")
    numbered = sorted((int(key), sample) for key, sample in content.items())
    poses = {pose: i for i, pose in enumerate(dict.fromkeys(number // VIEWS for number, _ in numbered))}
    return [(number, sample) for number, sample in numbered if poses[number // VIEWS] % every == 0]


def _points(file: Path, samples: Iterable[tuple[int, dict[str, Any]]], field: str, axes: str) -> np.ndarray:
    rows, numbered = [], []
    for number, sample in samples:
        try:
            numbered.append(number)
            rows.append([[sample[field][str(j)][axis] for axis in axes] for j in range(133)])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{file}: sample {number}: {field} lacks {error}, expected 0..132 with {axes}") from error
    return numbers(rows, ("T", 133, len(axes)), f"{file}: {field}", numbered)


def _from_samples(contents: list[tuple[Path, list[tuple[int, dict[str, Any]]]]], where: str) -> ShapeSet:
    points, split, recordings = [], [], []
    for file, samples in contents:
        points.append(_points(file, samples, "keypoints_3d", "xyz").astype(np.float32))
        split += [int("_test" in file.name)] * len(samples)
        recordings += [_recording(file, number, sample) for number, sample in samples]
    _, sequence = np.unique(recordings, return_inverse=True)
    turns = np.broadcast_to(np.eye(3, dtype=np.float32), (len(split), 3, 3))
    rig = rig133("h3wb133_camera", "-y")
    return shape_set(rig, np.concatenate(points), np.array(split), sequence, where, camera_R=turns)


def _recording(file: Path, number: int, sample: dict[str, Any]) -> str:
    """What the four cameras saw: S5/Images/Walking 1.54138969/frame_0125.jpg without camera and frame, or one pose."""
    folders = str(sample.get("image_path", "")).split("/")[:-1]
    return "/".join(folders).rpartition(".")[0] or f"{file.name} {number // VIEWS}"


def _flat(file: Path, samples: list[tuple[int, dict[str, Any]]]) -> Keypoints:
    points = torch.from_numpy(_points(file, samples, "keypoints_2d", "xy").astype(np.float32))
    names = rig133("h3wb133_camera", "-y").keypoints
    frames = tuple(number for number, _ in samples)
    return Keypoints(points, torch.ones(points.shape[:2], dtype=torch.bool), names, frames)


LOADER = Loader(
    name="h3wb",
    title="H3WB, Human3.6M 3D WholeBody (.npz or .json)",
    get="https://github.com/wholebody3d/wholebody3d",
    licence="annotations MIT; Human3.6M's own terms besides",
    expects="the folder with h3wb_train.npz (and task1_test_3d.npz, task2_test_3d.npz), or with RGBto3D_train.json or "
    "2Dto3D_train.json (and *_test_3d.json); or one such file",
    gives="133 keypoints in mm: h3wb133 (.npz) in the world frame, z up; h3wb133_camera (.json) along each camera's "
    "axes, y down, each pose from four cameras; subject S8, that is the test files, is the test; h3wb133_2d from a "
    "file with 2D alone",
    read=read,
)
