"""Whole training steps as CUDA graphs: recorded once for each shape of a batch, replayed without Python in between."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from lfmlib.arms import Arm

if TYPE_CHECKING:
    from lfmlib.steps import Steps

log = logging.getLogger(__name__)

WARM_UP = 3  # steps before the recording: they compile, choose kernels and make the optimiser's state


class GraphedSteps:
    """Runs the body of a stack's step; from the fourth step with the same buckets on, by replaying a recording.

    Random numbers go on as without it: the arms' generators are registered with each graph. A step that cannot be
    recorded is logged once and from then on runs as it is.

    Args:
        steps: the stack's step; its `body` must not wait for the device.
        arms: whose generators the body draws from.
    """

    def __init__(self, steps: "Steps", arms: Sequence[Arm]) -> None:
        self.steps, self.generators = steps, [arm.generator for arm in arms]
        self.possible = True
        self.stream = torch.cuda.Stream()
        self.forget()

    def forget(self) -> None:
        """Drops all recordings."""
        self.graphs: dict[tuple[int, ...], torch.cuda.CUDAGraph] = {}
        self.seen: dict[tuple[int, ...], int] = {}

    def run(self, step: int) -> None:
        """One step."""
        key = tuple(id(bucket) for bucket in self.steps.views.buckets(step))
        if key in self.graphs:
            self.graphs[key].replay()
            return
        self.seen[key] = self.seen.get(key, 0) + 1
        if not self.possible or self.seen[key] <= WARM_UP:
            self._aside(step)
            return
        graph = torch.cuda.CUDAGraph()
        states = [generator.get_state() for generator in self.generators]
        try:
            for generator in self.generators:
                graph.register_generator_state(generator)
            with torch.cuda.graph(graph, stream=self.stream):
                self.steps.body(step)
        except RuntimeError as error:
            log.warning("the training step cannot be recorded as a CUDA graph, it runs step by step: %s", error)
            self.possible = False
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)
            self._aside(step)
            return
        self.graphs[key] = graph
        graph.replay()  # recording computes nothing

    def _aside(self, step: int) -> None:
        """On a stream of its own, as recording needs it."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.steps.body(step)
        torch.cuda.current_stream().wait_stream(self.stream)
