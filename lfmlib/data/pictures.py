"""2D keypoints as training data: a category of which nobody knows the 3D shapes."""

import logging
import zipfile
from dataclasses import replace
from pathlib import Path

import torch

from lfmlib import files, rigs
from lfmlib.data import formats
from lfmlib.data.shapes import PICTURES, ShapeSet
from lfmlib.data.views import normalise
from lfmlib.rigs import Rig

log = logging.getLogger(__name__)

LEAST = 4  # visible keypoints of a picture that is learnt from: fewer can be anything, seen from anywhere
OTHERS = 0.1  # share of the pictures, from the end of the file, that is not learnt from


def holds(path: Path) -> bool:
    """Whether a file holds 2D keypoints: a .csv or .json file, or an .npz file with the array `keypoints_2d`."""
    if path.suffix.lower() != ".npz":
        return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "keypoints_2d.npy" in archive.namelist()


def load(path: Path) -> ShapeSet:
    """Pictures from a file of keypoints, as `formats.read_keypoints` reads it; x right, y down, any unit.

    Returns:
        A set with the tag "pictures": as points each frame's normalised keypoints with y up and z = 0, which every
        camera sees as they are. The last tenth has split 1. The rig has the file's name and keypoints; edges, symmetry
        and sides are those of a registered rig with the same keypoints in the same order, where there is one.
    Raises:
        FileNotFoundError: no such file.
        ValueError: the file breaks the format, or fewer than 2 of its frames have `LEAST` visible keypoints in
            different places; names the file.
    """
    found = formats.read_keypoints(path)
    X, _, size = normalise(found.points, found.visible)
    used = (size > 0) & (found.visible.sum(1) >= LEAST)
    frames = int(used.sum())
    if frames < 2:
        raise ValueError(
            f"{path}: {frames} frames have {LEAST} or more visible keypoints in different places, expected 2 or more"
        )
    if left_out := len(used) - frames:
        log.warning("%s: %d of %d frames have fewer than %d visible keypoints in different places; left out",
                    path, left_out, len(used), LEAST)  # fmt: skip
    X, visible = X[used], found.visible[used]
    split = torch.arange(frames) >= frames - max(1, round(OTHERS * frames))
    try:
        return ShapeSet(
            rig=_rig(path.stem, found),
            points=torch.nn.functional.pad(X * X.new_tensor([1.0, -1.0]), (0, 1)),  # y up
            known=visible,
            split=split.to(torch.int8),
            sequence=split.long(),
            tag=PICTURES,
            fingerprint=files.sha256_of(path),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _rig(name: str, found: formats.Keypoints) -> Rig:
    keypoints = found.names or tuple(f"keypoint_{i}" for i in range(found.points.shape[1]))
    for known in map(rigs.get, rigs.names()):
        if known.keypoints == keypoints:
            return replace(known, name=name, unit="picture", mm=None, up="+y")
    return Rig(name, keypoints, unit="picture")
