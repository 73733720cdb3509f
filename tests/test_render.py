"""Exact depth: known spheres, capsules and plates, a slow twin per ray, turns, shifts, and what stands in front."""

import pytest
import torch

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.render import Body, PixelCamera, body_of, depth_at, depth_map
from lfmlib.data.surface import Surface
from lfmlib.geometry import random_rotations

RIG = rigs.build("toy", ("a", "b", "c", "d"), ("a b",))


def body(a=(), b=(), radius=(), corners=()):
    """One body in double precision."""
    points = lambda v, *shape: torch.tensor(v, dtype=torch.float64).reshape(1, len(v), *shape)  # noqa: E731
    return Body(points(a, 3), points(b, 3), points(radius), points(corners, 3, 3))


def camera(focal=10.0, centre=16.0, perspective=False, count=1):
    both = torch.full((count, 2), focal, dtype=torch.float64), torch.full((count, 2), centre, dtype=torch.float64)
    return PixelCamera(*both, perspective)


def at(body_, camera_, *pixels):
    return depth_at(body_, camera_, torch.tensor([pixels], dtype=torch.float64))[0]


def shapes(category, count, generator, distance=0.0):
    """Turned shapes of unit size in front of the camera, and their bodies."""
    found = synthetic.generate(category, count)
    Y = found.points.double() @ random_rotations(count, generator, dtype=torch.float64).mT / found.radius
    Y = Y - Y.mean(1, keepdim=True)
    Y[..., 2] += distance
    return Y, body_of(Y, found.surface)


def twin(some, o, d, reach=20.0, steps=4000):
    """One ray: marches to the first point inside a capsule and halves the step; solves a 3 x 3 system per face."""
    best = float("inf")
    for a, b, r in zip(some.a, some.b, some.radius, strict=True):

        def inside(z, a=a, b=b, r=r):
            p = o + z * d
            share = ((p - a) @ (b - a) / ((b - a) @ (b - a)).clamp_min(1e-300)).clamp(0, 1)
            return bool((p - a - share * (b - a)).norm() < r)

        z = torch.linspace(-reach, reach, steps, dtype=o.dtype)
        p = o + z[:, None] * d
        share = ((p - a) @ (b - a) / ((b - a) @ (b - a)).clamp_min(1e-300)).clamp(0, 1)[:, None]
        hit = ((p - a - share * (b - a)).norm(dim=-1) < r).nonzero()
        if len(hit):
            low, high = float(z[hit[0, 0] - 1]), float(z[hit[0, 0]])
            for _ in range(50):
                middle = (low + high) / 2
                low, high = (low, middle) if inside(middle) else (middle, high)
            best = min(best, high)
    for a, b, c in some.corners:
        M = torch.stack([b - a, c - a, -d], 1)
        if abs(float(torch.linalg.det(M))) < 1e-12:
            continue
        s, t, z = torch.linalg.solve(M, o - a).tolist()
        if min(s, t, 1 - s - t) >= 0:
            best = min(best, z)
    return best


def test_the_front_of_a_sphere_is_where_geometry_says():
    ball = body([[0.3, -0.2, 5.0]], [[0.3, -0.2, 5.0]], [0.5])  # a capsule without length
    x, y = 19.0 - 1e-9, 14.0  # (0.3, -0.2) under the orthographic camera
    assert at(ball, camera(), (x, y), (19, 17), (19, 20)).tolist() == pytest.approx([4.5, 5 - 0.4, float("inf")])
    central = body([[0, 0, 5.0]], [[0, 0, 5.0]], [0.5])
    assert at(central, camera(perspective=True), (16, 16)).tolist() == pytest.approx([4.5])
    # seen in perspective the sphere's outline is the cone of sine r / distance
    edge = 10 * 0.5 / (25 - 0.25) ** 0.5
    inside, outside = at(central, camera(perspective=True), (16 + 0.999 * edge, 16), (16 + 1.001 * edge, 16)).tolist()
    assert inside == pytest.approx((25 - 0.25) / 5, abs=0.05) and outside == float("inf")


def test_the_front_of_a_capsule_is_where_geometry_says():
    lying = body([[-1.0, 0, 3]], [[1.0, 0, 3]], [0.5])
    # above the axis, 0.3 beside it, on the cap beyond an end, beyond the cap
    got = at(lying, camera(), (16, 16), (20, 19), (29, 16), (32, 16)).tolist()
    assert got == pytest.approx([2.5, 2.6, 2.6, float("inf")])
    slanting = body([[-1.0, 0, 2]], [[1.0, 0, 4]], [0.5])
    assert at(slanting, camera(), (16, 16)).tolist() == pytest.approx([3 - 0.5 * 2**0.5])
    towards = body([[0, 0, 1.0]], [[0, 0, 9.0]], [0.5])  # end on: the cap of the near end
    assert at(towards, camera(), (16, 16), (19, 16), (22, 16)).tolist() == pytest.approx([0.5, 0.6, float("inf")])


