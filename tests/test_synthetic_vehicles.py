"""Synthetic vehicles beyond Pascal3D+: rigid parts, joints within their limits, life size, left at +x."""

import pytest
import torch
from shapes_of import at_of, made, shapes_of, sound

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.data.synthetic import vehicles

# largest distance between two keypoints: mm
SIZES = {
    "truck16": (9_000, 24_500), "helicopter14": (5_500, 27_500), "sailboat12": (4_500, 45_000),
    "skateboard10": (390, 1_260), "pram13": (450, 1_750), "tractor16": (3_000, 8_500), "excavator12": (1_900, 10_500),
}  # fmt: skip
# chains of keypoints that lie on one rigid part each: their mutual distances never change within a machine
RIGID = {
    "truck16": [
        "left_front_wheel right_drive_wheel left_bumper right_cab_top",
        "left_box_front_lower right_box_front_upper left_box_rear_upper right_box_rear_lower",
    ],
    "helicopter14": ["nose tail fin_top left_stabiliser right_stabiliser rotor_hub left_gear_front right_gear_back"],
    "sailboat12": [
        "bow left_beam right_beam left_stern keel mast_foot mast_top", "mast_foot boom_end", "bow mast_foot",
        "tiller_end rudder_tip",
    ],
    "skateboard10": ["nose tail left_deck_front right_deck_back", "left_front_wheel right_front_wheel"],
    "pram13": [
        "left_front_wheel right_back_wheel left_basket_front right_basket_back", "left_hood right_hood hood_middle",
        "left_basket_back left_handle right_handle", "left_basket_back left_handle",
    ],
    "tractor16": [
        "left_back_wheel left_roof_back right_roof_front left_bonnet left_arm_pivot", "left_arm_pivot left_arm_end",
        "right_arm_end left_arm_end", "left_arm_end left_bucket right_bucket", "left_front_wheel right_front_wheel",
    ],
    "excavator12": [
        "left_track_front right_track_front left_track_back", "left_roof right_roof left_tail right_tail boom_foot",
        "boom_foot boom_end", "boom_end stick_end", "stick_end bucket_tip",
    ],
}  # fmt: skip


def fleet(name):
    return made(name, 1500, seed=5)


def angle(a, b):
    """Degrees between vectors [F, 3]."""
    return torch.rad2deg(torch.acos(torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1, 1)))


def distances(at, chain):
    points = torch.stack([at[name] for name in chain.split()], 1)
    i, j = torch.triu_indices(points.shape[1], points.shape[1], 1)
    return (points[:, i] - points[:, j]).norm(dim=-1)


