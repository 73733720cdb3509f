"""Measured shapes: a file that keeps the layout comes back as it went in, and each broken rule is named."""

import math

import numpy as np
import pytest
import torch

from lfmlib import data
from lfmlib.data import real, synthetic
from lfmlib.data.shapes import CadViews, ShapeSet
from lfmlib.rigs import Rig

RIG = Rig("beast", ("a", "b", "c", "d"), ((0, 1), (1, 2)), ((0, 1),), "inch", 25.4, "-z", "myth")


def arrays() -> dict:
    """A valid file's content: 6 frames of 4 keypoints."""
    points = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32)
    points[2, 3] = np.nan
    return {
        "keypoints_3d": points,
        "keypoint_names": np.array(["a", "b", "c", "d"]),
        "skeleton": np.array([[0, 1], [1, 2]], np.int32),
        "split": np.array([0, 0, 0, 0, 1, 1], np.int8),
        "sequence_id": np.array([0, 0, 1, 1, 2, 2], np.int32),
        "visibility": ~np.isnan(points).any(-1),
    }


def write(path, **changes):
    content = {name: array for name, array in (arrays() | changes).items() if array is not None}
    np.savez(path, **content)
    return path


def test_loads_a_file(tmp_path):
    shapes = real.load(write(tmp_path / "beast.npz"))
    assert shapes.rig == Rig("beast", ("a", "b", "c", "d"), ((0, 1), (1, 2))) and shapes.tag == "real"
    assert shapes.points.dtype == torch.float32 and (shapes.points[2, 3] == 0).all() and not shapes.known[2, 3]
    assert (~shapes.known).sum() == 1 and shapes.split.tolist() == [0, 0, 0, 0, 1, 1]
    assert len(shapes.fingerprint) == 64


def test_visibility_is_read_off_the_nans_when_absent(tmp_path):
    a = real.load(write(tmp_path / "a.npz"))
    b = real.load(write(tmp_path / "b.npz", visibility=None))
    assert torch.equal(a.known, b.known) and a.fingerprint != b.fingerprint


def test_save_then_load_is_the_identity(tmp_path):
    known = torch.ones(6, 4, dtype=torch.bool)
    known[1, 2] = False
    generator = torch.Generator().manual_seed(0)
    visible = torch.randint(2, (6, 5, 4), generator=generator, dtype=torch.int8)
    shapes = ShapeSet(
        rig=RIG,
        points=torch.randn(6, 4, 3, generator=generator) * known[..., None],
        known=known,
        split=torch.tensor([0, 0, 0, 1, 1, 1], dtype=torch.int8),
        sequence=torch.tensor([3, 3, 4, 8, 9, 9]),
        tag="synthetic",
        fingerprint="0" * 64,
        camera_R=torch.eye(3).repeat(6, 1, 1),
        cad_views=CadViews(torch.arange(5.0), torch.arange(5.0), visible),
    )
    real.save(shapes, tmp_path / "sub" / "beast.npz")
    again = real.load(tmp_path / "sub" / "beast.npz")
    assert again.rig == RIG and again.tag == "synthetic"
    for field in ("points", "known", "split", "sequence", "camera_R"):
        assert torch.equal(getattr(again, field), getattr(shapes, field)), field
    assert torch.equal(again.cad_views.visible, visible)
    real.save(again, tmp_path / "twin.npz")
    assert (tmp_path / "twin.npz").read_bytes() == (tmp_path / "sub" / "beast.npz").read_bytes()


