"""One big run over several processes: torchrun and DistributedDataParallel, one share of every batch each.

    torchrun --nproc_per_node 8 -m lfmlib.cli train human17_cmu --device cuda

All processes draw the whole batch from the same generators and keep their share of it, so that the run is the one that
a single process would train, to rounding. The first one evaluates and writes; all must see one store.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lfmlib.runs import RunConfig
from lfmlib.stacked_views import Batch


@dataclass(frozen=True)
class Ranks:
    """The processes of a run: which one this is, and what they have to tell each other; alone, nothing.

    Args:
        rank: of this process, from 0.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process evaluates and writes."""
        return self.rank == 0

    def check(self, config: RunConfig) -> None:
        """Raises ValueError where a run cannot be shared out."""
        if self.world == 1:
            return
        if config.batch % self.world:
            raise ValueError(
                f"a batch of {config.batch} cannot be shared by {self.world} processes: make it a multiple"
            )
        if not config.objective.is_eq1:
            terms = ", ".join(config.objective.terms)
            raise ValueError(
                f"only runs with Eq. 1 alone can be shared out, this one has {terms}: its samples belong together"
            )

    def share(self, batch: Batch) -> Batch:
        """This process's samples of a batch."""
        if self.world == 1:
            return batch
        mine = slice(self.rank, None, self.world)
        visible = None if batch.visible is None else batch.visible[:, mine]
        return Batch(batch.X[:, mine], visible, batch.category[:, mine])

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients that are averaged over the processes."""
        if self.world == 1:
            return model
        # without hidden keypoints the vector for them takes no part
        return nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
            values = values / self.world
        return values

    def agreed(self, words: list[str]) -> list[str]:
        """The first process's words, everywhere."""
        if self.world > 1:
            dist.broadcast_object_list(words, src=0)
        return words

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier()


def launched() -> bool:
    """Whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ


@contextmanager
def group(device: str) -> Iterator[tuple[Ranks, str]]:
    """The processes that torchrun has started, and this one's device.

    Raises:
        RuntimeError: they cannot reach each other.
    """
    if not launched():
        yield Ranks(), device
        return
    cuda = device.startswith("cuda")
    if cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()
