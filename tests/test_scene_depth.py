"""Landmarks from depth maps, the oracle on the benchmark's bodies, and the adapters on packages that stand in."""

import importlib
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lfmlib import rigs
from lfmlib.baselines.depth_models import VGGT, DUSt3R, Prediction
from lfmlib.baselines.scene_depth import (
    back_project,
    landmark_depth,
    lift_from_depth,
    lift_from_images,
    oracle_lift,
    oracle_rows,
)
from lfmlib.data import synthetic
from lfmlib.data.render import PixelCamera, body_of, depth_map
from lfmlib.data.surface import Surface
from lfmlib.data.views import CameraConfig
from lfmlib.geometry import random_rotations
from lfmlib.metrics import pa_mpjpe


def slow_median(depth, x, y, window):
    """One landmark, in plain Python."""
    height, width = depth.shape
    if not (0 <= x < width and 0 <= y < height):
        return float("nan")
    reach = window // 2
    rows, columns = range(int(y) - reach, int(y) + reach + 1), range(int(x) - reach, int(x) + reach + 1)
    values = [float(depth[r, c]) for r in rows for c in columns if 0 <= r < height and 0 <= c < width]
    values = sorted(v for v in values if np.isfinite(v))
    return values[(len(values) - 1) // 2] if values else float("nan")


@pytest.fixture
def bodies(generator):
    """Views of a person, in the camera frame, with the surface of their rig."""
    found = synthetic.generate("synthetic_body17", 20)
    return found.points @ random_rotations(20, generator).mT, found.surface


@pytest.mark.parametrize("window", [1, 3, 5])
def test_landmark_depth_is_the_median_of_what_is_finite(window, generator):
    depth = torch.randn(3, 12, 17, generator=generator)
    depth[torch.rand(3, 12, 17, generator=generator) < 0.4] = torch.inf
    depth[:, :6, :6] = torch.nan
    keypoints = torch.rand(3, 60, 2, generator=generator) * 26 - 4
    slow = [[slow_median(d, *p, window) for p in points] for d, points in zip(depth, keypoints.tolist(), strict=True)]
    assert landmark_depth(depth, keypoints, window).tolist() == [pytest.approx(row, nan_ok=True) for row in slow]


def test_what_has_no_depth_is_not_visible():
    depth = torch.ones(1, 9, 9)
    depth[:, :, 5:] = torch.inf
    points = torch.tensor([[[1.0, 1], [8.5, 4], [-0.1, 4], [4, 9], [torch.nan, 1], [0, 0]]])
    camera = PixelCamera(torch.ones(1, 2), torch.zeros(1, 2), False)
    found = lift_from_depth(depth, points, camera)
    assert found.visible.tolist() == [[True, False, False, False, False, True]]
    assert torch.equal(found.shapes[0, 0], torch.tensor([1.0, 1, 1])) and found.shapes[~found.visible].isnan().any()
    hidden = torch.tensor([[False, True, True, True, True, True]])
    assert lift_from_depth(depth, points, camera, hidden).visible.tolist() == [[False] * 5 + [True]]
    broken = PixelCamera(torch.zeros(1, 2), torch.zeros(1, 2), True)
    assert not lift_from_depth(depth, points, broken).visible.any()


@pytest.mark.parametrize("perspective", [False, True])
def test_back_projection_undoes_projection(perspective, generator):
    Y = torch.randn(4, 7, 3, generator=generator, dtype=torch.float64)
    Y[..., 2] += 9
    camera = PixelCamera.framing(Y, 30, 50, perspective=perspective)
    assert torch.allclose(back_project(camera.project(Y), Y[..., 2], camera), Y)


def test_a_flat_scene_is_lifted_exactly(generator):
    """A tilted plane is its own median, so all error is the window's rounding to pixels."""
    points = torch.rand(2, 8, 2, generator=generator, dtype=torch.float64) * 2 - 1
    Y = torch.cat((points, 8 + 0.5 * points[..., :1]), -1)
    camera = PixelCamera.framing(Y, 400, 400)
    columns = (torch.arange(400).double() + 0.5 - camera.centre[:, :1]) / camera.focal[:, :1]
    depth = (8 + 0.5 * columns)[:, None].expand(-1, 400, -1)
    found = lift_from_depth(depth, camera.project(Y), camera)
    assert found.visible.all() and float(pa_mpjpe(found.shapes, Y, mirror="so3").max()) < 2e-3


def test_the_oracle_reads_the_whole_map(bodies):
    Y, surface = bodies
    camera = PixelCamera.framing(Y, 64, 64)
    whole = lift_from_depth(depth_map(body_of(Y, surface), camera, 64, 64), camera.project(Y), camera)
    asked = oracle_lift(Y, surface, side=64)
    assert torch.equal(asked.visible, whole.visible) and torch.allclose(asked.shapes, whole.shapes, equal_nan=True)


def test_the_oracle_stops_at_the_surface(bodies):
    """x and y are exact, no landmark is found behind where it is but by the window, thin bodies leave no error."""
    Y, surface = bodies
    found = oracle_lift(Y, surface)
    assert found.visible.all() and torch.allclose(found.shapes[..., :2], Y[..., :2], atol=0.1)  # mm
    assert ((found.shapes - Y)[..., 2] < 30).all() and ((found.shapes - Y)[..., 2] < -1).float().mean() > 0.9
    thin = replace(surface, radius=surface.radius * 1e-3 + 0.004)
    errors = [float(pa_mpjpe(oracle_lift(Y, s).shapes, Y, mirror="so3").mean()) for s in (surface, thin)]
    assert errors[1] < 0.6 * errors[0], errors


def test_the_oracle_does_not_depend_on_unit_place_or_unknown_keypoints(bodies):
    Y, surface = bodies
    plain, moved = oracle_lift(Y.double(), surface), oracle_lift(Y.double() * 0.01 + 3, surface)
    assert torch.allclose(moved.shapes, plain.shapes * 0.01 + 3, atol=1e-6)
    known = torch.ones(20, 17, dtype=torch.bool)
    known[:, 3] = False
    torn = oracle_lift(Y.where(known[..., None], torch.nan), surface, known)
    assert not torn.visible[:, 3].any() and torn.visible[:, :3].all() and torn.shapes[torn.visible].isfinite().all()


def test_oracle_rows_tell_inside_from_behind():
    rows = oracle_rows(synthetic.generate("synthetic_body17", 120).test, CameraConfig(), views=60)
    visible, all_ = rows
    assert [row["keypoints"] for row in rows] == ["visible", "all"]
    assert 0 < visible["share"] < all_["share"] == 1 and visible["left_out"] == all_["left_out"] == 0
    assert 0 < visible["so3"] < all_["so3"] < 40
    for row in rows:  # a depth map has no mirror ambiguity
        assert not row["mirrored"] and row["flip"] == row["so3"] == pytest.approx(row["o3"], rel=0.05)
    assert rows == oracle_rows(synthetic.generate("synthetic_body17", 120).test, CameraConfig(), views=60)


def test_a_set_without_surface_gets_capsules_along_its_edges():
    shapes = synthetic.generate("synthetic_body17", 60)
    bare = replace(shapes, surface=None)
    expected = oracle_rows(replace(shapes, surface=Surface.of(shapes.rig)), CameraConfig(), views=30)
    assert oracle_rows(bare, CameraConfig(), views=30) == expected
    dots = replace(bare, rig=rigs.build("dots", shapes.rig.keypoints))
    with pytest.raises(ValueError, match="dots has neither a surface nor edges"):
        oracle_rows(dots, CameraConfig(), views=30)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="window is 4"):
        landmark_depth(torch.ones(1, 9, 9), torch.ones(1, 3, 2), 4)
    with pytest.raises(ValueError, match="2 depth maps for 1 samples"):
        landmark_depth(torch.ones(2, 9, 9), torch.ones(1, 3, 2))

    class Blind:
        def depth(self, images):
            return Prediction(images[:, 0], None, images[:, 0])

    with pytest.raises(ValueError, match="Blind estimates no camera"):
        lift_from_images(Blind(), torch.rand(1, 3, 9, 9), torch.ones(1, 3, 2))


