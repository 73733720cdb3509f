"""Views: camera conventions, normalisation, balance, masks, what a training step may see, and fixed evaluation sets."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch

from lfmlib.data import synthetic
from lfmlib.data.batches import ViewSampler, evaluation_views
from lfmlib.data.shapes import CadViews, ShapeSet
from lfmlib.data.surface import Surface
from lfmlib.data.views import CameraConfig, EvaluationViews, Views, normalise, upright, view_rotations
from lfmlib.rigs import UP_AXES, Rig

CAMERAS = CameraConfig()
STILL = CameraConfig(azimuth=0, elevation=0, roll=0)


def shape_set(count=12, n=7, name="toy", up="+y", known=None, cad=None, seed=0):
    points = torch.randn(count, n, 3, generator=torch.Generator().manual_seed(seed))
    known = torch.ones(count, n, dtype=torch.bool) if known is None else known
    return ShapeSet(
        rig=Rig(name, tuple(f"k{i}" for i in range(n)), up=up),
        points=points * known[..., None],
        known=known,
        split=torch.zeros(count, dtype=torch.int8),
        sequence=torch.arange(count),
        tag="synthetic",
        fingerprint=f"{name}{seed}",
        cad_views=cad,
    )


def degrees(*values):
    return tuple(torch.tensor([math.radians(v)], dtype=torch.float64) for v in values)


def seen(point, azimuth=0.0, elevation=0.0, roll=0.0):
    """An upright point (y up, z to the front) in the camera's frame."""
    R = view_rotations(*degrees(azimuth, elevation, roll))[0]
    return [round(v, 6) + 0.0 for v in (R @ torch.tensor(point, dtype=torch.float64)).tolist()]


def test_the_front_view_has_x_right_y_down_z_away():
    assert seen([1.0, 2, 3]) == [1, -2, -3]


def test_the_camera_stands_where_azimuth_and_elevation_say():
    """Its own place lies straight ahead of it: in the middle of the picture, towards the viewer."""
    for azimuth in (-170, -60, 0, 30, 90, 135):
        for elevation in (-80, -20, 0, 15, 60):
            a, e = math.radians(azimuth), math.radians(elevation)
            place = [math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)]
            assert seen(place, azimuth, elevation) == [0, 0, -1]
            assert seen([0.0, 1, 0], azimuth, elevation)[0] == 0  # no roll: what is upright looks upright
            assert seen([0.0, 1, 0], azimuth, elevation)[1] < 0
    R = view_rotations(*(torch.randn(3, 50, generator=torch.Generator().manual_seed(0)) * 3))
    assert (R @ R.mT - torch.eye(3)).abs().max() < 1e-5 and torch.linalg.det(R).min() > 0.99


def test_seen_from_above_what_is_near_moves_down_and_the_top_comes_nearer():
    near, top = seen([0.0, 0, 1], elevation=30), seen([0.0, 1, 0], elevation=30)
    assert near[1] > 0.4 and top[2] < -0.4
    assert seen([1.0, 0, 0], azimuth=90) == [0, 0, -1]  # from the object's +x side
    assert seen([0.0, 0, 1], azimuth=90) == [-1, 0, 0]  # the front is on the left there
    assert seen([0.0, 1, 0], roll=90) == [-1, 0, 0]  # the top of the picture falls to the left


@pytest.mark.parametrize("up", UP_AXES)
def test_upright_turns_the_up_axis_to_y(up):
    R, axis = upright(up), torch.zeros(3)
    axis["xyz".index(up[1])] = 1.0 if up[0] == "+" else -1.0
    assert torch.equal(R @ axis, torch.tensor([0.0, 1, 0]))
    assert torch.equal(R @ R.T, torch.eye(3)) and torch.linalg.det(R) == 1
    views = ViewSampler([shape_set(up=up)], STILL).draw_with_truth(30, torch.Generator().manual_seed(0))
    shape = shape_set(up=up).points
    height = shape @ axis  # the picture's y falls where the data's up rises
    matches = ((views.Y[:, None, :, 1] + height).abs().amax(-1) < 1e-5).any(1)
    assert matches.all()


