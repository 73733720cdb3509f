"""Animal3D: mammals in photographs, with 26 keypoints in 2D and, from fitted SMAL models, in 3D."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from lfmlib import files, rigs
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders.base import Loader, shape_set
from lfmlib.data.shapes import ShapeSet

NAME = "animal3d26"
KEYPOINTS = (
    "left_eye", "right_eye", "mouth_mid", "left_front_paw", "right_front_paw", "left_back_paw", "right_back_paw",
    "tail_base", "left_front_thigh", "right_front_thigh", "left_back_thigh", "right_back_thigh", "left_shoulder",
    "right_shoulder", "left_front_knee", "right_front_knee", "left_back_knee", "right_back_knee", "neck", "tail_end",
    "left_ear", "right_ear", "left_mouth", "right_mouth", "nose", "tail_mid",
)  # fmt: skip
BONES = (
    "left_ear left_eye nose right_eye right_ear", "nose mouth_mid left_mouth", "mouth_mid right_mouth",
    "nose neck tail_base tail_mid tail_end", "neck left_shoulder left_front_thigh left_front_knee left_front_paw",
    "neck right_shoulder right_front_thigh right_front_knee right_front_paw",
    "tail_base left_back_thigh left_back_knee left_back_paw",
    "tail_base right_back_thigh right_back_knee right_back_paw",
)  # fmt: skip


def read(path: Path, every: int) -> dict[str, ShapeSet | Keypoints]:
    """Reads train.json and test.json (also those of CtrlAni3D, which has the same layout).

    The files do not say how their axes lie. They are read as camera coordinates, and turned by half a turn about an
    axis of the picture where x or y of keypoint_3d runs against that of keypoint_2d.

    Args:
        path: the folder with both, or one of the files (then all of it is training data).
        every: keep every so-manieth image.
    Returns:
        animal3d26: shapes in camera coordinates (x right, y down, z away), or, of files without keypoint_3d, keypoints.
    Raises:
        FileNotFoundError: no such file, or none of the two in the folder.
        ValueError: a file breaks the format; names the file, the image and the field.
    Source: AdaptiveMotorControlLab/FMPose3D, fmpose/animals/common/animal3d_dataset.py (fields) and
        animals/demo/vis_animals.py (order of the keypoints).
    """
    if path.is_file():
        parts = {path: 0}
    else:
        parts = {path / f"{name}.json": i for i, name in enumerate(("train", "test"))}
        parts = {file: split for file, split in parts.items() if file.is_file()}
    if not parts:
        raise FileNotFoundError(f"{path}: no such file, and no folder with train.json and test.json")
    images = [(split, *image) for file, split in parts.items() for image in _images(file, every)]
    lacking = [name for _, name, _, _, xyz in images if xyz is None]
    flat = np.stack([xy for _, _, xy, _, _ in images])
    seen = np.stack([visible for _, _, _, visible, _ in images])
    if len(lacking) == len(images):
        flat = np.where(seen[..., None], flat, 0).astype(np.float32)
        ids = tuple(name for _, name, *_ in images)
        frames = ids if len(set(ids)) == len(ids) else tuple(range(len(ids)))
        return {NAME: Keypoints(torch.from_numpy(flat), torch.from_numpy(seen), KEYPOINTS, frames)}
    if lacking:
        raise ValueError(f"{path}: {lacking[0]} has no keypoint_3d, other images have")
    points = np.stack([xyz for *_, xyz in images])
    known = np.isfinite(points).all(-1) & points.any((1, 2))[:, None]  # all zero: no model was fitted
    points = points * _signs(flat, points, seen & known)
    rig = rigs.build(NAME, KEYPOINTS, BONES, unit="SMAL unit", up="-y", family="quadruped")
    split = np.array([split for split, *_ in images], np.int8)
    if len(set(split.tolist())) == 1:
        split[:] = 0
    eye = np.broadcast_to(np.eye(3), (len(points), 3, 3))
    return {NAME: shape_set(rig, points, split, np.arange(len(points)), str(path), known, eye)}


def _images(path: Path, every: int) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]]:
    """(image, 2D [26, 2], visible [26], 3D [26, 3] or None) of every so-manieth image."""
    content = files.read_json(path)
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, list) or not data:
        raise ValueError(f'{path}: expected an object with "data", a list of images')
    result = []
    for number in range(0, len(data), every):
        image = data[number]
        if not isinstance(image, dict):
            raise ValueError(f"{path}: image {number} is not an object")
        name = str(image.get("img_path", number))
        where = f"{path}: image {number} ({name})"
        xy = _array(where, image, "keypoint_2d", (2, 3))
        visible = xy[:, 2] > 0 if xy.shape[1] == 3 else np.ones(len(xy), bool)
        xyz = _array(where, image, "keypoint_3d", (3, 4)) if image.get("keypoint_3d") is not None else None
        result.append((name, xy[:, :2], visible, xyz if xyz is None else xyz[:, :3]))
    return result


def _array(where: str, image: dict[str, Any], field: str, widths: tuple[int, int]) -> np.ndarray:
    try:
        array = np.array(image.get(field), dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {field} is not an array of numbers ({error})") from error
    if array.ndim != 2 or len(array) != len(KEYPOINTS) or array.shape[1] not in widths:
        raise ValueError(f"{where}: {field} has shape {list(array.shape)}, expected [26, {widths[0]} or {widths[1]}]")
    if not np.isfinite(array).all():
        raise ValueError(f"{where}: {field} of {KEYPOINTS[int((~np.isfinite(array)).any(1).argmax())]} is not finite")
    return array


def _signs(flat: np.ndarray, points: np.ndarray, both: np.ndarray) -> np.ndarray:
    """+1 or -1 per axis so that x and y run as in the picture; an even number of -1, so that it is a rotation."""
    weight = both[..., None]
    count = np.maximum(weight.sum(1, keepdims=True), 1)
    centred = [np.where(weight, p - (p * weight).sum(1, keepdims=True) / count, 0) for p in (flat, points[..., :2])]
    along = (centred[0] * centred[1]).sum((0, 1))
    x, y = np.where(along < 0, -1.0, 1.0)
    return np.array([x, y, x * y])


LOADER = Loader(
    name="animal3d",
    title="Animal3D (JSON, 26 keypoints)",
    get="https://xujiacong.github.io/Animal3D/",
    licence="research; see the page",
    expects="the folder with train.json and test.json",
    gives="26 keypoints in camera coordinates, unit of the SMAL fit; test.json is test",
    read=read,
)
