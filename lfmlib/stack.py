"""Many lifters as one: parameters with a leading arm axis, every linear map of all arms a single batched product.

A lifter sees 17 tokens a sample; one after the other, arms leave a GPU waiting for launches. What has parameters is
batched by arm, all else (attention, GELU, norms) sees arms times samples as one batch. Operations are chosen so that
an arm's numbers do not depend on its company: on one CPU thread they usually agree to the last bit.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lfmlib.model import Lifter


class StackedLifter(nn.Module):
    """Lifters of one shape, run together; each computes what it would alone, to rounding.

    All parameters lie in `flat` [A, P], a row per arm. The lifters given are tied to it: their parameters become views
    of their rows, so that they can be evaluated and saved at any time.

    Args:
        lifters: one per arm, on one device, with equal width, depth, heads, ff, outputs, and as many categories; they
            may differ in everything else (seed, rigs, encoding, its weight, where it enters). Encodings are learned in
            all of them or in none, and learned ones have one size.
    Raises:
        ValueError: lifters that do not fit together (names what differs).
    Source: Eqs. 2, 3, 5 as in `Lifter`; batching is ours.
    """

    def __init__(self, lifters: Sequence[Lifter]) -> None:
        super().__init__()
        _check_alike(lifters)
        first = lifters[0]
        config = first.config
        self.width, self.depth, self.heads = config.width, config.depth, config.heads
        self.outputs, self.categories = config.outputs, len(first.names)
        flat = tied(lifters)
        self.flat, self.flat_gradient = flat, torch.zeros_like(flat)  # no buffers: they belong to this process
        self.parts: dict[str, nn.Parameter] = {}
        self.gradient_parts: list[Tensor] = []
        at = 0
        for name, one in first.named_parameters():
            span = slice(at, at + one.numel())
            part = nn.Parameter(flat[:, span].view(len(lifters), *one.shape))
            self.register_parameter(name.replace(".", "_"), part)
            self.parts[name] = part
            self.gradient_parts.append(self.flat_gradient[:, span].view_as(part))
            at = span.stop
        self.codes = self.parts.get("codes")  # where they are learned
        if self.codes is None:
            self.codes = _padded([lifter.codes for lifter in lifters])
        self.tpe_w, self.tpe_b = (torch.stack([getattr(m, name) for m in lifters]) for name in ("tpe_w", "tpe_b"))
        configs = [lifter.config for lifter in lifters]
        self.at_input = _Gate([c.at_input for c in configs], flat.device)
        self.at_layer = [_Gate([layer in c.layers for c in configs], flat.device) for layer in range(config.depth)]
        into_values = torch.tensor([float(c.into == "qkv") for c in configs], device=flat.device, dtype=flat.dtype)
        self.into_values = into_values[:, None, None, None]
        self.arms = torch.arange(len(lifters), device=flat.device)[:, None]

    def forward(
        self,
        X: Float[Tensor, "A B N xy"],
        visible: Bool[Tensor, "A B N"] | None = None,
        category: Int[Tensor, "A B"] | None = None,
    ) -> Float[Tensor, "A B N out"]:
        """Canonical shapes of every arm's own batch; see `Lifter.forward`.

        Args:
            X: keypoints, image frame, centred, unit RMS; anything where not visible.
            visible: False = not seen, or padding (an arm's rigs may have fewer than N keypoints); None = all seen.
            category: index into each arm's rigs; None where each has one.
        """
        A, B, N = X.shape[:3]
        exact = torch.autocast(X.device.type, enabled=False)  # coordinates, in and out, keep their digits
        with exact:
            z = self._embed(X, visible, category)  # [A, B, N, D]
        mask = None if visible is None else visible.view(A * B, 1, 1, N)
        code = None
        if self.at_input.any or any(gate.any for gate in self.at_layer):
            phi = self._of_samples(self.codes[:, :, :N], category)  # [A, B or 1, N, D]
            if self.at_input.any:
                z = z + self.at_input(phi)
            if any(gate.any for gate in self.at_layer):
                code = torch.cat((phi, phi, phi * self.into_values), -1)  # [A, B or 1, N, 3D]
        z = z.view(A, B * N, self.width)
        for index, gate in enumerate(self.at_layer):
            z = self._layer(z, f"layers.{index}.", B, gate(code) if gate.any else None, mask)
        with exact:
            Y = self._normed_linear(z, "norm", "head").view(A, B, N, self.outputs)
            if "mean_shape" in self.parts:
                Y = Y + self._of_samples(self.parts["mean_shape"][:, :, :N], category)
            return Y

    def _embed(self, X: Tensor, visible: Tensor | None, category: Tensor | None) -> Tensor:
        """Eq. 5 of all arms, before Phi; [A, B, N, D]."""
        A, B, N = X.shape[:3]
        parts = self.parts
        if visible is not None:
            X = torch.where(visible[..., None], X, 0.0)
        x = X.reshape(A, B * N, 2)
        phase = torch.baddbmm(self.tpe_b[:, None], x, self.tpe_w)  # [A, T, D/2]
        z = torch.cat((phase.sin(), phase.cos()), -1) * math.sqrt(2 / self.width)
        z = (z + _linear(x, parts["embed.weight"], parts["embed.bias"])).view(A, B, N, self.width)
        if visible is not None:
            z = torch.where(visible[..., None], z, parts["missing"][:, None, None])
        return z + self._of_samples(parts["category"], category)[:, :, None]

    @torch.no_grad()
    def take_gradients(self) -> Float[Tensor, "A P"]:
        """The gradients of all parameters in one matrix, laid out as `flat`; 0 where there was none. Clears them."""
        parameters = self.parts.values()
        for target, part in zip(self.gradient_parts, parameters, strict=True):
            if part.grad is None:
                target.zero_()
        pairs = [(t, p.grad) for t, p in zip(self.gradient_parts, parameters, strict=True) if p.grad is not None]
        if pairs:
            torch._foreach_copy_([target for target, _ in pairs], [gradient for _, gradient in pairs])
        for part in parameters:
            part.grad = None
        return self.flat_gradient

    def _layer(self, z: Tensor, name: str, B: int, code: Tensor | None, mask: Tensor | None) -> Tensor:
        """`Layer.forward` for all arms; z [A, T, D]."""
        A, T, D = z.shape
        qkv = self._normed_linear(z, name + "norm1", name + "qkv")  # [A, T, 3D]
        if code is not None:
            qkv.view(A, B, T // B, 3 * D).add_(code)  # in place: no derivative needs the projection's output
        q, k, v = (part.reshape(A * B, T // B, self.heads, -1).transpose(1, 2) for part in qkv.chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(A, T, D)
        z = z + _linear(mixed, self.parts[name + "out.weight"], self.parts[name + "out.bias"])
        hidden = F.gelu(self._normed_linear(z, name + "norm2", name + "up"))
        return z + _linear(hidden, self.parts[name + "down.weight"], self.parts[name + "down.bias"])

    def _normed_linear(self, z: Tensor, norm: str, linear: str) -> Tensor:
        """A layer norm and the linear map after it: the norm's gains and offsets go into the map, which is smaller."""
        gain, offset = self.parts[norm + ".weight"], self.parts[norm + ".bias"]
        weight, bias = self.parts[linear + ".weight"], self.parts[linear + ".bias"]
        bias = bias + (weight * offset[:, None]).sum(-1)
        return _linear(F.layer_norm(z, (self.width,)), weight * gain[:, None], bias)

    def _of_samples(self, table: Tensor, category: Tensor | None) -> Tensor:
        """Each sample's entry of a table [A, C, ...]: [A, B, ...], or [A, 1, ...] where there is one category."""
        return table if self.categories == 1 else table[self.arms, category]


@torch.no_grad()
def tied(lifters: Sequence[nn.Module]) -> Float[Tensor, "A P"]:
    """All parameters in one matrix, a row per module; the modules' parameters become views of it."""
    flat = torch.stack([torch.cat([p.flatten() for p in lifter.parameters()]) for lifter in lifters])
    for row, lifter in zip(flat, lifters, strict=True):
        at = 0
        for parameter in lifter.parameters():
            parameter.data = row[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()
    return flat


class _Gate:
    """Which arms take part in something; multiplies by 0 or 1 only where they differ."""

    def __init__(self, on: Sequence[bool], device: torch.device) -> None:
        self.any, self.all = any(on), all(on)
        self.on = torch.tensor(on, device=device)[:, None, None, None]

    def __call__(self, value: Tensor) -> Tensor:
        return value if self.all else torch.where(self.on, value, 0)


def _linear(z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """z W^T + b of every arm; z [A, T, I], weight [A, O, I], bias [A, O]."""
    if len(z) == 1 and z.device.type == "cpu" and torch.get_num_threads() > 1:  # the batched product would use one
        return F.linear(z.squeeze(0), weight.squeeze(0), bias.squeeze(0))[None]
    return torch.baddbmm(bias[:, None], z, weight.mT)


def _padded(codes: Sequence[Tensor]) -> Tensor:
    """Codes [C, N, D] of every arm, filled with zeros to the largest N; [A, C, Nmax, D]."""
    n_max = max(code.shape[1] for code in codes)
    return torch.stack([F.pad(code, (0, 0, 0, n_max - code.shape[1])) for code in codes])


def _check_alike(lifters: Sequence[Lifter]) -> None:
    if not lifters:
        raise ValueError("a stack needs at least one lifter")
    for name, of in (
        ("width", lambda m: m.config.width), ("depth", lambda m: m.config.depth), ("heads", lambda m: m.config.heads),
        ("ff", lambda m: m.config.ff), ("outputs", lambda m: m.config.outputs), ("categories", lambda m: len(m.names)),
        ("a learned encoding", lambda m: m.config.encoding == "learned"),
        ("the size of a learned encoding", lambda m: m.n_max if m.config.encoding == "learned" else 0),
        ("a mean shape", lambda m: m.config.mean_shape),
        ("the size of a mean shape", lambda m: m.n_max if m.config.mean_shape else 0),
        ("device", lambda m: str(m.category.device)), ("dtype", lambda m: str(m.category.dtype)),
    ):  # fmt: skip
        values = [of(lifter) for lifter in lifters]
        if len(set(values)) > 1:
            raise ValueError(f"these lifters cannot be stacked, they differ in {name}: {', '.join(map(str, values))}")
