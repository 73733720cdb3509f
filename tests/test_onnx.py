"""ONNX: the same numbers, the same errors; a file that says what it is, and is made again when it is no longer true."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_lifting import BAD, GOOD, MASK, edited, unchecked

from lfmlib import cli, files, geometry, lifting, rigs
from lfmlib.data.views import normalise
from lfmlib.lifting import LoadedLifter, lift, with_engine
from lfmlib.model import Lifter, LifterConfig
from lfmlib.objectives import ObjectiveConfig
from lfmlib.objectives.fitting import read_out
from lfmlib.runs import RunConfig
from lfmlib.store import write_tensors
from lfmlib.torch_engine import Batch

onnx = pytest.importorskip("onnx", reason="the extra [onnx] is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra [onnx] is not installed")
pytest.importorskip("onnxscript", reason="the extra [onnx] is not installed")

from lfmlib import onnx_graph  # noqa: E402
from lfmlib.kernels import lift_numba  # noqa: E402
from lfmlib.onnx_engine import OnnxEngine  # noqa: E402

CHAIR, BODY = "synthetic_chair10", "synthetic_body17"


def lifter_of(names: tuple[str, ...], objective: ObjectiveConfig | None = None, **model) -> LoadedLifter:
    """A lifter as it is before training, with a head that is not small."""
    known, model = tuple(rigs.get(name) for name in names), LifterConfig(width=16, heads=2, **model)
    network = Lifter(model, known).eval().requires_grad_(False)
    network.head.bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(2))
    config = RunConfig(names, model=model, objective=objective or ObjectiveConfig())
    return LoadedLifter(network, config, known)


@pytest.fixture(scope="module")
def eager() -> LoadedLifter:
    """Two categories, in PyTorch."""
    return lifter_of((CHAIR, BODY), depth=2, injection="first_last", into="qk", alpha=3.0)


@pytest.fixture(scope="module")
def content(eager) -> bytes:
    """Its graph."""
    with unchecked():
        return onnx_graph.graph(eager)


@pytest.fixture(scope="module")
def fast(eager, content) -> LoadedLifter:
    """The same lifter in ONNX Runtime."""
    return LoadedLifter(eager.lifter, eager.config, eager.rigs, OnnxEngine(content, eager.config.objective))


@pytest.fixture(scope="module")
def depth() -> tuple[LoadedLifter, LoadedLifter]:
    """One category, depth only: in PyTorch and in ONNX Runtime."""
    objective = ObjectiveConfig(output="depth", reprojection=0, limb_constancy=1)
    plain = lifter_of((CHAIR,), objective, depth=1, outputs=1)
    with unchecked():
        return plain, with_engine(plain, "onnx")


def pictures(count: int, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Keypoints in pixels, some not visible and not a number."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(count, n, 2, generator=generator, dtype=torch.float64) * 100 + 500
    visible = torch.rand(count, n, generator=generator) < 0.8
    visible[:, :3] = True
    return torch.where(visible[..., None], X, torch.nan), visible


def agree(a: lifting.Lifted, b: lifting.Lifted, unit: float = 100.0) -> None:
    """To 1e-5 of the unit; shapes and residuals in the input's unit, canonical shapes in their own."""
    for name, scale in (("shapes", unit), ("canonical", 1.0), ("residual", unit)):
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype and x.device == y.device
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5 * scale)
    assert torch.equal(a.visible, b.visible)


@pytest.mark.parametrize("category, n", [(0, 10), (1, 17), (0, 17)])
@pytest.mark.parametrize("count", [1, 2, 65])
def test_the_network_is_that_of_pytorch(eager, fast, category, n, count):
    X, visible = pictures(count, n)
    unit = normalise(X, visible)[0].float()
    expected = eager.lifter(unit, visible, torch.full((count,), category))
    holes = torch.where(visible[..., None], unit, torch.nan)  # what is not visible may hold anything
    found = torch.from_numpy(fast.engine.network(holes.numpy(), visible.numpy(), category))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", lifting.READ_OUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lifts_alike(eager, fast, kind, dtype):
    for name, n in ((CHAIR, 10), (BODY, 17)):
        X, visible = pictures(30, n)
        X = X.to(dtype)
        agree(lift(fast, X, visible, name, kind), lift(eager, X, visible, name, kind))
        complete = torch.where(visible[..., None], X, 400)
        agree(lift(fast, complete, None, name, kind), lift(eager, complete, None, name, kind))
        strided = complete.mT.contiguous().mT
        assert not strided.is_contiguous()
        agree(lift(fast, strided, None, name, kind), lift(fast, complete, None, name, kind))


def test_one_at_a_time_and_in_batches(fast):
    X, visible = pictures(12, 17)
    whole = lift(fast, X, visible, BODY)
    agree(lift(fast, X, visible, BODY, batch=5), whole)
    for f in range(12):
        agree(lift(fast, X[f : f + 1], visible[f : f + 1], BODY), lifting.Lifted(*(v[f : f + 1] for v in whole)))
    assert torch.equal(whole.shapes[visible][:, :2], X[visible])  # snap: the input's own digits


