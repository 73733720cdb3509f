"""Hands: constant bones, right and left ones told apart, joints within limits, and contact with what they hold."""

import pytest
import torch
from shapes_of import apart, at_of, lengths, shapes_of, spread, within

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.synthetic import hand_glove, hand_objects, hands
from lfmlib.data.synthetic.draw import Cast
from lfmlib.data.synthetic.hand_grip import PAD, grip_pose, reach, tip_of
from lfmlib.data.synthetic.hand_model import FINGERS, FOLLOW, JOINTS, anatomy, facing, mirrored, points

CLIPS = {
    "synthetic_hand21": hands.GESTURES,
    "synthetic_two_hands42": hands.DUETS,
    "synthetic_hand_box29": hand_objects.HOLDS,
    "synthetic_hands_laptop50": hand_objects.TASKS,
}


def unit(v):
    return torch.nn.functional.normalize(v, dim=-1)


def dot(a, b):
    return (a * b).sum(-1)


def bent(p, prefix, finger, i):
    """Angle between two successive bones of a finger, degrees."""
    a, b, c = (p[f"{prefix}{finger}_{joint}"] for joint in JOINTS[finger][i : i + 3])
    return torch.rad2deg(dot(unit(b - a), unit(c - b)).clamp(-1, 1).acos())


@pytest.mark.parametrize("name", CLIPS)
def test_bones_are_constant_in_a_person_and_differ_between_people(name):
    shapes = shapes_of(name, 2000, 4)
    who = shapes.sequence // len(CLIPS[name])
    p = at_of(shapes)
    prefix = "" if "wrist" in p else "right_"
    bones = [(f, *joints[i : i + 2]) for f, joints in JOINTS.items() for i in range(3)]
    pairs = [(f"{prefix}{finger}_{a}", f"{prefix}{finger}_{b}") for finger, a, b in bones]
    length = lengths(p, pairs)
    assert within(length, who) < 0.05 and spread(length, who) > 0.03  # mm: the rounding of the coordinates
    if prefix:
        other = [[joint.replace("right", "left") for joint in pair] for pair in pairs]
        assert (lengths(p, other) - length).abs().max() < 0.05


@pytest.mark.parametrize("name", [*CLIPS, "synthetic_body_hands59"])
def test_fingers_bend_to_the_palm_within_their_limits(name):
    p = at_of(shapes_of(name, 2000, 4))
    for prefix in ("",) if "wrist" in p else ("right_", "left_"):
        thumbwards = p[f"{prefix}index_mcp"] - p[f"{prefix}little_mcp"]
        for finger in FINGERS:
            middle, last = bent(p, prefix, finger, 0), bent(p, prefix, finger, 1)
            assert middle.max() < 111 and last.max() < 73
            assert torch.allclose(last[middle > 5], FOLLOW * middle[middle > 5], atol=0.1)  # one tendon
            a, b, c = (p[f"{prefix}{finger}_{joint}"] for joint in ("mcp", "pip", "dip"))
            hinge = torch.linalg.cross(unit(b - a), unit(c - b)) * (-1 if prefix == "left_" else 1)
            assert (dot(hinge, thumbwards)[middle > 10] > 0).all()  # of a left hand taken for a right one: never


def test_one_hand_has_its_size_and_both_closed_and_open_poses():
    p = at_of(shapes_of("hand21", 2000, 4))
    knuckle = apart(p, "middle_mcp", "wrist")
    assert knuckle.min() > 65 and knuckle.max() < 120
    straight = apart(p, "middle_tip", "wrist") / knuckle
    assert straight.min() < 1.2 and straight.max() > 1.9


def test_two_hands_face_each_other_where_they_clap_and_stand_on_their_sides():
    shapes = shapes_of("two_hands42", 2000, 4)
    p, duet = at_of(shapes), shapes.sequence % len(hands.DUETS)
    clap = duet == hands.DUETS.index("clap")
    normal = {}
    for side, sign in (("left", -1), ("right", 1)):
        root = p[f"{side}_wrist"]
        normal[side] = sign * unit(torch.linalg.cross(p[f"{side}_index_mcp"] - root, p[f"{side}_little_mcp"] - root))
    across = (p["left_middle_mcp"] - p["right_middle_mcp"])[clap, 0]  # left is +x
    assert (across > 15).all() and across.max() > 150
    assert (normal["right"][clap, 0] > 0.5).all() and (normal["left"][clap, 0] < -0.5).all()
    fold = duet == hands.DUETS.index("fold")
    assert apart(p, "left_middle_mcp", "right_middle_mcp")[fold].max() < 100
    handed = p["left_wrist"][:, 1] > p["right_wrist"][:, 1]
    given = handed[duet == hands.DUETS.index("pass")]
    assert 0.1 < given.double().mean() < 0.9  # either hand gives


