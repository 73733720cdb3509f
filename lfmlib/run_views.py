"""The pictures of a run: those that it trains on, and those that it is measured on."""

from collections.abc import Sequence

import torch

from lfmlib.data.batches import ViewSampler, evaluation_views
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.views import EvaluationViews
from lfmlib.runs import FIXED_VIEW_SEED, TEST_SEED, RunConfig


def training_views(
    config: RunConfig, sets: Sequence[ShapeSet], device: str = "cpu", seeds: Sequence[int] | None = None
) -> ViewSampler:
    """Draws a run's training pictures; with fixed views every frame is always seen from the same side.

    Args:
        config: of the run.
        sets: what is photographed, see `RunData.pictured`.
        device: of the pictures.
        seeds: of the fixed views of several runs that draw together; None: the run's own.
    """
    fixed = None
    if config.views == "fixed":
        every = [torch.Generator(device).manual_seed(FIXED_VIEW_SEED + s) for s in seeds or (config.seed,)]
        fixed = every[0] if len(every) == 1 else every
    return ViewSampler(
        sets, config.cameras, config.missing, config.self_occlusion, fixed, device, config.temperature, config.waste
    )  # fmt: skip


def measuring_views(
    config: RunConfig, sets: Sequence[ShapeSet], device: str = "cpu", first_seed: int = TEST_SEED
) -> EvaluationViews:
    """The views that a run is measured on: the same for all runs with its seed, cameras and number of views."""
    return evaluation_views(
        sets, config.cameras, config.test_views, first_seed + config.seed, config.missing, config.self_occlusion, device
    )  # fmt: skip
