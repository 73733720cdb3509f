"""Why 2D keypoints alone can give depth, and where they cannot: measurements and figures of docs/depth_from_2d.md.

Every model is asked how likely it makes the pictures, with the noise that suits it best. Shapes are upright (y up).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from pandas import DataFrame, concat
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
NOISE = 0.03  # sd of the pictures' keypoints, RMS radii
VARIANCE = 1e-5  # added to the variances of shapes
ELEVATIONS = (-15.0, -5.0, 5.0, 15.0)
STRETCHES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0)
REACHES = (180.0, 60.0, 30.0, 10.0)  # half-widths of the range of azimuths, degrees
TRIED = tuple(min(180.0, 5 * 2 ** (k / 4)) for k in range(22))  # half-widths that a model may assume
SHARES = tuple(k / 8 for k in range(9))
PERSON, FRONT, SIDE = 26, 30.0, 40.0  # who is drawn, from which azimuth, and how far to the side of it, degrees
ANSWERS = {"true depth": 1.0, "flat": 0.0, "doubled": 2.0, "mirrored": -1.0}  # factor of the depth
LINES = dict(zip(ANSWERS, (plots.COLOURS["truth"], *plots.CYCLE[:2], plots.CYCLE[3]), strict=True))
NATS = "log-likelihood per picture\n(nats below the best)"


def facing(Y: Float[Tensor, "F N 3"]) -> Float[Tensor, "F N 3"]:
    """Turns shapes about the vertical, which views from all sides do not notice, to agree with their mean."""
    flat, mean = torch.complex(Y[..., 0], Y[..., 2]), torch.complex(Y[0, :, 0], Y[0, :, 2])
    for _ in range(10):
        flat = flat * torch.sgn((flat.conj() * mean).sum(1, keepdim=True))
        mean = flat.mean(0)
    flat = flat * torch.polar(torch.ones(()).double(), -0.5 * mean.square().sum().angle())
    return torch.stack([flat.real, Y[..., 1], flat.imag], -1)


def material(name: str) -> tuple[Float[Tensor, "F N 3"], Float[Tensor, "B N 3"]]:
    """Shapes that a model is taken from, and shapes to take pictures of: other people, or the one rigid object."""
    found = data.load(name, count=None if name == RIGID else SHAPES + PICTURES)
    Y = found.points.double() @ upright(found.rig.up).double().mT
    Y = facing((Y - Y.mean(1, keepdim=True))[: 1 if name == RIGID else None])
    Y = Y / Y.square().sum(-1).mean().sqrt()
    return (Y, Y.expand(PICTURES, -1, -1)) if name == RIGID else (Y[:SHAPES], Y[SHAPES:])


def stretched(Y: Float[Tensor, "*F N 3"], factor: float) -> Float[Tensor, "*F N 3"]:
    """Shapes with their depth (z) times a factor; -1 is the mirror image."""
    return Y * Y.new_tensor([1.0, 1.0, factor])


def pictures(Y: Float[Tensor, "B N 3"], seed: int, reach: float = 180.0, elevation: float = 20.0) -> Evidence:
    """One picture per shape: azimuth within `reach`, elevation within `elevation` degrees, noisy keypoints."""
    drawn = {"generator": torch.Generator().manual_seed(seed), "dtype": torch.float64}
    a, e = torch.rand(2, len(Y), **drawn) * 2 - 1
    X = (Y @ view_rotations(a * math.radians(reach), e * math.radians(elevation), torch.zeros_like(a)).mT)[..., :2]
    X = normalise(X + NOISE * torch.randn(X.shape, **drawn))[0]
    return Evidence(X, torch.ones(X.shape[:2], dtype=torch.bool))


def gaussian(Y: Float[Tensor, "F N 3"], reach: float = 180.0, elevations: Sequence[float] = ELEVATIONS) -> ShapeModel:
    """One Gaussian with the shapes' moments, scaled to a mean of unit RMS radius; azimuths within `reach` degrees."""
    mean, azimuths = Y.mean(0), 24
    square, d = float(mean.square().sum(-1).mean()), (Y - mean).flatten(1)
    covariance = d.mT @ d / len(Y) / square + VARIANCE * torch.eye(d.shape[1]).to(d)
    azimuth = ((torch.arange(azimuths).to(d) + 0.5) / azimuths * 2 - 1) * reach
    a, e = torch.cartesian_prod(azimuth, torch.tensor(elevations).to(d)).deg2rad().unbind(1)
    R = view_rotations(a, e, torch.zeros_like(a))
    apart = elevations[1] - elevations[0] if len(elevations) > 1 else 0.0
    wobble = tuple(math.radians(step / 12**0.5) for step in (2 * reach / azimuths, apart, 2.0))
    logs, noise = torch.full((len(R),), -math.log(len(R))).to(d), NOISE**2 / square
    return ShapeModel(mean.flatten()[None] / square**0.5, covariance[None], logs.new_zeros(1), noise, R, logs, wobble)