def test_the_front_of_data_with_z_up_is_minus_y():
    assert torch.equal(upright("+z") @ torch.tensor([0.0, -1, 0]), torch.tensor([0.0, 0, 1]))


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normalise_centres_scales_and_can_be_undone(missing, dtype):
    X = (50 * torch.randn(20, 9, 2, generator=torch.Generator().manual_seed(0)) + 300).to(dtype)
    visible = None
    if missing:
        visible = torch.rand(20, 9, generator=torch.Generator().manual_seed(1)) > missing
        visible[:, :3] = True
        X = torch.where(visible[..., None], X, math.nan)
    everywhere = torch.ones(20, 9, dtype=torch.bool) if visible is None else visible
    Z, mean, rms = normalise(X, visible)
    count = everywhere.sum(1)
    assert Z.dtype == dtype and (Z[~everywhere] == 0).all()
    assert Z.sum(1).abs().max() < 1e-4 and torch.allclose(Z.square().sum((1, 2)), count.to(dtype), rtol=1e-5)
    back = Z * rms[:, None, None] + mean[:, None]
    assert torch.allclose(back[everywhere], X[everywhere], rtol=1e-5)
    again = normalise(Z, visible)
    assert torch.allclose(again[0], Z, atol=1e-5) and torch.allclose(again[2], torch.ones(20, dtype=dtype))
    moved = normalise(7 * X - 40, visible)[0]
    assert torch.allclose(moved, Z, atol=1e-4)


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1e6, 1e12])
def test_normalise_knows_no_unit(unit):
    X = torch.randn(5, 9, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(normalise(unit * X)[0], normalise(X)[0], atol=1e-5)


@pytest.mark.parametrize("place", [0.0, 0.1, -1000.1, 1e6])
@pytest.mark.parametrize("count", [3, 17, 68])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keypoints_that_coincide_become_zero(place, count, dtype):
    X = torch.full((3, count, 2), place, dtype=dtype)
    visible = torch.ones(3, count, dtype=torch.bool)
    visible[1, 3:] = visible[2] = False
    for mask in (None, visible):
        Z, mean, rms = normalise(X, mask)
        assert Z.abs().max() == 0 and rms.abs().max() == 0
        assert torch.allclose(mean[:2], torch.full((2, 2), place, dtype=dtype))


def test_drawn_views_are_centred_with_unit_rms():
    views = ViewSampler([shape_set()], CAMERAS).draw(200, torch.Generator().manual_seed(0))
    assert views.visible is None and views.category.tolist() == [0] * 200
    assert views.X.mean(1).abs().max() < 1e-5
    assert torch.allclose(views.X.square().sum(2).mean(1), torch.ones(200), atol=1e-5)


def test_what_a_training_step_gets_holds_no_third_dimension():
    views = ViewSampler([shape_set()], CAMERAS).draw(5, torch.Generator().manual_seed(0))
    assert type(views) is Views and not isinstance(views, EvaluationViews)
    assert [f.name for f in dataclasses.fields(views)] == ["X", "visible", "category"]
    assert set(vars(views)) == {"X", "visible", "category"} and views.X.shape == (5, 7, 2)


def test_the_truth_is_the_shape_in_the_camera_frame():
    shapes = shape_set()
    views = ViewSampler([shapes], CAMERAS, missing=0.3).draw_with_truth(40, torch.Generator().manual_seed(0))
    assert views.known.all() and not views.visible.all()
    expected = normalise(views.Y[..., :2], views.visible)[0]
    assert torch.equal(views.X, expected)
    lengths = torch.cdist(shapes.points, shapes.points)
    same = (torch.cdist(views.Y, views.Y)[:, None] - lengths[None]).abs().amax((2, 3)) < 1e-4
    assert same.any(1).all()  # turned, never scaled or mirrored
    volume = lambda Y: torch.linalg.det(Y[:, 1:4] - Y[:, :1])  # noqa: E731
    assert torch.allclose(volume(views.Y), volume(shapes.points)[same.double().argmax(1)], rtol=1e-3, atol=1e-3)


def test_the_same_seed_draws_the_same_views_and_others_differ():
    sampler = ViewSampler([shape_set(), shape_set(name="b", n=5)], CAMERAS, missing=0.2)
    one, two, other = (sampler.draw(30, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.X, two.X) and torch.equal(one.visible, two.visible)
    assert torch.equal(one.category, two.category) and not torch.equal(one.X, other.X)
    generator = torch.Generator().manual_seed(1)
    assert not torch.equal(sampler.draw(30, generator).X, sampler.draw(30, generator).X)


@pytest.mark.parametrize("fixed", [False, True])
def test_fixed_views_show_each_frame_from_one_side_for_ever(fixed):
    sampler = ViewSampler([shape_set(6)], CAMERAS, fixed_views=torch.Generator().manual_seed(3) if fixed else None)
    generator, frame = torch.Generator().manual_seed(0), torch.arange(6).repeat(4)
    pictures = sampler.views_of(frame, torch.zeros_like(frame), generator).X.view(4, 6, 7, 2)
    assert torch.equal(pictures, pictures[:1].expand_as(pictures)) == fixed
    if fixed:
        drawn = sampler.draw(100, generator).X.flatten(1)
        assert len(drawn.unique(dim=0)) == 6
        other = ViewSampler([shape_set(6)], CAMERAS, fixed_views=torch.Generator().manual_seed(4))
        assert not torch.allclose(other.views_of(frame, torch.zeros_like(frame), generator).X[:6], pictures[0])


def test_categories_are_balanced_and_so_are_their_shapes():
    sets = [shape_set(3, 5, "a"), shape_set(50, 7, "b"), shape_set(10, 6, "c")]
    views = ViewSampler(sets, STILL).draw(6000, torch.Generator().manual_seed(0))
    counts = views.category.bincount(minlength=3)
    assert float(((counts - 2000.0).square() / 2000).sum()) < 14  # chi-square, 2 degrees of freedom, p = 0.001
    for category, shapes in enumerate(sets):
        of_it = views.X[views.category == category][:, : shapes.rig.n]
        each = of_it.flatten(1).round(decimals=3).unique(dim=0, return_counts=True)[1].double()
        assert len(each) == len(shapes)
        mean = len(of_it) / len(shapes)
        assert float(((each - mean).square() / mean).sum()) < 2 * len(shapes) + 20


def test_smaller_rigs_are_padded_with_keypoints_that_nobody_sees():
    sets = [shape_set(8, 5, "small"), shape_set(8, 9, "large")]
    sampler = ViewSampler(sets, CAMERAS, missing=0.2, waste=1.0)
    views = sampler.draw_with_truth(200, torch.Generator().manual_seed(0))
    small = views.category == 0
    assert views.X.shape == (200, 9, 2) and small.any() and (~small).any()
    for value in (views.visible, views.known, views.X, views.Y):
        assert not value[small][:, 5:].any()
    assert views.known[small][:, :5].all() and views.known[~small].all()


def test_unknown_keypoints_are_not_visible():
    known = torch.ones(12, 7, dtype=torch.bool)
    known[::2, 3] = False
    views = ViewSampler([shape_set(known=known)], CAMERAS).draw_with_truth(100, torch.Generator().manual_seed(0))
    assert torch.equal(views.visible, views.known) and (~views.visible[:, 3]).any() and views.visible[:, 3].any()
    assert (views.X[~views.visible] == 0).all() and (views.Y[~views.known] == 0).all()


def test_batches_of_a_bucket_show_what_batches_of_everything_show():
    """Bucketing changes which samples stand together, and nothing about a sample."""
    sets = [shape_set(6, 5, "small"), shape_set(6, 9, "large"), shape_set(6, 40, "huge")]
    sampler = ViewSampler(sets, CAMERAS, fixed_views=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(0)
    everything = sampler.views_of(torch.arange(18), torch.arange(3).repeat_interleave(6), generator)
    seen = set()
    for _ in range(60):
        views = sampler.draw_with_truth(7, generator)
        n = views.X.shape[1]
        assert n in (5, 9, 40) and views.visible is None  # one size each: no padding, no mask
        for X, Y, category in zip(views.X, views.Y, views.category, strict=True):
            same = (everything.X[:, :n] - X).abs().amax((1, 2)) < 1e-6
            same &= (everything.Y[:, :n] - Y).abs().amax((1, 2)) < 1e-5
            same &= everything.category == category
            assert same.sum() == 1
            seen.add(int(same.nonzero()))
    assert seen == set(range(18))


def test_a_sampler_that_is_taken_up_again_goes_on_with_the_same_batches():
    sets = [shape_set(6, 5, "small"), shape_set(6, 9, "large")]
    one, two = (ViewSampler(sets, CAMERAS) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for _ in range(7):
        one.draw(4, generator)
    two.turn = one.turn
    assert one.turn == 7
    draws = [[s.draw(4, torch.Generator().manual_seed(i)) for i in range(9)] for s in (one, two)]
    assert all(torch.equal(a.X, b.X) for a, b in zip(*draws, strict=True))
    one.draw(4, generator, mixed=True)
    assert one.turn == two.turn  # statistics take no turn


def test_self_occlusion_by_a_surface_and_by_a_table_in_one_batch():
    table = torch.zeros(4, 8, 7, dtype=torch.int8)
    table[..., :3] = 1
    wall = shape_set(5, 7, "wall")
    plate = torch.tensor([[-3.0, -3, 1], [3, -3, 1], [3, 3, 1], [-3, 3, 1], [0, 0, 0], [1, 1, 0], [0, 0, 2]])
    wall = dataclasses.replace(wall, points=plate.expand(5, 7, 3).clone(),
                               surface=Surface.of(wall.rig, (), ["k0 k1 k2 k3"]))  # fmt: skip
    sampler = ViewSampler([cad_set(table), wall], STILL, self_occlusion=True)
    views = sampler.draw_with_truth(40, torch.Generator().manual_seed(0))
    behind = torch.tensor([True, True, True, True, False, False, True])  # seen from +z, the plate hides two
    assert (views.visible[views.category == 1] == behind).all() and views.known.all()
    assert (views.visible[views.category == 0][:, 3:] == False).all()  # noqa: E712


@pytest.mark.parametrize("missing", [0.1, 0.5, 0.95])
def test_the_share_of_missing_keypoints(missing):
    sets = [shape_set(8, 3, "three"), shape_set(8, 40, "forty")]
    views = ViewSampler(sets, CAMERAS, missing=missing).draw(3000, torch.Generator().manual_seed(0), mixed=True)
    three = views.category == 0
    assert views.visible[three].sum(1).tolist() == [3] * int(three.sum())  # fewer than 4: all of them stay
    count = views.visible[~three].sum(1)
    assert count.min() >= 4
    if missing < 0.9:
        assert abs(float(count.double().mean() / 40) - (1 - missing)) < 0.01
    else:
        assert count.double().mean() < 6
    assert (views.visible[~three].double().mean(0).std() < 0.03).all()  # no keypoint is spared


def cad_set(visible):
    """4 shapes seen from 8 sides, two elevations each."""
    azimuth, elevation = torch.arange(0.0, 360, 90).repeat(2), torch.tensor([-10.0, 30.0]).repeat_interleave(4)
    return shape_set(4, 7, cad=CadViews(azimuth, elevation, visible))


def test_self_occlusion_takes_the_nearest_view_of_the_table():
    table = torch.zeros(4, 8, 7, dtype=torch.int8)
    table[..., :3] = 1
    for view in range(8):
        table[:, view, 3 + view % 4] = 1  # which of keypoints 3..6 is seen tells the azimuth
    table[2, :, 6] = 1  # shape 2 always shows keypoint 6
    sampler = ViewSampler([cad_set(table)], CAMERAS, self_occlusion=True)
    for azimuth, row in ((0, 0), (44, 0), (46, 1), (-44, 0), (-46, 3), (180, 2), (-180, 2), (269, 3), (359, 0)):
        sampler.fixed = torch.stack(degrees(azimuth, 5, 0)).expand(3, 4).float()
        views = sampler.views_of(torch.arange(4), torch.zeros(4, dtype=torch.int64), torch.Generator())
        expected = table[:, row] > 0
        assert torch.equal(views.visible, expected), azimuth
        assert views.known.all()  # hidden is not unknown
    plain = ViewSampler([cad_set(table)], CAMERAS).draw(10, torch.Generator().manual_seed(0))
    assert plain.visible is None


def test_self_occlusion_minds_the_elevation_and_views_that_hide_nearly_all_count_as_open():
    table = torch.ones(4, 8, 7, dtype=torch.int8)
    table[:, 4:, 5:] = 0
    table[1, :, 2:] = 0
    sampler = ViewSampler([cad_set(table)], CAMERAS, self_occlusion=True)
    for elevation, count in ((-20, 7), (9, 7), (11, 5), (60, 5)):
        sampler.fixed = torch.stack(degrees(0, elevation, 0)).expand(3, 4).float()
        views = sampler.views_of(torch.arange(4), torch.zeros(4, dtype=torch.int64), torch.Generator())
        assert views.visible.sum(1).tolist() == [count, 7, count, count]


def test_self_occlusion_needs_tables():
    with pytest.raises(ValueError, match="toy has no visibility table and no surface"):
        ViewSampler([shape_set()], CAMERAS, self_occlusion=True)


@pytest.mark.parametrize("per_category", [5, 40])
def test_evaluation_views_are_fixed_by_their_seed_and_cover_the_shapes(per_category):
    sets = [shape_set(12, 5, "a"), shape_set(30, 7, "b", seed=1)]
    one, two, other = (evaluation_views(sets, CAMERAS, per_category, seed, missing=0.2) for seed in (1, 1, 2))
    for field in ("X", "visible", "category", "Y", "known"):
        assert torch.equal(getattr(one, field), getattr(two, field))
    assert not torch.equal(one.X, other.X) and isinstance(one, EvaluationViews)
    assert one.category.tolist() == [0] * per_category + [1] * per_category
    for category, shapes in enumerate(sets):
        Y = one.Y[one.category == category][:, : shapes.rig.n]
        lengths = torch.cdist(Y, Y).flatten(1).round(decimals=2).unique(dim=0, return_counts=True)[1]
        assert len(lengths) == min(per_category, len(shapes))  # a shape comes again only when all have been there
        assert lengths.max() - lengths.min() <= 1


def test_annotated_viewpoints_are_drawn_as_they_are(tmp_path, monkeypatch):
    angles = np.array([[0.1, 0.2, 0.3, 9], [1.1, -0.2, 0.0, 9], [-3.0, 0.7, 0.1, 9]], np.float32)
    np.savez(tmp_path / "viewpoints.npz", cars=angles, pix3d_chair=np.degrees(angles))
    monkeypatch.setenv("LFM_DATA", str(tmp_path))
    for name in ("cars", "pix3d_chair"):
        sampler = ViewSampler([shape_set(1)], CameraConfig(source=name))
        views = sampler.draw_with_truth(60, torch.Generator().manual_seed(0))
        R = view_rotations(*torch.tensor(angles[:, :3].T))
        possible = shape_set(1).points @ R.mT
        match = (views.Y[:, None] - possible).abs().amax((2, 3)) < 1e-4
        assert match.any(1).all() and match.any(0).all()
    with pytest.raises(ValueError, match="no viewpoints 'carts'; there are cars, pix3d_chair"):
        ViewSampler([shape_set(1)], CameraConfig(source="carts"))


def test_viewpoints_of_real_photographs(real_data):
    sampler = ViewSampler([shape_set()], CameraConfig(source="pix3d_chair"))
    elevation = sampler.viewpoints[1].rad2deg()
    assert sampler.viewpoints.shape[1] > 100 and elevation.abs().max() <= 90.01 and 0 < elevation.mean() < 45
    assert sampler.draw(5, torch.Generator().manual_seed(0)).X.isfinite().all()


def test_the_angles_fill_their_ranges():
    sampler = ViewSampler([shape_set()], CameraConfig(azimuth=90, elevation=10, roll=0))
    angles = sampler._angles(4000, torch.Generator().manual_seed(0)).rad2deg()
    for row, half in zip(angles, (90, 10, 0), strict=True):
        assert row.abs().max() <= half * 1.0001 and abs(float(row.mean())) <= 0.05 * half
        assert row.max() - row.min() >= 1.98 * half


@pytest.mark.parametrize(
    ("name", "value"),
    [("azimuth", -1), ("azimuth", 181), ("elevation", 91), ("roll", math.nan), ("roll", True), ("elevation", math.inf)],
)
def test_camera_ranges_are_checked(name, value):
    with pytest.raises(ValueError, match=re.escape(f"camera {name} is {value!r}, expected degrees between 0 and ")):
        CameraConfig(**{name: value})


def test_samplers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="at least one category"):
        ViewSampler([], CAMERAS)
    for missing in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match=re.escape(f"missing is {missing!r}, expected a chance in [0, 1)")):
            ViewSampler([shape_set()], CAMERAS, missing=missing)


def test_a_batch_of_the_synthetic_benchmark():
    sets = [synthetic.generate(name, 40, 0) for name in synthetic.categories()[:3]]
    views = ViewSampler(sets, CAMERAS).draw(64, torch.Generator().manual_seed(0))
    assert views.X.isfinite().all() and views.X.dtype == torch.float32
    assert views.visible is None or (views.visible.sum(1) >= 3).all()
