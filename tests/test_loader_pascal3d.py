"""PASCAL3D+: CAD anchors in the rigs' order, and per annotated object the release's own projection reproduced."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from lfmlib import rigs
from lfmlib.data import real
from lfmlib.data.loaders import pascal3d

NAMES = list(rigs.get("pascal3d_tvmonitor").keypoints)[::-1]  # the release has them in an order of its own
BIKE = ["back_seat", "front_seat", "left_handle_center", "right_handle_center"]  # no such rig is registered
GRID = [(azimuth, elevation) for azimuth in (0, 90) for elevation in (-90, 0, 90)]


def anchors(model: int, name: str, names: list[str]) -> np.ndarray:
    """Where an anchor of a CAD model is: anything, but not the same twice; the second model lacks the first anchor."""
    if model == 1 and name == names[0]:
        return np.zeros((0, 0))
    n = names.index(name)
    return np.array([[0.1 * n, -0.2 + 0.03 * n * n, 0.3 - 0.05 * (n % 3) + 0.1 * model]])


def structs(rows: list[dict]) -> np.ndarray:
    """A MATLAB struct array."""
    array = np.empty(len(rows), [(name, object) for name in rows[0]])
    for i, row in enumerate(rows):
        for name, value in row.items():
            array[i][name] = value
    return array


def cad(root: Path, category: str, names: list[str], table: bool = False, **changes) -> Path:
    """CAD/<category>.mat: a struct array with two models."""
    models = []
    for model in range(2):
        fields = {"vertices": np.eye(3), "faces": np.ones((1, 3)), "pnames": np.array(names, dtype=object)}
        fields |= {name: anchors(model, name, names) for name in names}
        if table:
            rows = [{"azimuth": a, "elevation": e, "flag": np.arange(len(names)) % 2 + model} for a, e in GRID]
            fields["visibility"] = structs(rows)
        models.append(fields | changes)
    path = root / "CAD" / f"{category}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {category: structs(models)})
    return path


VIEW = {
    "azimuth": 30.0, "elevation": 20.0, "theta": -10.0, "distance": 1e4, "focal": 1.0, "px": 0.0, "py": 0.0,
    "viewport": 3000.0, "azimuth_coarse": 30.0, "elevation_coarse": 20.0, "num_anchor": 8, "error": 1.0,
}  # fmt: skip
ROUGH = {"azimuth_coarse": 45.0, "elevation_coarse": 0.0, "distance": 0.0}


def thing(visible=range(8), model: int = 1, view=VIEW, **changes) -> dict:
    """One entry of record.objects; of the anchors that are not visible only the last has a location all the same."""
    parts = {
        name: {
            "location": np.array([[n, 2.0 * n]]) if n in visible or n == 7 else [],
            "status": 1 if n in visible else 2,
        }
        for n, name in enumerate(NAMES)
    }
    whole = {"class": "tvmonitor", "view": "", "bbox": [1, 2, 3, 4], "cad_index": model, "viewpoint": view}
    return whole | {"anchors": parts} | changes


def annotate(root: Path, source: str, image: str, *objects: dict) -> Path:
    """Annotations/tvmonitor_<source>/<image>.mat."""
    path = root / "Annotations" / f"tvmonitor_{source}" / f"{image}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"filename": f"{image}.jpg", "objects": structs(list(objects))}
    scipy.io.savemat(path, {"record": record}, long_field_names=True)
    return path


def project_3d(points: np.ndarray, view: dict) -> np.ndarray:
    """Pixels of points, by the steps of the release's project_3d.m."""
    a, e, t = (math.radians(view[name]) for name in ("azimuth", "elevation", "theta"))
    d = view["distance"]
    C = np.array([d * math.cos(e) * math.sin(a), -d * math.cos(e) * math.cos(a), d * math.sin(e)])
    a, e = -a, -(math.pi / 2 - e)
    Rz = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    Rx = np.array([[1, 0, 0], [0, math.cos(e), -math.sin(e)], [0, math.sin(e), math.cos(e)]])
    M = view["viewport"] * view["focal"]
    x = np.diag([M, M, -1]) @ (Rx @ Rz @ (points - C).T)
    x = x[:2] / x[2]
    x = np.array([[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]]) @ x
    return np.stack([x[0] + view["px"], -x[1] + view["py"]], 1)


