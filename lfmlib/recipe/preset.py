"""The recipe as a run: one setting for every category."""

from collections.abc import Sequence
from typing import Any

from lfmlib.model import LifterConfig
from lfmlib.objectives import ObjectiveConfig
from lfmlib.recipe.config import RecipeConfig
from lfmlib.runs import RunConfig


def recipe_run(categories: Sequence[str], **changes: Any) -> RunConfig:
    """A run that learns from 2D alone what depth is; one fixed view per training frame.

    The network has the encoding at its input and a mean shape at its output; small batches and a high rate, because
    dreams never run out. Chosen by the loss on dreams, which sees no 3D.

    Args:
        categories: learned together by one network, each with a shape model of its own.
        changes: fields of RunConfig that differ.
    """
    settings = {
        "model": LifterConfig(injection="input", mean_shape=True),
        "objective": ObjectiveConfig(reprojection=0, dreamt_3d=1), "recipe": RecipeConfig(), "batch": 32, "lr": 8e-3,
        "betas": (0.9, 0.99), "warmup": min(100, changes.get("steps", 100)), "ema": 0.99, "views": "fixed",
    }  # fmt: skip
    return RunConfig(tuple(categories), **settings | changes)
