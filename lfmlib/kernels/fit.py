"""The exact fit and its gradient, by whichever code suits the keypoints: Triton, numba or plain PyTorch."""

import logging
import os
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from lfmlib.kernels import fit_twin

WIDEST = 256  # keypoints that fit on the chip of a GPU at once
_log = logging.getLogger(__name__)


def fit(X: Tensor, Y: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """s, R, t and residual: see `fit_numba.fit`. Under torch.compile one opaque operation."""
    return (_fit_operation if torch.compiler.is_compiling() else _fit)(X, Y, visible)


def gradient(
    X: Tensor, Y: Tensor, visible: Tensor | None, s: Tensor, R: Tensor, t: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of the weighted residuals in X and Y: see `fit_numba.gradient`."""
    return (_gradient_operation if torch.compiler.is_compiling() else _gradient)(X, Y, visible, s, R, t, weight)


def backend(X: Tensor, Y: Tensor) -> ModuleType:
    """The module whose `fit` and `gradient` serve these keypoints: on a GPU Triton's, on the CPU numba's.

    LFM_FIT=torch in the environment asks for plain PyTorch, which also serves other devices and types. The compilers
    are imported here, at their first use, for they take longer than the rest of the library.
    """
    if X.dtype not in (torch.float32, torch.float64) or X.dtype != Y.dtype or os.environ.get("LFM_FIT") == "torch":
        return fit_twin
    if X.device.type == "cpu":
        return _compiled("numba") or fit_twin
    if X.device.type == "cuda" and X.shape[1] <= WIDEST:
        return _compiled("triton") or fit_twin
    return fit_twin


@cache
def _compiled(compiler: str) -> ModuleType | None:
    try:
        return import_module(f"lfmlib.kernels.fit_{compiler}")
    except (ImportError, OSError) as problem:
        _log.warning("no %s (%s): the exact fit runs in plain PyTorch, several times slower", compiler, problem)
        return None


def _fit(X: Tensor, Y: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return backend(X, Y).fit(X, Y, visible)


def _gradient(
    X: Tensor, Y: Tensor, visible: Tensor | None, s: Tensor, R: Tensor, t: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    return backend(X, Y).gradient(X, Y, visible, s, R, t, weight)


# torch.compile must not look inside: what is compiled already is no PyTorch, and the twin decides by its numbers
_fit_operation = torch.library.custom_op("lfm::fit", _fit, mutates_args=())
_gradient_operation = torch.library.custom_op("lfm::fit_gradient", _gradient, mutates_args=())


@_fit_operation.register_fake
def _(X: Tensor, Y: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    B = X.shape[0]  # len(X) would make it a constant
    return X.new_empty(B), X.new_empty(B, 3, 3), X.new_empty(B, 2), X.new_empty(B)


@_gradient_operation.register_fake
def _(
    X: Tensor, Y: Tensor, visible: Tensor | None, s: Tensor, R: Tensor, t: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    return X.new_empty(X.shape), Y.new_empty(Y.shape)
