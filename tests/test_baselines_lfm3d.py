"""3D-LFM: blind to the order of keypoints, to what is hidden and to padding; its aligned loss; new rigs; a toy."""

from dataclasses import replace

import pytest
import torch

from lfmlib import geometry, metrics
from lfmlib.baselines.fitting import fit
from lfmlib.baselines.floors import constant, mean_shape
from lfmlib.baselines.graph_attention import GraphAttention
from lfmlib.baselines.interface import Baseline
from lfmlib.baselines.lfm3d import LFM3D, adjacency, size_for
from lfmlib.data.views import EvaluationViews, normalise
from lfmlib.efficiency.counting import parameters
from lfmlib.encodings import tpe
from lfmlib.objectives.supervision import supervised_3d
from lfmlib.rigs import Rig

CHAIN = Rig("chain", tuple("abcdefg"), tuple((i, i + 1) for i in range(6)))
STAR = Rig("star", tuple("abcdefghi"), tuple((0, i) for i in range(1, 9)))


def small(generator, rigs=(CHAIN,), **options):
    return LFM3D(rigs, generator, **{"width": 16, "heads": 2, "layers": 2} | options)


def views_of(Y, visible=None, category=None):
    X, _, _ = normalise(Y[..., :2], visible)
    category = torch.zeros(len(Y), dtype=torch.long) if category is None else category
    return EvaluationViews(X, visible, category, Y, torch.ones(Y.shape[:2], dtype=torch.bool))


def relabelled(rig, order):
    """The rig whose keypoint k is the old one's keypoint order[k]."""
    at = torch.argsort(order).tolist()
    return replace(rig, edges=tuple((at[i], at[j]) for i, j in rig.edges))


@pytest.fixture
def Y(generator):
    return torch.randn(10, 7, 3, generator=generator)


@pytest.fixture
def visible(seeded):
    mask = torch.rand(10, 7, generator=seeded(1)) < 0.7
    mask[:, :4] = True
    return mask


def test_its_size_follows_the_formula(generator):
    for width, heads, layers in ((16, 2, 3), (64, 4, 4)):
        network = small(generator, width=width, heads=heads, layers=layers)
        D, L = width, layers
        assert parameters(network) == L * (14 * D**2 + 15 * D) + D**2 + 7 * D + 3
        plain = small(generator, width=width, heads=heads, layers=layers, graph=False)
        assert parameters(network) - parameters(plain) == L * (2 * D**2 + 2 * D)
        linear = small(generator, width=width, heads=heads, layers=layers, embedding="linear")
        assert parameters(linear) - parameters(network) == 3 * D


@pytest.mark.parametrize(("samples", "width", "heads"), [(1, 64, 4), (999, 64, 4), (1000, 256, 4), (10_000, 256, 4),
                                                         (10_001, 512, 8)])  # fmt: skip
def test_published_sizes_by_data(samples, width, heads):
    assert size_for(samples) == {"width": width, "heads": heads}
    with pytest.raises(ValueError, match="samples is 0"):
        size_for(0)


@pytest.mark.parametrize("options", [{}, {"graph": False}, {"embedding": "linear"}])
def test_it_does_not_care_for_the_order_of_keypoints(options, Y, visible, seeded):
    network, views = small(seeded(0), **options), views_of(Y, visible)
    order = torch.randperm(7, generator=seeded(2))
    other = network.with_rigs((relabelled(CHAIN, order),))
    for name in ("forward", "lift"):
        expected = getattr(network, name)(views.X, visible)[:, order]
        found = getattr(other, name)(views.X[:, order], visible[:, order])
        assert torch.allclose(found, expected, atol=1e-5)
    unmoved = network(views.X[:, order], visible[:, order])
    same = torch.allclose(unmoved, network(views.X, visible)[:, order], atol=1e-5)
    assert same == (options == {"graph": False})  # only the edges tell keypoints apart


