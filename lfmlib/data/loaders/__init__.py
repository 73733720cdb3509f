"""Readers of other projects' files, in their original layouts: one module per format, listed in `LOADERS`."""

import importlib
from functools import cache

from lfmlib.data.loaders.base import Loader

__all__ = ["LOADERS", "Loader", "get"]

# Modules of this package, each with a `LOADER` of the same name; imported when asked for.
LOADERS: tuple[str, ...] = (
    "acinoset",
    "anipose",
    "animal3d",
    "arctic",
    "bvh",
    "asf_amc",
    "c3dpo",
    "deeplabcut",
    "h3wb",
    "human36m",
    "keypointnet",
    "mbw",
    "pascal3d",
    "videopose3d",
)


@cache
def get(name: str) -> Loader:
    """The loader of a format.

    Raises:
        ValueError: no such format; lists them.
    """
    if name not in LOADERS:
        raise ValueError(f"unknown format {name!r}; there are {', '.join(LOADERS)}")
    return importlib.import_module(f"lfmlib.data.loaders.{name}").LOADER