def test_hands_go_on_where_the_arms_end():
    shapes = shapes_of("body_hands59", 2000, 4)
    p = at_of(shapes)
    assert shapes.rig.keypoints[:17] == rigs.get("human17_cmu").keypoints
    across = unit(p["left_hip"] - p["right_hip"])
    forward = unit(torch.linalg.cross(across, p["thorax"] - p["pelvis"]))
    for side in ("left", "right"):
        fore = unit(p[f"{side}_wrist"] - p[f"{side}_elbow"])
        step = p[f"{side}_hand_root"] - p[f"{side}_wrist"]
        assert (step.norm(dim=-1) < 16).all() and (dot(unit(step), fore) > 0.999).all()
        hand = unit(p[f"{side}_middle_mcp"] - p[f"{side}_hand_root"])
        assert dot(fore, hand).min() > 0.3
        thumbs = dot(p[f"{side}_index_mcp"] - p[f"{side}_little_mcp"], forward)
        assert (thumbs > 0)[fore[:, 1] < -0.9].double().mean() > 0.9  # an arm that hangs has its thumb in front
    share = apart(p, "left_middle_mcp", "left_hand_root") / apart(p, "left_wrist", "left_elbow")
    assert share.min() > 0.3 and share.max() < 0.45


def test_a_glove_has_the_measured_rig_and_stiff_markers_on_its_back():
    shapes = shapes_of("hand_marker13", 2000)
    measured = rigs.get("hand13_markers_dfki")
    assert (shapes.rig.keypoints, shapes.rig.edges) == (measured.keypoints, measured.edges) and not shapes.rig.symmetry
    p, who = at_of(shapes), shapes.sequence // len(hand_glove.MOVES)
    for a, b in (("hand_top", "hand_left"), ("hand_top", "hand_right"), ("hand_left", "hand_right")):
        length = apart(p, a, b)
        assert within(length, who) < 0.05
        assert length.unique().numel() > 10
    back = torch.linalg.cross(p["hand_left"] - p["hand_top"], p["hand_right"] - p["hand_top"])
    assert (dot(p["middle_tip"] - p["middle_middle"], unit(back)) < 20).all()  # fingers close away from the back
    assert (dot(p["thumb_tip"] - p["hand_right"], unit(p["hand_left"] - p["hand_right"])) > 15).all()
    assert 100 < apart(p, "middle_tip", "hand_top").median() < 160


def box_frame(p):
    """Unit vectors and lengths of the box's edges: thumb to fingers, across the fingers, off the palm."""
    corner = p["box_thumb_near_radial"]
    edges = [p[f"box_{other}"] - corner for other in ("finger_near_radial", "thumb_near_ulnar", "thumb_far_radial")]
    return corner, [unit(e) for e in edges], [e.norm(dim=-1) for e in edges]


def test_a_held_box_is_one_and_its_sorts_occur():
    shapes = shapes_of("hand_box29", 6000)
    p, who = at_of(shapes), shapes.sequence // len(hand_objects.HOLDS)
    corner, axes, sizes = box_frame(p)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert dot(axes[i], axes[j]).abs().max() < 2e-3
    opposite = corner + sum(axis * size[:, None] for axis, size in zip(axes, sizes, strict=True))
    assert torch.allclose(p["box_finger_far_ulnar"], opposite, atol=0.05)
    assert within(torch.stack(sizes, 1), who) < 0.05
    for kind in synthetic.entry("synthetic_hand_box29").shape["kinds"].values():
        ranges = [kind[name] for name in ("grip", "breadth", "depth")]
        fits = [(size > low - 0.1) & (size < high + 0.1) for size, (low, high) in zip(sizes, ranges, strict=True)]
        assert torch.stack(fits).all(0).any()


def test_thumb_and_fingers_hold_the_box_between_them_unless_they_let_go():
    shapes = shapes_of("hand_box29", 2000, 4)
    p, hold = at_of(shapes), shapes.sequence % len(hand_objects.HOLDS)
    corner, (g, e, d), (grip, breadth, depth) = box_frame(p)
    tight = hold != hand_objects.HOLDS.index("release")
    for finger in ("thumb", "index", "middle"):
        tip = p[f"{finger}_tip"] - corner
        off = -dot(tip, g) if finger == "thumb" else dot(tip, g) - grip
        assert ((off - PAD).abs() < 0.1)[tight].all()
        assert (off > PAD - 0.1).all() and off[~tight].max() > PAD + 8
        on = (dot(tip, e) > 0) & (dot(tip, e) < breadth) & (dot(tip, d) > 0) & (dot(tip, d) < depth)
        assert on.double().mean() > 0.95
    for joint in ("wrist", *(f"{finger}_mcp" for finger in FINGERS)):  # the palm stays outside
        q = p[joint] - corner
        assert not ((dot(q, g).clamp(0) < grip) & (dot(q, d) > 0) & (dot(q, g) > 0)).any()
    opening = apart(p, "thumb_tip", "index_tip")
    assert torch.corrcoef(torch.stack([opening, grip])[:, tight])[0, 1] > 0.9