def test_it_sees_neither_place_nor_unit_of_the_picture(Y, visible, seeded):
    network, X = small(seeded(0)), views_of(Y).X
    assert torch.allclose(network(40 * X + 7, visible), network(X, visible), atol=1e-4)
    stretched = X * torch.tensor([2.0, 1.0])
    assert not torch.allclose(network(stretched, visible), network(X, visible), atol=1e-2)


def test_adjacency_holds_edges_both_ways_itself_and_nothing_else():
    both = adjacency((CHAIN, STAR))
    assert both.shape == (2, 9, 9) and torch.equal(both, both.mT) and both.diagonal(dim1=1, dim2=2).all()
    assert both[0].sum() == 9 + 2 * 6 and both[1].sum() == 9 + 2 * 8
    assert both[0, 2, 3] and not both[0, 2, 4] and both[1, 0, 8] and not both[1, 1, 2]


def test_graph_attention_is_that_of_a_slow_twin_and_stays_among_neighbours(seeded):
    attention, joined = GraphAttention(8, 2, seeded(0)), adjacency((CHAIN,))[0]
    Z = torch.randn(3, 7, 8, generator=seeded(1), requires_grad=True)
    found = attention(Z, joined.expand(3, 1, 7, 7))
    expected = torch.zeros(3, 7, 8)
    with torch.no_grad():
        h = attention.linear(Z).view(3, 7, 2, 4)
        for b, i, head in torch.cartesian_prod(*map(torch.arange, (3, 7, 2))).tolist():
            near = joined[i].nonzero()[:, 0].tolist()
            u, v = attention.u[head, 0], attention.v[head, 0]
            score = torch.stack([u @ h[b, i, head] + v @ h[b, j, head] for j in near])
            weight = torch.where(score > 0, score, 0.2 * score).exp()
            sum_of = sum(w * h[b, j, head] for w, j in zip(weight, near, strict=True))
            expected[b, i, 4 * head : 4 * head + 4] = sum_of / weight.sum()
    assert torch.allclose(found, expected, atol=1e-5)
    found[0, 2].sum().backward()
    assert torch.equal(Z.grad[0].abs().sum(-1) > 0, joined[2]) and not Z.grad[1:].any()


def test_both_blocks_of_a_layer_have_a_skip_connection(Y, visible, seeded):
    network, X = small(seeded(0)), geometry.centred(Y[..., :2], visible)
    with torch.no_grad():
        for layer in network.layers:
            layer.out.weight.zero_(), layer.feed_forward[2].weight.zero_()
    scaled = X / X.abs().amax((1, 2), keepdim=True)
    Z = torch.where(visible[..., None], tpe(scaled, network.tpe_w, network.tpe_b), network.missing)
    assert torch.allclose(network(X, visible), network.head(network.norm(Z)), atol=1e-5)


def test_a_picture_does_not_tell_a_shape_from_its_mirror_image_where_the_edges_are_symmetric(Y, seeded):
    """The mirror image with left and right exchanged has the same picture, but for names that it is not told."""
    swap = torch.tensor(range(6, -1, -1))  # the chain read from its other end
    views = views_of(Y)
    other = views_of(metrics.mirrored(Y)[:, swap])
    for mirror, blind in (("o3", True), ("so3", False)):
        network = small(seeded(0), mirror=mirror)
        assert torch.allclose(network(other.X), network(views.X)[:, swap], atol=1e-5)
        losses = [network.loss(v, seeded(1))[0] for v in (views, other)]
        assert torch.allclose(*losses, rtol=1e-4) == blind


def test_the_loss_is_zero_for_the_truth_moved_in_any_way(Y, visible, generator):
    R, s = geometry.random_rotations(10, generator), 0.1 + 5 * torch.rand(10, 1, 1, generator=generator)
    moved = s * (Y @ R.mT) + torch.randn(10, 1, 3, generator=generator)
    other = metrics.mirrored(moved)
    for mirror in ("o3", "so3"):
        assert supervised_3d(moved, 100 * Y, visible, mirror) < 1e-9
    assert supervised_3d(other, Y, visible, "o3") < 1e-9 and supervised_3d(other, Y, visible, "so3") > 0.01


