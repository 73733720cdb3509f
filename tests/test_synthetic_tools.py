"""Synthetic tools: halves that stay rigid and turn about their joint, parts in their order, left at the left."""

import math

import pytest
import torch
from shapes_of import apart, made, means, mirrored, shapes_of, sound, within

from lfmlib.data import synthetic

ALL = [name for name in synthetic.categories() if synthetic.entry(name).maker.startswith("tools.")]
SIZE = {  # RMS radius over the whole category, mm
    "laptop12": (150, 220), "scissors11": (50, 85), "pliers11": (50, 85), "hammer10": (110, 200),
    "spectacles13": (50, 75), "mug13": (45, 80), "guitar13": (220, 330), "umbrella13": (400, 650),
    "pocket_knife10": (40, 65), "headphones13": (80, 120),
}  # fmt: skip
SCISSORS = ("shank", "loop_inner", "loop_outer", "loop_end")
CUPS = ("cup_top", "cup_bottom", "cup_front", "cup_back")
RIGID = [  # parts of one piece
    ("laptop12", ["base_front_left", "base_back_right", "keyboard_left", "touchpad_right"]),
    ("laptop12", ["screen_bottom_left", "screen_bottom_right", "screen_top_left", "screen_top_right"]),
    ("scissors11", ["pivot", "tip_left", *(f"{part}_right" for part in SCISSORS)]),
    ("scissors11", ["pivot", "tip_right", *(f"{part}_left" for part in SCISSORS)]),
    ("pliers11", ["pivot", "jaw_tip_left", "jaw_cheek_left", "neck_right", "grip_right", "end_right"]),
    ("pliers11", ["pivot", "jaw_tip_right", "jaw_cheek_right", "neck_left", "grip_left", "end_left"]),
    ("spectacles13", ["bridge", "lens_inner_left", "lens_top_right", "lens_bottom_left", "hinge_left", "hinge_right"]),
    ("spectacles13", ["hinge_left", "ear_left", "temple_left"]),
    ("umbrella13", ["ferrule", "crown", "handle", "hook"]),
    ("pocket_knife10", ["pivot", "butt", "grip_back", "grip_left", "grip_right"]),
    ("pocket_knife10", ["pivot", "heel", "edge", "spine", "tip"]),
    ("headphones13", [f"{part}_left" for part in CUPS]),
    ("headphones13", [f"{part}_right" for part in CUPS]),
]
MOVING = [  # of two pieces: their distance changes as the thing is used
    ("laptop12", "base_front_left", "screen_top_left"), ("scissors11", "tip_left", "tip_right"),
    ("pliers11", "end_left", "end_right"), ("spectacles13", "bridge", "temple_left"),
    ("umbrella13", "crown", "runner"), ("umbrella13", "rib_1", "rib_5"), ("pocket_knife10", "butt", "tip"),
    ("headphones13", "yoke_left", "yoke_right"),
]  # fmt: skip
CROSSING = {"temple", "ear"}  # parts that may come to the other side


def upright(name, count=1200, **changed):
    """Made without the hand that leans it."""
    return made(name, count, **({"tilt": 0} | changed))


def follow(a, b, who):
    """Correlation of two quantities [F] within individuals."""
    own = [value - means(value, who)[who] for value in (a, b)]
    return float(torch.corrcoef(torch.stack(own))[0, 1])


def test_every_tool_has_a_size():
    assert {name.removeprefix("synthetic_") for name in ALL} == set(SIZE)
    assert all(6 <= int(name[-2:]) <= 14 and synthetic.entry(name).samples <= 1500 for name in ALL)


@pytest.mark.parametrize("name", SIZE)
def test_size_and_sub_types(name):
    low, high = SIZE[name]
    assert low < shapes_of(name, 1500).radius < high
    kinds = synthetic.entry(f"synthetic_{name}").shape["kinds"]
    assert len(kinds) >= 5 and sound(kinds)