def likelihood(evidence: Evidence, model: ShapeModel) -> Float[Tensor, " B"]:
    """log p(x) of each picture, up to a constant of the picture alone: models of any noise can be compared."""
    return EStep(evidence, model).likelihood()


def fitted(evidence: Evidence, model: ShapeModel) -> ShapeModel:
    """A model with the noise that makes the pictures likeliest."""

    def cost(log_noise: float) -> float:
        return -float(likelihood(evidence, replace(model, noise=math.exp(log_noise))).mean())

    best = minimize_scalar(cost, bounds=(math.log(1e-5), math.log(0.5)), method="bounded", options={"xatol": 0.02})
    return replace(model, noise=math.exp(best.x))


def curve(x: str, at: Sequence[float], evidence: Evidence, models: Sequence[ShapeModel]) -> DataFrame:
    """Mean log-likelihood per picture relative to the best of the models, and that difference's standard error."""
    scores = torch.stack([likelihood(evidence, fitted(evidence, model)) for model in models])
    gaps = scores - scores[int(scores.mean(1).argmax())]
    return DataFrame({x: list(at), "log_likelihood": gaps.mean(1), "error": gaps.std(1) / math.sqrt(len(evidence))})


def depth_curve(name: str, seed: int = 0, stretches: Sequence[float] = STRETCHES) -> DataFrame:
    """How likely shapes of wrong depth make the pictures of a category that cameras go round."""
    Y, seen = material(name)
    return curve("stretch", stretches, pictures(seen, seed), [gaussian(stretched(Y, c)) for c in stretches])


def blind_curve(seed: int = 0, stretches: Sequence[float] = STRETCHES) -> DataFrame:
    """Root of Eq. 1, % of the picture's RMS: the rigid object for all pictures, and (x, y, its depth) for each."""
    _, seen = material(RIGID)
    X, rows = pictures(seen, seed).X, []
    for Y in (stretched(seen, c) for c in stretches):
        own = torch.cat([X, Y[..., 2:]], -1)
        rows.append([100 * float(eq1(X, shape, None).mean()) ** 0.5 for shape in (own, Y)])
    return DataFrame(rows, columns=["own", "shared"]).assign(stretch=list(stretches))


def turning_curves(seed: int = 0, stretches: Sequence[float] = STRETCHES[1:]) -> DataFrame:
    """`depth_curve` of the rigid object when cameras turn less, and it has to be guessed how far they turn.

    Cameras are on the horizon. Of each stretch the likeliest half-width of the azimuths among `TRIED` counts.
    """
    Y, seen = material(RIGID)
    tables = []
    for reach in REACHES:
        evidence, models = pictures(seen[:200], seed, reach, 0.0), []
        for c in stretches:
            tried = [gaussian(stretched(Y, c), r, (0.0,)) for r in TRIED]
            models.append(max(tried, key=lambda m: float(likelihood(evidence, m).mean())))
        tables.append(curve("stretch", stretches, evidence, models).assign(reach=reach))
    return concat(tables)


def mixed_curve(seed: int = 0, shares: Sequence[float] = SHARES) -> DataFrame:
    """How likely one Gaussian makes pictures of people when a share of the people it is taken from is mirrored."""
    Y, seen = material(PEOPLE)
    mixed = [facing(torch.cat([stretched(Y[:n], -1.0), Y[n:]])) for n in (round(s * len(Y)) for s in shares)]
    return curve("share", shares, pictures(seen, seed), [gaussian(some) for some in mixed])


def mirror_images(seed: int = 0) -> dict[str, tuple[Float[Tensor, " B"], float]]:
    """Handedness of what a model of people and its mirror image lift from pictures, and the pictures' likelihood."""
    Y, seen = material(PEOPLE)
    evidence, found = pictures(seen, seed), {}
    model = fitted(evidence, gaussian(Y))
    for label, m in (("model", model), ("mirror image", model.mirrored())):
        lifted = lift(m, evidence.X, evidence.visible)
        found[label] = handedness(lifted, rigs.get(HANDED)), float(likelihood(evidence, m).mean())
    return found


def ambiguity() -> tuple[DataFrame, Tensor, Tensor]:
    """One picture of a person and four shapes that explain it, seen from the front and from the side.

    Returns:
        (per answer its Eq. 1, share of the 2D variance, and how far its look from the side is from the nearest picture
        of the person from any azimuth, % of the picture's RMS; answers from both sides, camera frame [2, 4, N, 3];
        the person's pictures from both [2, N, 2]). Elevation 0.
    """
    turns = torch.tensor([FRONT, FRONT + SIDE, *range(360)]).double().deg2rad()
    R = view_rotations(turns, *torch.zeros(2, len(turns)).double())
    seen = material(PEOPLE)[0][PERSON] @ R.mT
    front = torch.stack([stretched(seen[0], c) for c in ANSWERS.values()])
    side = front @ (R[1] @ R[0].mT).mT
    X, looks = (normalise(Y[..., :2])[0] for Y in (seen, side))
    nearest = (looks[:, None] - X).square().sum(-1).mean(-1).amin(1).sqrt() * 100
    residual = eq1(X[:1].expand(len(front), -1, -1), front, None)
    table = DataFrame({"answer": list(ANSWERS), "eq1": residual, "nearest": nearest})
    return table, torch.stack([front, side]), seen[:2, :, :2]


