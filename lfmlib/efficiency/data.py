"""The data side: drawing a batch of views against the training step that uses it, and generating many people."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import torch

from lfmlib import geometry
from lfmlib.data import synthetic
from lfmlib.data.batches import ViewSampler
from lfmlib.data.views import CameraConfig
from lfmlib.efficiency.records import Contest
from lfmlib.efficiency.setting import Setting
from lfmlib.efficiency.timing import Turn
from lfmlib.model import Lifter, LifterConfig

GROUP = "data"
DRAW, STEP, GENERATE = "draw", "training step", "generate people"
PEOPLE = "synthetic_body17"
BATCH, WIDTH, DEPTH, FRAMES = 64, 64, 4, 500
STEPS = 8  # of a turn: as many buckets of categories

ALL = "all categories"
# what is drawn from, and with what missing
SETTINGS: dict[str, dict] = {
    "one category": {},
    "one category, 30 % missing": {"missing": 0.3},
    "one category, self-occlusion": {"self_occlusion": True},
    ALL: {},
    f"{ALL}, missing and self-occlusion": {"missing": 0.3, "self_occlusion": True},
}
DRAWN = {"smoke": ("one category",), "cpu": tuple(SETTINGS), "full": tuple(SETTINGS)}
PEOPLE_COUNTS = {"smoke": (100,), "cpu": (10**5,), "full": (10**5, 10**6)}


def contests(setting: Setting) -> Iterator[Contest]:
    """Below 0.1, the data side is under a tenth of a step; then frames made per second."""
    for name in DRAWN[setting.profile]:
        sizes = {"batch": BATCH, "width": WIDTH, "depth": DEPTH}
        yield Contest(GROUP, f"{DRAW}: {name}", STEP, sizes, partial(_make, setting, name), threads=setting.threads,
                      counts=lambda: {"work": STEPS})  # fmt: skip
    for count in PEOPLE_COUNTS[setting.profile] if setting.device == "cpu" else ():
        yield Contest(
            GROUP, GENERATE, "", {"frames": count},
            lambda _, count=count: (setting.timed(lambda: synthetic.generate(PEOPLE, count), 1), None),
            threads=setting.threads, counts=lambda count=count: {"work": count}, pairs=1 if count > 10**5 else None,
        )  # fmt: skip


def _make(setting: Setting, name: str, _: object) -> tuple[Turn, Turn]:
    names = synthetic.categories() if name.startswith(ALL) else (PEOPLE,)
    frames = FRAMES if setting.profile != "smoke" else 20
    shapes = [synthetic.generate(n, frames) for n in names if synthetic.entry(n).samples >= 2]
    sampler = ViewSampler(shapes, CameraConfig(), device=setting.device, **SETTINGS[name])
    generator = setting.generator()
    calls = (lambda: sampler.draw(BATCH, generator), _step_of(sampler, setting))
    draw, step = (setting.timed(_several(sampler, call)) for call in calls)
    return draw, step


def _several(sampler: ViewSampler, call: Callable[[], object]) -> Callable[[], None]:
    """Several calls on successive buckets: both contestants come to the same ones in their turns."""
    turns = itertools.count()

    def run() -> None:
        for _ in range(STEPS):
            sampler.turn = next(turns)
            call()

    return run


def _step_of(sampler: ViewSampler, setting: Setting) -> Callable[[], None]:
    """A training step that draws its own batch."""
    model = Lifter(LifterConfig(width=WIDTH, depth=DEPTH), sampler.rigs).to(setting.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    generator = setting.generator()

    def step() -> None:
        views = sampler.draw(BATCH, generator)
        Y = model(views.X, views.visible, views.category)
        optimizer.zero_grad(set_to_none=True)
        geometry.reprojection(views.X, Y, views.visible).mean().backward()
        optimizer.step()

    return step
