"""The flow: an invertible map whose determinant and density are what it says, and a term that moves the lifter only."""

import math

import pytest
import torch

from lfmlib.objectives import Objective, ObjectiveConfig, PictureFlow, unlikelihood
from lfmlib.objectives.flow import Coupling
from lfmlib.objectives.pictures import NewViews
from lfmlib.rigs import Rig

RIGS = (
    Rig("snake", tuple("abcdef"), edges=((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))),
    Rig("star", tuple("abcd"), edges=((0, 1), (0, 2), (0, 3))),
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, seed: int = 0, categories: int = 2, bend: float = 0.5) -> NewViews:
    """Centred pictures of unit size, on a curve: x is wide, y goes with its square."""
    category = torch.arange(count) % categories
    visible = torch.arange(6) < torch.tensor([rig.n for rig in RIGS])[category][:, None]
    x = torch.randn(count, 6, generator=generator(seed)) * 0.3 + torch.arange(6)
    y = bend * x.square() + 0.1 * torch.randn(count, 6, generator=generator(seed + 1))
    X = torch.where(visible[..., None], torch.stack([x, y], -1), 0)
    X = torch.where(visible[..., None], X - X.sum(1, keepdim=True) / visible.sum(1)[:, None, None], 0)
    return NewViews(X / (X.square().sum((1, 2)) / visible.sum(1)).sqrt()[:, None, None], visible, category)


def disturbed(flow: PictureFlow, size: float = 0.5) -> PictureFlow:
    """The flow with other weights than those of its start, which is the identity."""
    with torch.no_grad():
        for i, parameter in enumerate(flow.parameters()):
            parameter += size * torch.randn(parameter.shape, generator=generator(i)) / parameter.shape[-1] ** 0.5
    return flow.double()


def gathered(rigs: tuple[Rig, ...] = RIGS) -> PictureFlow:
    flow = PictureFlow(rigs, generator(), width=32)
    flow.gather(*pictures(2000, categories=len(rigs)))
    return flow


def test_inverse_of_forward_is_the_identity() -> None:
    flow = disturbed(gathered())
    views = pictures(50, seed=3)
    u, counted = flow.coordinates(views.X.double(), views.visible, views.category)
    v, _ = flow(u, views.category)
    assert counted.all() and (v - u).abs().max() > 0.3
    assert torch.allclose(flow.inverse(v, views.category), u, atol=1e-9)
    assert (u[1::2, 6:] == 0).all() and torch.equal(v[1::2, 6:], u[1::2, 6:])  # the star has 2 * 4 - 2 coordinates


def test_log_determinant_is_that_of_the_jacobian() -> None:
    flow = disturbed(gathered())
    views = pictures(6, seed=3)
    u, _ = flow.coordinates(views.X.double(), views.visible, views.category)
    _, log_det = flow(u, views.category)
    for b in range(6):
        one = views.category[b : b + 1]
        jacobian = torch.autograd.functional.jacobian(lambda x, c=one: flow(x[None], c)[0][0], u[b])
        assert torch.allclose(torch.linalg.slogdet(jacobian)[1], log_det[b], atol=1e-9)
    assert log_det.abs().min() > 1e-3


