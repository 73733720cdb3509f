"""What the machine can do at best, measured in the same run: matrix rate and copy bandwidth; and floors from them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from lfmlib.efficiency.records import Contest, Number, Record
from lfmlib.efficiency.setting import Setting
from lfmlib.efficiency.timing import Turn

GROUP = "hardware"
RATE, BANDWIDTH = "matrix rate", "copy bandwidth"
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
# rows of the square matrices, and bytes of the copied array: large enough for what the machine can do at best
SIZES = {"smoke": (256, 2**20), "cpu": (2048, 2**28), "full": (8192, 2**32)}


def contests(setting: Setting) -> Iterator[Contest]:
    """Square matrix product (2 n^3 operations) and copy (each byte read and written)."""
    n, size = SIZES["cpu" if setting.device == "cpu" and setting.profile == "full" else setting.profile]
    for name in ("float32", "bf16") if setting.device != "cpu" else ("float32",):
        yield Contest(
            GROUP, RATE, "", {"rows": n}, lambda _, name=name: (_product(setting, n, DTYPES[name]), None),
            name, setting.threads, lambda: {"flops": 2.0 * n**3},
        )  # fmt: skip
    yield Contest(
        GROUP, BANDWIDTH, "", {"bytes": size}, lambda _: (_copy(setting, size), None), threads=setting.threads,
        counts=lambda: {"bytes": 2.0 * size},
    )  # fmt: skip


def _product(setting: Setting, n: int, dtype: torch.dtype) -> Turn:
    a, b = (torch.randn(n, n, generator=setting.generator(), device=setting.device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return setting.timed(lambda: torch.mm(a, b, out=out), warm_up=3)


def _copy(setting: Setting, size: int) -> Turn:
    source = torch.randn(size // 4, generator=setting.generator(), device=setting.device)
    target = torch.empty_like(source)
    return setting.timed(lambda: target.copy_(source), warm_up=3)


@dataclass
class Hardware:
    """Best rates seen: operations a second by dtype, bytes a second (read plus written)."""

    rates: dict[str, float] = field(default_factory=dict)
    bandwidth: float = 0.0

    def learn(self, record: Record) -> None:
        """Takes up a record of this group; its fastest turn counts, for a floor is what the machine can do."""
        if record.group == GROUP and record.name == RATE:
            self.rates[record.dtype] = record.counts["flops"] / min(record.runs)
        elif record.group == GROUP and record.name == BANDWIDTH:
            self.bandwidth = record.counts["bytes"] / min(record.runs)

    def floor(self, counts: dict[str, Number], dtype: str) -> tuple[float | None, str]:
        """No version of the work runs much faster: max(flops / rate, bytes / bandwidth), and which of them it is."""
        seconds = {}
        if counts.get("flops") and dtype in self.rates:
            seconds["matrix rate"] = counts["flops"] / self.rates[dtype]
        if counts.get("bytes") and self.bandwidth:
            seconds["copy bandwidth"] = counts["bytes"] / self.bandwidth
        by = max(seconds, key=seconds.get, default="")
        return seconds.get(by), by
