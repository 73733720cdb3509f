"""Synthetic people: proportions of a person, joints that bend one way, motions that look like what they are called."""

import pytest
import torch

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.synthetic.people_motions import MOTIONS

PEOPLE = ("synthetic_body17", "synthetic_coco17", "synthetic_body15", "synthetic_body22")
WALK, SIT = list(MOTIONS).index("walk"), list(MOTIONS).index("sit")


def part(shapes, name):
    return shapes.points[:, shapes.rig.keypoints.index(name)].double()


def lengths(shapes):
    """Length of each edge in each frame; [F, E]."""
    a, b = torch.tensor(shapes.rig.edges).T
    return (shapes.points[:, a] - shapes.points[:, b]).double().norm(dim=-1)


@pytest.mark.parametrize(("ours", "theirs"), [("synthetic_body17", "human17_cmu"), ("synthetic_body22", "human22_cmu")])
def test_rigs_are_those_of_the_measured_people(ours, theirs):
    a, b = rigs.get(ours), rigs.get(theirs)
    assert a.keypoints == b.keypoints and a.up == b.up
    assert {frozenset(e) for e in a.edges} == {frozenset(e) for e in b.edges}
    assert {frozenset(p) for p in a.symmetry} == {frozenset(p) for p in b.symmetry}


def test_conventions_show_the_same_body():
    """Same seed of the stream or not: a knee is as far from its ankle in every convention."""
    mean = {}
    for name, (knee, ankle) in {
        "synthetic_body17": ("left_knee", "left_ankle"), "synthetic_coco17": ("left_knee", "left_ankle"),
        "synthetic_body15": ("left_knee", "left_ankle"), "synthetic_body22": ("LLeg", "LFoot"),
    }.items():  # fmt: skip
        shapes = synthetic.generate(name, 4000)
        mean[name] = float((part(shapes, knee) - part(shapes, ankle)).norm(dim=-1).mean())
    assert max(mean.values()) / min(mean.values()) < 1.03


RIGID = {
    "synthetic_coco17": [("left_elbow", "left_wrist"), ("left_hip", "left_knee"), ("nose", "left_ear")],
    "synthetic_body15": [("left_elbow", "left_wrist"), ("mid_hip", "left_hip"), ("right_knee", "right_ankle")],
    "synthetic_body22": [("LArm", "LFore"), ("LLeg", "LFoot"), ("LToe", "LToeE"), ("Hips", "LUp"), ("Head", "HeadE")],
}


@pytest.mark.parametrize("category", PEOPLE)
def test_bones_are_constant_in_a_person_and_differ_between_people(category):
    shapes = synthetic.generate(category, 2000)
    bones, who = lengths(shapes), shapes.sequence // len(MOTIONS)
    if category in RIGID:
        bones = torch.stack([(part(shapes, a) - part(shapes, b)).norm(dim=-1) for a, b in RIGID[category]], 1)
    for person in who.unique()[:10]:
        own = bones[who == person]
        assert (own - own[0]).abs().max() < 0.05  # mm: the rounding of the coordinates
    people = torch.stack([bones[who == person].mean(0) for person in who.unique()])
    assert (people.std(0) / people.mean(0)).min() > 0.02


def test_no_person_is_in_both_splits():
    shapes = synthetic.generate("synthetic_body17", 4000)
    who = shapes.sequence // len(MOTIONS)
    assert not set(who[shapes.split == 0].tolist()) & set(who[shapes.split == 1].tolist())
    assert len(who.unique()) >= 30


def test_left_and_right_limbs_are_equally_long():
    bones = lengths(synthetic.generate("synthetic_body17", 500)).mean(0)
    edges = {frozenset(edge): i for i, edge in enumerate(rigs.get("synthetic_body17").edges)}
    for right, left in (((1, 2), (4, 5)), ((2, 3), (5, 6)), ((14, 15), (11, 12)), ((15, 16), (12, 13))):
        assert bones[edges[frozenset(right)]] == pytest.approx(bones[edges[frozenset(left)]].item(), abs=0.02)