def test_how_many():
    counts = {name: synthetic.entry(f"synthetic_{name}").samples for name in SIZES}
    assert len(counts) >= 5 and min(counts.values()) == 37 and max(counts.values()) <= 3000
    assert all(8 <= rigs.get(f"synthetic_{name}").n <= 16 for name in SIZES)
    assert all(synthetic.entry(f"synthetic_{name}").surface.faces.numel() for name in SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_parts_are_rigid_and_machines_differ(name):
    result = fleet(name)
    for chain in RIGID[name]:
        lengths = distances(result.at, chain)
        for individual in range(0, int(result.individual[-1]), 3):
            own = lengths[result.individual == individual]
            assert (own - own[0]).abs().max() < 1e-6 * (1 + own[0].max())
        first = lengths[(result.individual.diff(prepend=torch.tensor([-1]))) > 0]
        assert (first.std(0) > 0.02 * first.mean(0)).all()


@pytest.mark.parametrize("name", SIZES)
def test_joints_move_within_a_clip(name):
    """The whole is not rigid: some distance changes within a machine, in the same clip too."""
    result = fleet(name)
    every = " ".join(rigs.get(f"synthetic_{name}").keypoints)
    lengths = distances(result.at, every)
    for group in (result.individual, result.sequence):
        spans = [lengths[group == g] for g in range(0, int(group[-1]), 4)]
        moved = torch.stack([(own.amax(0) - own.amin(0)).max() / own.max() for own in spans])
        assert moved.median() > 0.01


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_sub_types(name):
    shapes = shapes_of(name, 1500)
    across = torch.cdist(shapes.points, shapes.points).amax((1, 2))
    low, high = SIZES[name]
    assert low < across.min() and across.max() < high
    kinds = synthetic.entry(f"synthetic_{name}").shape["kinds"]
    drawn = vehicles.Fleet(3000, torch.Generator().manual_seed(0), kinds, {"a": [1], "b": [2]})
    assert len(drawn.kind.unique()) == len(kinds) >= 4 and sound(kinds)
    assert torch.equal(drawn.reach[:, 0], 1.0 + drawn.motion)


def test_trucks():
    at = at_of(shapes_of("truck16", 1500))
    assert (at["left_front_wheel"][:, 0] > 0).all() and (at["left_bumper"][:, 2] > at["left_front_wheel"][:, 2]).all()
    assert torch.equal(at["left_cab_top"] * torch.tensor([-1.0, 1, 1]), at["right_cab_top"])
    rear, front = (
        (at[f"left_box_{end}_lower"] + at[f"right_box_{end}_lower"]) / 2 for end in ("rear", "front")
    )  # fmt: skip
    bend = angle(front - rear, torch.tensor([[0.0, 0, 1]]).double())
    assert bend.max() <= 82 + 1e-3 and bend.max() > 60 and bend.min() < 2
    ahead = torch.linalg.cross(at["left_box_front_lower"] - at["right_box_front_lower"], torch.eye(3).double()[1:2])
    assert ((ahead * (front - rear)).sum(-1) > 0).all()  # the trailer's left is on its left
    assert (at["left_box_front_upper"][:, 1] > at["left_box_front_lower"][:, 1]).all()
    wheel = at["left_drive_wheel"][:, 1]
    assert (wheel > 400).all() and (wheel < 600).all()


def test_rotors_have_four_equal_blades():
    at = fleet("helicopter14").at
    blades = {name: at[f"rotor_{name}"] - at["rotor_hub"] for name in ("front", "left", "back", "right")}
    lengths = torch.stack([blade.norm(dim=-1) for blade in blades.values()])
    assert (lengths / lengths[0] - 1).abs().max() < 1e-9
    round_ = list(blades.values())
    square = torch.stack([angle(a, b) for a, b in zip(round_, round_[1:] + round_[:1], strict=True)])
    assert (square / square[0] - 1).abs().max() < 1e-6 and (square > 88).all() and (square <= 90 + 1e-6).all()
    front, left = blades["front"], blades["left"]
    heading = torch.rad2deg(torch.atan2(front[:, 0], front[:, 2]))
    assert heading.abs().max() < 48 and heading.std() > 20  # it turns, and the front blade is the one in front
    assert (left[:, 0] > 0).all() and (blades["right"][:, 0] < 0).all() and (blades["back"][:, 2] < 0).all()
    assert (at["nose"][:, 2] > 0).all() and (at["tail"][:, 2] < 0).all()
    assert (at["tail"][:, 2].abs() > 0.99 * lengths[0]).all()  # the tail stays clear of the blades
    assert (at["left_gear_front"][:, 1] == 0).all() and (at["rotor_hub"][:, 1] > at["nose"][:, 1]).all()


def test_boats_heel_away_from_the_wind_and_steer():
    at = fleet("sailboat12").at
    mast, boom, jib = (
        at[a] - at[b] for a, b in (("mast_top", "mast_foot"), ("boom_end", "mast_foot"), ("jib_clew", "bow"))
    )
    lean = torch.rad2deg(torch.atan2(mast[:, 0], mast[:, 1]))
    out = torch.rad2deg(torch.atan2(boom[:, 0], -boom[:, 2]))
    assert lean.abs().max() < 26.01 and lean.std() > 5
    assert out.abs().max() < 92 and out.min() < -60 and out.max() > 60
    far = out.abs() > 35
    assert (lean * out > 0)[far & (lean.abs() > 3)].all()  # towards the side that the sail is out to
    assert (jib[:, 0] * out > 0)[far].all()  # both sails to one side
    helm, blade = (at[name] - (at["left_stern"] + at["right_stern"]) / 2 for name in ("tiller_end", "rudder_tip"))
    along = at["left_beam"] - at["right_beam"]
    along = along / along.norm(dim=-1, keepdim=True)
    across = (helm * along).sum(-1), (blade * along).sum(-1)
    assert (across[0] * across[1] <= 1e-6).all() and across[0].abs().max() > 50  # the rudder goes the other way


def test_skateboards_turn_where_they_lean():
    at = fleet("skateboard10").at
    lean = at["left_deck_front"][:, 1] - at["right_deck_front"][:, 1]  # leans to the right where positive
    axles = {end: at[f"left_{end}_wheel"] - at[f"right_{end}_wheel"] for end in ("front", "back")}
    for end, way in (("front", 1), ("back", -1)):
        yaw = torch.rad2deg(torch.atan2(axles[end][:, 2], axles[end][:, 0]))
        assert yaw.abs().max() <= 0.7 * 22 + 1e-6 and yaw.abs().max() > 8
        assert (way * yaw * lean >= -1e-6).all()  # the left wheel of the front axle runs ahead in a right turn
        assert (axles[end][:, 0] > 0).all()
    assert (at["nose"][:, 2] > at["left_front_wheel"][:, 2]).all()
    assert (at["left_front_wheel"][:, 1] < at["left_deck_front"][:, 1]).all()


def test_prams_are_pushed_from_behind():
    at = fleet("pram13").at
    for side in ("left", "right"):
        assert (at[f"{side}_handle"][:, 2] < at[f"{side}_basket_back"][:, 2]).all()
        assert (at[f"{side}_front_wheel"][:, 2] > at[f"{side}_back_wheel"][:, 2]).all()
    assert torch.equal(at["left_hood"] * torch.tensor([-1.0, 1, 1]), at["right_hood"])
    height = (at["left_hood"] - at["left_basket_back"])[:, 1]
    assert (height > 200).any() and (height.abs() < 60).any()  # unfolded and folded
    push = at["left_handle"][:, 1]
    assert push.min() > 350 and push.max() < 1500


def test_tractors_lift():
    at = fleet("tractor16").at
    arm = at["left_arm_end"] - at["left_arm_pivot"]
    raised = torch.rad2deg(torch.atan2(arm[:, 1], arm[:, 2]))
    assert raised.min() >= -42 - 1e-6 and raised.max() <= 52 + 1e-6 and raised.max() - raised.min() > 60
    assert (at["left_arm_end"][:, 2] > at["left_bonnet"][:, 2]).double().mean() > 0.9
    assert (at["left_front_wheel"][:, 2] > at["left_back_wheel"][:, 2]).all()
    assert (at["left_front_wheel"][:, 1] < at["left_back_wheel"][:, 1] * 1.25).all()
    assert (at["left_roof_front"][:, 2] > at["left_roof_back"][:, 2]).all()
    assert at["left_arm_end"][:, 1].min() > -300 and (at["left_back_wheel"][:, 0] > 0).all()


def test_excavators_fold_like_an_arm():
    at = fleet("excavator12").at
    boom, stick, bucket = (
        at[b] - at[a] for a, b in (("boom_foot", "boom_end"), ("boom_end", "stick_end"), ("stick_end", "bucket_tip"))
    )  # fmt: skip
    up = torch.rad2deg(torch.asin(boom[:, 1] / boom.norm(dim=-1)))
    assert up.min() >= 5 - 1e-6 and up.max() <= 66 + 1e-6
    fold = angle(boom, stick)
    assert fold.min() >= 35 - 1e-6 and fold.max() <= 140 + 1e-6
    assert angle(stick, bucket).max() <= 110 + 1e-6
    normal = torch.linalg.cross(boom, stick)
    flat = (normal * bucket).sum(-1) / (normal.norm(dim=-1) * bucket.norm(dim=-1))
    assert flat.abs().max() < 1e-6  # one plane
    house = (at["left_roof"] - at["right_roof"])[:, [2, 0]]
    slew = torch.rad2deg(torch.atan2(-house[:, 0], house[:, 1]))
    assert slew.abs().max() <= 80 + 1e-6 and slew.std() > 15
    assert (at["left_track_front"][:, 0] > 0).all() and (at["left_roof"][:, 1] > at["left_tail"][:, 1]).all()


def test_a_range_that_is_missing_is_named():
    with pytest.raises(KeyError, match="gauge"):
        vehicles.excavator(10, torch.Generator(), {"one": {"track": [1, 2]}}, {"go": [1]})