@pytest.mark.parametrize("mirror", ["o3", "so3"])
def test_the_gradient_is_that_of_the_error_aligned_anew(mirror, visible, seeded):
    Y, shapes, way = (torch.randn(10, 7, 3, generator=seeded(seed), dtype=torch.float64) for seed in range(3))
    shapes.requires_grad_()
    (gradient,) = torch.autograd.grad(supervised_3d(shapes, Y, visible, mirror), shapes)
    ahead, behind = (supervised_3d(shapes.detach() + h * way, Y, visible, mirror) for h in (1e-5, -1e-5))
    assert torch.allclose((ahead - behind) / 2e-5, (gradient * way).sum(), rtol=1e-5)
    assert not gradient[~visible].any()


def test_alignment_makes_the_loss_blind_to_a_turn_and_its_absence_does_not(Y, seeded):
    R = geometry.random_rotations(10, seeded(3))
    for procrustes, name in ((True, "aligned_3d"), (False, "camera_3d")):
        network, views = small(seeded(0), procrustes=procrustes), views_of(Y)
        loss, terms = network.loss(views, seeded(1))
        assert terms == {name: loss}
        views.Y = 9 * Y @ R.mT + 1
        assert torch.allclose(network.loss(views, seeded(1))[0], loss, rtol=1e-4) == procrustes


def test_the_mirror_policy_reaches_the_loss(Y, seeded):
    views = views_of(Y)
    plain, mirrored = (views, replace(views, Y=metrics.mirrored(Y)))
    for mirror in ("o3", "so3"):
        network = small(seeded(0), mirror=mirror)
        losses = [network.loss(v, seeded(1))[0] for v in (plain, mirrored)]
        assert torch.allclose(*losses, rtol=1e-4) == (mirror == "o3")


def test_hidden_keypoints_do_not_leak_and_are_predicted(Y, visible, seeded):
    network, views = small(seeded(0)), views_of(Y, visible)
    poisoned = torch.where(visible[..., None], views.X, torch.nan)
    for name in ("forward", "lift"):
        found = getattr(network, name)(poisoned, visible)
        assert found.isfinite().all() and torch.equal(found, getattr(network, name)(views.X, visible))
    centre = torch.ones_like(visible)
    assert not torch.allclose(network(views.X, visible), network(views.X, centre), atol=1e-3)
    network.loss(views, seeded(1))[0].backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in network.parameters())


def test_what_is_not_known_reaches_no_loss(Y, visible, seeded):
    network, views = small(seeded(0)), views_of(Y)
    losses = []
    for unknown in (0.0, torch.nan):
        truth = torch.where(visible[..., None], Y, unknown)
        losses.append(network.loss(replace(views, Y=truth, known=visible), seeded(1))[0])
    assert torch.equal(*losses) and losses[0].isfinite()


def test_padding_and_the_company_of_a_batch_do_not_matter(Y, visible, seeded):
    both, alone = small(seeded(0), (STAR, CHAIN)), small(seeded(0))
    stars = views_of(torch.randn(10, 9, 3, generator=seeded(2)))
    views = views_of(Y, visible)
    X = torch.cat((torch.nn.functional.pad(views.X, (0, 0, 0, 2), value=torch.nan), stars.X))
    shown = torch.cat((torch.nn.functional.pad(visible, (0, 2), value=True), torch.ones(10, 9, dtype=torch.bool)))
    category = (torch.arange(20) < 10).long()
    for name in ("forward", "lift"):
        found = getattr(both, name)(X, shown, category)
        assert torch.allclose(found[:10, :7], getattr(alone, name)(views.X, visible), atol=1e-5)
        assert torch.allclose(found[10:], getattr(both.with_rigs((STAR,)), name)(stars.X), atol=1e-5)
        narrow = getattr(both, name)(views.X, visible, category[:10])  # as narrow as the batch's largest rig allows
        assert torch.allclose(narrow, found[:10, :7], atol=1e-5)


