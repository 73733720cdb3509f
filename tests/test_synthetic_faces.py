"""Faces: the measured rig, left and right, what lies in front of what, shut eyes and mouths, and how far faces vary."""

import pytest
import torch
from shapes_of import at_of, means, shapes_of, within

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.surface import Surfaces
from lfmlib.data.synthetic.face_template import FLIP, along, field, follows, places, spots_of, template
from lfmlib.data.synthetic.limbs import turn

BOTH = ("synthetic_face68", "synthetic_face83")


def spots(name):
    return spots_of(synthetic.entry(name).shape["read"])


def test_the_rig_is_the_measured_one():
    ours, measured = rigs.get("synthetic_face68"), rigs.get("face68_ict")
    assert (ours.keypoints, ours.edges, ours.symmetry) == (measured.keypoints, measured.edges, measured.symmetry)
    assert ours.up == measured.up
    sizes = [sum(k.startswith(group) for k in rigs.get("synthetic_face83").keypoints)
             for group in ("right_eye", "left_eye", "right_brow", "left_brow", "right_nose", "left_nose", "nostril",
                           "outer_lip", "inner_lip", "jaw")]  # fmt: skip
    assert sizes == [8, 8, 10, 10, 3, 3, 6, 12, 8, 15]  # of BU-3DFE


@pytest.mark.parametrize("name", BOTH)
def test_the_mean_face_is_its_own_mirror_image_and_left_is_at_plus_x(name):
    rig, spot = rigs.get(name), spots(name)
    assert tuple(spot) == rig.keypoints
    mean = places(tuple(spot.values()))
    assert torch.equal(mean[list(rig.mirror)] * FLIP, mean)
    for i, keypoint in enumerate(rig.keypoints):
        if keypoint.split("_")[0] in ("left", "right"):
            assert (mean[i, 0] > 0) == keypoint.startswith("left")


def test_the_mean_face_has_the_distances_of_a_face():
    spot = spots("synthetic_face68")
    p = dict(zip(spot, places(tuple(spot.values())), strict=True))
    apart = lambda a, b: float((p[a] - p[b]).norm())  # noqa: E731
    assert apart("right_eye_3", "left_eye_0") == pytest.approx(33, abs=1)
    assert apart("right_eye_0", "left_eye_3") == pytest.approx(90, abs=1)
    assert apart("outer_lip_0", "outer_lip_6") == pytest.approx(52, abs=1)
    assert apart("nose_bridge_0", "jaw_8") == pytest.approx(119, abs=2)
    assert p["nose_bridge_3"][2] - p["nose_base_2"][2] == pytest.approx(17, abs=2)


@pytest.mark.parametrize("name", BOTH)
def test_parts_stand_in_their_order_on_every_face(name):
    p = at_of(shapes_of(name, 2000, 1))
    eye, brow, lip, chin = p["right_eye_0"], p["right_brow_2"], p["outer_lip_3"], p[f"jaw_{8 if '68' in name else 7}"]
    assert (brow[:, 1] > eye[:, 1]).all() and (eye[:, 1] > lip[:, 1] + 30).all() and (lip[:, 1] > chin[:, 1] + 15).all()
    assert (p["left_eye_0"][:, 0] > p["right_eye_0"][:, 0] + 40).all()
    assert (p["outer_lip_6"][:, 0] > p["outer_lip_0"][:, 0] + 12).all()  # left, also of puckered lips
    assert (lip[:, 2] > eye[:, 2]).all() and (eye[:, 2] > p["jaw_0"][:, 2] + 30).all()
    width = p[f"jaw_{16 if '68' in name else 14}"][:, 0] - p["jaw_0"][:, 0]
    assert width.min() > 105 and width.max() < 170


def test_the_nose_is_the_foremost_part():
    p = at_of(shapes_of("face68", 2000, 1))
    depth = torch.stack([point[:, 2] for point in p.values()])
    foremost = depth.argmax(0) == list(p).index("nose_bridge_3")
    assert foremost.double().mean() > 0.97  # kissing lips may reach further
    assert all((p[f"nose_bridge_{i}"][:, 1] > p[f"nose_bridge_{i + 1}"][:, 1]).all() for i in range(3))


@pytest.mark.parametrize("name", BOTH)
def test_lids_and_lips_open_and_shut_but_never_cross(name):
    p = at_of(shapes_of(name, 2000, 1))
    pairs = ((1, 5), (2, 4)) if "68" in name else ((1, 7), (2, 6), (3, 5))
    for side in ("right", "left"):
        for above, below in pairs:
            gap = (p[f"{side}_eye_{above}"] - p[f"{side}_eye_{below}"])[:, 1]
            assert gap.min() > 0.7 and gap.min() < 2 and gap.max() > 9 and gap.max() < 20
    for above, below in ((1, 7), (2, 6), (3, 5)):
        gap = (p[f"inner_lip_{above}"] - p[f"inner_lip_{below}"])[:, 1]
        assert gap.min() > 0.25 and gap.quantile(0.1) < 3 and gap.max() > 15 and gap.max() < 55
    one = (p["right_eye_1"] - p["right_eye_5" if "68" in name else "right_eye_7"])[:, 1]
    other = (p["left_eye_2"] - p["left_eye_4"])[:, 1] if "68" in name else (p["left_eye_3"] - p["left_eye_5"])[:, 1]
    assert (one - other).abs().max() > 4  # winks


