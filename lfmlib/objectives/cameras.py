"""New cameras from those in use: another sample's camera, after a turn about the axis that a category's cameras share.

The axis is estimated: averaging rotations cancels what varies between cameras and leaves what they agree on.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lfmlib import geometry
from lfmlib.objectives.masked import TINY, masked_mean

MOMENTUM = 0.98  # of the running means: they forget over about 50 steps


def draw(generator: torch.Generator, *shape: int, like: Tensor, normal: bool = False) -> Tensor:
    """Uniform (or normal) numbers from the generator, wherever it lives, on `like`'s device and in its dtype."""
    sample = torch.randn if normal else torch.rand
    return sample(*shape, generator=generator, device=generator.device, dtype=torch.float32).to(like)


def category_mean(
    values: Tensor, weight: Tensor, category: Int[Tensor, " B"], categories: int
) -> tuple[Tensor, Tensor]:
    """Weighted mean of `values` [B, ...] over the samples of each category, and the weights' sum; both [C, ...]."""
    total = values.new_zeros(categories, *values.shape[1:]).index_add_(0, category, values * weight)
    count = values.new_zeros(categories, *weight.shape[1:]).index_add_(0, category, weight)
    return total / count.clamp_min(TINY), count


def swap_within(category: Int[Tensor, " B"], generator: torch.Generator) -> Int[Tensor, " B"]:
    """Random permutation of the batch that gives each sample a partner of its own category."""
    shuffled = torch.randperm(len(category), generator=generator, device=generator.device).to(category.device)
    by_category = category.argsort(stable=True)
    partners = shuffled[category[shuffled].argsort(stable=True)]
    return torch.empty_like(partners).scatter_(0, by_category, partners)


class CameraSwap(nn.Module):
    """Turns from each sample's own camera to a new one, and the running mean camera per category that they rest on.

        Q_b = R_p(b) A_b R_b^T
        A_b = rotation by a uniform angle about the common axis u_c for a share `mix` of the samples, I for the others
        u_c = first left singular vector of mean_c R^T, singular value 1 where all cameras agree on it

    Assumption about the world: cameras are exchangeable between samples of a category, and turn freely about one
    direction.

    Args:
        categories: C.
        mix: share of the samples that are turned about the axis; p permutes the samples within their category.
    """

    def __init__(self, categories: int, mix: float = 0.5) -> None:
        super().__init__()
        self.mix = mix
        self.register_buffer("mean", torch.zeros(categories, 3, 3))
        self.register_buffer("started", torch.zeros(categories, dtype=torch.bool))

    def axis(self) -> tuple[Float[Tensor, "C 3"], Float[Tensor, " C"]]:
        """Common axis in the canonical frame (sign arbitrary), and how far the cameras agree on it (0 to 1)."""
        U, S, _ = torch.linalg.svd(self.mean)
        return U[..., 0], S[..., 0]

    @torch.no_grad()
    def update(self, R: Float[Tensor, "B 3 3"], category: Int[Tensor, " B"]) -> None:
        """Move the running mean towards the cameras of this batch; a category that does not occur keeps its own."""
        mean, count = category_mean(R.mT.to(self.mean), self.mean.new_ones(len(R), 1, 1), category, len(self.mean))
        occurs = count[:, 0, 0] > 0
        moved = torch.where(self.started[:, None, None], MOMENTUM * self.mean + (1 - MOMENTUM) * mean, mean)
        self.mean.copy_(torch.where(occurs[:, None, None], moved, self.mean))
        self.started |= occurs

    @torch.no_grad()
    def forward(
        self, R: Float[Tensor, "B 3 3"], category: Int[Tensor, " B"], generator: torch.Generator
    ) -> Float[Tensor, "B 3 3"]:
        """Turns Q from the samples' cameras R (canonical to camera) to new ones; they act on column vectors."""
        axis = self.axis()[0].to(R)[category]
        angle = draw(generator, len(R), like=R) * (2 * torch.pi)
        angle = torch.where(draw(generator, len(R), like=R) < self.mix, angle, 0)
        return R[swap_within(category, generator)] @ geometry.axis_rotations(axis, angle) @ R.mT


class ReferenceShapes(nn.Module):
    """Running mean shape per category, and the cameras that aligning a camera-frame shape with it gives.

        (s, R, t) = argmin sum_V || s R^T y_i + t - m_i ||^2,   R in SO(3);    m <- 0.98 m + 0.02 mean_b (s R^T y + t)

    A network that predicts depth only has no canonical frame of its own; this is one. It starts as the first sample
    seen, with noise for what it cannot know, and is kept centred with unit RMS radius.

    Args:
        categories: C.
        keypoints: N of the largest rig; every argument below has this many.
        noise: standard deviation of the start, in RMS radii.
    """

    def __init__(self, categories: int, keypoints: int, noise: float = 0.3) -> None:
        super().__init__()
        self.noise = noise
        self.register_buffer("shape", torch.zeros(categories, keypoints, 3))
        self.register_buffer("started", torch.zeros(categories, dtype=torch.bool))

    @torch.no_grad()
    def start(
        self,
        Y: Float[Tensor, "B N 3"],
        rig: Bool[Tensor, "C N"],
        category: Int[Tensor, " B"],
        generator: torch.Generator,
    ) -> None:
        """Give every category of this batch that has no reference shape one: its first sample plus noise."""
        for value in category[~self.started[category]].unique().tolist():
            first = Y[(category == value).nonzero()[0, 0]].to(self.shape)
            noisy = first + self.noise * draw(generator, *first.shape, like=first, normal=True)
            self.shape[value] = _unit(noisy, rig[value])
            self.started[value] = True

    @torch.no_grad()
    def align(
        self, Y: Float[Tensor, "B N 3"], category: Int[Tensor, " B"], visible: Bool[Tensor, "B N"]
    ) -> geometry.Similarity:
        """Similarity from each shape to its category's reference shape; its R is the camera's transpose."""
        return geometry.align(Y.detach(), self.shape[category].to(Y), visible, mirror="so3")

    @torch.no_grad()
    def update(
        self,
        aligned: Float[Tensor, "B N 3"],
        rig: Bool[Tensor, "C N"],
        category: Int[Tensor, " B"],
        visible: Bool[Tensor, "B N"],
    ) -> None:
        """Move each reference shape towards its category's aligned shapes, keypoint by keypoint where visible."""
        weight = visible[..., None].to(self.shape)
        values = torch.where(visible[..., None], aligned, 0).to(self.shape)
        mean, count = category_mean(values, weight, category, len(self.shape))
        moved = torch.where(count > 0, MOMENTUM * self.shape + (1 - MOMENTUM) * mean, self.shape)
        for value in category.unique().tolist():
            self.shape[value] = _unit(moved[value], rig[value])


def _unit(shape: Float[Tensor, "N 3"], rig: Bool[Tensor, " N"]) -> Float[Tensor, "N 3"]:
    """Centred with unit RMS radius over the rig's keypoints, 0 at the padding."""
    shape = torch.where(rig[:, None], shape, 0)
    shape = torch.where(rig[:, None], shape - shape.sum(0) / rig.sum(), 0)
    return shape / masked_mean(shape.square().sum(-1)[None], rig[None]).sqrt().clamp_min(1e-6)
