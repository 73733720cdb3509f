"""Where the papers contradict themselves or each other (contradictions.toml), answered by what the ledger measured."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lfmlib.ledger import Ledger, headline

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Version:
    """One printed version: its value or statement, its place, and a quotation of a few words."""

    value: str
    where: str
    quote: str = ""

    def __str__(self) -> str:
        said = f', "{self.quote}"' if self.quote else ""
        return f"{self.value} ({self.where}{said})"


@dataclass(frozen=True)
class Contradiction:
    """What is at stake, its printed versions, the claims that measure it, and the rule by which it is answered.

    Where a claim was measured in several ways, `measure` says which of them answers (Verdict.measure).
    """

    id: str
    what: str
    versions: tuple[Version, ...]
    keys: tuple[str, ...]
    rule: str
    measure: str

    @property
    def printed(self) -> str:
        """Every version with its place."""
        return "; ".join(map(str, self.versions))

    def answers(self, ledger: Ledger) -> list[str]:
        """What the ledger measured on each of the claims; says so where nothing was."""
        said, silent = [], []
        for row in (ledger.row(key) for key in self.keys):
            fitting = [entry for entry in row.judged if entry.verdict.measure == self.measure]
            if speaks := headline(row.claim, fitting or row.judged):
                on = f" on {speaks.verdict.category}" if speaks.verdict.category else ""
                said.append(f"{row.claim.key}: {speaks.verdict.ours()}{on} ({speaks.verdict.verdict})")
            else:
                silent.append(row.claim.key)
        if silent:
            said.append(f"no measurement yet of {', '.join(silent)}")
        return said or ["no claim measures it"]


@cache
def load() -> tuple[Contradiction, ...]:
    """All contradictions, in the order of the file."""
    with open(Path(__file__).with_name("contradictions.toml"), "rb") as file:
        entries = tomllib.load(file)["contradiction"]
    return tuple(
        Contradiction(
            id=entry["id"],
            what=entry["what"],
            versions=tuple(Version(**version) for version in entry["versions"]),
            keys=tuple(entry["keys"]),
            rule=entry["rule"],
            measure=entry.get("measure", "value"),
        )
        for entry in entries
    )


def table(ledger: Ledger) -> "pandas.DataFrame":
    """One row per contradiction: what, the printed versions, our answer from the ledger, the rule, the claims."""
    import pandas

    return pandas.DataFrame(
        {
            "contradiction": entry.id,
            "what": entry.what,
            "printed": entry.printed,
            "ours": "; ".join(entry.answers(ledger)),
            "rule": entry.rule,
            "claims": ", ".join(entry.keys),
        }
        for entry in load()
    )