def test_the_algebraic_camera(eager, fast):
    config = RunConfig((CHAIR, BODY), model=eager.config.model, objective=ObjectiveConfig(camera="algebraic"))
    plain = LoadedLifter(eager.lifter, config, eager.rigs)
    engine = OnnxEngine.__new__(OnnxEngine)
    engine.__dict__ |= fast.engine.__dict__ | {"objective": config.objective}
    X, visible = pictures(20, 10)
    other = LoadedLifter(eager.lifter, config, eager.rigs, engine)
    agree(lift(other, X, visible, CHAIR, "fit"), lift(plain, X, visible, CHAIR, "fit"))


def test_far_from_the_origin_digits_stay(fast):
    X, visible = pictures(10, 10)
    near, far = lift(fast, X, visible, CHAIR), lift(fast, X + 1e8, visible, CHAIR)
    torch.testing.assert_close(far.canonical, near.canonical, rtol=0, atol=1e-5)
    torch.testing.assert_close(far.shapes[..., 2], near.shapes[..., 2], rtol=0, atol=1e-3)


def test_a_depth_network(depth):
    plain, other = depth
    agree(lift(other, GOOD), lift(plain, GOOD), unit=1)
    assert torch.equal(lift(other, GOOD).shapes[..., :2], GOOD)
    assert torch.equal(lift(other, GOOD).residual, torch.zeros(len(GOOD)))
    for arguments in ({"read_out": "fit"}, {"visible": edited(MASK, (1, 3), False)}):
        said = []
        for lifter in depth:
            with pytest.raises(ValueError) as error:
                lift(lifter, GOOD, **arguments)
            said.append(str(error.value))
        assert said[0] == said[1]


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_the_same_words(eager, fast, case):
    said = []
    for lifter in (eager, fast):
        with pytest.raises(ValueError) as error:
            lift(lifter, **{"keypoints": GOOD, "category": CHAIR} | BAD[case][0])
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_compiled_normalisation_is_that_of_pytorch(dtype):
    X, visible = pictures(40, 9)
    X[3], X[4] = 5.0, 1e9 + 1 / 3  # in one place: RMS 0
    X = X.to(dtype)
    expected = normalise(X.double(), visible)
    found = np.empty((40, 9, 2), np.float32), np.empty((40, 2)), np.empty(40)
    lift_numba.normalise[dtype](X.numpy(), visible.numpy(), *found)
    for a, b, kind in zip(found, expected, (torch.float32, torch.float64, torch.float64), strict=True):
        torch.testing.assert_close(torch.from_numpy(a), b.to(kind), rtol=1e-6, atol=1e-6)


def test_the_compiled_read_out_is_that_of_pytorch():
    X, visible = pictures(20, 9)
    unit, mean, rms = normalise(X, visible)
    unit, Y = unit.float(), torch.randn(20, 9, 3, generator=torch.Generator().manual_seed(1))
    camera = geometry.solve_camera(unit, Y, visible)
    for kind in lifting.READ_OUTS:
        result = Batch(*(torch.empty(shape, dtype=X.dtype) for shape in ((20, 9, 3), (20, 9, 3), (20,))))
        arrays = (v.numpy() for v in (X, visible, unit, Y, mean, rms, *camera))
        lift_numba.read_out[X.dtype](*arrays, kind == "snap", *(v.numpy() for v in result))
        expected = read_out(unit, Y, camera, visible, kind) * rms[:, None, None]
        expected[..., :2] += mean[:, None]
        torch.testing.assert_close(result.shapes, expected, rtol=1e-6, atol=1e-3)
        assert torch.equal(result.canonical, Y.double())


def test_the_file_says_what_it_is_and_can_be_used_by_what_it_says(eager, content):
    """A user who has nothing but the file: normalise by hand, run, and find the canonical shapes of `lift`."""
    model = onnx.load_model_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", onnx_graph.OPSET)]
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(told["categories"]) == [
        {"name": name, "keypoints": list(rigs.get(name).keypoints)} for name in (CHAIR, BODY)
    ]
    assert RunConfig.from_dict(json.loads(told["config"])) == eager.config
    assert "root of their mean squared distance" in json.loads(told["inputs"])["keypoints"]
    axes = {value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in (*model.graph.input, *model.graph.output)}  # fmt: skip
    assert axes == {
        "keypoints": ["batch", "keypoints", 2], "visible": ["batch", "keypoints"], "category": ["batch"],
        "canonical": ["batch", "keypoints", 3],
    }  # fmt: skip
    X, visible = pictures(4, 10)
    points, seen = X.numpy(), visible.numpy()
    mean = np.stack([x[v].mean(0) for x, v in zip(points, seen, strict=True)])[:, None]
    size = [np.sqrt(((x[v] - m) ** 2).sum(1).mean()) for x, v, m in zip(points, seen, mean, strict=True)]
    inputs = {"keypoints": ((points - mean) / np.array(size)[:, None, None]).astype(np.float32), "visible": seen,
              "category": np.zeros(4, np.int64)}  # fmt: skip
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(["canonical"], inputs)
    np.testing.assert_allclose(found, lift(eager, X, visible, CHAIR).canonical, rtol=0, atol=1e-5)


