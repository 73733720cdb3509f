"""The rules of 2D keypoints in an .npz file, each broken one named; `formats.read_keypoints` stops at the first."""

from collections.abc import Iterator

import numpy as np

from lfmlib.data import doubts, formats

LAYOUT = ("keypoints_2d", "visible", "keypoint_names", "frames")


def broken(arrays: dict[str, np.ndarray]) -> Iterator[str]:
    """Every rule that the arrays break, but for the names of those that the layout does not know.

    Args:
        arrays: of one file, with `keypoints_2d` among them.
    Returns:
        A line for each, with the first frame and keypoint that it concerns.
    """
    points = arrays["keypoints_2d"]
    if points.ndim != 3 or points.shape[2] != 2 or points.dtype.kind not in "fiu":
        yield f"keypoints_2d is {points.dtype} {list(points.shape)}, expected numbers [F, N, 2]"
        return
    frames, n = points.shape[:2]
    if not frames or not n:
        yield f"no {'keypoint' if frames else 'frame'}"
    wanted = {"visible": ("b", (frames, n), "bool"), "keypoint_names": ("U", (n,), "names"),
              "frames": ("iuU", (frames,), "whole numbers or names")}  # fmt: skip
    sound = {}
    for name, (kinds, shape, word) in wanted.items():
        if name in arrays and (arrays[name].dtype.kind not in kinds or arrays[name].shape != shape):
            found = f"{arrays[name].dtype} {list(arrays[name].shape)}"
            yield f"{name} is {found}, expected {word} {list(shape)}"
        elif name in arrays:
            sound[name] = arrays[name]
    for name in ("keypoint_names", "frames"):
        values, counts = np.unique(sound.get(name, np.zeros(0)), return_counts=True)
        if len(twice := values[counts > 1]):
            yield f"{name} has {', '.join(map(str, twice[:5].tolist()))} more than once"
    yield from _broken_cells(points.astype(np.float64), sound.get("visible"))


def _broken_cells(points: np.ndarray, visible: np.ndarray | None) -> Iterator[str]:
    """The rules of single coordinates; `visible` is None where the file does not say."""
    missing = np.isnan(points)
    given = ~missing.all(-1) & (True if visible is None else visible)
    faults = {
        "only one of x and y is given": missing.any(-1) & given,
        "not a finite number": (np.abs(points) > formats.LARGEST).any(-1) & given,
        "visible, but x and y are missing": missing.all(-1) & (False if visible is None else visible),
    }
    yield from (f"{fault} {doubts.where(mask)}" for fault, mask in faults.items() if mask.any())
