"""Variety of shapes: known answers, and what it must not depend on."""

import pytest
import torch

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.shapes import ShapeSet
from lfmlib.geometry import random_rotations
from lfmlib.studies.variety import COMMON, Variety, variety

N = 12
RIG = rigs.build("toy", [f"k{i}" for i in range(N)], ("k0 k1 k2 k3", "k4 k5"))


def shape_set(points, split=None, known=None):
    count = len(points)
    split = (torch.arange(count) % 4 == 0).to(torch.int8) if split is None else split
    known = torch.ones(points.shape[:2], dtype=torch.bool) if known is None else known
    return ShapeSet(RIG, (points * known[..., None]).float(), known, split, torch.arange(count), "synthetic", "f")


def modes(count, number, generator, size=0.1):
    """A fixed shape plus so many independent modes of equal strength, which neither turn, move nor scale it."""
    base = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    base = base - base.mean(0)
    base = base / base.square().sum(-1).mean().sqrt()
    rigid = [base.flatten()]
    for axis in torch.eye(3, dtype=torch.float64):
        rigid += [torch.linalg.cross(axis.expand(N, 3), base).flatten(), axis.repeat(N)]
    free = torch.cat([torch.stack(rigid), torch.randn(number, 3 * N, generator=generator, dtype=torch.float64)])
    directions = torch.linalg.qr(free.T).Q.T[len(rigid) :]
    weight = torch.randn(count, number, generator=generator, dtype=torch.float64)
    return base + size * (weight @ directions).view(count, N, 3)


@pytest.mark.parametrize("number", [1, 3, 8])
def test_rank_counts_independent_modes(number, generator):
    found = variety(shape_set(modes(1500, number, generator)), views=50)
    assert found.rank == pytest.approx(number, rel=0.05) and found.components == max(1, round(0.96 * number))


def test_one_rigid_shape_has_no_variety(generator):
    base = torch.randn(1, N, 3, generator=generator)
    found = variety(shape_set(base.expand(40, -1, -1)), views=200)
    assert found.flat > 5  # there is depth to find, and that is all
    assert found.mean < 1e-3 and found.bones < 1e-3 and found.neighbour < 1e-3


def test_pose_and_size_are_no_variety(generator):
    points = modes(400, 4, generator)
    R = random_rotations(400, generator, dtype=torch.float64)
    scale = torch.rand(400, 1, 1, generator=generator, dtype=torch.float64) + 0.5
    moved = scale * (points @ R.mT) + torch.randn(400, 1, 3, generator=generator, dtype=torch.float64)
    plain, other = (variety(shape_set(p), views=200) for p in (points, moved))
    assert other.rank == pytest.approx(plain.rank, rel=0.01) and other.components == plain.components
    assert other.bones == pytest.approx(plain.bones, rel=0.01)
    assert other.mean == pytest.approx(plain.mean, rel=0.25)  # on another draw of views


def test_a_test_shape_that_was_trained_on_is_its_own_neighbour(generator):
    points = modes(60, 4, generator)
    twice = torch.cat([points, points])
    split = torch.arange(120).ge(60).to(torch.int8)
    assert variety(shape_set(twice, split), views=20).neighbour < 1e-3
    apart = variety(shape_set(points), views=20).neighbour
    assert apart > 1
    shared = variety(shape_set(points, torch.zeros(60, dtype=torch.int8)), views=20)
    assert 0.5 * apart < shared.neighbour < 2 * apart  # sought among the others, not itself


def test_shapes_that_share_few_keypoints_are_no_neighbours(generator):
    points = modes(4, 3, generator)
    known = torch.zeros(4, N, dtype=torch.bool)
    known[:2, : N - 4] = True
    known[2:, N - 4 - (COMMON - 1) :] = True
    none = torch.zeros(4, dtype=torch.int8)
    whole = variety(shape_set(points, none), views=20).neighbour
    split = variety(shape_set(points, none, known), views=20).neighbour
    assert whole > 0 and split > 0  # pairs within each half remain
    lone = torch.zeros(2, N, dtype=torch.bool)
    lone[0, :6], lone[1, 6:] = True, True
    assert variety(shape_set(points[:2], none[:2], lone), views=20).neighbour == 0


def test_missing_keypoints_and_a_single_shape_are_no_trouble(generator):
    points = modes(80, 3, generator)
    known = torch.rand(80, N, generator=generator) > 0.2
    known[:, :6] = True
    found = variety(shape_set(points, known=known), views=50)
    assert all(value == value and value < 1e3 for value in found)
    one = variety(shape_set(points[:1], torch.zeros(1, dtype=torch.int8)), views=10)
    assert one.mean < 1e-3 and one.components == 0 and one.bones == 0 and one.neighbour == 0


def test_people_vary_more_than_aeroplanes():
    people, planes = (variety(synthetic.generate(f"synthetic_{n}", 400), views=50) for n in ("body17", "aeroplane8"))
    assert people.rank > 2 * planes.rank and people.components > planes.components
    assert planes.bones > people.bones and isinstance(people, Variety)
