"""Measured shapes: .npz files in a folder that the user names (environment variable LFM_DATA), checked on loading."""

import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lfmlib import files, rigs
from lfmlib.data.shapes import CadViews, ShapeSet
from lfmlib.rigs import Rig

# Files whose name is not that of their category.
FILE_OF = {"pascal3d_car": "pascal3d_car_mean"}
RIG_OF = {"pascal3d_car_mean": "pascal3d_car", "pascal3d_aeroplane_views": "pascal3d_aeroplane"}
VIEWPOINTS = "viewpoints"
SUBFOLDERS = ("", "research_only")

# The layout: array -> (dtypes, shape). F frames, N keypoints, E edges, P pairs, V views; other letters are free.
REQUIRED = {
    "keypoints_3d": ("float32", "F N 3"),
    "keypoint_names": ("str", "N"),
    "skeleton": ("int32 int64", "E 2"),
    "split": ("int8", "F"),
    "sequence_id": ("int32 int64", "F"),
}
OPTIONAL = {
    "visibility": ("bool", "F N"),
    "camera_R": ("float32", "F 3 3"),
    "cad_view_azimuth": ("float32", "V"),
    "cad_view_elevation": ("float32", "V"),
    "cad_view_visibility": ("int8", "F V N"),
    # What a file says about a rig that is not registered, and about where its shapes come from.
    "unit": ("str", ""),
    "mm": ("float64", ""),
    "up": ("str", ""),
    "family": ("str", ""),
    "symmetry": ("int32 int64", "P 2"),
    "handed": ("str", "3"),  # three directions between groups of keypoint indices, such as "14 1 > 11 4"
    "tag": ("str", ""),
    # Notes of the sources, checked for their form and not used.
    "species": ("str", "A"),
    "sequence_names": ("str", "B"),
    "model_id": ("str", "F"),
    "image_id": ("str", "F"),
    "cad_extent": ("float32", "F 3"),
    "cad_index": ("int8", "F"),
    "self_visible": ("bool", "F N"),
    "azimuth_deg": ("float32", "F"),
    "elevation_deg": ("float32", "F"),
    "bbox": ("int16", "F 4"),
    "occluded": ("int8", "F"),
    "truncated": ("int8", "F"),
}


class Viewpoints(NamedTuple):
    """Annotated cameras: where real photographs of a category were taken from; radians, [V] each.

    Azimuth runs around the object, elevation is above its ground plane, roll is in the image plane. Each source counts
    azimuth from a zero of its own, and some angles exceed one turn: kept as annotated.
    """

    azimuth: Float[Tensor, " V"]
    elevation: Float[Tensor, " V"]
    roll: Float[Tensor, " V"]


def folder() -> Path | None:
    """The data folder that the environment variable LFM_DATA names, or None."""
    value = os.environ.get("LFM_DATA")
    return Path(value) if value else None


def available(folder: str | os.PathLike | None = None) -> tuple[str, ...]:
    """Categories whose file is in the data folder, sorted; empty without a folder."""
    root = _root(folder)
    if root is None:
        return ()
    stems = {path.stem for sub in SUBFOLDERS for path in (root / sub).glob("*.npz")} - {VIEWPOINTS}
    category_of = {stem: category for category, stem in FILE_OF.items()}
    return tuple(sorted(category_of.get(stem, stem) for stem in stems))


