"""C3DPO's losses vanish where they should, look at nothing that is hidden, and lift a rigid shape from its pictures."""

import pytest
import roma
import torch
from rigid_scene import centred_shape, check_that_it_learns, mask, pictures

from lfmlib import geometry
from lfmlib.baselines.c3dpo import C3DPO
from lfmlib.baselines.c3dpo_training import (
    C3DPOBaseline,
    canonicalisation_loss,
    factorisation_loss,
    pseudo_huber,
    shifted_camera,
)
from lfmlib.data.views import Views, normalise


def small(generator, sizes=(9,), **options):
    return C3DPOBaseline(sizes, generator, **{"width": 32, "blocks": 1} | options)


@pytest.fixture
def shape(generator):
    return centred_shape(generator)


@pytest.fixture
def views(shape, generator):
    return pictures(shape, 12, generator)[0]


@pytest.fixture
def visible(seeded):
    return mask(seeded(1), 3)


class Knowing(C3DPO):
    """Knows the shape: finds each picture's true camera, and turns a shape back by Procrustes."""

    def __init__(self, shape, generator):
        super().__init__(len(shape), generator, width=16, blocks=1)
        self.shape = shape

    def forward(self, X, visible=None):
        s, R, _ = geometry.solve_camera(X, self.shape.expand(len(X), -1, -1), visible)
        return s[:, None, None] * self.shape, roma.rotmat_to_rotvec(R)

    def canonicalise(self, Y):
        return Y @ geometry.align(Y, self.shape.expand_as(Y)).R.mT


def test_pseudo_huber_is_a_parabola_near_zero_and_a_length_far_away(generator):
    d = torch.randn(50, 4, 2, generator=generator, dtype=torch.float64)
    near, far = d * 1e-5, d + 100 * d.sign()
    torch.testing.assert_close(pseudo_huber(near), near.square().sum(-1) / 0.02, rtol=1e-4, atol=0)
    torch.testing.assert_close(pseudo_huber(far), far.norm(dim=-1) - 0.01, rtol=0, atol=1e-5)


def test_the_true_shapes_and_cameras_have_no_factorisation_loss(generator, visible):
    basis = torch.randn(4, 9, 3, generator=generator, dtype=torch.float64)
    Y = torch.einsum("bk,knd->bnd", torch.randn(12, 4, generator=generator, dtype=torch.float64), basis)
    R = geometry.random_rotations(12, generator, torch.float64)
    X = geometry.centred((Y @ R.mT)[..., :2], visible)
    assert float(factorisation_loss(X, Y, shifted_camera(Y, R, visible), visible)) < 1e-12
    for wrong_Y, wrong_R in ((Y, R.roll(1, 0)), (Y.roll(1, 0), R)):
        assert float(factorisation_loss(X, wrong_Y, shifted_camera(wrong_Y, wrong_R, visible), visible)) > 0.1


@pytest.mark.parametrize("in_plane", [0, 3.0])
def test_a_network_that_knows_the_shape_has_no_loss(in_plane, shape, visible, generator):
    """Also with shape and camera taken from two pictures, turned in their plane by different angles."""
    baseline = small(generator, in_plane=in_plane)
    baseline.network = Knowing(shape, generator)
    views, truth = pictures(shape, 12, generator)
    shown, _, rms = normalise(views.X, visible)
    views.X, views.visible, truth = shown, visible, truth / rms[:, None, None]
    total, terms = baseline.loss(views, generator)
    assert float(total.detach()) < 1e-4 and set(terms) == {"factorisation", "canonicalisation"}
    lifted = baseline.lift(views.X, visible)
    assert torch.allclose(lifted, truth - (truth * visible[..., None]).sum(1, keepdim=True) / visible.sum(1)[
        :, None, None], atol=1e-3)  # fmt: skip


def test_turns_do_not_matter_to_a_net_that_undoes_them_and_do_to_one_that_does_not(shape, seeded):
    Y = shape.expand(6, -1, -1)
    knowing, ignorant = Knowing(shape, seeded(1)), C3DPO(9, seeded(1), width=16, blocks=1).eval()
    for seed in range(3):
        turns = geometry.random_rotations(24, seeded(seed))
        assert float(canonicalisation_loss(knowing, Y, turns)) < 1e-4
        assert float(canonicalisation_loss(ignorant, Y, turns).detach()) > 0.5
    with pytest.raises(ValueError, match="7 turns for 6 shapes"):
        canonicalisation_loss(knowing, Y, turns[:7])


