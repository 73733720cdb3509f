"""What there is to train on: the embedded benchmark, the measured sets, and where the measured ones come from."""

import difflib
import os
import tomllib
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lfmlib import rigs
from lfmlib.data import real, synthetic

HOST = "https://raw.githubusercontent.com"
PAGES = "https://github.com"
OWN_LICENCE = "MIT"  # of this project, and so of the benchmark that it generates


@dataclass(frozen=True)
class Source:
    """Where a measured set comes from.

    Args:
        name: the category.
        title: what it shows, in a line.
        licence: what its owners allow, in a word or two.
        frames: how many it has.
        repository: "owner/name" on GitHub; empty where none is known.
        commit: the one that the set was built from, 40 hexadecimal digits.
        paths: the files that it is built from, within the repository.
        sha256: path -> checksum of its bytes, for the files whose bytes are known.
        refused: why there is no download; empty where there is one.
    """

    name: str
    title: str
    licence: str
    frames: int
    repository: str = ""
    commit: str = ""
    paths: tuple[str, ...] = ()
    sha256: dict[str, str] = field(default_factory=dict)
    refused: str = ""

    def clone(self, root: Path) -> Path:
        """The folder below `root` that is laid out as a clone of the repository."""
        return root / "upstream" / self.repository.replace("/", "+")

    def url(self, path: str) -> str:
        """Address of a file, with the commit in it."""
        return f"{HOST}/{self.repository}/{self.commit}/{urllib.parse.quote(path)}"


@cache
def sources() -> dict[str, Source]:
    """Every set of sources.toml, by its category."""
    with open(Path(__file__).with_name("sources.toml"), "rb") as file:
        content = tomllib.load(file)
    found = {}
    for name, own in content.items():
        entry = content.get(own.get("like", ""), {}) | own
        paths = [str(PurePosixPath(folder, f)) for folder, names in entry.get("files", {}).items() for f in names]
        said = {key: value for key, value in entry.items() if key not in ("files", "like")}
        found[name] = Source(name=name, paths=tuple(paths), **said)
    return found


def source(name: str) -> Source:
    """Where a measured set comes from.

    Raises:
        ValueError: no such set; the message offers the nearest names.
    """
    if name not in sources():
        near = difflib.get_close_matches(name, sources(), n=3, cutoff=0.4)
        there = [other for other, known in sources().items() if not known.refused]
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(there)}"
        raise ValueError(f"no measured set {name!r}; {hint}")
    return sources()[name]


class Row(NamedTuple):
    """A category as `lfm data list` shows it.

    Args:
        name: what `lfm train` takes.
        family: coarse group of the rig.
        data: "synthetic" (generated here) or "real" (measured, or a CAD model that others made).
        keypoints: N.
        samples: frames of the whole set; None where unknown.
        unit: of the coordinates.
        licence: what the owners of the data allow; empty where unknown.
        here: it can be used now: it is generated, or its file is in the data folder.
        download: `lfm data fetch` knows where its files are.
    """

    name: str
    family: str
    data: str
    keypoints: int
    samples: int | None
    unit: str
    licence: str
    here: bool
    download: bool


def rows(family: str | None = None, folder: str | os.PathLike | None = None) -> list[Row]:
    """Every category, the measured ones first.

    Args:
        family: only this one; None: all.
        folder: data folder; None: the environment's LFM_DATA.
    Raises:
        ValueError: no category of that family; lists the families.
    """
    generated, here = set(synthetic.categories()), set(real.available(folder))
    found = []
    for name in sorted(rigs.names(), key=generated.__contains__):
        rig, known = rigs.get(name), sources().get(name)
        if name in generated:
            said = ("synthetic", rig.n, synthetic.entry(name).samples, rig.unit, OWN_LICENCE, True, False)
        else:
            samples, licence = (known.frames, known.licence) if known else (None, "")
            download = known is not None and not known.refused
            said = ("real", rig.n, samples, rig.unit, licence, name in here, download)
        found.append(Row(name, rig.family, *said))
    if family is None:
        return found
    if not (chosen := [row for row in found if row.family == family]):
        raise ValueError(f"no family {family!r}; there are {', '.join(sorted({row.family for row in found}))}")
    return chosen


def table(found: Sequence[Row]) -> str:
    """The rows in aligned columns, with a head line."""
    lines = [("name", "family", "data", "N", "samples", "unit", "here", "licence")]
    for row in found:
        here = "yes" if row.here else "fetch" if row.download else "no"
        samples = "?" if row.samples is None else str(row.samples)
        licence = row.licence or "?"
        lines.append((row.name, row.family, row.data, str(row.keypoints), samples, row.unit, here, licence))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numbers = (3, 4)
    shown = []
    for line in lines:
        cells = [
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)


def markdown() -> str:
    """The measured sets as a markdown table: what each shows, where it comes from, and the command that brings it."""
    lines = [("category", "what it shows", "frames", "N", "unit", "licence", "repository @ commit", "how to get it")]
    lines.append(("---", "---", "---:", "---:", "---", "---", "---", "---"))
    for name, known in sources().items():
        rig, page = rigs.get(name), f"{PAGES}/{known.repository}/tree/{known.commit}"
        origin = f"[{known.repository} @ {known.commit[:10]}]({page})" if known.repository else "not known"
        pinned = all(path in known.sha256 for path in known.paths)
        way = f"`lfm data fetch {name}{'' if pinned else ' --accept-unpinned'}`"
        way = "not offered: no licence stated" if known.refused else way
        lines.append((f"`{name}`", known.title, str(known.frames), str(rig.n), rig.unit, known.licence, origin, way))
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
