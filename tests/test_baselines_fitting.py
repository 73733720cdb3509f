"""The loop that trains the baselines, and what all baselines share."""

import pytest
import torch
from torch import nn

from lfmlib.baselines.c3dpo_training import C3DPOBaseline
from lfmlib.baselines.fitting import fit
from lfmlib.baselines.interface import Baseline, evaluating, heldout_loss, reprojection_error, snapped
from lfmlib.baselines.paul import PAUL
from lfmlib.data.views import Views, normalise

MAKERS = {
    "c3dpo": lambda generator: C3DPOBaseline((7,), generator, basis=2, width=16, blocks=1),
    "paul": lambda generator: PAUL(7, generator, code=2, width=16, blocks=1),
}


class Line(nn.Module):
    """One weight w; the loss at call k is values[k] + slope (w - 1)^2."""

    def __init__(self, values=(), slope=0.0):
        super().__init__()
        self.w, self.values, self.slope, self.calls = nn.Parameter(torch.zeros(())), values, slope, 0

    def loss(self, views, generator):
        value = self.values[self.calls] if self.values else 0.0
        self.calls += 1
        total = value + self.slope * (self.w - 1).square()
        return total, {"twice": 2 * total.detach()}

    def lift(self, X, visible=None):
        return torch.cat((self.w.detach() * X, X[..., :1]), -1)


def draw(count, generator):
    X = torch.randn(count, 7, 2, generator=generator)
    return Views(normalise(X)[0], None, torch.zeros(count, dtype=torch.long))


@pytest.fixture(params=MAKERS.values(), ids=MAKERS.keys())
def make(request):
    return request.param


def test_the_same_seed_gives_the_same_training(make, seeded):
    state = torch.random.get_rng_state()
    runs = []
    for seed in (3, 3, 4):
        baseline = make(seeded(0))
        record = fit(baseline, draw, 6, 8, seed=seed, points=3)
        runs.append((record, baseline.state_dict()))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert runs[0][0] == runs[1][0] and runs[0][0] != runs[2][0]
    assert all(torch.equal(value, runs[1][1][name]) for name, value in runs[0][1].items())


def test_training_lowers_the_loss_on_other_pictures(make, seeded):
    baseline, others = make(seeded(0)), draw(64, seeded(9))
    before = heldout_loss(baseline, others)
    assert before == heldout_loss(baseline, others)
    fit(baseline, draw, 60, 16, lr=3e-3)
    assert heldout_loss(baseline, others) < before


def test_lifting_is_evaluation_and_leaves_the_network_as_it_was(make, seeded):
    baseline = make(seeded(0))
    fit(baseline, draw, 3, 8)
    assert isinstance(baseline, Baseline) and not baseline.training
    views = draw(5, seeded(1))
    expected = baseline.lift(views.X)
    state = {name: value.clone() for name, value in baseline.state_dict().items()}
    baseline.train()
    lifted = baseline.lift(views.X)
    reprojection_error(baseline, views), heldout_loss(baseline, views)
    assert baseline.training and not lifted.requires_grad and torch.equal(lifted, expected)
    assert lifted.shape == (5, 7, 3)
    assert all(torch.equal(value, state[name]) for name, value in baseline.state_dict().items())


def test_the_mode_comes_back_after_an_error():
    module = nn.Dropout()
    with pytest.raises(KeyError), evaluating(module):
        assert not module.training and not torch.is_grad_enabled()
        raise KeyError
    assert module.training and torch.is_grad_enabled()


def test_the_record_holds_means_since_the_point_before():
    record = fit(Line([1.0, 2.0, 3.0, 4.0, 5.0, 9.0]), draw, 6, 2, points=3)
    assert record == {"step": [2, 4, 6], "loss": [1.5, 3.5, 7.0], "twice": [3.0, 7.0, 14.0]}
    assert fit(Line(), draw, 3, 2, points=50)["step"] == [1, 2, 3]


def test_the_rate_falls_to_zero_along_a_cosine():
    """Adam moves a lone weight far from its aim by lr at each step: in all by the area under the schedule."""
    line = Line(slope=1e-3)
    fit(line, draw, 20, 2, lr=0.01, weight_decay=0)
    assert float(line.w.detach()) == pytest.approx(0.01 * (20 + 1) / 2, rel=0.02)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_the_method_and_the_step(bad):
    with pytest.raises(ValueError, match=f"Line: loss is {bad} at step 2"):
        fit(Line([1.0, 1.0, bad, 1.0]), draw, 4, 2)


def test_a_gradient_that_is_not_finite_is_told_too():
    line = Line(slope=1.0)
    line.w.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(ValueError, match="Line: gradient is nan at step 0"):
        fit(line, draw, 4, 2)


@pytest.mark.parametrize(
    ("setting", "told"),
    [({"steps": 0}, "steps is 0"), ({"batch": 0}, "batch is 0"), ({"points": -1}, "points is -1"),
     ({"lr": -0.1}, "lr is -0.1"), ({"clip": float("nan")}, "clip is nan"), ({"weight_decay": -1}, "weight_decay")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(setting, told):
    with pytest.raises(ValueError, match=told):
        fit(Line(), draw, **{"steps": 2, "batch": 2} | setting)


def test_snapping_moves_what_is_visible_and_nothing_else(seeded):
    X, shapes = torch.randn(4, 7, 2, generator=seeded(0)), torch.randn(4, 7, 3, generator=seeded(1))
    visible = torch.rand(4, 7, generator=seeded(2)) < 0.5
    moved = snapped(torch.where(visible[..., None], X, torch.nan), shapes, visible)
    assert torch.equal(moved[visible][:, :2], X[visible]) and torch.equal(moved[~visible], shapes[~visible])
    assert torch.equal(moved[..., 2], shapes[..., 2]) and torch.equal(snapped(X, shapes)[..., :2], X)


def test_the_reprojection_error_is_in_squared_radii_of_the_picture(seeded):
    line, views = Line(), draw(6, seeded(0))
    assert reprojection_error(line, views) == pytest.approx(1)  # w = 0: all keypoints at the centre
    line.w.data.fill_(1)
    assert reprojection_error(line, views) == 0
