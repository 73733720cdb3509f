"""SimpleBaseline as a lifter, and its training on 3D truth: what labels and a plain network give for one category."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lfmlib import geometry
from lfmlib.baselines.interface import evaluating
from lfmlib.baselines.simple_baseline import SimpleBaseline
from lfmlib.data.views import EvaluationViews
from lfmlib.objectives.fitting import read_out
from lfmlib.objectives.masked import cleaned, mean_square, normalised


class MLPLifter(nn.Module):
    """SimpleBaseline's network and the read-out of its shapes; what it learns from is the `loss` of a subclass.

    Args:
        keypoints: N; one network knows one rig.
        generator: draws the weights.
        width, blocks, dropout: of the network.
    """

    def __init__(self, keypoints: int, generator: torch.Generator, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.network = SimpleBaseline(keypoints, generator, width, blocks, dropout)

    def lift(self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N xyz"]:
        """See `Baseline.lift`: the network's shape under its best camera; hidden keypoints enter as zeros."""
        with evaluating(self):
            X = cleaned(X, visible)
            Y = self.network(X)
            return read_out(X, Y, geometry.solve_camera(X, Y, visible), visible, "fit")


class SupervisedMLP(MLPLifter):
    """SimpleBaseline3D: the shape in the camera frame, regressed from pictures with known 3D truth.

        loss = 1/B sum_b mean_V || f(x_b) - (y_b - mean_V y_b) / rms_V(y_b) ||^2,   V the keypoints with a truth

    Train it on `ViewSampler(...).draw_with_truth`. It sees 3D labels: never compare it with a 2D-only method as one.

    Args:
        keypoints: N; one network knows one rig.
        generator: draws the weights.
        width, blocks, dropout: of the network; the paper's.
    Source: Martinez et al., "A simple yet effective baseline for 3d human pose estimation", ICCV 2017: plain squared
        error in the camera frame about the root joint, Adam at 1e-3 with exponential decay, batches of 64. Here the
        root is the mean of the known keypoints, for not every rig has one, and the unit is each shape's own RMS radius,
        for pictures of unit size do not tell the object's. `fitting.fit` trains it as it trains the others, with AdamW
        and a cosine schedule in place of the decay; the paper's bound of 1 on the norm of weights is left out. The
        paper reads the output as it is; the camera of `lift` sets place and scale, and turns the shape to fit its
        picture, which no aligned error can see.
    """

    def __init__(
        self,
        keypoints: int,
        generator: torch.Generator,
        width: int = 1024,
        blocks: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(keypoints, generator, width, blocks, dropout)

    def loss(
        self, views: EvaluationViews, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """See `Baseline.loss`, but with the truth; term: camera_3d. `generator` draws the dropout.

        Raises:
            ValueError: pictures of a second category.
        """
        if bool((views.category != views.category[0]).any()):
            raise ValueError(f"SupervisedMLP knows one category, got {sorted(set(views.category.tolist()))}")
        shapes = self.network(cleaned(views.X, views.visible), generator)
        term = camera_frame_error(shapes, views.Y, views.known)
        return term, {"camera_3d": term.detach()}


def camera_frame_error(
    shapes: Float[Tensor, "B N 3"], Y: Float[Tensor, "B N 3"], known: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, ""]:
    """Squared error against the true shape as its camera sees it; nothing is aligned.

        1/B sum_b mean_V || shapes_b - (Y_b - mean_V Y_b) / rms_V(Y_b) ||^2

    Args:
        shapes: predictions in the camera frame, centred, in RMS radii; [B, N, 3].
        Y: true shapes, camera frame, any unit; [B, N, 3].
        known: keypoints that have a truth, None = all; [B, N].
    Returns:
        One number in squared RMS radii of the true shape.
    """
    return mean_square(shapes - normalised(Y, known), known).mean()
