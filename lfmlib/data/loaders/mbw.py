"""MBW and MV-NRSfM: one pickle of frames per camera, with 3D where it was measured, or the labels that MBW made."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lfmlib import rigs
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders.base import Loader, shape_set
from lfmlib.data.loaders.human36m import rig17
from lfmlib.data.loaders.unpickle import load_pickle, numbers
from lfmlib.data.shapes import ShapeSet
from lfmlib.rigs import Rig

MONKEY = ("0 1 2 3 4", "1 5 6 7", "1 8 9 10 11 12", "9 13 14 15")
# number of joints, and chains of their numbers; only two of the objects have names in the files
CHAINS: dict[str, tuple[int, tuple[str, ...]]] = {
    "cheetah": (20, ("0 1 3 4 5 6 7", "1 2", "3 8 9 10", "3 11 12 13", "5 17 18 19", "5 14 15 16", "4 14", "4 17")),
    "chimpanzee": (16, MONKEY),
    "clownfish": (6, ("0 1 2 3", "1 4", "1 5")),
    "colobus_monkey": (16, MONKEY),
    "fish": (12, ("0 1 2 3 4 5 6 7 5 8 9 10 11 0", "1 3", "8 10")),
    "flamingo": (11, ("0 1 2 3 4 5 6 7 8", "3 6", "6 9 10")),
    "seahorse": (6, ("0 1 2 3 4 5", "1 3")),
    "tiger": (14, ("0 1 2 3 4 5", "1 6 7", "1 8 9", "3 10 11", "3 12 13")),
}
FISH = ("nose_tip", "top_fin", "lower_fin", "tail_fin", "left_fin", "right_fin")
NAMES = {"clownfish": FISH, "seahorse": FISH}


def rig_of(thing: str, count: int, name: str) -> Rig:
    """The rig of an object of the data set; one that is not known has numbered joints and no bones."""
    if thing.startswith("human") and count == 17:
        return rig17(name, unit="unit", mm=None, up="-y")
    known, chains = CHAINS.get(thing, (0, ()))
    joints = NAMES.get(thing, ()) if known == count else ()
    joints = joints or tuple(f"joint_{i:02}" for i in range(count))
    bones = [" ".join(joints[int(i)] for i in chain.split()) for chain in chains] if known == count else []
    return rigs.build(name, joints, bones, up="-y", family="human" if thing.startswith("human") else "animal")


def read(path: Path, every: int) -> dict[str, ShapeSet | Keypoints]:
    """mbw_<object> for each object: shapes where the files hold S_GT, otherwise the 2D labels set by hand.

    Where there are predictions (S_Pred), mbw_<object>_predicted are the shapes that MBW itself reconstructed, of the
    frames that it trusts: no measurement. Both kinds of 3D are taken from the first camera, because the others show
    the same shapes from elsewhere.

    Args:
        path: the folder data, one object in it (Chimpanzee/annot/*.pkl), or one .pkl.
        every: keep every so-manieth frame.
    Raises:
        FileNotFoundError: no such path, or no .pkl there.
        ValueError: a file is damaged or holds other classes, a field is absent or of another shape, or nothing is
            labelled; names the file, the field and the frame.

    Source: README.md, python/label_visualizations.py and Datasheet_for_Dataset of github.com/mosamdabhi/MBW-Data,
    common/util_common.py and configs/joints of github.com/mosamdabhi/MBW. Nothing there says what frame S_GT is in.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    things: dict[Path, list[Path]] = {}
    for file in [path] if path.is_file() else sorted(path.rglob("*.pkl"), key=_natural):
        folder = next((parent.parent for parent in file.parents if parent.name == "annot"), file.parent)
        things.setdefault(folder, []).append(file)
    if not things:
        raise FileNotFoundError(f"{path}: no .pkl, expected <object>/annot/*.pkl")
    result: dict[str, ShapeSet | Keypoints] = {}
    for folder, cameras in things.items():
        thing = re.sub(r"\W+", "_", folder.resolve().name.lower())
        result |= _object(thing, cameras, every)
    return result


def _natural(file: Path) -> list[tuple[str, int]]:
    return [(word, int(part or 0)) for word, part in re.findall(r"(\D+)(\d*)", str(file))]


def _object(thing: str, cameras: list[Path], every: int) -> dict[str, ShapeSet | Keypoints]:
    frames = [_frames(file)[::every] for file in cameras]
    if (count := len(_field(frames[0][:1], "W_GT", cameras[0], 2, every)[0][0])) < 3:
        raise ValueError(f"{cameras[0]}: W_GT has {count} joints, expected at least 3")
    name = f"mbw_{thing}"
    if "S_GT" in frames[0][0]:
        points, known = _field(frames[0], "S_GT", cameras[0], 3, every)
        return {name: _shapes(rig_of(thing, count, name), points, known, cameras[0])}
    result: dict[str, ShapeSet | Keypoints] = {}
    labelled = [_field(found, "W_GT", file, 2, every) for found, file in zip(frames, cameras, strict=True)]
    points, visible = (np.concatenate(part) for part in zip(*labelled, strict=True))
    ids = [f"{file.stem}/{i * every}" for found, file in zip(frames, cameras, strict=True) for i in range(len(found))]
    if (used := visible.any(1)).any():
        joints = rig_of(thing, count, name).keypoints
        xy, seen = torch.from_numpy(points[used].astype(np.float32)), torch.from_numpy(visible[used])
        result[name] = Keypoints(xy, seen, joints, tuple(i for i, use in zip(ids, used, strict=True) if use))
    if "S_Pred" in frames[0][0]:
        points, known = _field(frames[0], "S_Pred", cameras[0], 3, every)
        known &= np.array([np.all(frame.get("confidence", True)) for frame in frames[0]])[:, None]
        known &= (points != 0).any(-1)  # MBW writes zeros for what it gave up
        if (known.sum(1) >= 3).any():
            rig = rig_of(thing, count, f"{name}_predicted")
            result[rig.name] = _shapes(rig, points, known, cameras[0])
    if not result:
        raise ValueError(f"{cameras[0]}: no label: W_GT is NaN in every frame, and there is no S_GT")
    return result


def _frames(file: Path) -> list[dict[str, Any]]:
    content = load_pickle(file)
    if isinstance(content, dict) and all(i in content for i in range(len(content))):
        content = [content[i] for i in range(len(content))]
    if not isinstance(content, list) or not content or not all(isinstance(frame, dict) for frame in content):
        raise ValueError(f"{file}: no list of frames, each a dictionary")
    return content


def _field(
    frames: list[dict[str, Any]], field: str, file: Path, axes: int, every: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates [F, N, axes], 0 where NaN, and whether they are there [F, N]."""
    if (absent := next((i * every for i, frame in enumerate(frames) if field not in frame), None)) is not None:
        raise ValueError(f"{file}: frame {absent} has no {field}")
    try:
        found = np.array([frame[field] for frame in frames], np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: {field}: not the same number of coordinates in each frame ({error})") from error
    known = ~np.isnan(found).any(-1)
    filled = np.where(known[..., None], found, 0)
    return numbers(filled, ("F", "N", axes), f"{file}: {field}", range(0, len(frames) * every, every)), known


def _shapes(rig: Rig, points: np.ndarray, known: np.ndarray, file: Path) -> ShapeSet:
    zeros = np.zeros(len(points), np.int64)
    return shape_set(rig, points.astype(np.float32), zeros, zeros, str(file), known=known)


LOADER = Loader(
    name="mbw",
    title="MBW-Zoo and MV-NRSfM (<object>/annot/*.pkl)",
    get="https://doi.org/10.5281/zenodo.7058567",
    licence="CC BY-NC 4.0",
    expects="the folder data, one object's folder in it, or one .pkl (one per camera)",
    gives="mbw_<object>: shapes (S_GT), up to scale, in the file's own frame, no test split; or 2D labels in pixels; "
    "mbw_<object>_predicted: shapes that MBW reconstructed (S_Pred), not measured",
    read=read,
)
