"""Laws of the lifter: padding, permutation, batch and mask invariance, where Phi enters, how many parameters."""

import math
import subprocess
import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from lfmlib.model import INJECTIONS, Lifter, LifterConfig
from lfmlib.rigs import Rig


def rig(n, name="test"):
    edges = tuple((i, i + 1) for i in range(n - 1))
    return Rig(name=name, keypoints=tuple(f"k{i}" for i in range(n)), edges=edges, unit="unit", mm=None)


SMALL = dict(width=16, depth=3, heads=2, ff=2, alpha=2.0)


def lifter(*rigs, seed=0, **changes):
    return Lifter(LifterConfig(**SMALL | changes), rigs or [rig(6)], seed=seed)


def points(B, N, seed=0):
    return torch.randn(B, N, 2, generator=torch.Generator().manual_seed(seed))


def test_padded_and_unpadded_agree():
    model = lifter(rig(6, "a"), rig(10, "b"))
    X = points(5, 6)
    category = torch.zeros(5, dtype=torch.int64)
    plain = model(X, None, category)
    padded = torch.full((5, 10, 2), math.nan)
    padded[:, :6] = X
    visible = (torch.arange(10) < 6).expand(5, 10)
    assert (model(padded, visible, category)[:, :6] - plain).abs().max() < 1e-5


def test_several_categories_agree_with_one_at_a_time():
    model = lifter(rig(6, "a"), rig(6, "b"), rig(6, "c"))
    X, category = points(7, 6), torch.tensor([2, 0, 1, 1, 2, 0, 0])
    mixed = model(X, category=category)
    for c in range(3):
        alone = model(X[category == c], category=category[category == c])
        assert torch.allclose(mixed[category == c], alone, atol=1e-5)
    assert (model(X, category=(category + 1) % 3) - mixed).abs().max() > 1e-4  # the category embedding


