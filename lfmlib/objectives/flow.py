"""Plausibility of re-projections without an adversary: a normalising flow learns the density of observed pictures."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lfmlib.objectives.cameras import draw
from lfmlib.objectives.masked import cleaned
from lfmlib.objectives.plausibility import VARIANCE_FLOOR, resized
from lfmlib.rigs import Rig

_STEEPEST = 0.5  # largest log scale of a coupling: with 2, as likely at home, far pictures weigh a hundred times more


def unlikelihood(log_density: Float[Tensor, " B"], counted: Bool[Tensor, " B"]) -> Float[Tensor, ""]:
    """Mean negative log-density of pictures: of observed ones the flow's loss, of new views the lifter's term.

        - 1/|C| sum_{b in C} log p(x_b) / d_c,   C the pictures that count, d_c the coordinates of their category

    Assumption about the world: a shape of the category, seen by another of its cameras, gives a picture in a region
    where observed pictures are dense.

    Blind to the single sample, as `adversary` is: the order of the pictures does not matter, only how likely each is.
    Unlike `adversary` it is content with one most likely picture for all, so something beside it (Eq. 1, or the
    observed x and y) must keep the samples apart; and it says nothing about pictures that do not count.

    Args:
        log_density: log p(x_b) / d_c, see `PictureFlow.judge`; [B].
        counted: the pictures whose keypoints are all visible; [B].
    Returns:
        One number in nats per coordinate, (1 + log 2 pi) / 2 = 1.42 for pictures with a normal distribution under a
        flow that has found it; 0, without gradient, where no picture counts. It grows with the squared distance
        from what is observed, to hundreds for flat answers: clip the gradient, and choose a small weight.
    Source: not in the paper; ElePose trains people's elevations with a flow on 2D poses.
    """
    return -torch.where(counted, log_density, 0).sum() / counted.sum().clamp_min(1)


class Coupling(nn.Module):
    """Affine coupling layer: some coordinates pass, and say how the others are scaled and shifted.

        v_a = u_a,   v_b = u_b * exp(l(u_a, c)) + t(u_a, c),   log |det dv/du| = sum l,   |l| < 1/2

    Starts as the identity. Coordinates that a category does not have pass and say nothing.

    Args:
        passes: the coordinates a; [D].
        width: of the two hidden layers.
        embedding: size of the category's embedding c.
        generator: draws the initial weights, on the CPU.
    """

    def __init__(self, passes: Bool[Tensor, " D"], width: int, embedding: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("passes", passes, persistent=False)
        self.enter = nn.utils.skip_init(nn.Linear, len(passes) + embedding, width)
        self.inner = nn.utils.skip_init(nn.Linear, width, width)
        self.leave = nn.utils.skip_init(nn.Linear, width, 2 * len(passes))
        for layer in (self.enter, self.inner):
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -(layer.in_features**-0.5), layer.in_features**-0.5, generator=generator)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, u: Float[Tensor, "B D"], embedding: Float[Tensor, "B E"], active: Bool[Tensor, "B D"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, " B"]]:
        """(v, log |det dv/du|)."""
        log_scale, shift = self._change(u, embedding, active)
        return u * log_scale.exp() + shift, log_scale.sum(1)

    def inverse(
        self, v: Float[Tensor, "B D"], embedding: Float[Tensor, "B E"], active: Bool[Tensor, "B D"]
    ) -> Float[Tensor, "B D"]:
        """u of a v."""
        log_scale, shift = self._change(v, embedding, active)
        return (v - shift) * (-log_scale).exp()

    def _change(self, u: Tensor, embedding: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        given = torch.where(self.passes & active, u, 0)
        hidden = F.silu(self.inner(F.silu(self.enter(torch.cat([given, embedding], 1)))))
        log_scale, shift = torch.where((active & ~self.passes).repeat(1, 2), self.leave(hidden), 0).chunk(2, 1)
        return _STEEPEST * torch.tanh(log_scale / _STEEPEST), shift


class PictureFlow(nn.Module):
    """Density of a category's pictures: RealNVP on their leading PCA-whitened coordinates.

        u = (Lambda + 1e-3)^(-1/2) V^T (x - mu),   d_c = min(2 N_c - 2, 64) leading columns of V
        log p(u) = log N(f_c(u); 0, I) + log |det df_c/du|,   f_c the couplings given the category's embedding

    mu, V and Lambda are mean and covariance of the category's centred pictures: two of its 2 N_c directions are the
    place, which they do not have. Pictures of unit size, let alone those of a rigid object, lie on a surface of fewer
    dimensions, where a density is infinite: so the flow learns pictures blurred by noise of variance 1e-3 (3 % of the
    RMS), the very floor of the whitening. The statistics are buffers, so that a checkpoint carries them.

    Only pictures that show every keypoint of their rig count, in the statistics, in the flow's loss and in the term:
    the density of a part of a picture is another function. Where keypoints are often missing, use the adversary.

    Args:
        rigs: the categories in the order of the category index.
        generator: draws the initial weights, on the CPU.
        couplings: number of affine couplings; they divide the coordinates in pairs of complementary halves.
        width, embedding: size of their hidden layers and of the categories' embeddings.
        dimensions: most coordinates that a category has; what lies in the others is not seen.
    """

    def __init__(
        self,
        rigs: Sequence[Rig],
        generator: torch.Generator,
        couplings: int = 8,
        width: int = 128,
        embedding: int = 8,
        dimensions: int = 64,
    ) -> None:
        super().__init__()
        self.names, self.keypoints = tuple(rig.name for rig in rigs), max(rig.n for rig in rigs)
        counts = torch.tensor([rig.n for rig in rigs])
        sizes = (2 * counts - 2).clamp_max(dimensions)
        D, index = int(sizes.max()), torch.arange(int(sizes.max()))
        self.register_buffer("rig_keypoints", torch.arange(self.keypoints) < counts[:, None], persistent=False)
        self.register_buffer("active", index < sizes[:, None], persistent=False)
        self.register_buffer("mean", torch.zeros(len(rigs), 2 * self.keypoints))
        self.register_buffer("whitener", torch.zeros(len(rigs), 2 * self.keypoints, D))
        self.register_buffer("gathered", torch.zeros((), dtype=torch.bool))
        self.embedding = nn.Parameter(torch.randn(len(rigs), embedding, generator=generator))
        bits = max(1, math.ceil(math.log2(D)))  # any two coordinates differ in a bit of their index
        self.couplings = nn.ModuleList(
            Coupling((index >> (k // 2) % bits) % 2 == k % 2, width, embedding, generator) for k in range(couplings)
        )

    @torch.no_grad()
    def gather(self, X: Float[Tensor, "B N 2"], visible: Bool[Tensor, "B N"], category: Int[Tensor, " B"]) -> None:
        """Take mean and covariance of each category's complete pictures from a large sample of pictures.

        Raises:
            ValueError: no picture of a category shows all its keypoints (names the category).
        """
        X, counted = resized(X, self.keypoints), self._counted(visible, category)
        for c, name in enumerate(self.names):
            rows, n = counted & (category == c), int(self.rig_keypoints[c].sum())
            if not rows.any():
                raise ValueError(f"2D statistics: none of the {len(X)} pictures shows all keypoints of {name!r}")
            flat = X[rows, :n].flatten(1).double()
            deviation = flat - flat.mean(0)
            # As far as the covariance is concerned the place has the least variance of all.
            place = torch.kron(flat.new_ones(n, n) / n, torch.eye(2, dtype=flat.dtype, device=flat.device))
            values, vectors = torch.linalg.eigh(deviation.mT @ deviation / len(flat) - place)
            leading = vectors * (values.clamp_min(0) + VARIANCE_FLOOR).rsqrt()
            size = int(self.active[c].sum())
            self.mean[c, : 2 * n] = flat.mean(0)
            self.whitener[c, : 2 * n, :size] = leading.flip(1)[:, :size]
        self.gathered.fill_(True)

    def coordinates(
        self, X: Float[Tensor, "B N 2"], visible: Bool[Tensor, "B N"], category: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B D"], Bool[Tensor, " B"]]:
        """Whitened coordinates u (0 where a category has no more, or the picture does not count), and which count."""
        counted, rig = self._counted(visible, category), self.rig_keypoints[category]
        X = cleaned(resized(X, self.keypoints), rig & counted[:, None])
        deviation = torch.where(counted[:, None], X.flatten(1) - self.mean.to(X)[category], 0)
        return torch.bmm(deviation[:, None], self.whitener.to(X)[category])[:, 0], counted

    def forward(
        self, u: Float[Tensor, "B D"], category: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, " B"]]:
        """Normally distributed coordinates f_c(u), and log |det df_c/du|."""
        embedding, active = self.embedding[category], self.active[category]
        log_det = u.new_zeros(len(u))
        for coupling in self.couplings:
            u, change = coupling(u, embedding, active)
            log_det = log_det + change
        return u, log_det

    def inverse(self, v: Float[Tensor, "B D"], category: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """u with f_c(u) = v."""
        embedding, active = self.embedding[category], self.active[category]
        for coupling in reversed(self.couplings):
            v = coupling.inverse(v, embedding, active)
        return v

    def log_density(self, u: Float[Tensor, "B D"], category: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """log p(u) over the coordinates that the category has; nats."""
        v, log_det = self(u, category)
        return log_det - torch.where(self.active[category], 0.5 * (v.square() + math.log(2 * math.pi)), 0).sum(1)

    def judge(
        self,
        X: Float[Tensor, "B N 2"],
        visible: Bool[Tensor, "B N"],
        category: Int[Tensor, " B"],
        blur: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]:
        """What `unlikelihood` takes: log p(x_b) / d_c in nats per coordinate, and which pictures count.

        Args:
            X: centred pictures with unit RMS; [B, N, 2].
            visible: keypoints that are visible and not padding; [B, N].
            category: index of the rig; [B].
            blur: draws the noise, for pictures that the flow learns from; None: the pictures as they are.
        """
        if blur is not None:
            X = X + VARIANCE_FLOOR**0.5 * draw(blur, *X.shape, like=X, normal=True)
        u, counted = self.coordinates(X, visible, category)
        return self.log_density(u, category) / self.active[category].sum(1), counted

    def _counted(self, visible: Bool[Tensor, "B N"], category: Int[Tensor, " B"]) -> Bool[Tensor, " B"]:
        return (resized(visible, self.keypoints) | ~self.rig_keypoints[category]).all(1)
