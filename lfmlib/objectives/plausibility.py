"""Plausibility of re-projections: a discriminator that compares pictures of turned shapes with observed pictures."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lfmlib.objectives.cameras import category_mean
from lfmlib.objectives.masked import cleaned
from lfmlib.rigs import Rig

VARIANCE_FLOOR = 1e-3  # added to the 2D variances before the root: directions without variance are not blown up


def resized(values: Tensor, keypoints: int) -> Tensor:
    """Axis 1 cut or filled with zeros (False) to the given number of keypoints; what is cut must be padding."""
    missing = keypoints - values.shape[1]
    return values if missing == 0 else F.pad(values, (0, missing) if values.ndim == 2 else (0, 0, 0, missing))


class PictureFeatures(nn.Module):
    """What the discriminator sees of a picture: [x, PCA-whitened x, 3 * edge vectors], per category, 0 where not
    visible.

        white(x) = (Lambda + 1e-3)^(-1/2) V^T (x - mu),   mu and V Lambda V^T the mean and covariance of the
        category's pictures

    The statistics are those of observed 2D keypoints (over the samples where a keypoint, or a pair, is visible) and
    are buffers, so that a checkpoint carries them.

    Args:
        rigs: the categories in the order of the category index.
    """

    def __init__(self, rigs: Sequence[Rig]) -> None:
        super().__init__()
        categories, self.keypoints = len(rigs), max(rig.n for rig in rigs)
        most = max(len(rig.edges) for rig in rigs)
        edges = torch.zeros(categories, most, 2, dtype=torch.long)
        exists = torch.zeros(categories, most, dtype=torch.bool)
        for c, rig in enumerate(rigs):
            if rig.edges:
                edges[c, : len(rig.edges)] = torch.tensor(rig.edges)
                exists[c, : len(rig.edges)] = True
        self.names = tuple(rig.name for rig in rigs)
        self.size = 4 * self.keypoints + 2 * most
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("edge_exists", exists, persistent=False)
        self.register_buffer("mean", torch.zeros(categories, 2 * self.keypoints))
        self.register_buffer("whitener", torch.zeros(categories, 2 * self.keypoints, 2 * self.keypoints))
        self.register_buffer("gathered", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def gather(self, X: Float[Tensor, "B N 2"], visible: Bool[Tensor, "B N"], category: Int[Tensor, " B"]) -> None:
        """Take mean and covariance of each category's pictures from a large sample of them.

        Raises:
            ValueError: a category does not occur in the sample (names it).
        """
        X, visible = resized(X, self.keypoints), resized(visible, self.keypoints)
        flat = cleaned(X, visible).flatten(1).double()
        seen = visible.repeat_interleave(2, 1).double()
        mean, _ = category_mean(flat, seen, category, len(self.names))
        for c, name in enumerate(self.names):
            rows = (category == c).nonzero()[:, 0]
            if len(rows) == 0:
                raise ValueError(f"2D statistics: none of the {len(X)} pictures shows category {name!r} (index {c})")
            deviation, weight = (flat[rows] - mean[c]) * seen[rows], seen[rows]
            covariance = deviation.mT @ deviation / (weight.mT @ weight).clamp_min(1)
            # Each pair has its own samples where keypoints are missing, so an eigenvalue may be slightly negative.
            values, vectors = torch.linalg.eigh(covariance)
            self.mean[c] = mean[c]
            self.whitener[c] = vectors * (values.clamp_min(0) + VARIANCE_FLOOR).rsqrt()
        self.gathered.fill_(True)

    def forward(
        self, X: Float[Tensor, "B N 2"], visible: Bool[Tensor, "B N"], category: Int[Tensor, " B"]
    ) -> Float[Tensor, "B F"]:
        """Features of centred pictures with unit RMS; keypoints that are not visible contribute zeros."""
        X, visible = resized(X, self.keypoints), resized(visible, self.keypoints)
        X = cleaned(X, visible)
        deviation = torch.where(visible.repeat_interleave(2, 1), X.flatten(1) - self.mean.to(X)[category], 0)
        if len(self.whitener) == 1:
            white = deviation @ self.whitener[0].to(X)
        else:
            white = torch.bmm(deviation[:, None], self.whitener.to(X)[category])[:, 0]
        start, end = self.edges[category].unbind(-1)  # [B, E]
        both = self.edge_exists[category] & visible.gather(1, start) & visible.gather(1, end)
        limb = X.gather(1, start[..., None].expand(-1, -1, 2)) - X.gather(1, end[..., None].expand(-1, -1, 2))
        return torch.cat([X.flatten(1), white, 3 * cleaned(limb, both).flatten(1)], 1)


class Discriminator(nn.Module):
    """Residual MLP that says how much a picture looks like an observed one of its category; one output each.

    Input and output layers belong to a category (its keypoints mean what they mean there), the residual trunk is
    shared. The mask is an input too: a keypoint at the centre and one that is missing are different things.

    Args:
        features: F of `PictureFeatures`.
        keypoints: N of the largest rig.
        categories: C.
        generator: draws the initial weights, on the CPU.
        width, blocks: size of the trunk; LeakyReLU 0.2 throughout.
    """

    def __init__(
        self,
        features: int,
        keypoints: int,
        categories: int,
        generator: torch.Generator,
        width: int = 256,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        self.width, self.keypoints = width, keypoints
        self.enter = nn.utils.skip_init(nn.Linear, features + keypoints, categories * width)
        self.trunk = nn.ModuleList(nn.utils.skip_init(nn.Linear, width, width) for _ in range(2 * blocks))
        self.leave = nn.utils.skip_init(nn.Linear, width, categories)
        for layer in (self.enter, *self.trunk, self.leave):
            bound = layer.in_features**-0.5
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(
        self, features: Float[Tensor, "B F"], visible: Bool[Tensor, "B N"], category: Int[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        """Logit per picture: above 0 for "observed"."""
        given = torch.cat([features, resized(visible, self.keypoints).to(features)], 1)
        hidden = self.enter(given).unflatten(1, (-1, self.width))  # [B, C, D]
        hidden = hidden[torch.arange(len(given), device=given.device), category]
        hidden = F.leaky_relu(hidden, 0.2)
        for first, second in zip(self.trunk[::2], self.trunk[1::2], strict=True):
            hidden = hidden + F.leaky_relu(second(F.leaky_relu(first(hidden), 0.2)), 0.2)
        return self.leave(hidden).gather(1, category[:, None])[:, 0]


def adversary(fake: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Non-saturating generator loss on the discriminator's logits for re-projections.

        1/B sum_b softplus( -D(x'_b) )

    Assumption about the world: a shape of the category, seen by another of its cameras, gives a picture like the
    observed ones.

    Blind to the single sample: any network whose re-projections are distributed like the pictures pleases it,
        whatever it was given.
    Source: not in the paper.
    """
    return F.softplus(-fake).mean()


def discrimination(real: Float[Tensor, " B"], fake: Float[Tensor, " M"]) -> Float[Tensor, ""]:
    """Discriminator loss, mean softplus(-D(x)) + mean softplus(D(x')): 2 log 2 = 1.386 where D is undecided."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def r1_penalty(
    discriminator: nn.Module, features: Float[Tensor, "B F"], visible: Bool[Tensor, "B N"], category: Int[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Half the mean squared gradient at observed pictures, 1/2 mean || dD/df ||^2 with f the features."""
    features = features.detach().requires_grad_()
    gradient = torch.autograd.grad(discriminator(features, visible, category).sum(), features, create_graph=True)[0]
    return 0.5 * gradient.square().sum(1).mean()
