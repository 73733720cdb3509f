"""The E-step: how likely each camera and each Gaussian is for each picture, and where the picture pulls the shape.

Pictures that show the same keypoints share one factorisation per camera; the others get their own, for the cameras that
matter to them.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lfmlib.geometry import centred
from lfmlib.recipe.rigid import best_scale
from lfmlib.recipe.shape_model import ShapeModel

NEGLIGIBLE = 1e-3  # responsibility below which a camera is left out of the sums
ALIKE = 8  # this many pictures with the same keypoints share a factorisation
CHUNK = 8192  # (picture, camera) pairs that are factorised at a time
PRODUCTS = 2**22  # products of two coordinates that are held at a time
ACTIVE = 6  # cameras that a picture keeps between two searches where it has factorisations of its own


class Pull(NamedTuple):
    """What pictures say about the shapes of one Gaussian.

    picture, camera [pairs]; pull C^-1 (a x - P R mu) [pairs, 2N], 0 at hidden keypoints, so that the mean of the shape
    given picture and camera is mu + Sigma (P R)^T pull; C^-1 summed over the pairs of each camera, weighted by
    responsibility [G, 2N, 2N]; and `undo`, which takes v [pairs, 2N] to C^-1 v.
    """

    picture: Tensor
    camera: Tensor
    pull: Tensor
    inverse: Tensor
    undo: Callable[[Tensor], Tensor]


class Shared(NamedTuple):
    """Pictures that show the same keypoints: their rows, what they show [N], C^-1 per Gaussian and camera
    [K, G, 2N, 2N]."""

    rows: Tensor
    seen: Tensor
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
        self.searched = 0  # cameras of the grid that `active` comes from

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
        search: look at all cameras again, not only at those that mattered at the last search; pictures that share
            factorisations always look at all.

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
        self.shared = [self._group(rows) for rows in evidence.groups]
        if len(evidence.others):
            self._others(search or evidence.searched != len(self.H))
            evidence.searched = len(self.H)

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
        for rows, seen, inverse in self.shared:
            which, camera = (r[rows, k] > NEGLIGIBLE).nonzero(as_tuple=True)
            if len(camera):
                chosen = rows[which]
                weight = x.new_zeros(len(self.H)).index_add_(0, camera, r[chosen, k, camera])
                undo = partial(per_camera, camera, inverse[k])
                mean = _centred(self.pictures[k], seen)[camera]
                pull = undo(self.scale[chosen, k, camera, None] * x[chosen] - mean)
                yield Pull(chosen, camera, pull, weight[:, None, None] * inverse[k], undo)
        others = self.evidence.others
        which, cameras = (r[others, k] > NEGLIGIBLE).nonzero(as_tuple=True)
        for chosen, camera in zip(others[which].split(CHUNK), cameras.split(CHUNK), strict=True):
            seen = self.evidence.visible[chosen]
            inverse, _ = self.inverse(self.C[k][camera], seen)
            undo = partial(_times, inverse)
            pull = undo(self.scale[chosen, k, camera, None] * x[chosen] - _centred(self.pictures[k][camera], seen))
            total = torch.zeros_like(self.C[k])
            total.index_add_(0, camera, r[chosen, k, camera, None, None] * inverse)
            yield Pull(chosen, camera, pull, total, undo)

    def shapes(self, k: int, camera: Tensor, pull: Float[Tensor, "B P"]) -> Float[Tensor, "B M"]:
        """Mean of the shape given picture, camera and Gaussian k, from what `pulls` yields; upright frame, [B, 3N]."""
        return self.model.means[k] + per_camera(camera, self.spread[k], pull)

    def _group(self, rows: Tensor) -> Shared:
        """Scores pictures that show the same keypoints, for all Gaussians and cameras at once.

        x^T C^-1 x is linear in C^-1: one product of all pictures' x x^T with all inverses. In double precision, because
        little is left of numbers as large as 1 / noise.
        """
        (K, G), model, seen = self.log.shape[1:], self.model, self.evidence.visible[rows[0]]
        x, there = self.evidence.X[rows].flatten(1), seen.repeat_interleave(2)
        inverse, half = self.inverse(self.C.flatten(0, 1), seen.expand(K * G, -1))
        m = _centred(self.pictures.flatten(0, 1), seen)
        towards = _times(inverse, m)  # [K G, 2N]
        size, prior = (towards * m).sum(-1), (model.weights[:, None] + model.cameras).flatten()
        d = x.new_tensor(2.0 * int(seen.sum()) - 2)
        i, j = torch.triu_indices(int(there.sum()), int(there.sum()), device=x.device)
        forms = inverse[:, there][:, :, there][:, i, j].double() * torch.where(i == j, 1, 2)
        towards = towards.double().mT
        for part in torch.arange(len(rows), device=x.device).split(max(1, PRODUCTS // len(i))):
            y = x[part].double()
            shown = y[:, there]
            square = (shown[:, i] * shown[:, j]) @ forms.mT
            log, a = self._score(square.to(x), (y @ towards).to(x), size, half, d)
            self.log[rows[part]], self.scale[rows[part]] = (log + prior).view(-1, K, G), a.view(-1, K, G)
        return Shared(rows, seen, inverse.view(K, G, *inverse.shape[1:]))

    def _others(self, search: bool) -> None:
        """Scores pictures one by one; a search goes through all cameras, with one Gaussian like the whole mixture."""
        evidence, model = self.evidence, self.model
        if search:
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
                m = _centred(self.pictures[k][camera], seen)
                pulled, towards = _times(inverse, x), _times(inverse, m)
                log, a = self._score((pulled * x).sum(1), (towards * x).sum(1), (towards * m).sum(1), half, d)
                self.log[chosen, k, camera] = log + model.cameras[camera] + model.weights[k]
                self.scale[chosen, k, camera] = a

    @staticmethod
    def _score(square: Tensor, cross: Tensor, size: Tensor, half: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        a = best_scale(square, cross, d)
        return d * a.log() - half - 0.5 * (a.square() * square - 2 * a * cross + size), a

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


def per_camera(
    camera: Int[Tensor, " pairs"], matrices: Float[Tensor, "G P M"], v: Float[Tensor, "pairs P"]
) -> Float[Tensor, "pairs M"]:
    """Rows times the matrix of their camera: as many rows as the fullest camera has go through all matrices at once."""
    order = camera.argsort(stable=True)
    camera, count = camera[order], camera.bincount(minlength=len(matrices))
    place = torch.arange(len(camera), device=camera.device) - (count.cumsum(0) - count)[camera]
    used, row = camera.unique_consecutive(return_inverse=True)
    rows = v.new_zeros(len(used), int(count.max()), v.shape[1])
    rows[row, place] = v[order]
    result = v.new_empty(len(v), matrices.shape[2])
    result[order] = (rows @ matrices[used])[row, place]
    return result


def _times(matrices: Tensor, v: Tensor) -> Tensor:
    return (matrices @ v[..., None])[..., 0]


def _centred(m: Tensor, seen: Tensor) -> Tensor:
    """Pictures [.., 2N], centred on what is seen and 0 elsewhere."""
    return centred(m.unflatten(-1, (-1, 2)), seen.expand(*m.shape[:-1], -1)).flatten(-2)
