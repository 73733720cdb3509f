"""Synthetic soft things: lengths that bending keeps, solids and grounds that nothing enters, clips that flow."""

import pytest
import torch
from shapes_of import made, shapes_of, sound

from lfmlib.data import synthetic
from lfmlib.data.synthetic import soft

ALL = ("cloth25", "paper20", "rope16", "flag24")
SIZE = {"cloth25": (350, 650), "paper20": (80, 170), "rope16": (300, 800), "flag24": (600, 1300)}
CLOTH = {"k": {"width": [500, 500], "ratio": [1.2, 1.2], "folds": [0.04, 0.14], "limp": [0.2, 1]}}
FLAG = {"k": {"length": [1000, 1000], "ratio": [0.6, 0.6], "wind": [0.1, 1], "waves": [0.6, 1.5], "lag": [0, 1.4]}}
SHEET = {"k": {"width": [210, 210], "height": [297, 297], "curl": [20, 200], "gain": [0, 80], "crease": [0, 0]}}


def grid(sheet, rows, columns):
    """Points of a sheet, [F, R, C, 3]."""
    names = [f"{chr(ord('a') + r)}{c + 1}" for r in range(rows) for c in range(columns)]
    return torch.stack([sheet.at[name] for name in names], 1).unflatten(1, (rows, columns))


def threads(points, down, across):
    """Relative stretch of each thread between two neighbours, [F, *]."""
    stretch = [points.diff(dim=1 + i).norm(dim=-1) / rest - 1 for i, rest in enumerate((down, across))]
    return torch.cat([s.flatten(1) for s in stretch], 1)


@pytest.mark.parametrize("name", ALL)
def test_size_and_sub_types(name):
    low, high = SIZE[name]
    said = synthetic.entry(f"synthetic_{name}")
    assert low < shapes_of(name, 1500).radius < high and said.rig.symmetry == ()
    assert len(said.shape["kinds"]) >= 5 and sound(said.shape["kinds"])


@pytest.mark.parametrize("name", ALL)
def test_clips_flow(name):
    shapes = shapes_of(name, 4000)
    step = (shapes.points[1:] - shapes.points[:-1]).norm(dim=-1).mean(1)
    same = shapes.sequence[1:] == shapes.sequence[:-1]
    assert 0 < step[same].median() < 0.25 * step[~same].median()
    assert step[same].max() < step[~same].max()


