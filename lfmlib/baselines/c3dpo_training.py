"""C3DPO as a baseline: its two losses, its in-plane turns, and how its factorisation is read as a lifted shape."""

import math
from collections.abc import Sequence

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lfmlib import geometry
from lfmlib.baselines.c3dpo import C3DPO
from lfmlib.baselines.interface import check_weights, evaluating
from lfmlib.data.views import Views, visible_or_all
from lfmlib.objectives.cameras import draw
from lfmlib.objectives.fitting import read_out
from lfmlib.objectives.masked import cleaned, masked_mean

HUBER = 0.01  # RMS radii: residuals above it count by their length, below it by their square


def pseudo_huber(difference: Float[Tensor, "B N K"], delta: float = HUBER) -> Float[Tensor, "B N"]:
    """Robust length of each row, delta (sqrt(1 + |d|^2 / delta^2) - 1): smooth at 0, |d| - delta far from it."""
    return delta * ((1 + difference.square().sum(-1) / delta**2).sqrt() - 1)


def shifted_camera(
    Y: Float[Tensor, "B N xyz"], R: Float[Tensor, "B 3 3"], visible: Bool[Tensor, "B N"] | None = None
) -> geometry.Camera:
    """Orthographic camera of a given rotation, shifted so that the visible keypoints' picture is centred.

    Args:
        Y: canonical shapes; [B, N, 3].  R: canonical to camera frame; [B, 3, 3].  visible: None = all; [B, N].
    Returns:
        Camera with s = 1 and t = -mean_V P R y, the best shift for a centred picture; gradients flow through it.
    """
    flat = Y @ R[:, :2].mT
    return geometry.Camera(Y.new_ones(len(Y)), R, -torch.stack([masked_mean(v, visible) for v in flat.unbind(-1)], -1))


def factorisation_loss(
    X: Float[Tensor, "B N xy"],
    Y: Float[Tensor, "B N xyz"],
    camera: geometry.Camera,
    visible: Bool[Tensor, "B N"] | None = None,
) -> Float[Tensor, ""]:
    """Robust distance between the visible keypoints and the picture that the predicted camera takes of the shape.

        1/B sum_b mean_{i in V_b} h( x_bi - P R_b y_bi - t_b ),   h the pseudo-Huber length

    Blind to depth along each camera; the camera is the network's, so gradients flow through it.

    Args:
        X: observed keypoints; [B, N, 2].  Y: canonical shapes; [B, N, 3].  camera: canonical to picture.
        visible: keypoints that take part, None = all; [B, N].
    Returns:
        One number in X's unit, 0 for the true shape and camera.
    Source: Novotny et al. 2019, Sec. 3.1; their code averages over all visible keypoints of a batch, here each
        picture weighs alike.
    """
    difference = cleaned(geometry.project(Y, camera) - X, visible)
    return masked_mean(pseudo_huber(difference), visible).mean()


def canonicalisation_loss(
    network: C3DPO,
    Y: Float[Tensor, "B N xyz"],
    turns: Float[Tensor, "T 3 3"],
    own: Bool[Tensor, "B N"] | None = None,
) -> Float[Tensor, ""]:
    """A turned shape must be turned back: then no two of the shapes are turned copies of each other.

        mean_k 1/B sum_b mean_{i in O_b} h( Psi(Q_bk Y_b) - Y_b )_i,   Q uniform in SO(3)

    Args:
        network: has Psi.
        Y: canonical shapes, 0 where a keypoint is not their category's; [B, N, 3].
        turns: Q, one or several for each sample, sample by sample within each round; [K B, 3, 3].
        own: keypoints of the sample's category, hidden ones included; None = all; [B, N].
    Returns:
        One number in the shapes' unit.
    Raises:
        ValueError: the number of turns is no multiple of the number of shapes.
    Source: Novotny et al. 2019, Sec. 3.2: 4 turns a sample.
    """
    if not len(turns) or len(turns) % len(Y):
        raise ValueError(f"{len(turns)} turns for {len(Y)} shapes: expected a multiple")
    rounds = len(turns) // len(Y)
    shapes = Y.repeat(rounds, 1, 1)  # [K B, N, 3]
    mask = None if own is None else own.repeat(rounds, 1)
    difference = cleaned(network.canonicalise(shapes @ turns.mT) - shapes, mask)
    return masked_mean(pseudo_huber(difference), mask).mean()