def test_a_plate_has_its_depth_within_its_edges():
    plate = body(corners=[[[-1, -1, 2.0], [1, -1, 4.0], [-1, 1, 2.0]]])  # z = 3 + x over x + y < 0
    got = at(plate, camera(), (10, 16), (14, 12), (18, 18), (4, 16)).tolist()
    assert got == pytest.approx([2.4, 2.8, float("inf"), float("inf")])
    edge_on = body(corners=[[[0, -1, 2.0], [0, 1, 2.0], [0, 0, 4.0]]])
    nothing = body(corners=[[[1, 1, 1.0]] * 3])
    assert at(edge_on, camera(), (16, 16)).isinf().all() and at(nothing, camera(), (26, 26)).isinf().all()


@pytest.mark.parametrize("perspective", [False, True])
@pytest.mark.parametrize("category", ["synthetic_body17", "synthetic_aeroplane8", "synthetic_fourleg_chair10"])
def test_it_agrees_with_a_slow_twin(category, perspective, generator):
    Y, bodies = shapes(category, 2, generator, distance=6.0)
    found = PixelCamera.framing(Y, 20, 20, perspective=perspective)
    pixels = torch.rand(2, 25, 2, generator=generator, dtype=torch.float64) * 16 + 2
    depth = depth_at(bodies, found, pixels)
    origin, direction = found.rays(pixels)
    for i in range(2):
        one = Body(*(part[i] for part in bodies))
        slow = [twin(one, o, d) for o, d in zip(origin[i], direction[i], strict=True)]
        assert depth[i].tolist() == pytest.approx(slow, abs=1e-6)
    assert depth.isfinite().any() and depth.isinf().any()


def test_turning_the_shape_a_quarter_turns_the_map(generator):
    Y, bodies = shapes("synthetic_body17", 3, generator)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)  # x right becomes y down
    found = camera(9.0, 20.0, count=3)
    turned = Body(bodies.a @ quarter.mT, bodies.b @ quarter.mT, bodies.radius, bodies.corners @ quarter.mT)
    plain, other = (depth_map(some, found, 40, 40) for some in (bodies, turned))
    assert plain.isfinite().any()
    assert torch.allclose(other, plain.rot90(-1, (1, 2)), atol=1e-9)


def test_moving_away_adds_to_the_depth_and_a_perspective_picture_shrinks(generator):
    Y, bodies = shapes("synthetic_body17", 2, generator, distance=6.0)
    away = torch.tensor([0, 0, 2.5], dtype=torch.float64)
    moved = Body(bodies.a + away, bodies.b + away, bodies.radius, bodies.corners + away)
    found = PixelCamera.framing(Y, 32, 32)
    assert torch.allclose(depth_map(moved, found, 32, 32), depth_map(bodies, found, 32, 32) + 2.5)
    pinhole = PixelCamera.framing(Y, 32, 32, perspective=True)
    near, far = (depth_map(some, pinhole, 32, 32).isfinite().sum((1, 2)) for some in (bodies, moved))
    assert (far < near).all()
    scaled = Body(*(3 * part for part in bodies))  # the same picture, three times as deep
    assert torch.allclose(depth_map(scaled, pinhole, 32, 32), 3 * depth_map(bodies, pinhole, 32, 32))


def test_the_nearer_surface_wins_and_what_is_behind_a_pinhole_does_not_show():
    both = body(
        [[0, 0, 5.0], [0, 0, 3.0]], [[0, 0, 5.0], [0, 0, 3.0]], [1.0, 0.5], [[[-1, -1, 1], [1, -1, 1], [0, 2, 1]]]
    )
    assert at(both, camera(), (16, 16)).tolist() == [1]
    assert at(both._replace(corners=both.corners[:, :0]), camera(), (16, 16), (24, 16)).tolist() == pytest.approx(
        [2.5, 4.4]
    )
    behind = body([[0, 0, -5.0]], [[0, 0, -5.0]], [1.0])
    assert at(behind, camera(), (16, 16)).tolist() == [-6]
    assert at(behind, camera(perspective=True), (16, 16)).isinf().all()