@pytest.mark.parametrize("injection", INJECTIONS)
def test_permuting_keypoints_with_their_codes_permutes_the_output(injection):
    model, X = lifter(injection=injection), points(4, 6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    together = model(X[:, order], codes=model.codes[:, order])
    assert (together - model(X)[:, order]).abs().max() < 1e-5
    alone = (model(X[:, order]) - model(X)[:, order]).abs().max()
    if injection == "none":  # the premise of Prop. 1
        assert alone < 1e-5
    else:
        assert alone > 0.01


def test_batch_invariance():
    model, X = lifter(), points(6, 6)
    together = model(X)
    assert torch.allclose(torch.cat([model(x[None]) for x in X]), together, atol=1e-5)
    assert torch.allclose(model(X.flip(0)), together.flip(0), atol=1e-5)


@pytest.mark.parametrize("value", [1e3, math.inf, math.nan])
def test_coordinates_that_are_not_visible_do_not_matter(value):
    model, X = lifter(), points(4, 6)
    visible = torch.ones(4, 6, dtype=torch.bool)
    visible[0, 2] = visible[1, 0] = visible[1, 5] = False
    changed = X.clone()
    changed[~visible] = value
    out = model(changed, visible)
    assert torch.equal(out, model(X, visible)) and out.isfinite().all()
    assert torch.allclose(out[2:], model(X)[2:], atol=1e-5)  # a sample that is all visible is the same with and without
    out.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_occluded_keypoints_are_told_apart_by_phi_alone():
    visible = torch.tensor([[False, True, True, True, True, False]])
    with_phi, without = (lifter(injection=i)(points(1, 6), visible)[0] for i in ("every", "none"))
    assert (with_phi[0] - with_phi[5]).abs().max() > 0.01
    assert torch.allclose(without[0], without[5], atol=1e-6)


@pytest.mark.parametrize(
    "injection, depth, layers, at_input",
    [
        ("none", 5, (), False),
        ("input", 5, (), True),
        ("first_last", 5, (0, 4), True),
        ("first_last", 1, (0,), True),
        ("every_2nd", 5, (0, 2, 4), True),
        ("every_2nd", 4, (0, 2), True),
        ("every", 3, (0, 1, 2), True),
    ],
)
def test_injection_table(injection, depth, layers, at_input):
    config = LifterConfig(**SMALL | dict(injection=injection, depth=depth))
    assert config.layers == layers and config.at_input == at_input
    seen = []
    model = Lifter(config, [rig(6)])
    for layer in model.layers:
        layer.register_forward_pre_hook(lambda module, args: seen.append(args[2] is not None))
    model(points(2, 6))
    assert tuple(i for i, code in enumerate(seen) if code) == layers


def test_keep_input_is_a_switch():
    X = points(2, 6)
    kept, dropped = lifter(), lifter(keep_input=False)
    assert (kept(X) - dropped(X)).abs().max() > 0.01
    dropped.config = LifterConfig(**SMALL)
    assert torch.equal(kept(X), dropped(X))  # nothing else differs


def naive_layer(layer, z, phi, into):
    """Eq. 3 one sample, one head at a time."""
    out = torch.empty_like(z)
    D = z.shape[-1]
    size = D // layer.heads
    for b in range(z.shape[0]):
        projected = layer.qkv(layer.norm1(z[b]))
        q, k, v = projected[:, :D] + phi, projected[:, D : 2 * D] + phi, projected[:, 2 * D :].clone()
        if into == "qkv":
            v = v + phi
        heads = []
        for h in range(layer.heads):
            s = slice(h * size, (h + 1) * size)
            heads.append(torch.softmax(q[:, s] @ k[:, s].T / math.sqrt(size), dim=-1) @ v[:, s])
        y = z[b] + layer.out(torch.cat(heads, dim=-1))
        out[b] = y + layer.down(torch.nn.functional.gelu(layer.up(layer.norm2(y))))
    return out


@pytest.mark.parametrize("into", ["qk", "qkv"])
def test_a_layer_is_eq_3_and_qk_leaves_the_values_alone(into):
    model = lifter(into=into).double()
    seen = []
    handle = model.layers[1].register_forward_hook(lambda m, args, out: seen.append((args[0], args[2], out)))
    model(points(3, 6).double())
    handle.remove()
    z, code, out = seen[0]
    expected = naive_layer(model.layers[1], z.view(3, 6, 16), model.codes[0], into)
    assert torch.allclose(out.view(3, 6, 16), expected, atol=1e-12)
    assert (code[:, 32:].abs().max() == 0) == (into == "qk")


def test_alpha_scales_phi_and_zero_is_the_encoding_none():
    assert torch.allclose(lifter(alpha=6.0).codes, 3 * lifter(alpha=2.0).codes)
    X = points(2, 6)
    assert torch.equal(lifter(alpha=0.0)(X), lifter(encoding="none")(X))


def test_gradients_reach_every_parameter():
    idle = {"missing"}  # stands in for coordinates that are not seen: without a mask it has no part
    model, X = lifter(rig(6, "a"), rig(5, "b"), encoding="learned"), points(4, 6)
    category = torch.tensor([0, 1, 0, 1])
    visible = torch.ones(4, 6, dtype=torch.bool)
    visible[1::2, 5] = False
    for mask, without in ((None, idle), (visible, set())):
        model.zero_grad()
        model(X[:, :6], mask, category).pow(3).sum().backward()
        missed = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
        assert missed == without
    assert (model.codes.grad[1, 5:].abs().sum() > 0) and (model.codes.grad.abs().sum(-1) > 0).all()


def test_gradcheck():
    model = lifter(rig(3), width=4, depth=2, heads=2, ff=1).double()
    visible = torch.tensor([[True, True, False]])
    X = points(1, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: model(x), X, atol=1e-6)
    assert torch.autograd.gradcheck(lambda x: model(x, visible), X, atol=1e-6)
    weight = model.layers[0].qkv.weight.detach().clone().requires_grad_()
    call = torch.func.functional_call
    assert torch.autograd.gradcheck(lambda w: call(model, {"layers.0.qkv.weight": w}, (X.detach(),)), weight, atol=1e-6)


def test_dtypes_follow():
    X = points(3, 6)
    model = lifter()
    single, visible = model(X), torch.ones(3, 6, dtype=torch.bool)
    for mask in (None, visible):
        with torch.autocast("cpu", torch.bfloat16):
            half = model(X, mask)
        assert half.dtype == torch.bfloat16 and torch.allclose(half.float(), single, atol=0.1)
        half.float().sum().backward()
    double = model.double()(X.double())
    assert double.dtype == torch.float64 and torch.allclose(double.float(), single, atol=1e-5)


def test_one_seed_one_model_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    for encoding in ("rff", "learned", "orthonormal", "rff_mc"):
        a, b, c = (lifter(encoding=encoding, seed=s).state_dict() for s in (0, 0, 1))
        assert all(torch.equal(a[k], b[k]) for k in a)
        assert not torch.equal(a["embed.weight"], c["embed.weight"])
    assert torch.equal(torch.get_rng_state(), before)
    vit, rff = lifter(encoding="vit").state_dict(), lifter(encoding="rff", injection="none").state_dict()
    assert all(torch.equal(vit[k], rff[k]) for k in vit if k != "codes")  # arms of a grid start alike


@pytest.mark.parametrize("encoding", ["rff", "learned"])
def test_parameter_count(encoding):
    D, L, ff, C, N = 16, 3, 2, 2, 7
    model = lifter(rig(N, "a"), rig(5, "b"), encoding=encoding)
    layer = 4 * D + (3 * D * D + 3 * D) + (D * D + D) + (2 * ff * D * D + ff * D + D)
    expected = 3 * D + C * D + D + L * layer + 2 * D + 3 * D + 3 + (C * N * D if encoding == "learned" else 0)
    assert sum(p.numel() for p in model.parameters()) == expected


COMPILE = """
import torch
from lfmlib.model import Lifter, LifterConfig
from lfmlib.rigs import Rig
rigs = [Rig(name=n, keypoints=("a", "b", "c", "d"), edges=((0, 1),), unit="unit", mm=None) for n in "xy"]
X = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
visible = torch.tensor([[True, True, True, False]]).expand(3, 4)
for many, args in ((0, (X,)), (0, (X, visible)), (1, (X, visible, torch.tensor([0, 1, 0])))):
    model = Lifter(LifterConfig(width=8, depth=2, heads=2), rigs[: 1 + many])
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(*args), model(*args))
    compiled(*args).sum().backward()
print("one graph")
"""


def test_compiles_to_one_graph():
    # in its own process: the shape checks that the tests run under are not for the compiler
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "one graph", done.stderr[-2000:]


def test_arms_stack_under_vmap():
    models = [lifter(seed=s) for s in range(3)]
    parameters, buffers = torch.func.stack_module_state(models)
    X = points(4, 6)
    call = torch.func.functional_call
    with sdpa_kernel(SDPBackend.MATH):  # the fused CPU kernel has no batching rule: vmap would warn and loop over it
        stacked = torch.vmap(lambda p, b: call(models[0], (p, b), (X,)))(parameters, buffers)
    assert torch.allclose(stacked, torch.stack([m(X) for m in models]), atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_cpu():
    model, X = lifter(), points(4, 6)
    visible = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) < 0.8
    expected = model(X, visible)
    assert torch.allclose(model.cuda()(X.cuda(), visible.cuda()).cpu(), expected, atol=1e-3)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(width=10, heads=4), "width 10 is not divisible by heads 4"),
        (dict(width=15, heads=5), "width is 15: expected an even"),
        (dict(depth=0), "depth is 0"),
        (dict(injection="evry"), "did you mean 'every'"),
        (dict(into="v"), "unknown into 'v'"),
        (dict(encoding="rfff"), "did you mean 'rff"),
        (dict(alpha=math.nan), "alpha is nan"),
        (dict(sigma=math.inf), "sigma is inf"),
        (dict(injection="input", keep_input=False), "contradicts keep_input"),
    ],
)
def test_contradictory_configs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        LifterConfig(**SMALL | changes)


