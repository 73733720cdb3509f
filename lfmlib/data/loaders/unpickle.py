"""Pickled data without code: arrays, numbers, strings and plain containers come through, everything else is refused.

A pickle is a little program that may call any function it names. Here it can name only what is in `ALLOWED`, and those
are stand-ins: arrays and their types are built from checked pieces, never by numpy's own `__setstate__`, which trusts
the sizes and flags it is told.
"""

import math
import os
import pickle
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

# plain types alone: bool, numbers, strings, objects
DTYPE = re.compile(r"[<>=|]?(b1|\?|[iu][1248]|f(2|4|8|16)|c(8|16|32)|[SU]\d{1,6}|O8?)")
MOST_AXES = 32
FAULTS = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError,
    RecursionError, ImportError, OSError, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


def load_pickle(path: str | os.PathLike) -> Any:
    """The content of a pickle file, of any protocol, written by Python 2 (strings as Latin-1) or 3.

    Returns:
        dict (OrderedDict too), list, tuple, set, str, bytes, numbers, None, numpy scalars and (read-only) arrays.
    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty, cut short or damaged, or holds anything else; names the file and the class.
    """
    with _open(path) as file:
        return _unpickled(file, str(path))


def load_npy_objects(path: str | os.PathLike) -> Any:
    """The array of an .npy file, which may hold pickled objects; one object without axes (a saved dict) as itself.

    Raises:
        FileNotFoundError, ValueError: as `load_pickle`.
    """
    with _open(path) as file:
        return _npy(file, str(path), os.path.getsize(path))


def load_npz_objects(path: str | os.PathLike, only: Sequence[str] | None = None) -> dict[str, Any]:
    """The content of an .npz file: name -> what `load_npy_objects` gives; `only`: the names to read, None: all.

    Raises:
        FileNotFoundError, ValueError: as `load_pickle`; names the file and the array.
    """
    with _open(path) as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path}: not an .npz file (no zip archive, or one that was cut short)")
        found = {}
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if only is not None and name not in only:
                    continue
                try:
                    with archive.open(entry) as member:
                        found[name] = _npy(member, f"{path}: {name}", entry.file_size)
                except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
                    raise ValueError(f"{path}: {name} cannot be read ({error})") from error
        return found


