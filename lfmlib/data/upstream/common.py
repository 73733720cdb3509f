"""What the builders share: files of a clone, numbers in text, rotations of exponential maps."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import roma
import torch

from lfmlib.data import listing
from lfmlib.data.loaders.base import Loader
from lfmlib.data.shapes import ShapeSet


def builder(name: str, gives: str, build: Callable[[Path, int], ShapeSet]) -> Loader:
    """The loader of a measured set; what it says of its source comes from sources.toml."""
    said = listing.source(name)
    return Loader(
        name=name,
        title=said.title,
        get=f"https://github.com/{said.repository} at {said.commit[:10]}",
        licence=said.licence,
        expects="the clone's folder",
        gives=gives,
        read=lambda path, every: {name: build(Path(path), every)},
    )


def need(root: Path, *parts: str) -> Path:
    """A file of the clone.

    Raises:
        FileNotFoundError: it is not there; names it.
    """
    path = root.joinpath(*parts)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; is {root} a clone of the repository?")
    return path


def numbers(path: Path, columns: int | None = None) -> np.ndarray:
    """A text file of numbers, separated by commas or blanks, one frame a line; float64 [F, columns].

    Raises:
        ValueError: a line with something else, or with another number of columns; names file and line.
    """
    rows: list[list[float]] = []
    for at, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise ValueError(f"{path}: line {at}: {error}") from None
        wanted = columns or (len(rows[0]) if rows else len(row))
        if len(row) != wanted:
            raise ValueError(f"{path}: line {at} has {len(row)} numbers, expected {wanted}")
        rows.append(row)
    if not rows:
        raise ValueError(f"{path}: no frame")
    return np.array(rows)


def rodrigues(r: np.ndarray) -> np.ndarray:
    """Rotation matrices of exponential maps (axis times angle in radians); [..., 3] -> [..., 3, 3]."""
    return roma.rotvec_to_rotmat(torch.from_numpy(np.ascontiguousarray(r))).numpy()
