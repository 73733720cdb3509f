"""Lifting: equivariant to where and how large the input is, blind to order, batching and what is not visible."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from lfmlib import files, geometry, lifting, lifting_checks, metrics, rigs, training
from lfmlib.data.batches import ViewSampler, evaluation_views
from lfmlib.data.views import normalise
from lfmlib.lifting import LoadedLifter, lift, load, usable, with_engine
from lfmlib.lifting_checks import check_form
from lfmlib.model import Lifter, LifterConfig
from lfmlib.objectives import ObjectiveConfig
from lfmlib.objectives.fitting import read_out
from lfmlib.runs import TEST_SEED, RunConfig, RunData
from lfmlib.store import RunStore, read_tensors, write_tensors

CONFIG = RunConfig(
    ("synthetic_chair10", "synthetic_body17"),
    model=LifterConfig(width=16, depth=2, heads=2, injection="input", alpha=10.0),
    objective=ObjectiveConfig(low_rank=0.03), count=100, steps=60, batch=32, missing=0.1, evaluations=1, test_views=40,
)  # fmt: skip
CHAIR, BODY = CONFIG.categories


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def record(store) -> dict:
    return training.train(CONFIG, store)


@pytest.fixture(scope="session")
def loaded(store, record) -> LoadedLifter:
    return load(record["id"], store)


@pytest.fixture(scope="session")
def views():
    """Views of chairs, some keypoints missing, in pixels around (640, 360)."""
    sets = RunData.of(CONFIG).test[:1]
    drawn = ViewSampler(sets, CONFIG.cameras, 0.1).draw(30, torch.Generator().manual_seed(0))
    return drawn.X.double() * 100 + torch.tensor([640.0, 360.0], dtype=torch.float64), drawn.visible


@contextmanager
def unchecked() -> Iterator[None]:
    """Without the checks of types: a tracer's sizes are no numbers."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