def load(name_or_path: str | os.PathLike, folder: str | os.PathLike | None = None) -> ShapeSet:
    """Loads a category's shapes.

    Args:
        name_or_path: a category of the data folder, or the path of an .npz file.
        folder: data folder; None: the environment's LFM_DATA.
    Returns:
        The shapes; the rig is the registered one, or, for a file of another name, the one that the file describes.
    Raises:
        FileNotFoundError: no folder is named, or it lacks the file.
        ValueError: the file breaks a rule of the layout (names the file and the field).
    """
    is_path = not isinstance(name_or_path, str) or name_or_path.endswith(".npz")
    path = Path(name_or_path) if is_path else _find(FILE_OF.get(name_or_path, name_or_path), folder)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    arrays = _checked(path, read_arrays(path))
    rig = _rig(path, arrays)
    known = arrays["visibility"] if "visibility" in arrays else np.isfinite(arrays["keypoints_3d"]).all(-1)
    cad = None
    if "cad_view_visibility" in arrays:
        cad = CadViews(*(torch.from_numpy(arrays[f"cad_view_{f}"]) for f in ("azimuth", "elevation", "visibility")))
    try:
        return ShapeSet(
            rig=rig,
            points=torch.from_numpy(np.where(known[..., None], arrays["keypoints_3d"], 0).astype(np.float32)),
            known=torch.from_numpy(known),
            split=torch.from_numpy(arrays["split"]),
            sequence=torch.from_numpy(arrays["sequence_id"].astype(np.int64)),
            tag=str(arrays.get("tag", "real")),
            fingerprint=files.sha256_of(path),
            camera_R=torch.from_numpy(arrays["camera_R"]) if "camera_R" in arrays else None,
            cad_views=cad,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save(shapes: ShapeSet, path: str | os.PathLike) -> None:
    """Writes shapes in the layout that `load` reads, atomically and with the same bytes for the same shapes."""
    rig = shapes.rig
    arrays = {
        "keypoints_3d": torch.where(shapes.known[..., None], shapes.points, torch.nan).to(torch.float32).numpy(),
        "keypoint_names": np.array(rig.keypoints, dtype=np.str_),
        "skeleton": np.array(rig.edges, dtype=np.int32).reshape(-1, 2),
        "split": shapes.split.numpy(),
        "sequence_id": shapes.sequence.numpy(),
        "visibility": shapes.known.numpy(),
        "tag": np.array(shapes.tag),
        "symmetry": np.array(rig.symmetry, dtype=np.int32).reshape(-1, 2),
        "unit": np.array(rig.unit),
        "up": np.array(rig.up),
        "family": np.array(rig.family),
    }
    if rig.handed is not None:
        sides = [[" ".join(map(str, group)) for group in direction] for direction in rig.handed]
        arrays["handed"] = np.array([" > ".join(pair) for pair in sides], dtype=np.str_)
    if rig.mm is not None:
        arrays["mm"] = np.array(rig.mm, dtype=np.float64)
    if shapes.camera_R is not None:
        arrays["camera_R"] = shapes.camera_R.to(torch.float32).numpy()
    if shapes.cad_views is not None:
        for field in ("azimuth", "elevation"):
            arrays[f"cad_view_{field}"] = getattr(shapes.cad_views, field).numpy()
        arrays["cad_view_visibility"] = shapes.cad_views.visible.numpy()
    with files.atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load_viewpoints(name: str, folder: str | os.PathLike | None = None) -> Viewpoints:
    """Annotated viewpoints of real photographs.

    Args:
        name: stanfordcars, compcars, fgvc_aircraft, pix3d_chair, pix3d_bed or pix3d_desk.
        folder: data folder; None: the environment's LFM_DATA.
    Returns:
        Angles in radians (the Pix3D ones are stored in degrees).
    Raises:
        FileNotFoundError: no folder, or no viewpoints file in it.
        ValueError: no such set (lists those of the file), or a malformed one.
    """
    path = _find(VIEWPOINTS, folder)
    arrays = read_arrays(path)
    sets = sorted(key for key in arrays if not key.endswith(("_split", "_model")))
    if name not in sets:
        raise ValueError(f"{path}: no viewpoints {name!r}; there are {', '.join(sets)}")
    angles = arrays[name]
    if angles.ndim != 2 or angles.shape[1] < 3 or angles.dtype != np.float32 or not np.isfinite(angles).all():
        raise ValueError(f"{path}: {name} is {angles.dtype} {list(angles.shape)}, expected finite float32 [V, 3+]")
    if name.startswith("pix3d_"):
        angles = np.radians(angles)
    return Viewpoints(*torch.from_numpy(angles[:, :3].T.copy()))


def _root(folder_: str | os.PathLike | None) -> Path | None:
    return folder() if folder_ is None else Path(folder_)


def _find(stem: str, folder_: str | os.PathLike | None) -> Path:
    root = _root(folder_)
    if root is None:
        raise FileNotFoundError(
            f"{stem}: no data folder; set the environment variable LFM_DATA to the folder with the .npz files "
            f"(export LFM_DATA=/path/to/data), or choose a synthetic category, which needs none"
        )
    for sub in SUBFOLDERS:
        if (path := root / sub / f"{stem}.npz").is_file():
            return path
    there = ", ".join(available(root)) or "no .npz file"
    raise FileNotFoundError(f"{root}: no {stem}.npz here nor in research_only; there is {there}")


def _rig(path: Path, arrays: dict[str, np.ndarray]) -> Rig:
    name = RIG_OF.get(path.stem, path.stem)
    keypoints = tuple(arrays["keypoint_names"].tolist())
    edges = tuple(tuple(edge) for edge in arrays["skeleton"].tolist())
    if name not in rigs.names():
        said = {key: arrays[key].item() for key in ("unit", "mm", "up", "family") if key in arrays}
        symmetry = tuple(tuple(pair) for pair in arrays.get("symmetry", np.empty((0, 2), int)).tolist())
        try:
            if "handed" in arrays:
                said["handed"] = tuple(
                    tuple(tuple(int(i) for i in group.split()) for group in line.split(" > "))
                    for line in arrays["handed"].tolist()
                )
            return Rig(name=name, keypoints=keypoints, edges=edges, symmetry=symmetry, **said)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    rig = rigs.get(name)
    if keypoints != rig.keypoints:
        raise ValueError(f"{path}: keypoint_names differ from the registered rig {name}: {', '.join(rig.keypoints)}")
    if {frozenset(e) for e in edges} != {frozenset(e) for e in rig.edges}:
        raise ValueError(f"{path}: skeleton differs from the edges of the registered rig {name}")
    return rig


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Every array of an .npz file, without pickle.

    Raises:
        ValueError: not a zip archive, a damaged one, or an array of Python objects (names the file and the array).
    """
    arrays = {}
    for name, array in members(path):
        if isinstance(array, str):
            raise ValueError(f"{path}: {name} {array}")
        arrays[name] = array
    return arrays


def members(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray | str]]:
    """Each array of an .npz file by name, or what is wrong with it; without pickle, in this machine's byte order.

    Raises:
        ValueError: not a zip archive (names the file).
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: not an .npz file (no zip archive, or one that was cut short)")
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            try:
                array = archive[name]
            except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
                yield name, f"cannot be read as a plain array ({error})"
                continue
            is_array = isinstance(array, np.ndarray)
            yield name, array.astype(array.dtype.newbyteorder("="), copy=False) if is_array else "is not an array"


def _checked(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if missing := [name for name in REQUIRED if name not in arrays]:
        raise ValueError(f"{path}: {', '.join(missing)} missing")
    layout = REQUIRED | OPTIONAL
    if unexpected := [name for name in arrays if name not in layout]:
        raise ValueError(f"{path}: unexpected array {', '.join(unexpected)}; optional ones are {', '.join(OPTIONAL)}")
    sizes: dict[str, int] = {}
    for name, (dtypes, shape) in layout.items():
        if name in arrays and (fault := malformed(arrays[name], dtypes, shape, sizes)):
            raise ValueError(f"{path}: {name} {fault}")
    points, n = arrays["keypoints_3d"], sizes["N"]
    bad = np.isinf(points).any((1, 2))
    if bad.any():
        raise ValueError(f"{path}: keypoints_3d has an infinite coordinate in frame {bad.argmax()}")
    missing_any, missing_all = np.isnan(points).any(-1), np.isnan(points).all(-1)
    visible = arrays.get("visibility", ~missing_any)
    if len(bad := np.argwhere((missing_any != missing_all) | (visible == missing_any))):
        where = f"in frame {bad[0, 0]}, keypoint {bad[0, 1]}"
        rule = "all three coordinates are NaN where a keypoint is not visible, none where it is"
        raise ValueError(f"{path}: keypoints_3d contradicts visibility {where}: {rule}")
    for name in ("skeleton", "symmetry"):
        index = arrays.get(name, np.zeros(0))
        if ((index < 0) | (index >= n)).any():
            raise ValueError(f"{path}: {name} has an index outside 0..{n - 1}")
    for name in ("cad_view_visibility", "split"):
        if name in arrays and not np.isin(arrays[name], (0, 1)).all():
            raise ValueError(f"{path}: {name} has a value other than 0 and 1")
    if "cad_view_visibility" in arrays and not {"cad_view_azimuth", "cad_view_elevation"} <= set(arrays):
        raise ValueError(f"{path}: cad_view_visibility without cad_view_azimuth and cad_view_elevation")
    if "camera_R" in arrays:
        R = arrays["camera_R"].astype(np.float64)
        off = np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max((1, 2), initial=0)
        bad = ~(off < 1e-4) | ~(np.linalg.det(np.nan_to_num(R)) > 0)  # written so that NaN is bad
        if bad.any():
            raise ValueError(f"{path}: camera_R of frame {bad.argmax()} is not a rotation")
    if str(arrays.get("tag", "real")) not in ("real", "synthetic"):
        raise ValueError(f"{path}: tag is {str(arrays['tag'])!r}, expected 'real' or 'synthetic'")
    return arrays


def malformed(array: np.ndarray, dtypes: str, shape: str, sizes: dict[str, int]) -> str:
    """What is wrong with an array's type or shape, empty where nothing is.

    Args:
        dtypes, shape: as in the layout.
        sizes: lengths of the axes by their letters; those of a sound array are added.
    """
    found = "str" if array.dtype.kind == "U" else array.dtype.name
    if found not in dtypes.split():
        return f"is {found}, expected {' or '.join(dtypes.split())}"
    axes = shape.split()
    expected = [int(axis) if axis.isdigit() else sizes.get(axis, axis) for axis in axes]
    fits = (isinstance(want, str) or want == size for want, size in zip(expected, array.shape, strict=False))
    if array.ndim != len(axes) or not all(fits):
        return f"has shape {list(array.shape)}, expected {expected} ({shape})"
    sizes |= {axis: size for axis, size in zip(axes, array.shape, strict=True) if not axis.isdigit()}
    return ""
