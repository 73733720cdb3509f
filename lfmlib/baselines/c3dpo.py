"""C3DPO's networks at published size: a factorisation net (shape and camera) and a canonicalisation net."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


class C3DPO(nn.Module):
    """Shapes as combinations of K learned ones, and two fully connected residual nets of the same form.

        (alpha, r) = Phi(X, visible),   Y = B alpha,   R = exp [r]_x            factorisation
        Y' = B Psi(R_random Y),   to be Y again                                canonicalisation

    Phi and Psi: one linear map to 1024, then 6 residual blocks 1024 -> 256 -> 256 -> 1024, each map with batch norm,
    ReLU after each map and after the sum.

    Args:
        keypoints: N; one network knows one set of keypoints.
        generator: draws the weights.
        basis: K, shapes in the basis.
        width, blocks: of both nets; a block's inner width is a quarter.
    Source: Novotny et al., "C3DPO: Canonical 3D pose networks for non-rigid structure from motion", ICCV 2019: fully
        connected residual nets, 1024 wide, K = 10 (50 for 79 keypoints), camera as log-rotation. Open there: how deep
        a block is (here three maps), and the law of the weights (here normal, sd 0.01 in the last maps and Kaiming's
        elsewhere). It writes Psi as a map to shapes; here it shares the basis with Phi.
    """

    def __init__(
        self,
        keypoints: int,
        generator: torch.Generator,
        basis: int = 10,
        width: int = 1024,
        blocks: int = 6,
    ) -> None:
        super().__init__()
        self.keypoints = keypoints
        self.phi, self.psi = (trunk(3 * keypoints, width, blocks, generator) for _ in range(2))
        self.coefficients, self.canonical_coefficients = (_last(width, basis, generator) for _ in range(2))
        self.camera = _last(width, 3, generator)
        self.basis = _last(basis, 3 * keypoints, generator)

    def forward(
        self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"] | None = None
    ) -> tuple[Float[Tensor, "B N xyz"], Float[Tensor, "B xyz"]]:
        """Factorisation.

        Args:
            X: keypoints, image frame, centred on the visible mean; anything where not visible; [B, N, 2].
            visible: None = all; [B, N].
        Returns:
            (canonical shape [B, N, 3], log-rotation r [B, 3]: axis times angle in radians, canonical to camera frame).
        Raises:
            ValueError: X has another number of keypoints.
        """
        if X.ndim != 3 or X.shape[1:] != (self.keypoints, 2):
            raise ValueError(f"X has shape {list(X.shape)}: expected [B, {self.keypoints}, 2]")
        if visible is None:
            seen = X.new_ones(X.shape[:2])
        else:
            X, seen = torch.where(visible[..., None], X, 0), visible.to(X.dtype)
        h = self.phi(torch.cat((X.flatten(1), seen), 1))
        return self._shape(self.coefficients(h)), self.camera(h)

    def canonicalise(self, Y: Float[Tensor, "B N xyz"]) -> Float[Tensor, "B N xyz"]:
        """The canonical version of a shape that may be turned in any way; [B, N, 3]."""
        return self._shape(self.canonical_coefficients(self.psi(Y.flatten(1))))

    def _shape(self, coefficients: Tensor) -> Tensor:
        return self.basis(coefficients).view(-1, self.keypoints, 3)


class _Block(nn.Module):
    """h <- ReLU(h + g(h)), g of three linear maps with batch norm, ReLU between them."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        widths = (width, width // 4, width // 4, width)
        maps = [_dense(a, b, generator) for a, b in zip(widths, widths[1:], strict=False)]
        self.inner = nn.Sequential(maps[0], nn.ReLU(), maps[1], nn.ReLU(), maps[2])

    def forward(self, h: Tensor) -> Tensor:
        return F.relu(h + self.inner(h))


def trunk(inputs: int, width: int, blocks: int, generator: torch.Generator) -> nn.Sequential:
    """A linear map to `width` and residual blocks, with batch norm: the form of both nets."""
    return nn.Sequential(
        _dense(inputs, width, generator), nn.ReLU(), *(_Block(width, generator) for _ in range(blocks))
    )


def _dense(inputs: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """A linear map without offset, for the batch norm after it has one."""
    linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=False)
    nn.init.kaiming_normal_(linear.weight, generator=generator)
    return nn.Sequential(linear, nn.BatchNorm1d(outputs))


def _last(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    with torch.no_grad():
        linear.weight.normal_(std=0.01, generator=generator)
        linear.bias.zero_()
    return linear