class Created(TorchDispatchMode):
    """Lists the lengths of the tensors that PyTorch makes, and whether they are whole: views are not made."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        given = {v.untyped_storage().data_ptr() for v in args if isinstance(v, torch.Tensor)}
        for value in result if isinstance(result, tuple) else (result,):
            if isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() not in given:
                self.sizes.append(value.numel() * value.element_size())
        return result


def close(a, b, scale=100.0):
    torch.testing.assert_close(a, b, rtol=0, atol=2e-4 * scale)


@given(st.floats(-6, 6), st.floats(-3, 3), st.floats(-3, 3))
def test_shift_and_scale_of_the_input_are_those_of_the_output(loaded, views, power, x, y):
    X, visible = views
    scale, shift = 10**power, torch.tensor([x, y], dtype=torch.float64) * 10**power * 100
    for kind in lifting.READ_OUTS:
        plain = lift(loaded, X, visible, CHAIR, kind)
        moved = lift(loaded, X * scale + shift, visible, CHAIR, kind)
        close(moved.shapes, plain.shapes * scale + torch.cat([shift, shift.new_zeros(1)]), 100 * scale)
        close(moved.residual, plain.residual * scale, 100 * scale)
        close(moved.canonical, plain.canonical, 1)


def test_order_and_batches_do_not_matter(loaded, views, generator, monkeypatch):
    X, visible = views
    plain = lift(loaded, X, visible, CHAIR)
    order = torch.randperm(len(X), generator=generator)
    for whole, part in zip(plain, lift(loaded, X[order], visible[order], CHAIR), strict=True):
        close(part.double(), whole[order].double())
    for batch in (1, 7, 30):
        close(lift(loaded, X, visible, CHAIR, batch=batch).shapes, plain.shapes)
    monkeypatch.setattr(lifting, "LARGEST_BATCH", 1)  # a wide model: one sample at a time
    close(lift(loaded, X, visible, CHAIR).shapes, plain.shapes)


@pytest.mark.parametrize("masked", [False, True])
def test_only_the_results_grow_with_the_number_of_samples(loaded, masked, monkeypatch):
    monkeypatch.setattr(lifting_checks, "CHUNK", 8)
    largest = []
    for count in (32, 160):
        X = torch.randn(count, 10, 2, generator=torch.Generator().manual_seed(0))
        visible = None
        if masked:
            visible = torch.ones(count, 10, dtype=torch.bool)
            visible[:, 4] = False
        with Created() as created:
            lift(loaded, X, visible, CHAIR, batch=8)
        results = [4 * count * 30, 4 * count * 30, 4 * count, *[count * 10] * (not masked)]
        for size in results:
            created.sizes.remove(size)
        largest.append(max(created.sizes))
    assert largest[0] == largest[1]
    with Created() as created:
        usable(X, visible)
    created.sizes.remove(160)
    assert max(created.sizes) < 8 * 10 * 2 * 8


@pytest.mark.parametrize("kind", lifting.READ_OUTS)
def test_agrees_with_one_sample_at_a_time(loaded, views, kind):
    X, visible = views
    result = lift(loaded, X, visible, CHAIR, kind)
    for f in range(len(X)):
        seen = visible[f][None]
        unit, mean, rms = normalise(X[f][None].float(), seen)
        Y = loaded.lifter(unit, seen, torch.tensor([0]))
        camera = geometry.fit_camera(unit, Y, seen)
        shape = read_out(unit, Y, camera, seen, kind) * rms + torch.cat([mean, mean.new_zeros(1, 1)], -1)[:, None]
        close(result.shapes[f].float(), shape[0])
        close(result.canonical[f].float(), Y[0], 1)
        off = ((geometry.project(Y, camera) - unit)[0, visible[f]] * rms).square().sum(-1).mean().sqrt()
        close(result.residual[f].float(), off)


def test_snap_keeps_what_was_observed_and_depth_has_mean_zero(loaded, views):
    X, visible = views
    snapped, fitted = (lift(loaded, X, visible, CHAIR, kind) for kind in ("snap", "fit"))
    assert torch.equal(lift(loaded, X, visible, CHAIR).shapes, snapped.shapes)  # the default
    assert torch.equal(snapped.shapes[visible][:, :2], X[visible])
    assert torch.equal(snapped.shapes[~visible], fitted.shapes[~visible])
    assert torch.equal(snapped.shapes[..., 2], fitted.shapes[..., 2])
    mean = torch.where(visible, snapped.shapes[..., 2], 0).sum(1) / visible.sum(1)
    close(mean, torch.zeros_like(mean))
    assert snapped.shapes[..., 2].std() > 1  # it is no flat answer, or the laws say nothing
    off = torch.where(visible[..., None], fitted.shapes[..., :2] - X, 0).square().sum((1, 2)) / visible.sum(1)
    close(off.sqrt(), fitted.residual)


def test_what_is_not_visible_does_not_matter_and_is_predicted(loaded, views):
    X, visible = views
    plain = lift(loaded, X, visible, CHAIR)
    assert (~visible).any() and plain.shapes.isfinite().all()
    for other in (torch.nan, torch.inf, 1e30):
        hidden = torch.where(visible[..., None], X, other)
        assert all(torch.equal(a, b) for a, b in zip(lift(loaded, hidden, visible, CHAIR), plain, strict=True))
    everything = torch.ones_like(visible)
    complete = torch.where(visible[..., None], X, plain.shapes[..., :2])
    close(lift(loaded, complete, everything, CHAIR).shapes, lift(loaded, complete, None, CHAIR).shapes)


def test_compiled_on_demand_and_as_it_is_where_that_fails(loaded, views, monkeypatch, caplog):
    X, visible = views
    calls = []

    def compiler(network, dynamic):
        calls.append(dynamic)
        return lambda *inputs: calls.append(len(inputs[0])) or network(*inputs)

    monkeypatch.setattr(torch, "compile", compiler)
    compiled, plain = with_engine(loaded, "compiled"), lift(loaded, X, visible, CHAIR)
    assert calls == []
    for _ in range(2):
        close(lift(compiled, X, visible, CHAIR).shapes, plain.shapes)
    assert calls == [True, len(X), len(X)]  # compiled once, for any batch
    close(lift(compiled, X[:1], visible[:1], CHAIR).shapes, plain.shapes[:1])
    assert len(calls) == 3  # one sample goes uncompiled
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: lambda *inputs: 1 / 0)
    compiled = with_engine(loaded, "compiled")
    for _ in range(2):
        assert torch.equal(lift(compiled, X, visible, CHAIR).shapes, plain.shapes)
    assert caplog.text.count("torch.compile does not work here, the network runs uncompiled (division by zero)") == 1


COMPILED = """
import sys, torch
from lfmlib import lifting
plain, compiled = (lifting.load(sys.argv[1], device=sys.argv[2], engine=engine) for engine in ("torch", "compiled"))
X = torch.randn(50, 10, 2, generator=torch.Generator().manual_seed(0))
for count in (50, 49):
    a, b = (lifting.lift(lifter, X[:count], category=sys.argv[3]).shapes for lifter in (plain, compiled))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-3)
