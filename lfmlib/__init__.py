"""Lift 2D keypoints of any category to 3D, learnt from 2D alone: 2D-LFM, taken apart, measured and made usable.

    from lfmlib import Lifter, fit_camera, load

Names load on first use, so that `import lfmlib` costs nothing: see `__all__` for the short ones; every other part
is a module of the package (`lfmlib.geometry`, `lfmlib.encodings`, `lfmlib.objectives`, `lfmlib.metrics` ...).
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Camera": "geometry",
    "align": "geometry",
    "fit_camera": "geometry",
    "fit_camera_algebraic": "geometry",
    "project": "geometry",
    "Rig": "rigs",
    "ShapeSet": "data.shapes",
    "load": "data",
    "Lifter": "model",
    "Report": "report",
}
__all__ = [*_HOMES]  # noqa: PLE0604 (they are strings)


def __getattr__(name: str) -> Any:
    """The public name, from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(_HOMES)}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the second look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