class C3DPOBaseline(nn.Module):
    """C3DPO, trained on pictures of one category, or of several that share the networks and the basis.

        loss = w_f factorisation + w_c canonicalisation
        (alpha, .) = Phi(r_2 r_1 X),  (., R) = Phi(r_1 X),  against r_1 X;   r_1, r_2 turns in the picture's plane

    Several categories have their keypoints one after the other: a sample fills its own places, the others are hidden.

    Args:
        sizes: keypoints of each category, in the order of the category index.
        generator: draws the weights.
        basis, width, blocks: see `C3DPO`; width 256 with 2 blocks takes 15 ms a step of 64 pictures on one CPU core.
        factorisation, canonicalisation: weights w_f and w_c.
        turns: random rotations of each shape for the canonicalisation loss.
        in_plane: half-width of the uniform turns r_1, r_2 in radians; 0 = none (and half the cost of Phi).
    Raises:
        ValueError: a weight or `in_plane` is negative or not finite, `turns` below 1, no category or one with fewer
            than 3 keypoints.
    Source: Novotny et al. 2019 and the settings of their code: both weights 1, 4 turns, in-plane turns to pi / 8,
        SGD 1e-3 with momentum 0.9 and batch 1024. As there the camera has no scale: the shape brings its size. A scale
        fitted to each picture was tried and lifts worse: a shape may then be a needle that all cameras see nearly
        end-on, which is what rigid objects became. Their pictures are scaled once for a data set, here each has unit
        RMS, so that the basis must also express foreshortening. Ours: the best shift in closed form (an option of
        their code), and the optimiser and batch of `fitting.fit`, which give all methods one budget.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        generator: torch.Generator,
        basis: int = 10,
        width: int = 1024,
        blocks: int = 6,
        factorisation: float | int = 1.0,
        canonicalisation: float | int = 1.0,
        turns: int = 4,
        in_plane: float | int = math.pi / 8,
    ) -> None:
        super().__init__()
        check_weights(factorisation=factorisation, canonicalisation=canonicalisation, in_plane=in_plane)
        if turns < 1:
            raise ValueError(f"turns is {turns!r}: expected 1 or more")
        if not sizes or min(sizes) < 3:
            raise ValueError(f"sizes are {list(sizes)}: expected 3 or more keypoints for each of 1 or more categories")
        self.weights, self.turns = (factorisation, canonicalisation), turns
        self.in_plane = in_plane
        self.network = C3DPO(sum(sizes), generator, basis, width, blocks)
        count = torch.tensor(sizes)
        self.register_buffer("size", count, persistent=False)
        self.register_buffer("first", count.cumsum(0) - count, persistent=False)

    def loss(self, views: Views, generator: torch.Generator) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """See `Baseline.loss`; terms: factorisation, canonicalisation."""
        X, visible, own = self._places(views.X, views.visible, views.category)
        if self.in_plane:
            X = self._turned(X, generator)
            pair = torch.cat((self._turned(X, generator), X))
            both = [None if mask is None else mask.repeat(2, 1) for mask in (visible, own)]
            Y, R = self._factors(pair, *both)
            Y, R = Y[: len(X)], R[len(X) :]
        else:
            Y, R = self._factors(X, visible, own)
        picture = factorisation_loss(X, Y, shifted_camera(Y, R, visible), visible)
        Q = geometry.random_rotations(self.turns * len(X), generator).to(Y)
        canonical = canonicalisation_loss(self.network, Y, Q, own)
        terms = {"factorisation": picture.detach(), "canonicalisation": canonical.detach()}
        return self.weights[0] * picture + self.weights[1] * canonical, terms

    def lift(
        self,
        X: Float[Tensor, "B N xy"],
        visible: Bool[Tensor, "B N"] | None = None,
        category: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B N xyz"]:
        """See `Baseline.lift`.

        Args:
            category: index of each sample's category; None where there is one category; [B].
        Raises:
            ValueError: several categories and no index; X has another number of keypoints.
        """
        n = X.shape[1]
        with evaluating(self):
            X, visible, own = self._places(X, visible, category)
            Y, R = self._factors(X, visible, own)
            shapes = read_out(X, Y, shifted_camera(Y, R, visible), visible, "fit")
        if own is None:
            return shapes
        index, there = self._index(category, n)
        return torch.where(there[..., None], shapes.gather(1, index[..., None].expand(-1, -1, 3)), 0)

    def _factors(self, X: Tensor, visible: Tensor | None, own: Tensor | None) -> tuple[Tensor, Tensor]:
        """Canonical shapes, 0 outside their own places, and rotations to the camera frame."""
        Y, r = self.network(X, visible)
        return cleaned(Y, own), roma.rotvec_to_rotmat(r)

    def _turned(self, X: Tensor, generator: torch.Generator) -> Tensor:
        """Pictures turned in their plane, each by an angle of its own."""
        angle = (2 * draw(generator, len(X), like=X) - 1) * self.in_plane
        c, s = angle.cos(), angle.sin()
        return X @ torch.stack((c, s, -s, c), -1).view(-1, 2, 2)

    def _places(
        self, X: Tensor, visible: Tensor | None, category: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """X with 0 where hidden, what is visible, and which places are the sample's own (None: all)."""
        if visible is not None:
            X = torch.where(visible[..., None], X, 0)
        if len(self.size) == 1:
            return X, visible, None
        if category is None:
            raise ValueError(f"{len(self.size)} categories were trained: lift needs the category of each sample")
        index, there = self._index(category, X.shape[1])
        places = X.new_zeros(len(X), self.network.keypoints, 2)
        seen = there & visible_or_all(visible, X)
        places.scatter_add_(1, index[..., None].expand(-1, -1, 2), torch.where(seen[..., None], X, 0))
        filled = torch.zeros(places.shape[:2], dtype=torch.long, device=X.device)
        own = filled.scatter_add(1, index, there.long()) > 0
        return places, filled.scatter_add(1, index, seen.long()) > 0, own

    def _index(self, category: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Place of each padded keypoint, and whether it is one of its category's; [B, n]."""
        at = torch.arange(n, device=category.device)
        there = at < self.size[category][:, None]
        return torch.where(there, self.first[category][:, None] + at, 0), there