assert compiled.engine.network.works
"""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_compiled_for_a_gpu(store, record, root):
    """In a process of its own: the checks of types cannot be compiled."""
    words = [sys.executable, "-c", COMPILED, str(store.folder(record["id"])), "cuda", CHAIR]
    subprocess.run(words, check=True, cwd=root)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_follows_and_the_result_is_an_ordinary_tensor(loaded, views, dtype):
    X, visible = views
    result = lift(loaded, X.to(dtype), visible, CHAIR)
    assert all(v.dtype == dtype for v in (result.shapes, result.canonical, result.residual))
    assert not result.shapes.requires_grad
    (result.shapes.requires_grad_() ** 2).sum().backward()  # tensors of inference mode could not


def test_the_result_is_where_the_keypoints_are(loaded, store, record, views, device):
    X, visible = views
    there = load(record["id"], store, device)
    assert there.lifter.category.device.type == device.type
    plain = lift(loaded, X, visible, CHAIR)
    for place in ("cpu", device):
        result = lift(there, X.to(place), visible.to(place), CHAIR)
        assert result.shapes.device.type == torch.device(place).type
        close(result.shapes.cpu(), plain.shapes)


def test_reaches_the_errors_that_the_record_states(loaded, record):
    sets = RunData.of(CONFIG).test
    seed = TEST_SEED + CONFIG.seed
    views = evaluation_views(sets, CONFIG.cameras, CONFIG.test_views, seed, CONFIG.missing)
    numbers = ("o3", "so3", "flip")
    for c, shapes in enumerate(sets):
        mine, n = views.category == c, shapes.rig.n
        P = lift(loaded, views.X[mine, :n], views.visible[mine, :n], shapes.rig.name).shapes
        (row,) = metrics.evaluate(
            P, views.Y[mine, :n], views.known[mine, :n], radius=[shapes.radius], names=[shapes.rig.name]
        )
        stated = record["final"]["test"]["snap"][c]
        assert row["category"] == stated["category"]
        assert [row[k] for k in numbers] == pytest.approx([stated[k] for k in numbers], rel=1e-3)


def test_loads_by_file_by_folder_and_by_id(loaded, store, record):
    folder = store.folder(record["id"])
    for path in (folder / "model.safetensors", str(folder), record["id"]):
        again = load(path, store)
        assert again.config == CONFIG and again.rigs == tuple(rigs.get(name) for name in CONFIG.categories)
        assert not again.lifter.training
        for name, value in loaded.lifter.state_dict().items():
            assert torch.equal(value, again.lifter.state_dict()[name])


def test_engines_are_checked(loaded):
    with pytest.raises(ValueError, match="unknown engine 'onx'.*did you mean 'onnx'"):
        with_engine(loaded, "onx")
    elsewhere = LoadedLifter(Lifter(CONFIG.model, loaded.rigs).to("meta"), CONFIG, loaded.rigs)
    with pytest.raises(ValueError, match="computes on the CPU, but the network is on meta"):
        with_engine(elsewhere, "onnx")


def altered(store, record, tmp_path, header=None, tensors=None):
    """The run's file with another header or other tensors, alone in a folder."""
    old, head = read_tensors(store.folder(record["id"]) / "model.safetensors")
    path = tmp_path / "model.safetensors"
    write_tensors(path, tensors or old, head if header is None else {k: v for k, v in (head | header).items() if v})
    return path


