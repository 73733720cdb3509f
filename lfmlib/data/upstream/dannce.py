"""mouse22_dannce: hand-labelled, triangulated keypoints of two mice, MATLAB files."""

from pathlib import Path

import numpy as np

from lfmlib import rigs
from lfmlib.data.loaders.base import shape_set
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.upstream.common import builder, need

NAME = "mouse22_dannce"


def labels(path: Path) -> np.ndarray:
    """Keypoints of a label3d_dannce.mat in mm, [F, 22, 3]; every camera's record holds the same ones.

    Raises:
        ValueError: not such a file, or cameras that differ; names it.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, struct_as_record=False, squeeze_me=True)
        cameras = np.atleast_1d(content["labelData"])
        found = [np.asarray(camera.data_3d, float).reshape(-1, 22, 3) for camera in cameras]
    except (MatReadError, NotImplementedError, KeyError, AttributeError, ValueError, TypeError, OSError) as error:
        raise ValueError(f"{path}: no labelData with data_3d [F, 66] ({error})") from error
    if any(not np.array_equal(found[0], other, equal_nan=True) for other in found[1:]):
        raise ValueError(f"{path}: data_3d differs between the cameras")
    return found[0]


def build(root: Path, every: int) -> ShapeSet:
    """The frames of mouse 1 to train, those of mouse 2 to test."""
    points, mouse = [], []
    for number in (1, 2):
        frames = labels(need(root, "demo", f"markerless_mouse_{number}", "label3d_dannce.mat"))[::every]
        points.append(frames)
        mouse += [number - 1] * len(frames)
    return shape_set(rigs.get(NAME), np.concatenate(points), np.array(mouse), np.array(mouse), str(root))


LOADERS = {NAME: builder(NAME, "22 keypoints in mm, z up; mouse 1 to train, mouse 2 to test", build)}