def test_a_lid_turns_about_its_hinge_and_is_stiff():
    shapes = shapes_of("hands_laptop50", 2000, 4)
    p, task = at_of(shapes), shapes.sequence % len(hand_objects.TASKS)
    lid, base = p["lid_edge_left"] - p["lid_hinge_left"], p["base_front_left"] - p["base_back_left"]
    assert (lid.norm(dim=-1) - base.norm(dim=-1)).abs().max() < 0.05
    assert torch.allclose(p["lid_edge_right"] - p["lid_hinge_right"], lid, atol=0.01)
    assert (p["lid_hinge_left"][:, [0, 2]] == p["base_back_left"][:, [0, 2]]).all() and (base[:, 2] < 0).all()
    assert (p["base_front_left"][:, 0] > 0).all()
    angle = torch.rad2deg(dot(unit(lid), unit(base)).clamp(-1, 1).acos())
    assert angle.min() > 7 and angle.max() > 120 and angle.max() < 180
    lifting = task <= hand_objects.TASKS.index("both")
    clips = [angle[shapes.sequence == clip] for clip in shapes.sequence[lifting].unique()]
    assert max(clip.max() - clip.min() for clip in clips) > 60
    width, depth = 2 * p["base_front_left"][:, 0], base.norm(dim=-1)
    for kind in synthetic.entry("synthetic_hands_laptop50").shape["kinds"].values():
        fits = (width > kind["width"][0]) & (width < kind["width"][1]) & (depth > kind["depth"][0])
        assert (fits & (depth < kind["depth"][1])).any()


def test_hands_are_on_the_lid_the_sides_and_the_keys():
    shapes = shapes_of("hands_laptop50", 2000, 4)
    p, task = at_of(shapes), shapes.sequence % len(hand_objects.TASKS)
    free = unit(p["lid_edge_left"] - p["lid_hinge_left"])
    outer = unit(torch.linalg.cross(free, p["lid_hinge_right"] - p["lid_hinge_left"]))
    height = p["lid_hinge_left"][:, 1]
    for side in ("left", "right"):
        thumb, index = (p[f"{side}_{finger}_tip"] for finger in ("thumb", "index"))
        both = task == hand_objects.TASKS.index("both")
        for tip in (thumb, index):
            off = dot(tip - p["lid_edge_left"], outer)[both]
            assert torch.allclose(off.abs(), torch.full_like(off, 11.0), atol=0.2)  # half a lid and a finger pad
            assert (dot(tip - p["lid_edge_left"], free)[both] < 10).all()
        assert (dot(index - thumb, outer)[both].abs() > 20).all()  # on opposite faces
        carry = task == hand_objects.TASKS.index("carry")
        assert torch.allclose(thumb[carry, 1], height[carry] + PAD, atol=0.1)
        assert torch.allclose(index[carry, 1], torch.full_like(index[carry, 1], -PAD), atol=0.1)
        typing = task == hand_objects.TASKS.index("type")
        over = (index[:, 1] - height)[typing]
        assert (over > PAD - 0.1).all() and over.max() > PAD + 8 and over.max() < PAD + 13
        x = p[f"{side}_wrist"][:, 0] * (1 if side == "left" else -1)
        assert (x[task != hand_objects.TASKS.index("lift")] > 0).all()  # each hand on its own side


def test_reach_puts_fingertips_on_a_plane(generator):
    cast = Cast(400, 2, generator)
    hand = anatomy(cast)
    gap = cast.by_individual(20, 90)
    pose, axis = grip_pose(cast, hand, gap)
    level = dot(axis, tip_of(hand, pose, "thumb")) + gap
    posed = reach(hand, pose, axis, level)
    joints = points(hand, posed)
    for finger in FINGERS:
        tip = tip_of(hand, posed, finger)
        assert torch.allclose(tip, joints[f"{finger}_tip"], atol=1e-9)
        assert (posed.bend[finger][0] >= -25).all() and (posed.bend[finger][0] <= 95).all()
        if finger != "little":  # which is short
            assert torch.allclose(dot(tip, axis), level, atol=1e-6)


def test_facing_is_a_rotation_and_mirroring_twice_changes_nothing(generator):
    a, b = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
    R = facing(a, b)
    assert torch.allclose(R @ R.mT, torch.eye(3, dtype=R.dtype).expand_as(R)) and (torch.linalg.det(R) > 0).all()
    assert torch.allclose(R[:, :, 1], unit(a)) and (dot(-R[:, :, 2], b) > 0).all()
    assert torch.equal(mirrored(mirrored({"p": a}))["p"], a)