def test_asked_rays_chunks_and_company_change_nothing(generator):
    Y, bodies = shapes("synthetic_body17", 5, generator)
    found = PixelCamera.framing(Y, 24, 30)
    whole = depth_map(bodies, found, 24, 30)
    assert whole.shape == (5, 24, 30)
    rows, columns = (torch.randint(0, n, (5, 40), generator=generator) for n in (24, 30))
    asked = torch.stack([columns, rows], -1).double() + 0.5
    expected = whole.flatten(1).gather(1, rows * 30 + columns)
    for pairs in (1, 700, 1 << 19):
        assert torch.allclose(depth_at(bodies, found, asked, pairs), expected, atol=1e-12)
    alone = depth_at(
        Body(*(part[2:3] for part in bodies)), PixelCamera(found.focal[2:3], found.centre[2:3], False), asked[2:3]
    )
    assert torch.allclose(alone, expected[2:3], atol=1e-12)


def test_single_precision_agrees_with_double(generator):
    Y, bodies = shapes("synthetic_aeroplane8", 4, generator)
    single = body_of(Y.float(), synthetic.generate("synthetic_aeroplane8", 4).surface)
    found = PixelCamera.framing(Y.float(), 24, 24)
    fine, coarse = depth_map(bodies, PixelCamera.framing(Y, 24, 24), 24, 24), depth_map(single, found, 24, 24)
    same = fine.isfinite() == coarse.isfinite()
    assert coarse.dtype == torch.float32 and same.double().mean() > 0.998  # rays that graze an edge may differ
    both = fine.isfinite() & coarse.isfinite()
    assert (fine - coarse)[both].abs().median() < 1e-6


def test_radii_follow_the_shapes_size_and_unknown_keypoints_carry_nothing():
    surface = Surface.of(RIG, ["a b 0.1", "c d 0.2"], ["a b c"])
    Y = torch.tensor([[[-1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0]]])
    plain, large = body_of(Y, surface), body_of(7 * Y + 3, surface)
    assert plain.radius.tolist() == [pytest.approx([0.1, 0.2])]
    assert torch.allclose(large.radius, 7 * plain.radius) and torch.allclose(large.a, 7 * plain.a + 3)
    known = torch.tensor([[True, True, False, True]])
    found = PixelCamera.framing(Y, 16, 16, known)
    pixels = found.project(torch.tensor([[[0, 0.01, 0], [0, 0.5, 0]]]))  # on the bone a b; on the face and c d
    hits = depth_at(body_of(Y.where(known[..., None], torch.nan), surface, known), found, pixels)
    assert hits[0, 0] < 0 and hits[0, 1].isinf()


def test_a_camera_frames_and_projects_along_its_own_rays(generator):
    Y = torch.randn(4, 9, 3, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 1, 1]) + 8 * torch.eye(3)[2]
    known = torch.rand(4, 9, generator=generator) < 0.8
    known[:, :3] = True
    for perspective in (False, True):
        found = PixelCamera.framing(Y.where(known[..., None], torch.nan), 40, 60, known, perspective, fill=0.5)
        pixels = found.project(Y)
        low = pixels.where(known[..., None], torch.inf).amin(1)
        high = pixels.where(known[..., None], -torch.inf).amax(1)
        assert torch.allclose((low + high) / 2, torch.tensor([30.0, 20.0], dtype=torch.float64).expand(4, 2))
        size = torch.tensor([60.0, 40.0], dtype=torch.float64)
        assert torch.allclose(((high - low) / size).amax(1), torch.full((4,), 0.5, dtype=torch.float64))
        origin, direction = found.rays(pixels)
        assert torch.allclose(origin + Y[..., 2:] * direction, Y)
    K = torch.tensor([[[50.0, 0, 30], [0, 60, 20], [0, 0, 1]]]).double().expand(4, 3, 3)
    homogeneous = Y @ K[0].mT
    assert torch.allclose(PixelCamera.of_intrinsics(K).project(Y), homogeneous[..., :2] / homogeneous[..., 2:])
    assert PixelCamera.framing(torch.ones(1, 4, 3), 10, 10).project(torch.ones(1, 4, 3)).unique().tolist() == [5]


def test_what_cannot_be_framed_is_refused():
    Y = torch.ones(2, 4, 3)
    with pytest.raises(ValueError, match="fill is 1.5"):
        PixelCamera.framing(Y, fill=1.5)
    Y[1, 2, 2] = -1
    with pytest.raises(ValueError, match="sample 1: keypoint 2 is not in front"):
        PixelCamera.framing(Y, perspective=True)


def test_a_body_of_nothing_is_background():
    assert depth_map(body(), camera(), 4, 5).isinf().all()


def test_it_runs_on_the_device_of_its_input(device, generator):
    Y, bodies = shapes("synthetic_body17", 2, generator)
    found = PixelCamera.framing(Y.to(device), 16, 16)
    depth = depth_map(Body(*(part.to(device) for part in bodies)), found, 16, 16)
    assert depth.device.type == device.type
    assert torch.allclose(depth.cpu(), depth_map(bodies, PixelCamera.framing(Y, 16, 16), 16, 16))
