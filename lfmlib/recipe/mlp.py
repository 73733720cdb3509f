"""A multi-layer perceptron on the recipe's dreams: how much of the result is the recipe's and how much the Lifter's."""

import torch
from jaxtyping import Float
from torch import Tensor

from lfmlib.baselines.supervised import MLPLifter
from lfmlib.data.views import EvaluationViews
from lfmlib.objectives.supervision import supervised_3d


class DreamtMLP(MLPLifter):
    """SimpleBaseline's network, one category, trained on pictures of dreams (`DreamSampler.draw_with_truth`).

        1/B sum_b min_{s, R, t} mean || s R f(x_b) + t - y_b ||^2 / rms(y_b)^2,   y the dreamt shape

    Args:
        keypoints: N; one network knows one rig.
        generator: draws the weights.
        width, blocks: of the network; no dropout, since dreams do not run out.
    """

    def __init__(self, keypoints: int, generator: torch.Generator, width: int = 512, blocks: int = 2) -> None:
        super().__init__(keypoints, generator, width, blocks, dropout=0.0)

    def loss(
        self, views: EvaluationViews, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Aligned squared error against the dreamt shapes, in squared RMS radii; `generator` is not needed."""
        term = supervised_3d(self.network(views.X), views.Y, views.known)
        return term, {"dreamt_3d": term.detach()}
