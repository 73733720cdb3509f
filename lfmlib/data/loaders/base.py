"""What every loader is, and what several of them need."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lfmlib.data.formats import Keypoints
from lfmlib.data.shapes import ShapeSet
from lfmlib.rigs import Rig


class Loader(NamedTuple):
    """A reader of one layout of files.

    Args:
        name: what the user types, and the module's name.
        title: the data set and its file format.
        get: where the files come from (a page or repository).
        licence: what its owners allow, in a word or two.
        expects: which path to give and which files are read.
        gives: what comes out: keypoints, frame of reference, unit, split.
        read: read(path, every) -> category -> shapes (3D), or keypoints where the files hold 2D alone. `every`: keep
            every so-manieth frame of each recording. Raises FileNotFoundError naming what is absent, or ValueError
            naming the file and the field or frame that is not as the layout says.
    """

    name: str
    title: str
    get: str
    licence: str
    expects: str
    gives: str
    read: Callable[[Path, int], dict[str, ShapeSet | Keypoints]]


def shape_set(
    rig: Rig,
    points: np.ndarray,
    split: np.ndarray,
    sequence: np.ndarray,
    where: str,
    known: np.ndarray | None = None,
    camera_R: np.ndarray | None = None,
) -> ShapeSet:
    """A ShapeSet from arrays; keypoints that are not finite are unknown, frames with fewer than 3 known are left out.

    Args:
        rig: the category.
        points: [F, N, 3], the rig's unit.
        split: 0 train, 1 test; [F].  sequence: number of the recording or instance; [F].
        where: the file, for error messages.
        known: False where a keypoint was not seen; None: all that are finite.
        camera_R: object-to-camera rotations [F, 3, 3].
    Raises:
        ValueError: no frame with 3 known keypoints, or arrays that do not fit together; names the file.
    """
    points = np.asarray(points, np.float32)
    if points.ndim != 3 or points.shape[1:] != (rig.n, 3):
        raise ValueError(f"{where}: keypoints have shape {list(points.shape)}, expected [F, {rig.n}, 3]")
    finite = np.isfinite(points).all(-1)
    known = finite if known is None else finite & np.asarray(known, bool)
    keep = known.sum(1) >= 3
    if not keep.any():
        raise ValueError(f"{where}: no frame has 3 known keypoints")
    points, known = np.where(known[..., None], points, 0)[keep], known[keep]
    split, sequence = np.asarray(split, np.int8)[keep], np.asarray(sequence, np.int64)[keep]
    digest = hashlib.sha256(points.tobytes() + known.tobytes() + split.tobytes() + sequence.tobytes())
    try:
        return ShapeSet(
            rig=rig, points=torch.from_numpy(points), known=torch.from_numpy(known), split=torch.from_numpy(split),
            sequence=torch.from_numpy(sequence), tag="real", fingerprint=digest.hexdigest(),
            camera_R=None if camera_R is None else torch.from_numpy(np.asarray(camera_R, np.float32)[keep]),
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def split_by(names: Sequence[str], test: Sequence[str]) -> np.ndarray:
    """1 where a frame's recording or subject is one of `test`, else 0; int8 [F]."""
    return np.isin(np.asarray(names), np.asarray(test)).astype(np.int8)