def test_saved_synthetic_set_has_its_registered_rig(tmp_path):
    shapes = synthetic.generate("synthetic_chair10", 20)
    real.save(shapes, tmp_path / "synthetic_chair10.npz")
    again = data.load(tmp_path / "synthetic_chair10.npz")
    assert again.rig == shapes.rig and again.tag == "synthetic" and torch.equal(again.points, shapes.points)


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "synthetic_chair10.npz"
    real.save(synthetic.generate("synthetic_chair10", 20), path)
    before = path.read_bytes()

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="nothing was changed"):
        real.save(synthetic.generate("synthetic_chair10", 30), path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


def points_with(value: float, where=(1, 2, 0)) -> np.ndarray:
    points = arrays()["keypoints_3d"]
    points[where] = value
    return points


NANS_BUT_TWO = np.where(np.arange(4)[None, :, None] < np.array([4, 4, 4, 4, 2, 4])[:, None, None], 1, np.nan)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": None}, "split missing"),
        ({"colour": np.zeros(3)}, "unexpected array colour"),
        ({"keypoints_3d": arrays()["keypoints_3d"].astype(np.float64)}, "keypoints_3d is float64, expected float32"),
        ({"split": np.zeros(6, np.int64)}, "split is int64, expected int8"),
        ({"skeleton": np.zeros((1, 2))}, "skeleton is float64, expected int32 or int64"),
        ({"keypoint_names": np.array([1, 2, 3, 4])}, "keypoint_names is int64, expected str"),
        ({"keypoints_3d": np.zeros((6, 4, 2), np.float32)}, r"keypoints_3d has shape \[6, 4, 2\]"),
        ({"keypoints_3d": np.zeros((6, 12), np.float32)}, r"keypoints_3d has shape \[6, 12\]"),
        ({"keypoint_names": np.array(["a", "b", "c"])}, r"keypoint_names has shape \[3\], expected \[4\]"),
        ({"split": np.zeros(5, np.int8)}, r"split has shape \[5\], expected \[6\]"),
        ({"sequence_id": np.zeros((6, 1), np.int32)}, "sequence_id has shape"),
        ({"visibility": np.ones((6, 3), bool)}, "visibility has shape"),
        ({"skeleton": np.array([[0, 4]], np.int32)}, r"skeleton has an index outside 0\.\.3"),
        ({"skeleton": np.array([[0, -1]], np.int32)}, "skeleton has an index outside"),
        ({"skeleton": np.array([[2, 2]], np.int32)}, "pairs keypoint 2 with itself"),
        ({"keypoint_names": np.array(["a", "b", "c", "a"])}, "given twice: a"),
        ({"split": np.array([0, 0, 0, 0, 1, 3], np.int8)}, "split has a value other than 0 and 1"),
        ({"keypoints_3d": points_with(np.inf)}, "infinite coordinate in frame 1"),
        ({"keypoints_3d": points_with(np.nan)}, "contradicts visibility in frame 1, keypoint 2"),
        ({"keypoints_3d": points_with(np.nan), "visibility": None}, "contradicts visibility in frame 1, keypoint 2"),
        ({"visibility": np.ones((6, 4), bool)}, "contradicts visibility in frame 2, keypoint 3"),
        ({"visibility": np.zeros((6, 4), bool)}, "contradicts visibility in frame 0"),
        ({"keypoints_3d": np.float32(NANS_BUT_TWO + np.zeros(3)), "visibility": None}, "frame 4 has 2 known"),
        ({"camera_R": np.tile(np.float32(2 * np.eye(3)), (6, 1, 1))}, "camera_R of frame 0 is not a rotation"),
        ({"camera_R": np.tile(np.diag(np.float32([1, 1, -1])), (6, 1, 1))}, "camera_R of frame 0"),
        ({"camera_R": np.full((6, 3, 3), np.nan, np.float32)}, "camera_R of frame 0"),
        ({"sequence_id": np.array([0, 0, 1, 1, 1, 2], np.int32)}, "sequence 1 is in both splits"),
        ({"cad_view_visibility": np.zeros((6, 5, 4), np.int8)}, "without cad_view_azimuth"),
        ({"tag": np.array("guess")}, "tag is 'guess'"),
        ({"up": np.array("north")}, "up is 'north'"),
    ],
)
def test_broken_rules_are_named(tmp_path, changes, message):
    path = write(tmp_path / "beast.npz", **changes)
    with pytest.raises(ValueError, match=rf"beast\.npz: .*{message}"):
        real.load(path)


def test_empty_set(tmp_path):
    empty = {name: array[:0] for name, array in arrays().items() if name not in ("keypoint_names", "skeleton")}
    with pytest.raises(ValueError, match="no frame"):
        real.load(write(tmp_path / "beast.npz", **empty))


