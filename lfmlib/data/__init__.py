"""Where shapes come from: measured files, generators, and users' keypoint files."""

import os
from pathlib import Path

from lfmlib.data import pictures, real, synthetic
from lfmlib.data.formats import SUFFIXES
from lfmlib.data.shapes import CadViews, ShapeSet

__all__ = ["CadViews", "ShapeSet", "load"]


def load(
    category: str | os.PathLike, count: int | None = None, seed: int = 0, folder: str | os.PathLike | None = None
) -> ShapeSet:
    """The shapes of a category, wherever they come from.

    Args:
        category: a synthetic category (generated), a category of the data folder, or the path of a file: .npz with 3D
            shapes, or .npz, .csv or .json with 2D keypoints (see `pictures.load`).
        count: frames to generate, or, of a file, the most to keep (spread evenly over each split); None: the default.
        seed: of the generator; files have none.
        folder: data folder; None: the environment's LFM_DATA.
    Raises:
        ValueError: unknown category, or a file that breaks a rule; FileNotFoundError: no such file or folder.
    """
    path = Path(category)
    is_file = path.suffix.lower() in SUFFIXES
    if str(category).startswith("synthetic_") and not is_file:
        return synthetic.generate(str(category), count, seed)
    if is_file and pictures.holds(path):
        shapes = pictures.load(path)
    else:
        shapes = real.load(path if is_file else str(category), folder)
    return shapes if count is None else shapes.thinned(count)
