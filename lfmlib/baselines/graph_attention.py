"""The layers of 3D-LFM: attention along a rig's edges beside attention among all keypoints."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

SLOPE = 0.2  # of the leaky ReLU, as in the paper on graph attention


class GraphAttention(nn.Module):
    """Graph attention network's layer (Velickovic et al., ICLR 2018, Eqs. 1-5), for each head:

    h_i = W z_i,   out_i = sum_{j in A(i)} softmax_j( leaky ReLU(u . h_i + v . h_j) ) h_j
    """

    def __init__(self, width: int, heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.heads, size = heads, width // heads
        self.linear = linear(width, width, generator, bias=False)
        self.u, self.v = (nn.Parameter(torch.randn(heads, 1, size, generator=generator) * size**-0.5) for _ in range(2))

    def forward(self, Z: Float[Tensor, "B N D"], neighbours: Bool[Tensor, "B 1 N N"]) -> Float[Tensor, "B N D"]:
        h = self.linear(Z).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, H, N, D/H]
        scores = F.leaky_relu((h * self.u).sum(-1)[..., None] + (h * self.v).sum(-1)[..., None, :], SLOPE)
        weights = scores.masked_fill(~neighbours, -math.inf).softmax(-1)  # each has itself as a neighbour: no NaN
        return (weights @ h).transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """Graph attention and global attention side by side, then a feed-forward block, each with a skip connection."""

    def __init__(self, width: int, heads: int, graph: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.local = GraphAttention(width, heads, generator) if graph else None
        self.qkv = linear(width, 3 * width, generator)
        self.out = linear(2 * width if graph else width, width, generator)
        up, down = linear(width, 4 * width, generator), linear(4 * width, width, generator)
        self.feed_forward = nn.Sequential(up, nn.GELU(), down)

    def forward(
        self, Z: Float[Tensor, "B N D"], neighbours: Bool[Tensor, "B 1 N N"], there: Bool[Tensor, "B 1 1 N"]
    ) -> Float[Tensor, "B N D"]:
        normed = self.norm1(Z)
        q, k, v = self.qkv(normed).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B, H, N, D/H] each
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=there).transpose(1, 2).flatten(2)
        if self.local is not None:
            mixed = torch.cat((self.local(normed, neighbours), mixed), -1)
        Z = Z + self.out(mixed)
        return Z + self.feed_forward(self.norm2(Z))


def linear(inputs: int, outputs: int, generator: torch.Generator, bias: bool = True) -> nn.Linear:
    """Weights uniform in +-1/sqrt(inputs), as those of the Lifter; offset 0."""
    linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)
    with torch.no_grad():
        linear.weight.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
        if bias:
            linear.bias.zero_()
    return linear