@pytest.mark.parametrize(("name", "parts"), RIGID)
def test_pieces_are_rigid_and_differ_between_things(name, parts):
    at, _, who = upright(name, tilt=40)
    assert int(who.max()) + 1 < len(who) / 4
    for i, a in enumerate(parts):
        for b in parts[:i]:
            assert within(apart(at, a, b), who) < 1e-6
    assert (apart(at, parts[0], parts[-1]) / apart(at, parts[0], parts[1])).std() > 0.01


@pytest.mark.parametrize(("name", "a", "b"), MOVING)
def test_joints_move(name, a, b):
    at, _, who = upright(name)
    assert within(apart(at, a, b), who) > 8


@pytest.mark.parametrize("name", SIZE)
def test_left_is_left(name):
    at = upright(name).at
    for left in (keypoint for keypoint in at if keypoint.endswith("_left")):
        if left.split("_")[0] not in CROSSING:
            right = at[left.removesuffix("left") + "right"]
            assert (at[left][:, 0] > right[:, 0] - 1e-9).all(), left


@pytest.mark.parametrize("name", ["laptop12", "hammer10", "mug13"])
def test_mirror_symmetry_is_exact(name):
    at = upright(name).at
    assert all(torch.equal(image, at[keypoint]) for keypoint, image in mirrored(at).items())


def test_tilt_turns_the_whole_thing():
    straight, tilted = (upright("guitar13", seed=3, tilt=tilt).at for tilt in (0, 35))
    neck = tilted["head"] - tilted["tail"]
    lean = torch.rad2deg((neck[:, 1] / neck.norm(dim=-1)).acos())
    assert lean.max() > 20 and lean.max() < 60
    assert torch.allclose(apart(straight, "head", "bridge").mean(), apart(tilted, "head", "bridge").mean(), rtol=0.05)


def test_laptop_lid_turns_about_the_back_edge():
    at, _, who = upright("laptop12")
    hinge = (at["base_back_left"] + at["base_back_right"]) / 2
    lid = (at["screen_top_left"] + at["screen_top_right"]) / 2 - hinge
    base = at["base_front_left"] - at["base_back_left"]
    angle = torch.rad2deg(torch.atan2(lid[:, 1], lid[:, 2])) % 360
    assert 3 < angle.min() < 40 and 250 < angle.max() < 350 and 60 < angle.median() < 150
    assert (base[:, 2] > 100).all() and within(apart(at, "screen_top_left", "screen_top_right"), who) < 1e-6
    assert (at["touchpad_left"][:, 2] > at["keyboard_left"][:, 2]).all()


def test_blades_and_jaws_open_with_their_handles():
    for name, tip, handle in (("scissors11", "tip", "loop_end"), ("pliers11", "jaw_tip", "end")):
        at, _, who = upright(name)
        gap, grip = apart(at, f"{tip}_left", f"{tip}_right"), apart(at, f"{handle}_left", f"{handle}_right")
        assert follow(gap, grip, who) > 0.8
        assert (at[f"{tip}_left"][:, 1] > at[f"{handle}_left"][:, 1]).all()


def test_hammer_head_crosses_the_handle():
    at = upright("hammer10").at
    assert (at["face_top"][:, 2] > 30).all() and (at["claw_left"][:, 2] < -20).all()
    order = [at[part][:, 1] for part in ("butt", "grip", "eye_bottom", "eye_top")]
    assert all((above > below + 10).all() for below, above in zip(order, order[1:], strict=False))


def test_temples_fold_inwards_behind_the_lenses():
    at = upright("spectacles13", 3000).at
    for side, sign in (("left", 1), ("right", -1)):
        hinge, tip = at[f"hinge_{side}"], at[f"temple_{side}"]
        assert (tip[:, 2] < hinge[:, 2] + 5).all() and (sign * (tip - hinge)[:, 0] < 25).all()
        assert (tip[:, 1] < hinge[:, 1] + 15).all()
        is_open = sign * tip[:, 0] > 40
        assert 0.15 < is_open.double().mean() < 0.75
    assert (at["lens_top_left"][:, 1] > at["lens_bottom_left"][:, 1] + 20).all()
    assert (at["bridge"][:, 2] > at["hinge_left"][:, 2]).all()


