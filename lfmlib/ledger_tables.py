"""The ledger as tables: one row per claim, one row per verdict."""

from typing import TYPE_CHECKING, Any

from lfmlib.claims import Claim
from lfmlib.ledger import Judged, Ledger

if TYPE_CHECKING:
    import pandas

_MEASURED = ("ours_mean", "ours_sd", "n_seeds", "unit", "measure", "data", "category", "protocol", "note")


def per_claim(ledger: Ledger) -> "pandas.DataFrame":
    """One row per claim, in the order of claims.csv, with the verdict that speaks for it; context has none."""
    import pandas

    return pandas.DataFrame(
        {"group": row.group, **_plain(row.claim, row.best)}
        | {"verdict": row.state, "verdicts": row.votes, "notebook": row.notebook, "how": row.how}
        for row in ledger.rows
    )


def per_verdict(ledger: Ledger) -> "pandas.DataFrame":
    """One row per verdict, so several per claim; `speaks` marks the one that the ledger shows."""
    import pandas

    lines = [
        {"speaks": entry is row.best, **_plain(row.claim, entry)}
        | {"printed": entry.verdict.printed, "verdict": entry.verdict.verdict, "notebook": entry.notebook}
        for row in ledger.rows
        for entry in row.judged
    ]
    head = ["speaks", *_plain(ledger.rows[0].claim, None), "verdict", "notebook"]
    return pandas.DataFrame(lines, columns=head)


def _plain(claim: Claim, entry: Judged | None) -> dict[str, Any]:
    """What both tables say in the same columns; the measurement is empty where there is none."""
    verdict = entry.verdict if entry else None
    result = {"claim": claim.key, "paper": claim.paper, "where": claim.where, "setting": claim.setting}
    result |= {"printed_for": claim.dataset, "printed": claim.printed, "printed_unit": claim.unit}
    result |= {"ours": verdict.ours() if verdict else ""}
    result |= {name: getattr(verdict, name) if verdict else None for name in _MEASURED}
    return result | {"evidence": entry.evidence if entry else ""}
