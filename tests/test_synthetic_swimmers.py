"""Life in the water: body waves, fins on their sides, tails that curl to the front, eight arms."""

import pytest
import torch
from shapes_of import apart, lengths, made, within


@pytest.mark.parametrize("category", ["synthetic_fish12", "synthetic_shark15"])
def test_left_parts_are_on_the_left_and_both_sides_alike(category):
    at = made(category, 3000).at
    for name in [name for name in at if name.startswith("left_")]:
        other = at[name.replace("left", "right")]
        assert (at[name] - other)[:, 0].median() > 0
        height = at[name][:, 1].std()
        assert abs(at[name][:, 1].mean() - other[:, 1].mean()) < 0.1 * height
    assert (at["left_eye"] - at["right_eye"])[:, 0].min() > 0


def test_fish_have_fins_above_below_and_behind():
    at = made("synthetic_fish12", 3000).at
    assert (at["dorsal_tip"] - at["belly"])[:, 1].min() > 0
    assert (at["tail_upper"] - at["tail_lower"])[:, 1].median() > 0
    for ahead, behind in (("left_eye", "belly"), ("dorsal_base", "tail_base"), ("tail_base", "tail_upper")):
        assert (at[ahead] - at[behind])[:, 2].median() > 0


@pytest.mark.parametrize("category", ["synthetic_fish12", "synthetic_shark15"])
def test_the_body_wave_grows_towards_the_tail(category):
    fish = made(category, 2500, motions=["cruise"])
    length = apart(fish.at, "snout", "tail_base")
    swing = {name: (fish.at[name][:, 0] / length).std() for name in ("dorsal_base", "tail_base", "tail_upper")}
    assert swing["dorsal_base"] < swing["tail_base"] < swing["tail_upper"]
    turning = made(category, 2500, motions=["turn"])
    bent = [(a.at["tail_base"][:, 0] / apart(a.at, "snout", "tail_base")).abs().mean() for a in (fish, turning)]
    assert bent[1] > 1.2 * bent[0]


@pytest.mark.parametrize(
    ("category", "parts", "least", "most"),
    [
        ("synthetic_fish12", ("snout", "tail_base"), 50, 4500),
        ("synthetic_shark15", ("snout", "tail_base"), 800, 9500),
        ("synthetic_seahorse13", ("neck", "vent"), 4, 150),
        ("synthetic_octopus28", ("mantle_tip", "mouth"), 25, 1000),
    ],
)
def test_life_size(category, parts, least, most):
    size = apart(made(category, 2000).at, *parts)
    assert least < size.min() and size.max() < most and size.max() > 3 * size.min()


def test_species_look_like_themselves():
    def of(category, kind, a, b, c, d):
        one = made(category, 80, [kind])
        return (apart(one.at, a, b) / apart(one.at, c, d)).mean()

    deep = ("dorsal_base", "belly", "snout", "tail_base")
    assert of("synthetic_fish12", "angelfish", *deep) > 2 * of("synthetic_fish12", "trout", *deep)
    assert of("synthetic_fish12", "eel", *deep) < 0.5 * of("synthetic_fish12", "pike", *deep) + 0.2
    wide = ("left_eye", "right_eye", "snout", "tail_base")
    assert of("synthetic_shark15", "hammerhead", *wide) > 1.7 * of("synthetic_shark15", "reef", *wide)
    lobe = ("tail_base", "tail_upper", "snout", "tail_base")
    assert of("synthetic_shark15", "thresher", *lobe) > 2 * of("synthetic_shark15", "mako", *lobe)


def test_sharks_have_a_longer_upper_lobe():
    shark = made("synthetic_shark15", 1500)
    assert (apart(shark.at, "tail_base", "tail_upper") > apart(shark.at, "tail_base", "tail_lower")).all()


def test_seahorses_are_upright_and_curl_their_tails_to_the_front():
    upright = made("synthetic_seahorse13", 2000, motions=["drift"]).at
    assert (upright["coronet"] - upright["vent"])[:, 1].min() > 0
    assert (upright["snout"] - upright["neck"])[:, 2].median() > 0
    assert (upright["belly"] - upright["dorsal_fin"])[:, 2].median() > 0  # the belly is in front
    holding = made("synthetic_seahorse13", 2000, motions=["hold"])
    swimming = made("synthetic_seahorse13", 2000, motions=["swim"])
    reach = [(apart(a.at, "vent", "tail_tip") / apart(a.at, "vent", "tail_1")).mean() for a in (holding, swimming)]
    assert reach[0] < 0.7 * reach[1] < 4
    assert (holding.at["tail_tip"] - holding.at["tail_1"])[:, 2].median() > 0


def test_seahorses_keep_the_lengths_of_snout_and_tail():
    horse = made("synthetic_seahorse13", 1500)
    chain = ("vent", "tail_1", "tail_2", "tail_3", "tail_4", "tail_tip")
    pairs = [*zip(chain, chain[1:], strict=False), ("neck", "snout"), ("left_eye", "right_eye")]
    assert within(lengths(horse.at, pairs), horse.individual) < 1e-8


def test_octopuses_have_eight_arms_round_the_mouth():
    animal = made("synthetic_octopus28", 2000, motions=["crawl"])
    at = animal.at
    way = torch.stack([at[f"{side}_arm_{i}_near"].mean(0) for side in ("left", "right") for i in (1, 2, 3, 4)])
    round_ = torch.rad2deg(torch.atan2(way[:, 0], way[:, 2]))  # from the front towards the left
    expected = torch.tensor([22.5, 67.5, 112.5, 157.5], dtype=torch.float64)
    assert (round_ - torch.cat([expected, -expected])).abs().max() < 8
    for side in ("left", "right"):
        for i in (1, 2, 3, 4):
            far = [apart(animal.at, "mouth", f"{side}_arm_{i}_{part}").mean() for part in ("near", "mid", "tip")]
            assert far[0] < far[1] < far[2]
    assert (at["mantle_tip"] - at["mouth"])[:, 1].mean() > 0


def test_arms_gather_in_a_jet_and_fan_out_in_a_crawl():
    def spread(motion):
        animal = made("synthetic_octopus28", 1000, motions=[motion])
        tips = torch.stack([animal.at[name] for name in animal.at if name.endswith("tip") and "arm" in name], 1)
        return (tips[..., [0, 2]].norm(dim=-1) / apart(animal.at, "mouth", "left_arm_1_near")[:, None]).median()

    assert spread("jet") < 0.85 * spread("crawl")
