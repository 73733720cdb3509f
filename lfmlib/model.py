"""The lifter: a transformer over keypoints with the index encoding injected as the paper says (Eqs. 2, 3, 5)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lfmlib.encodings import ENCODINGS, check_choice, draw_tpe, encode, tpe
from lfmlib.rigs import Rig

INJECTIONS = ("none", "input", "first_last", "every_2nd", "every")
INTO = ("qk", "qkv")


@dataclass(frozen=True)
class LifterConfig:
    """Everything that decides what a `Lifter` computes, apart from its rigs and its seed.

    Args:
        width, depth, heads, ff: D, L, H, and the hidden width of the feed-forward block in units of D.
        injection: where Phi enters. none: nowhere; input: Eq. 2 only; first_last, every_2nd (layers 0, 2, 4, ...) and
            every: Eq. 3 in those layers.
        into: Eq. 3 adds Phi to Q, K and V (qkv, as printed) or to Q and K alone (qk).
        keep_input: Eq. 2 besides Eq. 3; Eq. 2 is all there is for `input`, and never applies to `none`.
        encoding, alpha, sigma: kind of Phi, the factor in front of it, the frequency scale of the rff kinds.
        tpe_sigma: frequency scale of the coordinate encoding, radians per unit of X.
        outputs: numbers per keypoint: 3 for a canonical shape.
        mean_shape: whether a learned shape of each category is added to the output, so that the network has only
            deviations from it to say.
    Raises:
        ValueError: a value is out of range, unknown, or contradicts another.
    Source: Sec. 3.5 and Sec. 4.3.1; the paper prints neither alpha, heads, ff nor tpe_sigma.
    """

    width: int = 64
    depth: int = 4
    heads: int = 4
    ff: int = 4
    injection: str = "every"
    into: str = "qkv"
    keep_input: bool = True
    encoding: str = "rff"
    alpha: float = 1.0
    sigma: float = 2.5
    tpe_sigma: float = 1.0
    outputs: int = 3
    mean_shape: bool = False

    # Fields that came after the first runs: a run's id knows them only where they are set.
    LATER: ClassVar[tuple[str, ...]] = ("mean_shape",)

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "ff", "outputs"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}: expected a whole number, 1 or more")
        if self.width % 2:
            raise ValueError(f"width is {self.width}: expected an even number (encodings are sine-cosine pairs)")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        check_choice("injection", self.injection, INJECTIONS)
        check_choice("into", self.into, INTO)
        check_choice("encoding", self.encoding, ENCODINGS)
        for name in ("alpha", "sigma", "tpe_sigma"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise ValueError(f"{name} is {value!r}: expected a finite number, 0 or more")
            object.__setattr__(self, name, float(value))  # 10 and 10.0 are one configuration
        for name in ("keep_input", "mean_shape"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected true or false")
        if self.injection == "input" and not self.keep_input:
            raise ValueError("injection 'input' contradicts keep_input false: Phi would enter nowhere; use 'none'")

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers in which Eq. 3 adds Phi."""
        last = self.depth - 1
        chosen = {"first_last": {0, last}, "every_2nd": set(range(0, self.depth, 2)), "every": set(range(self.depth))}
        return tuple(sorted(chosen.get(self.injection, ())))

    @property
    def at_input(self) -> bool:
        """Whether Eq. 2 adds Phi to the embedding."""
        return self.keep_input and self.injection != "none"


