"""Why 2D keypoints alone can give depth, and where they cannot: the measurements and figures of docs/depth_from_2d.md.

The question asked of every shape model is how likely it makes the pictures. Its noise is the likeliest one each time, so
that no model loses for having been told a noise that suits another.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from pandas import DataFrame
from scipy.optimize import minimize_scalar
from torch import Tensor

from lfmlib import data, plots, rigs
from lfmlib.data.views import normalise, upright, view_rotations
from lfmlib.handedness import handedness
from lfmlib.recipe.dreams import lift
from lfmlib.recipe.evidence import EStep, Evidence
from lfmlib.recipe.shape_model import ShapeModel
from lfmlib.studies.what_2d_determines import eq1

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

RIGID, PEOPLE = "synthetic_aeroplane8", "synthetic_body17"
HANDED = "human17_cmu"  # the annotated rig whose keypoints are those of PEOPLE
SHAPES, PICTURES = 900, 300  # people that a Gaussian is taken from; pictures, each of another person
NOISE = 0.03  # of the pictures' keypoints, RMS radii
ELEVATIONS = (-15.0, -5.0, 5.0, 15.0)
STRETCHES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0)
REACHES = (180.0, 60.0, 30.0, 10.0)  # half-widths of the range of azimuths, degrees
TRIED = tuple(min(180.0, 5 * 2 ** (k / 4)) for k in range(22))  # half-widths that a model may assume
SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
VARIANCE = 1e-5  # added to the variances of shapes
PERSON, FRONT, SIDE = 3, 30.0, 40.0  # who is drawn, from which azimuth, and how far to the side of it; degrees
ANSWERS = {"true depth": 1.0, "flat": 0.0, "doubled": 2.0, "mirrored": -1.0}  # factor of the depth


class Cameras(NamedTuple):
    """Where a shape model looks from: rotations [G, 3, 3], log-probabilities [G], wobble; see `ShapeModel`."""

    rotations: Tensor
    logs: Tensor
    wobble: tuple[float, float, float]


def cameras(reach: float = 180.0, elevations: Sequence[float] = ELEVATIONS, azimuths: int = 24) -> Cameras:
    """Cameras within `reach` degrees of the front, equally likely; symmetric to the front."""
    azimuth = (torch.arange(azimuths, dtype=torch.float64) + 0.5) / azimuths * 2 * reach - reach
    elevation = torch.tensor(elevations, dtype=torch.float64)
    a, e = torch.cartesian_prod(azimuth.deg2rad(), elevation.deg2rad()).unbind(1)
    R = view_rotations(a, e, torch.zeros_like(a))
    apart = elevations[1] - elevations[0] if len(elevations) > 1 else 0.0
    wobble = (2 * reach / azimuths / 12**0.5, apart / 12**0.5, 0.5)
    return Cameras(R, torch.full((len(R),), -math.log(len(R))).double(), tuple(math.radians(w) for w in wobble))


def shapes(name: str, count: int | None = None) -> Float[Tensor, "F N 3"]:
    """Shapes of a category, upright (y up), centred, unit RMS radius on average, facing one way; float64."""
    found = data.load(name, count=count)
    Y = found.points.double() @ upright(found.rig.up).double().mT
    Y = Y - Y.mean(1, keepdim=True)
    return facing(Y / Y.square().sum(-1).mean().sqrt())


def facing(Y: Float[Tensor, "F N 3"], rounds: int = 10) -> Float[Tensor, "F N 3"]:
    """Turns each shape about the vertical until it agrees with the mean, whose larger horizontal axis becomes x.

    Where cameras come from all sides, which way a shape faces changes nothing about its pictures.
    """
    flat, mean = torch.complex(Y[..., 0], Y[..., 2]), torch.complex(Y[0, :, 0], Y[0, :, 2])
    for _ in range(rounds):
        flat = flat * torch.sgn((flat.conj() * mean).sum(1, keepdim=True))
        mean = flat.mean(0)
    flat = flat * torch.polar(torch.ones(()).double(), -0.5 * (mean**2).sum().angle())
    return torch.stack([flat.real, Y[..., 1], flat.imag], -1)


def pictures(
    Y: Float[Tensor, "B N 3"], seed: int, reach: float = 180.0, elevation: float = 20.0, noise: float = NOISE
) -> Evidence:
    """One picture per shape: azimuth within `reach`, elevation within `elevation` degrees, noisy keypoints."""
    generator = torch.Generator().manual_seed(seed)
    a, e = torch.rand(2, len(Y), generator=generator, dtype=torch.float64) * 2 - 1
    R = view_rotations(a * math.radians(reach), e * math.radians(elevation), torch.zeros_like(a))
    X = (Y @ R.mT)[..., :2]
    X = normalise(X + noise * torch.randn(X.shape, generator=generator, dtype=torch.float64))[0]
    return Evidence(X, torch.ones(X.shape[:2], dtype=torch.bool))


def stretched(Y: Float[Tensor, "*F N 3"], factor: float) -> Float[Tensor, "*F N 3"]:
    """Shapes with their depth, as seen from the front at elevation 0, times a factor; -1 is the mirror image."""
    return Y * Y.new_tensor([1.0, 1.0, factor])


def gaussian(Y: Float[Tensor, "F N 3"], noise: float, seen_by: Cameras) -> ShapeModel:
    """One Gaussian with the shapes' mean and covariance, scaled so that the mean has unit RMS radius."""
    mean = Y.mean(0)
    square = float(mean.square().sum(-1).mean())
    d = (Y - mean).flatten(1)
    covariance = d.mT @ d / len(Y) / square + VARIANCE * torch.eye(d.shape[1]).to(d)
    R, logs, wobble = seen_by
    means = mean.flatten()[None] / square**0.5
    return ShapeModel(means, covariance[None], torch.zeros(1).to(d), noise, R, logs, wobble)


