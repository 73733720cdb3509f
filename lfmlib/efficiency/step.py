"""One training step of one network: the Lifter against other lifters, torch's own encoder, and itself uninjected."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from lfmlib.baselines.c3dpo import C3DPO
from lfmlib.baselines.simple_baseline import SimpleBaseline
from lfmlib.efficiency import counting
from lfmlib.efficiency.inputs import chain
from lfmlib.efficiency.records import Contest, Number
from lfmlib.efficiency.setting import Setting
from lfmlib.efficiency.timing import Turn
from lfmlib.geometry import random_rotations
from lfmlib.model import Lifter, LifterConfig

GROUP, INJECTION_GROUP = "step", "injection"
NAME, INJECTED = "Lifter", "Lifter, injection every"
ENCODER, SIMPLE, CANONICAL = "torch.nn.TransformerEncoder", "SimpleBaseline", "C3DPO"
BARE = "Lifter, injection none"
KEYPOINTS, BATCH = 17, 64
ROTATIONS = 4  # turned copies of a shape that C3DPO's canonicalisation net sees per sample


@dataclass(frozen=True)
class Size:
    """Of a transformer."""

    width: int
    depth: int
    heads: int


PAPER = Size(512, 8, 8)  # the depth at which width 512 has the 25M parameters that Sec. 3.5 prints
SIZES = {
    "smoke": (Size(16, 2, 4),),
    "cpu": (Size(64, 4, 4), Size(256, 8, 8)),
    "full": (Size(64, 4, 4), Size(256, 8, 8), Size(512, 16, 8)),
}
INJECTION_SIZES = {
    "smoke": (Size(16, 2, 4),),
    "cpu": (Size(64, 4, 4), Size(256, 8, 8), PAPER),
    "full": (Size(64, 4, 4), Size(256, 8, 8), PAPER, Size(512, 16, 8)),
}


def contests(setting: Setting) -> Iterator[Contest]:
    """Against torch's encoder of the same size, and against the published networks of other methods."""
    for size in SIZES[setting.profile]:
        for other in (ENCODER, SIMPLE, CANONICAL):
            yield _contest(setting, GROUP, NAME, other, size)


def injection(setting: Setting) -> Iterator[Contest]:
    """Sec. 3.5's "< 3 % training time": the encoding in every layer against none at all."""
    for size in INJECTION_SIZES[setting.profile]:
        few = size == PAPER or setting.profile == "smoke"
        yield _contest(setting, INJECTION_GROUP, INJECTED, BARE, size, afresh=3 if few else 5)


def _contest(setting: Setting, group: str, name: str, other: str, size: Size, afresh: int = 1) -> Contest:
    sizes = {"width": size.width, "depth": size.depth, "heads": size.heads, "batch": BATCH, "keypoints": KEYPOINTS}
    if other == CANONICAL:
        sizes["rotations"] = ROTATIONS
    return Contest(group, name, other, sizes, partial(_make, setting, size, other, itertools.count()),
                   threads=setting.threads, counts=partial(_counts, size, other), afresh=afresh)  # fmt: skip


class Encoder(nn.Module):
    """The yardstick: torch's own encoder between the same linear layers."""

    def __init__(self, size: Size, generator: torch.Generator) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            size.width, size.heads, 4 * size.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.embed = nn.Linear(2, size.width)
        self.encoder = nn.TransformerEncoder(
            layer, size.depth, norm=nn.LayerNorm(size.width), enable_nested_tensor=False
        )
        self.head = nn.Linear(size.width, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(std=parameter.shape[-1] ** -0.5, generator=generator)

    def forward(self, X: Tensor) -> Tensor:
        """Shapes [B, N, 3] of keypoints [B, N, 2]."""
        return self.head(self.encoder(self.embed(X)))


def network(name: str, size: Size) -> nn.Module:
    """A contestant, on the CPU."""
    generator = torch.Generator().manual_seed(0)
    if name == SIMPLE:
        return SimpleBaseline(KEYPOINTS, generator)
    if name == CANONICAL:
        return C3DPO(KEYPOINTS, generator)
    if name == ENCODER:
        return Encoder(size, generator)
    config = LifterConfig(width=size.width, depth=size.depth, heads=size.heads)
    return Lifter(replace(config, injection="none") if name == BARE else config, [chain(KEYPOINTS)])


def loss_of(name: str, model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """A squared error of a network's answer; C3DPO's is turned at random and canonicalised, too, as in its training."""
    if name != CANONICAL:
        return lambda X, target: (model(X) - target).square().mean()

    def loss(X: Tensor, target: Tensor) -> Tensor:
        Y, camera = model(X)
        R = random_rotations(ROTATIONS * len(Y), torch.Generator(X.device).manual_seed(0))
        copies = Y.repeat(ROTATIONS, 1, 1)
        again = model.canonicalise(copies @ R.mT)
        return (Y - target).square().mean() + (again - copies).square().mean() + camera.square().mean()

    return loss


def _make(setting: Setting, size: Size, other: str, builds: Iterator[int], _: object) -> tuple[Turn, Turn]:
    shape, device = (BATCH, KEYPOINTS), setting.device
    X, target = (torch.randn(*shape, k, generator=setting.generator(k), device=device) for k in (2, 3))

    def turn(name: str) -> Turn:
        model = network(name, size).to(setting.device)
        loss = loss_of(name, model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss(X, target).backward()
            optimizer.step()

        return setting.timed(step, warm_up=1 if size.width >= PAPER.width and setting.device == "cpu" else 3)

    if next(builds) % 2:  # the first one built gets the better memory, or the worse
        theirs = turn(other)
        return turn(NAME), theirs
    return turn(NAME), turn(other)


def _counts(size: Size, other: str) -> dict[str, Number]:
    ours, theirs = network(NAME, size), network(other, size)
    X = torch.zeros(2, KEYPOINTS, 2)  # batch norm needs two samples
    parameters = counting.parameters(ours)
    return {
        "flops": counting.training_flops(ours, X) * BATCH / len(X), "bytes": counting.step_bytes(parameters),
        "work": BATCH, "parameters": parameters, "other_parameters": counting.parameters(theirs),
        "forward_flops": counting.flops(lambda: ours(X)) / len(X),
        "other_forward_flops": counting.flops(lambda: theirs(X)) / len(X),
    }  # fmt: skip
