"""The wake phase: a category's shape model from pictures, from a rigid start to as many Gaussians as they bear out."""

import logging
import math
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib.recipe.cameras import CameraGrid
from lfmlib.recipe.config import RecipeConfig
from lfmlib.recipe.em import m_step, split
from lfmlib.recipe.evidence import Degenerate, EStep, Evidence
from lfmlib.recipe.rigid import Rigid, fit_rigid
from lfmlib.recipe.shape_model import ShapeModel

log = logging.getLogger(__name__)

RIGID_PICTURES, GAUSSIAN_PICTURES = 600, 3000  # that the first two stages look at: they have few unknowns
OTHERS = 1500  # pictures with factorisations of their own, a hundred times the work of those that share one
PER_SHAPE = 1  # pictures per number of a shape (3N) that each Gaussian must have on average
SEARCH_EVERY = 5  # steps between two searches through all cameras, where pictures have factorisations of their own
FLAT = 0.02  # third singular value of all pictures' coordinates, relative to the first, below which they span a plane
COMPLETIONS = 30  # rounds that place hidden keypoints in a plane, to see whether the pictures span more than one
DEEPEST = 5.0  # depth in widths of the picture's RMS that a shape may have from its worst side
DEVIATIONS = 1.0  # standard errors by which more Gaussians must explain held-out pictures better


@dataclass(frozen=True)
class Learned:
    """A category's shape model and how it came about.

    Args:
        model: the shapes.
        grid: the cameras, with how often each elevation is used.
        rigid: the rigid start.
        stages: one record per stage: name, components, steps, pictures, mean log-likelihood of the pictures looked at
            and of the held-out ones, seconds, whether it was chosen.
        doubts: what the pictures do not determine, in words; empty where all is well.
        candidates: the model at the end of every stage.
    """

    model: ShapeModel
    grid: CameraGrid
    rigid: Rigid
    stages: list[dict[str, Any]]
    doubts: tuple[str, ...]
    candidates: tuple[ShapeModel, ...] = ()


