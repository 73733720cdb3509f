"""The E-step: how likely each camera and each Gaussian is for each picture, and where the picture pulls the shape.

Pictures that show the same keypoints share one factorisation per camera; the others get their own, for the cameras that
matter to them.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lfmlib.recipe.rigid import best_scale
from lfmlib.recipe.shape_model import ShapeModel

NEGLIGIBLE = 1e-3  # responsibility below which a camera is left out of the sums
ALIKE = 8  # this many pictures with the same keypoints share a factorisation
CHUNK = 8192  # (picture, camera) pairs that are factorised at a time
NEAR = 12.0  # log-likelihood below the best at which a camera is left out until the next search
ACTIVE = 6  # cameras that a picture keeps between two searches where it has factorisations of its own


class Pull(NamedTuple):
    """What pictures say about the shapes of one Gaussian.

    picture, camera [pairs]; pull C^-1 (a x - P R mu) [pairs, 2N], 0 at hidden keypoints, so that the mean of the shape
    given picture and camera is mu + Sigma (P R)^T pull; and C^-1 summed over the pairs, weighted by responsibility:
    [2N, 2N] where the pairs have one camera, [G, 2N, 2N] where they have several.
    """

    picture: Tensor
    camera: Tensor
    pull: Tensor
    inverse: Tensor


class Degenerate(ValueError):
    """A covariance is not positive definite: the pictures do not support the model, or its numbers overflowed."""


class Evidence:
    """Pictures, sorted by what they show.

    Args:
        X: centred on the visible keypoints, anything where not visible; [B, N, 2].
        visible: [B, N].
    """

    def __init__(self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"]) -> None:
        self.X, self.visible = torch.where(visible[..., None], X, 0), visible
        _, kind, count = visible.unique(dim=0, return_inverse=True, return_counts=True)
        self.groups = [(kind == i).nonzero()[:, 0] for i in (count >= ALIKE).nonzero()[:, 0].tolist()]
        self.others = (count[kind] < ALIKE).nonzero()[:, 0]
        self.active: Int[Tensor, "others ACTIVE"] | None = None
        self.near: Bool[Tensor, "B G"] | None = None

    def __len__(self) -> int:
        return len(self.X)

    def thrifty(self, others: int) -> "Evidence":
        """Without all but the first so many of the pictures that need factorisations of their own."""
        if len(self.others) <= others:
            return self
        kept = torch.ones(len(self), dtype=torch.bool, device=self.X.device)
        kept[self.others[others:]] = False
        return Evidence(self.X[kept], self.visible[kept])

    def head(self, count: int) -> "Evidence":
        """The first pictures."""
        return self if count >= len(self) else Evidence(self.X[:count], self.visible[:count])


class EStep:
    """One E-step.

    Args:
        evidence: the pictures.
        model: the shapes and cameras that may explain them.
        search: look at all cameras again, not only at those that mattered at the last search.

    Attributes:
        log: log p(x_b, g, k) up to a constant of the picture, -inf where a camera was not looked at; [B, K, G].
        scale: a; [B, K, G].
    """

    def __init__(self, evidence: Evidence, model: ShapeModel, search: bool = True) -> None:
        self.evidence, self.model = evidence, model
        self.H = model.projections()  # [G, 2N, 3N]
        self.pictures = torch.einsum("gpm,km->kgp", self.H, model.means)  # [K, G, 2N]
        self.spread = torch.stack([self.H @ S for S in model.covariances])  # [K, G, 2N, 3N]
        self.tangents = model.tangents()  # [K, G, 2N, 3]
        self.C = torch.stack([s @ self.H.mT for s in self.spread]) + self.tangents @ self.tangents.mT
        size = (len(evidence), len(model.means), len(self.H))
        self.log, self.scale = evidence.X.new_full(size, -math.inf), evidence.X.new_zeros(size)
        everywhere = search or evidence.near is None or evidence.near.shape[1] != len(self.H)
        self.shared = [(rows, self._group(rows, everywhere)) for rows in evidence.groups]
        if len(evidence.others):
            self._others(everywhere)
        if everywhere:
            best = self.log.amax(1)  # [B, G]
            evidence.near = best > best.amax(1, keepdim=True) - NEAR

    def likelihood(self) -> Float[Tensor, " B"]:
        """log p(x_b) up to a constant of the picture."""
        return self.log.flatten(1).logsumexp(1)

    def responsibilities(self) -> Float[Tensor, "B K G"]:
        """p(g, k | x_b)."""
        return torch.softmax(self.log.flatten(1), 1).view_as(self.log)

    def likeliest(self) -> Float[Tensor, "B K G"]:
        """1 at the likeliest camera and Gaussian of each picture, else 0."""
        best = self.log.flatten(1).argmax(1, keepdim=True)
        return torch.zeros_like(self.log).flatten(1).scatter_(1, best, 1.0).view_as(self.log)

    def pulls(self, r: Float[Tensor, "B K G"], k: int) -> Iterator[Pull]:
        """What the pictures say about Gaussian k, wherever its responsibility r is above `NEGLIGIBLE`."""
        x = self.evidence.X.flatten(1)
        for rows, inverses in self.shared:
            seen, weight = self.evidence.visible[rows[0]], r[rows, k]
            for g in (weight > NEGLIGIBLE).any(0).nonzero()[:, 0].tolist():
                chosen = rows[weight[:, g] > NEGLIGIBLE]
                mean = self._picture(k, torch.tensor(g, device=x.device), seen)
                pull = (self.scale[chosen, k, g, None] * x[chosen] - mean) @ inverses[k][g]
                yield Pull(chosen, torch.full_like(chosen, g), pull, r[chosen, k, g].sum() * inverses[k][g])
        others = self.evidence.others
        which, cameras = (r[others, k] > NEGLIGIBLE).nonzero(as_tuple=True)
        for chosen, camera in zip(others[which].split(CHUNK), cameras.split(CHUNK), strict=True):
            seen = self.evidence.visible[chosen]
            inverse, _ = self.inverse(self.C[k][camera], seen)
            difference = self.scale[chosen, k, camera, None] * x[chosen] - self._picture(k, camera, seen)
            pull = (inverse @ difference[..., None])[..., 0]
            total = torch.zeros_like(self.C[k])
            total.index_add_(0, camera, r[chosen, k, camera, None, None] * inverse)
            yield Pull(chosen, camera, pull, total)

    def shapes(self, k: int, camera: Tensor, pull: Float[Tensor, "B P"]) -> Float[Tensor, "B M"]:
        """Mean of the shape given picture, camera and Gaussian k, from what `pulls` yields; upright frame, [B, 3N]."""
        return self.model.means[k] + torch.einsum("bp,bpm->bm", pull, self.spread[k][camera])

    def _group(self, rows: Tensor, everywhere: bool) -> list[Tensor]:
        """Scores pictures that show the same keypoints; returns the inverse covariances [G, 2N, 2N] per Gaussian."""
        x, seen, inverses = self.evidence.X[rows].flatten(1), self.evidence.visible[rows[0]], []
        every = torch.arange(len(self.H), device=x.device)
        d = x.new_tensor(2.0 * int(seen.sum()) - 2)
        for k in range(len(self.model.means)):
            inverse, half = self.inverse(self.C[k], seen.expand(len(every), -1))
            m = self._picture(k, every, seen)
            towards = (inverse @ m[..., None])[..., 0]
            prior, size = self.model.cameras + self.model.weights[k], (towards * m).sum(-1)
            for g in range(len(every)):
                at = slice(None) if everywhere else self.evidence.near[rows, g]
                y, to = x[at], rows[at]
                log, a = self._score(((y @ inverse[g]) * y).sum(1), y @ towards[g], size[g], half[g], d)
                self.log[to, k, g], self.scale[to, k, g] = log + prior[g], a
            inverses.append(inverse)
        return inverses

    def _others(self, search: bool) -> None:
        """Scores pictures one by one; a search goes through all cameras, with one Gaussian like the whole mixture."""
        evidence, model = self.evidence, self.model
        if search or evidence.active is None:
            if len(model.means) > 1:
                rows = evidence.others
                coarse = EStep(Evidence(evidence.X[rows], evidence.visible[rows]), model.collapsed())
                evidence.active = coarse.log[:, 0].topk(min(ACTIVE, len(self.H)), 1).indices
            else:
                every = torch.arange(len(self.H), device=evidence.X.device)
                self._pairs(every.expand(len(evidence.others), -1))
                evidence.active = self.log[evidence.others, 0].topk(min(ACTIVE, len(self.H)), 1).indices
                return
        self._pairs(evidence.active)

    def _pairs(self, cameras: Int[Tensor, "others cameras"]) -> None:
        evidence, model = self.evidence, self.model
        rows = evidence.others[:, None].expand_as(cameras)
        for chosen, camera in zip(rows.flatten().split(CHUNK), cameras.flatten().split(CHUNK), strict=True):
            seen, x = evidence.visible[chosen], evidence.X[chosen].flatten(1)
            d = (2 * seen.sum(1) - 2).to(x)
            for k in range(len(model.means)):
                inverse, half = self.inverse(self.C[k][camera], seen)
                m = self._picture(k, camera, seen)
                pulled, towards = ((inverse @ v[..., None])[..., 0] for v in (x, m))
                log, a = self._score((pulled * x).sum(1), (towards * x).sum(1), (towards * m).sum(1), half, d)
                self.log[chosen, k, camera] = log + model.cameras[camera] + model.weights[k]
                self.scale[chosen, k, camera] = a

    @staticmethod
    def _score(square: Tensor, cross: Tensor, size: Tensor, half: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        a = best_scale(square, cross, d)
        return d * a.log() - half - 0.5 * (a.square() * square - 2 * a * cross + size), a

    def _picture(self, k: int, camera: Tensor, seen: Tensor) -> Tensor:
        """Picture of the mean shape, centred on what is seen and 0 elsewhere; [.., 2N]."""
        m = torch.where(seen[..., None], self.pictures[k][camera].unflatten(-1, (-1, 2)), 0)
        return torch.where(seen[..., None], m - m.sum(-2, keepdim=True) / seen.sum(-1)[..., None, None], 0).flatten(-2)

    def inverse(self, C: Float[Tensor, "pairs P P"], seen: Bool[Tensor, "pairs N"]) -> tuple[Tensor, Tensor]:
        """Inverse covariance of pictures centred on what is seen, and half the logarithm of the determinant.

        Hidden keypoints have zeros in the inverse and add nothing to the determinant.
        """
        N = seen.shape[1]
        row, column = seen[:, :, None, None, None], seen[:, None, None, :, None]
        n = seen.sum(1)[:, None, None, None, None]
        C = torch.where(row & column, C.unflatten(2, (N, 2)).unflatten(1, (N, 2)), 0)
        C = C - torch.where(row, C.sum(1, keepdim=True) / n, 0)
        C = (C - torch.where(column, C.sum(3, keepdim=True) / n, 0)).flatten(3).flatten(1, 2)
        there = seen.repeat_interleave(2, 1)
        L, failed = torch.linalg.cholesky_ex(C + torch.diag_embed(torch.where(there, self.model.noise, 1.0)))
        if bool(failed.any()):
            raise Degenerate("shape model: a picture's covariance is not positive definite")
        inverse = torch.cholesky_inverse(L)
        # centring has removed the mean: it is no observation, so it has no part in the inverse or the determinant
        middle = torch.eye(2).to(C).repeat(N, N) / (self.model.noise * n.flatten()[:, None, None])
        inverse = torch.where(there[:, :, None] & there[:, None, :], inverse - middle, 0)
        return inverse, L.diagonal(dim1=1, dim2=2).log().sum(1) - math.log(self.model.noise)
