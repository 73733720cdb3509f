"""A notebook's results, written once and whole: tables, figures, scenes, records, verdicts and their summary.

Everything lands in results/<profile>/<name>/. `python -m lfmlib.report readme` draws the README's table from it.
"""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfmlib import files, provenance
from lfmlib.verdicts import Verdict

if TYPE_CHECKING:
    import pandas

DATA_TAGS = ("synthetic", "real")
RESULT_COLUMNS = ("data", "category", "method", "seed", "o3", "so3", "flip", "mm")
_ERRORS = ("o3", "so3", "flip", "mm")
_KINDS = (".csv", ".json", ".png", ".svg", ".html")
_PLOTLY = '<script charset="utf-8" src="../../plotly.min.js"></script>'
_NOT_OURS = ("executed.ipynb",)  # the runner's file


class Report:
    """The results folder of one notebook.

    Args:
        name: notebook's name with its number ("05_injection").
        profile: smoke, cpu or full: which sizes were run.
        root: repository root; None: found by itself (`LFM_RESULTS` moves the results folder either way).
        parameters: the notebook's other parameters, to be kept in the summary.
    Raises:
        ValueError: `name` or `profile` is not a plain folder name.
        OSError: the results folder cannot be made or written (names it).
    """

    def __init__(self, name: str, profile: str = "cpu", root: Path | None = None, **parameters: Any):
        for label, text in (("name", name), ("profile", profile)):
            if not text.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"report {label} must be a plain folder name (letters, digits, _ and -), not {text!r}")
        self.name, self.profile, self.parameters = name, profile, parameters
        self.folder = provenance.results_root(root) / profile / name
        self._rows: list[Verdict] = []
        self._written: set[str] = set()
        check_writable(self.folder)

    def table(self, frame: "pandas.DataFrame", name: str = "table") -> "pandas.DataFrame":
        """Writes <name>.csv with six significant digits; a table of results must have the common columns.

        A table that has one of o3, so3, flip is a table of results: PA-MPJPE in % of the RMS radius under each mirror
        policy, in one row per data tag, category, method (floors are the methods `flat` and `mean`) and seed; mm is
        empty where the data is not metric. NaN stands for a run that diverged.

        Returns:
            `frame` itself, so that a notebook's cell shows it.
        Raises:
            ValueError: a column of the results format is missing, a data tag is unknown, or an error is negative.
        """
        if {"o3", "so3", "flip"} & set(frame.columns):
            _check_results(frame, f"{name}.csv")
        with self._file(f"{name}.csv") as path:
            frame.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
        return frame

    def figure(self, figure: Any, name: str) -> None:
        """Writes a matplotlib figure as <name>.png (150 dpi) and <name>.svg; the same figure gives the same bytes."""
        import matplotlib

        figure = getattr(figure, "figure", figure)
        with matplotlib.rc_context({"svg.hashsalt": "lfmlib"}):  # otherwise element ids are drawn at random
            with self._file(f"{name}.png") as path:
                figure.savefig(path, dpi=150, bbox_inches="tight", metadata={"Software": None})
            with self._file(f"{name}.svg") as path:
                figure.savefig(path, bbox_inches="tight", metadata={"Date": None, "Creator": None})

    def scene(self, figure: Any, name: str) -> None:
        """Writes an interactive plotly figure as <name>.html; all scenes share the results' one plotly.min.js.

        That file is not kept in the repository: where it is absent, a scene takes the same version from the network.
        """
        from plotly.offline import get_plotlyjs, get_plotlyjs_version

        shared = self.folder.parent.parent / "plotly.min.js"
        source = get_plotlyjs()
        if not shared.exists() or shared.read_text(encoding="utf-8") != source:
            files.write_text(shared, source)
        page = figure.to_html(include_plotlyjs="../../plotly.min.js", div_id=f"{self.name}-{name}", full_html=True)
        other = f'<script src="https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"><\\/script>'
        page = page.replace(_PLOTLY, f"{_PLOTLY}<script>window.Plotly||document.write('{other}')</script>")
        with self._file(f"{name}.html") as path:
            files.write_text(path, page)

    def records(self, rows: Sequence[Mapping[str, Any]], name: str = "records") -> None:
        """Writes <name>.json, one record per run; numpy and torch become plain numbers, NaN and infinity null."""
        with self._file(f"{name}.json") as path:
            files.write_json(path, _plain(list(rows)))

    def verdicts(self, rows: Iterable[Verdict]) -> "pandas.DataFrame":
        """Writes verdicts.csv and keeps the rows for the summary.

        Returns:
            The frame that a notebook's last cell shows: claim, paper, ours, data, verdict, note.
        """
        import pandas

        self._rows = list(rows)
        full = pandas.DataFrame([row.as_dict() for row in self._rows], columns=list(Verdict.__dataclass_fields__))
        self.table(full, "verdicts")
        shown = [(r.key, r.printed, r.ours(), r.data, r.verdict, r.note) for r in self._rows]
        return pandas.DataFrame(shown, columns=["claim", "paper", "ours", "data", "verdict", "note"])

    def close(self, **headline: Any) -> None:
        """Writes summary.json and removes what an earlier run left in this folder and this run did not write.

        Args:
            headline: the few numbers that a reader looks for first, by name.
        """
        code = provenance.commit()
        summary = {
            "notebook": self.name,
            "profile": self.profile,
            "parameters": self.parameters,
            "headline": headline,
            "verdicts": [row.as_dict() for row in self._rows],
            "files": sorted(self._written),
            **code,
            "machine": provenance.machine(),
            "date": provenance.now(),
        }
        with self._file("summary.json") as path:
            files.write_json(path, _plain(summary))
        for old in self.folder.iterdir():
            ours = old.name in self._written or old.name in _NOT_OURS
            if old.is_file() and not ours and old.suffix in _KINDS and not old.name.startswith("."):
                old.unlink()

    def _file(self, name: str) -> Any:
        """Atomic path of one result; the first one voids the summary of the run before, which is no longer true."""
        if not self._written:
            (self.folder / "summary.json").unlink(missing_ok=True)
        self._written.add(name)
        return files.atomic_path(self.folder / name)