def test_cad_models_in_the_order_of_the_registered_rig(tmp_path):
    cad(tmp_path, "tvmonitor", NAMES, table=True)
    found = pascal3d.read(tmp_path, 1)
    shapes = found.pop("pascal3d_tvmonitor")
    assert not found and shapes.rig is rigs.get("pascal3d_tvmonitor") and shapes.split.tolist() == [0, 0]
    for model in range(2):
        for n, name in enumerate(shapes.rig.keypoints):
            at = anchors(model, name, NAMES)
            assert bool(shapes.known[model, n]) == bool(at.size)
            assert shapes.points[model, n].tolist() == pytest.approx(at.ravel().tolist() or [0, 0, 0], rel=1e-6)
    views = shapes.cad_views
    assert [views.azimuth.tolist(), views.elevation.tolist()] == [[g[i] for g in GRID] for i in range(2)]
    flags = [NAMES.index(name) % 2 for name in shapes.rig.keypoints]
    assert views.visible[0].tolist() == [flags] * 6 and views.visible[1].tolist() == [[1] * 8] * 6
    real.save(shapes, tmp_path / "pascal3d_tvmonitor.npz")
    again = real.load(tmp_path / "pascal3d_tvmonitor.npz")
    assert torch.equal(again.points, shapes.points) and torch.equal(again.cad_views.visible, views.visible)


def test_a_category_that_is_not_registered_has_its_own_anchors(tmp_path):
    cad(tmp_path, "motorbike", BIKE)
    shapes = pascal3d.read(tmp_path, 1)["pascal3d_motorbike"]
    assert shapes.rig.keypoints == tuple(BIKE) and shapes.rig.symmetry == ((2, 3),) and shapes.rig.up == "+z"
    assert shapes.rig.unit == "CAD diagonal" and shapes.rig.family == "vehicle" and shapes.cad_views is None


def test_other_anchors_than_the_registered_rig_make_another_category(tmp_path):
    cad(tmp_path, "tvmonitor", NAMES[:-1])
    assert list(pascal3d.read(tmp_path, 1)) == ["pascal3d_tvmonitor_7"]


def test_annotated_objects_have_camera_and_visible_anchors(tmp_path):
    cad(tmp_path, "tvmonitor", NAMES)
    other = VIEW | {"azimuth": 200.0, "elevation": -5.0, "theta": 33.0}
    objects = [thing(view=VIEW), thing(range(5), 2, other), thing(view=ROUGH), thing(view=[]), thing(anchors=[])]
    annotate(tmp_path, "pascal", "2008_000001", *objects, thing(**{"class": "car"}))
    views = pascal3d.read(tmp_path, 1)["pascal3d_tvmonitor_views"]
    assert len(views) == 2 and views.rig.name == "pascal3d_tvmonitor_views"
    models = pascal3d.read(tmp_path, 1)["pascal3d_tvmonitor"]
    assert torch.equal(views.points, models.points) and torch.equal(views.known, models.known)
    for frame, view in enumerate((VIEW, other)):
        R, points = views.camera_R[frame].double(), views.points[frame].double()
        assert torch.linalg.det(R).item() == pytest.approx(1, abs=1e-5)
        pixels = torch.from_numpy(project_3d(points.numpy(), view))  # so far away that it is nearly orthographic
        flat = (points @ R.T)[:, :2] * view["viewport"] * view["focal"] / view["distance"]
        torch.testing.assert_close(flat, pixels, atol=1e-4, rtol=1e-3)
    assert torch.linalg.norm(views.camera_R[0][2] + torch.tensor(direction(VIEW))).item() < 1e-5
    seen = [[NAMES.index(name) in range(5) and name != NAMES[0] for name in views.rig.keypoints]]
    assert views.cad_views.visible[:, 0].tolist() == [[1] * 8, np.array(seen[0], int).tolist()]
    real.save(views, tmp_path / "pascal3d_tvmonitor_views.npz")
    assert torch.equal(real.load(tmp_path / "pascal3d_tvmonitor_views.npz").camera_R, views.camera_R)


def direction(view: dict) -> list[float]:
    """From the object to the camera."""
    a, e = math.radians(view["azimuth"]), math.radians(view["elevation"])
    return [math.cos(e) * math.sin(a), -math.cos(e) * math.cos(a), math.sin(e)]


