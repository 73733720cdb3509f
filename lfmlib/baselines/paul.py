"""PAUL: an auto-encoder of 3D shapes with a small code, learned from pictures through the exact camera."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lfmlib import geometry
from lfmlib.baselines.c3dpo import trunk
from lfmlib.baselines.interface import check_weights, evaluating
from lfmlib.data.views import Views
from lfmlib.objectives.fitting import read_out, reprojection
from lfmlib.objectives.masked import cleaned, mean_square, normalised

SMALLEST = 1e-6  # of a camera's scale, in pictures of unit RMS: those that have shrunk to a point lift to a point


class PAUL(nn.Module):
    """Procrustean auto-encoder: shapes seen in one common frame are a smooth function of a few numbers.

        phi = h(X, visible),   Y = f_d(phi),   (s, R, t) = the best camera of Y for X, in closed form
        loss = mean_V || x - s P R Y - t ||^2  +  w_a mean || f_d(f_e(Y~)) - Y~ ||^2  +  w_r mean |phi|^2
        Y~ = R^T [ (x - t) / s ; depth of Y under R ],   and Y itself where a keypoint is hidden

    h and f_e are fully connected residual nets of C3DPO's form, f_d a perceptron with two hidden layers; shapes have
    unit RMS, so that neither loss falls by shrinking.

    Args:
        keypoints: N; one network knows one rig.
        generator: draws the weights.
        code: K, numbers in the code; each category needs its own.
        width: of all nets.
        blocks: residual ones in h and f_e.
        autoencoder, regulariser: weights w_a and w_r.
    Raises:
        ValueError: a weight is negative or not finite; `code` below 1.
    Source: Wang and Lucey, "PAUL: Procrustean autoencoder for unsupervised lifting", CVPR 2021: decoder-only loss
        under the orthographic-N-point camera, auto-encoder loss on what that camera lifts, and a regulariser on the
        code and the decoder's weights; code from the picture by h, so that h and f_d alone are used in testing. Not in
        the text at hand, so ours: the form and size of the nets, the three weights, K = 8, unit RMS, the exact
        minimum for the camera, no gradient through the camera (it is exact for the first term; in the second the
        depth carries one), and the decoder's weight decay as that of the optimiser, on all nets.
    """

    def __init__(
        self,
        keypoints: int,
        generator: torch.Generator,
        code: int = 8,
        width: int = 256,
        blocks: int = 2,
        autoencoder: float | int = 1.0,
        regulariser: float | int = 0.01,
    ) -> None:
        super().__init__()
        check_weights(autoencoder=autoencoder, regulariser=regulariser)
        if code < 1:
            raise ValueError(f"code is {code!r}: expected 1 number or more")
        self.keypoints, self.weights = keypoints, (autoencoder, regulariser)
        self.h, self.f_e = (_encoder(3 * keypoints, width, blocks, code, generator) for _ in range(2))
        self.f_d = _decoder(code, width, 3 * keypoints, generator)

    def encode(self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B K"]:
        """Code of a picture.

        Args:
            X: keypoints, centred, unit RMS; anything where not visible; [B, N, 2].  visible: None = all; [B, N].
        Returns:
            [B, K].
        Raises:
            ValueError: X has another number of keypoints.
        """
        if X.ndim != 3 or X.shape[1:] != (self.keypoints, 2):
            raise ValueError(f"X has shape {list(X.shape)}: expected [B, {self.keypoints}, 2]")
        seen = X.new_ones(X.shape[:2]) if visible is None else visible.to(X.dtype)
        return self.h(torch.cat((cleaned(X, visible).flatten(1), seen), 1))

    def decode(self, phi: Float[Tensor, "B K"]) -> Float[Tensor, "B N xyz"]:
        """Canonical shape of a code, centred with unit RMS; [B, N, 3]."""
        return normalised(self.f_d(phi).view(-1, self.keypoints, 3), None)

    def again(self, Y: Float[Tensor, "B N xyz"]) -> Float[Tensor, "B N xyz"]:
        """What the auto-encoder makes of a canonical shape, f_d(f_e(Y)); [B, N, 3]."""
        return self.decode(self.f_e(Y.flatten(1)))

    def loss(self, views: Views, generator: torch.Generator) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """See `Baseline.loss`; terms: decoder, autoencoder, code. It draws nothing.

        Raises:
            ValueError: pictures of a second category.
        """
        if bool((views.category != views.category[0]).any()):
            raise ValueError(f"PAUL knows one category, got {sorted(set(views.category.tolist()))}")
        phi = self.encode(views.X, views.visible)
        Y = self.decode(phi)
        camera = geometry.solve_camera(views.X, Y, views.visible)
        picture = reprojection(views.X, Y, views.visible, camera)
        lifted = lifted_in_canonical_frame(views.X, Y, camera, views.visible)
        cycle = mean_square(self.again(lifted) - lifted, None).mean()
        size = phi.square().mean()
        terms = {"decoder": picture, "autoencoder": cycle, "code": size}
        total = picture + self.weights[0] * cycle + self.weights[1] * size
        return total, {name: term.detach() for name, term in terms.items()}

    def lift(self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N xyz"]:
        """See `Baseline.lift`: the decoded shape under its best camera."""
        with evaluating(self):
            Y = self.decode(self.encode(X, visible))
            X = cleaned(X, visible)
            return read_out(X, Y, geometry.solve_camera(X, Y, visible), visible, "fit")


def lifted_in_canonical_frame(
    X: Float[Tensor, "B N xy"],
    Y: Float[Tensor, "B N xyz"],
    camera: geometry.Camera,
    visible: Bool[Tensor, "B N"] | None = None,
) -> Float[Tensor, "B N xyz"]:
    """The picture with the shape's depth, taken back to the shape's frame and unit.

        Y~_i = R^T [ (x_i - t) / s ; (R y_i)_z ]  where keypoint i is visible, y_i where it is not

    Args:
        X: observed keypoints; [B, N, 2].  Y: canonical shapes; [B, N, 3].  camera: of Y for X, held fixed.
        visible: None = all; [B, N].
    Returns:
        [B, N, 3]; Y itself where the picture is exactly its projection. Gradients flow through Y alone.
    Source: PAUL's optimal depth under orthographic projection is the depth of the turned shape.
    """
    R = camera.R
    turned = Y @ R.mT
    observed = (cleaned(X, visible) - camera.t[:, None]) / camera.s.clamp_min(SMALLEST)[:, None, None]
    if visible is not None:
        observed = torch.where(visible[..., None], observed, turned[..., :2])
    return torch.cat((observed, turned[..., 2:]), -1) @ R


def _encoder(inputs: int, width: int, blocks: int, code: int, generator: torch.Generator) -> nn.Sequential:
    return nn.Sequential(trunk(inputs, width, blocks, generator), _linear(width, code, generator, 1.0))


def _decoder(code: int, width: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """No batch norm: a shape must not depend on the others of its batch."""
    return nn.Sequential(
        _linear(code, width, generator), nn.ReLU(), _linear(width, width, generator), nn.ReLU(),
        _linear(width, outputs, generator, 1.0),
    )  # fmt: skip


def _linear(inputs: int, outputs: int, generator: torch.Generator, gain: float = 2.0) -> nn.Linear:
    """Normal weights of variance gain / inputs; 2 before a ReLU."""
    linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    with torch.no_grad():
        linear.weight.normal_(std=(gain / inputs) ** 0.5, generator=generator)
        linear.bias.zero_()
    return linear
