"""How the CUDA kernels are compiled (Triton): at their first call, which takes seconds, and then kept on disk."""

import inspect
from collections.abc import Callable
from functools import partial

import triton


def jit(function: Callable | None = None, **options: object) -> Callable:
    """`triton.jit` for the functions of this library, kernels and what they call."""
    if function is None:
        return partial(jit, **options)
    return triton.jit(inspect.unwrap(function), **options)  # tests wrap every function of the library in type checks
