"""Arms spread over processes of one thread each, which take a step when they are told to."""

import time
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from lfmlib.efficiency.timing import Turn
from lfmlib.environment import environment
from lfmlib.processes import WORKER_ENVIRONMENT

PATIENCE = 120.0  # seconds that a process may take to start, or for a step
WARM_UP = 3


def turns(config: dict[str, Any], count: int, processes: int, keep: ExitStack, stacked: bool = False) -> Turn:
    """A turn in which each of `count` arms takes a step, shared out over processes that work at once.

    Args:
        config: of the arms, as `RunConfig.from_dict` takes it.
        count: arms.
        processes: at most as many as arms.
        keep: ends the processes.
        stacked: a process trains its arms as one stack; else one by one.
    Raises:
        RuntimeError: a process ended or gave no answer.
    """
    with environment(WORKER_ENVIRONMENT):
        workers = [_Worker(config, share, stacked, keep) for share in shares(count, processes)]
    for worker in workers:
        worker.answer()  # it has started

    def turn() -> float:
        start = time.perf_counter()
        for worker in workers:
            worker.ask()
        for worker in workers:
            worker.answer()
        return time.perf_counter() - start

    for _ in range(WARM_UP):
        turn()
    return turn


def shares(count: int, processes: int) -> list[int]:
    """Arms of each process, as evenly as can be; a process without any is not started."""
    return [len(range(i, count, processes)) for i in range(min(processes, count))]


class _Worker:
    """One process."""

    def __init__(self, config: dict[str, Any], share: int, stacked: bool, keep: ExitStack) -> None:
        context = get_context("spawn")
        self.here, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(config, share, stacked, there), daemon=True)
        self.process.start()
        there.close()
        keep.callback(self.end)

    def ask(self) -> None:
        """Begins a step of its arms."""
        self.here.send(True)

    def answer(self) -> None:
        """Waits for its end."""
        if not self.here.poll(PATIENCE):
            raise RuntimeError(f"a worker process gave no answer within {PATIENCE:.0f} s")
        try:
            self.here.recv()
        except EOFError as problem:
            raise RuntimeError("a worker process ended before its time") from problem

    def end(self) -> None:
        """Ends the process."""
        self.here.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()


def _serve(config: dict[str, Any], share: int, stacked: bool, there: Connection) -> None:
    """A worker's life: a step of each of its arms whenever it is asked, until the other end is closed."""
    import torch

    from lfmlib.efficiency import inputs
    from lfmlib.efficiency.training import endless
    from lfmlib.runs import RunConfig
    from lfmlib.steps import Steps

    torch.set_num_threads(1)
    with ExitStack() as keep:
        arms = inputs.arms(RunConfig.from_dict(config), share, "cpu", keep)
        stacks = [arms] if stacked else [[arm] for arm in arms]
        steps = [endless(Steps(stack, [{}] * len(stack), "cpu")) for stack in stacks]
        there.send(True)
        try:
            while there.recv():
                for step in steps:
                    step()
                there.send(True)
        except (EOFError, ConnectionError):
            return
