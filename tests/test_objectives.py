"""The objective as a whole: Eq. 1 by default, switches that are off until set, and state that comes back exactly."""

import copy
from typing import NamedTuple

import pytest
import torch

from lfmlib import geometry
from lfmlib.objectives import Objective, ObjectiveConfig
from lfmlib.rigs import Rig

RIGS = (
    Rig("snake", tuple("abcdef"), edges=((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))),
    Rig("star", tuple("abcd"), edges=((0, 1), (0, 2), (0, 3))),
)
EVERYTHING = ObjectiveConfig(
    read_out="snap",
    low_rank=0.01,
    low_rank_subsets=0.01,
    view_consistency=0.5,
    depth_cycle=0.5,
    adversary=0.03,
    depth_guard=0.1,
    limb_constancy=0.1,
)
DEPTH = ObjectiveConfig(reprojection=0, output="depth", adversary=1, depth_cycle=4, depth_guard=0.1, low_rank=0.01)


class Views(NamedTuple):
    X: torch.Tensor
    visible: torch.Tensor | None
    category: torch.Tensor


class Network(torch.nn.Module):
    """Lifts each keypoint from its own picture, the mean of the others and its index; padding changes nothing."""

    def __init__(self, columns: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.index = torch.nn.Parameter(torch.randn(2, 12, columns))
            self.inner, self.outer = torch.nn.Linear(4, 8), torch.nn.Linear(8, columns)

    def forward(self, X: torch.Tensor, visible: torch.Tensor | None, category: torch.Tensor) -> torch.Tensor:
        weight = X.new_ones(X.shape[:2]) if visible is None else visible.to(X)
        spread = (X.square() * weight[..., None]).sum(1, keepdim=True) / weight.sum(1)[:, None, None]
        hidden = torch.tanh(self.inner(torch.cat([X, spread.expand_as(X)], -1)))
        return self.index[category, : X.shape[1]] + self.outer(hidden)


def draw(count: int, seed: int = 0, categories: int = 2, keypoints: int = 6) -> Views:
    g = torch.Generator().manual_seed(seed)
    category = torch.arange(count) % categories
    visible = torch.arange(keypoints) < torch.tensor([rig.n for rig in RIGS])[category][:, None]
    X = torch.randn(count, keypoints, 2, generator=g) * visible[..., None]
    X = (X - X.sum(1, keepdim=True) / visible.sum(1)[:, None, None]) * visible[..., None]
    return Views(X / (X.square().sum((1, 2)) / visible.sum(1)).sqrt()[:, None, None], visible, category)


def built(config: ObjectiveConfig = EVERYTHING, rigs: tuple[Rig, ...] = RIGS) -> Objective:
    objective = Objective(config, rigs, torch.Generator().manual_seed(5))
    objective.prepare(lambda count: draw(count // 20, seed=3, categories=len(rigs)))
    return objective


def test_the_default_is_eq_1_bit_for_bit() -> None:
    model, views = Network(), draw(8)
    loss, terms = Objective()(model, views)
    shapes = model(views.X, views.visible, views.category)
    expected = (geometry.reprojection(views.X, shapes, views.visible) / views.visible.sum(1)).mean()
    assert torch.equal(loss, expected) and list(terms) == ["reprojection"]
    assert torch.equal(terms["reprojection"], expected) and not terms["reprojection"].requires_grad
    assert not Objective().state_dict() and not list(Objective().parameters())
    whole = Views(views.X[::2], None, views.category[::2])
    alone = geometry.reprojection(whole.X, model(*whole)) / 6
    assert torch.equal(Objective()(model, whole)[0], alone.mean())
    assert ObjectiveConfig().terms == ("reprojection",) and not ObjectiveConfig().needs_rigs


def test_loss_is_the_weighted_sum_of_its_terms() -> None:
    loss, terms = built()(Network(), draw(12), torch.Generator().manual_seed(0))
    assert tuple(terms) == EVERYTHING.terms and len(terms) == 8
    assert torch.allclose(loss, sum(getattr(EVERYTHING, name) * value for name, value in terms.items()))
    alone = Objective()(Network(), draw(12))[0]
    assert torch.allclose(terms["reprojection"], alone, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in EVERYTHING.terms if name != "reprojection"])
def test_each_switch_adds_its_own_term_only(name: str) -> None:
    config = ObjectiveConfig(**{name: 0.5})
    loss, terms = built(config)(Network(), draw(12), torch.Generator().manual_seed(0))
    assert set(terms) == {"reprojection", name}
    assert torch.allclose(loss, terms["reprojection"] + 0.5 * terms[name])


@pytest.mark.parametrize("config", [EVERYTHING, DEPTH], ids=["canonical", "depth"])
def test_padding_changes_nothing(config: ObjectiveConfig) -> None:
    views, model = draw(12), Network(1 if config.output == "depth" else 3)
    wide = draw(12, keypoints=9)
    wide = Views(wide.X.clone(), wide.visible, wide.category)
    wide.X[:, :6], wide.X[~wide.visible] = views.X, torch.nan
    for narrow, padded in zip(*(_three_steps(built(config), model, batch) for batch in (views, wide)), strict=True):
        assert torch.allclose(narrow, padded, rtol=1e-4, atol=1e-6)


def _three_steps(objective: Objective, model: Network, views: Views, seed: int = 0) -> list[torch.Tensor]:
    """Losses and gradient norms of three training steps, both optimisers plain gradient descent."""
    model, generator, values = copy.deepcopy(model), torch.Generator().manual_seed(seed), []
    for step in range(3):
        loss, _ = objective(model, views, generator)
        judged, _ = objective.critic_loss(views, step)
        for value, network in ((loss, model), (judged, objective.discriminator)):
            gradients = torch.autograd.grad(value, list(network.parameters()), allow_unused=True)
            with torch.no_grad():
                for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                    if gradient is not None:
                        parameter -= 0.05 * gradient
            values += [value.detach(), torch.stack([g.norm() for g in gradients if g is not None]).norm()]
    return values


@pytest.mark.parametrize("config", [EVERYTHING, DEPTH], ids=["canonical", "depth"])
def test_state_comes_back_exactly(config: ObjectiveConfig) -> None:
    first, model = built(config), Network(1 if config.output == "depth" else 3)
    _three_steps(first, model, draw(12))
    second = Objective(config, RIGS, torch.Generator().manual_seed(99))  # another start, no statistics
    second.load_state_dict(first.state_dict())
    for a, b in zip(*(_three_steps(o, model, draw(12, seed=1), seed=1) for o in (first, second)), strict=True):
        assert torch.equal(a, b)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_state_moves_in_training_only_and_for_the_categories_that_occur() -> None:
    for config, columns in ((EVERYTHING, 3), (DEPTH, 1)):
        objective, model, generator = built(config), Network(columns), torch.Generator().manual_seed(0)
        objective(model, draw(12), generator)
        before = copy.deepcopy(objective.state_dict())
        objective.eval()(model, draw(12, seed=1), generator)
        assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())
        objective.train()(model, draw(12, seed=1, categories=1), generator)
        moved = {name for name, value in objective.state_dict().items() if not torch.equal(value, before[name])}
        assert moved == ({"swap.mean", "references.shape"} if config is DEPTH else {"swap.mean"})
        assert all(torch.equal(objective.state_dict()[name][1], before[name][1]) for name in moved)


def test_order_of_samples_does_not_matter() -> None:
    config = ObjectiveConfig(low_rank=0.1, depth_guard=0.1, limb_constancy=0.1)
    views, order = draw(12), torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled = Views(*(part[order] for part in views))
    first, second = (Objective(config, RIGS)(Network(), batch)[0] for batch in (views, shuffled))
    assert torch.allclose(first, second, rtol=1e-5)


def test_randomness_comes_from_the_generator_alone() -> None:
    state = torch.random.get_rng_state()
    values = [_three_steps(built(), Network(), draw(12), seed) for seed in (0, 0, 1)]
    assert torch.equal(state, torch.random.get_rng_state())
    assert values[0] == values[1] != values[2]


def test_each_optimiser_sees_its_own_loss() -> None:
    objective, model = built(), Network()
    loss, _ = objective(model, draw(12), torch.Generator().manual_seed(0))
    loss.backward()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in objective.parameters())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    model.zero_grad()
    judged, terms = objective.critic_loss(draw(12, seed=1), step=4)
    judged.backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.allclose(judged, terms["discriminator"] + 4 * 0.02 * terms["r1"])
    assert list(objective.critic_loss(draw(12, seed=1), step=5)[1]) == ["discriminator"]


