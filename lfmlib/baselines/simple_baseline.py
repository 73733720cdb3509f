"""SimpleBaseline's network: a multi-layer perceptron from keypoints to a shape, at its published size."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class SimpleBaseline(nn.Module):
    """Two residual blocks of two linear maps, each followed by batch norm, ReLU and dropout.

        h = f(X),   h <- h + f(f(h)) twice,   Y = W h + b,      f(h) = dropout(ReLU(BN(V h + c)))

    Args:
        keypoints: N; one network knows one rig.
        generator: draws the weights, by Kaiming's normal law.
        width: of all hidden layers.
        blocks: residual ones.
        dropout: share of the hidden numbers that is set to 0 in training.
    Source: Martinez et al., "A simple yet effective baseline for 3d human pose estimation", ICCV 2017, Sec. 3: width
        1024, 2 blocks, dropout 0.5, batch norm, Kaiming initialisation, "between 4 and 5 million" parameters. The paper
        predicts coordinates about the root joint; it leaves open whether the root counts among input and output (here
        it does) and says that weights have norm at most 1, which concerns training and is not part of the network.
    """

    def __init__(
        self,
        keypoints: int,
        generator: torch.Generator,
        width: int = 1024,
        blocks: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.keypoints, self.dropout = keypoints, dropout
        self.first = _Dense(2 * keypoints, width, generator)
        self.blocks = nn.ModuleList(
            nn.ModuleList(_Dense(width, width, generator) for _ in range(2)) for _ in range(blocks)
        )
        self.last = _linear(width, 3 * keypoints, generator)

    def forward(self, X: Float[Tensor, "B N xy"], generator: torch.Generator | None = None) -> Float[Tensor, "B N xyz"]:
        """Shapes of normalised keypoints.

        Args:
            X: keypoints, image frame, normalised over the training set; [B, N, 2].
            generator: of the dropout, on X's device; None: torch's global one, which a GPU serves faster.
        Returns:
            The shape in the camera frame, in the unit of the training's target; [B, N, 3].
        Raises:
            ValueError: X has another number of keypoints.
        """
        if X.ndim != 3 or X.shape[1:] != (self.keypoints, 2):
            raise ValueError(f"X has shape {list(X.shape)}: expected [B, {self.keypoints}, 2]")
        h = self._dropped(self.first(X.flatten(1)), generator)
        for block in self.blocks:
            z = h
            for dense in block:
                z = self._dropped(dense(z), generator)
            h = h + z
        return self.last(h).view(-1, self.keypoints, 3)

    def _dropped(self, h: Tensor, generator: torch.Generator | None) -> Tensor:
        if not self.training or generator is None:
            return F.dropout(h, self.dropout, self.training)
        kept = torch.empty_like(h).bernoulli_(1 - self.dropout, generator=generator)
        return h * kept / (1 - self.dropout)


class _Dense(nn.Module):
    """ReLU(BN(V h + c))."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.linear, self.norm = _linear(inputs, outputs, generator), nn.BatchNorm1d(outputs)

    def forward(self, h: Tensor) -> Tensor:
        return F.relu(self.norm(self.linear(h)))


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    with torch.no_grad():
        nn.init.kaiming_normal_(linear.weight, generator=generator)
        linear.bias.zero_()
    return linear
