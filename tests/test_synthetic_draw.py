"""Draws that are constant where they should be: individuals, clips and sub-types, and the choice among motions."""

import pytest
import torch
from shapes_of import within

from lfmlib.data.synthetic.draw import Cast, Instances, Stock, act, chosen, manner, traits

KINDS = {name: {"a": [i, i + 0.5], "b": [10, 20]} for i, name in enumerate("pqrst")}


def test_a_cast_goes_to_and_fro(generator):
    share = Cast(4000, 2, generator).to_and_fro
    assert share.min() >= 0 and share.max() <= 1 and share.min() < 0.01 and share.max() > 0.99


def test_stock_is_of_every_sub_type_and_moves(generator):
    its = Stock(4000, generator, KINDS)
    assert its.kind.unique().tolist() == [0, 1, 2, 3, 4] and within(its.kind.double(), its.individual) == 0
    assert torch.equal(its.pick("a").floor().long(), its.kind)
    a, b = its.picks()
    assert torch.equal(a.floor().long(), its.kind) and b.min() >= 10 and b.max() <= 20
    assert within(b, its.individual) < 1e-9 and len(its.picks("b", "b", "a")) == 3
    swing = its.swing(-5, 5)
    assert swing.min() > -5 and swing.max() < 5 and within(swing, its.sequence) > 1
    has = its.chance(0.3)
    assert within(has, its.individual) == 0 and 0.2 < has.mean() < 0.4 and has.unique().tolist() == [0, 1]


def test_each_instance_is_an_individual(generator):
    these = Instances(400, generator, KINDS)
    assert these.kind.unique().numel() == 5 and torch.equal(these.pick("a").floor().long(), these.kind)
    assert these.pick("b").unique().numel() == 400
    assert torch.equal(these.made({}).individual, torch.arange(400))


@pytest.mark.parametrize("maker", [Stock, Instances])
def test_every_sub_type_has_the_same_ranges(maker, generator):
    for kinds in ({"one": {"a": [1, 2], "b": [1, 2]}, "two": {"a": [1, 2]}}, {"one": {}, "two": {"b": [1, 2]}}):
        with pytest.raises(ValueError, match="sub-type 'two': range 'b' is not in every sub-type"):
            maker(10, generator, kinds)


def test_sub_types_take_turns_and_clips_have_the_manner_of_their_motion(generator):
    cast = Cast(700, 2, generator)
    kinds = {f"kind{i}": {"size": [10 * i, 10 * i + 1]} for i in range(5)}
    size = traits(cast, kinds)["size"]
    assert set((size // 10).int().tolist()) == set(range(5)) and within(size, cast.individual) < 1e-9
    told = cast.individual % 2 + 3
    assert torch.equal((traits(cast, kinds, told)["size"] // 10).long(), told)
    how = manner(cast, {"slow": {"pace": [0, 1]}, "fast": {"pace": [5, 6]}})
    assert torch.equal(how["pace"] > 3, cast.motion == 1) and within(how["pace"], cast.sequence) < 1e-9


def test_each_frame_does_what_its_own_motion_says(generator):
    cast = Cast(400, 2, generator)
    said = act(cast, [lambda c: {"a": c.phase + 100}, lambda c: {"a": -c.phase, "b": 1 + 0 * c.phase}])
    assert torch.equal(said["a"] > 50, cast.motion == 0)
    assert torch.equal(said["b"], (cast.motion == 1).double())


def test_each_frame_has_the_value_that_was_chosen():
    options = (torch.arange(3.0), 10 + torch.arange(3.0))
    assert chosen(options, torch.tensor([1, 0, 1])).tolist() == [10, 1, 12]