def test_a_rigid_truth_is_consistent_and_a_wrong_constant_answer_too_unless_snapped() -> None:
    shape = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    Y = shape @ geometry.random_rotations(40, torch.Generator().manual_seed(1), torch.float64).mT
    X = Y[..., :2] - Y[..., :2].mean(1, keepdim=True)
    views = Views(X / X.square().sum(-1).mean(1).sqrt()[:, None, None], None, torch.zeros(40, dtype=torch.long))
    for kind in ("fit", "snap"):
        objective = Objective(ObjectiveConfig(read_out=kind, view_consistency=1, depth_cycle=1), RIGS[:1]).double()
        for answer, true in ((shape, True), (shape.flip(1), False)):

            def constant(X: torch.Tensor, *_: torch.Tensor, answer: torch.Tensor = answer) -> torch.Tensor:
                return answer.expand(len(X), 6, 3)

            terms = objective(constant, views, torch.Generator().manual_seed(0))[1]
            assert terms["view_consistency"] < 1e-12 and (terms["reprojection"] < 1e-9) == true
            # A wrong shape agrees with itself, but not with the pictures once their x and y are kept.
            assert (terms["depth_cycle"] < 1e-6) == (true or kind == "fit")


def test_true_depths_of_a_rigid_shape_make_one_canonical_shape() -> None:
    shape = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def oracle(X: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        shapes = shape.expand(len(X), 6, 3)
        return geometry.to_camera_frame(shapes, geometry.solve_camera(X.detach(), shapes))[..., 2:]

    Y = shape @ geometry.random_rotations(40, torch.Generator().manual_seed(1), torch.float64).mT
    X = Y[..., :2] - Y[..., :2].mean(1, keepdim=True)
    views = Views(X / X.square().sum(-1).mean(1).sqrt()[:, None, None], None, torch.zeros(40, dtype=torch.long))
    config = ObjectiveConfig(reprojection=0, output="depth", low_rank=1, view_consistency=1, depth_cycle=1, swap_mix=0)
    objective = Objective(config, RIGS[:1]).double()
    _, terms = objective(oracle, views, torch.Generator().manual_seed(0))
    assert terms["low_rank"] < 1e-3 and terms["depth_cycle"] < 1e-6 and terms["view_consistency"] < 1e-3
    apart = torch.cdist(objective.new_views.X.flatten(1), views.X.flatten(1))
    assert apart.min(1)[0].max() < 1e-3 < apart.diagonal().max()  # a swapped camera gives the other sample's picture


def test_read_outs() -> None:
    views, model = draw(6, categories=1), Network()
    shapes = model(*views)
    fit, snap = (
        Objective(ObjectiveConfig(read_out=kind)).read_out(views.X, shapes, views.visible) for kind in ("fit", "snap")
    )
    assert torch.equal(snap[..., :2], views.X) and torch.equal(fit[..., 2], snap[..., 2])
    error = (fit[..., :2] - views.X).square().sum(-1).mean()
    assert torch.allclose(error, Objective()(model, views)[0], rtol=1e-5)
    depth = Objective(DEPTH, RIGS, torch.Generator()).read_out(views.X, shapes[..., 2:])
    assert torch.equal(depth[..., :2], views.X) and depth[..., 2].mean(1).abs().max() < 1e-6


def test_3d_is_seen_by_its_own_term_and_refused_elsewhere() -> None:
    config = ObjectiveConfig(reprojection=0, supervised_3d=1)
    views, model = draw(6, categories=1), Network()
    Y = model(*views).detach()
    assert Objective(config)(model, views, Y=Y)[0] < 1e-10 < Objective(config)(model, views, Y=Y.flip(1))[0]
    with pytest.raises(ValueError, match="needs the true shapes"):
        Objective(config)(model, views)
    with pytest.raises(ValueError, match="must not see 3D"):
        Objective()(model, views, Y=Y)


@pytest.mark.parametrize("config", [EVERYTHING, DEPTH], ids=["canonical", "depth"])
@pytest.mark.parametrize("case", ["one sample", "equal samples", "points on a line", "one point"])
def test_gradients_are_finite_on_degenerate_batches(config: ObjectiveConfig, case: str) -> None:
    X = draw(1, categories=1).X if case == "one sample" else draw(1, categories=1).X.expand(6, 6, 2)
    scale = {"points on a line": torch.tensor([1.0, 0.0]), "one point": torch.zeros(2)}.get(case, torch.ones(2))
    views = Views(X * scale, None, torch.zeros(len(X), dtype=torch.long))
    objective, model = built(config), Network(1 if config.output == "depth" else 3)
    loss, _ = objective(model, views, torch.Generator().manual_seed(0))
    judged, _ = objective.critic_loss(views, 0)
    (loss + judged).backward()
    assert loss.isfinite() and judged.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_what_is_missing_is_named() -> None:
    views, generator = draw(6), torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="needs the rigs"):
        Objective(ObjectiveConfig(low_rank=1))
    with pytest.raises(ValueError, match="initial weights"):
        Objective(EVERYTHING, RIGS)
    with pytest.raises(ValueError, match="call prepare"):
        Objective(EVERYTHING, RIGS, generator)(Network(), views, generator)
    with pytest.raises(ValueError, match="needs a generator"):
        built()(Network(), views)
    with pytest.raises(ValueError, match=r"\[6, 6, 3\], the model gave \[6, 6, 1\]"):
        Objective()(Network(1), views)
    with pytest.raises(ValueError, match="call the objective first"):
        built().critic_loss(views, 0)
    with pytest.raises(ValueError, match="adversary and flow are 0"):
        Objective().critic_loss(views, 0)
    with pytest.raises(ValueError, match="'star'"):
        Objective(EVERYTHING, RIGS, generator).prepare(lambda count: draw(20, categories=1))