def test_as_many_threads_as_torch(content, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    session = OnnxEngine(content, ObjectiveConfig()).session
    assert session.get_session_options().intra_op_num_threads == 3


@pytest.fixture
def run(eager, tmp_path) -> Path:
    """The file of a run, alone in a folder."""
    header = {"config": json.dumps(eager.config.as_dict()), "rigs": json.dumps([rig.__dict__ for rig in eager.rigs])}
    write_tensors(tmp_path / "model.safetensors", eager.lifter.state_dict(), header)
    return tmp_path / "model.safetensors"


@pytest.fixture
def made(content, monkeypatch) -> list[int]:
    """How often the graph was made; making it costs seconds, here nothing."""
    calls = []
    monkeypatch.setattr(onnx_graph, "graph", lambda loaded: calls.append(1) or content)
    return calls


def test_the_graph_is_made_once_and_again_when_it_is_damaged_or_stale(run, eager, made):
    kept = run.with_name("model.engine.onnx")
    X = GOOD
    first = lift(lifting.load(run, engine="onnx"), X, category=CHAIR)
    agree(first, lift(eager, X, category=CHAIR), unit=1)
    whole = kept.read_bytes()
    assert sorted(file.name for file in run.parent.iterdir()) == ["model.engine.onnx", "model.safetensors"]
    onnx.checker.check_model(str(kept))  # sealed, it is an ONNX file like another
    lifting.load(run, engine="onnx")
    assert len(made) == 1
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for count, content in enumerate((b"", whole[:100], whole[:-1], whole + b"0", bytes(flipped)), 2):
        kept.write_bytes(content)
        agree(lift(lifting.load(run, engine="onnx"), X, category=CHAIR), first, unit=1)
        assert len(made) == count and kept.read_bytes() == whole
    other = dict(eager.lifter.state_dict())
    other["head.bias"] = other["head.bias"] + 1
    header = {"config": json.dumps(eager.config.as_dict()), "rigs": json.dumps([rig.__dict__ for rig in eager.rigs])}
    write_tensors(run, other, header)
    lifting.load(run, engine="onnx")
    assert len(made) == count + 1 and kept.read_bytes() != whole  # bound to other weights


def test_a_folder_that_cannot_be_written_is_no_obstacle(run, made, monkeypatch, caplog):
    def refuse(path, content):
        raise OSError(30, "read-only file system", str(path))

    monkeypatch.setattr(files, "write_bytes", refuse)
    lift(lifting.load(run, engine="onnx"), GOOD, category=CHAIR)
    assert "will be made again" in caplog.text and "read-only file system" in caplog.text


def test_what_is_missing_is_named(eager, run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxscript", None)
        with pytest.raises(ImportError, match=r"pip install 'lfmlib\[onnx\]'"):
            onnx_graph.graph(eager)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "lfmlib.onnx_engine")
    with pytest.raises(ImportError, match=r"needs onnxruntime: pip install 'lfmlib\[onnx\]'"):
        lifting.load(run, engine="onnx")


def test_on_the_command_line(run, made, tmp_path, capsys, monkeypatch):
    X, visible = pictures(3, 10)
    source = tmp_path / "in.npz"
    np.savez(source, keypoints_2d=X.numpy(), visible=visible.numpy())
    shapes = {}
    for engine in ("torch", "onnx"):
        target = tmp_path / f"{engine}.npz"
        words = ["lift", source, target, "--model", run, "--category", CHAIR, "--engine", engine]
        assert cli.main([str(word) for word in words]) == 0
        with np.load(target, allow_pickle=False) as content:
            shapes[engine] = content["keypoints_3d"]
    np.testing.assert_allclose(shapes["onnx"], shapes["torch"], rtol=1e-5, atol=1e-3)
    offered = cli._parser().parse_args(["lift", "a", "b", "--model", "c", "--engine", "compiled"])
    assert offered.engine in lifting.ENGINES
    for words, code, said in (
        ([run, tmp_path / "net.onnx"], 0, "keypoints, visible, category -> canonical, of synthetic_chair10, synthetic"),
        ([run, tmp_path / "net.onnx"], 2, "net.onnx exists; --force replaces it"),
        ([run, tmp_path / "net.onnx", "--force"], 0, "root of their mean squared distance"),
        ([run, tmp_path / "net.pt"], 2, "unknown suffix '.pt', expected .onnx"),
        ([tmp_path / "no", tmp_path / "n.onnx"], 2, "neither a file, nor a folder"),
    ):
        capsys.readouterr()
        assert cli.main(["export", *map(str, words)]) == code
        assert said in capsys.readouterr().err
    onnx.checker.check_model(str(tmp_path / "net.onnx"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "lfmlib.onnx_engine")
    words = ["lift", source, tmp_path / "o.npz", "--model", run, "--category", CHAIR, "--engine", "onnx"]
    assert cli.main([str(word) for word in words]) == 2
    assert capsys.readouterr().err == "lfm: error: engine 'onnx' needs onnxruntime: pip install 'lfmlib[onnx]'\n"