def learn(
    X: Float[Tensor, "B N xy"],
    visible: Bool[Tensor, "B N"],
    held_out: Evidence | None,
    config: RecipeConfig,
    generator: torch.Generator,
) -> Learned:
    """Shape model of a category from pictures alone.

    Args:
        X: pictures in random order, normalised, anything where not visible; [B, N, 2].
        visible: [B, N].
        held_out: pictures that choose the number of Gaussians; None: none is chosen beyond one.
        config: sizes of the stages.
        generator: draws starts.
    Raises:
        ValueError: no picture; fewer than 3 visible keypoints, keypoints that all coincide, or values that are not
            finite (names the picture).
    """
    _check(X, visible)
    if held_out is not None:
        _check(held_out.X, held_out.visible, "held-out picture")
    B, N = X.shape[:2]
    evidence = Evidence(X, visible).head(max(1, config.evidence // N)).thrifty(OTHERS)
    grid = CameraGrid(config.azimuths, config.elevations)
    stages: list[dict[str, Any]] = []
    candidates: list[ShapeModel] = []
    started = time.monotonic()
    few = evidence.head(RIGID_PICTURES)
    near = grid.near_horizon(config.horizon)
    rigid = fit_rigid(few.X, few.visible, near, generator, config.restarts, config.rigid)
    doubts = _doubts(evidence, rigid)
    if len(doubts) > 1:  # what is too deep by itself may be a stick; where depth is not determined it is a mistake
        rigid = _shallow(rigid)
    grid = rigid.grid if doubts or config.gaussian == 0 else grid.widened(rigid.grid)
    frozen = bool(doubts) or config.gaussian == 0
    model = _gaussian(rigid, grid, config, frozen)

    def record(name: str, model: ShapeModel, steps: int, pictures: int, likelihood: float) -> Tensor | None:
        nonlocal started
        candidates.append(model)
        scores = None if held_out is None else EStep(held_out, model).likelihood()
        stages.append({
            "stage": name, "components": len(model.means), "steps": steps, "pictures": pictures,
            "likelihood": None if math.isnan(likelihood) else likelihood,
            "held_out": None if scores is None else float(scores.mean()),
            "seconds": round(time.monotonic() - started, 2), "chosen": False,
        })  # fmt: skip
        started = time.monotonic()
        return scores

    record("rigid", model, config.rigid, len(few), rigid.likelihood)
    if frozen:
        if doubts:
            log.warning("shape model: %s; taking the rigid mean shape", "; ".join(doubts))
        stages[-1]["chosen"] = True
        return Learned(model, grid, rigid, stages, doubts, tuple(candidates))
    head = evidence.head(GAUSSIAN_PICTURES)
    climbed = _climb(head, model, grid, config, config.gaussian)
    if climbed is None:
        doubts = (f"{B} pictures do not determine how shapes of {N} keypoints vary: their covariance degenerates",)
        log.warning("shape model: %s; taking the rigid mean shape", doubts[0])
        stages[-1]["chosen"] = True
        candidates[-1] = _gaussian(rigid, rigid.grid, config, frozen=True)
        return Learned(candidates[-1], rigid.grid, rigid, stages, doubts, tuple(candidates))
    model, grid, likelihood = climbed
    grid = grid.pruned()
    model = replace(model, rotations=grid.rotations().to(X), cameras=grid.logs().to(X))
    best = record("gaussian", model, config.gaussian, len(head), likelihood), (model, grid), len(stages) - 1
    borne_out = [c for c in config.components if len(evidence) >= PER_SHAPE * 3 * N * c]
    if held_out is not None and config.mixture and borne_out:
        found = EStep(evidence, model)
        for components in borne_out:
            parts = split(found, components, generator)
            climbed = _climb(evidence, parts, grid, config, config.mixture)
            if climbed is None:
                break
            mixture, used, likelihood = climbed
            scores = record("mixture", mixture, config.mixture, len(evidence), likelihood)
            gain = scores - best[0]
            if float(gain.mean()) > DEVIATIONS * float(gain.std() / math.sqrt(len(gain))):
                best = scores, (mixture, used), len(stages) - 1
    stages[best[2]]["chosen"] = True
    return Learned(*best[1], rigid, stages, doubts, tuple(candidates))


def _climb(
    evidence: Evidence, model: ShapeModel, grid: CameraGrid, config: RecipeConfig, steps: int
) -> tuple[ShapeModel, CameraGrid, float] | None:
    """Steps of expectation-maximisation, and the likelihood before the last; None where a covariance degenerates."""
    likelihood = math.nan
    for i in range(steps):
        try:
            found = EStep(evidence, model, search=i % SEARCH_EVERY == 0)
        except Degenerate:
            return None
        likelihood = float(found.likelihood().mean())
        if not math.isfinite(likelihood):
            return None
        model, grid = m_step(found, config, grid)
    return model, grid, likelihood


def _gaussian(rigid: Rigid, grid: CameraGrid, config: RecipeConfig, frozen: bool) -> ShapeModel:
    """The rigid shape as a Gaussian: half of what it leaves unexplained is shape, half noise; `frozen`: all noise."""
    N = len(rigid.shape)
    eye = torch.eye(N, dtype=rigid.shape.dtype, device=rigid.shape.device)
    centring = torch.kron(eye - 1 / N, torch.eye(3).to(eye))
    spread = 0.0 if frozen else 0.5 * rigid.variance
    step = 360 / config.azimuths / math.sqrt(12)
    wobble = (step, float(grid.steps().mean()) * 2 / math.sqrt(12), config.wobble)
    return ShapeModel(
        rigid.shape.flatten()[None], (spread * centring + 1e-5 * torch.eye(3 * N).to(eye))[None],
        torch.zeros(1).to(eye), max(rigid.variance - spread, config.floor), grid.rotations().to(eye),
        grid.logs().to(eye), tuple(math.radians(w) for w in wobble),
    )  # fmt: skip


def _doubts(evidence: Evidence, rigid: Rigid) -> tuple[str, ...]:
    """Why the pictures do not determine how shapes vary, or not even depth."""
    B, N = evidence.X.shape[:2]
    told = []
    if B < PER_SHAPE * 3 * N:
        least = PER_SHAPE * 3 * N
        told.append(f"{B} pictures are too few to learn how shapes of {N} keypoints vary (at least {least})")
    if int(evidence.visible.sum(1).max()) >= 3:
        values = torch.linalg.svdvals(_completed(evidence))
        if len(values) < 3 or float(values[2]) < FLAT * float(values[0]):
            told.append("the pictures span a plane: one view, or keypoints in one plane; depth is not determined")
    if (deepest := depth_ratio(rigid.shape[None])) > DEEPEST:
        told.append(f"the rigid shape is {float(deepest):.1f} times deeper than wide from its worst side")
    return tuple(told)


def _completed(evidence: Evidence) -> Float[Tensor, "rows N"]:
    """Coordinates of all pictures, one row for x and one for y, with the hidden ones where a plane would have them."""
    rows, seen = evidence.X.transpose(1, 2).flatten(0, 1), evidence.visible.repeat_interleave(2, 0)
    whole, weight, ones = rows, seen.to(rows), rows.new_ones(1, rows.shape[1])
    for _ in range(0 if bool(seen.all()) else COMPLETIONS):
        plane = torch.cat([torch.linalg.eigh(whole.mT @ whole)[1][:, -2:].mT, ones])  # and a place, row by row
        normal = torch.einsum("rn,in,jn->rij", weight, plane, plane) + 1e-6 * torch.eye(3).to(rows)
        whole = torch.where(seen, rows, torch.linalg.solve(normal, rows @ plane.mT) @ plane)
        whole = whole - whole.mean(1, keepdim=True)
        rows = torch.where(seen, whole, 0)
    return whole


def _shallow(rigid: Rigid) -> Rigid:
    """The rigid start, at most `DEEPEST` times deeper than wide."""
    ratio = float(depth_ratio(rigid.shape[None]))
    if ratio <= DEEPEST:
        return rigid
    shape = rigid.shape.clone()
    axes = torch.linalg.eigh(shape[:, [0, 2]].mT @ shape[:, [0, 2]])[1]
    shape[:, [0, 2]] = shape[:, [0, 2]] @ axes @ torch.diag(axes.new_tensor([1.0, DEEPEST / ratio])) @ axes.mT
    return rigid._replace(shape=shape / shape.square().sum(1).mean().sqrt())


def depth_ratio(shapes: Float[Tensor, "B N 3"]) -> Float[Tensor, " B"]:
    """Largest RMS depth over RMS width that an upright shape shows from any azimuth at elevation 0."""
    centred = shapes - shapes.mean(1, keepdim=True)
    flat = centred[..., [0, 2]]
    values = torch.linalg.eigvalsh(flat.mT @ flat / shapes.shape[1])  # [B, 2]
    height = centred[..., 1].square().mean(1)
    return (values[:, 1] / (values[:, 0] + height).clamp_min(1e-9)).sqrt()


def _check(X: Tensor, visible: Tensor, what: str = "picture") -> None:
    if not len(X):
        raise ValueError(f"a shape model needs pictures, got no {what}")
    few, wrong = visible.sum(1) < 3, ~(X.isfinite() | ~visible[..., None]).flatten(1).all(1)
    if bool(few.any()):
        at = int(few.nonzero()[0])
        raise ValueError(f"{what} {at}: {int(visible[at].sum())} visible keypoints, a camera needs at least 3")
    if bool(wrong.any()):
        raise ValueError(f"{what} {int(wrong.nonzero()[0])}: a coordinate is not finite")
    point = torch.where(visible[..., None], X, 0).flatten(1).abs().amax(1) == 0
    if bool(point.any()):
        raise ValueError(f"{what} {int(point.nonzero()[0])}: all its keypoints coincide")


def oriented(learned: Learned) -> Learned:
    """The mirror image of a learned model, which explains the pictures as well."""
    candidates = tuple(model.mirrored() for model in learned.candidates)
    shape = learned.rigid.shape * learned.rigid.shape.new_tensor([1.0, 1.0, -1.0])
    rigid = learned.rigid._replace(shape=shape, grid=learned.rigid.grid.mirrored())
    return replace(
        learned, model=learned.model.mirrored(), grid=learned.grid.mirrored(), rigid=rigid, candidates=candidates
    )
