"""What a benchmark is, and the file of measured ones: a list of records, each written as soon as it is measured."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lfmlib import files
from lfmlib.efficiency.timing import Turn

Number = float | int
Make = Callable[[ExitStack], tuple[Turn, Turn | None]]


@dataclass(frozen=True)
class Contest:
    """Something to be timed, against something else or alone.

    Args:
        group: what it belongs to; `--only` chooses by it.
        name, other: what is timed, and what against; no other: it is timed alone.
        sizes: what decides the work.
        make: builds both contestants, warmed up; what has to be closed afterwards goes onto the stack.
        dtype: of the arithmetic.
        threads: torch's number of threads, where the contest sets it.
        counts: what the work consists of, of the names in COUNTS; called after the timing.
        pairs: turns at most; None: as the effort says.
        afresh: build and time both so often anew, each time for one run: where the memory falls is worth a percent.
    """

    group: str
    name: str
    other: str
    sizes: Mapping[str, int]
    make: Make
    dtype: str = "float32"
    threads: int = 1
    counts: Callable[[], dict[str, Number]] = dict
    pairs: int | None = None
    afresh: int = 1


# flops, bytes: fewest operations of the matrix kind, and fewest bytes through memory, of one turn
# work: pieces that a turn consists of (arm-steps, samples); forward_flops: of a sample; other_*: of the opponent
COUNTS = ("flops", "bytes", "work", "parameters", "forward_flops", "other_parameters", "other_forward_flops",
          "peak_bytes")  # fmt: skip


@dataclass(frozen=True)
class Record:
    """A measured contest.

    Args:
        ours_s, other_s: median seconds of a turn.
        ratio: median over the runs of ours / other; below 1 is faster.
        runs: those ratios; of something that is timed alone, its seconds.
        counts: see COUNTS.
        floor_s: the larger of flops / measured matrix rate and bytes / measured copy bandwidth; None: not counted.
        floor_by: which of the two it is.
        measured: commit and time.
    """

    group: str
    name: str
    ours_s: float
    other: str
    other_s: float | None
    ratio: float | None
    runs: list[float]
    device: str
    sizes: dict[str, int]
    dtype: str
    threads: int
    torch: str
    counts: dict[str, Number] = field(default_factory=dict)
    floor_s: float | None = None
    floor_by: str = ""
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Equal for two measurements of one thing on one kind of machine."""
        return key_of(self, self.device)

    @property
    def share(self) -> float | None:
        """Of the hardware floor that is reached: floor / ours."""
        return None if self.floor_s is None else self.floor_s / self.ours_s

    def as_dict(self) -> dict[str, Any]:
        """Plain values, in the order of the fields."""
        return asdict(self)


def key_of(measured: Contest | Record, device: str) -> str:
    """Names a contest on a device."""
    m = measured
    return json.dumps([m.group, m.name, m.other, dict(m.sizes), m.dtype, m.threads, device], sort_keys=True)


class Results:
    """The records in a JSON file.

    Args:
        path: of the file; None: nothing is written.
    Raises:
        ValueError: the file is there and holds no list of records.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.records: list[Record] = []
        if path is not None and path.exists():
            self.records = [_record(entry, path) for entry in _list(files.read_json(path), path)]

    def add(self, record: Record) -> None:
        """Puts a record in the place of an older one of the same thing, or at the end, and writes the file."""
        places = [i for i, old in enumerate(self.records) if old.key == record.key]
        if places:
            self.records[places[0]] = record
        else:
            self.records.append(record)
        self.write()

    def drop(self, group: str, device: str, keep: set[str]) -> None:
        """Forgets a group's other records on a device: what was measured there under another name or size."""
        kept = [r for r in self.records if (r.group, r.device) != (group, device) or r.key in keep]
        if len(kept) < len(self.records):
            self.records = kept
            self.write()

    def write(self) -> None:
        """Writes the file, whole or not at all."""
        if self.path is not None:
            files.write_json(self.path, [record.as_dict() for record in self.records])

    def has(self, contest: Contest, device: str) -> bool:
        """Whether the contest has been measured on this device."""
        return any(record.key == key_of(contest, device) for record in self.records)


def _list(content: Any, path: Path) -> list[Any]:
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list of benchmark records, not {type(content).__name__}")
    return content


def _record(entry: Any, path: Path) -> Record:
    known = {f.name for f in fields(Record)}
    try:
        return Record(**{name: value for name, value in entry.items() if name in known})
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{path}: an entry is no benchmark record ({error})") from error
