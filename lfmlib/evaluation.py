"""What a lifter gets right: Eq. 1 on fixed views, and the errors against their truth under both read-outs."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lfmlib import geometry, metrics
from lfmlib.data.shapes import PICTURES, ShapeSet
from lfmlib.data.views import EvaluationViews, visible_or_all
from lfmlib.model import Lifter
from lfmlib.objectives.fitting import observed_with_depth, read_out
from lfmlib.objectives.masked import masked_mean
from lfmlib.objectives.plausibility import resized
from lfmlib.runs import RunConfig

FLAT, EXPLODED = 0.2, 3.0  # RMS depth in units of the picture's RMS: less is no shape, more is no object


def health(depth: float | None) -> str:
    """What the depth of a run's shapes says about it, without any label: "ok", "flat", "exploded" or "diverged"."""
    if depth is None or not math.isfinite(depth):
        return "diverged"
    return "flat" if depth < FLAT else "exploded" if depth > EXPLODED else "ok"


@torch.no_grad()
def evaluate(
    model: Lifter, config: RunConfig, views: EvaluationViews, sets: tuple[ShapeSet, ...], batch: int = 2000
) -> dict[str, Any]:
    """Eq. 1 (2D alone) and the PA-MPJPE records under both read-outs, per category and as class mean.

    Returns:
        {"eq1": mean squared residual per visible keypoint, "depth": mean RMS depth of the lifted shapes in units of
        their pictures' RMS, "fit": records, "snap": records}; see `metrics.evaluate`. The first two see 2D alone: a run
        that has collapsed has no depth, one that has exploded has too much. A depth network has the snap read-out
        alone, under both names. Of sets that hold pictures alone there are no records.
    """
    shapes, snapped, losses = [], [], []
    n_max, sizes = views.X.shape[1], [s.rig.n for s in sets]
    for start in range(0, len(views.X), batch):
        part = slice(start, start + batch)
        category = views.category[part]
        n = max(sizes[c] for c in category.unique().tolist())  # views stand in the order of the categories: cut padding
        X, visible = views.X[part, :n], None if views.visible is None else views.visible[part, :n]
        X = X.to(model.category.dtype)
        Y = model(X, visible, category)
        if config.objective.output == "depth":
            shapes.append(resized(observed_with_depth(X, Y, visible), n_max))
            snapped.append(shapes[-1])
            losses.append(X.new_zeros(len(X)))
            continue
        camera = fit(X, Y, visible, config.objective.camera)
        shapes.append(resized(Y, n_max))
        snapped.append(resized(read_out(X, Y, camera, visible, "snap"), n_max))
        seen = X.shape[1] if visible is None else visible.sum(1)
        losses.append(geometry.reprojection(X, Y, visible, config.objective.camera) / seen)
    result: dict[str, Any] = {"eq1": float(torch.cat(losses).mean()), "depth": _depth(torch.cat(snapped), views)}
    for name, P in (("fit", torch.cat(shapes)), ("snap", torch.cat(snapped))):
        result[name] = [] if sets[0].tag == PICTURES else errors(P, views, sets)
    return result


def errors(P: Tensor, views: EvaluationViews, sets: Sequence[ShapeSet]) -> list[dict[str, Any]]:
    """PA-MPJPE records of lifted shapes: each category's, then, of several, the class mean; see `metrics.evaluate`.

    Args:
        P: shapes of the views, in any frame and unit; [B, N, 3].
        views, sets: what they are measured against.
    """
    records = metrics.evaluate(
        P, views.Y, views.known, views.category, radius=[s.radius for s in sets], mm=[s.rig.mm for s in sets],
        names=[s.rig.name for s in sets],
    )  # fmt: skip
    return [r for r in records if r["category"] != metrics.POOLED]


def _depth(P: Tensor, views: EvaluationViews) -> float:
    seen = visible_or_all(views.visible, P)
    return float((masked_mean(P[..., 2].square(), seen) / masked_mean(views.X.square().sum(-1), seen)).sqrt().mean())


def fit(X: Tensor, Y: Tensor, visible: Tensor | None, kind: str) -> geometry.Camera:
    """Camera of the kind that an objective names."""
    return (geometry.solve_camera if kind == "exact" else geometry.fit_camera_algebraic)(X, Y, visible)