def test_people_stand_and_walk_upright():
    shapes = synthetic.generate("synthetic_body17", 5000)
    motion = shapes.sequence % len(MOTIONS)
    walking = motion <= 1
    head, pelvis = part(shapes, "head_top")[:, 1], part(shapes, "pelvis")[:, 1]
    feet = torch.minimum(part(shapes, "left_ankle")[:, 1], part(shapes, "right_ankle")[:, 1])
    assert (head > pelvis)[walking].all() and (pelvis > feet).all()
    bones = {frozenset(edge): length for edge, length in zip(shapes.rig.edges, lengths(shapes).T, strict=True)}
    tall = sum(bones[frozenset(e)] for e in ((1, 2), (2, 3), (0, 7), (7, 8), (8, 9), (9, 10)))
    assert tall.min() > 1250 and tall.max() < 2050  # stretched out, ankle to crown
    assert (head / tall)[motion == WALK].min() > 0.8 and (head < tall + 250).all()
    assert (feet > 40).all() and (feet < 280).all()  # ankles above the ground at y = 0
    assert head[motion == SIT].min() < 1250  # some do sit


def test_nobody_sinks_into_the_ground():
    shapes = synthetic.generate("synthetic_body22", 3000)
    soles = torch.stack([part(shapes, name)[:, 1] for name in ("LFoot", "LToe", "LToeE", "RFoot", "RToe", "RToeE")], 1)
    assert soles.amin() > 0 and soles.amin(1).max() < 90
    standing = shapes.sequence % len(MOTIONS) == WALK
    lift = (soles[:, 0] - soles[:, 3]).abs()[standing]
    assert lift.max() > 80  # and they do lift their feet


def test_joints_bend_the_right_way():
    shapes = synthetic.generate("synthetic_body22", 3000)
    left = part(shapes, "LUp") - part(shapes, "RUp")
    forward = torch.linalg.cross(left, part(shapes, "Neck1") - part(shapes, "Spine"))
    assert ((part(shapes, "Head") - part(shapes, "Neck1")) * forward).sum(-1).mean() > 0
    for side in "LR":
        hip, knee, ankle = (part(shapes, side + name) for name in ("Up", "Leg", "Foot"))
        bend = 2 * knee - hip - ankle
        bent = bend.norm(dim=-1) > 60
        assert ((bend * forward).sum(-1) > 0)[bent].double().mean() > 0.9
        toes = part(shapes, side + "ToeE") - ankle
        shank = ankle - knee
        ahead = torch.linalg.cross(left, -shank)
        assert ((toes * ahead).sum(-1) > 0).double().mean() > 0.95  # toes point to the front
        elbow = part(shapes, side + "Fore")
        reach = (part(shapes, side + "Hand") - part(shapes, side + "Arm")).norm(dim=-1)
        arm = (elbow - part(shapes, side + "Arm")).norm(dim=-1) + (elbow - part(shapes, side + "Hand")).norm(dim=-1)
        assert (reach < arm + 1e-6).all() and (reach / arm).min() > 0.25  # no forearm inside the upper arm


def test_faces_look_to_the_front():
    shapes = synthetic.generate("synthetic_coco17", 2000)
    left = part(shapes, "left_ear") - part(shapes, "right_ear")
    up = part(shapes, "left_eye") + part(shapes, "right_eye") - 2 * part(shapes, "nose")
    middle = (part(shapes, "left_ear") + part(shapes, "right_ear")) / 2
    ahead = torch.linalg.cross(left, up)
    assert ((part(shapes, "nose") - middle) * ahead).sum(-1).min() > 0


def test_legs_of_a_walker_swing_against_each_other():
    shapes = synthetic.generate("synthetic_body17", 5000)
    walking = shapes.sequence % len(MOTIONS) == WALK
    left, up = part(shapes, "left_hip") - part(shapes, "right_hip"), torch.tensor([0.0, 1.0, 0.0]).double()
    forward = torch.linalg.cross(left, up.expand_as(left))
    feet = [part(shapes, f"{side}_ankle") - part(shapes, "pelvis") for side in ("left", "right")]
    ahead = torch.stack([(foot * forward).sum(-1)[walking] for foot in feet])
    assert torch.corrcoef(ahead)[0, 1] < -0.5


def test_a_clip_is_a_motion_and_no_heap_of_poses():
    shapes = synthetic.generate("synthetic_body17", 5000)
    step = (shapes.points[1:] - shapes.points[:-1]).norm(dim=-1).mean(1)
    same = shapes.sequence[1:] == shapes.sequence[:-1]
    assert step[same].median() < 0.5 * step[~same].median()
