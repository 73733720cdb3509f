"""The papers' numbers and statements (claims.csv), with every version that a paper prints of one number."""

import csv
import difflib
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from statistics import fmean

TOLERANCE = 0.10  # of the printed value: the room between two readings of one number

_NUMBER = r"(\d[\d,]*(?:\.\d+)?)"
_FORMS = {
    "point": re.compile(rf"{_NUMBER}\s*%?"),
    "below": re.compile(rf"<\s*{_NUMBER}\s*%?"),
    "above": re.compile(rf">\s*{_NUMBER}\s*%?|{_NUMBER}\+"),
    "range": re.compile(rf"{_NUMBER}\s*(?:-|to)\s*{_NUMBER}\s*%?"),
}


@dataclass(frozen=True)
class Span:
    """One printed version of a number: low = high for a value, one end infinite for "<2", ">100" and "45+"."""

    low: float
    high: float

    @property
    def point(self) -> float:
        """The value itself; a bound's finite end; a range's middle."""
        ends = [end for end in (self.low, self.high) if math.isfinite(end)]
        return fmean(ends)


@dataclass(frozen=True)
class Claim:
    """One row of claims.csv: what a paper prints, where, for which data and unit; `also` holds its other versions."""

    key: str
    paper: str
    where: str
    setting: str
    dataset: str
    value: str
    also: str
    unit: str
    protocol: str
    kind: str
    note: str

    @property
    def printed(self) -> str:
        """Every printed version, for a table."""
        return f"{self.value} ({self.where}); {self.also}" if self.also else self.value

    @property
    def spans(self) -> tuple[Span, ...]:
        """Every printed version that is a number; empty where the claim is no single number."""
        first = parse(self.value)
        others = [parse(text.partition("(")[0]) for text in self.also.split(";") if text.strip()]
        return tuple(span for span in (first, *others) if span is not None) if first else ()

    @property
    def number(self) -> float:
        """The first printed value, to be drawn in a figure.

        Raises:
            ValueError: the claim prints no single number.
        """
        if not self.spans:
            raise ValueError(f"claim {self.key!r} prints {self.value!r}, which is no single number")
        return self.spans[0].point

    @property
    def pair(self) -> tuple[float, float] | None:
        """(before, after) of a claim printed as "before->after"."""
        ends = [parse(text) for text in self.value.split("->")]
        return (ends[0].point, ends[1].point) if len(ends) == 2 and all(ends) else None

    @property
    def contradicts_itself(self) -> bool:
        """Two printed versions are more than 10 % apart."""
        return any(
            max(a.low, b.low) - min(a.high, b.high) > TOLERANCE * min(a.high, b.high)
            for a, b in combinations(self.spans, 2)
        )


def parse(text: str) -> Span | None:
    """Reads "8.1", "<2", ">100", "45+", "50-100" as the span of numbers it allows; None for anything else."""
    for form, pattern in _FORMS.items():
        if found := pattern.fullmatch(text.strip()):
            numbers = [float(group.replace(",", "")) for group in found.groups() if group]
            low = -math.inf if form == "below" else numbers[0]
            return Span(low, math.inf if form == "above" else numbers[-1])
    return None


@lru_cache(maxsize=1)
def load() -> dict[str, Claim]:
    """All claims by key, in the order of the file."""
    with open(Path(__file__).with_name("claims.csv"), encoding="utf-8", newline="") as file:
        return {row["key"]: Claim(**row) for row in csv.DictReader(file, strict=True)}


def get(key: str) -> Claim:
    """The claim of that key.

    Raises:
        ValueError: there is none (names the nearest keys).
    """
    if key not in load():
        near = difflib.get_close_matches(key, load(), n=3, cutoff=0.4)
        raise ValueError(f"unknown claim {key!r}; nearest: {', '.join(near) or 'none'}")
    return load()[key]