def numbers(value: Any, shape: tuple[int | str, ...], where: str, frames: Sequence[int] | None = None) -> np.ndarray:
    """Loaded data as an array of finite numbers.

    Args:
        shape: length of each axis; a word stands for any length ("T", 32, 3).
        where: the file and the field, for error messages; `frames`: numbers of the first axis there, None: 0, 1, ...
    Returns:
        float64.
    Raises:
        ValueError: not numbers, another shape, or one that no finite float32 can hold; names `where` and the frame.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{where}: rows of different lengths") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where}: {array.dtype} in place of numbers")
    if array.ndim != len(shape) or any(isinstance(n, int) and n != m for n, m in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{where}: shape {list(array.shape)}, expected [{', '.join(map(str, shape))}]")
    array = array.astype(np.float64)
    bad = ~(np.abs(array) <= np.finfo(np.float32).max)  # written so that NaN is bad
    if bad.any():
        first = int(np.argwhere(bad)[0, 0])
        raise ValueError(f"{where}: frame {first if frames is None else frames[first]} is not finite")
    return array


def _open(path: str | os.PathLike) -> BufferedIOBase:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if os.path.getsize(path) == 0:
        raise ValueError(f"{path}: the file is empty")
    return open(path, "rb")


def _npy(file: BufferedIOBase, where: str, size: int) -> Any:
    try:
        version = np.lib.format.read_magic(file)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = reader(file)
    except FAULTS as error:
        raise ValueError(f"{where}: not an .npy file ({str(error) or type(error).__name__})") from error
    if dtype.hasobject:
        array = _unpickled(file, where)
        if not isinstance(array, np.ndarray) or array.shape != shape:
            raise ValueError(f"{where}: the pickle holds no array of the stated shape {list(shape)}")
        return array.item() if shape == () else array
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > size or len(raw := file.read(wanted)) != wanted:
        raise ValueError(f"{where}: cut short: an array of {dtype} {list(shape)} needs {wanted} bytes")
    return _from_bytes(raw, dtype, shape, "F" if fortran else "C")


def _unpickled(file: BufferedIOBase, where: str) -> Any:
    try:
        return _finished(_Unpickler(file, encoding="latin1").load(), {})
    except FAULTS as error:
        raise ValueError(f"{where}: cannot be read as pickled data ({str(error) or type(error).__name__})") from error


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """An array over the bytes, once they are as many as type and shape need."""
    dtype = dtype.value if isinstance(dtype, _Dtype) else dtype
    raw = raw.encode("latin1") if isinstance(raw, str) else raw  # what Python 2 wrote arrives as text
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape) or len(shape) > MOST_AXES:
        raise ValueError(f"an array of shape {str(shape)[:60]}")
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(raw, bytes | bytearray):
        raise ValueError("an array without a plain numpy.dtype or without bytes")
    if len(raw) != (wanted := math.prod(shape) * dtype.itemsize):
        raise ValueError(f"an array of {dtype} {list(shape)} of {len(raw)} bytes, expected {wanted}")
    if not raw:
        return np.zeros(shape, dtype)
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C")


class _Dtype:
    """Stands in for numpy.dtype."""

    __slots__ = ("value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, code: Any, *_flags: Any) -> None:
        code = code.decode("latin1") if isinstance(code, bytes) else code
        if not isinstance(code, str) or not DTYPE.fullmatch(code):
            raise ValueError(f"numpy.dtype {str(code)[:40]!r} is refused")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        _version, order, *parts = state
        if any(part is not None for part in parts[:3]):
            raise ValueError("numpy.dtype with fields is refused")
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"numpy.dtype has byte order {str(order)[:20]!r}")
        self.value = self.value.newbyteorder(order)


class _Array:
    """Stands in for numpy.ndarray until the whole pickle is read: its content comes after it is first referred to."""

    __slots__ = ("value",)
    __hash__ = None  # type: ignore[assignment]

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, content = state[-4:]
        if not isinstance(dtype, _Dtype) or not dtype.value.hasobject:
            self.value = _from_bytes(content, dtype, shape, "F" if fortran else "C")
            return
        if not isinstance(content, list) or len(content) != math.prod(shape):
            raise ValueError(f"an array of objects of shape {str(shape)[:60]} without as many objects")
        flat = np.empty(len(content), object)
        for i, item in enumerate(content):
            flat[i] = item
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _new_array(kind: Any, *_rest: Any) -> _Array:
    if kind is not _Array:
        raise ValueError("an array of a class other than numpy.ndarray is refused")
    return _Array()


def _scalar(dtype: Any, raw: Any) -> Any:
    return _from_bytes(raw, dtype, (), "C")[()]


def _bytes(text: Any = b"", *_encoding: Any) -> bytes:
    return text.encode("latin1") if isinstance(text, str) else b"".join([text])  # a number is refused: bytes(10**12)


_NUMPY = {"multiarray._reconstruct": _new_array, "multiarray.scalar": _scalar, "numeric._frombuffer": _from_bytes}
_BUILTIN = {
    "set": set, "frozenset": frozenset, "dict": dict, "complex": complex, "bytes": _bytes,
    "bytearray": lambda *text: bytearray(_bytes(*text)),
}  # fmt: skip
ALLOWED: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "_codecs.encode": _bytes,
    "collections.OrderedDict": dict,
    **{f"numpy.{core}.{name}": kind for core in ("core", "_core") for name, kind in _NUMPY.items()},
    **{f"{module}.{name}": kind for module in ("builtins", "__builtin__") for name, kind in _BUILTIN.items()},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (found := f"{module}.{name}") not in ALLOWED:
            raise ValueError(f"it names {found}, which is refused: only plain containers, numbers, strings and arrays")
        return ALLOWED[found]


def _finished(value: Any, done: dict[int, Any]) -> Any:
    """The value with every stand-in replaced; `done` keeps what was met before, so that loops end."""
    if isinstance(value, _Array | _Dtype):
        value = value.value
        if not (isinstance(value, np.ndarray) and value.dtype.hasobject):
            return value
    elif not isinstance(value, dict | list | tuple):
        if callable(value):
            raise ValueError("it holds a class in place of data")
        return value
    if id(value) in done:
        return done[id(value)]
    done[id(value)] = value
    if isinstance(value, tuple):
        done[id(value)] = tuple(_finished(item, done) for item in value)
    elif isinstance(value, dict):
        for key, item in value.items():
            value[key] = _finished(item, done)
    else:
        flat = value if isinstance(value, list) else value.reshape(-1)
        for i, item in enumerate(flat):
            flat[i] = _finished(item, done)
    return done[id(value)]
