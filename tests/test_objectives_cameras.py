"""Cameras for new views: who swaps with whom, the common axis, and the running means that both rest on."""

import torch

from lfmlib import geometry
from lfmlib.objectives import cameras, masked


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=dtype)


def rotations(count: int, seed: int = 0) -> torch.Tensor:
    axis = torch.nn.functional.normalize(randn(count, 3, seed=seed), dim=-1)
    return geometry.axis_rotations(axis, 3 * randn(count, seed=seed + 1))


def test_swap_stays_within_the_category() -> None:
    category = torch.tensor([2, 0, 0, 2, 1, 0, 2, 2])
    seen = set()
    for seed in range(20):
        partner = cameras.swap_within(category, generator(seed))
        assert torch.equal(category[partner], category) and torch.equal(partner.sort()[0], torch.arange(8))
        seen.add(tuple(partner.tolist()))
    assert len(seen) > 10


def test_common_axis_is_found_and_turned_about() -> None:
    count, vertical = 400, torch.tensor([[0.0, 1, 0]], dtype=torch.float64)
    frame = rotations(1)[0]  # the canonical frame is arbitrary
    turns = geometry.axis_rotations(vertical.expand(count, 3), 6.3 * torch.rand(count, generator=generator()).double())
    tilts = geometry.axis_rotations(torch.tensor([[1.0, 0, 0]]).double().expand(count, 3), 0.2 * randn(count))
    swap, category = cameras.CameraSwap(2, mix=1.0).double(), torch.zeros(count, dtype=torch.long)
    swap.update(tilts @ turns @ frame.mT, category)
    axis, alike = swap.axis()
    assert abs(axis[0] @ (frame @ vertical[0])) > 0.99 and 0.95 < alike[0] < 1
    assert not swap.started[1] and (swap.mean[1] == 0).all()
    R = torch.eye(3, dtype=torch.float64).expand(count, 3, 3)  # one camera for all: the turn is about the axis alone
    Q = swap(R, category, generator())
    assert torch.allclose(Q @ axis[0], axis[0].expand(count, 3), atol=1e-9)
    assert torch.allclose(Q @ Q.mT, R, atol=1e-9) and torch.allclose(torch.linalg.det(Q), Q.new_ones(count))
    swap.mix = 0.0
    assert torch.allclose(swap(R, category, generator()), R, atol=1e-12)


def test_without_a_turn_each_sample_gets_the_camera_of_another() -> None:
    R, category = rotations(8), torch.zeros(8, dtype=torch.long)
    swap = cameras.CameraSwap(1, mix=0.0).double()
    swap.update(R, category)
    state = generator(4)
    torch.rand(8, generator=state), torch.rand(8, generator=state)  # the angles and who is turned are drawn first
    partner, new = cameras.swap_within(category, state), swap(R, category, generator(4)) @ R
    assert torch.allclose(new, R[partner], atol=1e-9) and not torch.equal(partner, torch.arange(8))


def test_running_cameras_and_shapes_move_by_two_percent_a_step() -> None:
    category, first, second = torch.zeros(9, dtype=torch.long), rotations(9), rotations(9, seed=5)
    swap = cameras.CameraSwap(1).double()
    swap.update(first, category)
    assert torch.allclose(swap.mean[0], first.mT.mean(0))
    swap.update(second, category)
    assert torch.allclose(swap.mean[0], 0.98 * first.mT.mean(0) + 0.02 * second.mT.mean(0))
    shapes, rig = cameras.ReferenceShapes(1, 6).double(), torch.ones(1, 6, dtype=torch.bool)
    shapes.start(randn(9, 6, 3), rig, category, generator())
    start = shapes.shape[0].clone()
    assert torch.allclose(start, masked.normalised(start[None], None)[0])
    visible, same = torch.ones(9, 6, dtype=torch.bool), start.expand(9, 6, 3).clone()
    visible[:, 5], visible[:4, 2] = False, False
    same[~visible] = torch.nan
    shapes.update(same, rig, category, visible)
    assert torch.allclose(shapes.shape[0], start)  # hidden keypoints keep their place
    shapes.update(2 * same, rig, category, visible)
    assert not torch.allclose(shapes.shape[0], start, atol=1e-3) and torch.allclose(shapes.shape[0], start, atol=0.1)


def test_aligned_shapes_share_one_frame() -> None:
    category = torch.zeros(9, dtype=torch.long)
    shapes, rig = cameras.ReferenceShapes(1, 6, noise=0.0).double(), torch.ones(1, 6, dtype=torch.bool)
    Y, R = masked.normalised(randn(1, 6, 3), None), rotations(9)
    shapes.start(Y, rig, category[:1], generator())
    alignment = shapes.align(3 * Y @ R.mT, category, rig.expand(9, 6))
    assert torch.allclose(alignment.R.mT, R, atol=1e-6)  # its transpose leads from the reference shape to the camera
    assert torch.allclose(alignment.apply(3 * Y @ R.mT), Y.expand(9, 6, 3), atol=1e-6)
