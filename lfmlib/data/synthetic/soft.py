"""Things without joints: cloth, paper, rope, flags. Rows of a sheet are letters from the top, its columns numbers.

Paper and rope keep their lengths exactly; the threads of cloth and flags do to within a few per cent.
"""

import math

import torch
from numpy.polynomial.legendre import leggauss
from torch import Generator, Tensor

from lfmlib.data.synthetic.draw import Kinds, Made, Number, Stock, chosen
from lfmlib.data.synthetic.limbs import turn

LAYS = ("ground", "hands", "swing", "coil", "knot", "heap")
ROUNDS = 14  # of settling: cloth falls a little and its threads pull it together again
BLOCK = 1024  # frames of a sheet that are settled at a time: they stay in the processor's cache
NODES, WEIGHTS = ((1 + leggauss(8)[0]) / 2, leggauss(8)[1] / 2)  # Gauss and Legendre's points on [0, 1]


def paper(count: int, generator: Generator, kinds: Kinds, rows: int = 4, columns: int = 5) -> Made:
    """Sheets that bend without stretching: two bends about lines that do not cross on the sheet, flat between them.

    A bend is a generalised cylinder, its curvature linear in the distance from the line; it may begin with a crease.
    Where the lines coincide the two make one cylinder, S-shaped or rolled.
    """
    its = Stock(count, generator, kinds, clips=4, longest=25)
    width, height, curl, gain, crease = its.picks()
    by = its.by_motion
    half = (width.square() + height.square()).sqrt() / 2
    flat = _sheet(width, height, rows, columns)  # [F, N, 2]
    centre = torch.stack((width * by(-0.2, 0.2), height * by(-0.2, 0.2)), 1)
    strip = half * by(0, 0.45) * (by(0, 1) < 0.6)  # half the width of the flat part
    first = by(0, math.tau)
    askew = 2 * (strip / (half + centre.norm(dim=1))).asin()  # the lines cross beyond the sheet's corners
    second = first + math.pi + askew * by(-1, 1)
    at = torch.cat((flat, torch.zeros_like(flat[..., :1])), 2)
    for angle in (first, second):
        normal = torch.stack((angle.cos(), angle.sin()), 1)
        beyond = (((flat - centre[:, None]) * normal[:, None]).sum(2) - strip[:, None]).clamp(min=0)  # [F, N]
        sign = by(-1, 1).sign()
        folded = sign * crease * its.swing(0, 1) * (by(0, 1) < 0.35)
        once, more = sign * curl * its.swing(0, 1) / half, gain * its.swing(-1, 1) / half.square()
        along, up = _bent(beyond, *(torch.deg2rad(v) for v in (folded, once, more)))
        at = at + torch.cat(((along - beyond)[..., None] * normal[:, None], up[..., None]), 2)
    lies = turn("y", by(-180, 180)) @ turn("x", by(-100, 20)) @ turn("z", by(-180, 180) + its.noise(4))
    return its.made(_named(at @ lies.mT, rows, columns))