def test_the_same_weights_serve_other_rigs(Y, seeded):
    network = small(seeded(0))
    other = network.with_rigs((STAR,))
    stars = views_of(torch.randn(10, 9, 3, generator=seeded(2)))
    assert other.lift(stars.X).shape == (10, 9, 3) and network.lift(views_of(Y).X).shape == (10, 7, 3)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in other.state_dict().items())
    ring = replace(CHAIN, edges=(*CHAIN.edges, (0, 6)))
    assert not torch.allclose(network.with_rigs((ring,))(views_of(Y).X), network(views_of(Y).X), atol=1e-4)
    with torch.no_grad():
        other.missing.add_(1)
    assert not torch.equal(other.missing, network.missing)  # the copy can be trained on by itself
    fresh = small(seeded(7), (STAR,))
    fresh.load_state_dict(network.state_dict())  # no rig is in the saved state
    assert torch.equal(fresh(stars.X), network.with_rigs((STAR,))(stars.X))


def test_weights_and_frequencies_come_from_the_generator_alone(Y, seeded):
    state = torch.random.get_rng_state()
    one, two, other = (small(seeded(seed))(views_of(Y).X) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_what_does_not_fit_is_refused(Y, seeded):
    bare, X = Rig("cloud", tuple("abcdefg")), views_of(Y).X
    with pytest.raises(ValueError, match="rig 'cloud' has no edges"):
        small(seeded(0), (CHAIN, bare))
    with pytest.raises(ValueError, match="rig 'cloud' has no edges"):
        small(seeded(0)).with_rigs((bare,))
    assert small(seeded(0), (bare,), graph=False).lift(X).isfinite().all()
    with pytest.raises(ValueError, match="at least one rig"):
        small(seeded(0), ())
    with pytest.raises(ValueError, match="2 categories: pass `category`"):
        small(seeded(0), (CHAIN, STAR)).lift(X)
    for wrong in (X[:, :6], torch.cat((X, X), 1)):
        with pytest.raises(ValueError, match=f"{wrong.shape[1]} keypoints: expected 7 to 7"):
            small(seeded(0))(wrong)


@pytest.mark.parametrize(
    ("setting", "told"),
    [({"width": 15}, "width is 15"), ({"heads": 3}, "the 3 heads"), ({"mirror": "o2"}, "mirror"),
     ({"heads": 0}, "heads is 0"), ({"layers": 0}, "layers is 0"),
     ({"embedding": "mlp"}, "embedding"), ({"tpe_sigma": float("inf")}, "tpe_sigma is inf")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(setting, told, generator):
    with pytest.raises(ValueError, match=told):
        small(generator, **setting)


def test_pictures_that_have_shrunk_to_a_point_give_finite_numbers(Y, seeded):
    network, views = small(seeded(0)), views_of(Y)
    views.X[:5] = 0
    network.loss(views, seeded(1))[0].backward()
    assert all(p.grad.isfinite().all() for p in network.parameters()) and network.lift(views.X).isfinite().all()


def test_it_learns_the_depth_of_a_family_of_shapes(seeded):
    """Two numbers make the shape and show in the picture; the mean shape, which also needs labels, is the floor."""
    ways = torch.randn(3, 7, 3, generator=seeded(5))

    def draw(count, generator):
        a = 0.7 * torch.randn(count, 2, generator=generator)
        return views_of(ways[0] + torch.einsum("bk,knd->bnd", a, ways[1:]))

    network = small(seeded(0), width=32, mirror="so3")
    assert isinstance(network, Baseline)
    frequencies = network.tpe_w.clone()
    record = fit(network, draw, 100, 32, lr=1e-2, points=4)
    assert record["aligned_3d"][-1] < record["aligned_3d"][0] / 10
    assert torch.equal(network.tpe_w, frequencies)
    views = draw(200, seeded(9))
    floor = constant(mean_shape(draw(200, seeded(8)).Y), 200)
    errors = [float(metrics.pa_mpjpe(P, views.Y, mirror="so3").mean()) for P in (network.lift(views.X), floor)]
    assert errors[0] < 0.3 * errors[1], errors
