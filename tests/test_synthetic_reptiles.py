"""Snakes of constant segments that slither, coil and rear; sprawling lizards that step crosswise."""

import pytest
import torch
from shapes_of import apart, edges_of, lengths, made, spread, within

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.synthetic import reptiles

SNAKE, LIZARD = "synthetic_snake15", "synthetic_lizard25"


def chain(animal):
    """All points of a snake; [F, 15, 3]."""
    return torch.stack([animal.at[name] for name in reptiles.JOINTS], 1)


def turning(points):
    """Sum of the signed turns of a chain seen from above, degrees; [F]."""
    step = points.diff(dim=1)[..., [2, 0]]
    a, b = step[:, :-1], step[:, 1:]
    cross, dot = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], (a * b).sum(-1)
    return torch.rad2deg(torch.atan2(cross, dot)).sum(1)


@pytest.mark.parametrize("category", [SNAKE, LIZARD])
def test_bones_are_constant_in_an_animal_and_differ_between_animals(category):
    animal = made(category, 1500)
    bones = lengths(animal.at, edges_of(rigs.get(category)))
    assert within(bones, animal.individual) < 1e-8 and spread(bones, animal.individual) > 0.05


@pytest.mark.parametrize("kind", ["grass", "viper", "python", "cobra", "whip"])
def test_a_snake_is_as_long_as_its_species(kind):
    low, high = synthetic.entry(SNAKE).shape["kinds"][kind]["length"]
    total = chain(made(SNAKE, 200, [kind])).diff(dim=1).norm(dim=-1).sum(1)
    assert 0.94 * low < total.min() and total.max() < 1.06 * high


def test_a_slithering_snake_lies_on_the_ground_and_a_coiled_one_turns_all_round():
    flat = chain(made(SNAKE, 1000, motions=["slither"]))
    extent = flat.amax(1) - flat.amin(1)
    assert (extent[:, 1] / extent.norm(dim=-1)).median() < 0.25
    assert turning(flat).abs().median() < 150
    coiled = turning(chain(made(SNAKE, 1000, motions=["coil"]))).abs()
    assert coiled.median() > 360 and coiled.max() < 1200
    both = turning(chain(made(SNAKE, 1000, motions=["coil"])))
    assert (both > 0).any() and (both < 0).any()  # to either side


def test_a_rearing_snake_lifts_its_head():
    for motion, share in (("rear", 0.1), ("slither", -1.0)):
        points = chain(made(SNAKE, 1000, motions=[motion]))
        length = points.diff(dim=1).norm(dim=-1).sum(1)
        lifted = (points[:, 0] - points[:, 6:].mean(1))[:, 1] / length
        assert lifted.median() > share
        assert motion == "rear" or lifted.median() < 0.1


def test_a_climbing_snake_winds_upwards():
    points = chain(made(SNAKE, 1000, motions=["climb"]))
    length = points.diff(dim=1).norm(dim=-1).sum(1)
    assert ((points[:, 2] - points[:, -1])[:, 1] / length).min() > 0.1


def test_lizards_face_the_front_with_the_left_side_at_plus_x():
    at = made(LIZARD, 2000).at
    for name in [name for name in at if name.startswith("left")]:
        assert (at[name] - at[name.replace("left", "right")])[:, 0].median() > 0
    for name in ("shoulder", "hip"):
        assert (at[f"left_{name}"] - at[f"right_{name}"])[:, 0].min() > 0
    order = [at[name][:, 2].median() for name in ("snout", "chest", "trunk", "pelvis", "tail_1", "tail_2", "tail_tip")]
    assert order == sorted(order, reverse=True)


def test_legs_sprawl_and_feet_are_below_the_body():
    at = made(LIZARD, 2000, motions=["walk", "run"]).at
    for side, sign in (("left", 1), ("right", -1)):
        for root, foot in (("shoulder", "wrist"), ("hip", "ankle")):
            out = sign * (at[f"{side}_{foot}"] - at[f"{side}_{root}"])[:, 0]
            assert (out > 0).double().mean() > 0.97
            assert (at[f"{side}_{foot}"] - at[f"{side}_{root}"])[:, 1].median() < 0
        line = 0.5 * (at[f"{side}_shoulder"] + at[f"{side}_wrist"])
        assert (at[f"{side}_elbow"] - line)[:, 2].median() < 0  # elbows point back
        line = 0.5 * (at[f"{side}_hip"] + at[f"{side}_ankle"])
        assert (at[f"{side}_knee"] - line)[:, 2].median() > 0  # knees to the front


def test_a_walking_lizard_steps_crosswise():
    lizard = made(LIZARD, 2500, motions=["walk"])
    ahead = torch.stack(
        [
            (lizard.at[foot] - lizard.at[root])[:, 2] / apart(lizard.at, "chest", "pelvis")
            for foot, root in (
                ("left_wrist", "left_shoulder"),
                ("right_ankle", "right_hip"),
                ("right_wrist", "right_shoulder"),
            )
        ]
    )
    together = torch.corrcoef(ahead)
    assert together[0, 1] > 0.4 and together[0, 2] < -0.3


def test_a_watching_lizard_raises_its_front():
    def raised(motion):
        at = made(LIZARD, 800, motions=[motion]).at
        return ((at["chest"] - at["pelvis"])[:, 1] / apart(at, "chest", "pelvis")).median()

    assert raised("watch") > raised("walk") + 0.1


def test_species_look_like_themselves():
    def of(kind, a, b):
        at = made(LIZARD, 60, [kind]).at
        return (apart(at, a, b) / apart(at, "chest", "trunk")).mean()

    assert of("iguana", "pelvis", "tail_1") > 1.5 * of("gecko", "pelvis", "tail_1")
    assert of("wall_lizard", "left_hip", "left_knee") > 1.5 * of("skink", "left_hip", "left_knee")
    assert of("crocodile", "chest", "snout") > of("skink", "chest", "snout")


def test_life_size():
    at = made(LIZARD, 1500).at
    trunk = apart(at, "chest", "pelvis")
    assert 25 < trunk.min() and trunk.max() < 1900 and trunk.max() > 10 * trunk.min()