@pytest.mark.parametrize("name", ["cloth25", "paper20", "flag24"])
def test_quads_of_a_sheet_are_faces(name):
    said = synthetic.entry(f"synthetic_{name}")
    rows = int(said.rig.n**0.5)
    assert len(said.surface.faces) == 2 * (rows - 1) * (said.rig.n // rows - 1) and len(said.surface.ends) == 0


def test_paper_keeps_every_length(generator):
    """On a fine grid each small square keeps its sides and its diagonals: bending is isometric."""
    rows, columns = 25, 31
    points = grid(soft.paper(200, generator, SHEET, rows, columns), rows, columns)
    down, across = 297 / (rows - 1), 210 / (columns - 1)
    diagonal = (points[:, 1:, 1:] - points[:, :-1, :-1]).norm(dim=-1) / (down**2 + across**2) ** 0.5 - 1
    for stretch in (threads(points, down, across), diagonal.flatten(1)):
        assert stretch.max() < 1e-9 and stretch.min() > -0.02 and stretch.mean() > -1e-3  # chords of arcs


def test_no_two_points_of_paper_are_farther_apart_than_on_the_sheet(generator):
    kinds = {"k": SHEET["k"] | {"crease": [0, 140]}}
    points = grid(soft.paper(2000, generator, kinds), 4, 5).flatten(1, 2)
    flat = soft._sheet(torch.tensor([210.0]), torch.tensor([297.0]), 4, 5)
    assert (torch.cdist(points, points) - torch.cdist(flat, flat)).max() < 1e-6
    thick = torch.linalg.svdvals(points - points.mean(1, keepdim=True))[:, 2]
    assert thick.median() > 20 and thick.min() < 10  # most are bent, some lie nearly flat


def test_paper_without_curl_is_a_rectangle(generator):
    kinds = {"k": {"width": [210, 210], "height": [297, 297], "curl": [0, 0], "gain": [0, 0], "crease": [0, 0]}}
    points = grid(soft.paper(50, generator, kinds), 4, 5)
    assert threads(points, 99, 52.5).abs().max() < 1e-9
    corners = points[:, [0, -1, 0, -1], [0, -1, -1, 0]]
    assert torch.allclose((corners[:, 0] - corners[:, 1]).norm(dim=-1), (corners[:, 2] - corners[:, 3]).norm(dim=-1))


def test_bend_integrates_its_angle():
    length, steps = 3.0, 200_000
    s = (torch.arange(steps, dtype=torch.float64) + 0.5) * length / steps
    of = [torch.tensor([value], dtype=torch.float64) for value in (0.4, 1.1, 0.3)]
    angle = of[0] + of[1] * s + of[2] * s.square()
    along, up = soft._bent(torch.tensor([[length]], dtype=torch.float64), *of)
    assert float(along) == pytest.approx(float(angle.cos().mean() * length), abs=1e-6)
    assert float(up) == pytest.approx(float(angle.sin().mean() * length), abs=1e-6)


def test_rope_has_equal_segments_and_lies_in_many_ways():
    rope = made("rope16", 6000)
    points = torch.stack([rope.at[f"rope_{i}"] for i in range(1, 17)], 1)
    step = points.diff(dim=1)
    length = step.norm(dim=-1)
    assert (length / length.mean(1, keepdim=True) - 1).abs().max() < 1e-9
    straight = torch.nn.functional.cosine_similarity(step[:, 1:], step[:, :-1], dim=-1)
    assert straight.quantile(0.01) > 0 and straight.median() > 0.85  # bends, but few sharp ones
    lay = rope.sequence % len(soft.LAYS)
    ends = (points[:, 0] - points[:, -1]).norm(dim=-1) / (15 * length[:, 0])
    assert ends.min() < 0.15 and ends.max() > 0.9
    height = (points[..., 1].amax(1) - points[..., 1].amin(1)) / (15 * length[:, 0])
    low, hands, swung = (lay == soft.LAYS.index(name) for name in ("ground", "hands", "swing"))
    assert height[low].max() < 0.2 and height[swung].min() > 0.3
    assert (points[hands, 8, 1] < points[hands, 0, 1]).all() and (points[hands, 8, 1] < points[hands, 15, 1]).all()


def test_loops_go_around():
    """A coil's and a knot's direction turns by about whole rounds."""
    rope = made("rope16", 3000, seed=1)
    step = torch.stack([rope.at[f"rope_{i}"] for i in range(1, 17)], 1).diff(dim=1)
    yaw = torch.atan2(step[..., 2], step[..., 0]).diff(dim=1)
    turned = (torch.remainder(yaw + torch.pi, 2 * torch.pi) - torch.pi).sum(1).abs() / (2 * torch.pi)
    coils, knots = (turned[rope.sequence % len(soft.LAYS) == soft.LAYS.index(lay)] for lay in ("coil", "knot"))
    assert coils.median() > 0.9 and coils.max() > 1.5 and knots.median() > 0.6 and knots.max() > 1.3


def test_cloth_hardly_stretches(generator):
    stretch = threads(grid(soft.cloth(3000, generator, CLOTH), 5, 5), 150, 125).flatten()
    assert stretch.abs().mean() < 0.015 and stretch.quantile(0.999) < 0.12 and stretch.quantile(0.001) > -0.09


def test_cloth_is_held_where_it_hangs(generator, monkeypatch):
    pushed, push = [], soft._push
    monkeypatch.setattr(soft, "_push", lambda *a: (pushed.append((bool((a[1] > 9).all()), a[2])), push(*a))[1])
    cloth = soft.cloth(4000, generator, CLOTH)
    assert {(True, True), (True, False)} <= set(pushed)  # out of a ball, and out of a bar
    points = grid(cloth, 5, 5)
    hold = cloth.sequence % len(soft.HOLDS)
    hung, rail, ball, floor = (points[hold == i] for i in range(4))
    assert hung[..., 1].max() < 30 and hung[:, 0, 0, 1].abs().max() < 1e-9  # a corner is the highest point
    pegs = hung[:, 0, 4, 1].abs() < 1e-9
    assert 0.3 < pegs.double().mean() < 0.7
    assert (hung[~pegs][:, 4, 4, 1] < -400).all()  # by one corner: the opposite one is lowest
    assert rail[..., 1].max() < 40 and (rail[..., 1].amin((1, 2)) < -120).all()
    on = rail[..., 1:].norm(dim=-1).amax(2)  # of each row, from the rail
    assert on.amin(1).max() < 1e-9
    assert (rail[:, 0, :, 2].mean(1) + 30 < rail[:, -1, :, 2].mean(1)).all()  # one half on either side
    assert ball[:, 2, 2].abs().max() < 1e-9 and (ball[:, [0, 0, 4, 4], [0, 4, 0, 4], 1] < -100).all()
    assert floor[..., 1].min() >= 0 and floor[..., 1].amax((1, 2)).max() > 200
    assert floor[..., 1].amin((1, 2)).max() < 40  # and it does lie there


def test_solids_push_out():
    sheet = torch.zeros(3, 1, 1, 4, dtype=torch.float64)
    sheet[0, 0, 0] = torch.tensor([0.0, 5, 0, 50])
    sheet[1, 0, 0] = torch.tensor([-4.0, -10, 3, -10])
    sheet[2] = 1e-3
    for is_ball in (True, False):
        moved = sheet.clone()
        soft._push(moved, torch.full((4,), 10.0, dtype=torch.float64), is_ball)
        axis = torch.stack((moved[0] * is_ball, moved[1] + 10, moved[2]))
        far = axis.square().sum(0).sqrt().flatten()
        assert float(far[0]) == pytest.approx(10) and torch.equal(moved[..., 2:3], sheet[..., 2:3])
        assert torch.equal(moved[..., 3], sheet[..., 3]) == is_ball  # beside the ball, but inside the bar


def test_tightening_mends_lengths_and_moves_nothing_that_is_held(generator):
    sheet = torch.randn(3, 4, 6, 50, generator=generator, dtype=torch.float64) * 3
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    sheet[0] += 10 * columns.double()[..., None]
    sheet[1] += 10 * rows.double()[..., None]
    free = torch.ones(4, 6, 50, dtype=torch.float64)
    free[:, 0] = 0
    held, apart = sheet[:, :, 0].clone(), torch.full((50,), 10.0, dtype=torch.float64)
    before = threads(sheet.permute(3, 1, 2, 0), 10, 10)[:, 18:].abs().mean()
    for _ in range(30):
        soft._tighten(sheet, free, apart, apart, None)
    assert torch.equal(sheet[:, :, 0], held)
    assert threads(sheet.permute(3, 1, 2, 0), 10, 10)[:, 18:].abs().mean() < 0.3 * before


def test_flag_keeps_its_pole_and_its_lengths(generator):
    points = grid(soft.flag(3000, generator, FLAG), 4, 6)
    pole = torch.stack((torch.zeros(4), -200 * torch.arange(4.0), torch.zeros(4)), 1).double()
    assert (points[:, :, 0] - pole).abs().max() < 1e-9
    stretch = threads(points, 200, 200)
    assert stretch.abs().mean() < 0.01 and stretch.abs().quantile(0.999) < 0.06
    droop = points[:, 0, 0, 1] - points[:, 0, -1, 1]
    assert droop.max() > 300 and droop.median() < 300
    rear = points[:, :, -1] - points[:, :, 0]
    assert rear[..., [0, 2]].norm(dim=-1).mean() > 500
