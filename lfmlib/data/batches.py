"""Batches: pictures of drawn shapes, with missing and hidden keypoints, padded; and fixed evaluation sets."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lfmlib.data import real
from lfmlib.data.mix import WASTE, Bucket, Generators, Mix, uniform
from lfmlib.data.shapes import PICTURES, ShapeSet
from lfmlib.data.surface import Surfaces
from lfmlib.data.views import (
    RANGES,
    CameraConfig,
    EvaluationViews,
    Views,
    normalise,
    upright,
    view_rotations,
    visible_or_all,
)


class ViewSampler:
    """Draws pictures of shapes: a category, a shape of it, a camera; projected, masked, normalised, padded.

    Args:
        shapes: one set per category, in the order of the category index.
        cameras: the distribution of viewing directions.
        missing: chance that a keypoint goes unseen, at random, with at least 4 left in sight (or all there are).
        self_occlusion: keypoints hidden by the object itself are unseen (needs sets with a visibility table or a
            surface).
        fixed_views: a generator makes every shape have one camera for ever, drawn now: the strict setting, as if each
            frame had been photographed once; several give each of several arms its own. None: a new camera at every
            draw.
        temperature, waste: shares of the categories and padding of a batch, see `Mix`.
        device: where the shapes lie and the batches are made.
    Raises:
        ValueError: no set; `missing` out of range; self_occlusion without table or surface; as `Mix`.
    """

    def __init__(
        self,
        shapes: Sequence[ShapeSet],
        cameras: CameraConfig,
        missing: float = 0.0,
        self_occlusion: bool = False,
        fixed_views: Generators | None = None,
        device: str | torch.device = "cpu",
        temperature: float | int | None = None,
        waste: float | int = WASTE,
    ) -> None:
        if not shapes:
            raise ValueError("a sampler needs at least one category")
        if not 0 <= missing < 1:
            raise ValueError(f"missing is {missing!r}, expected a chance in [0, 1)")
        self.cameras, self.missing, self.device = cameras, missing, torch.device(device)
        self.rigs = tuple(s.rig for s in shapes)
        sizes = [rig.n for rig in self.rigs]
        self.mix = Mix(sizes, [len(s) for s in shapes], temperature, waste, self.device)
        self.turn = 0  # batches drawn so far: what a resumed run has to restore
        # keypoints of all frames one after the other: padding each frame to the largest rig would take several times
        # the memory
        flat = torch.cat([(s.points @ upright(s.rig.up).T).flatten(0, 1) for s in shapes])
        self.points = flat.to(self.device)  # [sum F_c N_c, 3]
        known = torch.cat([s.known.flatten() for s in shapes])
        self.known = None if bool(known.all()) else known.to(self.device)
        self.size = torch.tensor(sizes, device=self.device)
        self.count = torch.tensor([len(s) for s in shapes], device=self.device)
        self.start = self.count.cumsum(0) - self.count  # of each category among the frames
        self.first = (self.count * self.size).cumsum(0) - self.count * self.size  # and among the keypoints
        taken = [s.tag == PICTURES for s in shapes]
        self.taken = torch.tensor(taken, device=self.device) if any(taken) else None  # seen as they are
        self.viewpoints = None
        if cameras.source != RANGES:
            self.viewpoints = torch.stack(tuple(real.load_viewpoints(cameras.source))).to(self.device)  # [3, V]
        self.tables, self.surfaces = None, None
        if self_occlusion:
            for s in shapes:
                if s.cad_views is None and s.surface is None:
                    raise ValueError(
                        f"{s.rig.name} has no visibility table and no surface: self_occlusion must be False"
                    )
            self.tables = [s.cad_views for s in shapes]
            if any(table is None for table in self.tables):
                every = Surfaces([s.surface if s.cad_views is None else None for s in shapes], self.device)
                buckets = (*self.mix.buckets, self.mix.whole)
                self.surfaces = {id(bucket): every.among(bucket.categories.tolist()) for bucket in buckets}
        reach = [cameras.azimuth, cameras.elevation, cameras.roll]
        self.reach = torch.tensor(reach, device=self.device)[:, None] * (math.pi / 180)
        self.fixed = None
        if fixed_views is not None:
            arms = 1 if isinstance(fixed_views, torch.Generator) else len(fixed_views)
            self.fixed = self._angles(arms * int(self.count.sum()), fixed_views)  # [3, arms T]

    def draw(self, count: int, generator: Generators, mixed: bool = False) -> Views:
        """Pictures of random shapes; `mixed`: of all categories at once and alike, not of one bucket.

        Several generators share the count: each gives its part, the same as if it had been asked alone.
        """
        views = self.draw_with_truth(count, generator, mixed)
        return Views(views.X, views.visible, views.category)

    def draw_with_truth(self, count: int, generator: Generators, mixed: bool = False) -> EvaluationViews:
        """The same pictures with their 3D, for measuring and for methods that say that they use 3D."""
        bucket = self.mix.whole if mixed else self.mix.turn(self.turn)
        self.turn += not mixed
        category = bucket.draw(count, generator)
        inside = uniform(generator, (count,), dtype=torch.float64)
        frame = self.start[category] + (inside * self.count[category]).long()
        return self.views_of(frame, category, generator, bucket)

    def views_of(
        self, frame: Tensor, category: Tensor, generator: Generators, bucket: Bucket | None = None
    ) -> EvaluationViews:
        """Pictures of chosen frames (index into all sets, one after the other), padded to the bucket's largest rig."""
        angles, shown = self._view(frame, category, generator)
        if self.taken is not None:
            angles = torch.where(self.taken[category], 0, angles)
        R = view_rotations(*angles)
        bucket = bucket or self.mix.whole
        points, known = self._shapes(frame, category, bucket)
        Y = points @ R.mT
        visible = known if shown is None else visible_or_all(known, Y) & shown[:, : Y.shape[1]]
        if self.tables is not None:
            visible = visible_or_all(visible, Y) & self._unhidden(Y, frame, category, angles, known, bucket)
        if self.missing > 0:
            visible = visible_or_all(visible, Y)
            visible = visible & self._kept(visible, generator)
        X, _, _ = normalise(Y[..., :2], visible)
        return EvaluationViews(X, visible, category, Y, visible_or_all(known, Y))

    def _view(self, frame: Tensor, category: Tensor, generator: Generators) -> tuple[Tensor, Tensor | None]:
        """Angles of a camera for each frame [3, B], and which keypoints it may show (None: all) [B, N]."""
        angles = self._angles(len(frame), generator) if self.fixed is None else self._own_angles(frame, generator)
        return angles, None

    def _shapes(self, frame: Tensor, category: Tensor, bucket: Bucket) -> tuple[Tensor, Tensor | None]:
        """Keypoints of the frames, 0 where there are none, and which there are (None: all); [B, N, 3], [B, N]."""
        n = bucket.keypoints
        at = torch.arange(n, device=self.device)
        size = self.size[category]
        index = (self.first[category] + (frame - self.start[category]) * size)[:, None] + at  # [B, N]
        there = None
        if bucket.waste > 0:
            there = at < size[:, None]
            index = torch.where(there, index, 0)
        points = self.points[index]
        if self.known is not None:
            there = self.known[index] if there is None else there & self.known[index]
        return (points if there is None else torch.where(there[..., None], points, 0)), there

    def _angles(self, count: int, generator: Generators) -> Tensor:
        if self.viewpoints is not None:
            known = self.viewpoints.shape[1]
            at = uniform(generator, (count,), dtype=torch.float64) * known
            return self.viewpoints[:, at.long().clamp_max(known - 1)]
        return (uniform(generator, (3, count), axis=1) * 2 - 1) * self.reach

    def _own_angles(self, frame: Tensor, generator: Generators) -> Tensor:
        """The one camera that each frame has, in the arm that its generator belongs to."""
        if isinstance(generator, torch.Generator):
            return self.fixed[:, frame]
        arm = torch.arange(len(frame), device=self.device) // (len(frame) // len(generator))
        return self.fixed[:, frame + arm * (self.fixed.shape[1] // len(generator))]

    def _unhidden(
        self, Y: Tensor, frame: Tensor, category: Tensor, angles: Tensor, known: Tensor | None, bucket: Bucket
    ) -> Tensor:
        result = torch.ones(Y.shape[:2], dtype=torch.bool, device=self.device)
        if self.surfaces is not None:
            result = ~self.surfaces[id(bucket)].hide(Y, category, known)
        degrees = angles[:2].rad2deg()
        for c, table in enumerate(self.tables):
            if table is None:
                continue
            mine = (category == c).nonzero().squeeze(1)
            azimuth, elevation = (t.to(self.device) for t in (table.azimuth, table.elevation))
            turn = (degrees[0, mine, None] - azimuth + 180) % 360 - 180
            nearest = (turn.square() + (degrees[1, mine, None] - elevation).square()).argmin(1)
            rows = table.visible.to(self.device)[frame[mine] - self.start[c], nearest] > 0
            result[mine, : rows.shape[1]] = rows
        there = result if known is None else result & known
        enough = there.sum(1, keepdim=True) >= 3
        return result | ~enough  # a view that hides nearly everything cannot be used: taken as unoccluded

    def _kept(self, visible: Tensor, generator: Generators) -> Tensor:
        score = uniform(generator, tuple(visible.shape))
        safe = torch.where(visible, score, -1).topk(min(4, visible.shape[1]), dim=1).indices
        return (score >= self.missing).scatter(1, safe, True)


def evaluation_views(
    shapes: Sequence[ShapeSet],
    cameras: CameraConfig,
    per_category: int,
    seed: int,
    missing: float = 0.0,
    self_occlusion: bool = False,
    device: str | torch.device = "cpu",
) -> EvaluationViews:
    """A fixed evaluation set: so many views per category, the same for the same seed on every device.

    A category with at least that many shapes gives each chosen one a single view; one with fewer gives them all, again
    and again, each time from another side.
    """
    generator = torch.Generator().manual_seed(seed)
    sampler = ViewSampler(shapes, cameras, missing, self_occlusion)
    frames, categories = [], []
    for c, s in enumerate(shapes):
        rounds = [torch.randperm(len(s), generator=generator) for _ in range(-(-per_category // len(s)))]
        frames.append(sampler.start[c] + torch.cat(rounds)[:per_category])
        categories.append(torch.full((per_category,), c))
    views = sampler.views_of(torch.cat(frames), torch.cat(categories), generator)
    visible = None if views.visible is None else views.visible.to(device)
    X, *others = (v.to(device) for v in (views.X, views.category, views.Y, views.known))
    return EvaluationViews(X, visible, *others)
