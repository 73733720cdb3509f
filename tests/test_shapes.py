"""ShapeSet: what it refuses, and the laws of its subsets and splits."""

from dataclasses import replace

import pytest
import torch

from lfmlib.data.shapes import CadViews, ShapeSet
from lfmlib.rigs import Rig

RIG = Rig("toy", ("a", "b", "c", "d"))


def make(split=(0, 0, 0, 0, 1, 1), sequence=(0, 0, 1, 2, 3, 3), **fields) -> ShapeSet:
    count = len(split)
    generator = torch.Generator().manual_seed(1)
    base = ShapeSet(
        rig=RIG,
        points=torch.randn(count, 4, 3, generator=generator),
        known=torch.ones(count, 4, dtype=torch.bool),
        split=torch.tensor(split, dtype=torch.int8),
        sequence=torch.tensor(sequence),
        tag="synthetic",
        fingerprint="f" * 64,
    )
    return replace(base, **fields)


def test_train_and_test_partition_the_set():
    shapes = make()
    assert len(shapes) == 6 and not shapes.shares_shapes
    assert len(shapes.train) + len(shapes.test) == 6
    assert not set(shapes.train.sequence.tolist()) & set(shapes.test.sequence.tolist())
    assert torch.equal(shapes.test.points, shapes.points[4:])
    assert shapes.train.train is shapes.train or shapes.train.train.fingerprint == shapes.train.fingerprint


def test_without_split_one_test_shows_the_train_shapes():
    shapes = make(split=(0, 0), sequence=(0, 1))
    assert shapes.shares_shapes and shapes.test is shapes and shapes.train is shapes


def test_subset_takes_every_field_along_and_has_its_own_fingerprint():
    cad = CadViews(torch.zeros(2), torch.ones(2), torch.arange(6, dtype=torch.int8)[:, None, None].expand(6, 2, 4))
    shapes = make(camera_R=torch.eye(3).expand(6, 3, 3) * torch.arange(6.0)[:, None, None], cad_views=cad)
    few = shapes.subset(torch.tensor([4, 1]))
    assert torch.equal(few.points, shapes.points[[4, 1]]) and few.sequence.tolist() == [3, 0]
    assert few.camera_R[:, 0, 0].tolist() == [4.0, 1.0] and few.cad_views.visible[:, 0, 0].tolist() == [4, 1]
    prints = {shapes.fingerprint, few.fingerprint, shapes.subset(torch.tensor([1, 4])).fingerprint}
    assert len(prints) == 3
    mask = torch.tensor([False, True, False, False, True, False])
    assert shapes.subset(mask).fingerprint == shapes.subset(torch.tensor([1, 4])).fingerprint
    with pytest.raises(ValueError, match=r"mask of \[2\]"):
        shapes.subset(torch.tensor([True, False]))
    with pytest.raises(ValueError, match="no frame"):
        shapes.subset(torch.zeros(6, dtype=torch.bool))


@pytest.mark.parametrize("fraction", [0.05, 0.15, 0.5])
def test_validation_holds_out_whole_sequences_of_the_train_split(fraction):
    sequence = torch.arange(60) // 3
    shapes = make(split=[0] * 48 + [1] * 12, sequence=sequence.tolist())
    train, validation = shapes.hold_out_validation(fraction)
    held, kept = set(validation.sequence.tolist()), set(train.sequence.tolist())
    assert held and kept and not held & kept
    assert len(train) + len(validation) == 48 and held | kept == set(range(16))
    assert len(validation) <= max(3, fraction * 48)
    assert [x.fingerprint for x in shapes.hold_out_validation(fraction)] == [train.fingerprint, validation.fingerprint]


def test_validation_of_few_sequences():
    long = make(split=[0] * 20, sequence=[0] * 9 + [1] * 11)  # neither fits into 15 %: the shorter one
    assert set(long.hold_out_validation()[1].sequence.tolist()) == {0}
    lone = make(split=[0] * 20, sequence=[7] * 20)  # the tail
    train, validation = lone.hold_out_validation()
    assert torch.equal(validation.points, lone.points[17:]) and torch.equal(train.points, lone.points[:17])
    single = make(split=[0], sequence=[0])
    assert all(part is single for part in single.hold_out_validation())


def test_validation_failures():
    with pytest.raises(ValueError, match="fraction is 1"):
        make().hold_out_validation(1.0)
    with pytest.raises(ValueError, match="no frame"):
        make(split=(1, 1), sequence=(0, 1)).hold_out_validation()


def test_radius_ignores_what_is_unknown():
    points = torch.zeros(1, 4, 3)
    points[0, :, 0] = torch.tensor([-1.0, 1.0, 0.0, 50.0])
    known = torch.tensor([[True, True, True, False]])
    shapes = make(split=(0,), sequence=(0,), points=points, known=known)
    assert shapes.radius == pytest.approx((2 / 3) ** 0.5)


@pytest.mark.parametrize("count", [2, 7, 30, 59])
def test_thinned_keeps_both_splits(count):
    shapes = make(split=[0] * 48 + [1] * 12, sequence=list(range(60)))
    few = shapes.thinned(count)
    assert len(few) <= count and not few.shares_shapes and (few.split == 0).any()
    assert len(set(few.sequence.tolist())) == len(few)
    assert shapes.thinned(60) is shapes


def test_thinned_failure():
    with pytest.raises(ValueError, match="count is 1, expected at least 2"):
        make().thinned(1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": torch.zeros(5, dtype=torch.int8)}, r"split has shape \[5\]"),
        ({"sequence": torch.zeros(7, dtype=torch.int64)}, r"sequence has shape \[7\]"),
        ({"points": torch.zeros(6, 3, 3)}, r"points has shape \[6, 3, 3\], expected \[6, 4, 3\]"),
        ({"known": torch.ones(6, 5, dtype=torch.bool)}, "known has shape"),
        ({"camera_R": torch.eye(3)[None]}, "camera_R has shape"),
        ({"cad_views": CadViews(torch.zeros(2), torch.zeros(2), torch.zeros(1, 2, 4, dtype=torch.int8))}, "cad_views"),
        ({"points": torch.full((6, 4, 3), torch.nan)}, "points of frame 0 are not finite"),
        ({"known": torch.tensor([[True] * 4] * 5 + [[True, True, False, False]])}, "frame 5 has 2 known"),
        ({"split": torch.tensor([0, 0, 0, 0, 2, 1], dtype=torch.int8)}, "split is 2"),
        ({"split": torch.tensor([0, 1, 0, 0, 1, 1], dtype=torch.int8)}, "sequence 0 is in both splits"),
    ],
)
def test_inconsistent_sets_are_refused(fields, message):
    broken = object.__new__(ShapeSet)  # past the signature, whose check only runs in tests, to the one that always runs
    for name, value in (vars(make()) | fields).items():
        object.__setattr__(broken, name, value)
    with pytest.raises(ValueError, match=f"shapes of toy: {message}"):
        broken.__post_init__()
