"""Pickles: plain data comes through as it was, nothing else does, and no code of the file's choosing runs."""

import collections
import datetime
import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from lfmlib.data.loaders import unpickle

SAMPLE = {
    "numbers": [1, -2.5, 10**30, 3 + 4j, True, None],
    "strings": ["é", b"\x00\xff", bytearray(b"ab")],
    "containers": ((1, (2, "x")), {3}, frozenset({4}), collections.OrderedDict(b=1, a=2)),
    ("a", 1): {"nested": {}},
    "scalars": [np.float32(2.5), np.bool_(True), np.int64(7)],
}
ARRAYS = {
    "plain": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "strided": np.arange(12)[::3],
    "big_endian": np.arange(3, dtype=">i2"),
    "text": np.array(["ab", "c"]),
    "bytes": np.array([b"ab", b"c"]),
    "empty": np.zeros((0, 3)),
    "scalar": np.array(3.5),
    "bools": np.array([True, False]),
    "half": np.array([0.5], np.float16),
}


class Hostile:
    """Runs a command when it is unpickled the ordinary way."""

    def __init__(self, command: str = "") -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    return type(found) is np.ndarray and found.dtype == expected.dtype and np.array_equal(found, expected)


def write(path, content: bytes):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol(tmp_path, protocol):
    path = write(tmp_path / "a.pkl", pickle.dumps([SAMPLE, ARRAYS, ARRAYS["plain"]], protocol=protocol))
    sample, arrays, again = unpickle.load_pickle(path)
    assert sample == SAMPLE
    assert [type(x) for x in sample["strings"]] == [str, bytes, bytearray]
    assert [type(x) for x in sample["scalars"]] == [np.float32, np.bool_, np.int64]
    assert list(sample["containers"][3]) == ["b", "a"] and type(sample["containers"][3]) is dict
    assert arrays.keys() == ARRAYS.keys()
    assert all(same(arrays[name], ARRAYS[name]) for name in ARRAYS)
    assert again is arrays["plain"]  # one array in the file, one after it


@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_of_objects(tmp_path, protocol):
    inner = {"deep": np.ones(2), "rows": np.array([[1, None], ["x", np.arange(3)]], dtype=object)}
    stored = np.array([inner, (np.zeros(1),)], dtype=object)
    found = unpickle.load_pickle(write(tmp_path / "a.pkl", pickle.dumps(stored, protocol=protocol)))
    assert found.dtype == object and found.shape == (2,)
    assert same(found[0]["deep"], np.ones(2)) and same(found[0]["rows"][1, 1], np.arange(3))
    assert found[0]["rows"][0].tolist() == [1, None] and same(found[1][0], np.zeros(1))


def test_python_2(tmp_path):
    values = np.array([1.5, -2.0])
    content = (
        b"\x80\x02}U\x02\xe9acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x10" + values.astype("<f8").tobytes() + b"tbs."
    )
    found = unpickle.load_pickle(write(tmp_path / "a.pkl", content))
    assert list(found) == ["éa"] and same(found["éa"], values)


def test_a_loop_ends(tmp_path):
    loop: list = [np.arange(2)]
    loop.append({"self": loop})
    found = unpickle.load_pickle(write(tmp_path / "a.pkl", pickle.dumps(loop)))
    assert found[1]["self"] is found and same(found[0], np.arange(2))


def test_npy_and_npz(tmp_path):
    np.save(tmp_path / "a.npy", {"x": np.arange(3), "name": "y"}, allow_pickle=True)
    assert same(unpickle.load_npy_objects(tmp_path / "a.npy")["x"], np.arange(3))
    np.save(tmp_path / "b.npy", ARRAYS["fortran"])
    assert same(unpickle.load_npy_objects(tmp_path / "b.npy"), ARRAYS["fortran"])
    rows = np.array([{"a": 1}, None], dtype=object)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "c.npz", rows=rows, one={"k": np.ones((2, 2))}, plain=ARRAYS["big_endian"], text=ARRAYS["text"])
        found = unpickle.load_npz_objects(tmp_path / "c.npz")
        assert list(found) == ["rows", "one", "plain", "text"] and found["rows"].tolist() == [{"a": 1}, None]
        assert same(found["one"]["k"], np.ones((2, 2))) and same(found["plain"], ARRAYS["big_endian"])
        assert same(found["text"], ARRAYS["text"])
        assert list(unpickle.load_npz_objects(tmp_path / "c.npz", ["text", "absent"])) == ["text"]


