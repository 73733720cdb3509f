"""The networks of other methods have their published sizes and forms."""

import pytest
import torch

from lfmlib.baselines.c3dpo import C3DPO
from lfmlib.baselines.simple_baseline import SimpleBaseline
from lfmlib.efficiency.counting import parameters

NETWORKS = (SimpleBaseline, C3DPO)


def simple(generator, keypoints=17, **options):
    return SimpleBaseline(keypoints, generator, width=32, **options)


def c3dpo(generator, keypoints=17, **options):
    return C3DPO(keypoints, generator, width=32, blocks=2, **options)


@pytest.fixture
def X(generator):
    return torch.randn(12, 17, 2, generator=generator)


def test_published_sizes(generator):
    """SimpleBaseline's paper: "between 4 and 5 million"; C3DPO: two trunks of 6 blocks 1024-256-256-1024."""
    assert 4e6 < parameters(SimpleBaseline(16, generator)) < 5e6
    block = 1024 * 256 + 256 * 256 + 256 * 1024 + 2 * (256 + 256 + 1024)
    trunk = 3 * 17 * 1024 + 2 * 1024 + 6 * block
    last = 2 * (1024 * 10 + 10) + (1024 * 3 + 3) + (10 * 51 + 51)
    assert parameters(C3DPO(17, generator)) == 2 * trunk + last
    wider = parameters(C3DPO(17, generator, basis=50)) - parameters(C3DPO(17, generator))
    assert wider == 40 * (2 * 1025 + 51)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("wrong", [(12, 16, 2), (12, 17, 3)])
def test_another_number_of_keypoints_is_refused(make, wrong, generator):
    with pytest.raises(ValueError, match=r"expected \[B, 17, 2\]"):
        make(17, generator)(torch.zeros(wrong))


@pytest.mark.parametrize("make", [simple, c3dpo])
def test_weights_come_from_the_generator_alone(make, seeded, X):
    before = torch.random.get_rng_state()
    one, two, other = make(seeded(3)), make(seeded(3)), make(seeded(4))
    assert torch.equal(torch.random.get_rng_state(), before)
    outputs = [network.eval()(X) for network in (one, two, other)]
    shapes = [out if isinstance(out, torch.Tensor) else out[0] for out in outputs]
    assert torch.equal(shapes[0], shapes[1]) and not torch.equal(shapes[0], shapes[2])
    assert shapes[0].shape == (12, 17, 3) and shapes[0].isfinite().all()


@pytest.mark.parametrize("make", [simple, c3dpo])
def test_every_weight_learns(make, generator, X):
    network = make(generator)
    out = network(X)
    out = out if isinstance(out, tuple) else (out,)
    loss = sum(part.square().sum() for part in out)
    if isinstance(network, C3DPO):
        loss = loss + network.canonicalise(out[0]).square().sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())


def test_dropout_is_off_in_evaluation_and_drawn_from_the_generator_in_training(seeded, X):
    network = simple(seeded(0))
    assert not torch.equal(network(X, seeded(1)), network(X, seeded(2)))
    state = torch.random.get_rng_state()
    drawn = network(X, seeded(1))
    assert torch.equal(torch.random.get_rng_state(), state) and torch.equal(drawn, network(X, seeded(1)))
    network.eval()
    assert torch.equal(network(X), network(X, seeded(1)))


def test_dropout_keeps_the_mean(seeded):
    network = simple(seeded(0), dropout=0.3)
    h = torch.ones(10**5)
    for generator in (None, seeded(1)):
        kept = network._dropped(h, generator)
        assert abs(float(kept.mean()) - 1) < 0.02 and abs(float((kept == 0).float().mean()) - 0.3) < 0.01


def test_residual_blocks_pass_the_input_on(seeded):
    network = simple(seeded(0)).eval()
    with torch.no_grad():
        for block in network.blocks:
            block[1].linear.weight.zero_()
    X = torch.randn(5, 17, 2, generator=seeded(1))
    assert torch.allclose(network(X), network.last(network.first(X.flatten(1))).view(5, 17, 3))


def test_c3dpo_shapes_lie_in_its_basis(seeded, X):
    network = c3dpo(seeded(0), basis=3).eval()
    with torch.no_grad():
        shapes, camera = network(X)
        again = network.canonicalise(shapes)
    for found in (shapes, again):
        away = (found.flatten(1) - network.basis.bias).double()
        assert torch.linalg.matrix_rank(away, rtol=1e-4) <= 3
    assert camera.shape == (12, 3) and again.shape == shapes.shape


def test_c3dpo_does_not_look_at_what_is_hidden(seeded, X):
    network = c3dpo(seeded(0)).eval()
    visible = torch.rand(12, 17, generator=seeded(1)) < 0.6
    poisoned = torch.where(visible[..., None], X, torch.nan)
    shape, camera = network(poisoned, visible)
    expected = network(torch.where(visible[..., None], X, 7.0), visible)
    assert torch.equal(shape, expected[0]) and torch.equal(camera, expected[1])
    everything = network(X, torch.ones(12, 17, dtype=torch.bool))
    assert torch.equal(everything[0], network(X)[0])
    assert not torch.equal(network(X * visible[..., None])[0], shape)  # it knows a hidden one from one at the origin
