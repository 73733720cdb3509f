"""What the studies that change one thing about the paper-literal run have in common: names, errors by seed, words."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lfmlib import experiments
from lfmlib.studies import literal
from lfmlib.studies.literal import LITERAL, Study

if TYPE_CHECKING:
    import pandas


def name_methods(study: Study, describe: Callable[[dict[str, Any]], str], as_printed: str) -> Study:
    """Fills the column `method`; what is read out otherwise, or stopped by 3D, says so.

    Args:
        study: its rows are named in place; the floors keep their names.
        describe: what a row's settings are called.
        as_printed: the description that, read out and stopped as printed, is the paper-literal run.
    """
    for frame in (study.table, study.curves):
        ours = frame["alpha"].notna()
        frame.loc[ours, "method"] = [_method(row, describe(row), as_printed) for row in frame[ours].to_dict("records")]
    return study


def _method(row: dict[str, Any], described: str, as_printed: str) -> str:
    extra = [", snap"] if row["read_out"] == "snap" else []
    extra += [", stopped by 3D"] if row.get("stop") == "3d" else []
    return LITERAL if described == as_printed and not extra else described + "".join(extra)


def errors(rows: "pandas.DataFrame", column: str = "flip", **settings: Any) -> list[float]:
    """One error per seed, in the order of the seeds, of the rows that have these values in these columns."""
    for name, value in settings.items():
        rows = rows[rows[name] == value]
    return rows.sort_values("seed")[column].tolist()


def beside_flat(better: Sequence[float], rows: "pandas.DataFrame", name: str) -> str:
    """A note for a comparison whose better side, in flip errors, is no better than the flat answer; else nothing."""
    floor = literal.floors(rows, name, "flip")["flat"]
    return f"the better one, {fmean(better):.3g}, is above the flat floor, {floor:.3g}" if fmean(better) > floor else ""


def in_words(rows: "pandas.DataFrame", name: str, run: str) -> dict[str, Any]:
    """A row of a README table: a run's errors as mean ± sd over seeds; empty where the data is not metric."""
    numbers = {
        column: "" if rows[column].isna().any() else f"{rows[column].mean():.1f} ± {rows[column].std():.1f}"
        for column in experiments.ERRORS
    }
    words = {"o3": "O(3)", "so3": "SO(3)", "flip": "flip per category"}
    named = {words.get(column, column): text for column, text in numbers.items()}
    return {"data": f"{literal.scored(name)}, {rows['data'].iloc[0]}", "run": run, **named, "seeds": len(rows)}


def floors_in_words(rows: "pandas.DataFrame", name: str) -> list[dict[str, Any]]:
    """The README rows of a data set's floors."""
    mine = rows[rows["set"] == name]
    words = {"flat": "floor: flat", "mean": "floor: mean shape (3D)"}
    return [in_words(mine[mine["method"] == floor], name, text) for floor, text in words.items()]
