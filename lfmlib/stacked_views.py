"""The batches of a stack: arms that draw from the same data draw together, each with its own random numbers."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lfmlib.arms import Arm
from lfmlib.data.batches import ViewSampler
from lfmlib.data.mix import Bucket
from lfmlib.data.views import EvaluationViews, Views, visible_or_all
from lfmlib.recipe.sleep import DreamSampler
from lfmlib.run_views import training_views


class Batch(NamedTuple):
    """Views of every arm: X [A, B, N, 2], visible [A, B, N] or None, category [A, B]; and the same arm by arm.

    The arms' own views have no more keypoints than their rigs; only those of 3D-supervised arms carry truth.
    """

    X: Tensor
    visible: Tensor | None
    category: Tensor
    own: tuple[Views, ...] = ()


class StackedViews:
    """Draws the views of all arms of a stack.

    Args:
        arms: in an order in which those that share a sampler stand together, see `in_order`.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        self.batch = arms[0].config.batch
        groups = [list(group) for _, group in itertools.groupby(arms, _source)]
        self.groups = [(_sampler(group), group) for group in groups]

    @staticmethod
    def in_order(arms: Sequence[Arm]) -> list[Arm]:
        """The arms, those with one source of views next to each other."""
        order: dict[tuple, list[Arm]] = {}
        for arm in arms:
            order.setdefault(_source(arm), []).append(arm)
        return [arm for group in order.values() for arm in group]

    def buckets(self, step: int) -> tuple[Bucket, ...]:
        """What the batches of a step come from: steps with the same buckets have tensors of the same shapes."""
        return tuple(sampler.mix.turn(step * _draws(group[0])) for sampler, group in self.groups)

    def draw(self, step: int, own: bool = True) -> Batch:
        """The batches of a step; `own`: also arm by arm."""
        drawn = [self._group(sampler, group, step) for sampler, group in self.groups]
        N = max(views.X.shape[1] for views in drawn)
        masked = any(views.visible is not None or views.X.shape[1] < N for views in drawn)
        by_arm = lambda values: values.unflatten(0, (-1, self.batch))  # noqa: E731
        X = _joined([by_arm(F.pad(v.X, (0, 0, 0, N - v.X.shape[1])) if v.X.shape[1] < N else v.X) for v in drawn])
        visible = _joined([by_arm(_mask(v, N)) for v in drawn]) if masked else None
        category = _joined([by_arm(v.category) for v in drawn])
        return Batch(X, visible, category, tuple(part for v in drawn for part in self._parts(v)) if own else ())

    def again(self, step: int) -> dict[str, Views]:
        """A second batch of the step for each arm with a critic, by run id."""
        return {
            arm.id: views
            for sampler, group in self.groups
            if _draws(group[0]) > 1
            for arm, views in zip(group, self._parts(self._group(sampler, group, step, 1)), strict=True)
        }

    def prepare(self) -> None:
        """Gathers the 2D statistics that some objectives rest on."""
        for sampler, group in self.groups:
            for arm in group:
                arm.objective.prepare(lambda count, a=arm, s=sampler: s.draw(count, a.generator, mixed=True))

    def _group(self, sampler: ViewSampler, group: list[Arm], step: int, second: int = 0) -> Views:
        sampler.turn = step * _draws(group[0]) + second
        count = len(group) * self.batch
        draw = sampler.draw_with_truth if group[0].config.objective.needs_shapes and not second else sampler.draw
        views = draw(count, [arm.generator for arm in group])
        views.X = views.X.to(group[0].dtype)
        if isinstance(views, EvaluationViews):
            views.Y = views.Y.to(group[0].dtype)
        return views

    def _parts(self, views: Views) -> list[Views]:
        """Views that arms drew together, arm by arm."""
        return [_part(views, slice(at, at + self.batch)) for at in range(0, len(views.X), self.batch)]


def _source(arm: Arm) -> tuple:
    """What two arms must have in common to draw together."""
    c = arm.config
    alone = arm.id if c.recipe is not None or (c.views == "fixed" and arm.objective.critic is not None) else ""
    return (
        id(arm.data), c.cameras, c.missing, c.self_occlusion, c.temperature, c.waste, c.views, _draws(arm),
        c.objective.needs_shapes, alone,
    )  # fmt: skip


def _draws(arm: Arm) -> int:
    """Batches that an arm draws in a step: its critic sees other pictures than the lifter."""
    return 1 if arm.objective.critic is None else 2


def _sampler(group: list[Arm]) -> ViewSampler:
    first, c = group[0], group[0].config
    if c.recipe is not None:
        return DreamSampler(first.woken, first.data.train, first.device, c.temperature, c.waste, c.dream_missing)
    return training_views(c, first.data.pictured(c.views), first.device, [arm.config.seed for arm in group])


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _part(views: Views, part: slice) -> Views:
    visible = None if views.visible is None else views.visible[part]
    if isinstance(views, EvaluationViews):
        return EvaluationViews(views.X[part], visible, views.category[part], views.Y[part], views.known[part])
    return Views(views.X[part], visible, views.category[part])


def _mask(views: Views, N: int) -> Tensor:
    """Visible keypoints, padded to N."""
    seen = visible_or_all(views.visible, views.X)
    return F.pad(seen, (0, N - seen.shape[1])) if seen.shape[1] < N else seen
