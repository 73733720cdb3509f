"""Rotations, limbs that reach with bones of constant length, the ground, and the bent axis."""

import pytest
import torch
from shapes_of import angle, mirrored

from lfmlib.data.synthetic.limbs import (
    Backbone,
    apply,
    heading,
    laid,
    level_axes,
    lifted,
    pair,
    reach,
    slope,
    stations,
    step,
    turn,
    vector,
)

UP = torch.tensor([0.0, 1.0, 0.0]).double()


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_turns_are_right_handed():
    for axis, a, b in (("x", 1, 2), ("y", 2, 0), ("z", 0, 1)):
        ahead, aside = torch.eye(3).double()[[a]], torch.eye(3).double()[[b]]
        assert torch.allclose(apply(turn(axis, column(90)), ahead), aside)


def test_a_frame_says_where_it_is_headed_and_how_steep_it_is(generator):
    yaw, rise, roll = (160 * torch.rand(50, generator=generator, dtype=torch.float64) - 80 for _ in range(3))
    frame = turn("y", yaw) @ turn("x", -rise)
    assert torch.allclose(heading(frame), yaw) and torch.allclose(slope(frame), rise)
    assert torch.allclose(slope(frame @ turn("z", roll)), rise)
    left, ahead = level_axes(frame @ turn("z", roll / 2))
    for axis in (left, ahead):
        assert torch.allclose(axis.norm(dim=-1), torch.ones(50).double()) and axis[:, 1].abs().max() == 0
    assert torch.allclose(torch.linalg.cross(left, UP.expand(50, 3)), ahead)
    assert torch.allclose(level_axes(frame)[1], apply(turn("y", yaw), vector(0, 0, 1, yaw)))


def test_nothing_is_left_below_the_ground():
    at = lifted({"a": column([0, -2, 0], [0, 1, 0]), "b": column([1, 3, 1], [1, 2, 1])})
    assert torch.equal(at["a"], column([0, 0, 0], [0, 1, 0])) and torch.equal(at["b"], column([1, 5, 1], [1, 2, 1]))


def test_what_would_go_below_the_ground_lies_on_it():
    start, way = column([0, 1, 0], [0, 1, 0]), column([0, -3, 4], [0, -0.5, 1])
    end = laid(start, way, torch.zeros(2).double())
    assert torch.allclose((end - start).norm(dim=-1), way.norm(dim=-1))
    assert end[0, 1] == 0 and end[0, 2] > 4 and torch.allclose(end[1], (start + way)[1])


def test_two_bones_reach_the_target_with_the_joint_on_the_side_of_the_pole(generator):
    root = torch.zeros(200, 3, dtype=torch.float64)
    upper, lower = (1 + torch.rand(200, generator=generator, dtype=torch.float64) for _ in range(2))
    target = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    joint, end = reach(root, target, upper, lower, UP)
    assert torch.allclose(joint.norm(dim=-1), upper) and torch.allclose((end - joint).norm(dim=-1), lower)
    far = target.norm(dim=-1)
    reachable = (far > 1.05 * (upper - lower).abs()) & (far < 0.98 * (upper + lower))
    assert reachable.sum() > 100 and torch.allclose(end[reachable], target[reachable])
    assert torch.allclose(torch.linalg.cross(end, target), torch.zeros_like(end), atol=1e-9)  # else: as far as it goes
    along = (joint * end).sum(-1) / end.square().sum(-1)
    assert ((joint - along[:, None] * end)[:, 1] > 0).all()


def test_a_step_goes_to_its_place_within_the_limits_of_the_joint(generator):
    root, foot = (torch.randn(500, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    ankle, pole = 0.1 * UP.expand(500, 3), column([0, 0, 1]).expand(500, 3)
    upper = torch.full((500,), 1.2).double()
    knee, end, toes = step(root, foot, ankle, upper, 0.9 * upper, pole, 20, 170)
    assert torch.allclose((knee - root).norm(dim=-1), upper) and torch.allclose((end - knee).norm(dim=-1), 0.9 * upper)
    assert torch.allclose(end - toes, ankle)
    asked = (foot + ankle - root).norm(dim=-1)
    near = (asked > 0.5) & (asked < 2.2)
    assert near.sum() > 100 and torch.allclose(toes[near], foot[near])
    found = angle({"root": root, "knee": knee, "end": end}, "root", "knee", "end")
    assert found.min() > 19.9 and found.max() < 170.1
    along = torch.nn.functional.normalize(end - root, dim=-1)
    bent = knee - root - ((knee - root) * along).sum(-1, keepdim=True) * along
    assert ((bent * pole).sum(-1) > -1e-9).all()
    level = (foot + ankle - root)[:, 1].abs() < 2
    assert torch.allclose(toes[level][:, 1], foot[level][:, 1])  # out of reach, it moves level with the ground


def test_a_straight_axis_runs_backwards_with_left_at_plus_x():
    flat = torch.zeros(2, 5, dtype=torch.float64)
    axis = Backbone(flat, flat, column(10, 20))
    assert torch.allclose(axis.at(0.25), column([0, 0, -2.5], [0, 0, -5]))
    assert torch.allclose(axis.at(1.1, 3, 4)[0], column(3, 4, -11))
    assert torch.equal(stations(4), column(0.125, 0.375, 0.625, 0.875))


def test_a_bent_axis_keeps_its_length_and_turns_as_told(generator):
    yaw = 200 * torch.rand(50, 7, generator=generator, dtype=torch.float64) - 100
    pitch = 160 * torch.rand(50, 7, generator=generator, dtype=torch.float64) - 80
    length = 1 + torch.rand(50, generator=generator, dtype=torch.float64)
    axis = Backbone(yaw, pitch, length)
    assert torch.allclose(axis.nodes.diff(dim=1).norm(dim=-1).sum(1), length)
    frame = torch.stack([axis.left, axis.up, -axis.back], -1)  # x, y, z of each piece
    assert torch.allclose(frame @ frame.mT, torch.eye(3, dtype=torch.float64).expand_as(frame), atol=1e-12)
    assert torch.allclose(torch.linalg.det(frame), torch.ones(50, 7, dtype=torch.float64))
    assert torch.equal(axis.back[..., 0] < 0, yaw > 0)  # headed to the left, the tail is to the right
    assert torch.equal(axis.back[..., 1] < 0, pitch > 0)  # nose up, tail down
    assert torch.allclose(axis.at(3 / 7), axis.nodes[:, 3])


@pytest.mark.parametrize("left", [1.0, -1.0])
def test_a_pair_is_one_point_and_its_mirror_image(left):
    at = {}
    pair(at, "{}_wheel", 300, column(1, 2), 5, left)
    pair(at, "lamp_{}", column(7, 8), 0, 5, left)
    assert set(at) == {"left_wheel", "right_wheel", "lamp_left", "lamp_right"}
    assert torch.equal(at["left_wheel"], column([300 * left, 1, 5], [300 * left, 2, 5]))
    assert all(torch.equal(image, at[name]) for name, image in mirrored(at).items())
