"""Where shapes come from: measured files, generators, and users' keypoint files."""

import os
from pathlib import Path

from lfmlib.data import real, synthetic
from lfmlib.data.shapes import CadViews, ShapeSet

__all__ = ["CadViews", "ShapeSet", "load"]


def load(
    category: str | os.PathLike, count: int | None = None, seed: int = 0, folder: str | os.PathLike | None = None
) -> ShapeSet:
    """The shapes of a category, wherever they come from.

    Args:
        category: a synthetic category (generated), a category of the data folder, or the path of an .npz file.
        count: frames to generate, or, of a file, the most to keep (spread evenly over each split); None: the default.
        seed: of the generator; files have none.
        folder: data folder; None: the environment's LFM_DATA.
    Raises:
        ValueError: unknown category, or a file that breaks a rule; FileNotFoundError: no such file or folder.
    """
    if str(category).startswith("synthetic_") and not str(category).endswith(".npz"):
        return synthetic.generate(str(category), count, seed)
    shapes = real.load(Path(category) if str(category).endswith(".npz") else str(category), folder)
    return shapes if count is None else shapes.thinned(count)
