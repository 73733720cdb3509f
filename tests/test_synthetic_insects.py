"""Flies, spiders, butterflies: legs of constant segments with high knees, a tripod gait, stiff wings."""

import math

import pytest
import torch
from shapes_of import apart, lengths, made, spread, within

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.synthetic import insects

FLY, SPIDER, BUTTERFLY = "synthetic_fly38", "synthetic_spider36", "synthetic_butterfly13"
LEGS = [f"{side}_{name}" for side in ("left", "right") for name in insects.FLY_LEGS]


def rigid_and_individual(animal, pairs):
    bones = lengths(animal.at, pairs)
    assert within(bones, animal.individual) < 1e-8 and spread(bones, animal.individual) > 0.02


def test_the_fly_has_the_keypoints_of_deepfly3d():
    rig = rigs.get(FLY)
    assert rig.n == 38 and len(rig.symmetry) == 19 and rig.up == rigs.get("fly30_walk").up == "+z"
    parts = ("coxa", "femur", "tibia", "tarsus", "claw")
    legs = [f"{leg}_{part}" for leg in ("front", "middle", "hind") for part in parts]
    side = [*legs, "antenna", "stripe_0", "stripe_1", "stripe_2"]
    assert rig.keypoints == tuple(f"{s}_{name}" for s in ("right", "left") for name in side)
    assert synthetic.entry(FLY).samples == 80


def test_a_fly_keeps_its_segments_and_flies_differ():
    parts = ("coxa", "femur", "tibia", "tarsus", "claw")
    rigid_and_individual(
        made(FLY, 1500), [(f"{leg}_{a}", f"{leg}_{b}") for leg in LEGS for a, b in zip(parts, parts[1:], strict=False)]
    )


def test_a_fly_faces_plus_x_with_the_left_side_at_plus_y():
    at = made(FLY, 2000).at
    for name in [name for name in at if name.startswith("left")]:
        assert (at[name] - at[name.replace("left", "right")])[:, 1].median() > 0
    for leg in LEGS:
        sign = 1 if leg.startswith("left") else -1
        assert (sign * at[f"{leg}_tibia"][:, 1] > 0).double().mean() > 0.998  # legs keep to their side
        assert (at[f"{leg}_tibia"] - at[f"{leg}_femur"])[:, 2].median() > 0  # knees above the roots
    along = ("antenna", "front_coxa", "hind_coxa", "stripe_0", "stripe_2")
    order = [at[f"left_{name}"][:, 0].median() for name in along]
    assert order == sorted(order, reverse=True)


def test_a_fly_is_two_or_three_millimetres_long():
    fly = made(FLY, 1500)
    length = apart(fly.at, "left_antenna", "left_stripe_2")
    assert 1.2 < length.min() and length.max() < 2.8


def test_three_feet_are_lifted_together():
    at = made(FLY, 2500, motions=["walk"]).at
    legs = ("left_front", "right_middle", "left_hind", "right_front")
    together = torch.corrcoef(torch.stack([at[f"{leg}_claw"][:, 2] for leg in legs]))
    assert together[0, 1] > 0.2 and together[0, 2] > 0.2 and together[0, 3] < 0


def test_grooming_brings_the_claws_together():
    rub, wipe = made(FLY, 1000, motions=["rub"]), made(FLY, 1000, motions=["wipe"])
    walk = made(FLY, 1000, motions=["walk"])
    assert apart(rub.at, "left_front_claw", "right_front_claw").median() < 0.6
    assert apart(walk.at, "left_front_claw", "right_front_claw").median() > 1.0
    assert apart(rub.at, "left_hind_claw", "right_hind_claw").median() > 1.5
    near = [apart(fly.at, "left_hind_claw", "left_stripe_1").median() for fly in (wipe, walk)]
    assert near[0] < 0.6 * near[1]


