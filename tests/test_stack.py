"""A stack of lifters computes what each lifter computes alone: values, gradients, padding, codes and their places."""

import copy
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from lfmlib.model import INJECTIONS, Lifter, LifterConfig
from lfmlib.rigs import Rig
from lfmlib.stack import StackedLifter, tied

CONFIG = LifterConfig(width=16, depth=4, heads=2, ff=2, alpha=3.0)


def chain(n):
    names, edges = tuple(f"k{i}" for i in range(n)), tuple((i, i + 1) for i in range(n - 1))
    return Rig(name=f"c{n}", keypoints=names, edges=edges, symmetry=(), unit="u", mm=None, up="+y", family="chain")


def lifters(configs, sizes=None):
    """Lifters in float64 whose parameters, norms included, are all away from their first values."""
    sizes = sizes or [(7, 5)] * len(configs)
    made = [Lifter(c, [chain(n) for n in of], seed).double() for seed, (c, of) in enumerate(zip(configs, sizes))]  # noqa: B905
    generator = torch.Generator().manual_seed(0)
    for lifter in made:
        for parameter in lifter.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return made


def batch(sizes, B=6, hidden=0.2, seed=0):
    """Keypoints, visibility (padding included) and categories for every arm."""
    generator = torch.Generator().manual_seed(seed)
    A, N = len(sizes), max(max(of) for of in sizes)
    category = torch.randint(len(sizes[0]), (A, B), generator=generator)
    size = torch.tensor(sizes).gather(1, category)
    visible = torch.arange(N) < size[..., None]
    visible &= torch.rand(A, B, N, generator=generator) >= hidden
    visible[..., :3] = True
    X = torch.randn(A, B, N, 2, generator=generator, dtype=torch.float64)
    return torch.where(visible[..., None], X, torch.nan), visible, category


