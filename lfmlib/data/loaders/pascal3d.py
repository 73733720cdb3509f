"""PASCAL3D+: keypoints ("anchors") of CAD models, and photographs with the CAD model and viewpoint of each object."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lfmlib import rigs
from lfmlib.data.loaders.base import Loader, shape_set
from lfmlib.data.loaders.mocap import HOLD_OUT
from lfmlib.data.shapes import CadViews, ShapeSet
from lfmlib.rigs import Rig

FAMILY = dict.fromkeys(("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"), "vehicle")
FAMILY |= dict.fromkeys(("chair", "diningtable", "sofa"), "furniture") | {"bottle": "container"}
FAMILY |= {"tvmonitor": "electronics"}
SOURCES = ("pascal", "imagenet")
VISIBLE = 1  # status of an anchor; the others say why it is not seen
TO_PICTURE = np.diag([1.0, -1.0, -1.0])  # y up, z to the viewer -> y down, z away


def read(path: Path, every: int) -> dict[str, ShapeSet]:
    """Reads CAD/<category>.mat and Annotations/<category>_{pascal,imagenet}/*.mat of release 1.0 or 1.1.

    Args:
        path: the folder of the release.
        every: keep every so-manieth annotated object.
    Returns:
        pascal3d_<category>: one frame per CAD model, unit: diagonal of its bounding box, z up, all split 0; with the
        self-occlusion table where the release has one (1.0).
        pascal3d_<category>_views, where there are annotations: one frame per object that has a fine viewpoint and
        anchors. Its points are its CAD model's, known where the CAD model has the anchor; `camera_R` is its viewpoint;
        `cad_views` has a single view, which tells the anchors that are annotated as visible in that photograph.
        Images of the release's val and test lists are split 1; of a source without lists, every fifth image.
    Raises:
        FileNotFoundError: no CAD/<category>.mat.
        ValueError: a file breaks the format; names the file and the field or object.
    Source: Azulgrana1/ObjectSLAM-TRO, which has the release's CAD/*.mat, Annotation_tool/show_annotation_pascal.m
        (fields) and project_3d.m (camera); lists: wkentaro/pascal3d, pascal3d/dataset.py, and others' readers.
    """
    cads = [path / "CAD" / f"{category}.mat" for category in FAMILY]
    cads = [file for file in cads if file.is_file()]
    if not cads:
        raise FileNotFoundError(f"{path / 'CAD'}: no <category>.mat in it")
    result = {}
    for file in cads:
        rig, points, table = _cads(file)
        shapes = shape_set(rig, points, np.zeros(len(points)), np.arange(len(points)), str(file))
        if table is not None:
            visible = torch.from_numpy(table[2][shapes.sequence.numpy()])
            shapes = replace(shapes, cad_views=CadViews(*(torch.from_numpy(t) for t in table[:2]), visible))
        result[rig.name] = shapes
        if (views := _views(path, file.stem, rig, points, every)) is not None:
            result[views.rig.name] = views
    return result


def _load(path: Path, variable: str) -> Any:
    import scipy.io

    try:
        content = scipy.io.loadmat(path, struct_as_record=False, squeeze_me=True)
    except Exception as error:  # damaged files make scipy raise nearly anything
        raise ValueError(f"{path}: not a MATLAB file that can be read ({type(error).__name__}: {error})") from error
    if variable not in content:
        raise ValueError(f"{path}: no variable {variable!r}")
    return content[variable]


def _structs(value: Any) -> list[Any]:
    """A MATLAB struct array as a list; an empty value, which may have any class, as an empty one."""
    return [item for item in np.atleast_1d(np.asarray(value, dtype=object)).ravel() if hasattr(item, "_fieldnames")]


def _vector(value: Any, size: int) -> np.ndarray | None:
    """Finite numbers, or None where the field is empty or holds anything else."""
    array = np.atleast_1d(np.asarray(value)) if value is not None else np.zeros(0)
    if array.size != size or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        return None
    return array.astype(np.float64).ravel()


def _cads(path: Path) -> tuple[Rig, np.ndarray, tuple[np.ndarray, ...] | None]:
    """The rig, anchors [M, N, 3] (NaN where a model has none), and (azimuth, elevation, visible [M, V, N]) if any."""
    models = _structs(_load(path, path.stem))
    if not models:
        raise ValueError(f"{path}: {path.stem} is not an array of CAD models")
    own = [[str(name) for name in np.atleast_1d(getattr(model, "pnames", ()))] for model in models]
    if not own[0] or any(set(names) != set(own[0]) for names in own):
        raise ValueError(f"{path}: pnames is missing, or differs between the CAD models")
    rig = _rig(path, own[0])
    points = np.full((len(models), rig.n, 3), np.nan)
    for i, model in enumerate(models):
        for n, name in enumerate(rig.keypoints):
            if not hasattr(model, name):
                raise ValueError(f"{path}: CAD model {i + 1} has no field {name}, which its pnames lists")
            value = np.asarray(getattr(model, name))
            if value.size and (xyz := _vector(value, 3)) is None:
                raise ValueError(f"{path}: CAD model {i + 1}: {name} is not 3 finite numbers")
            points[i, n] = xyz if value.size else np.nan
    rows = [_structs(getattr(model, "visibility", None)) for model in models]
    if not all(rows):
        return rig, points, None
    order = [own[0].index(name) for name in rig.keypoints]
    try:
        angle = [np.array([[row.azimuth, row.elevation] for row in of], np.float32) for of in rows]
        table = np.stack([np.array([np.atleast_1d(row.flag)[order] for row in of], np.int8) for of in rows])
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: visibility is not a table of azimuth, elevation and flag ({error})") from error
    if any(not np.array_equal(a, angle[0]) for a in angle) or any(names != own[0] for names in own):
        raise ValueError(f"{path}: the visibility tables of the CAD models differ in their viewpoints or anchors")
    return rig, points, (angle[0][:, 0].copy(), angle[0][:, 1].copy(), (table > 0).astype(np.int8))


def _rig(path: Path, names: list[str]) -> Rig:
    """The registered rig if it has these anchors, else one of their names without bones."""
    name = f"pascal3d_{path.stem}"
    if name in rigs.names() and set(rigs.get(name).keypoints) == set(names):
        return rigs.get(name)
    try:
        own = f"{name}_{len(names)}" if name in rigs.names() else name
        return rigs.build(own, names, unit="CAD diagonal", up="+z", family=FAMILY[path.stem])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _views(root: Path, category: str, rig: Rig, cads: np.ndarray, every: int) -> ShapeSet | None:
    model, camera, seen, split, image = [], [], [], [], []
    for source in SOURCES:
        folder = root / "Annotations" / f"{category}_{source}"
        files = sorted(folder.glob("*.mat"))
        part_of = _lists(root, category, source) or {p.stem: i % HOLD_OUT == HOLD_OUT - 1 for i, p in enumerate(files)}
        for file in files:
            if file.stem not in part_of:
                continue
            for cad, R, visible in _objects(file, category, rig, cads):
                model.append(cad)
                camera.append(R)
                seen.append(visible)
                split.append(int(part_of[file.stem]))
                image.append(f"{source} {file.stem}")
    if not model:
        return None
    keep = slice(None, None, every)
    numbers = np.unique(image, return_inverse=True)[1]
    views = replace(rig, name=f"{rig.name}_views")
    points = cads[model][keep]
    shapes = shape_set(views, points, np.array(split)[keep], numbers[keep], str(root), camera_R=np.array(camera)[keep])
    whole = np.isfinite(points).all(-1).sum(1) >= 3  # the frames that shape_set keeps
    visible = torch.from_numpy(np.array(seen, np.int8)[keep][whole])[:, None]
    return replace(shapes, cad_views=CadViews(torch.zeros(1), torch.zeros(1), visible))


def _lists(root: Path, category: str, source: str) -> dict[str, bool]:
    """Image -> whether it is test, from the release's lists; empty where it has none for this source."""
    part_of: dict[str, bool] = {}
    voc = "PASCAL/VOCdevkit/VOC2012/ImageSets/Main"
    for part, test in (("train", False), ("val", True), ("test", True)):
        names = [f"Image_sets/{category}_{source}_{part}.txt"]
        if source == "pascal":
            names += [f"Image_sets/{category}_{part}.txt", f"{voc}/{category}_{part}.txt", f"{voc}/{part}.txt"]
        for file in [root / name for name in names if (root / name).is_file()][:1]:
            part_of |= {line.split()[0]: test for line in file.read_text().splitlines() if line.strip()}
    return part_of


def _objects(path: Path, category: str, rig: Rig, cads: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(index of the CAD model, rotation to the camera, visible anchors) of each object with viewpoint and anchors."""
    records = _structs(_load(path, "record"))
    if len(records) != 1 or not hasattr(records[0], "objects"):
        raise ValueError(f"{path}: record has no objects")
    found = []
    for number, thing in enumerate(_structs(records[0].objects), 1):
        viewpoints, anchors = (_structs(getattr(thing, field, None)) for field in ("viewpoint", "anchors"))
        if str(getattr(thing, "class", "")) != category or not viewpoints or not anchors:
            continue
        distance = _vector(getattr(viewpoints[0], "distance", None), 1)
        if distance is None or distance[0] == 0:  # a rough direction only
            continue
        where = f"{path}: object {number}"
        angles = [_vector(getattr(viewpoints[0], field, None), 1) for field in ("azimuth", "elevation", "theta")]
        if any(angle is None for angle in angles):
            raise ValueError(f"{where}: viewpoint without azimuth, elevation or theta in degrees")
        cad = _vector(getattr(thing, "cad_index", None), 1)
        if cad is None or not 1 <= cad[0] <= len(cads) or cad[0] != int(cad[0]):
            raise ValueError(f"{where}: cad_index is not one of 1 to {len(cads)}")
        visible = np.zeros(rig.n, bool)
        names = [name for name in anchors[0]._fieldnames if name in rig.keypoints]
        if not names:
            raise ValueError(f"{where}: none of its anchors is one of its CAD models'")
        for name in names:
            for anchor in _structs(getattr(anchors[0], name)):
                status = _vector(getattr(anchor, "status", None), 1)
                placed = _vector(getattr(anchor, "location", None), 2) is not None
                visible[rig.keypoints.index(name)] = placed and status is not None and status[0] == VISIBLE
        visible &= np.isfinite(cads[int(cad[0]) - 1]).all(-1)
        found.append((int(cad[0]) - 1, rotation(*(float(angle[0]) for angle in angles)), visible))
    return found


def rotation(azimuth: float, elevation: float, theta: float) -> np.ndarray:
    """Object-to-camera rotation (x right, y down, z away) of a viewpoint in degrees; [3, 3]."""
    a, e, t = np.radians([-azimuth, elevation - 90, theta])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(e), -np.sin(e)], [0, np.sin(e), np.cos(e)]])
    roll = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    return TO_PICTURE @ roll @ about_x @ about_z


LOADER = Loader(
    name="pascal3d",
    title="PASCAL3D+ release 1.0 or 1.1 (.mat)",
    get="https://cvgl.stanford.edu/projects/pascal3d.html",
    licence="none stated; research",
    expects="the folder of the release: CAD/CATEGORY.mat, Annotations/CATEGORY_pascal, _imagenet, Image_sets",
    gives="CAD anchors, unit: bounding-box diagonal, z up; per annotated object its CAD's anchors, camera and visible "
    "anchors (pascal3d_CATEGORY_views); the release's val and test lists are test",
    read=read,
)