# Packages that stand in for the published ones: the same names, arguments and shapes. Depth is 2 + the red channel.
HUB = "def try_to_load_from_cache(repo_id, filename):\n    return STORED\n"
VGGT_FILES = {
    "vggt/models/vggt.py": """
import torch
class VGGT(torch.nn.Module):
    @classmethod
    def from_pretrained(cls, folder):
        network = cls()
        network.folder = folder
        return network
    def forward(self, images):
        assert images.ndim == 5 and images.shape[1:3] == (1, 3) and not self.training
        assert images.shape[3] % 14 == images.shape[4] % 14 == 0 and max(images.shape) == 518
        depth = 2 + images[:, :, 0, :, :, None]
        pose = images.new_zeros(len(images), 1, 9)
        return {"depth": depth[..., CROP:, :], "depth_conf": images[:, :, 1], "pose_enc": pose}
""",
    "vggt/utils/pose_enc.py": """
import torch
def pose_encoding_to_extri_intri(pose_enc, size):
    height, width = size
    K = torch.tensor([[100.0, 0, width / 2], [0, 100, height / 2], [0, 0, 1]])
    return None, K.expand(*pose_enc.shape[:2], 3, 3)
""",
}
DUST3R_FILES = {
    "dust3r/model.py": """
import torch
class AsymmetricCroCo3DStereo(torch.nn.Module):
    @classmethod
    def from_pretrained(cls, folder):
        return cls()
""",
    "dust3r/inference.py": """
import torch
def inference(pairs, model, device, batch_size=8, verbose=True):
    assert not model.training and batch_size == len(pairs) and not verbose
    names = [view["instance"] for pair in pairs for view in pair]
    assert len(set(names)) == len(names)
    for one, other in pairs:
        assert torch.equal(one["img"], other["img"]) and one["img"].min() >= -1
        assert one["true_shape"].tolist() == [list(one["img"].shape[2:])] and one["true_shape"].dtype.name == "int32"
        assert one["img"].shape[2] % 16 == one["img"].shape[3] % 16 == 0 and max(one["img"].shape) == 512
    red = torch.cat([one["img"] for one, _ in pairs])[:, 0] / 2 + 0.5
    return {"pred1": {"pts3d": torch.stack([red, red, 2 + red], -1), "conf": red}}
""",
    "dust3r/post_process.py": """
def estimate_focal_knowing_depth(pts3d, pp, focal_mode="median"):
    assert pts3d.ndim == 4 and pp.tolist() == [pts3d.shape[2] / 2, pts3d.shape[1] / 2] and focal_mode == "weiszfeld"
    return pts3d.new_full((len(pts3d),), 100.0)
""",
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """installed(files, **values): puts packages on the path, names in capitals replaced; gone after the test."""

    def install(files, **values):
        for name, text in files.items():
            path = tmp_path / "site" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in (path.parent, *path.parent.parents):
                if folder == tmp_path / "site":
                    break
                (folder / "__init__.py").touch()
            for word, value in values.items():
                text = text.replace(word, value)
            path.write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        importlib.invalidate_caches()

    def forget():
        for name in list(sys.modules):
            if name.split(".")[0] in ("vggt", "dust3r", "huggingface_hub"):
                monkeypatch.delitem(sys.modules, name)

    forget()
    yield install
    forget()


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file({"w": torch.zeros(1)}, folder / "model.safetensors")
    return folder


HUB_FILES = {"huggingface_hub/__init__.py": HUB}
MODELS = [(VGGT, VGGT_FILES, 518), (DUSt3R, DUST3R_FILES, 512)]


@pytest.mark.parametrize(("model", "files", "longest"), MODELS)
@pytest.mark.parametrize("size", [(90, 120), (120, 90), (700, 700)])
def test_depth_comes_back_to_the_pixels_of_the_image(model, files, longest, size, installed, weights, generator):
    installed(files | HUB_FILES, STORED="None", CROP="0")
    images = torch.rand(9, 3, 1, 1, generator=generator).expand(-1, -1, *size).contiguous()  # more than one batch
    images[:, :, :, size[1] // 2 :] = 0
    found = model(weights)
    assert found.available() is None
    depth, K, confidence = found.depth(images)
    assert depth.shape == confidence.shape == (9, *size) and depth.dtype == torch.float32
    edge = torch.ones(size[1], dtype=torch.bool)
    edge[size[1] // 2 - 3 : size[1] // 2 + 3] = False  # where the resized image rings
    assert torch.allclose(depth[..., edge], 2 + images[:, 0][..., edge], atol=1e-3)
    assert torch.allclose(K[:, :2, 2], torch.tensor([size[1] / 2, size[0] / 2]).expand(9, 2))
    shrunk = max(size) / longest
    assert torch.allclose(K[:, [0, 1], [0, 1]], torch.tensor(100 * shrunk), rtol=0.02)


def test_images_are_lifted_through_the_models_camera(installed, weights):
    installed(VGGT_FILES | HUB_FILES, STORED="None", CROP="0")
    images = torch.zeros(1, 3, 518, 518)
    images[:, 0, :, 259:] = 1
    points = torch.tensor([[[159.0, 259], [359, 259], [259.5, 600]]])
    found = lift_from_images(VGGT(weights), images, points)
    assert found.visible.tolist() == [[True, True, False]]
    assert torch.allclose(found.shapes[0, :2], torch.tensor([[-2.0, 0, 2], [3, 0, 3]]), atol=1e-3)


def test_depth_that_is_no_number_hides_the_landmark(installed, weights):
    files = VGGT_FILES | {"vggt/models/vggt.py": VGGT_FILES["vggt/models/vggt.py"].replace("2 +", "float('nan') *")}
    installed(files | HUB_FILES, STORED="None", CROP="0")
    found = lift_from_images(VGGT(weights), torch.rand(2, 3, 20, 20), torch.full((2, 4, 2), 9.0))
    assert not found.visible.any() and found.shapes.isnan().any(-1).all()


@pytest.mark.parametrize(("model", "files", "longest"), MODELS)
def test_a_missing_package_and_missing_weights_are_named(model, files, longest, installed, weights, monkeypatch):
    images = torch.rand(1, 3, 20, 20)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == model.package else find(name))
    assert f"'{model.package}', which is not installed: " in model(weights).available()
    with pytest.raises(ImportError, match=rf"{model.__name__} needs the package '{model.package}'.*git"):
        model(weights).depth(images)
    monkeypatch.undo()
    installed(files | HUB_FILES, STORED="None", CROP="0")
    empty = weights / "empty"
    assert f"hf download {model.repository} --local-dir {empty}" in model(empty).available()
    with pytest.raises(FileNotFoundError, match=rf"no model.safetensors in {empty}"):
        model(empty).depth(images)
    with pytest.raises(FileNotFoundError, match=f"local store; get it by: hf download {model.repository}$"):
        model().depth(images)


def test_weights_that_the_hubs_client_has_stored_are_found(installed, weights):
    installed(VGGT_FILES | HUB_FILES, STORED=repr(str(weights / "model.safetensors")), CROP="0")
    assert VGGT().available() is None and VGGT().network.folder == str(weights)


def test_a_package_that_returns_another_shape_is_refused(installed, weights):
    installed(VGGT_FILES | HUB_FILES, STORED="None", CROP="7")
    with pytest.raises(ValueError, match=r"vggt returned depth of shape \[1, 518, 511\], expected \[1, 518, 518\]"):
        VGGT(weights).depth(torch.rand(1, 3, 20, 20))


@pytest.mark.parametrize(
    ("images", "message"),
    [(torch.rand(1, 4, 9, 9), r"expected \[B, 3, H, W\]"), (torch.rand(0, 3, 9, 9), r"shape \[0, 3, 9, 9\]"),
     (255 * torch.ones(1, 3, 9, 9), "span 255.0 to 255.0"), (torch.full((1, 3, 9, 9), torch.nan), "span nan")],
)  # fmt: skip
def test_images_that_are_none_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        VGGT().depth(images)
