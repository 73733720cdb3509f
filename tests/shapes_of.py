"""What the tests of the benchmark's families share: a category's shapes, and lengths and angles in them.

A category is named with or without "synthetic_" before it. `at` is always keypoint -> positions, float64 [F, 3].
"""

import importlib
from functools import cache

import torch

from lfmlib.data import synthetic


def entry_of(name):
    return synthetic.entry(f"synthetic_{name.removeprefix('synthetic_')}")


@cache
def shapes_of(name, count, seed=0):
    """Shapes as everybody gets them, made once: not to be written to."""
    return synthetic.generate(entry_of(name).rig.name, count, seed)


def made(name, count=1000, kinds=(), motions=(), seed=0, **changed):
    """What the maker itself returns, not rounded; of some of the kinds and motions alone, if any are named."""
    entry = entry_of(name)
    shape = entry.shape | changed
    for field, some in (("kinds", kinds), ("motions", motions)):
        if some:
            shape[field] = {k: shape[field][k] for k in some} if isinstance(shape.get(field), dict) else list(some)
    module, function = entry.maker.split(".")
    maker = getattr(importlib.import_module(f"lfmlib.data.synthetic.{module}"), function)
    return maker(count, torch.Generator().manual_seed(seed), **shape)


def doing(name, motion, count=600):
    """Keypoints of a category that does one thing, not rounded."""
    return made(name, count, motions=[motion]).at


def at_of(shapes):
    return dict(zip(shapes.rig.keypoints, shapes.points.double().unbind(1), strict=True))


def form(rig):
    """What two rigs of one convention have in common."""
    pairs = ({frozenset(pair) for pair in pairs} for pairs in (rig.edges, rig.symmetry))
    return (rig.keypoints, rig.up, *pairs)


def sound(kinds):
    """Whether every sub-type names the same ranges in the same order, lower end first."""
    names = {tuple(kind) for kind in kinds.values()}
    return len(names) == 1 and all(low <= high for kind in kinds.values() for low, high in kind.values())


def apart(at, a, b):
    """Distance of two keypoints; [F]."""
    return (at[a] - at[b]).norm(dim=-1)


def lengths(at, pairs):
    """Distances of several pairs; [F, E]."""
    return torch.stack([apart(at, a, b) for a, b in pairs], 1)


def edges_of(rig):
    """The rig's edges by name."""
    return [(rig.keypoints[a], rig.keypoints[b]) for a, b in rig.edges]


def angle(at, a, b, c):
    """At b, degrees; [F]."""
    cosine = torch.nn.functional.cosine_similarity(at[a] - at[b], at[c] - at[b], dim=-1)
    return torch.rad2deg(cosine.clamp(-1, 1).acos())


def means(value, who):
    """Mean of [F, ...] over the frames of each individual; [individuals, ...]."""
    total = value.new_zeros(int(who.max()) + 1, *value.shape[1:]).index_add(0, who, value)
    return total / torch.bincount(who).reshape(-1, *[1] * (value.ndim - 1))


def within(value, who):
    """Largest deviation of [F, ...] from the mean of its individual."""
    return float((value - means(value, who)[who]).abs().max())


def spread(value, who):
    """How much individuals differ: standard deviation of their means over the mean, the least of [F, ...]."""
    each = means(value, who)
    return float((each.std(0) / each.mean(0)).min())


def mirrored(at):
    """Each keypoint's mirror image in the plane x = 0, under the name of its partner."""
    swap = {"left": "right", "right": "left"}
    return {"_".join(swap.get(w, w) for w in k.split("_")): p * torch.tensor([-1.0, 1, 1]) for k, p in at.items()}
