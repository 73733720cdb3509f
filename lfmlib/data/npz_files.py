"""Converted data as .npz files: shapes or 2D keypoints, every file of a conversion or none of them."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lfmlib import files
from lfmlib.data import real
from lfmlib.data.formats import Keypoints
from lfmlib.data.shapes import ShapeSet


def write_all(contents: Mapping[Path, ShapeSet | Keypoints], force: bool = False) -> None:
    """Writes every file or, where that fails, none: they are made in a folder of their own beside, then moved.

    Args:
        contents: .npz file -> shapes, or keypoints; all files in one folder, which is created if need be.
        force: replace files that exist.
    Raises:
        ValueError: no content, files in several folders, or a file exists; OSError: it cannot be written.
    """
    if not contents:
        raise ValueError("there is nothing to write: no category was found")
    folder = next(iter(contents)).parent
    if others := [path for path in contents if path.parent != folder]:
        raise ValueError(f"{others[0]}: not in the folder of the other files, {folder}")
    if there := [path for path in contents if path.exists() and (not force or path.is_dir())]:
        raise ValueError(f"{', '.join(map(str, there))} exists; --force replaces it")
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".convert.") as name:
            new, old = Path(name, "new"), Path(name, "old")
            old.mkdir()
            for path, content in contents.items():
                try:
                    _write(new / path.name, content)
                except OSError as error:
                    raise OSError(error.errno, error.strerror, str(path)) from error
            _move(tuple(contents), new, old)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def write_keypoints(path: str | os.PathLike, keypoints: Keypoints) -> None:
    """Writes 2D keypoints as the .npz that `formats.read_keypoints` reads, atomically and always with the same bytes.

    Args:
        path: file to write.
        keypoints: x right, y down; NaN is written where a keypoint is missing.
    Raises:
        OSError: the file cannot be written; an older one stays as it was.
    """
    visible = keypoints.visible.cpu().numpy()
    points = np.where(visible[..., None], keypoints.points.cpu().numpy(), np.float32(np.nan)).astype(np.float32)
    ids = np.array(keypoints.frames)
    ids = ids if ids.dtype.kind in "iuU" else np.array([str(frame) for frame in keypoints.frames])  # beyond 64 bits
    arrays = {"keypoints_2d": points, "visible": visible, "frames": ids}
    if keypoints.names is not None:
        arrays["keypoint_names"] = np.array(keypoints.names, dtype=np.str_)
    with files.atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _move(paths: tuple[Path, ...], new: Path, old: Path) -> None:
    """Files of the folder `new` to their places, what was there to `old`; or everything back."""
    placed: list[Path] = []
    try:
        for path in paths:
            if path.exists():
                os.replace(path, old / path.name)
            placed.append(path)
            os.replace(new / path.name, path)
    except BaseException:
        for path in placed:
            path.unlink(missing_ok=True)
        for path in paths:
            if (old / path.name).exists():
                os.replace(old / path.name, path)
        raise


def _write(path: Path, content: ShapeSet | Keypoints) -> None:
    if isinstance(content, Keypoints):
        write_keypoints(path, content)
    else:
        real.save(content, path)