def test_what_is_hidden_reaches_neither_loss_nor_gradient_nor_lift(views, visible, seeded):
    results = []
    for hidden in (0.0, torch.nan):
        baseline = small(seeded(0))
        X = torch.where(visible[..., None], views.X, hidden)
        total, _ = baseline.loss(Views(X, visible, views.category), seeded(3))
        total.backward()
        results.append((total, baseline.lift(X, visible), *(p.grad for p in baseline.parameters())))
    assert all(a.isfinite().all() and torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_lift_does_not_depend_on_the_others_of_its_batch(views, visible, seeded):
    baseline = small(seeded(0))
    lifted = baseline.lift(views.X, visible)
    order = torch.randperm(12, generator=seeded(1))
    assert torch.allclose(baseline.lift(views.X[order], visible[order]), lifted[order], atol=1e-6)
    assert torch.allclose(baseline.lift(views.X[:1], visible[:1]), lifted[:1], atol=1e-6)
    assert torch.allclose((lifted * visible[..., None]).sum(1), torch.zeros(12, 3), atol=1e-5)  # centred


def test_gradients_are_finite_where_all_points_coincide(views, seeded):
    baseline = small(seeded(0))
    views.X[:5] = 0
    baseline.loss(views, seeded(1))[0].backward()
    assert all(p.grad.isfinite().all() for p in baseline.parameters())


def test_categories_have_places_of_their_own(seeded):
    """Padding holds anything; a sample is lifted alike in a wide and in a narrow batch, and as if alone in the net."""
    baseline = small(seeded(0), sizes=(4, 9))
    category = torch.tensor([0, 1, 0, 1])
    visible = torch.arange(9) < torch.tensor([4, 9])[category][:, None]
    X = torch.where(visible[..., None], torch.randn(4, 9, 2, generator=seeded(1)), torch.nan)
    lifted = baseline.lift(X, visible, category)
    assert lifted.shape == (4, 9, 3) and not lifted[::2, 4:].any() and lifted.isfinite().all()
    narrow = baseline.lift(X[::2, :4], None, category[::2])
    assert torch.allclose(narrow, lifted[::2, :4], atol=1e-6)
    assert torch.allclose(baseline.lift(X[::2], None, category[::2]), lifted[::2], atol=1e-6)
    seen = torch.zeros(2, 13, dtype=torch.bool)
    seen[:, 4:] = True
    with torch.no_grad():
        Y, _ = baseline.network.eval()(torch.nn.functional.pad(X[1::2], (0, 0, 4, 0)), seen)
    distances = [torch.cdist(P, P) for P in (Y[:, 4:], lifted[1::2])]
    assert torch.allclose(*distances, atol=1e-5)
    total, _ = baseline.train().loss(Views(X, visible, category), seeded(2))
    total.backward()
    assert all(p.grad.isfinite().all() for p in baseline.parameters())
    with pytest.raises(ValueError, match="2 categories"):
        baseline.lift(X, visible)


@pytest.mark.parametrize(
    ("options", "told"),
    [({"factorisation": -1}, "factorisation is -1"), ({"in_plane": float("nan")}, "in_plane is nan"),
     ({"turns": 0}, "turns is 0"), ({"sizes": ()}, "sizes"), ({"sizes": (9, 2)}, "sizes")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(options, told, generator):
    with pytest.raises(ValueError, match=told):
        small(generator, **options)


def test_another_number_of_keypoints_is_refused(generator):
    with pytest.raises(ValueError, match=r"expected \[B, 9, 2\]"):
        small(generator).lift(torch.zeros(2, 8, 2))


def test_it_lifts_a_rigid_shape_from_its_pictures(shape, seeded):
    """One basis shape beside the mean: what a rigid object needs. The flat answer is the floor."""
    baseline = small(seeded(1), basis=1, width=64)
    check_that_it_learns(baseline, shape, seeded, steps=300, lr=3e-3, loss_falls=2, of_flat=0.4)
