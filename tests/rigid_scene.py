"""Pictures of one rigid object with nine keypoints, for the baselines' tests."""

import torch

from lfmlib import geometry, metrics
from lfmlib.baselines.fitting import fit
from lfmlib.baselines.floors import flat
from lfmlib.baselines.interface import Baseline, snapped
from lfmlib.data.views import Views, normalise, view_rotations


def centred_shape(generator):
    points = torch.randn(9, 3, generator=generator)
    return points - points.mean(0)


def mask(generator, least):
    """What 12 pictures show of 9 keypoints; the first `least` always."""
    seen = torch.rand(12, 9, generator=generator) < 0.7
    seen[:, :least] = True
    return seen


def one_category(X, visible=None):
    return Views(X, visible, torch.zeros(len(X), dtype=torch.long))


def pictures(shape, count, generator, everywhere=False):
    """Views of the shape from all azimuths (or from everywhere), and their truth in the pictures' unit."""
    if everywhere:
        R = geometry.random_rotations(count, generator)
    else:
        reach = torch.tensor([torch.pi, 0.35, 0.09])[:, None]
        R = view_rotations(*((torch.rand(3, count, generator=generator) * 2 - 1) * reach))
    Y = shape @ R.mT
    X, _, rms = normalise(Y[..., :2])
    return one_category(X), Y / rms[:, None, None]


def check_that_it_learns(baseline, shape, seeded, steps, lr, loss_falls, of_flat, everywhere=False):
    """Trains on pictures of the shape; its lifts of others are better than the flat answer by the factor `of_flat`."""
    assert isinstance(baseline, Baseline)
    record = fit(baseline, lambda count, g: pictures(shape, count, g, everywhere)[0], steps, 64, lr=lr, points=4)
    assert record["loss"][-1] < record["loss"][0] / loss_falls
    views, truth = pictures(shape, 200, seeded(5), everywhere)
    lifted = snapped(views.X, baseline.lift(views.X))
    errors = [float(metrics.pa_mpjpe(P, truth, mirror="o3").mean()) for P in (lifted, flat(views.X))]
    assert errors[0] < of_flat * errors[1], errors