def fitted(evidence: Evidence, Y: Float[Tensor, "F N 3"], seen_by: Cameras) -> ShapeModel:
    """`gaussian` with the noise that makes the pictures likeliest."""

    def cost(log_noise: float) -> float:
        return -_mean(evidence, gaussian(Y, math.exp(log_noise), seen_by))

    best = minimize_scalar(cost, bounds=(math.log(1e-5), math.log(0.5)), method="bounded", options={"xatol": 0.02})
    return gaussian(Y, math.exp(best.x), seen_by)


def likelihood(evidence: Evidence, model: ShapeModel) -> Float[Tensor, " B"]:
    """log p(x) of each picture, up to a constant of the picture whatever the noise.

    `EStep` counts 2N numbers per picture where a centred one has 2N - 2; without the noise of the two that are always 0,
    models of different noise can be compared.
    """
    return EStep(evidence, model).likelihood() + math.log(model.noise)


def scores(evidence: Evidence, Y: Float[Tensor, "F N 3"], seen_by: Cameras) -> Float[Tensor, " B"]:
    """`likelihood` under `fitted`."""
    return likelihood(evidence, fitted(evidence, Y, seen_by))


def below_best(keys: Sequence[float], found: Sequence[Tensor], key: str = "stretch") -> DataFrame:
    """Mean log-likelihood per picture relative to the best row, and the standard error of that difference."""
    best = found[int(torch.stack([s.mean() for s in found]).argmax())]
    gaps = [s - best for s in found]
    columns = {"log_likelihood": [float(g.mean()) for g in gaps]}
    columns["error"] = [float(g.std()) / math.sqrt(len(g)) for g in gaps]
    return DataFrame({key: list(keys), **columns})


def depth_curve(name: str, seed: int = 0, stretches: Sequence[float] = STRETCHES) -> DataFrame:
    """How likely shapes of wrong depth make the pictures of a category that cameras go round."""
    Y, seen = _shapes_and_seen(name)
    evidence = pictures(seen, seed)
    return below_best(stretches, [scores(evidence, stretched(Y, c), cameras()) for c in stretches])


def blind_curve(seed: int = 0, stretches: Sequence[float] = STRETCHES) -> DataFrame:
    """Eq. 1 (share of the 2D variance) of the same stretched shapes: each picture's own, and one for all pictures."""
    Y, seen = _shapes_and_seen(RIGID)
    X = pictures(seen, seed, noise=0.0).X
    turned = view_rotations(*torch.zeros(3, 1).double())
    rows = []
    for c in stretches:
        own = torch.cat([X, c * (seen @ turned.mT)[..., 2:]], -1)  # its own x and y, and any depth will do
        rows.append((c, float(eq1(X, own, None).max()), float(eq1(X, stretched(seen, c), None).mean())))
    return DataFrame(rows, columns=["stretch", "own", "shared"])


def turning_curves(
    seed: int = 0, reaches: Sequence[float] = REACHES, stretches: Sequence[float] = STRETCHES[1:]
) -> DataFrame:
    """`depth_curve` of a rigid shape when cameras turn less, and how far they turn has to be guessed as well.

    All cameras are on the horizon. Of each stretch the likeliest range of azimuths counts, among those of `TRIED`.
    """
    Y, seen = _shapes_and_seen(RIGID)
    tables = []
    for reach in reaches:
        evidence, found = pictures(seen[:200], seed, reach, 0.0), []
        for c in stretches:
            noise = fitted(evidence, Y, cameras(reach, (0.0,))).noise
            rough = [_mean(evidence, gaussian(stretched(Y, c), 2 * noise, cameras(r, (0.0,)))) for r in TRIED]
            likely = sorted(range(len(TRIED)), key=rough.__getitem__)[-2:]
            tried = [scores(evidence, stretched(Y, c), cameras(TRIED[i], (0.0,))) for i in likely]
            found.append(max(tried, key=lambda s: float(s.mean())))
        tables.append(below_best(stretches, found).assign(reach=reach))
    return DataFrame({key: np.concatenate([t[key] for t in tables]) for key in tables[0]})