def test_a_spider_keeps_its_segments_and_its_knees_are_high():
    spider = made(SPIDER, 1500)
    legs = [f"{side}_leg_{i}" for side in ("left", "right") for i in (1, 2, 3, 4)]
    parts = ("base", "knee", "ankle", "tip")
    rigid_and_individual(
        spider, [(f"{leg}_{a}", f"{leg}_{b}") for leg in legs for a, b in zip(parts, parts[1:], strict=False)]
    )
    for leg in legs:
        sign = 1 if leg.startswith("left") else -1
        assert (sign * spider.at[f"{leg}_base"][:, 0] > 0).all()
        assert (sign * spider.at[f"{leg}_tip"][:, 0] > 0).double().mean() > 0.97
        assert (spider.at[f"{leg}_knee"] - spider.at[f"{leg}_base"])[:, 1].median() > 0


def test_a_walking_spider_stands_on_legs_in_their_order():
    at = made(SPIDER, 1500, motions=["walk"]).at
    for side in ("left", "right"):
        front_to_back = torch.stack([at[f"{side}_leg_{i}_tip"][:, 2] for i in (1, 2, 3, 4)])
        assert (front_to_back.diff(dim=0) < 0).double().mean() > 0.97
        assert ((at[f"{side}_leg_3_tip"] - at["waist"])[:, 1] < 0).double().mean() > 0.8
    assert (at["head"] - at["abdomen_tip"])[:, 2].min() > 0


def test_a_threatening_spider_lifts_its_front_legs():
    at = made(SPIDER, 1000, motions=["threat"]).at
    front, back = ((at[f"left_leg_{i}_tip"] - at["head"])[:, 1] for i in (1, 4))
    assert (front > back).all() and front.median() > 0


def test_spiders_look_like_themselves():
    def of(kind):
        spider = made(SPIDER, 60, [kind])
        return (apart(spider.at, "left_leg_1_base", "left_leg_1_knee") / apart(spider.at, "head", "waist")).mean()

    assert of("cellar") > 3 * of("house") > 4 * of("jumping")


def test_wings_are_stiff_and_species_differ():
    pairs = [(f"{s}_{w}wing_tip", f"{s}_{w}wing_corner") for s in ("left", "right") for w in ("fore", "hind")]
    rigid_and_individual(made(BUTTERFLY, 1500), [*pairs, ("thorax", "abdomen_tip"), ("head", "left_antenna")])

    def tail(kind):
        one = made(BUTTERFLY, 60, [kind])
        edge = apart(one.at, "left_hindwing_tip", "left_hindwing_corner")
        return (edge / apart(one.at, "thorax", "left_forewing_tip")).mean()

    assert tail("moonmoth") > 1.5 * tail("monarch")


def test_wings_beat_up_and_down_on_both_sides_alike():
    at = made(BUTTERFLY, 2000, motions=["fly"]).at
    high = [torch.atan2(at[f"{s}_forewing_tip"][:, 1], at[f"{s}_forewing_tip"][:, 0].abs()) for s in ("left", "right")]
    assert high[0].max() > math.radians(55) and high[0].min() < math.radians(-15)
    assert (high[0] - high[1]).abs().mean() < math.radians(8)
    hind = torch.atan2(at["left_hindwing_tip"][:, 1], at["left_hindwing_tip"][:, 0].abs())
    assert torch.corrcoef(torch.stack([high[0], hind]))[0, 1] > 0.7
    glide = made(BUTTERFLY, 2000, motions=["glide"]).at
    assert (glide["left_forewing_tip"] - glide["right_forewing_tip"])[:, 0].min() > 0
    assert (glide["left_forewing_tip"] - glide["left_hindwing_tip"])[:, 2].min() > 0


@pytest.mark.parametrize(
    ("category", "parts", "least", "most"),
    [(SPIDER, ("head", "waist"), 1.5, 40), (BUTTERFLY, ("thorax", "left_forewing_tip"), 10, 75)],
)
def test_life_size(category, parts, least, most):
    size = apart(made(category, 1500).at, *parts)
    assert least < size.min() and size.max() < most and size.max() > 3 * size.min()