@pytest.mark.parametrize("name, value", [("heads", 2.0), ("depth", True), ("keep_input", "no"), ("alpha", "1")])
def test_values_of_the_wrong_type_are_refused(name, value):
    config = LifterConfig(**SMALL)
    object.__setattr__(config, name, value)  # past the type check that the tests run under
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        config.__post_init__()


def test_bad_shapes_are_refused():
    model, two = lifter(), lifter(rig(6, "a"), rig(4, "b"))
    with pytest.raises(ValueError, match=r"shape \[2, 6, 3\]"):
        model(torch.zeros(2, 6, 3))
    with pytest.raises(ValueError, match="X has 7 keypoints, the largest rig of this model has 6"):
        model(points(2, 7))
    with pytest.raises(ValueError, match=r"2 categories \(a, b\): pass `category`"):
        two(points(2, 6))
    with pytest.raises(ValueError, match="at least one rig"):
        Lifter(LifterConfig(), [])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda X, v, c: c.__setitem__(1, 2), "sample 1: category 2, expected 0..1"),
        (lambda X, v, c: c.__setitem__(2, -1), "sample 2: category -1"),
        (lambda X, v, c: v.__setitem__((1, 5), True), "sample 1: a keypoint beyond its rig's is marked visible"),
        (lambda X, v, c: X.__setitem__((2, 3, 0), math.nan), "sample 2: a visible keypoint is not finite"),
        (lambda X, v, c: v[0, 2:].fill_(False), "sample 0: fewer than 3 visible"),
    ],
)
def test_check_inputs_names_the_sample(change, message):
    model = lifter(rig(6, "a"), rig(4, "b"))
    X, category = points(3, 6), torch.tensor([0, 1, 0])
    visible = torch.ones(3, 6, dtype=torch.bool)
    visible[1, 4:] = False
    model.check_inputs(X, visible, category)
    change(X, visible, category)
    with pytest.raises(ValueError, match=message):
        model.check_inputs(X, visible, category)


def test_check_inputs_dtypes():
    model = lifter()
    with pytest.raises(ValueError, match="dtype torch.int32"):
        model.check_inputs(points(2, 6), None, torch.zeros(2, dtype=torch.int32))
    with pytest.raises(ValueError, match="dtype torch.float32"):
        model.check_inputs(points(2, 6), torch.ones(2, 6))
