"""Operations and parameters of a network, counted from what it really calls."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

_aten = torch.ops.aten
MATRIX, EVERYTHING = "matrix products", "products and sums"


def flops(call: Callable[[], object], what: str = MATRIX) -> int:
    """Floating-point operations of a call; a multiplication with an addition counts as two.

    Args:
        call: the work.
        what: "matrix products", attention included; or "products and sums", elementwise additions and multiplications
            besides (one each), which is where adding an encoding shows.
    """
    elementwise = {op: _one_each for op in (_aten.add, _aten.add_, _aten.mul, _aten.mul_, _aten.sub)}
    mode = FlopCounterMode(display=False, custom_mapping=elementwise if what == EVERYTHING else None)
    # in terms of plain products: what the fused kernels compute twice is no work that has to be done
    with sdpa_kernel(SDPBackend.MATH), mode:
        call()
    return mode.get_total_flops()


def training_flops(network: nn.Module, *inputs: torch.Tensor) -> int:
    """Matrix operations of a forward and a backward pass with respect to the weights."""

    def step() -> None:
        outputs = network(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(output.sum() for output in outputs).backward()
        network.zero_grad(set_to_none=True)

    return flops(step)


def parameters(network: nn.Module) -> int:
    """Numbers that training changes."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def step_bytes(count: int) -> float:
    """Fewest bytes that an AdamW step moves: weights and both moments, float32, each read and written once."""
    return 24.0 * count


def _one_each(*shapes: object, out_shape: tuple[int, ...] = (), **options: object) -> int:
    return math.prod(out_shape)
