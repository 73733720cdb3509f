"""Shares and buckets: balanced and by temperature, little padding, every category in its turn."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lfmlib.data import synthetic
from lfmlib.data.mix import WASTE, Mix

SIZES, FRAMES = [8, 17, 83, 9, 17, 68], [1000, 10**6, 80, 10, 500, 4000]


@pytest.mark.parametrize(("temperature", "power"), [(None, 0.0), (1, 1.0), (2.0, 0.5), (1e6, 1e-6)])
def test_shares_follow_the_temperature(temperature, power):
    expected = [n**power for n in FRAMES]
    shares = Mix(SIZES, FRAMES, temperature).shares
    assert shares == pytest.approx([v / sum(expected) for v in expected]) and sum(shares) == pytest.approx(1)


def test_shares_of_extreme_temperatures_are_numbers():
    cold = Mix([5, 5], [10**6, 1], 0.001).shares
    assert cold == [1.0, 0.0]
    assert Mix([5, 9], [10**6, 1], 0.001).turn(3).keypoints == 5


@given(
    st.lists(st.tuples(st.integers(3, 133), st.integers(1, 10**6)), min_size=1, max_size=60),
    st.sampled_from([None, 1, 5]),
)
def test_no_bucket_wastes_more_than_allowed_and_each_category_is_in_one(pairs, temperature):
    sizes, frames = zip(*pairs, strict=True)
    mix = Mix(sizes, frames, temperature)
    members = [c for bucket in mix.buckets for c in bucket.categories.tolist()]
    assert sorted(members) == list(range(len(sizes)))
    for bucket in mix.buckets:
        group = bucket.categories.tolist()
        assert bucket.keypoints == max(sizes[c] for c in group) and bucket.waste <= WASTE
    assert -1e-9 <= mix.waste <= WASTE


def test_every_bucket_comes_as_often_as_its_share_says():
    mix = Mix(SIZES, FRAMES, 3)
    turns = [mix.turn(i) for i in range(3000)]
    for bucket in mix.buckets:
        share = sum(mix.shares[c] for c in bucket.categories.tolist())
        found = sum(t is bucket for t in turns)
        assert abs(found - 3000 * share) <= 5  # evenly spread: far closer than chance would be
    first = {id(t) for t in turns[: 4 * len(mix.buckets)]}
    assert len(first) >= len(mix.buckets) - 1
    assert mix.turn(17) is mix.turn(17)


def test_categories_of_a_bucket_come_by_their_shares(generator):
    mix = Mix([10, 10, 10], [100, 300, 600], 1)
    (bucket,) = mix.buckets
    counts = bucket.draw(20000, generator).bincount(minlength=3).double() / 20000
    assert (counts - torch.tensor([0.1, 0.3, 0.6])).abs().max() < 0.02
    lone = Mix([10], [5]).buckets[0].draw(4, generator)
    assert lone.tolist() == [0] * 4 and lone.dtype == torch.int64


def test_the_whole_shows_all_categories_alike_at_any_temperature(generator):
    counts = Mix(SIZES, FRAMES, 1).whole.draw(6000, generator).bincount(minlength=6)
    assert counts.min() > 850 and counts.max() < 1150


def test_one_bucket_where_waste_is_no_matter():
    mix = Mix(SIZES, FRAMES, waste=1)
    assert len(mix.buckets) == 1 and mix.buckets[0].keypoints == 83 and 0.5 < mix.waste < 0.7


def test_padding_at_the_mix_of_the_benchmark():
    entries = [synthetic.entry(name) for name in synthetic.categories()]
    for temperature in (None, 1, 3):
        mix = Mix([e.rig.n for e in entries], [e.samples for e in entries], temperature)
        assert mix.waste < WASTE and len(mix.buckets) <= 12


@pytest.mark.parametrize("temperature", [0, -1, math.inf, math.nan])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match=re.escape(f"temperature is {temperature!r}")):
        Mix([5], [5], temperature)


@pytest.mark.parametrize("waste", [0, -0.1, 1.1, math.nan])
def test_waste_is_a_share(waste):
    with pytest.raises(ValueError, match=re.escape(f"waste is {waste!r}")):
        Mix([5], [5], waste=waste)