REFUSED = {
    "system": (pickle.dumps(Hostile()), f"{os.name}.system"),
    "within": (pickle.dumps({"a": [np.array([Hostile()], dtype=object)]}), f"{os.name}.system"),
    "eval": (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
    "getattr": (b"c__builtin__\ngetattr\n(tR.", "__builtin__.getattr"),
    "dotted": (b"\x80\x04\x8c\x05numpy\x8c\x07os.path\x93.", "numpy.os.path"),
    "date": (pickle.dumps(datetime.date(2020, 1, 2)), "datetime.date"),
    "subclass": (pickle.dumps(np.zeros(2).view(np.recarray)), "recarray"),
    "masked": (pickle.dumps(np.ma.array([1.0])), "numpy.ma"),
    "fields": (pickle.dumps(np.array([(1, 2.0)], dtype="i4,f4")), "V8"),
    "time": (pickle.dumps(np.array(["2020"], dtype="M8[Y]")), "M8"),
    "class": (b"cbuiltins\nset\n.", "class in place of data"),
    "persistent": (b"P1\n.", "persistent"),
    "long array": (pickle.dumps(np.arange(3.0), 2).replace(b"K\x03\x85", b"K\x63\x85"), "792"),
    "many zeros": (b"cbuiltins\nbytes\n(I1000000000000\ntR.", "bytes"),
    "huge string": (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0f.", "a.pkl"),
    "huge memo": (b"\x80\x04Nr\xff\xff\xff\x7f.", "a.pkl"),
    "deep": (b"]" * 100_000 + b"a" * 99_999 + b".", "recursion"),
    "unfilled array": (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR.", "value"),
    "no pickle": (b"hello", "a.pkl"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused(tmp_path, name):
    content, word = REFUSED[name]
    with pytest.raises(ValueError, match="a.pkl") as error:
        unpickle.load_pickle(write(tmp_path / "a.pkl", content))
    assert word in str(error.value)


def test_no_command_runs(tmp_path):
    trap = Hostile(f"touch {tmp_path / 'trap'}")
    np.savez(tmp_path / "a.npz", a=np.array(trap, dtype=object))
    np.save(tmp_path / "a.npy", np.array([trap], dtype=object), allow_pickle=True)
    write(tmp_path / "a.pkl", pickle.dumps(trap))
    for suffix, load in (
        ("npz", unpickle.load_npz_objects),
        ("npy", unpickle.load_npy_objects),
        ("pkl", unpickle.load_pickle),
    ):
        with pytest.raises(ValueError, match=rf"a\.{suffix}.*{os.name}\.system, which is refused"):
            load(tmp_path / f"a.{suffix}")
    assert not (tmp_path / "trap").exists()


def test_a_type_cannot_pretend_to_hold_no_objects(tmp_path):
    """numpy's own dtype would take these flags from the file and then read bytes as pointers."""
    content = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85"
        b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x10" + b"A" * 16 + b"tb."
    )
    with pytest.raises(ValueError, match="without as many objects"):
        unpickle.load_pickle(write(tmp_path / "a.pkl", content))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("suffix", ["pkl", "npy", "npz", "plain.npy"])
def test_cut_short(tmp_path, share, suffix):
    path = tmp_path / f"a.{suffix}"
    content = {"x": np.arange(100.0), "y": ["z"] * 50}
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(content))
        load = unpickle.load_pickle
    elif suffix == "npz":
        np.savez_compressed(path, content=content)
        load = unpickle.load_npz_objects
    else:
        np.save(path, content if suffix == "npy" else content["x"], allow_pickle=True)
        load = unpickle.load_npy_objects
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=f"a.{suffix}"):
        load(path)


def test_any_damaged_byte_gives_data_or_a_value_error(tmp_path):
    whole = pickle.dumps({"x": np.arange(4.0), "y": [np.float32(1), "z", {1}], "o": np.array([{}, None])}, 2)
    path = tmp_path / "a.pkl"
    for place in range(len(whole)):
        for byte in (0, ord("R")):
            path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            try:
                unpickle.load_pickle(path)
            except ValueError as error:
                assert str(path) in str(error)


@pytest.mark.parametrize("load", [unpickle.load_pickle, unpickle.load_npy_objects, unpickle.load_npz_objects])
def test_absent(tmp_path, load):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(FileNotFoundError, match=path.name):
            load(path)


def test_npy_with_a_false_header(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)})
    with pytest.raises(ValueError, match="a.npy.*cut short"):
        unpickle.load_npy_objects(write(tmp_path / "a.npy", buffer.getvalue() + b"12345678"))
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    with pytest.raises(ValueError, match=r"a.npy.*no array of the stated shape \[2\]"):
        unpickle.load_npy_objects(write(tmp_path / "a.npy", buffer.getvalue() + pickle.dumps([1, 2])))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"no array")
    with pytest.raises(ValueError, match=r"a.npz: x: not an \.npy file"):
        unpickle.load_npz_objects(tmp_path / "a.npz")


def test_numbers():
    found = unpickle.numbers([[1, 2], [3, 4]], ("T", 2), "here")
    assert found.dtype == np.float64 and found.tolist() == [[1, 2], [3, 4]]
    assert unpickle.numbers(np.array([True]), (1,), "here") == 1
    for value, shape, message in (
        ([[1, 2], [3]], ("T", 2), "different lengths"),
        ([["a", "b"]], ("T", 2), "in place of numbers"),
        ([[1, 2, 3]], ("T", 2), r"shape \[1, 3\], expected \[T, 2\]"),
        (3, ("T", 2), r"shape \[\]"),
        ([[1, 2], [3, np.nan]], ("T", 2), "frame 1 is not finite"),
        ([[1e300, 2]], ("T", 2), "frame 0 is not finite"),
        ({"a": 1}, ("T", 2), "object in place of numbers"),
    ):
        with pytest.raises(ValueError, match=f"^here: .*{message}"):
            unpickle.numbers(value, shape, "here")
