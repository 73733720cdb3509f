"""Readers of other projects' files, in their original layouts: one module per format, listed in `LOADERS`."""

import importlib
from functools import cache

from lfmlib.data.loaders.base import Loader
from lfmlib.data.upstream import SETS

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
    """The loader of a format, or the builder of a measured set from a clone of its repository.

    Raises:
        ValueError: no such format or set; lists them.
    """
    if name in SETS:
        return importlib.import_module(f"lfmlib.data.upstream.{SETS[name]}").LOADERS[name]
    if name not in LOADERS:
        raise ValueError(f"unknown format {name!r}; there are {', '.join((*LOADERS, *SETS))}")
    return importlib.import_module(f"lfmlib.data.loaders.{name}").LOADER


def markdown() -> str:
    """The formats as a table: what to convert, where it is found, its licence, the command's SOURCE, what comes out."""
    lines = ["| FORMAT | files | where to get them | licence | SOURCE | what comes out |", "|---|---|---|---|---|---|"]
    for name in LOADERS:
        it = get(name)
        lines.append(f"| `{name}` | {it.title} | {it.get} | {it.licence} | {it.expects} | {it.gives} |")
    return "\n".join(lines)