def with_field(config: RunConfig, part: str | None = None) -> str:
    content = config.as_dict()
    (content[part] if part else content)["from_the_future"] = 1
    return json.dumps(content)


RIGS = [asdict(rigs.get(name)) for name in CONFIG.categories]
HEADERS = {
    "no config": ({"config": ""}, "not of a lifter"),
    "a checkpoint": ({"config": "", "state": "{}"}, "checkpoint of an unfinished run"),
    "unknown field": ({"config": with_field(CONFIG)}, "another version of lfmlib.*from_the_future"),
    "unknown field of the model": ({"config": with_field(CONFIG, "model")}, "another version.*from_the_future"),
    "config is a list": ({"config": "[1]"}, "another version"),
    "config is no JSON": ({"config": "{"}, "another version"),
    "a bad value": ({"config": json.dumps(CONFIG.as_dict() | {"steps": -1})}, "steps is -1"),
    "unknown field of a rig": ({"rigs": json.dumps([RIGS[0] | {"colour": 1}])}, "another version.*colour"),
    "rigs are no list": ({"rigs": "7"}, "another version"),
    "one rig too few": ({"rigs": json.dumps(RIGS[:1])}, "do not belong together"),
    "another width": ({"config": json.dumps(CONFIG.as_dict() | {"model": {"width": 32}})}, "do not belong together"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_refuses_what_is_no_lifter(store, record, tmp_path, case):
    header, message = HEADERS[case]
    path = altered(store, record, tmp_path, header)
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        load(path)


def test_refuses_damage(store, record, tmp_path):
    content = (store.folder(record["id"]) / "model.safetensors").read_bytes()
    path = tmp_path / "model.safetensors"
    for length in (0, 5, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=f"{path}: not a whole safetensors file"):
            load(path)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    files.write_json(tmp_path / "record.json", files.read_json(store.folder(record["id"]) / "record.json"))
    with pytest.raises(ValueError, match="does not match record.json"):
        load(tmp_path)
    files.write_json(tmp_path / "record.json", [])
    with pytest.raises(ValueError, match="does not match record.json"):
        load(tmp_path)


def test_refuses_a_run_that_diverged(store, record, tmp_path):
    tensors, _ = read_tensors(store.folder(record["id"]) / "model.safetensors")
    tensors["head.bias"][0] = torch.nan
    with pytest.raises(ValueError, match="head.bias is not finite: the run diverged"):
        load(altered(store, record, tmp_path, tensors=tensors))


def test_says_what_it_did_not_find(store, record, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"nor the id of a run.*finished runs there: 1, such as {record['id']}"):
        load("0123456789abcdef", store)
    with pytest.raises(FileNotFoundError, match="finished runs there: 0"):
        load(tmp_path / "x.safetensors", RunStore(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="no model.safetensors in this folder"):
        load(tmp_path)
    files.write_json(tmp_path / "config.json", CONFIG.as_dict())
    with pytest.raises(FileNotFoundError, match="the run is not finished"):
        load(tmp_path)


GOOD = torch.randn(4, 10, 2, generator=torch.Generator().manual_seed(1))
MASK = torch.ones(4, 10, dtype=torch.bool)


def edited(tensor: torch.Tensor, index, value) -> torch.Tensor:
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


THIRD = rigs.get(CHAIR).keypoints[3]
BAD = {
    "nan": ({"keypoints": edited(GOOD, (2, 3), torch.nan)}, f"sample 2, keypoint {THIRD} is \\(nan, nan\\)"),
    "inf": ({"keypoints": edited(GOOD, (2, 3, 0), torch.inf), "visible": MASK}, f"2, keypoint {THIRD} is \\(inf"),
    "named frame": ({"keypoints": edited(GOOD, (2, 3), torch.nan), "frames": (4, 5, "b", 7)}, "frame b, keypoint"),
    "names": ({"frames": (4, 5)}, "2 frame names for 4 samples"),
    "two visible": ({"visible": edited(MASK, (1, slice(2, None)), False)}, "sample 1 has 2 visible keypoints"),
    "none visible": ({"visible": edited(MASK, 3, False)}, "sample 3 has 0 visible keypoints"),
    "equal": ({"keypoints": edited(GOOD, 3, 5.0)}, "sample 3: all visible keypoints are in the same place"),
    "visible equal": (
        {"keypoints": edited(GOOD, (0, slice(3)), 1e-7), "visible": edited(MASK, (0, slice(3, None)), False)},
        "sample 0: all visible",
    ),
    "wrong N": ({"keypoints": GOOD[:, :9]}, "9 keypoints, but synthetic_chair10 has 10, in this order: "),
    "other rig": ({"category": BODY}, "10 keypoints, but synthetic_body17 has 17"),
    "no category": ({"category": None}, "2 categories, name one of them: synthetic_chair10, synthetic_body17"),
    "unknown category": ({"category": "synthetic_chair"}, "unknown category.*did you mean 'synthetic_chair10'"),
    "integers": ({"keypoints": GOOD.long()}, "dtype torch.int64, expected torch.float32"),
    "half": ({"keypoints": GOOD.half()}, "dtype torch.float16"),
    "3D": ({"keypoints": torch.zeros(4, 10, 3)}, r"shape \[4, 10, 3\], expected \[F, N, 2\]"),
    "one sample": ({"keypoints": GOOD[0]}, r"shape \[10, 2\]"),
    "nothing": ({"keypoints": GOOD[:0]}, "no sample"),
    "mask too short": ({"visible": MASK[:3]}, r"visible has shape \[3, 10\], expected \[4, 10\]"),
    "mask of numbers": ({"visible": MASK.float()}, "visible is torch.float32"),
    "read-out": ({"read_out": "snip"}, "unknown read-out.*did you mean 'snap'"),
    "batch": ({"batch": 0}, "batch is 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(loaded, case):
    arguments, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        lift(loaded, **{"keypoints": GOOD, "category": CHAIR} | arguments)


def test_what_is_no_tensor_is_named():
    for keypoints, visible, message in ((GOOD.numpy(), None, "ndarray, expected"), (GOOD, MASK.tolist(), "is list")):
        with pytest.raises(ValueError, match=message):  # `lift` itself is type-checked in tests, before it can speak
            check_form(rigs.get(CHAIR), keypoints, visible, None)


def test_usable_is_what_lift_accepts(loaded):
    X, visible = GOOD.repeat(2, 1, 1), MASK.repeat(2, 1)
    X[1], X[2, 0], X[3, 0, 1], visible[4, 2:], visible[2, 0] = 1.0, torch.nan, torch.inf, False, False
    keep = usable(X, visible)
    assert keep.tolist() == [True, False, True, False, False, True, True, True]
    lift(loaded, X[keep], visible[keep], CHAIR)
    for f in (~keep).nonzero().flatten().tolist():
        with pytest.raises(ValueError, match="sample 0"):
            lift(loaded, X[f : f + 1], visible[f : f + 1], CHAIR)


def test_a_depth_network_keeps_the_picture_and_cannot_place_what_is_missing():
    rig, model = rigs.get(CHAIR), LifterConfig(width=8, depth=1, heads=2, outputs=1)
    objective = ObjectiveConfig(output="depth", reprojection=0, limb_constancy=1)
    depth = LoadedLifter(Lifter(model, [rig]), RunConfig((CHAIR,), model=model, objective=objective), (rig,))
    result = lift(depth, GOOD)
    assert torch.equal(result.shapes[..., :2], GOOD) and result.shapes[..., 2].std() > 0.01
    assert torch.equal(result.residual, torch.zeros(4))
    with pytest.raises(ValueError, match="no read-out fit"):
        lift(depth, GOOD, read_out="fit")
    with pytest.raises(ValueError, match=f"sample 1, keypoint {THIRD} is missing"):
        lift(depth, GOOD, edited(MASK, (1, 3), False))