def test_pickled_arrays_are_refused(tmp_path):
    path = write(tmp_path / "beast.npz", keypoint_names=np.array(["a", "b", "c", None], dtype=object))
    with pytest.raises(ValueError, match=r"beast\.npz: keypoint_names cannot be read as a plain array"):
        real.load(path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"\x80\x04K*."])
def test_not_an_archive(tmp_path, content):
    path = tmp_path / "beast.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"beast\.npz: not an \.npz file"):
        real.load(path)


def test_damaged_archive(tmp_path):
    whole = write(tmp_path / "beast.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.npz: not an \.npz file"):
        real.load(tmp_path / "cut.npz")
    flipped = bytearray(whole)
    flipped[300] ^= 0xFF  # inside the first array's numbers: the checksum no longer fits
    (tmp_path / "flip.npz").write_bytes(flipped)
    with pytest.raises(ValueError, match=r"flip\.npz: keypoints_3d cannot be read"):
        real.load(tmp_path / "flip.npz")


def test_registered_name_must_agree_with_the_registry(tmp_path):
    with pytest.raises(ValueError, match="keypoint_names differ from the registered rig human17_cmu"):
        real.load(write(tmp_path / "human17_cmu.npz"))
    shapes = synthetic.generate("synthetic_aeroplane8", 20)
    real.save(shapes, tmp_path / "good.npz")
    content = dict(np.load(tmp_path / "good.npz"))
    np.savez(tmp_path / "synthetic_aeroplane8.npz", **content | {"skeleton": content["skeleton"][1:]})
    with pytest.raises(ValueError, match="skeleton differs"):
        real.load(tmp_path / "synthetic_aeroplane8.npz")


def test_no_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("LFM_DATA", raising=False)
    assert real.folder() is None and real.available() == ()
    with pytest.raises(FileNotFoundError, match="human17_cmu: no data folder; set the environment variable LFM_DATA"):
        real.load("human17_cmu")
    with pytest.raises(FileNotFoundError, match="no such file"):
        real.load(tmp_path / "none.npz")


def test_folder_and_its_subfolder_are_searched(monkeypatch, tmp_path):
    (tmp_path / "research_only").mkdir()
    write(tmp_path / "research_only" / "beast.npz")
    monkeypatch.setenv("LFM_DATA", str(tmp_path))
    assert real.available() == ("beast",) and len(data.load("beast")) == 6
    assert len(data.load("beast", count=3)) <= 3
    with pytest.raises(FileNotFoundError, match="no unicorn.npz here nor in research_only; there is beast"):
        real.load("unicorn")


def test_viewpoints_are_radians(tmp_path):
    degrees = np.float32([[90, 30, -10], [180, 0, 5]])
    np.savez(tmp_path / "viewpoints.npz", pix3d_chair=degrees, compcars=np.float32([[1, 2, 3, 4, 5]]), bad=np.zeros(3))
    views = real.load_viewpoints("pix3d_chair", tmp_path)
    assert views.azimuth.tolist() == pytest.approx([math.pi / 2, math.pi])
    assert views.elevation[0] == pytest.approx(math.pi / 6) and views.roll[0] == pytest.approx(-math.pi / 18)
    assert [v.tolist() for v in real.load_viewpoints("compcars", tmp_path)] == [[1.0], [2.0], [3.0]]
    with pytest.raises(ValueError, match="no viewpoints 'boats'; there are bad, compcars, pix3d_chair"):
        real.load_viewpoints("boats", tmp_path)
    with pytest.raises(ValueError, match="bad is float64"):
        real.load_viewpoints("bad", tmp_path)


def test_the_shared_files_load(real_data):
    assert real.load("pascal3d_car", real_data).rig.name == "pascal3d_car"
    views = real.load("pascal3d_aeroplane_views", real_data)
    assert views.rig.name == "pascal3d_aeroplane" and views.camera_R is not None
    planes = real.load("pascal3d_aeroplane", real_data)
    assert planes.shares_shapes and planes.cad_views.visible.shape[:2] == (7, len(planes.cad_views.azimuth))
    for name in ("stanfordcars", "fgvc_aircraft", "pix3d_bed"):
        assert all(view.abs().max() < 2.5 * math.pi for view in real.load_viewpoints(name, real_data))