def mixed_curve(seed: int = 0, shares: Sequence[float] = SHARES) -> DataFrame:
    """How likely one Gaussian makes pictures of people when a share of the people it is taken from is mirrored."""
    Y, seen = _shapes_and_seen(PEOPLE)
    evidence, found = pictures(seen, seed), []
    for share in shares:
        sign = torch.where(torch.arange(len(Y)) < share * len(Y), -1.0, 1.0)[:, None].double()
        some = torch.cat([Y[..., :2], Y[..., 2:] * sign[..., None]], -1)
        found.append(scores(evidence, facing(some), cameras()))
    return below_best(shares, found, "share")


def ambiguity() -> tuple[DataFrame, Tensor, Tensor]:
    """One picture of a person and four shapes that explain it, seen from the front and from the side.

    Returns:
        (per answer its Eq. 1, as a share of the 2D variance, and how far it looks from the side from the nearest picture
        of the person from any azimuth, % of the picture's RMS; the answers from the front and from the side, camera
        frame [2, 4, N, 3]; pictures of the person from both [2, N, 2]). Elevation 0.
    """
    person = shapes(PEOPLE, 20)[PERSON]
    turns = torch.tensor([FRONT, FRONT + SIDE, *range(360)]).double().deg2rad()
    R = view_rotations(turns, *torch.zeros(2, len(turns)).double())
    seen = person @ R.mT  # camera frames
    X = seen[..., :2]
    front = torch.stack([stretched(seen[0], c) for c in ANSWERS.values()])
    side = front @ (R[1] @ R[0].mT).mT
    residual = eq1(normalise(X[:1])[0].expand(4, -1, -1), front, None)
    gaps = normalise(side[..., :2])[0][:, None] - normalise(X)[0]
    nearest = gaps.square().sum(-1).mean(-1).amin(1).sqrt() * 100
    table = DataFrame({"answer": list(ANSWERS), "eq1": residual.tolist(), "nearest": nearest.tolist()})
    return table, torch.stack([front, side]), X[:2]


def mirror_images(seed: int = 0) -> dict[str, tuple[np.ndarray, float]]:
    """Handedness of what a model of people and its mirror image lift from pictures, and the pictures' likelihood."""
    Y, seen = _shapes_and_seen(PEOPLE)
    evidence = pictures(seen, seed)
    model = fitted(evidence, Y, cameras())
    result = {}
    for label, m in (("model", model), ("mirrored", model.mirrored())):
        lifted = lift(m, evidence.X, evidence.visible)
        result[label] = (handedness(lifted, rigs.get(HANDED)).numpy(), _mean(evidence, m))
    return result


def _shapes_and_seen(name: str) -> tuple[Tensor, Tensor]:
    """What a model is taken from, and what its pictures show: people that it does not know, or the one rigid shape."""
    if name == RIGID:
        Y = shapes(name)[:1]
        Y = Y / Y.square().sum(-1).mean().sqrt()
        return Y, Y.expand(PICTURES, -1, -1)
    Y = shapes(name, SHAPES + PICTURES)
    return Y[:SHAPES], Y[SHAPES:]


def _mean(evidence: Evidence, model: ShapeModel) -> float:
    return float(likelihood(evidence, model).mean())


def fig_ambiguity(seed: int = 0) -> "matplotlib.figure.Figure":
    """One picture of a person and four shapes that explain it (top), and what the four look like from the side (below).

    Left half of the body dark, right half pale. Grey below: the person's true picture from there.
    """
    table, answers, X = ambiguity()
    figure, axes = plots.panels(2, 5, width=1.75, height=2.4)
    for row, ax in zip(range(2), axes[:, 0], strict=True):
        _draw(ax, X[row], plots.COLOURS["truth"])
    axes[0, 0].set_title("the picture")
    axes[1, 0].set_title(f"a picture from {SIDE:.0f} degrees\nto the side")
    for i, (record, line) in enumerate(zip(table.itertuples(), _LINES, strict=True)):
        top, below = axes[:, i + 1]
        _draw(top, answers[0, i], line)
        _draw(below, X[1], "#bbbbbb")
        _draw(below, answers[1, i], line)
        top.set_title(f"{record.answer}\nEq. 1 = {record.eq1:.0e}")
        below.set_title(f"nearest true picture\n{record.nearest:.1f} % away")
    return figure


