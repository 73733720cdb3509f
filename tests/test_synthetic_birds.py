"""Birds: the rig of bird18_aves, rigid heads and bones, ankles that bend backwards, wings that fold, species apart."""

import pytest
import torch
from shapes_of import apart, form, lengths, made, spread, within

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.synthetic import birds

BIRDS = ("synthetic_songbird18", "synthetic_duck18", "synthetic_heron18", "synthetic_prey18")
# The pairs that an individual holds at a constant distance; the real rig's other edges span joints.
RIGID = [
    ("bill_tip", "bill_base"), ("bill_base", "forehead"), ("forehead", "crown"), ("bill_base", "throat"),
    ("bill_base", "left_eye"), ("bill_base", "right_eye"), ("back", "tail_base"), ("tail_base", "tail_tip"),
    ("breast", "back"), ("left_shin", "left_foot"), ("right_shin", "right_foot"),
]  # fmt: skip


def motion_of(bird, category):
    motions = synthetic.entry(category).shape.get("motions", birds.USUAL)
    return motions, bird.sequence % len(motions)


@pytest.mark.parametrize("category", BIRDS)
def test_the_rig_is_that_of_the_real_birds(category):
    ours, real = rigs.get(category), rigs.get("bird18_aves")
    assert form(ours) == form(real) and (ours.symmetry, ours.family) == (real.symmetry, real.family)


@pytest.mark.parametrize("category", BIRDS)
def test_bones_are_constant_in_a_bird_and_differ_between_birds(category):
    bird = made(category, 1500)
    bones = lengths(bird.at, RIGID)
    assert within(bones, bird.individual) < 1e-8 and spread(bones, bird.individual) > 0.05


@pytest.mark.parametrize("category", BIRDS)
def test_birds_face_the_front_with_the_left_side_at_minus_x(category):
    at = made(category, 3000).at
    assert (at["left_shin"][:, 0] < at["right_shin"][:, 0]).double().mean() > 0.99
    for part in ("eye", "foot", "wingtip"):
        assert (at[f"right_{part}"] - at[f"left_{part}"])[:, 0].mean() > 0
    assert (at["breast"] - at["tail_tip"])[:, 1].min() > 0
    assert (at["back"] - at["left_foot"])[:, 2].mean() > 0 and (at["crown"] - at["throat"])[:, 2].mean() > 0


def test_the_head_is_its_own_mirror_image():
    bird = made("synthetic_songbird18", 400)
    for part in ("crown", "forehead", "bill_base", "throat", "bill_tip"):
        assert torch.allclose(apart(bird.at, "left_eye", part), apart(bird.at, "right_eye", part))


@pytest.mark.parametrize(
    ("category", "least", "most"),
    [
        ("synthetic_songbird18", 30, 300),
        ("synthetic_duck18", 140, 900),
        ("synthetic_heron18", 180, 650),
        ("synthetic_prey18", 130, 650),
    ],
)
def test_life_size(category, least, most):
    trunk = apart(made(category, 2000).at, "breast", "tail_base")
    assert least < trunk.min() and trunk.max() < most and trunk.max() > 1.8 * trunk.min()


@pytest.mark.parametrize("category", BIRDS)
def test_ankles_bend_backwards(category):
    at = made(category, 2000).at
    for side in ("left", "right"):
        upper, lower = at[f"{side}_shin"] - at[f"{side}_hip"], at[f"{side}_foot"] - at[f"{side}_shin"]
        assert (torch.linalg.cross(upper, lower)[:, 0] > 0).all()  # the foot turns to the front


def test_legs_of_a_walker_swing_against_each_other():
    bird = made("synthetic_heron18", 3000)
    motions, motion = motion_of(bird, "synthetic_heron18")
    ahead = [bird.at[f"{side}_shin"][motion == motions.index("stalk"), 1] for side in ("left", "right")]
    assert torch.corrcoef(torch.stack(ahead))[0, 1] < -0.3


def test_wings_fold_over_the_rump_and_spread_in_flight():
    bird = made("synthetic_songbird18", 3000)
    motions, motion = motion_of(bird, "synthetic_songbird18")
    span = apart(bird.at, "left_wingtip", "right_wingtip") / apart(bird.at, "breast", "tail_base")
    folded, flying = span[motion == motions.index("perch")], span[motion == motions.index("fly")]
    assert folded.median() < 0.6 and flying.median() > 1.5
    behind = (bird.at["left_wingtip"] - bird.at["back"])[motion == motions.index("perch"), 1]
    assert (behind < 0).all()


def test_a_pecking_bill_goes_below_the_breast_and_preening_turns_it_round():
    bird = made("synthetic_songbird18", 3000)
    motions, motion = motion_of(bird, "synthetic_songbird18")
    low = (bird.at["bill_tip"] - bird.at["breast"])[motion == motions.index("peck"), 2]
    assert (low < 0).double().mean() > 0.3 and (low > 0).any()
    bill = (bird.at["bill_tip"] - bird.at["bill_base"])[motion == motions.index("preen"), 1]
    assert (bill < 0).double().mean() > 0.1  # towards its own tail


def test_species_look_like_themselves():
    def of(kind, a, b, category="songbird18"):
        bird = made(category, 60, [kind])
        return (apart(bird.at, a, b) / apart(bird.at, "breast", "tail_base")).mean()

    assert of("magpie", "tail_base", "tail_tip") > 1.5 * of("crow", "tail_base", "tail_tip")
    assert of("hoopoe", "bill_base", "bill_tip") > 2 * of("finch", "bill_base", "bill_tip")
    assert of("flamingo", "left_shin", "left_foot", "heron18") > 2 * of("pigeon", "left_shin", "left_foot")


def test_an_unknown_motion_is_refused():
    with pytest.raises(ValueError, match="motion 'dance'; there are perch"):
        made(BIRDS[0], 10, motions=["perch", "dance"])