def agree(made, sizes, X, visible, category):
    """Outputs and gradients of the stack against those of each lifter alone."""
    alone = copy.deepcopy(made)
    stack = StackedLifter(made)
    Y = stack(X, visible, category)
    weight = torch.randn(Y.shape, generator=torch.Generator().manual_seed(1), dtype=Y.dtype)
    there = torch.ones(Y.shape[:3], dtype=torch.bool)
    if category is not None:
        there = torch.arange(Y.shape[2]) < torch.tensor(sizes).gather(1, category)[..., None]
    weight = weight * there[..., None]
    (Y * weight).sum().backward()
    gradients = stack.take_gradients()
    for a, lifter in enumerate(alone):
        n = lifter.n_max
        own = lifter(
            X[a, :, :n], None if visible is None else visible[a, :, :n], None if category is None else category[a]
        )
        mask = there[a, :, :n, None]
        torch.testing.assert_close(Y[a, :, :n] * mask, own * mask, rtol=1e-10, atol=1e-10)
        (own * weight[a, :, :n]).sum().backward()
        expected = [torch.zeros_like(p) if p.grad is None else p.grad for p in lifter.parameters()]
        expected = torch.cat([g.flatten() for g in expected])
        torch.testing.assert_close(gradients[a], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("into", ["qk", "qkv"])
def test_arms_may_inject_in_different_places(into):
    configs = [replace(CONFIG, injection=injection, into=into, alpha=1.0 + i) for i, injection in enumerate(INJECTIONS)]
    configs.append(replace(CONFIG, injection="every", keep_input=False))
    sizes = [(7, 5)] * len(configs)
    agree(lifters(configs), sizes, *batch(sizes))


def test_arms_may_have_other_encodings_and_other_rigs():
    encodings = ("vit", "rff", "laplacian", "orthonormal", "none")
    sizes = [(7, 5), (4, 6), (9, 3), (5, 5), (3, 4)]
    agree(lifters([replace(CONFIG, encoding=e) for e in encodings], sizes), sizes, *batch(sizes))


def test_learned_encodings_are_parameters_of_their_arm():
    sizes = [(7, 5)] * 3
    agree(lifters([replace(CONFIG, encoding="learned")] * 3), sizes, *batch(sizes))


@pytest.mark.parametrize("arms", [1, 3])
@pytest.mark.parametrize("injection", ["none", "every"])
def test_one_category_with_everything_in_sight(arms, injection):
    sizes = [(7,)] * arms
    X = torch.randn(arms, 5, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    agree(lifters([replace(CONFIG, injection=injection)] * arms, sizes), sizes, X, None, None)


def test_arms_do_not_see_each_other():
    sizes = [(7, 5)] * 3
    X, visible, category = batch(sizes, hidden=0.0)
    stack = StackedLifter(lifters([CONFIG] * 3))
    before = stack(X, visible, category)
    X[1], stack.flat[2] = 1e3, torch.nan
    after = stack(X, visible, category)
    assert torch.equal(before[0], after[0]) and not torch.equal(before[1], after[1]) and after[2].isnan().all()
    after[[0, 1]].sum().backward()
    assert stack.take_gradients()[:2].isfinite().all()


def test_the_lifters_given_follow_the_stack_and_lead_it():
    made = lifters([CONFIG] * 2)
    stack = StackedLifter(made)
    stack.flat[1].zero_()
    assert all(not p.any() for p in made[1].parameters()) and all(p.any() for p in made[0].parameters())
    with torch.no_grad():
        made[1].head.bias.fill_(2.0)
    X, visible, category = batch([(7, 5)] * 2)
    assert (stack(X, visible, category)[1] == 2.0).all()


def test_bf16_leaves_coordinates_exact():
    """Matrix products inside lose digits; what goes in and comes out does not: distinct outputs stay distinct."""
    made = [Lifter(CONFIG, [chain(7)], seed) for seed in (0, 1)]
    X = torch.randn(2, 64, 7, 2, generator=torch.Generator().manual_seed(0))
    stack = StackedLifter(made)
    exact = stack(X)
    with torch.autocast("cpu", torch.bfloat16):
        rough = stack(X)
    assert rough.dtype == torch.float32 and not torch.equal(rough, exact)
    assert (rough - exact).abs().mean() < 0.02 * exact.abs().mean()
    assert not torch.equal(rough, rough.bfloat16().float())  # no rounding at the end
    rough.square().sum().backward()
    assert stack.take_gradients().dtype == torch.float32


def test_gradients_are_taken_once():
    stack = StackedLifter(lifters([CONFIG] * 2))
    X, visible, category = batch([(7, 5)] * 2)
    stack(X, visible, category).square().sum().backward()
    assert stack.take_gradients().any() and not stack.take_gradients().any()


COMPILED = """
import torch
from tests.test_stack import CONFIG, INJECTIONS, StackedLifter, batch, lifters, replace

sizes = [(7, 5)] * 3
X, visible, category = batch(sizes)
stack = StackedLifter(lifters([replace(CONFIG, injection=i) for i in ("none", "first_last", "every")]))
results = []
for call in (stack, torch.compile(stack, backend="aot_eager", fullgraph=True, dynamic=False)):
    Y = call(X, visible, category)
    Y.square().sum().backward()
    results.append((Y, stack.take_gradients().clone()))
for one, two in zip(*results):
    torch.testing.assert_close(one, two)
"""


def test_it_compiles_as_a_whole(root):
    """No graph break, and the same numbers. In a process without type checks, which cannot be compiled."""
    done = subprocess.run([sys.executable, "-c", COMPILED], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]


def test_tied_modules_share_one_matrix():
    modules = [torch.nn.Linear(2, 3) for _ in range(2)]
    values = [[p.clone() for p in m.parameters()] for m in modules]
    flat = tied(modules)
    assert flat.shape == (2, 9)
    assert all(
        torch.equal(a, b) for m, v in zip(modules, values, strict=True) for a, b in zip(m.parameters(), v, strict=True)
    )
    flat += 1
    assert torch.equal(modules[1].bias, values[1][1] + 1)


@pytest.mark.parametrize(
    ("other", "named"),
    [(replace(CONFIG, width=8), "width: 16, 8"), (replace(CONFIG, depth=2), "depth: 4, 2"),
     (replace(CONFIG, heads=4), "heads"), (replace(CONFIG, ff=4), "ff"), (replace(CONFIG, outputs=1), "outputs"),
     (replace(CONFIG, encoding="learned"), "learned")],
)  # fmt: skip
def test_lifters_that_do_not_fit_together_are_named(other, named):
    with pytest.raises(ValueError, match=f"cannot be stacked, they differ in .*{named}"):
        StackedLifter(lifters([CONFIG, other]))
    with pytest.raises(ValueError, match="differ in categories: 2, 1"):
        StackedLifter(lifters([CONFIG, CONFIG], [(7, 5), (7,)]))
    with pytest.raises(ValueError, match="at least one"):
        StackedLifter([])