class Layer(nn.Module):
    """Pre-norm transformer layer whose queries, keys and values get a code added after their projection (Eq. 3)."""

    def __init__(self, config: LifterConfig, generator: torch.Generator) -> None:
        super().__init__()
        width = config.width
        self.heads, self.size = config.heads, width // config.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = _linear(width, 3 * width, generator)
        self.out = _linear(width, width, generator)
        self.up = _linear(width, config.ff * width, generator)
        self.down = _linear(config.ff * width, width, generator)

    def forward(
        self,
        z: Float[Tensor, "T D"],
        B: int,
        code: Float[Tensor, "T E"] | None,
        mask: Bool[Tensor, "B 1 1 N"] | None,
    ) -> Float[Tensor, "T D"]:
        """One layer.

        Args:
            z: tokens of B samples, one after the other, T = B N. Two axes, because a linear map of three returns a view
                in which adding in place costs the derivative a copy (3 % of a step).
            code: [Phi, Phi, Phi] or [Phi, Phi, 0], E = 3D, or None.
            mask: keys that may be attended to.
        """
        qkv = self.qkv(self.norm1(z))  # [T, 3D]
        if code is not None:
            qkv += code  # in place: no derivative needs the projection's output
        # chunk first: its derivative writes the three parts side by side in one pass, that of unbind needs two
        q, k, v = (part.view(B, -1, self.heads, self.size).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # [B, H, N, D/H]
        z = z + self.out(mixed.transpose(1, 2).reshape(z.shape))
        return z + self.down(F.gelu(self.up(self.norm2(z))))


class Lifter(nn.Module):
    """Lifts 2D keypoints to canonical shapes.

        Z_0 = X W + b + TPE(X) + e_c (+ Phi)                                 Eqs. 5, 2
        Q, K, V = Z_l W + Phi, attention, feed-forward, l = 1..L             Eq. 3
        Y = LayerNorm(Z_L) W_out + b_out (+ M_c, a learned mean shape)

    A keypoint that is not visible has the learned vector `missing` in place of X W + b + TPE(X), and no token attends
    to it; it attends to the others, so that its position is still predicted from Phi and them. Without a mask `missing`
    takes no part (and gets no gradient).

    Args:
        config: what to compute.
        rigs: the categories, in the order of the category index.
        seed: every initial value, random encoding and TPE frequency comes from a generator with this seed; torch's
            global one is not touched.
    Raises:
        ValueError: no rig.
    Source: Secs. 3.3-3.5. Pre-norm, GELU and the absence of dropout are our choice: the paper says "standard".
    """

    codes: Tensor

    def __init__(self, config: LifterConfig, rigs: Sequence[Rig], seed: int = 0) -> None:
        super().__init__()
        if not rigs:
            raise ValueError("a Lifter needs at least one rig")
        generator = torch.Generator().manual_seed(seed)
        width = config.width
        self.config = config
        self.names = tuple(rig.name for rig in rigs)
        self.sizes = tuple(rig.n for rig in rigs)
        self.n_max = max(self.sizes)
        self.embed = _linear(2, width, generator)
        self.category = nn.Parameter(0.02 * torch.randn(len(rigs), width, generator=generator))
        self.missing = nn.Parameter(0.02 * torch.randn(width, generator=generator))
        self.layers = nn.ModuleList(Layer(config, generator) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.head = _linear(width, config.outputs, generator)
        self.mean_shape = None
        if config.mean_shape:
            self.mean_shape = nn.Parameter(torch.zeros(len(rigs), self.n_max, config.outputs))
        # last, so that configurations that differ in the encoding alone start from the same weights
        w, b = draw_tpe(width, config.tpe_sigma, generator)
        self.register_buffer("tpe_w", w)
        self.register_buffer("tpe_b", b)
        codes = config.alpha * torch.stack([
            encode(config.encoding, rig, width, sigma=config.sigma, generator=generator, n_max=self.n_max)
            for rig in rigs
        ])  # [C, Nmax, D]
        if config.encoding == "learned":
            self.codes = nn.Parameter(codes)
        else:
            self.register_buffer("codes", codes)

    def forward(
        self,
        X: Float[Tensor, "B N xy"],
        visible: Bool[Tensor, "B N"] | None = None,
        category: Int[Tensor, " B"] | None = None,
        codes: Float[Tensor, "#B N D"] | None = None,
    ) -> Float[Tensor, "B N out"]:
        """Canonical shapes of a batch of keypoints. Only shapes are checked here: see `check_inputs`.

        Args:
            X: keypoints, image frame (x right, y down), centred, unit RMS; [B, N, 2]; anything where not visible.
            visible: False = not seen, or padding; None = all seen (faster than a mask that is True everywhere). [B, N].
            category: index into the rigs, int64 [B]; None where there is one rig.
            codes: Phi to use in place of the stored one, with alpha in it; [B or 1, N, D].
        Returns:
            [B, N, outputs]; at padding it is meaningless.
        Raises:
            ValueError: wrong shapes; more keypoints than the largest rig has; several rigs and no category.
        """
        if X.ndim != 3 or X.shape[-1] != 2:
            raise ValueError(f"X has shape {list(X.shape)}: expected [B, N, 2]")
        B, N = X.shape[:2]
        if codes is None and N > self.n_max:
            raise ValueError(f"X has {N} keypoints, the largest rig of this model has {self.n_max}")
        if visible is not None and visible.shape != X.shape[:2]:
            raise ValueError(f"visible has shape {list(visible.shape)}: expected {list(X.shape[:2])}")
        if len(self.names) == 1:
            category = None  # one category: broadcast instead of gather
        elif category is None:
            raise ValueError(f"this model has {len(self.names)} categories ({', '.join(self.names)}): pass `category`")
        if category is not None and category.shape != X.shape[:1]:
            raise ValueError(f"category has shape {list(category.shape)}: expected {list(X.shape[:1])}")

        mask = None
        if visible is not None:
            mask = visible[:, None, None, :]  # [B, 1, 1, N], True = may be attended to
            X = torch.where(visible[..., None], X, 0.0)  # before any arithmetic: 0 * NaN is NaN
        z = self.embed(X) + tpe(X, self.tpe_w, self.tpe_b)  # [B, N, D]
        if visible is not None:
            z = torch.where(visible[..., None], z, self.missing.to(z.dtype))
        z = z + (self.category[:, None] if category is None else self.category[category][:, None])

        phi = code = None
        if self.config.injection != "none":
            phi = codes
            if phi is None:
                phi = self.codes[:, :N] if category is None else self.codes[category, :N]  # [B or 1, N, D]
        if phi is not None and self.config.at_input:
            z = z + phi
        if phi is not None and self.config.layers:
            code = torch.cat((phi, phi, phi if self.config.into == "qkv" else torch.zeros_like(phi)), dim=-1)
            code = code.expand(B, N, -1).reshape(B * N, -1)  # written out once, added in every layer
        z = z.reshape(B * N, -1)
        for index, layer in enumerate(self.layers):
            z = layer(z, B, code if index in self.config.layers else None, mask)
        Y = self.head(self.norm(z)).view(B, N, -1)
        if self.mean_shape is None:
            return Y
        return Y + (self.mean_shape[:, :N] if category is None else self.mean_shape[category, :N])

    def check_inputs(self, X: Tensor, visible: Tensor | None = None, category: Tensor | None = None) -> None:
        """What `forward` does not check because it would make a GPU wait: values.

        Raises:
            ValueError: category is not int64, or out of range, or a sample has a visible keypoint that is not finite,
                that its rig does not have, or fewer than 3 visible ones; names the sample.
        """
        seen = torch.ones(X.shape[:2], dtype=torch.bool, device=X.device) if visible is None else visible
        if seen.dtype != torch.bool:
            raise ValueError(f"visible has dtype {seen.dtype}: expected torch.bool")
        if seen.shape != X.shape[:2]:
            raise ValueError(f"visible has shape {list(seen.shape)}: expected {list(X.shape[:2])}")
        sizes = torch.tensor(self.sizes, device=X.device)
        if category is None:
            limit = sizes[:1].expand(X.shape[0])
        else:
            if category.dtype != torch.int64:
                raise ValueError(f"category has dtype {category.dtype}: expected torch.int64")
            if category.numel() and not 0 <= int(category.min()) <= int(category.max()) < len(sizes):
                sample = int(((category < 0) | (category >= len(sizes))).nonzero()[0])
                raise ValueError(f"sample {sample}: category {int(category[sample])}, expected 0..{len(sizes) - 1}")
            limit = sizes[category]
        beyond = seen & (torch.arange(X.shape[1], device=X.device) >= limit[:, None])
        for wrong, message in (
            (beyond.any(1), "a keypoint beyond its rig's is marked visible"),
            ((seen & ~X.isfinite().all(-1)).any(1), "a visible keypoint is not finite"),
            (seen.sum(1) < 3, "fewer than 3 visible keypoints"),
        ):
            if bool(wrong.any()):
                raise ValueError(f"sample {int(wrong.nonzero()[0])}: {message}")


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """nn.Linear drawn from `generator`: weights uniform in +-1/sqrt(inputs), torch's own law; biases 0."""
    linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        linear.weight.uniform_(-bound, bound, generator=generator)
        linear.bias.zero_()
    return linear