def test_what_a_person_does_not_move_stays_and_people_differ():
    shapes = shapes_of("face68", 2000, 1)
    p, who = at_of(shapes), shapes.sequence // len(template()["expressions"])
    bridge = p["nose_bridge_0"] - p["nose_bridge_2"]
    assert within(bridge, who) < 0.01 and 2.5 < bridge.norm(dim=-1).max() - bridge.norm(dim=-1).min()
    assert len(who.unique()) >= 40
    lopsided = (p["right_eye_0"] * FLIP - p["left_eye_3"]).norm(dim=-1)
    assert lopsided.median() > 0.3 and lopsided.median() < 6  # nobody is quite symmetrical


def test_an_opening_mouth_lowers_the_chin_and_draws_it_back():
    shapes = shapes_of("face68", 2000, 1)
    p = at_of(shapes)
    who = shapes.sequence // len(template()["expressions"])
    mine = lambda v: v - means(v, who)[who]  # noqa: E731
    mouth = mine((p["inner_lip_2"] - p["inner_lip_6"])[:, 1])
    wide = mouth > 8
    assert (mine(p["jaw_8"][:, 1])[wide] < -3).all() and (mine(p["jaw_8"][:, 2])[wide] < 0).all()
    assert mine(p["jaw_0"][:, 1])[wide].abs().max() < 1  # the ear stays


def test_the_skin_hides_the_far_cheek_and_from_behind_the_face():
    shapes = shapes_of("face68", 2000, 1)
    surface, points = Surfaces([shapes.surface]), shapes.points[:300].double()

    def hidden(azimuth):
        turned = points @ turn("y", torch.full((300,), float(azimuth)).double()).mT
        camera = turned * torch.tensor([1.0, -1.0, -1.0]).double()  # x right, y down, z away; the face looks at it
        hide = surface.hide(camera, torch.zeros(300, dtype=torch.int64)).double().mean(0)
        return dict(zip(shapes.rig.keypoints, hide.tolist(), strict=True))

    front, right, back = hidden(0), hidden(90), hidden(180)
    assert max(v for name, v in front.items() if not name.startswith("jaw")) < 0.05
    assert min(right[f"left_eye_{i}"] for i in range(6)) > 0.9 > 0.1 > max(right[f"right_eye_{i}"] for i in (0, 1, 5))
    assert min(v for name, v in back.items() if not name.startswith(("jaw", "left_brow", "right_brow"))) > 0.9


@pytest.mark.parametrize(("name", "least"), [("synthetic_face68", 16), ("synthetic_face83", 16)])
def test_many_things_differ_between_faces(name, least):
    Y = shapes_of(name, 2000, 1).points.double()
    Y = Y - Y.mean(1, keepdim=True)
    Y = (Y / Y.square().sum((1, 2), keepdim=True).sqrt()).flatten(1)
    power = torch.linalg.svdvals(Y - Y.mean(0)).square()
    assert int((power.cumsum(0) < 0.95 * power.sum()).sum()) + 1 >= least
    assert power.sum().square() / power.square().sum() > 3.5


def test_a_curve_passes_through_its_control_points():
    values = [0.0, 1.0, 4.0, 2.0]
    for i, value in enumerate(values):
        assert float(along(values, i / 3)) == pytest.approx(value)
    assert 1 < float(along(values, 0.5)) < 4
    straight = [[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]
    assert torch.allclose(along(straight, 0.3), torch.tensor([0.6, 1.2]).double())


def test_pushes_of_both_halves_are_mirror_images_and_odd_ones_are_not():
    spot = {name: tuple(spots(name).values()) for name in BOTH}
    for pushes in (*template()["identity"].values(), *template()["actions"].values()):
        odd, most = all(push.get("odd") for push in pushes), 0.0
        for name in BOTH:
            left, right = (field(pushes, spot[name], half) for half in ("left", "right"))
            assert torch.allclose(left[list(rigs.get(name).mirror)], right if odd else right * FLIP)
            most = max(most, float(right.norm(dim=1).max()))
        assert most > 0.3  # mm: every name does something
    aside = sum(field(template()["actions"]["mouth_aside"], spot[BOTH[0]], half) for half in ("left", "right"))
    assert (aside[48:, 0] > 4).all() and (aside[:27] == 0).all()
    assert ((follows(spot[BOTH[0]]) >= 0) & (follows(spot[BOTH[0]]) <= 1)).all()


def test_the_template_names_only_what_there_is():
    said = template()
    curves, actions = set(said["curves"]), {*said["actions"], "open", "close", "lopsided"}
    assert all(set(members) <= curves for members in said["groups"].values())
    assert set(said["mandible"]) <= curves | {"axis", "degrees"}
    assert all(set(expression) <= actions for expression in said["expressions"].values())
    for pushes in (*said["identity"].values(), *said["actions"].values()):
        for push in pushes:
            assert set(push) <= {"on", "at", "reach", "move", "stretch", "odd"}
            assert set(push.get("on", ())) <= curves | set(said["groups"])


def test_failures():
    for line in ("jaw chin right 0", "jaw jaw upper 0", "jaw jaw right 1.5"):
        with pytest.raises(ValueError, match=f"face: '{line}'"):
            spots_of([line])