def fig_likelihood(seed: int = 0) -> "matplotlib.figure.Figure":
    """Likelihood of many pictures against the stretch of depth, for a rigid object and for people; and Eq. 1.

    Stretched is the depth that a camera in front, on the horizon, does not see; cameras turn all round the vertical.
    Bands: two standard errors over the pictures.
    """
    figure, (rigid, people, blind) = plots.panels(1, 3, width=3.3, height=3.0)
    for ax, name, line in ((rigid, RIGID, plots.CYCLE[0]), (people, PEOPLE, plots.CYCLE[2])):
        _curve(ax, depth_curve(name, seed), "stretch", line)
        ax.set(title="one rigid object" if name == RIGID else "people, one Gaussian", ylabel=_PER_PICTURE)
    found = blind_curve(seed)
    blind.plot(found["stretch"], found["own"], "o-", ms=3, color=plots.COLOURS["flat"], label="own shape per picture")
    blind.plot(found["stretch"], found["shared"], "o-", ms=3, color=plots.CYCLE[0], label="one shape for all pictures")
    blind.set(yscale="log", ylim=(1e-36, 1e2), title="Eq. 1, the rigid object", ylabel=plots.LABELS["loss"])
    blind.legend(fontsize=7, loc="center right")
    for ax in (rigid, people, blind):
        _truth(ax)
    return figure


def fig_limits(seed: int = 0) -> "matplotlib.figure.Figure":
    """What pictures do not say: depth when cameras hardly turn (left), and which of two mirror images (right).

    Middle: one Gaussian of people, some of whom are mirrored. Right: shapes that a model of people and its mirror image
    lift from the same pictures.
    """
    figure, (turning, mixed, handed) = plots.panels(1, 3, width=3.3, height=3.0)
    found = turning_curves(seed)
    for line, (reach, curve) in zip(plots.CYCLE, found.groupby("reach", sort=False), strict=False):
        _curve(turning, curve, "stretch", line, f"{reach:.0f} degrees")
    turning.set(ylim=(-12, 0.8), ylabel=_PER_PICTURE, title="cameras that turn less")
    turning.legend(fontsize=7, loc="lower right", title="azimuth within +-", title_fontsize=7)
    _truth(turning)
    _curve(mixed, mixed_curve(seed), "share", plots.CYCLE[2])
    mixed.set(xlabel="share of people mirrored", ylabel=_PER_PICTURE, title="one Gaussian, some mirrored")
    for (label, (values, level)), line in zip(mirror_images(seed).items(), (plots.CYCLE[0], _LINES[3]), strict=True):
        handed.hist(values, np.linspace(-1, 1, 41), color=line, alpha=0.8, label=f"{label}: {level:.6f}")
    handed.set(xlabel="handedness of the lifted shapes", ylabel="pictures", title="a model and its mirror image")
    handed.legend(fontsize=7, loc="upper center", title="mean log-likelihood", title_fontsize=7)
    handed.set_ylim(top=1.45 * handed.get_ylim()[1])
    return figure


_LINES = (plots.COLOURS["truth"], plots.CYCLE[0], plots.CYCLE[1], plots.CYCLE[3])
_PER_PICTURE = "log-likelihood per picture\n(nats below the best)"


def _curve(ax: "matplotlib.axes.Axes", curve: DataFrame, x: str, line: str, label: str | None = None) -> None:
    y, e = curve["log_likelihood"], 2 * curve["error"]
    ax.plot(curve[x], y, "o-", ms=3, color=line, label=label)
    ax.fill_between(curve[x], y - e, y + e, color=line, alpha=0.2, lw=0)


def _truth(ax: "matplotlib.axes.Axes") -> None:
    ax.axvline(1, color=plots.COLOURS["truth"], ls="--", lw=1)
    ax.set_xlabel("depth, times the true one (0: flat)")


def _draw(ax: "matplotlib.axes.Axes", shape: Tensor, line: str) -> None:
    rig, flat = rigs.get(PEOPLE), shape[:, :2].numpy() * [1, -1]  # y of pictures is down
    right = {i for _, i in rig.symmetry}
    for a, b in rig.edges:
        pale = 0.4 if {a, b} & right else 1.0
        ax.plot(*flat[[a, b]].T, color=line, lw=2, alpha=pale, solid_capstyle="round")
    ax.set_axis_off()
    ax.set(aspect="equal", xlim=(-1.6, 1.6), ylim=(-2.0, 2.0))
