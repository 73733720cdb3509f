"""C3DPO's .json files: Pascal3D+ (twelve classes), Human3.6M, UP3D and CUB birds, one dictionary per picture."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lfmlib import files, rigs
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders.base import Loader, shape_set
from lfmlib.data.loaders.human36m import rig17
from lfmlib.data.loaders.unpickle import numbers
from lfmlib.data.shapes import ShapeSet
from lfmlib.rigs import Rig

ENDINGS = ("train", "val", "test")
CUB = (
    "back", "beak", "belly", "breast", "crown", "forehead", "left_eye", "left_leg", "left_wing", "nape", "right_eye",
    "right_leg", "right_wing", "tail", "throat",
)  # fmt: skip
MOTORBIKE = (
    "back_seat", "front_seat", "head_center", "headlight_center", "left_back_wheel", "left_front_wheel",
    "left_handle_center", "right_back_wheel", "right_front_wheel", "right_handle_center",
)  # fmt: skip
MOTORBIKE_BONES = (
    "left_handle_center head_center right_handle_center", "headlight_center head_center front_seat back_seat",
    "left_back_wheel back_seat right_back_wheel left_back_wheel", "left_front_wheel headlight_center right_front_wheel",
    "left_front_wheel right_front_wheel",
)  # fmt: skip


class Group(NamedTuple):
    """The entries of one category in one file.

    Args:
        name: category.  kind: Pascal3D+ class or None.
        entries: as in the file.  places: the number of each there.
    """

    name: str
    kind: str | None
    entries: list[dict[str, Any]]
    places: list[int]


class Part(NamedTuple):
    """Shapes of one category from one file: points [F, N, 3], known [F, N], recording of each frame [F]."""

    rig: Rig
    points: np.ndarray
    known: np.ndarray
    split: int
    recording: list[str]


def read(path: Path, every: int) -> dict[str, ShapeSet | Keypoints]:
    """c3dpo_pascal3d_car, c3dpo_h36m, c3dpo_up3d_79kp, ...: c3dpo_, the file's name, and the class of Pascal3D+.

    Args:
        path: a file such as pascal3d_train.json, or the folder with several. Files without 3D (cub_birds) give 2D
            keypoints. The names end in _train, _val or _test; where there is a _test, _val belongs to training.
        every: keep every so-manieth picture of each file.
    Raises:
        FileNotFoundError: no such path, or no such file in the folder.
        ValueError: a file is no such .json, or an entry lacks a field, has another shape or a value that is not finite;
            names the file, the field and the entry.

    Source: dataset/keypoints_dataset.py, dataset_configs.py and eval_zoo.py of github.com/facebookresearch/c3dpo_nrsfm.
    Within a class the keypoints stand in the alphabet's order of their names: so say its stick figures of aeroplane,
    car, chair, motorbike and sofa; it is assumed for the other seven.
    """
    found = {file: _split(file) for file in ([path] if path.is_file() else _files(path))}
    stems = {file.stem for file in found}
    parts: dict[str, list[Part]] = {}
    result: dict[str, ShapeSet | Keypoints] = {}
    for file, (data_set, ending) in found.items():
        split = int(ending == "test" or (ending == "val" and f"{data_set}_test" not in stems))
        for group in _groups(file, f"c3dpo_{data_set}", every):
            if "kp_loc_3d" in group.entries[0]:
                parts.setdefault(group.name, []).append(_part(file, group, split))
            else:
                result[f"{group.name}_{ending}"] = _flat(file, group)
    for name, pieces in parts.items():
        if len({piece.rig for piece in pieces}) > 1:
            raise ValueError(f"{path}: the files of {name} have different keypoints or units")
        _, sequence = np.unique([r for piece in pieces for r in piece.recording], return_inverse=True)
        split = np.concatenate([np.full(len(piece.points), piece.split) for piece in pieces])
        points, known = (np.concatenate([getattr(piece, field) for piece in pieces]) for field in ("points", "known"))
        turns = np.broadcast_to(np.eye(3, dtype=np.float32), (len(points), 3, 3))
        result[name] = shape_set(pieces[0].rig, points, split, sequence, str(path), known=known, camera_R=turns)
    return result


def _files(path: Path) -> list[Path]:
    found = [file for ending in ENDINGS for file in sorted(path.glob(f"*_{ending}.json"))]
    if not found:
        raise FileNotFoundError(f"{path}: no *_train.json, *_val.json or *_test.json")
    return found


def _split(file: Path) -> tuple[str, str]:
    data_set, _, ending = file.stem.rpartition("_")
    if ending not in ENDINGS or not data_set:
        raise ValueError(f"{file}: the name ends neither in _train nor in _val or _test")
    return data_set, ending


def _groups(file: Path, name: str, every: int) -> list[Group]:
    content = files.read_json(file)
    entries = content.get("data") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{file}: no list of entries (data), each a dictionary")
    places = range(0, len(entries), every)
    if "class_mask" not in entries[0]:
        return [Group(name, None, entries[::every], list(places))]
    classes: dict[str, Group] = {}
    for i in places:
        about = entries[i].get("p3d_info")
        if not isinstance(about, dict) or not isinstance(kind := about.get("p3d_class"), str):
            raise ValueError(f"{file}: entry {i} has no p3d_info with p3d_class")
        group = classes.setdefault(kind, Group(f"{name}_{kind}", kind, [], []))
        group.entries.append(entries[i])
        group.places.append(i)
    return list(classes.values())


def _column(file: Path, group: Group, field: str, shape: tuple[int | str, ...], use: np.ndarray | None = None) -> Any:
    """A field of all the entries, as an array; where `use` [F, N] is false it may be anything."""
    where = f"{file}: {group.name}: {field}"
    entries = zip(group.places, group.entries, strict=True)
    if (absent := next((i for i, entry in entries if field not in entry), None)) is not None:
        raise ValueError(f"{where} is absent in entry {absent}")
    try:
        column = np.array([entry[field] for entry in group.entries], np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: not as many numbers in each entry ({error})") from error
    if use is not None and column.ndim == 3 and column.shape[::2] == use.shape:
        column = np.where(use[:, None], column, 0)
    return numbers(column, shape, where, group.places)


def _part(file: Path, group: Group, split: int) -> Part:
    first = group.entries[0]["kp_loc_3d"]
    count = len(first[0]) if isinstance(first, list) and first and isinstance(first[0], list) else 0
    known = np.ones((len(group.entries), count), bool)
    if group.kind is not None:
        mask = _column(file, group, "class_mask", ("F", count)) > 0
        if (mask != mask[0]).any():
            odd = group.places[int((mask != mask[0]).any(1).argmax())]
            raise ValueError(f"{file}: {group.name}: class_mask differs in entry {odd}")
        known = mask & (_column(file, group, "kp_defined", ("F", count)) > 0)
    points = _column(file, group, "kp_loc_3d", ("F", 3, count), known).transpose(0, 2, 1)
    recording = [f"{file.stem} {i:08}" for i in range(len(points))]
    if group.kind is not None:
        points, known = points[:, mask[0]], known[:, mask[0]]
    if points.shape[1] < 3:
        raise ValueError(f"{file}: {group.name}: {points.shape[1]} keypoints, expected at least 3")
    metric = False
    if "h36m_info" in group.entries[0]:
        about = [entry.get("h36m_info") for entry in group.entries]
        metric = all(isinstance(a, dict) and type(a.get("scale")) in (int, float) for a in about)
        if metric:
            scale = numbers([a["scale"] for a in about], ("F",), f"{file}: h36m_info: scale", group.places)
            points = points * scale[:, None, None]
            recording = [f"{file.stem} {a.get('action_name', '')}" for a in about]
    return Part(_rig(group, points.shape[1], metric), points.astype(np.float32), known, split, recording)


def _rig(group: Group, count: int, metric: bool) -> Rig:
    if group.kind == "motorbike" and count == len(MOTORBIKE):
        return rigs.build(group.name, MOTORBIKE, MOTORBIKE_BONES, up="-y", family="vehicle")
    if group.kind is not None and f"pascal3d_{group.kind}" in rigs.names():
        base = rigs.get(f"pascal3d_{group.kind}")
        if count == base.n:
            at = {i: sorted(base.keypoints).index(keypoint) for i, keypoint in enumerate(base.keypoints)}
            pairs = {f: tuple((at[a], at[b]) for a, b in getattr(base, f)) for f in ("edges", "symmetry")}
            return Rig(group.name, tuple(sorted(base.keypoints)), up="-y", family=base.family, **pairs)
    if "h36m_info" in group.entries[0] and count == 17:
        return rig17(group.name, unit="mm" if metric else "unit", mm=1.0 if metric else None, up="-y")
    family = "human" if "up3d" in group.name else "other"
    return rigs.build(group.name, [f"keypoint_{i:02}" for i in range(count)], up="-y", family=family)


def _flat(file: Path, group: Group) -> Keypoints:
    visible = _column(file, group, "kp_vis", ("F", "N")) > 0
    points = _column(file, group, "kp_loc", ("F", 2, visible.shape[1]), visible).transpose(0, 2, 1)
    names = CUB if "cub_birds" in group.name and len(CUB) == visible.shape[1] else None
    points = np.ascontiguousarray(np.where(visible[..., None], points, 0), np.float32)
    return Keypoints(torch.from_numpy(points), torch.from_numpy(visible), names, tuple(range(len(points))))


LOADER = Loader(
    name="c3dpo",
    title="C3DPO's .json: Pascal3D+, Human3.6M, UP3D, CUB birds",
    get="https://dl.fbaipublicfiles.com/c3dpo_nrsfm/<name>.json (names in dataset/dataset_configs.py of "
    "https://github.com/facebookresearch/c3dpo_nrsfm)",
    licence="code MIT; the data under their sources' own terms (Human3.6M: academic use only)",
    expects="the folder with pascal3d_train.json, pascal3d_val.json, h36m_train.json, ..., or one such file",
    gives="c3dpo_<file>[_<class>] in the frame of each picture's camera, y down; mm for Human3.6M, otherwise the "
    "file's own unit; UP3D's keypoints have numbers for names; _val (UP3D: _test) is the test",
    read=read,
)