def check_writable(folder: Path) -> None:
    """Makes `folder` and tries a file in it, before hours of work depend on it.

    Raises:
        OSError: it cannot be made or written; the message names it and the way out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = f"the results folder cannot be written ({error.strerror}); set LFM_RESULTS to one that can"
        raise OSError(error.errno, why, str(folder)) from error


def _check_results(frame: "pandas.DataFrame", name: str) -> None:
    missing = [column for column in RESULT_COLUMNS if column not in frame.columns]
    if missing:
        need = f"a table of results needs column {missing[0]!r} ({', '.join(RESULT_COLUMNS)})"
        raise ValueError(f"{name}: {need}; it has {', '.join(map(str, frame.columns))}")
    unknown = set(frame["data"]) - set(DATA_TAGS)
    if unknown:
        raise ValueError(f"{name}: column 'data' holds {sorted(map(str, unknown))[0]!r}, expected one of {DATA_TAGS}")
    for column in ("category", "method", "seed"):
        if frame[column].isna().any():
            raise ValueError(
                f"{name}: column {column!r} is empty in row {int(frame[column].isna().to_numpy().argmax())}"
            )
    for column in _ERRORS:
        if (frame[column] < 0).any():
            raise ValueError(f"{name}: column {column!r} holds a negative error, {frame[column].min():.6g}")


def _plain(value: Any) -> Any:
    """`value` in JSON's own types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy and torch, scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise ValueError(f"a record holds {value!r} of type {type(value).__name__}, which JSON has no word for")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws the README's table from the results, or docs/data.md's from the code, or says whether they are the same."""
    from lfmlib import readme

    parser = argparse.ArgumentParser(prog="python -m lfmlib.report", description=main.__doc__)
    parser.add_argument("what", choices=["readme", "data"])
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is not up to date")
    options = parser.parse_args(arguments)
    try:
        write = not options.check
        if options.what == "data":
            same = readme.update_data_page(write=write)
        else:
            same = readme.update(options.profile, write=write)
    except (OSError, ValueError) as error:
        print(f"lfmlib.report: {error}", file=sys.stderr)
        return 2
    if options.check and not same:
        page = (
            "docs/data.md differs from the code"
            if options.what == "data"
            else (f"README.md differs from results/{options.profile}")
        )
        print(f"{page}: run `python -m lfmlib.report {options.what}`", file=sys.stderr)
    return int(options.check and not same)


if __name__ == "__main__":
    sys.exit(main())
