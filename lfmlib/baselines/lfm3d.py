"""3D-LFM: a graph transformer over unnamed keypoints, trained on 3D truth that its canonical shapes are aligned to."""

import copy
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lfmlib import geometry
from lfmlib.baselines.graph_attention import Layer, linear
from lfmlib.baselines.interface import evaluating
from lfmlib.baselines.supervised import camera_frame_error
from lfmlib.data.views import EvaluationViews
from lfmlib.encodings import check_choice, draw_tpe, tpe
from lfmlib.objectives.fitting import read_out
from lfmlib.objectives.masked import cleaned
from lfmlib.objectives.supervision import supervised_3d
from lfmlib.rigs import Rig

EMBEDDINGS = ("tpe", "linear")
MIRRORS = ("o3", "so3")


def size_for(samples: int) -> dict[str, int]:
    """The paper's width and heads for a number of training shapes, as arguments of `LFM3D`.

    Raises:
        ValueError: no sample.
    Source: supplement, Sec. I: D = 512 with 8 heads above 10,000, 256 with 4 from 1,000 on, 64 with 4 below. It names
        1,000 in both of the latter.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}: expected 1 or more")
    if samples > 10_000:
        return {"width": 512, "heads": 8}
    return {"width": 256 if samples >= 1_000 else 64, "heads": 4}


class LFM3D(nn.Module):
    """Lifts keypoints of any rig by one set of weights that knows of a rig its edges alone.

        Z_0 = TPE(X), the learned vector `missing` where a keypoint is hidden
        Z <- Z + [GA(LN Z, A), MHSA(LN Z)] W + c,   Z <- Z + MLP(LN Z),   L times
        Y = MLP(LN Z)
        loss = 1/B sum_b min_{s, R, t} mean_V || s R y_b + t - Y_b ||^2 / rms_V(Y_b)^2,   V the keypoints with a truth

    X is centred on the visible mean and divided by its largest coordinate. There is no index encoding, so keypoints may
    stand in any order and number. Hidden ones keep their place in the graph and are predicted; padding takes no part.
    With graph attention it has L (14 D^2 + 15 D) + D^2 + 7 D + 3 weights (feed-forward width 4 D).

    Train it on `ViewSampler(...).draw_with_truth`. It sees 3D labels: never compare it with a 2D-only method as one.

    Args:
        rigs: the categories, in the order of the category index.
        generator: draws the weights and TPE's frequencies.
        width, heads, layers: D, H, L; see `size_for`.
        embedding: "tpe", or "linear": X W + b, learned (an ablation of the paper).
        tpe_sigma: frequency scale of TPE, radians per unit of the scaled picture.
        graph: False leaves out GA, and A with it (an ablation of the paper).
        procrustes: False compares without alignment, in the camera frame (an ablation of the paper).
        mirror: "o3" lets R be a reflection, "so3" does not.
    Raises:
        ValueError: no rig; a rig without edges where `graph`; no head or layer; width odd or not a multiple of the
            heads; an unknown embedding or mirror policy; tpe_sigma negative or not finite.
    Source: Dabhi, Jeni and Lucey, "3D-LFM: Lifting foundation model", CVPR 2024, Secs. III and IV.4 and its supplement.
        R = U V^T as printed allows reflections, so "o3" is the default. Measure it under O(3): where edges are as
        symmetric as the body, and cameras look down as often as up, a shape and its mirror image from the other side
        give the same input, and "so3" and `procrustes` off learn the middle of both. Ours: norm before each block and a
        skip around both (Eq. 7 has none around the attention, and its concatenation would double the width at every
        layer), W, the feed-forward width, the hidden layer of the head, the scale s by least squares, lengths in RMS
        radii so that categories in any unit weigh alike, tpe_sigma, and `missing` (the paper multiplies hidden
        coordinates by 0, which makes them look like the centre). `fitting.fit` trains it: the paper's plateau decay
        (patience 20 epochs from 1e-3) and early stop (30) would need a validation error in 3D, a cosine schedule
        replaces both.
    """

    def __init__(
        self,
        rigs: Sequence[Rig],
        generator: torch.Generator,
        width: int = 64,
        heads: int = 4,
        layers: int = 4,
        embedding: str = "tpe",
        tpe_sigma: float | int = 2.0,
        graph: bool = True,
        procrustes: bool = True,
        mirror: str = "o3",
    ) -> None:
        super().__init__()
        check_choice("embedding", embedding, EMBEDDINGS)
        check_choice("mirror", mirror, MIRRORS)
        for name, number in (("heads", heads), ("layers", layers)):
            if number < 1:
                raise ValueError(f"{name} is {number}: expected 1 or more")
        if width < 2 or width % 2 or width % heads:
            raise ValueError(f"width is {width}: expected an even multiple of the {heads} heads")
        if not 0 <= tpe_sigma < math.inf:
            raise ValueError(f"tpe_sigma is {tpe_sigma!r}: expected a finite number, 0 or more")
        self.graph, self.procrustes, self.mirror = graph, procrustes, mirror
        self.missing = nn.Parameter(torch.randn(width, generator=generator) * width**-0.5)  # TPE has norm 1, too
        self.layers = nn.ModuleList(Layer(width, heads, graph, generator) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(linear(width, width, generator), nn.GELU(), linear(width, 3, generator))
        # last, so that both embeddings go with the same weights elsewhere
        for name, drawn in zip(("tpe_w", "tpe_b"), draw_tpe(width, tpe_sigma, generator), strict=True):
            self.register_buffer(name, drawn)
        self.embed = linear(2, width, generator) if embedding == "linear" else None
        self._use(rigs)

    def with_rigs(self, rigs: Sequence[Rig]) -> "LFM3D":
        """A copy with the same weights for other categories, trained on or not: rig transfer and unseen categories."""
        other = copy.deepcopy(self)
        other._use(rigs)
        return other

    def forward(
        self,
        X: Float[Tensor, "B N xy"],
        visible: Bool[Tensor, "B N"] | None = None,
        category: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B N xyz"]:
        """Shapes in the network's own frame and unit.

        Args:
            X: keypoints, image frame, any place and unit; anything where not visible; [B, N, 2].
            visible: None = all that the rig has; [B, N].
            category: index into the rigs; None where there is one rig; [B].
        Returns:
            [B, N, 3]; at padding it is meaningless.
        Raises:
            ValueError: more keypoints than the largest rig has, or fewer than a sample's rig has; several rigs and no
                category.
        """
        category, there = self._there(X, category)
        seen = there if visible is None else there & visible
        X = geometry.centred(X, seen)
        X = X / X.abs().amax((1, 2), keepdim=True).clamp_min(torch.finfo(X.dtype).tiny)
        Z = tpe(X, self.tpe_w, self.tpe_b) if self.embed is None else self.embed(X)
        Z = torch.where(seen[..., None], Z, self.missing)
        neighbours = self.adjacency[category, : X.shape[1], : X.shape[1]]
        for layer in self.layers:
            Z = layer(Z, neighbours[:, None], there[:, None, None])
        return self.head(self.norm(Z))

    def loss(
        self, views: EvaluationViews, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """See `Baseline.loss`, but with the truth; term: aligned_3d, or camera_3d. It draws nothing."""
        shapes = self(views.X, views.visible, views.category)
        if not self.procrustes:
            term = camera_frame_error(shapes, views.Y, views.known)
            return term, {"camera_3d": term.detach()}
        term = supervised_3d(shapes, views.Y, views.known, self.mirror)
        return term, {"aligned_3d": term.detach()}

    def lift(
        self,
        X: Float[Tensor, "B N xy"],
        visible: Bool[Tensor, "B N"] | None = None,
        category: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B N xyz"]:
        """See `Baseline.lift`: the canonical shape under its best camera; category, Raises: as `forward`."""
        with evaluating(self):
            Y = self(X, visible, category)
            _, there = self._there(X, category)
            seen = there if visible is None else there & visible
            X = cleaned(X, seen)
            return read_out(X, Y, geometry.solve_camera(X, Y, seen), seen, "fit")

    def _use(self, rigs: Sequence[Rig]) -> None:
        """Takes over the categories. Not part of the saved state, which fits any rig."""
        if not rigs:
            raise ValueError("LFM3D needs at least one rig")
        if self.graph and (bare := [rig.name for rig in rigs if not rig.edges]):
            raise ValueError(f"rig {bare[0]!r} has no edges for graph attention: give it some, or use graph=False")
        device = self.missing.device
        self.register_buffer("adjacency", adjacency(rigs).to(device), persistent=False)
        self.register_buffer("sizes", torch.tensor([rig.n for rig in rigs], device=device), persistent=False)

    def _there(self, X: Tensor, category: Tensor | None) -> tuple[Tensor, Tensor]:
        """Category of each sample [B], and which keypoints its rig has [B, N]."""
        if category is None:
            if len(self.sizes) > 1:
                raise ValueError(f"this network has {len(self.sizes)} categories: pass `category`")
            category = torch.zeros(len(X), dtype=torch.int64, device=X.device)
        sizes = self.sizes[category]
        if not int(sizes.max()) <= X.shape[1] <= self.adjacency.shape[1]:
            raise ValueError(f"{X.shape[1]} keypoints: expected {int(sizes.max())} to {self.adjacency.shape[1]}")
        return category, torch.arange(X.shape[1], device=X.device) < sizes[:, None]


def adjacency(rigs: Sequence[Rig]) -> Bool[Tensor, "C N N"]:
    """Which keypoints are joined by an edge, both ways, or are the same; padded to the largest rig; [C, N, N]."""
    joined = torch.eye(max(rig.n for rig in rigs), dtype=torch.bool).repeat(len(rigs), 1, 1)
    for c, rig in enumerate(rigs):
        for i, j in rig.edges:
            joined[c, i, j] = joined[c, j, i] = True
    return joined
