"""How the CPU kernels are compiled (numba) and spread over threads."""

import inspect
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import FunctionType

import numba
import torch

_LEAST = 512  # samples a thread must get: handing work over costs some 50 microseconds
_OPTIONS = {"error_model": "numpy", "nogil": True}  # no fast-math: a sample's bits must not depend on its neighbours


def inlined(function: Callable) -> Callable:
    """A building block: compiled into its callers, so that their loops over samples become vector instructions."""
    return numba.njit(forceinline=True, **_OPTIONS)(inspect.unwrap(function))


def called(function: Callable) -> Callable:
    """A building block that is compiled once and called: for what is long and rarely needed."""
    return numba.njit(**_OPTIONS)(inspect.unwrap(function))


def compiled(function: Callable, name: str | None = None) -> Callable:
    """An entry point: compiled at its first call, which takes seconds, and then kept in numba's cache on disk.

    It must always be called with the same types (two processes that store two versions at once can mix them up) and
    must not use building blocks of another file (what is cached is renewed when the function's own file changes).
    """
    function = inspect.unwrap(function)  # tests wrap every function of the library in type checks
    if name is not None:
        function = FunctionType(function.__code__, function.__globals__, name)
        function.__qualname__ = name  # names the file in the cache
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(**_OPTIONS)(function)


def compiled_by_type(function: Callable) -> dict[torch.dtype, Callable]:
    """`compiled`, once for single and once for double precision."""
    name = inspect.unwrap(function).__name__
    return {dtype: compiled(function, name + end) for dtype, end in ((torch.float32, "_32"), (torch.float64, "_64"))}


def spread(work: Callable[[int, int], None], samples: int) -> None:
    """Calls work(start, stop) over parts of range(samples), on torch's number of threads where it pays."""
    parts = max(1, min(torch.get_num_threads(), samples // _LEAST))
    bounds = [samples * part // parts for part in range(parts + 1)]
    others = [_pool().submit(work, *bound) for bound in zip(bounds[1:-1], bounds[2:], strict=True)]
    work(bounds[0], bounds[1])
    for other in others:
        other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "lfm-fit")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
