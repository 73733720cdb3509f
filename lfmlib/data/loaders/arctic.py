"""ARCTIC: two hands that handle an articulated object, from the aggregated split files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lfmlib import rigs
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders.base import Loader, shape_set
from lfmlib.data.loaders.unpickle import load_npy_objects, numbers
from lfmlib.data.shapes import ShapeSet
from lfmlib.rigs import Rig

VIEW = 1  # of ten: 0 and 9 are on the head, 1 to 8 stand still
SPLITS = {"train": 0, "val": 1}
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
TIPS = ("thumb", "index", "middle", "ring", "pinky")
# MANO's 16 joints, then the tips that the smplx package adds
HAND = ("wrist", *(f"{finger}{i}" for finger in FINGERS for i in (1, 2, 3)), *(f"{finger}_tip" for finger in TIPS))
CHAINS = tuple(f"wrist {f}1 {f}2 {f}3 {f}_tip" for f in FINGERS)
RAW = "holds parameters, not joints: those need MANO's and SMPL-X's own models, which have licences of their own; "


def hands() -> Rig:
    """The left hand's 21 joints, then the right one's."""
    sides = ("left", "right")
    bones = [" ".join(f"{side}_{joint}" for joint in chain.split()) for side in sides for chain in CHAINS]
    names = [f"{side}_{joint}" for side in sides for joint in HAND]
    return rigs.build("arctic_hands42", names, bones, unit="m", mm=1000.0, up="-y", family="hand")


def thing(name: str) -> Rig:
    """An object's 16 keypoints on the moving part (top), then the 16 on the other; they have no names of their own."""
    names = [f"{part}_{i:02}" for part in ("top", "bottom") for i in range(16)]
    return rigs.build(f"arctic_{name}32", names, unit="m", mm=1000.0, up="-y", family="object")


def read(path: Path, every: int) -> dict[str, ShapeSet | Keypoints]:
    """arctic_hands42 and arctic_box32, arctic_laptop32, ...: in metres, in the frame of the first standing camera.

    Args:
        path: p1_train.npy, p1_val.npy, p2_train.npy or p2_val.npy, or the folder with them (p1 goes before p2: they
            divide the same recordings). A file is read as a whole: it needs as much memory as it is large.
        every: keep every so-manieth frame of each recording (they have 30 per second).
    Raises:
        FileNotFoundError: no such file, or none of them in the folder.
        ValueError: a file of another kind (raw_seqs and its parameters of hand models, a single processed sequence),
            one that is damaged, or a field that is absent, not finite or of another shape; names file and field.

    Source: docs/data/data_doc.md, src/arctic/split.py and src/arctic/processing.py of github.com/zc-alexfan/arctic;
    order of the joints: "original MANO" there, and the smplx package.
    """
    files = [path]
    if path.is_dir():
        files = [path / f"{protocol}_{split}.npy" for protocol in ("p1", "p2") for split in SPLITS]
        files = [file for file in files if file.is_file()]
        files = [file for file in files if file.name[:2] == files[0].name[:2]]
        if not files:
            raw = next(path.rglob("*.mano.npy"), None)
            hint = f"; {raw.name} {RAW}" if raw else "; "
            raise FileNotFoundError(f"{path}: no p1_train.npy, p1_val.npy, p2_train.npy or p2_val.npy{hint}see splits/")
    joints: list[np.ndarray] = []
    frames: list[tuple[int, int]] = []
    objects: dict[str, tuple[list[np.ndarray], list[tuple[int, int]]]] = {}
    for split, recording, number, camera in _recordings(files):
        pair = [_view(camera, f"joints.{side}", 21, recording, every) for side in ("left", "right")]
        if len(pair[0]) != len(pair[1]):
            raise ValueError(f"{recording}: joints.left and joints.right have different numbers of frames")
        joints.append(np.concatenate(pair, 1))
        frames += [(split, number)] * len(pair[0])
        if "kp3d" in camera:
            kept = _view(camera, "kp3d", 32, recording, every)
            stored = objects.setdefault(recording.rpartition(" ")[2].rpartition("/")[2].split("_")[0], ([], []))
            stored[0].append(kept)
            stored[1].extend([(split, number)] * len(kept))
    result = {"arctic_hands42": _shapes(hands(), joints, frames, path)}
    return result | {f"arctic_{name}32": _shapes(thing(name), *objects[name], path) for name in sorted(objects)}


def _recordings(files: list[Path]) -> Iterator[tuple[int, str, int, dict[str, Any]]]:
    """Split, file and name, number, and camera coordinates of each recording."""
    number = 0
    for file in files:
        kind = file.stem.rpartition("_")[2]
        if ".mano" in file.name or ".smplx" in file.name:
            raise ValueError(f"{file}: {RAW}read splits/p1_train.npy and p1_val.npy instead")
        content = load_npy_objects(file)
        if isinstance(content, dict) and "cam_coord" in content:
            raise ValueError(f"{file}: a single sequence; aggregate with ARCTIC's scripts_data/build_splits.py first")
        if not isinstance(content, dict) or not isinstance(content.get("data_dict"), dict):
            raise ValueError(f"{file}: no dictionary with data_dict")
        if kind not in SPLITS:
            raise ValueError(f"{file}: the name says neither train nor val")
        for recording, entry in sorted(content["data_dict"].items(), key=lambda item: str(item[0])):
            camera = entry.get("cam_coord") if isinstance(entry, dict) else None
            if not isinstance(camera, dict):
                raise ValueError(f"{file}: {recording}: no dictionary cam_coord")
            yield SPLITS[kind], f"{file}: {recording}", number, camera
            number += 1


def _view(camera: dict[str, Any], field: str, count: int, recording: str, every: int) -> np.ndarray:
    if field not in camera:
        raise ValueError(f"{recording}: no {field}")
    found = camera[field]
    if not isinstance(found, np.ndarray) or found.ndim != 4 or found.shape[1] <= VIEW:
        raise ValueError(f"{recording}: {field} has shape {list(np.shape(found))}, expected [T, 10, {count}, 3]")
    return numbers(found[:, VIEW], ("T", count, 3), f"{recording}: {field}")[::every].astype(np.float32)


def _shapes(rig: Rig, points: list[np.ndarray], frames: list[tuple[int, int]], path: Path) -> ShapeSet:
    if not frames:
        raise ValueError(f"{path}: no recording")
    split, sequence = np.array(frames).T
    turns = np.broadcast_to(np.eye(3, dtype=np.float32), (len(frames), 3, 3))
    return shape_set(rig, np.concatenate(points), split, sequence, str(path), camera_R=turns)


LOADER = Loader(
    name="arctic",
    title="ARCTIC, hands and articulated objects (splits/p1_train.npy, p1_val.npy)",
    get="https://arctic.is.tue.mpg.de (registration)",
    licence="non-commercial research",
    expects="the folder splits, or one of its files; not raw_seqs (*.mano.npy), which holds no joints",
    gives="arctic_hands42 (21 joints of each hand) and arctic_<object>32 (its keypoints) in metres, frame of the first "
    "standing camera, y down; the validation file is the test, because the true test is withheld",
    read=read,
)
