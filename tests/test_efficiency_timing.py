"""Paired turns on a clock that the test winds: ratios come out whatever the machine does; growth laws are recovered."""

import math

import pytest
import torch

from lfmlib.efficiency.growth import Growth, growth
from lfmlib.efficiency.timing import Effort, alone, median, paired, threads_of_torch, timed


class Machine:
    """A clock, and work on a machine whose speed changes with time."""

    def __init__(self, slowness=lambda now: 1.0):
        self.now, self.slowness, self.calls = 0.0, slowness, []

    def clock(self):
        return self.now

    def work(self, name, amount):
        def call():
            self.calls.append(name)
            self.now += amount * self.slowness(self.now)

        return call

    def turn(self, name, amount, effort):
        return timed(self.work(name, amount), effort, clock=self.clock)


EFFORT = Effort(pairs=20, seconds=1000.0, least=0.0)


@pytest.mark.parametrize(
    ("slowness", "within"),
    [(lambda now: 1.0, 1e-12), (lambda now: 1 + now / 20, 0.03), (lambda now: 1 + (now > 30), 1e-9)],
    ids=["steady", "slower and slower", "suddenly half as fast"],
)
def test_twice_the_work_has_ratio_two_however_fast_the_machine_is(slowness, within):
    machine = Machine(slowness)
    ours, other = machine.turn("ours", 1.0, EFFORT), machine.turn("other", 2.0, EFFORT)
    pairs = paired(ours, other, EFFORT, machine.clock)
    assert len(pairs.ratios) == 20
    assert median(pairs.ratios) == pytest.approx(0.5, abs=within)


def test_contestants_take_turns_and_swap_who_begins():
    machine = Machine()
    ours, other = machine.turn("a", 1.0, EFFORT), machine.turn("b", 1.0, EFFORT)
    machine.calls.clear()
    paired(ours, other, EFFORT._replace(pairs=4), machine.clock)
    assert "".join(machine.calls) == "abba" * 2


def test_no_pair_is_begun_when_the_time_is_over_but_three_are_made():
    machine = Machine()
    slow = machine.turn("slow", 50.0, EFFORT)
    assert len(paired(slow, slow, Effort(20, 1.0, 0.0), machine.clock).ours) == 3
    assert len(paired(slow, slow, Effort(20, 450.0, 0.0), machine.clock).ours) == 5
    assert len(paired(slow, slow, Effort(1, 1e9, 0.0), machine.clock).ours) == 1
    assert len(alone(slow, Effort(20, 1.0, 0.0), machine.clock)) == 3


def test_short_work_is_repeated_within_a_turn_and_given_per_call():
    machine = Machine()
    turn = machine.turn("short", 0.25, Effort(3, 1.0, 10.0))
    machine.calls.clear()
    assert turn() == pytest.approx(0.25)
    assert len(machine.calls) == 40


def test_warm_up_stays_out_of_the_turns():
    machine = Machine(lambda now: 100.0 if now < 250 else 1.0)  # the first calls compile
    turn = timed(machine.work("x", 1.0), EFFORT, warm_up=3, clock=machine.clock)
    assert turn() == pytest.approx(1.0)


def test_threads_are_set_for_a_turn_and_given_back():
    before, seen = torch.get_num_threads(), []
    turn = timed(lambda: seen.append(torch.get_num_threads()), EFFORT, threads=before + 1)
    turn()
    assert set(seen) == {before + 1} and torch.get_num_threads() == before
    with pytest.raises(KeyError), threads_of_torch(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_a_power_law_is_recovered_exactly(exponent):
    sizes = [1, 4, 16, 64, 256]
    law = growth(sizes, [3.0 * n**exponent for n in sizes])
    assert law.exponent == pytest.approx(exponent, abs=1e-12) and law.error == pytest.approx(0, abs=1e-12)
    assert law.at(100) == pytest.approx(3.0 * 100**exponent)


def test_the_fixed_cost_of_a_call_does_not_hide_the_growth():
    sizes = [4**k for k in range(12)]
    law = growth(sizes, [1.0 + 1e-3 * n for n in sizes])
    assert law.exponent == pytest.approx(1, abs=0.1) and law.start == pytest.approx(4**6)


def test_the_exponent_lies_within_its_error_of_the_truth(generator):
    sizes = [10**k for k in range(1, 13)]
    inside, runs = 0, 200
    for _ in range(runs):
        noise = (0.1 * torch.randn(len(sizes), generator=generator)).exp().tolist()
        law = growth(sizes, [n**1.5 * e for n, e in zip(sizes, noise, strict=True)])
        inside += abs(law.exponent - 1.5) < 2 * law.error
    assert 0.8 < inside / runs < 0.99  # 88 % for six points


def test_few_points_and_wrong_ones():
    assert growth([5], [1.0]) is None and growth([], []) is None
    two = growth([1, 10], [1.0, 10.0])
    assert two.exponent == pytest.approx(1) and math.isnan(two.error) and str(two) == "1.00"
    assert str(Growth(0.983, 0.0214, 1.0, 1.0)) == "0.98 ± 0.02"
    assert growth([1, 2, 3], [1.0, 2.0, 3.0]).start == pytest.approx(1)  # three points at least
    for sizes, costs, what in (([1, 2], [1.0], "2 sizes for 1 costs"), ([1, 1], [1.0, 2.0], "comes twice"),
                               ([0, 1], [1.0, 2.0], "positive"), ([1, 2], [1.0, math.nan], "positive")):  # fmt: skip
        with pytest.raises(ValueError, match=what):
            growth(sizes, costs)