def _bent(length: Tensor, start: Tensor, once: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
    """Where strips of a length [F, N] end that leave the plane at `start` and turn on by once * s + more * s^2 rad."""
    along, up = torch.zeros_like(length), torch.zeros_like(length)
    for node, weight in zip(NODES.tolist(), WEIGHTS.tolist(), strict=True):  # the integrals of its cosine and sine
        angle = start[:, None] + (once[:, None] + more[:, None] * (node * length)) * (node * length)
        along += weight * angle.cos()
        up += weight * angle.sin()
    return length * along, length * up


def rope(count: int, generator: Generator, kinds: Kinds, points: int = 16) -> Made:
    """Ropes of equal segments: on the ground, between two hands, swung, coiled, in loops and knots, in a heap."""
    its = Stock(count, generator, kinds, clips=len(LAYS), longest=25)
    length, wild, turns = its.picks()
    by = its.by_motion
    s = torch.arange(points - 1, dtype=torch.float64) / (points - 2)  # [S]

    def wave(size: Tensor, low: Number, high: Number, speed: Number) -> Tensor:
        cycle = math.tau * by(low, high)[:, None] * s  # so many waves on the rope run along it
        return size[:, None] * (cycle + (by(0, math.tau) + speed * its.phase)[:, None]).sin()

    rings, side = torch.where(by(0, 1) < 0.6, 1.0, 2.0)[:, None], by(-1, 1).sign()[:, None]
    wide = (by(0.42, 0.6)[:, None] * rings).clamp(max=0.96)  # share of the rope that the knot takes
    ease = ((s - by(0, 1)[:, None] * (1 - wide)) / wide).clamp(0, 1)  # from before the knot to after it
    loop = ease - 0.4 * torch.sin(math.tau * ease) / math.tau
    meander = wave(wild, 0.3, 1.1, 0.5) + wave(wild * by(0.05, 0.3), 1.0, 2.0, -0.7)
    tight = s + by(0, 0.8)[:, None] * s.square()
    yaw = {
        "ground": meander,
        "hands": 0.3 * wave(wild, 0.3, 0.8, 1.0),
        "swing": wave(wild, 0.2, 0.6, 1.0),
        "coil": side * 360 * (turns * its.swing(0.6, 1.0))[:, None] * tight / tight[:, -1:],
        "knot": 0.6 * meander + side * 360 * rings * loop * its.swing(0.4, 1.0)[:, None],
        "heap": meander + wave(1.2 * wild, 0.4, 0.9, 0.4),
    }
    pitch = {
        "ground": 0.04 * wave(wild, 0.5, 1.5, 0.3),
        "hands": torch.rad2deg(torch.atan((s - by(0.35, 0.65)[:, None]) * its.swing(1.2, 6.5)[:, None])),
        "swing": -80 + wave(0.5 * wild, 0.2, 0.7, 1.0),
        "coil": by(2, 14)[:, None] + 0.05 * wave(wild, 1.0, 2.0, 0.5),
        "knot": by(14, 38)[:, None] * torch.sin(math.tau * rings * ease + by(-0.8, 0.8)[:, None]),
        "heap": 0.45 * wave(wild, 0.5, 1.3, 0.4),
    }
    yaw, pitch = (torch.deg2rad(chosen((of[lay] for lay in LAYS), its.motion)) for of in (yaw, pitch))
    yaw = yaw + by(0, math.tau)[:, None]
    step = torch.stack((pitch.cos() * yaw.cos(), pitch.sin(), pitch.cos() * yaw.sin()), 2)  # [F, S, 3]
    step = step * (length / (points - 1))[:, None, None]
    at = torch.cat((torch.zeros(count, 1, 3, dtype=torch.float64), step.cumsum(1)), 1)
    return its.made({f"rope_{i + 1}": at[:, i] for i in range(points)})


def flag(count: int, generator: Generator, kinds: Kinds, rows: int = 4, columns: int = 6) -> Made:
    """Flags and nets in the wind, held along column 1: waves run to the free end and grow; in little wind it droops."""
    its = Stock(count, generator, kinds, clips=3, longest=25)
    length, ratio, wind, waves, lag = its.picks()
    by, noise = its.by_motion, its.noise
    breeze = (wind * by(0.7, 1.3) + noise(0.06)).clamp(0.05, 1)[:, None, None]
    c = (torch.arange(columns - 1, dtype=torch.float64) + 0.5)[None, None] / (columns - 1)
    r = torch.arange(rows, dtype=torch.float64)[None, :, None] / (rows - 1) - 0.5
    wide = lambda value: value[:, None, None]  # noqa: E731
    cycle = wide(waves * by(0.8, 1.25)) * math.tau * c + wide(lag * by(-1.5, 1.5)) * r
    run = wide(2 * its.phase)
    swell = (0.25 + c) * wide(by(30, 75)) * (0.5 + 0.5 * breeze)
    yaw = swell * torch.sin(cycle - run) + 0.35 * swell * torch.sin(1.7 * cycle - 1.4 * run + wide(by(0, 6)))
    drop = (65 * (1 - breeze).square() * (0.6 + 0.5 * c) * (1 + 0.3 * r)).expand(count, rows, columns - 1)
    yaw, drop = torch.deg2rad(yaw + wide(by(-180, 180) + noise(8))), torch.deg2rad(drop)
    cell, hoist = length / (columns - 1), length * ratio / (rows - 1)
    step = torch.stack((drop.cos() * yaw.cos(), -drop.sin(), -drop.cos() * yaw.sin()), 0)  # [3, F, R, C - 1]
    grid = torch.cat((torch.zeros(3, count, rows, 1, dtype=torch.float64), step.cumsum(3) * wide(cell)), 3)
    grid[1] -= torch.arange(rows, dtype=torch.float64)[:, None] * wide(hoist)
    free = torch.ones(rows, columns, count, dtype=torch.float64)
    free[:, 0] = 0
    grid = grid.permute(0, 2, 3, 1).contiguous()
    for few in (slice(start, start + BLOCK) for start in range(0, count, BLOCK)):
        for _ in range(8):
            _tighten(grid[..., few], free[..., few], hoist[few], cell[few], None)
    return its.made(_named(grid.permute(3, 1, 2, 0).flatten(1, 2), rows, columns))


def cloth(count: int, generator: Generator, kinds: Kinds, size: int = 5) -> Made:
    """Cloth hung from pegs or a hook, laid over a rail or a ball, wrinkled on the floor or picked up from there."""
    its = Stock(count, generator, kinds, clips=len(HOLDS), longest=25)
    width, ratio, folds, limp = its.picks()
    height, by = width * ratio, its.by_motion
    x, z = _sheet(width, height, size, size).permute(2, 1, 0).reshape(2, size, size, count)

    def wave(across: Tensor, down: Tensor, speed: Number) -> Tensor:
        return (math.tau * (across * x / width + down * z / height) + by(0, math.tau) + speed * its.phase).sin()

    ripple = wave(by(0.8, 1.8), by(-0.3, 0.3), 0.6) + 0.6 * wave(by(-1.0, 1.0), by(0.4, 1.2), -0.5)
    drawn = {
        "x": x, "z": -z, "ripple": folds * width * by(0.5, 1.2) * ripple, "width": width, "height": height,
        "near": its.swing(0.45, 0.97), "blow": its.swing(-0.35, 0.35), "lift": its.swing(0.15, 0.8) * width,
        "radius": by(0.04, 0.3), "row": by(1, size - 1).floor(), "column": by(0, size).floor(),
        "other": by(0, 1) < 0.5, "stiff": 0.3 * (1 - limp),
    }  # fmt: skip
    grid = torch.empty(3, size, size, count, dtype=torch.float64)
    for i, (name, start) in enumerate(HOLDS.items()):
        for few in (its.motion == i).nonzero().squeeze(1).split(BLOCK):
            mine = {key: value[..., few] for key, value in drawn.items()}
            cells = mine["height"] / (size - 1), mine["width"] / (size - 1)
            sheet, held, solid = start(mine, torch.arange(size)[:, None, None], torch.arange(size)[:, None])
            free = 1 - held.double().expand(size, size, len(few))
            for past in range(ROUNDS):
                firm = past % 2 == 0 and past < ROUNDS - 5  # the last rounds pull it together only
                if name != "floor" and past < ROUNDS - 5:
                    sheet[1] -= free * 0.08 * cells[1]
                _tighten(sheet, free, *cells, (mine["stiff"], 0.15 + mine["stiff"]) if firm else None)
                _push(sheet, solid, name == "ball")
                if name == "floor":
                    sheet[1].clamp_(min=0)
            grid[..., few] = sheet
    return its.made(_named(grid.permute(3, 1, 2, 0).flatten(1, 2), size, size))


def _hung(p: dict[str, Tensor], row: Tensor, column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By two corners, or by one: as in all of these, where it starts, where it is held, and the radius of its solid."""
    across, down, hook = p["x"] + p["width"] / 2, p["height"] / 2 + p["z"], p["other"]
    held = (row == 0) & ((column == 0) | (column == len(row) - 1) & ~hook)
    pegs = p["x"] * p["near"], -0.96 * down, p["ripple"] * (0.2 + down / p["height"])
    peg = 0.4 * (across - down), -0.66 * (across + down), 0.8 * p["ripple"]
    far = torch.where(hook, across + down, 0.9 * down)
    start = torch.where(hook, torch.stack(peg), torch.stack(pegs))
    start[2] += p["blow"] * far.square() / p["height"]
    return start, held, 0 * p["width"]


def _rail(p: dict[str, Tensor], row: Tensor, column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    bar = 0.4 * p["radius"] * p["height"]
    off = p["height"] * (0.5 - p["row"] / (len(row) - 1)) + p["z"]  # from the row that lies along the rail
    arc = (off / bar).clamp(-math.pi / 2, math.pi / 2)
    sunk = (off.abs() - math.pi / 2 * bar).clamp(min=0)
    behind = bar * arc.sin() + p["ripple"] * sunk / p["height"] + p["blow"] * 0.3 * sunk
    return torch.stack((p["x"], bar * arc.cos() - bar - sunk, behind)), row == p["row"], bar


def _ball(p: dict[str, Tensor], row: Tensor, column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    ball = p["radius"] * p["width"]
    far = (p["x"].square() + p["z"].square()).sqrt()
    polar, fallen = (far / ball).clamp(max=1.7), (far - 1.7 * ball).clamp(min=0)
    out = (ball * polar.sin() + 0.3 * fallen + p["ripple"] * polar / 3) / far.clamp(min=1e-6)
    start = torch.stack((p["x"] * out, ball * polar.cos() - ball - 0.95 * fallen, p["z"] * out))
    return start, ((row == len(row) // 2) & (column == len(row) // 2)).expand(far.shape), ball


def _floor(p: dict[str, Tensor], row: Tensor, column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grip = (row == p["row"]) & (column == p["column"])
    x, z = (p[axis] - (p[axis] * grip).sum((0, 1)) for axis in "xz")
    cone = (1 - (x.square() + z.square()).sqrt() / (1.3 * p["lift"])).clamp(min=0) * p["other"]
    draw, squeeze = 1 - 0.5 * cone, torch.where(p["other"], 1.0, 0.6 + 0.4 * p["near"])
    up = p["lift"] * cone + p["ripple"].abs() * (1 - cone)
    return torch.stack((x * draw * squeeze, up - up.amin((0, 1)), z * draw)), grip & p["other"], 0 * p["lift"]


HOLDS = {"hung": _hung, "rail": _rail, "ball": _ball, "floor": _floor}


def _tighten(sheet: Tensor, free: Tensor, down: Tensor, across: Tensor, firm: tuple[Tensor, Tensor] | None) -> None:
    """Pulls each two neighbours to their distance, one set of threads after the other, in place.

    Args:
        sheet: [3, R, C, F]; free: 1, or 0 where held, [R, C, F].
        down, across: distance of rows and of columns, [F].
        firm: how far the diagonals of the cells, and points two cells apart, are pulled as well, 0 to 1, [F].
    """
    every, left, right = slice(None), slice(0, -1), slice(1, None)
    for half in (0, 1):  # no point is in two pairs of a set
        a, b = slice(half, -1, 2), slice(half + 1, None, 2)
        springs = [((a, every), (b, every), down, 1.0), ((every, a), (every, b), across, 1.0)]
        if firm is not None:
            c, d = (slice(2, -2), slice(4, None)) if half else (slice(0, 2), slice(2, 4))
            slope = (down.square() + across.square()).sqrt()
            springs += [((a, left), (b, right), slope, firm[0]), ((a, right), (b, left), slope, firm[0])]
            springs += [((c, every), (d, every), 2 * down, firm[1]), ((every, c), (every, d), 2 * across, firm[1])]
        for p, q, rest, stiff in springs:
            here, there = sheet[:, *p], sheet[:, *q]
            apart = there - here
            pull = 1 - rest * apart.square().sum(0).clamp_(min=1e-9).rsqrt_()
            pull *= stiff / (free[p] + free[q]).clamp_(min=1)
            here += (free[p] * pull) * apart
            there -= (free[q] * pull) * apart


def _push(sheet: Tensor, radius: Tensor, round_: bool) -> None:
    """Pushes a sheet out of a ball, or a bar along x, whose top is the origin, in place; [3, R, C, F] and [F]."""
    x, y, z = sheet[0] * round_, sheet[1] + radius, sheet[2]
    far = (x.square() + y.square() + z.square()).sqrt()
    sheet += (radius / far.clamp(min=1e-9) - 1).clamp(0, 1) * torch.stack((x, y, z))


def _sheet(width: Tensor, height: Tensor, rows: int, columns: int) -> Tensor:
    """Grid points of a flat sheet about its middle, row by row from the top; [F, rows * columns, 2]."""
    y, x = torch.meshgrid(*(torch.linspace(0.5, -0.5, n, dtype=torch.float64) for n in (rows, columns)), indexing="ij")
    return torch.stack((-width[:, None] * x.flatten(), height[:, None] * y.flatten()), 2)


def _named(points: Tensor, rows: int, columns: int) -> dict[str, Tensor]:
    """Grid points [F, rows * columns, 3] by their names: row a, b, ... from the top, column 1, 2, ..."""
    names = [f"{chr(ord('a') + r)}{c + 1}" for r in range(rows) for c in range(columns)]
    return dict(zip(names, points.unbind(1), strict=True))
