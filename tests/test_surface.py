"""Self-occlusion: what stands in front hides, whatever the unit, the place or the rest of the batch."""

import math

import pytest
import torch

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.surface import Surface, Surfaces
from lfmlib.geometry import random_rotations

RIG = rigs.build("toy", ("a", "b", "c", "d", "p"), ("a b", "c d"))


def hidden(points, surface, names="abcdp"):
    Y = torch.tensor(points, dtype=torch.float64)[None]
    result = Surfaces([surface]).hide(Y, torch.tensor([0]))[0]
    return {names[i] for i in result.nonzero().flatten().tolist()}


def plate(depth, x=0.0, z=0.0):
    """A square that the camera looks at, at a depth, and a point p."""
    return [[-1, -1, depth], [1, -1, depth], [1, 1, depth], [-1, 1, depth], [x, 0.3, z]]


def test_a_face_hides_what_lies_behind_it():
    surface = Surface.of(RIG, (), ["a b c d"])
    assert hidden(plate(-0.5), surface) == {"p"}
    assert hidden(plate(0.5), surface) == set()  # p is in front
    assert hidden(plate(-0.5, x=1.3), surface) == set()  # p is beside
    assert hidden(plate(0.0), surface) == set()  # p is on it


def test_a_face_seen_edge_on_hides_nothing():
    flat = [[-1, 0.3, -1], [1, 0.3, -1], [1, 0.3, 1], [-1, 0.3, 1], [0, 0.3, 2]]
    assert hidden(flat, Surface.of(RIG, (), ["a b c d"])) == set()


def test_a_capsule_hides_what_lies_behind_it_but_not_its_own_joints():
    limb = [[-1, 0, 0], [1, 0, 0], [0, 5, 0], [0, -5, 0], [0.2, 0.1, 2]]
    surface = Surface.of(RIG, ["a b 0.1"])
    assert hidden(limb, surface) == {"p"}
    limb[4] = [0.2, 0.1, -2]
    assert hidden(limb, surface) == set()
    limb[4] = [0.2, 0.1, 0.0]  # inside the limb, as a joint is
    assert hidden(limb, surface) == set()
    limb[4] = [0.2, 1.0, 2]
    assert hidden(limb, surface) == set()
    towards = [[0, 0, -1], [0, 0, 1], [0, 5, 0], [0, -5, 0], [0, 0, 2]]  # end on: its near end hides p, not a or b
    assert hidden(towards, surface) == {"p"}


@pytest.mark.parametrize("category", ["synthetic_body17", "synthetic_aeroplane8"])
def test_unit_place_and_company_do_not_matter(category, generator):
    shapes = synthetic.generate(category, 40)
    Y = shapes.points.double() @ random_rotations(40, generator, dtype=torch.float64).mT
    alone = Surfaces([shapes.surface]).hide(Y, torch.zeros(40, dtype=torch.int64))
    assert 0 < alone.double().mean() < 0.5
    moved = Surfaces([shapes.surface]).hide(0.001 * Y + 7, torch.zeros(40, dtype=torch.int64))
    assert torch.equal(alone, moved)
    other = synthetic.generate("synthetic_hand21", 40)
    n = 30
    pad = lambda v: torch.nn.functional.pad(v, (0, 0, 0, n - v.shape[1]))  # noqa: E731
    both = torch.cat([pad(other.points.double()), pad(Y)])
    sizes = torch.tensor([other.rig.n, shapes.rig.n]).repeat_interleave(40)
    known = torch.arange(n) < sizes[:, None]
    surfaces = Surfaces([other.surface, shapes.surface])
    result = surfaces.hide(both, torch.tensor([0, 1]).repeat_interleave(40), known)
    assert torch.equal(result[40:, : shapes.rig.n], alone)


def test_seen_from_behind_other_points_are_hidden():
    """From the front and from behind, no keypoint is hidden in both views by a face, and some are in one."""
    shapes = synthetic.generate("synthetic_fourleg_chair10", 50)
    surface = Surface(torch.zeros(0, 2).long(), torch.zeros(0), shapes.surface.faces)
    zero = torch.zeros(50, dtype=torch.int64)
    front = Surfaces([surface]).hide(shapes.points, zero)
    back = Surfaces([surface]).hide(shapes.points * torch.tensor([-1.0, 1, -1]), zero)
    assert (front | back).any() and not (front & back).all(0).any()


def test_a_category_without_a_surface_hides_nothing():
    Y = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0))
    surfaces = Surfaces([None, Surface.of(RIG, ["a b 0.9", "c d 0.9"])])
    result = surfaces.hide(Y, torch.tensor([0, 0, 0, 1, 1, 1]))
    assert not result[:3].any() and result[3:].any()


def test_coinciding_keypoints_hide_nothing():
    Y = torch.zeros(2, 5, 3)
    surface = Surface.of(RIG, ["a b 0.2"], ["a b c"])
    assert not Surfaces([surface]).hide(Y, torch.zeros(2, dtype=torch.int64)).any()


def test_bones_are_capsules_where_nobody_says_otherwise():
    surface = Surface.of(RIG)
    assert surface.ends.tolist() == [[0, 1], [2, 3]] and surface.radius.tolist() == pytest.approx([0.06, 0.06])
    assert Surface.of(RIG, girth=0.2).radius.tolist() == pytest.approx([0.2, 0.2])
    assert Surface.of(RIG, (), ["a b c d"]).faces.tolist() == [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    ("capsules", "faces"),
    [(["a q 0.1"], ()), (["a a 0.1"], ()), (["a b c 0.1"], ()), (["a b 0"], ()), (["a b 7"], ()), ((), ["a b"]),
     ((), ["a b q"])],
)  # fmt: skip
def test_a_surface_that_makes_no_sense_is_refused(capsules, faces):
    with pytest.raises(ValueError, match="rig 'toy': surface"):
        Surface.of(RIG, capsules, faces)


@pytest.mark.parametrize("category", synthetic.categories())
def test_every_category_hides_some_keypoints_from_some_side(category):
    shapes = synthetic.generate(category, 60)
    angle = torch.linspace(0, 2 * math.pi, 61)[:-1]
    R = torch.stack(
        [
            torch.stack([angle.cos(), 0 * angle, angle.sin()], -1),
            torch.stack([0 * angle, 0 * angle + 1, 0 * angle], -1),
            torch.stack([-angle.sin(), 0 * angle, angle.cos()], -1),
        ],
        1,
    )
    flip = torch.tensor([1.0, -1, -1])
    share = Surfaces([shapes.surface]).hide((shapes.points @ R.mT) * flip, torch.zeros(60, dtype=torch.int64))
    assert 0.005 < share.double().mean() < 0.7
