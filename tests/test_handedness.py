"""Handedness: a bit of the shape itself, blind to its pose, and the same for all measured shapes of a rig."""

import pytest
import torch

from lfmlib import geometry, rigs
from lfmlib.data import real
from lfmlib.handedness import handedness, mirrored
from lfmlib.rigs import Rig

ANNOTATED = [name for name in rigs.names() if rigs.get(name).handed is not None]
RIG = Rig("box", tuple("abcdef"), handed=(((0,), (1,)), ((0, 1), (2, 3)), ((0, 4), (5,))))


def shapes(count: int = 20) -> torch.Tensor:
    return torch.randn(count, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_left_up_front_is_right_handed() -> None:
    person = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [1, 3, 0], [1, 3, 0], [0, 0, 0], [0, 0, 1]]])  # faces the viewer
    assert torch.allclose(handedness(person, RIG), torch.ones(1))
    in_camera_frame = person * torch.tensor([1.0, -1, -1])
    assert torch.allclose(handedness(in_camera_frame, RIG), torch.ones(1))


def test_pose_does_not_matter_and_a_mirror_flips_it() -> None:
    Y = shapes()
    value = handedness(Y, RIG)
    R = geometry.random_rotations(20, torch.Generator().manual_seed(1), torch.float64)
    assert torch.allclose(handedness(1e-3 * Y @ R.mT + 7, RIG), value, atol=1e-9)
    for flip in torch.tensor([[-1.0, 1, 1], [1, 1, -1], [-1, -1, -1]], dtype=Y.dtype):
        assert torch.allclose(handedness(flip * Y, RIG), -value, atol=1e-12)
    assert 0.01 < value.abs().max() <= 1


def test_what_is_missing_or_coincides_says_nothing() -> None:
    Y, visible = shapes(5), torch.ones(5, 6, dtype=torch.bool)
    Y[0, 0] = torch.nan
    visible[1, 5] = False
    Y[2, 5] = (Y[2, 0] + Y[2, 4]) / 2
    Y[3] = 0
    value = handedness(Y, RIG, visible)
    assert (value[:4] == 0).all() and value[4] != 0
    spare = Rig("box", tuple("abcdefg"), handed=RIG.handed)  # a keypoint that no direction takes may be missing
    wide = torch.cat([shapes(5), torch.full((5, 1, 3), torch.nan, dtype=Y.dtype)], 1)
    assert torch.equal(handedness(wide, spare), handedness(shapes(5), RIG))


def test_the_majority_decides() -> None:
    Y = shapes(9)
    Y = Y * torch.cat([handedness(Y, RIG).sign()[:, None], torch.ones(9, 2, dtype=Y.dtype)], 1)[:, None]
    assert not mirrored(Y, RIG) and mirrored(-Y, RIG)
    assert not mirrored(torch.cat([Y[:5], -Y[5:]]), RIG) and mirrored(torch.cat([Y[:4], -Y[4:]]), RIG)
    assert not mirrored(torch.cat([Y[:1], -Y[1:2]]), RIG) and not mirrored(torch.full_like(Y, torch.nan), RIG)


def test_a_rig_that_does_not_say_is_refused() -> None:
    with pytest.raises(ValueError, match="'box' does not say"):
        handedness(shapes(), Rig("box", tuple("abcdef")))
    with pytest.raises(ValueError, match="6 keypoints, rig 'face68_ict' has 68"):
        mirrored(shapes(), rigs.get("face68_ict"))


@pytest.mark.parametrize("name", ANNOTATED)
def test_annotation_follows_the_symmetry(name: str) -> None:
    """To the left is from one side's keypoints to their partners; up and front say the same of a mirrored labelling."""
    rig = rigs.get(name)
    left, up, front = ([sorted(rig.mirror[i] for i in group) for group in pair] for pair in rig.handed)
    assert left == [sorted(group) for group in reversed(rig.handed[0])]
    assert [up, front] == [[sorted(group) for group in pair] for pair in rig.handed[1:]]


@pytest.mark.parametrize("name", ANNOTATED)
def test_measured_shapes_are_not_their_mirror_images(real_data, name: str) -> None:
    stored = real.load(name, real_data)
    value = handedness(stored.points.double(), stored.rig, stored.known)
    told = value[value != 0]
    assert (told > 0).double().mean() > 0.99 and len(told) >= 0.5 * len(stored)
    assert not mirrored(stored.points, stored.rig, stored.known)
    assert mirrored(stored.points * torch.tensor([1.0, 1, -1]), stored.rig, stored.known)
