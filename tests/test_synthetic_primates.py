"""Monkeys and apes: rigid limbs and heads, joints, and what each motion does with hands and feet."""

import pytest
import torch
from shapes_of import angle, apart, at_of, doing, lengths, shapes_of, spread, within

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.synthetic import primates
from lfmlib.data.synthetic.gaits import CLIPS, EITHER, animals

MONKEY, APE = "synthetic_macaque17", "synthetic_chimpanzee16"
RIGID = [
    ("nose", "left_eye"), ("nose", "head"), ("head", "neck"), ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"), ("left_knee", "left_ankle"), ("neck", "left_shoulder"),
]  # fmt: skip


def trunk(at):
    return apart(at, "hip", "neck")


def test_landmarks_are_those_of_the_photograph_data():
    monkey, ape = rigs.get(MONKEY), rigs.get(APE)
    assert monkey.n == 17 and ape.keypoints == monkey.keypoints[:-1] and monkey.keypoints[-1] == "tail"
    assert len(monkey.symmetry) == 6 and monkey.up == "+y"


@pytest.mark.parametrize("name", [MONKEY, APE])
def test_limbs_and_heads_are_rigid_and_differ_between_animals(name):
    shapes = shapes_of(name, 1500)
    at, who = at_of(shapes), shapes.sequence // CLIPS
    left, right = (
        lengths(at, [[k.replace("left", side) for k in pair] for pair in RIGID]) for side in ("left", "right")
    )
    assert within(left, who) < 0.05  # mm: the rounding of the coordinates
    assert (left - right).abs().max() < 0.05 and spread(left, who) > 0.03


@pytest.mark.parametrize("name", [MONKEY, APE])
def test_left_is_plus_x_and_the_head_is_in_front(name):
    at = doing(name, "walk")
    assert (at["left_shoulder"][:, 0] > at["right_shoulder"][:, 0]).all()
    assert (at["left_eye"][:, 0] > at["right_eye"][:, 0]).all()
    assert (at["neck"][:, 2] > at["hip"][:, 2]).all() and (at["nose"][:, 2] > at["neck"][:, 2]).all()
    assert (at["head"][:, 1] > at["neck"][:, 1]).all()


@pytest.mark.parametrize("name", [MONKEY, APE])
def test_joints_bend_the_right_way_and_within_their_limits(name):
    at = doing(name, "walk")
    for side in ("left", "right"):
        elbow = 2 * at[f"{side}_elbow"] - at[f"{side}_shoulder"] - at[f"{side}_wrist"]
        assert (elbow[:, 2] < 0).all()
        assert (at[f"{side}_knee"][:, 2] > at["hip"][:, 2]).double().mean() > 0.9
    shapes = shapes_of(name, 1500)
    at = at_of(shapes)
    for side in ("left", "right"):
        found = angle(at, f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        assert found.min() > primates.FOLDED - 1 and found.max() < primates.STRAIGHT + 1
    assert shapes.points[..., 1].min() > -0.01


def test_walkers_put_hands_and_feet_on_the_ground_in_turn():
    for name in (MONKEY, APE):
        at = doing(name, "walk", 1000)
        for end, root in (("wrist", "shoulder"), ("ankle", "hip")):
            lower = torch.minimum(at[f"left_{end}"][:, 1], at[f"right_{end}"][:, 1])
            assert (lower / trunk(at)).max() < 0.25  # one of the two is always down
            roots = (at["hip"],) * 2 if root == "hip" else (at["left_shoulder"], at["right_shoulder"])
            ends = [at[f"{side}_{end}"] for side in ("left", "right")]
            ahead = torch.stack([((a - b)[:, 2] / trunk(at)) for a, b in zip(ends, roots, strict=True)])
            assert torch.corrcoef(ahead)[0, 1] < -0.6
    pitch = {
        name: torch.rad2deg(((at["neck"] - at["hip"])[:, 1] / trunk(at)).asin()).mean()
        for name, at in ((name, doing(name, "walk")) for name in (MONKEY, APE))
    }
    assert pitch[APE] > 15 > abs(pitch[MONKEY])  # long arms lift the chest of a knuckle walker


def test_motions_are_what_they_are_called():
    def upright(at):
        return (at["neck"] - at["hip"])[:, 1] / trunk(at)

    sit, stand, climb, hang = (doing(APE, motion) for motion in ("sit", "stand", "climb", "hang"))
    assert (sit["hip"][:, 1] < 0.3 * trunk(sit)).double().mean() > 0.4
    tall = stand["head"][:, 1] > 1.5 * trunk(stand)
    assert tall.double().mean() > 0.4 and (upright(stand)[tall] > 0.5).double().mean() > 0.9
    assert (upright(climb) > 0.6).all()
    for side in ("left", "right"):
        assert (climb[f"{side}_wrist"][:, 2] > climb["hip"][:, 2]).all()
        assert (climb[f"{side}_knee"][:, 1] > climb[f"{side}_ankle"][:, 1]).double().mean() > 0.9
    highest = torch.maximum(hang["left_wrist"][:, 1], hang["right_wrist"][:, 1])
    assert (highest > hang["head"][:, 1]).all() and (upright(hang) > 0.5).all()
    reach = doing(MONKEY, "reach")
    far = [apart(reach, f"{side}_shoulder", f"{side}_wrist") / trunk(reach) for side in ("left", "right")]
    assert (torch.maximum(*far) > 0.7).double().mean() > 0.2


def test_kinds_of_macaque_differ_in_their_tails(generator):
    shape = synthetic.entry(MONKEY).shape
    cast, length = animals(3000, generator, shape["bones"], shape["kinds"], primates.PARTS)
    kind = cast.kind
    names = list(shape["kinds"])
    assert kind.unique().tolist() == list(range(len(names)))
    tail = {name: (length["tail"] / (length["loin"] + length["back"]))[kind == i] for i, name in enumerate(names)}
    assert tail["japanese"].max() < tail["pig_tailed"].min() < tail["rhesus"].mean() < tail["long_tailed"].min()
    assert shape["kinds"]["rhesus"].get("tail", EITHER) == EITHER


@pytest.mark.parametrize(("name", "least", "most"), [(MONKEY, 180, 520), (APE, 180, 620)])
def test_trunks_have_a_plausible_length(name, least, most):
    at = doing(name, "stand", 1500)
    assert trunk(at).min() > least and trunk(at).max() < most


def test_unknown_motion():
    with pytest.raises(ValueError, match="no motion 'swim'; there are walk, sit"):
        doing(APE, "swim")