def test_splits_are_the_releases_lists(tmp_path):
    cad(tmp_path, "tvmonitor", NAMES)
    for source, images in (("imagenet", "abc"), ("pascal", "uvw")):
        for image in images:
            annotate(tmp_path, source, image, *[thing()] * 2)
    voc = tmp_path / "PASCAL/VOCdevkit/VOC2012/ImageSets/Main"
    for folder, name, lines in (
        (tmp_path / "Image_sets", "tvmonitor_imagenet_train", "a\n"),
        (tmp_path / "Image_sets", "tvmonitor_imagenet_val", "b\n"),
        (voc, "tvmonitor_train", "u  1\n"),
        (voc, "tvmonitor_val", "v -1\nw  1\n"),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(lines)
    views = pascal3d.read(tmp_path, 1)["pascal3d_tvmonitor_views"]
    assert views.split.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 1, 1]  # u, v, w, a, b; c is in no list
    assert len(views.sequence.unique()) == 5 and views.sequence[0] == views.sequence[1]
    assert len(pascal3d.read(tmp_path, 3)["pascal3d_tvmonitor_views"]) == 4


def test_without_lists_every_fifth_image_is_test(tmp_path):
    cad(tmp_path, "tvmonitor", NAMES)
    for i in range(6):
        annotate(tmp_path, "pascal", f"{i}", thing())
    assert pascal3d.read(tmp_path, 1)["pascal3d_tvmonitor_views"].split.tolist() == [0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pnames": []}, "pnames is missing"),
        ({"pnames": np.array([*NAMES, "knob"], dtype=object)}, "CAD model 1 has no field knob"),
        ({NAMES[2]: [[1.0, 2.0]]}, f"CAD model 1: {NAMES[2]} is not 3 finite numbers"),
        ({NAMES[2]: [[1.0, 2.0, math.nan]]}, f"CAD model 1: {NAMES[2]} is not 3 finite numbers"),
        ({NAMES[2]: "high"}, "is not 3 finite numbers"),
        ({"visibility": structs([{"azimuth": 1, "flag": [1]}] * 2)}, "visibility is not a table"),
    ],
)
def test_broken_cad_file(tmp_path, changes, message):
    cad(tmp_path, "tvmonitor", NAMES, **changes)
    with pytest.raises(ValueError, match=message) as error:
        pascal3d.read(tmp_path, 1)
    assert "tvmonitor.mat" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cad_index": 3}, "object 1: cad_index is not one of 1 to 2"),
        ({"cad_index": []}, "object 1: cad_index"),
        ({"viewpoint": {"distance": 5.0, "azimuth": 1.0, "theta": 0.0}}, "object 1: viewpoint without azimuth"),
        ({"viewpoint": VIEW | {"elevation": math.nan}}, "object 1: viewpoint without azimuth, elevation"),
        ({"anchors": {"knob": {"location": [], "status": 2}}}, "object 1: none of its anchors"),
    ],
)
def test_broken_annotation(tmp_path, changes, message):
    cad(tmp_path, "tvmonitor", NAMES)
    annotate(tmp_path, "imagenet", "n1_2", thing(**changes))
    with pytest.raises(ValueError, match=message) as error:
        pascal3d.read(tmp_path, 1)
    assert "n1_2.mat" in str(error.value)


def test_files_that_are_absent_or_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match="CAD: no <category>.mat"):
        pascal3d.read(tmp_path, 1)
    path = cad(tmp_path, "tvmonitor", NAMES)
    whole = path.read_bytes()
    for content in (b"", b"no MATLAB file at all, but longer than its header is" * 9, whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="tvmonitor.mat: not a MATLAB file"):
            pascal3d.read(tmp_path, 1)
    scipy.io.savemat(path, {"car": 1})
    with pytest.raises(ValueError, match="no variable 'tvmonitor'"):
        pascal3d.read(tmp_path, 1)
    cad(tmp_path, "tvmonitor", NAMES)
    scipy.io.savemat(annotate(tmp_path, "pascal", "1", thing()), {"record": {"filename": "1.jpg"}})
    with pytest.raises(ValueError, match="1.mat: record has no objects"):
        pascal3d.read(tmp_path, 1)


def test_the_projects_own_table_agrees_with_the_rotation(real_data):
    path = real_data / "research_only" / "pascal3d_aeroplane_views.npz"
    if not path.is_file():
        pytest.skip("no annotated aeroplanes")
    arrays = real.read_arrays(path)
    for R, azimuth, elevation in zip(
        arrays["camera_R"][:50], arrays["azimuth_deg"], arrays["elevation_deg"], strict=False
    ):
        ours = pascal3d.rotation(float(azimuth), float(elevation), 0.0)
        np.testing.assert_allclose(ours[2], R[2], atol=1e-4)  # the direction of sight; theta is not stored
