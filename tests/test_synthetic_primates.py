"""Monkeys and apes: rigid limbs and heads, joints, and what each motion does with hands and feet."""

import pytest
import torch

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.synthetic import primates
from lfmlib.data.synthetic.draw import Cast
from lfmlib.data.synthetic.quadrupeds import CLIPS, EITHER, proportions

MONKEY, APE = "synthetic_macaque17", "synthetic_chimpanzee16"
RIGID = ("nose left_eye", "nose head", "head neck", "left_shoulder left_elbow", "left_elbow left_wrist",
         "left_knee left_ankle", "neck left_shoulder")  # fmt: skip


def made(species, motion, count=600):
    """Keypoints of a species that does one thing: name -> [F, 3]."""
    shape = synthetic.entry(species).shape | {"motions": [motion]}
    return primates.primate(count, torch.Generator().manual_seed(0), **shape).at


def apart(at, pair):
    a, b = pair.split()
    return (at[a] - at[b]).norm(dim=-1)


def angle(at, a, b, c):
    """At b, degrees; [F]."""
    u, v = at[a] - at[b], at[c] - at[b]
    return torch.rad2deg(((u * v).sum(-1) / u.norm(dim=-1) / v.norm(dim=-1)).clamp(-1, 1).acos())


def test_landmarks_are_those_of_the_photograph_data():
    monkey, ape = rigs.get(MONKEY), rigs.get(APE)
    assert monkey.n == 17 and ape.keypoints == monkey.keypoints[:-1] and monkey.keypoints[-1] == "tail"
    assert len(monkey.symmetry) == 6 and monkey.up == "+y"


@pytest.mark.parametrize("name", [MONKEY, APE])
def test_limbs_and_heads_are_rigid_and_differ_between_animals(name):
    shapes = synthetic.generate(name, 1500)
    at = dict(zip(shapes.rig.keypoints, shapes.points.double().unbind(1), strict=True))
    who = shapes.sequence // CLIPS
    for pair in RIGID:
        other = pair.replace("left", "right")
        means = torch.stack([apart(at, pair)[who == animal].mean() for animal in who.unique()])
        assert (apart(at, pair) - means[who]).abs().max() < 0.05  # mm: the rounding of the coordinates
        assert (apart(at, pair) - apart(at, other)).abs().max() < 0.05
        assert means.std() / means.mean() > 0.03


@pytest.mark.parametrize("name", [MONKEY, APE])
def test_left_is_plus_x_and_the_head_is_in_front(name):
    at = made(name, "walk")
    assert (at["left_shoulder"][:, 0] > at["right_shoulder"][:, 0]).all()
    assert (at["left_eye"][:, 0] > at["right_eye"][:, 0]).all()
    assert (at["neck"][:, 2] > at["hip"][:, 2]).all() and (at["nose"][:, 2] > at["neck"][:, 2]).all()
    assert (at["head"][:, 1] > at["neck"][:, 1]).all()


@pytest.mark.parametrize("name", [MONKEY, APE])
def test_joints_bend_the_right_way_and_within_their_limits(name):
    at = made(name, "walk")
    for side in ("left", "right"):
        elbow = 2 * at[f"{side}_elbow"] - at[f"{side}_shoulder"] - at[f"{side}_wrist"]
        assert (elbow[:, 2] < 0).all()
        assert (at[f"{side}_knee"][:, 2] > at["hip"][:, 2]).double().mean() > 0.9
    shapes = synthetic.generate(name, 1500)
    at = dict(zip(shapes.rig.keypoints, shapes.points.double().unbind(1), strict=True))
    for side in ("left", "right"):
        found = angle(at, f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        assert found.min() > primates.FOLDED - 1 and found.max() < primates.STRAIGHT + 1
    assert shapes.points[..., 1].min() > -0.01


def test_walkers_put_hands_and_feet_on_the_ground_in_turn():
    for name in (MONKEY, APE):
        at = made(name, "walk", 1000)
        trunk = apart(at, "hip neck")
        for end, root in (("wrist", "shoulder"), ("ankle", "hip")):
            lower = torch.minimum(at[f"left_{end}"][:, 1], at[f"right_{end}"][:, 1])
            assert (lower / trunk).max() < 0.25  # one of the two is always down
            roots = (at["hip"],) * 2 if root == "hip" else (at["left_shoulder"], at["right_shoulder"])
            ends = [at[f"{side}_{end}"] for side in ("left", "right")]
            ahead = torch.stack([((a - b)[:, 2] / trunk) for a, b in zip(ends, roots, strict=True)])
            assert torch.corrcoef(ahead)[0, 1] < -0.6
    pitch = {
        name: torch.rad2deg(((at["neck"] - at["hip"])[:, 1] / apart(at, "hip neck")).asin()).mean()
        for name, at in ((name, made(name, "walk")) for name in (MONKEY, APE))
    }
    assert pitch[APE] > 15 > abs(pitch[MONKEY])  # long arms lift the chest of a knuckle walker


def test_motions_are_what_they_are_called():
    def upright(at):
        return (at["neck"] - at["hip"])[:, 1] / apart(at, "hip neck")

    sit, stand, climb, hang = (made(APE, motion) for motion in ("sit", "stand", "climb", "hang"))
    assert (sit["hip"][:, 1] < 0.3 * apart(sit, "hip neck")).double().mean() > 0.4
    tall = stand["head"][:, 1] > 1.5 * apart(stand, "hip neck")
    assert tall.double().mean() > 0.4 and (upright(stand)[tall] > 0.5).double().mean() > 0.9
    assert (upright(climb) > 0.6).all()
    for side in ("left", "right"):
        assert (climb[f"{side}_wrist"][:, 2] > climb["hip"][:, 2]).all()
        assert (climb[f"{side}_knee"][:, 1] > climb[f"{side}_ankle"][:, 1]).double().mean() > 0.9
    highest = torch.maximum(hang["left_wrist"][:, 1], hang["right_wrist"][:, 1])
    assert (highest > hang["head"][:, 1]).all() and (upright(hang) > 0.5).all()
    reach = made(MONKEY, "reach")
    far = [apart(reach, f"{side}_shoulder {side}_wrist") / apart(reach, "hip neck") for side in ("left", "right")]
    assert (torch.maximum(*far) > 0.7).double().mean() > 0.2


def test_kinds_of_macaque_differ_in_their_tails():
    shape = synthetic.entry(MONKEY).shape
    cast = Cast(3000, CLIPS, torch.Generator().manual_seed(0))
    length, kind = proportions(cast, shape["bones"], shape["kinds"], primates.PARTS)
    names = list(shape["kinds"])
    assert kind.unique().tolist() == list(range(len(names)))
    tail = {name: (length["tail"] / (length["loin"] + length["back"]))[kind == i] for i, name in enumerate(names)}
    assert tail["japanese"].max() < tail["pig_tailed"].min() < tail["rhesus"].mean() < tail["long_tailed"].min()
    assert shape["kinds"]["rhesus"].get("tail", EITHER) == EITHER


@pytest.mark.parametrize(("name", "least", "most"), [(MONKEY, 180, 520), (APE, 180, 620)])
def test_trunks_have_a_plausible_length(name, least, most):
    at = made(name, "stand", 1500)
    assert apart(at, "hip neck").min() > least and apart(at, "hip neck").max() < most


def test_unknown_motion():
    with pytest.raises(ValueError, match="no motion 'swim'; there are walk, sit"):
        made(APE, "swim")
