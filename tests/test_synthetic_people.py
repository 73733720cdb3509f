"""Synthetic people: proportions of a person, joints that bend one way, motions that look like what they are called."""

import pytest
import torch
from shapes_of import apart, at_of, edges_of, form, lengths, shapes_of, spread, within

from lfmlib import rigs
from lfmlib.data.synthetic.people_motions import MOTIONS

PEOPLE = ("synthetic_body17", "synthetic_coco17", "synthetic_body15", "synthetic_body22")
WALK, SIT = list(MOTIONS).index("walk"), list(MOTIONS).index("sit")


@pytest.mark.parametrize(("ours", "theirs"), [("synthetic_body17", "human17_cmu"), ("synthetic_body22", "human22_cmu")])
def test_rigs_are_those_of_the_measured_people(ours, theirs):
    assert form(rigs.get(ours)) == form(rigs.get(theirs))


def test_conventions_show_the_same_body():
    """Same seed of the stream or not: a knee is as far from its ankle in every convention."""
    mean = {}
    for name, (knee, ankle) in {
        "synthetic_body17": ("left_knee", "left_ankle"), "synthetic_coco17": ("left_knee", "left_ankle"),
        "synthetic_body15": ("left_knee", "left_ankle"), "synthetic_body22": ("LLeg", "LFoot"),
    }.items():  # fmt: skip
        mean[name] = float(apart(at_of(shapes_of(name, 4000)), knee, ankle).mean())
    assert max(mean.values()) / min(mean.values()) < 1.03


RIGID = {
    "synthetic_coco17": [("left_elbow", "left_wrist"), ("left_hip", "left_knee"), ("nose", "left_ear")],
    "synthetic_body15": [("left_elbow", "left_wrist"), ("mid_hip", "left_hip"), ("right_knee", "right_ankle")],
    "synthetic_body22": [("LArm", "LFore"), ("LLeg", "LFoot"), ("LToe", "LToeE"), ("Hips", "LUp"), ("Head", "HeadE")],
}


@pytest.mark.parametrize("category", PEOPLE)
def test_bones_are_constant_in_a_person_and_differ_between_people(category):
    shapes = shapes_of(category, 4000)
    bones = lengths(at_of(shapes), RIGID.get(category, edges_of(shapes.rig)))
    who = shapes.sequence // len(MOTIONS)
    assert within(bones, who) < 0.05 and spread(bones, who) > 0.02  # mm: the rounding of the coordinates


def test_no_person_is_in_both_splits():
    shapes = shapes_of("body17", 4000)
    who = shapes.sequence // len(MOTIONS)
    assert not set(who[shapes.split == 0].tolist()) & set(who[shapes.split == 1].tolist())
    assert len(who.unique()) >= 30


def test_left_and_right_limbs_are_equally_long():
    at = at_of(shapes_of("body17", 4000))
    for bone in ("hip knee", "knee ankle", "shoulder elbow", "elbow wrist"):
        right, left = (apart(at, *(f"{side}_{joint}" for joint in bone.split())) for side in ("right", "left"))
        assert float(right.mean()) == pytest.approx(float(left.mean()), abs=0.02)


def test_people_stand_and_walk_upright():
    shapes = shapes_of("body17", 4000)
    at = at_of(shapes)
    motion = shapes.sequence % len(MOTIONS)
    walking = motion <= 1
    head, pelvis = at["head_top"][:, 1], at["pelvis"][:, 1]
    feet = torch.minimum(at["left_ankle"][:, 1], at["right_ankle"][:, 1])
    assert (head > pelvis)[walking].all() and (pelvis > feet).all()
    upwards = "right_ankle", "right_knee", "right_hip", "pelvis", "spine", "thorax", "neck_nose", "head_top"
    tall = sum(apart(at, a, b) for a, b in zip(upwards, upwards[1:], strict=False) if b != "pelvis")
    assert tall.min() > 1250 and tall.max() < 2050  # stretched out, ankle to crown
    assert (head / tall)[motion == WALK].min() > 0.8 and (head < tall + 250).all()
    assert (feet > 40).all() and (feet < 280).all()  # ankles above the ground at y = 0
    assert head[motion == SIT].min() < 1250  # some do sit


def test_nobody_sinks_into_the_ground():
    shapes = shapes_of("body22", 4000)
    at = at_of(shapes)
    soles = torch.stack([at[name][:, 1] for name in ("LFoot", "LToe", "LToeE", "RFoot", "RToe", "RToeE")], 1)
    assert soles.amin() > 0 and soles.amin(1).max() < 90
    standing = shapes.sequence % len(MOTIONS) == WALK
    lift = (soles[:, 0] - soles[:, 3]).abs()[standing]
    assert lift.max() > 80  # and they do lift their feet


def test_joints_bend_the_right_way():
    shapes = shapes_of("body22", 4000)
    at = at_of(shapes)
    left = at["LUp"] - at["RUp"]
    forward = torch.linalg.cross(left, at["Neck1"] - at["Spine"])
    assert ((at["Head"] - at["Neck1"]) * forward).sum(-1).mean() > 0
    for side in "LR":
        hip, knee, ankle = (at[side + name] for name in ("Up", "Leg", "Foot"))
        bend = 2 * knee - hip - ankle
        bent = bend.norm(dim=-1) > 60
        assert ((bend * forward).sum(-1) > 0)[bent].double().mean() > 0.9
        toes = at[side + "ToeE"] - ankle
        shank = ankle - knee
        ahead = torch.linalg.cross(left, -shank)
        assert ((toes * ahead).sum(-1) > 0).double().mean() > 0.95  # toes point to the front
        reach = apart(at, side + "Hand", side + "Arm")
        arm = apart(at, side + "Fore", side + "Arm") + apart(at, side + "Fore", side + "Hand")
        assert (reach < arm + 1e-6).all() and (reach / arm).min() > 0.25  # no forearm inside the upper arm


def test_faces_look_to_the_front():
    shapes = shapes_of("coco17", 4000)
    at = at_of(shapes)
    left = at["left_ear"] - at["right_ear"]
    up = at["left_eye"] + at["right_eye"] - 2 * at["nose"]
    middle = (at["left_ear"] + at["right_ear"]) / 2
    ahead = torch.linalg.cross(left, up)
    assert ((at["nose"] - middle) * ahead).sum(-1).min() > 0


def test_legs_of_a_walker_swing_against_each_other():
    shapes = shapes_of("body17", 4000)
    at = at_of(shapes)
    walking = shapes.sequence % len(MOTIONS) == WALK
    left, up = at["left_hip"] - at["right_hip"], torch.tensor([0.0, 1.0, 0.0]).double()
    forward = torch.linalg.cross(left, up.expand_as(left))
    feet = [at[f"{side}_ankle"] - at["pelvis"] for side in ("left", "right")]
    ahead = torch.stack([(foot * forward).sum(-1)[walking] for foot in feet])
    assert torch.corrcoef(ahead)[0, 1] < -0.5


def test_a_clip_is_a_motion_and_no_heap_of_poses():
    shapes = shapes_of("body17", 4000)
    step = (shapes.points[1:] - shapes.points[:-1]).norm(dim=-1).mean(1)
    same = shapes.sequence[1:] == shapes.sequence[:-1]
    assert step[same].median() < 0.5 * step[~same].median()
