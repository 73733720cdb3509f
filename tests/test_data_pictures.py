"""2D keypoints as training data: seen as they are, learnt from without any truth, refused where truth is needed."""

import logging

import numpy as np
import pytest
import torch

from lfmlib import cli, data, evaluation, files, lifting, training
from lfmlib.baselines import methods
from lfmlib.baselines import runs as baselines
from lfmlib.data import pictures
from lfmlib.data.batches import ViewSampler, evaluation_views
from lfmlib.data.views import CameraConfig, normalise, visible_or_all
from lfmlib.metrics import pa_mpjpe
from lfmlib.objectives import ObjectiveConfig
from lfmlib.recipe.config import RecipeConfig
from lfmlib.recipe.dreams import lift
from lfmlib.recipe.preset import recipe_run
from lfmlib.recipe.wake import wake_all
from lfmlib.runs import RunConfig, RunData
from lfmlib.store import RunStore

CHAIR = data.load("synthetic_chair10", 400)
SMALL = RecipeConfig(evidence=3000, restarts=4, rigid=40, gaussian=15, mixture=0)


@pytest.fixture
def truth():
    return evaluation_views((CHAIR,), CameraConfig(), 300, seed=3)


@pytest.fixture
def file(tmp_path, truth):
    """Pictures of chairs in pixels, a few keypoints missing, the last three frames of no use."""
    X, visible = truth.X * 120 + 300, torch.ones(300, 10, dtype=torch.bool)
    visible[::7, 3] = False
    visible[297, 3:] = False  # three keypoints
    visible[298] = False
    X[299] = 5.0  # all in one place
    path = tmp_path / "chairs.npz"
    np.savez(path, keypoints_2d=torch.where(visible[..., None], X, torch.nan).numpy(),
             keypoint_names=np.array(CHAIR.rig.keypoints))  # fmt: skip
    return path


def picture_of(shapes):
    return shapes.points[..., :2] * torch.tensor([1.0, -1.0])  # y down


def test_a_file_becomes_normalised_pictures(file, truth, caplog):
    with caplog.at_level(logging.WARNING):
        found = data.load(file)
    assert found.tag == "pictures" and len(found) == 297
    assert "3 of 300 frames have fewer than 4 visible keypoints" in caplog.text
    assert not found.points[..., 2].any() and torch.equal(found.known[:, 3], torch.arange(297) % 7 > 0)
    X, _, _ = normalise(truth.X[:297], found.known)
    assert torch.allclose(picture_of(found), X, atol=1e-5)
    assert int((found.split == 1).sum()) == 30 and (found.split[-30:] == 1).all()
    rig = found.rig
    assert (rig.name, rig.keypoints, rig.symmetry) == ("chairs", CHAIR.rig.keypoints, CHAIR.rig.symmetry)
    assert {frozenset(edge) for edge in rig.edges} == {frozenset(edge) for edge in CHAIR.rig.edges} and rig.mm is None


def test_every_camera_sees_pictures_as_they_are(file, seeded):
    found = data.load(file)
    wild = CameraConfig(elevation=90, roll=180)
    for fixed in (None, seeded(1)):
        sampler = ViewSampler((found,), wild, fixed_views=fixed)
        frames = torch.arange(len(found))
        views = sampler.views_of(frames, torch.zeros_like(frames), seeded(2))
        assert torch.allclose(views.X, picture_of(found), atol=1e-5)
        assert torch.equal(visible_or_all(views.visible, views.X), found.known)
    beside = ViewSampler((found, CHAIR), wild)  # a camera is set aside for pictures only
    frames = torch.tensor([4, len(found) + 4])
    views = beside.views_of(frames, torch.tensor([0, 1]), seeded(3))
    assert torch.allclose(views.X[0], picture_of(found)[4], atol=1e-5)
    assert not torch.allclose(views.Y[1, :, 2], torch.zeros(10), atol=0.1)


def test_keypoints_without_names_get_numbers(tmp_path):
    path = tmp_path / "things.json"
    path.write_text(str([[[i + j * j, j % 3 + i * j] for j in range(5)] for i in range(6)]))
    found = data.load(path)
    assert found.rig.keypoints[:2] == ("keypoint_0", "keypoint_1") and found.rig.edges == ()
    assert len(found.train) == 5


@pytest.mark.parametrize("points", [np.zeros((5, 6, 2)), np.full((5, 6, 2), np.nan)])
def test_files_without_pictures_are_named(tmp_path, points):
    path = tmp_path / "nothing.npz"
    np.savez(path, keypoints_2d=points)
    with pytest.raises(ValueError, match=r"nothing\.npz: 0 frames have 4 or more visible keypoints"):
        data.load(path)
    assert pictures.holds(path) and not pictures.holds(tmp_path / "absent.npz")


def test_what_needs_shapes_refuses_pictures(file, tmp_path, no_git):
    run = RunConfig((str(file),), steps=1)
    with pytest.raises(ValueError, match="2D keypoints alone; supervised_3d needs true shapes"):
        RunData.of(RunConfig((str(file),), objective=ObjectiveConfig(supervised_3d=1)))
    with pytest.raises(ValueError, match="some hold 2D keypoints and some 3D shapes"):
        RunData.of(RunConfig((str(file), "synthetic_chair10"), count=20))
    with pytest.raises(ValueError, match="2D keypoints alone; baselines are there to be measured"):
        baselines.records([(methods.C3DPO, run)], 0, RunStore(tmp_path))


def test_shapes_are_learnt_from_pictures_alone(file, truth, tmp_path, no_git):
    """The shape model of 267 pictures against the truth that the file does not hold: one of the two mirror images."""
    config = recipe_run((str(file),), recipe=SMALL)
    (woken,) = wake_all(config, RunData.of(config), RunStore(tmp_path))
    P = lift(woken.model, truth.X, torch.ones(300, 10, dtype=torch.bool))
    flat = torch.cat([truth.X, torch.zeros(300, 10, 1)], -1)
    error, floor = (float(pa_mpjpe(p, truth.Y, mirror="o3").mean()) for p in (P, flat))
    assert error < floor / 3


def test_the_command_trains_and_lifts_what_it_cannot_measure(file, tmp_path, capsys, no_git):
    settings = ["--set", "recipe.evidence=800", "--set", "recipe.rigid=5", "--set", "recipe.gaussian=0"]
    words = ["train", str(file), "--recipe", "--steps", "4", "--runs", str(tmp_path / "runs"), *settings]
    assert cli.main(words) == 0
    said = capsys.readouterr()
    assert "nobody knows the error" in said.out and "error" not in said.err and "Eq. 1" in said.err
    (run,) = (path.parent for path in (tmp_path / "runs").glob("*/model.safetensors") if "wake" not in str(path))
    config = lifting.run_config(files.read_json(run / "config.json"))
    record = training.train(config, RunStore(tmp_path / "runs"))
    assert record["final"]["test"]["fit"] == [] and record["stopped_by_3d"] is None
    assert evaluation.health(record["final"]["validation"]["depth"]) in ("ok", "flat", "exploded")
    assert cli.main(["lift", str(file), str(tmp_path / "out.csv"), "--model", str(run), "--skip-unusable"]) == 0
    assert cli.main(words) == 0 and "finished before" in capsys.readouterr().err
