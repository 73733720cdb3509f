"""What a run is: its configuration, its data, and the name that both give it."""

import functools
import json
import math
import os
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from lfmlib import data
from lfmlib.data.mix import WASTE
from lfmlib.data.shapes import PICTURES, ShapeSet
from lfmlib.data.views import CameraConfig
from lfmlib.encodings import check_choice
from lfmlib.files import short_hash
from lfmlib.model import LifterConfig
from lfmlib.objectives import ObjectiveConfig
from lfmlib.recipe.config import RecipeConfig

SCHEDULES = ("constant", "cosine", "trapezoid")
VIEWS = ("fresh", "fixed")
PRECISIONS = ("float32", "bf16", "float64")
# fields that are no part of a run's id while they say nothing
LATER = {"recipe": None, "fold": None, "share": 1.0, "dream_missing": 0.0}
FORMAT = 3  # part of a run's id: raise it when the same configuration would give another record
REMEMBERED = 20_000  # frames of a category beyond which it is loaded anew for every set of categories
PHOTOGRAPHS = 2000  # of CAD models, where views are fixed
TEST_SEED, VALIDATION_SEED, FIXED_VIEW_SEED = 1_000_000, 2_000_000, 3_000_000  # the run's seed is added: runs pair up


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's record.

    Args:
        categories: trained together, in the order of the category index.
        model, objective, cameras: see their classes.
        count, data_seed: cap on the frames of a synthetic category, which has a number of its own, and seed; real
            ones are taken whole.
        steps, batch, lr, weight_decay, betas, clip: AdamW; `clip` bounds the gradient's norm (0 = off).
        schedule: constant, cosine (to 0), or trapezoid (constant, the last two thirds linear to 2 %).
        warmup: steps of linear warm-up.
        ema: decay of the weight average that is evaluated and kept; 0 = the last weights.
        views: fresh (a new camera at every draw) or fixed (one camera per frame for ever).
        missing, self_occlusion, temperature, waste: see `ViewSampler`; waste 1 pads every batch to the largest rig, as
            Sec. 3.4 does, less draws each batch from categories of about one size.
        seed: weights, batches and cameras.
        evaluations: points of the curve, the last step included.
        test_views: evaluation views per category.
        precision: of the network in training: float32; bf16, its matrix products alone, for GPUs (weights, geometry,
            optimiser and evaluation stay float32); float64, all of it, for comparisons.
        recipe: how shapes are dreamt from the training pictures for `objective.dreamt_3d`; None: not at all.
        dream_missing: chance that a keypoint goes unseen in a picture of a dream, beside what the pictures themselves
            do not show: what the network learns to fill in, though training pictures may be complete.
        fold: number of the shape that is held out for the test, in categories of a few CAD models that would share
            them with it; None: none.
        share: of the training frames that are used, evenly spread: for label efficiency.
    Raises:
        ValueError: a value is out of range, or two contradict each other.
    Source: Sec. 3.5 and Sec. 4 give AdamW, 1e-4, weight decay 1e-4, batch 64; clip and schedule are ours.
    """

    categories: tuple[str, ...]
    model: LifterConfig = field(default_factory=LifterConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    cameras: CameraConfig = field(default_factory=CameraConfig)
    count: int = 4000
    data_seed: int = 0
    steps: int = 2000
    batch: int = 64
    lr: float | int = 1e-3
    weight_decay: float | int = 1e-4
    betas: tuple[float | int, float | int] = (0.9, 0.999)
    clip: float | int = 1.0
    schedule: str = "cosine"
    warmup: int = 0
    ema: float | int = 0.0
    views: str = "fresh"
    missing: float | int = 0.0
    self_occlusion: bool = False
    temperature: float | int | None = None
    waste: float | int = WASTE
    seed: int = 0
    evaluations: int = 10
    test_views: int = 1000
    precision: str = "float32"
    recipe: RecipeConfig | None = None
    fold: int | None = None
    share: float | int = 1.0
    dream_missing: float | int = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.categories, str) or not self.categories:
            raise ValueError(f"categories must be a tuple of at least one name, got {self.categories!r}")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError(f"a category is named twice in {self.categories!r}")
        object.__setattr__(self, "categories", tuple(self.categories))
        for name, least in (("steps", 1), ("batch", 1), ("count", 10), ("evaluations", 1), ("test_views", 1),
                            ("warmup", 0), ("seed", 0), ("data_seed", 0)):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}: expected a whole number, {least} or more")
        for name in ("lr", "weight_decay", "clip"):
            value = getattr(self, name)
            if not _is_number(value) or not math.isfinite(value) or value < 0:
                raise ValueError(f"{name} is {value!r}: expected a finite number, 0 or more")
            object.__setattr__(self, name, float(value))  # 1 and 1.0 are one run, with one id
        for name in ("ema", "missing", "dream_missing"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value < 1:
                raise ValueError(f"{name} is {value!r}: expected a number in [0, 1)")
            object.__setattr__(self, name, float(value))
        if len(self.betas) != 2 or not all(_is_number(beta) and 0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {self.betas!r}: expected two numbers in [0, 1)")
        object.__setattr__(self, "betas", tuple(float(beta) for beta in self.betas))
        if self.temperature is not None:
            if not _is_number(self.temperature) or not 0 < self.temperature < math.inf:
                raise ValueError(f"temperature is {self.temperature!r}: expected a number > 0, or none for balanced")
            object.__setattr__(self, "temperature", float(self.temperature))
        if not _is_number(self.waste) or not 0 < self.waste <= 1:
            raise ValueError(f"waste is {self.waste!r}: expected a share in (0, 1]")
        object.__setattr__(self, "waste", float(self.waste))
        if not _is_number(self.share) or not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share!r}: expected a share of the frames in (0, 1]")
        object.__setattr__(self, "share", float(self.share))
        if self.fold is not None and (isinstance(self.fold, bool) or not isinstance(self.fold, int) or self.fold < 0):
            raise ValueError(f"fold is {self.fold!r}: expected the number of a shape, from 0, or none")
        if not isinstance(self.self_occlusion, bool):
            raise ValueError(f"self_occlusion is {self.self_occlusion!r}: expected true or false")
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("views", self.views, VIEWS)
        check_choice("precision", self.precision, PRECISIONS)
        if (self.recipe is None) != (self.objective.dreamt_3d == 0):
            given = "no" if self.recipe is None else "a"
            weight = self.objective.dreamt_3d
            raise ValueError(f"objective.dreamt_3d is {weight} with {given} recipe: they belong together")
        if self.dream_missing and self.recipe is None:
            raise ValueError(f"dream_missing is {self.dream_missing} with no recipe: there are no dreams")
        wanted = 1 if self.objective.output == "depth" else 3
        if self.model.outputs != wanted:
            raise ValueError(f"objective.output={self.objective.output!r} needs model.outputs={wanted}")

    def as_dict(self, complete: bool = False) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts; `complete`: with the settings that younger versions have added.

        Without them where they have their default value, so that the run keeps the id that it had before.
        """
        content = asdict(self) | {"objective": self.objective.as_dict(complete)}
        if not complete:
            of_model = {name: getattr(LifterConfig, name) for name in LifterConfig.LATER}
            for part, defaults in ((content, LATER), (content["model"], of_model)):
                for name, default in defaults.items():
                    if part[name] == default:
                        del part[name]
        return json.loads(json.dumps(content))

    @staticmethod
    def from_dict(content: dict[str, Any]) -> "RunConfig":
        """Inverse of `as_dict`.

        Raises:
            ValueError: an unknown field (names it).
        """
        nested = {"model": LifterConfig, "objective": ObjectiveConfig, "cameras": CameraConfig}
        try:
            content = dict(content)
            for name, kind in nested.items():
                content[name] = kind(**content.get(name, {}))
            if content.get("recipe") is not None:
                content["recipe"] = RecipeConfig.from_dict(content["recipe"])
            lists = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
            return RunConfig(**content | lists)
        except TypeError as error:
            raise ValueError(f"not a run configuration: {error}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class RunData:
    """The shapes of a run's categories; validation comes out of the training split, by whole sequences."""

    train: tuple[ShapeSet, ...]
    validation: tuple[ShapeSet, ...]
    test: tuple[ShapeSet, ...]

    @staticmethod
    def of(config: RunConfig) -> "RunData":
        """Loads or generates the categories.

        Raises:
            ValueError: unknown or malformed data; 2D keypoints beside 3D shapes, or for a run that learns from shapes.
        """
        folder = os.environ.get("LFM_DATA")
        found = _load(config.categories, config.count, config.data_seed, config.fold, config.share, folder)
        if found.pictures_alone and config.objective.supervised_3d > 0:
            raise ValueError(f"{', '.join(config.categories)}: 2D keypoints alone; supervised_3d needs true shapes")
        return found

    @property
    def pictures_alone(self) -> bool:
        """Whether nobody knows the shapes: then nothing can be measured."""
        return self.train[0].tag == PICTURES

    def pictured(self, views: str) -> tuple[ShapeSet, ...]:
        """The shapes that training takes pictures of.

        With fixed views each frame is photographed once. A category whose test shows the shapes that training saw (a
        few CAD models, from new sides) is photographed `PHOTOGRAPHS` times, its shapes in turn.
        """
        if views == "fresh":
            return self.train
        again = torch.arange(PHOTOGRAPHS)
        return tuple(
            s.subset(again % len(s)) if s.fingerprint == v.fingerprint and len(s) < PHOTOGRAPHS else s
            for s, v in zip(self.train, self.validation, strict=True)
        )

    def description(self) -> dict[str, Any]:
        """What identifies the data in a record."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {
            s.rig.name: {
                "tag": s.tag,
                "shares_shapes": s.shares_shapes,
                "fingerprint": {name: part[i].fingerprint for name, part in parts.items()},
                "frames": {name: len(part[i]) for name, part in parts.items()},
            }
            for i, s in enumerate(self.train)
        }


@functools.lru_cache(maxsize=16)  # a grid asks for the same data again and again
def _load(
    categories: tuple[str, ...], count: int, seed: int, fold: int | None, share: float, folder: str | None
) -> RunData:
    made = data.synthetic.categories()
    parts = []
    for name in categories:
        n = min(count, data.synthetic.entry(name).samples) if name in made else None
        take = _category.__wrapped__ if (n or 0) > REMEMBERED else _category
        parts.append(take(name, n, seed, fold, share, folder))
    if len({part[0].tag == PICTURES for part in parts}) > 1:
        raise ValueError(f"{', '.join(categories)}: some hold 2D keypoints and some 3D shapes; train them apart")
    return RunData(*(tuple(part[i] for part in parts) for i in range(3)))


@functools.lru_cache(maxsize=128)  # categories that runs share; so many people of `REMEMBERED` frames are 500 MB
def _category(
    name: str, count: int | None, seed: int, fold: int | None, share: float, folder: str | None
) -> tuple[ShapeSet, ShapeSet, ShapeSet]:
    # CAD sets have a handful of shapes and test on new views of them: so does their validation
    train, *others = _parts(data.load(name, count=count, seed=seed), fold)
    return train.thinned(max(1, round(share * len(train)))), *others


def _parts(shapes: ShapeSet, fold: int | None) -> tuple[ShapeSet, ShapeSet, ShapeSet]:
    """Training, validation and test shapes of a category."""
    if fold is not None:
        if not shapes.shares_shapes:
            raise ValueError(f"{shapes.rig.name} has a test split of its own: fold must be none, got {fold}")
        if fold >= len(shapes) or len(shapes) < 2:
            raise ValueError(f"{shapes.rig.name} has {len(shapes)} shapes: there is no fold {fold}")
        held_out = torch.arange(len(shapes)) == fold
        return shapes.subset(~held_out), shapes.subset(~held_out), shapes.subset(held_out)
    train, validation = (shapes, shapes) if shapes.shares_shapes else shapes.hold_out_validation()
    return train, validation, shapes.test


def run_id(config: RunConfig, run_data: RunData) -> str:
    """Name of a run: a hash of its configuration, of its data and of the record format."""
    return short_hash([FORMAT, config.as_dict(), run_data.description()])


def describe(config: RunConfig) -> str:
    """A run in a few words, for progress lines and errors."""
    model = config.model
    names = config.categories[0] if len(config.categories) == 1 else f"{len(config.categories)} categories"
    return f"{names}, {model.encoding} {model.injection} x{model.alpha:g}, L={model.depth}, seed {config.seed}"