@torch.no_grad()
def test_density_of_two_coordinates_integrates_to_one() -> None:
    """By rectangles; and in both categories, of which one has more coordinates than are looked at."""
    flow = disturbed(PictureFlow(RIGS, generator(), width=16, dimensions=2))
    axis = torch.linspace(-14, 14, 281, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    for c in (0, 1):
        density = flow.log_density(grid, torch.full((len(grid),), c)).exp()
        assert math.isclose(density.sum() * 0.1**2, 1, rel_tol=0.02)
        assert not torch.allclose(density, (-grid.square().sum(1) / 2).exp() / (2 * math.pi), atol=0.02)


def test_every_coordinate_is_changed_given_every_other() -> None:
    for dimensions in (2, 5, 8):
        flow = PictureFlow(RIGS[:1], generator(), dimensions=dimensions, couplings=2 * 3)
        passes = torch.stack([coupling.passes for coupling in flow.couplings])
        assert passes.shape == (6, dimensions) and (passes[::2] ^ passes[1::2]).all()
        for i in range(dimensions):
            apart = [j for j in range(dimensions) if (passes[:, i] != passes[:, j]).any()]
            assert len(apart) == dimensions - 1


@torch.no_grad()
def test_it_starts_as_the_normal_distribution_of_the_pictures() -> None:
    flow, views = gathered(), pictures(4000, seed=5)
    blurred = flow.coordinates(views.X + 1e-3**0.5 * torch.randn(views.X.shape, generator=generator()), *views[1:])[0]
    for c, size in ((0, 10), (1, 6)):
        u = blurred[views.category == c, :size]
        assert torch.allclose(u.T.cov(), torch.eye(size), atol=0.15) and u.mean(0).abs().max() < 0.1
    log_density, counted = flow.judge(*views, blur=generator())
    assert math.isclose(unlikelihood(log_density, counted), 0.5 * (1 + math.log(2 * math.pi)), rel_tol=0.03)
    # Leading coordinates are those in which the pictures, without the noise, vary most; the place is in none.
    spread = (blurred[::2] @ torch.linalg.pinv(flow.whitener[0])).var(0).sum()
    few = PictureFlow(RIGS, generator(), dimensions=2)
    few.gather(*pictures(2000))
    kept = (few.coordinates(*views)[0][::2] @ torch.linalg.pinv(few.whitener[0])).var(0).sum()
    assert few.whitener.shape == (2, 12, 2) and kept > 0.5 * spread
    moved = flow.coordinates(views.X + views.visible[..., None] * torch.tensor([3.0, -7.0]), *views[1:])[0]
    assert torch.allclose(moved, flow.coordinates(*views)[0], atol=1e-3)


def test_only_complete_pictures_count() -> None:
    flow, views = gathered(), pictures(8, seed=3)
    visible = views.visible.clone()
    visible[0, 2] = visible[1, 0] = False
    X = torch.where(visible[..., None], views.X, torch.nan).requires_grad_()
    log_density, counted = flow.judge(X, visible, views.category)
    assert counted.tolist() == [False, False] + 6 * [True]
    value = unlikelihood(log_density, counted)
    rest = [part[2:] for part in views]
    assert torch.allclose(value, unlikelihood(*flow.judge(*rest)), rtol=1e-6)
    value.backward()
    assert X.grad.isfinite().all() and (X.grad[:2] == 0).all() and (X.grad[2:] != 0).any()
    none = unlikelihood(*flow.judge(views.X, torch.zeros_like(visible), views.category))
    assert none == 0
    wide = torch.nn.functional.pad(views.X, (0, 0, 0, 3)), torch.nn.functional.pad(views.visible, (0, 3))
    assert torch.equal(flow.judge(*wide, views.category)[0], flow.judge(*views)[0])
    with pytest.raises(ValueError, match="all keypoints of 'snake'"):
        flow.gather(views.X, visible & (views.category == 1)[:, None], views.category)


def test_blind_to_which_sample_is_which_and_content_with_the_likeliest_picture() -> None:
    flow, views = gathered(), pictures(40, seed=3)
    value = unlikelihood(*flow.judge(*views))
    order = torch.randperm(20, generator=generator()) * 2
    shuffled = views.X.clone()
    shuffled[::2] = views.X[order]
    assert torch.allclose(value, unlikelihood(*flow.judge(shuffled, *views[1:])), rtol=1e-5)
    log_density, counted = flow.judge(*views)
    best = log_density.argmax()
    assert unlikelihood(log_density[best].expand(40), counted) < value


def test_likelihood_of_the_pictures_rises_with_training_to_that_of_a_known_density() -> None:
    """y = x^2 / 2 + noise: the best normal distribution does not know that y follows x."""
    flow = PictureFlow(RIGS[:1], generator(), width=32, dimensions=2)
    optimizer = torch.optim.AdamW(flow.parameters(), lr=5e-3)
    x = torch.randn(4000, generator=generator(1))
    u = torch.stack([x, 0.5 * x.square() + 0.2 * torch.randn(4000, generator=generator(2))], 1)
    category, counted = torch.zeros(4000, dtype=torch.long), torch.ones(4000, dtype=torch.bool)
    values = []
    for step in range(200):
        rows = slice(step % 16 * 250, step % 16 * 250 + 250)
        loss = unlikelihood(flow.log_density(u[rows], category[rows]), counted[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    entropy = 1 + math.log(2 * math.pi) + math.log(0.2)  # of x, and of y given x
    assert values[0] > entropy + 0.5 and abs(sum(values[-16:]) / 16 - entropy) < 0.15


def test_a_coupling_starts_as_the_identity_and_never_explodes() -> None:
    coupling = Coupling(torch.tensor([True, False, False]), 8, 2, generator())
    u, embedding, active = torch.randn(4, 3, generator=generator()), torch.ones(4, 2), torch.ones(4, 3).bool()
    v, log_det = coupling(u, embedding, active)
    assert torch.equal(u, v) and (log_det == 0).all()
    torch.nn.init.constant_(coupling.leave.bias, 100.0)
    assert coupling(u, embedding, active)[1].max() <= 2 * 0.5 + 1e-5


# As a switch of the objective.


class Network(torch.nn.Module):
    """One shape per category, and a little of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = torch.nn.Parameter(torch.randn(2, 6, 3, generator=generator(7)))

    def forward(self, X: torch.Tensor, visible: torch.Tensor | None, category: torch.Tensor) -> torch.Tensor:
        return self.shape[category] + 0.1 * torch.nn.functional.pad(X, (0, 1))


def built() -> Objective:
    objective = Objective(ObjectiveConfig(flow=0.1), RIGS, generator(5))
    objective.prepare(lambda count: pictures(count // 20))
    return objective


def test_each_optimiser_sees_its_own_loss() -> None:
    objective, model = built(), Network()
    loss, found = objective(model, pictures(12), generator())
    loss.backward()
    assert set(found) == {"reprojection", "flow"}
    assert objective.critic is objective.flow and objective.discriminator is None
    assert all(parameter.grad is None and parameter.requires_grad for parameter in objective.parameters())
    assert model.shape.grad.isfinite().all()
    alone = Network()
    Objective()(alone, pictures(12))[0].backward()
    assert not torch.allclose(model.shape.grad, alone.shape.grad)  # the term reaches the lifter
    model.zero_grad()
    judged, terms = objective.critic_loss(pictures(12, seed=1), step=4)
    judged.backward()
    assert torch.equal(judged, terms["flow_observed"]) and model.shape.grad is None
    assert any((parameter.grad != 0).any() for parameter in objective.critic.parameters())


def test_noise_of_a_step_comes_from_its_number() -> None:
    objective, state = built(), torch.random.get_rng_state()
    values = [objective.critic_loss(pictures(12), step)[0] for step in (3, 3, 4)]
    assert values[0] == values[1] != values[2] and torch.equal(state, torch.random.get_rng_state())


def test_state_comes_back_exactly_with_the_statistics() -> None:
    first = built()
    second = Objective(ObjectiveConfig(flow=0.1), RIGS, generator(99))
    with pytest.raises(ValueError, match="statistics are missing: call prepare"):
        second.critic_loss(pictures(12), 0)
    second.load_state_dict(first.state_dict())
    (a, _), (b, _) = (o(Network(), pictures(12), generator()) for o in (first, second))
    assert torch.equal(a, b) and first.critic_loss(pictures(12), 0)[0] == second.critic_loss(pictures(12), 0)[0]


def test_the_flow_needs_a_generator() -> None:
    with pytest.raises(ValueError, match="flow > 0 needs a generator"):
        Objective(ObjectiveConfig(flow=1), RIGS)
