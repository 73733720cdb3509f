"""Toy problems with a known answer: each term that says something about depth moves a wrong answer to the truth.

One rigid object of 6 points turns freely about an axis that stands nearly upright in the picture.
"""

import pytest
import torch

from lfmlib import geometry
from lfmlib import objectives as terms
from lfmlib.objectives import Objective, ObjectiveConfig, masked
from lfmlib.objectives.pictures import NewViews
from lfmlib.rigs import Rig

EDGES = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))
RIGS = (Rig("toy", tuple("abcdef"), edges=EDGES),)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


SHAPE = masked.normalised(torch.randn(1, 6, 3, generator=generator(3)), None)


def seen(count: int, seed: int = 0) -> torch.Tensor:
    """The object in the frames of so many cameras, in the unit of its pictures; [B, 6, 3]."""
    azimuth = 2 * torch.pi * torch.rand(count, generator=generator(seed))
    elevation = 0.7 * (torch.rand(count, generator=generator(seed + 1)) - 0.5)
    upright, across = (torch.tensor(axis).expand(count, 3) for axis in ([0.0, 1, 0], [1.0, 0, 0]))
    R = geometry.axis_rotations(across, elevation) @ geometry.axis_rotations(upright, azimuth)
    return terms.new_view(SHAPE.expand(count, 6, 3), R)


def views(X: torch.Tensor) -> NewViews:
    return NewViews(X, torch.ones(X.shape[:2], dtype=torch.bool), torch.zeros(len(X), dtype=torch.long))


def error(shapes: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean RMS distance after alignment, a reflection per sample included, in RMS radii."""
    aligned = geometry.align(shapes, truth, mirror="o3").apply(shapes)
    return float((masked.mean_square(aligned - truth, None) / masked.mean_square(truth, None)).sqrt().mean())


def freely(config: ObjectiveConfig, start: torch.Tensor, X: torch.Tensor, steps: int = 120) -> torch.Tensor:
    """Camera-frame shapes after training one free shape for each picture."""
    objective, Y = Objective(config, RIGS), start.clone().requires_grad_()
    optimizer = torch.optim.Adam([Y], lr=0.03)
    for step in range(steps):
        loss, _ = objective(lambda *_: Y, views(X), generator(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return objective.read_out(X, Y.detach())


@pytest.mark.parametrize(
    ("settings", "least", "most"),
    [({}, 0.2, 1.0), ({"low_rank": 0.03}, 0.0, 0.03), ({"low_rank_subsets": 0.1}, 0.0, 0.03)],
    ids=["Eq. 1 alone", "low_rank", "low_rank_subsets"],
)
def test_eq_1_with_a_rank_prior_recovers_a_rigid_object(settings: dict, least: float, most: float) -> None:
    truth = seen(40)
    start = SHAPE + 0.3 * torch.randn(40, 6, 3, generator=generator(9))
    found = freely(ObjectiveConfig(read_out="snap", **settings), start, truth[..., :2])
    assert error(start, truth) > 0.2 and least <= error(found, truth) < most


def test_eq_1_with_the_depth_guard_ends_at_its_limit() -> None:
    truth = seen(40)
    start = truth * torch.tensor([1.0, 1, 8])
    ratios = []
    for guard in (0, 0.1):
        found = freely(ObjectiveConfig(depth_guard=guard), start, truth[..., :2])
        spread = found.var(1)
        ratios.append((spread[:, 2] / (spread[:, 0] + spread[:, 1])).sqrt())
    assert ratios[0].median() > 5 and ratios[1].median() < 3.02


def test_limb_constancy_finds_the_depth_of_a_limb_that_others_know() -> None:
    """Half of the samples are known; in the others the last keypoint starts at the depth of its neighbour."""
    truth = masked.normalised(seen(40), None)
    depth = torch.where(torch.arange(40) < 20, truth[:, 5, 2], truth[:, 4, 2] + 0.01)
    free = depth[20:].clone().requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.02)
    edges = torch.tensor(EDGES)

    def shapes() -> torch.Tensor:
        last = torch.cat([depth[:20], free])
        return torch.cat([truth[:, :5], torch.cat([truth[:, 5, :2], last[:, None]], 1)[:, None]], 1)

    def lengths() -> torch.Tensor:
        return (shapes()[:, 5] - shapes()[:, 4]).detach().norm(dim=1)

    expected = (truth[0, 5] - truth[0, 4]).norm()
    before = (lengths()[20:] - expected).abs().mean()
    for _ in range(200):
        optimizer.zero_grad()
        terms.limb_constancy(shapes(), edges).backward()
        optimizer.step()
    after = (lengths()[20:] - expected).abs()
    assert before > 0.5 and after.median() < 0.1  # not 0: a wrong keypoint is part of the size, too


class Scaled(torch.nn.Module):
    """Knows the object, but draws its depths out: `scale` times those of the object in the camera that fits best."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, X: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        shapes = SHAPE.expand(len(X), 6, 3)
        return self.scale * geometry.to_camera_frame(shapes, geometry.solve_camera(X.detach(), shapes))[..., 2:]


POOL = seen(4000, seed=100)[..., :2]


def drawn(count: int, seed: int = 0) -> NewViews:
    return views(POOL[torch.randint(len(POOL), (count,), generator=generator(seed))])


@pytest.mark.parametrize(
    ("term", "start"),
    [("low_rank", 0.3), ("low_rank", 2.0), ("low_rank_subsets", 0.3), ("view_consistency", 0.3), ("depth_cycle", 0.3),
     ("depth_cycle", 2.0), ("limb_constancy", 0.3), ("adversary", 0.3), ("flow", 0.3), ("flow", 2.0)],
)  # fmt: skip
def test_each_term_finds_the_one_scale_of_depth_that_the_pictures_allow(term: str, start: float) -> None:
    """The network's x and y are the observed ones, so Eq. 1 is zero at every scale of depth."""
    config = ObjectiveConfig(reprojection=0, output="depth", **{term: 1})
    objective, model = Objective(config, RIGS, generator(5)), Scaled(start)
    objective.prepare(drawn)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.06)
    critic = objective.critic and torch.optim.AdamW(objective.critic.parameters(), lr=2e-3, betas=(0.0, 0.99))
    for step in range(120 if term == "adversary" else 60):  # that one swings about its answer first
        loss, _ = objective(model, drawn(64, step), generator(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if critic:
            loss, _ = objective.critic_loss(drawn(64, 10_000 + step), step)
            critic.zero_grad()
            loss.backward()
            critic.step()
    assert abs(float(model.scale.detach()) - 1) < 0.1
