"""The M-step, and how a Gaussian becomes a mixture."""

from dataclasses import replace

import torch
from torch import Tensor

from lfmlib.recipe.cameras import CameraGrid
from lfmlib.recipe.config import RecipeConfig
from lfmlib.recipe.evidence import EStep, per_camera
from lfmlib.recipe.shape_model import ShapeModel

RIDGE = 1e-4  # relative; keypoints that few pictures show are held where they are
START = 0.1  # of the Gaussian's covariance that each part of it starts with


def m_step(found: EStep, config: RecipeConfig, grid: CameraGrid) -> tuple[ShapeModel, CameraGrid]:
    """One step of expectation-maximisation (ECME: means maximise the likelihood of the pictures, not of the shapes).

        mu   += ( sum r H^T C^-1 H )^-1 sum r H^T C^-1 (a x - H mu)
        Sigma = mean_r of E[ (y - mu)(y - mu)^T | x, g, k ],  part of it shared between the Gaussians
        noise = mean_r of E[ ||noise||^2 | x, g, k ] / (2N - 2)

    The plain update of the mean, mean_r E[y | x], moves by Sigma only, and would stand still where shapes are rigid.
    """
    model, X = found.model, found.evidence.X
    r = found.responsibilities()
    K, M = model.means.shape
    eye = torch.eye(M, dtype=X.dtype, device=X.device)
    means, covariances, masses = [], [], []
    residual, numbers = 0.0, 0.0
    for k in range(K):
        S = model.covariances[k]
        force, moved, second, stiff, mass = (X.new_zeros(s) for s in ((M,), (M,), (M, M), (M, M), ()))
        for picture, camera, pull, inverse, _ in found.pulls(r, k):
            w = r[picture, k, camera]
            move = per_camera(camera, found.spread[k], pull)
            pulled = X.new_zeros(found.H.shape[:2]).index_add_(0, camera, pull * w[:, None])
            force += torch.einsum("gp,gpm->m", pulled, found.H)
            used = camera.unique()
            H, back, inverse = found.H[used], found.spread[k, used], inverse[used]
            stiff += (H.mT @ inverse @ H).sum(0)
            second -= (back.mT @ inverse @ back).sum(0)
            moved, mass = moved + w @ move, mass + w.sum()
            second += (move * w[:, None]).mT @ move + w.sum() * S
            # given x the noise has mean s C^-1 (a x - H mu) and variance s - s^2 C^-1
            there = 2 * found.evidence.visible[picture].sum(1) - 2
            s = model.noise
            trace = inverse.diagonal(dim1=1, dim2=2).sum()
            residual += float(w @ (s * s * pull.square().sum(1) + s * there) - s * s * trace)
            numbers += float(w @ there.to(w))
        mass = mass.clamp_min(1e-6)
        e, ridge = moved / mass, RIDGE * stiff.diagonal().mean() + 1e-6
        delta = torch.linalg.solve(stiff + ridge * eye, force)
        covariance = second / mass - torch.outer(e, delta) - torch.outer(delta, e) + torch.outer(delta, delta)
        means.append(model.means[k] + delta)
        covariances.append((covariance + covariance.mT) / 2)
        masses.append(mass)
    mean, mass = torch.stack(means), torch.stack(masses)
    share = mass / mass.sum()
    pooled = sum(w * S for w, S in zip(share, covariances, strict=True))
    mixed = [(m * S + config.shrink * pooled) / (m + config.shrink) for m, S in zip(mass, covariances, strict=True)]
    mixed = [_definite(S, config.smoothing) for S in mixed]
    square = float((share @ mean.square().sum(1)) / model.keypoints)
    noise = min(residual / numbers, 2 * model.noise) / square
    grid = grid.used(r.sum((0, 1)))
    return replace(
        model, means=mean / square**0.5, covariances=torch.stack(mixed) / square,
        weights=share.clamp_min(1e-6).log(), noise=max(noise, config.floor), cameras=grid.logs().to(X),
    ), grid  # fmt: skip


def _definite(S: Tensor, smoothing: float) -> Tensor:
    """The covariance with `smoothing` added to its variances, after rounding has made some of them negative."""
    values, vectors = torch.linalg.eigh(S)
    return (vectors * (values.clamp_min(0) + smoothing)) @ vectors.mT


def posterior_means(found: EStep) -> Tensor:
    """Shape of each picture under its likeliest camera and Gaussian, upright frame; [B, 3N]."""
    r = found.likeliest()
    result = found.evidence.X.new_zeros(len(r), found.model.means.shape[1])
    for k in range(len(found.model.means)):
        for picture, camera, pull, *_ in found.pulls(r, k):
            result[picture] = found.shapes(k, camera, pull)
    return result


def split(found: EStep, components: int, generator: torch.Generator) -> ShapeModel:
    """Mixture whose parts are the clusters (k-means) of the shapes that a single Gaussian finds."""
    model = found.model
    if len(model.means) != 1:
        raise ValueError(f"only one Gaussian can be split, got {len(model.means)}")
    Y = posterior_means(found)
    label, centre = k_means(Y, components, generator)
    count = label.bincount(minlength=components).to(Y)
    own = torch.stack([(d := Y[label == k] - centre[k]).mT @ d for k in range(components)])
    rest = START * model.covariances[0]
    M = Y.shape[1]
    prior = M * (own.sum(0) / len(Y) + rest)  # as if M more shapes had the clusters' common covariance
    covariances = (own + prior) / (count + M)[:, None, None] + rest
    return replace(model, means=centre, covariances=covariances, weights=(count / len(Y)).clamp_min(1e-3).log())


def k_means(
    Y: Tensor, clusters: int, generator: torch.Generator, restarts: int = 5, iterations: int = 30
) -> tuple[Tensor, Tensor]:
    """Labels [B] and centres [clusters, M] of the best of several starts (k-means++)."""
    best = None
    for _ in range(restarts):
        first = torch.randint(len(Y), (1,), generator=generator).to(Y.device)
        centre = Y[first]
        for _ in range(clusters - 1):
            distance = torch.cdist(Y, centre).amin(1).square() + 1e-9
            centre = torch.cat([centre, Y[torch.multinomial(distance.cpu(), 1, generator=generator).to(Y.device)]])
        for _ in range(iterations):
            distance = torch.cdist(Y, centre)
            label = distance.argmin(1)
            centre = torch.stack([Y[label == k].mean(0) if (label == k).any() else centre[k] for k in range(clusters)])
        cost = float(distance.amin(1).square().mean())
        if best is None or cost < best[0]:
            best = (cost, label, centre)
    return best[1], best[2]