def test_handle_is_behind_the_mug_and_the_spout_before_it():
    at = upright("mug13").at
    rim, belly, base = (at[f"{part}_left"][:, 1] for part in ("rim", "belly", "base"))
    assert (rim > belly).all() and (belly > base).all()
    assert (at["handle_outer"][:, 2] < at["handle_top"][:, 2] - 8).all()
    assert (at["handle_top"][:, 1] > at["handle_bottom"][:, 1] + 10).all()
    pouring = at["rim_front"][:, 2] > 1.1 * -at["rim_back"][:, 2]
    assert 0.15 < pouring.double().mean() < 0.45


def test_guitar_parts_stand_in_order():
    at = upright("guitar13").at
    order = [at[part][:, 1] for part in ("tail", "bridge", "heel", "nut", "head")]
    assert all((above > below).all() for below, above in zip(order, order[1:], strict=False))
    half = {part: at[f"{part}_left"][:, 0] for part in ("bout", "waist", "shoulder")}
    assert (half["bout"] > half["shoulder"]).all() and (half["bout"] > half["waist"] + 15).all()
    horned = at["shoulder_left"][:, 1] > at["shoulder_right"][:, 1] + 5
    assert 0.2 < horned.double().mean() < 0.6  # electric ones only


def test_umbrella_opens_as_its_runner_rises():
    at, _, who = upright("umbrella13", 3000)
    ribs = torch.stack([at[f"rib_{i}"] for i in range(1, 9)], 1)
    reach = (ribs - at["crown"][:, None]).norm(dim=-1)
    assert (reach.amin(1) / reach.amax(1)).min() > 0.85  # a rib is bent, not stretched
    spread = ribs[..., [0, 2]].norm(dim=-1).mean(1)
    assert follow(spread, at["runner"][:, 1], who) > 0.85
    turns = torch.atan2(ribs[..., 0], ribs[..., 2]).diff(dim=1) % (2 * math.pi)
    assert (turns - math.pi / 4).abs().max() < 1e-6  # evenly around the shaft
    blown = (ribs[..., 1] > 0).all(1).double().mean()
    assert 0.05 < blown < 0.25 and (at["handle"][:, 1] < at["runner"][:, 1]).double().mean() > 0.99


def test_knife_folds_its_edge_into_the_handle():
    at = upright("pocket_knife10", 3000).at
    along = torch.atan2(at["spine"][:, 2] + at["edge"][:, 2], at["spine"][:, 1] + at["edge"][:, 1])
    turned = (torch.rad2deg(along) + 30) % 360 - 30
    assert turned.min() > -15 and 170 < turned.max() < 195
    opened = along.abs() < 0.05
    assert 0.05 < opened.double().mean() < 0.6 and (at["edge"] - at["spine"])[opened, 2].min() > 0
    assert (at["butt"][:, 1] < at["grip_left"][:, 1]).all() and (at["grip_front"][:, 2] > at["grip_back"][:, 2]).all()


def test_headband_bends_without_stretching():
    at, _, who = upright("headphones13")
    bend = apart(at, "band_top", "yoke_left"), apart(at, "band_top", "band_left")
    assert within(bend[0], who) < 6 and (bend[0] < 2 * bend[1]).all()
    assert torch.allclose(bend[1], apart(at, "band_left", "yoke_left"))
    middle = sum(at[f"{part}_left"] for part in CUPS) / 4
    assert (middle[:, 1] < at["yoke_left"][:, 1]).all() and (at["cup_top_left"][:, 1] > middle[:, 1]).all()