def fig_ambiguity(seed: int = 0) -> "matplotlib.figure.Figure":
    """Top: a picture and four shapes that explain it. Below: the same from the side, on grey, the person from there."""
    table, answers, X = ambiguity()
    figure, axes = plots.panels(2, 5, width=1.75, height=2.15)
    for x, ax, title in zip(X, axes[:, 0], ("the picture\n", f"the person from\n{SIDE:.0f}° to the side"), strict=True):
        _draw(ax, x, plots.COLOURS["truth"], title)
    for i, row in enumerate(table.itertuples()):
        _draw(axes[0, i + 1], answers[0, i], LINES[row.answer], f"{row.answer}\nEq. 1 = {row.eq1:.0e}")
        _draw(axes[1, i + 1], X[1], "#bbbbbb")
        _draw(axes[1, i + 1], answers[1, i], LINES[row.answer], f"nearest true\npicture: {row.nearest:.1f} %")
    return figure


def fig_likelihood(seed: int = 0) -> "matplotlib.figure.Figure":
    """Likelihood of pictures from all round against the stretch of depth: one rigid object, people; right: Eq. 1."""
    figure, (rigid, people, blind) = plots.panels(1, 3, width=3.3, height=2.8)
    found = blind_curve(seed)
    _line(rigid, depth_curve(RIGID, seed), plots.CYCLE[0], "one rigid object")
    _line(people, depth_curve(PEOPLE, seed), plots.CYCLE[2], "people, one Gaussian")
    for key, line, label in (("shared", 0, "one shape for all pictures"), ("own", 1, "a shape per picture")):
        blind.plot("stretch", key, "o-", data=found, ms=3, color=plots.CYCLE[line], label=label)
    blind.set(title="Eq. 1, the rigid object", ylabel="root of Eq. 1\n(% of the picture's RMS)")
    blind.legend(fontsize=8, frameon=True, framealpha=1, edgecolor="none")
    for ax in (rigid, people, blind):
        ax.axvline(1, color=plots.COLOURS["truth"], ls="--", lw=1)
        ax.set_xlabel("depth, times the true one (0: flat)")
    return figure


def fig_limits(seed: int = 0) -> "matplotlib.figure.Figure":
    """Left: depth when cameras turn less. Middle: people partly mirrored. Right: a model and its mirror image."""
    figure, (turning, mixed, handed) = plots.panels(1, 3, width=3.3, height=2.8)
    for line, (reach, found) in zip(plots.CYCLE, turning_curves(seed).groupby("reach", sort=False), strict=False):
        _line(turning, found, line, "cameras that turn less", f"±{reach:.0f}°")
    turning.set(ylim=(-12.5, 0.8), xlabel="depth, times the true one")
    turning.axvline(1, color=plots.COLOURS["truth"], ls="--", lw=1)
    turning.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.6, 0), title="azimuths", title_fontsize=8)
    _line(mixed, mixed_curve(seed), plots.CYCLE[2], "one Gaussian, some people mirrored")
    mixed.set_xlabel("share of people that is mirrored")
    for (label, (values, level)), line in zip(mirror_images(seed).items(), plots.CYCLE[::3], strict=False):
        handed.hist(values.numpy(), np.linspace(-1, 1, 41), color=line, alpha=0.8, label=f"{label}: {level:.6f}")
    handed.set(xlabel="handedness of the lifted shapes", ylabel="pictures", title="a model and its mirror image")
    handed.set_ylim(top=1.5 * handed.get_ylim()[1])
    handed.legend(fontsize=8, loc="upper center", title="mean log-likelihood", title_fontsize=8)
    return figure


def _line(ax: "matplotlib.axes.Axes", found: DataFrame, line: str, title: str, label: str | None = None) -> None:
    x, y, e = found.iloc[:, 0], found["log_likelihood"], 2 * found["error"]
    ax.plot(x, y, "o-", ms=3, color=line, label=label)
    ax.fill_between(x, y - e, y + e, color=line, alpha=0.2, lw=0)
    ax.set(title=title, ylabel=NATS)


def _draw(ax: "matplotlib.axes.Axes", shape: Tensor, line: str, title: str | None = None) -> None:
    rig, flat = rigs.get(PEOPLE), shape[:, :2].numpy() * [1, -1]  # y of pictures is down
    right = {i for _, i in rig.symmetry}
    for a, b in rig.edges:
        ax.plot(*flat[[a, b]].T, color=line, lw=2, alpha=0.4 if {a, b} & right else 1, solid_capstyle="round")
    ax.set_axis_off()
    ax.set(aspect="equal", xlim=(-1.5, 1.5), ylim=(-2.1, 1.7))
    ax.set_title(title or ax.get_title(), fontsize=9)
