"""A made-up folder of results, small but complete, for tests of what is drawn from all notebooks together."""

import json
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lfmlib import files, verdicts
from lfmlib.report import Report

FLOOR = {"data": "real", "category": "human17_cmu", "seed": 0, "so3": 40.0, "flip": 30.0, "mm": 89.2}


def direction(key, lower=1.0, data="real", category="human17_cmu", **more):
    """A verdict from three seeds: "reproduced" or better below 9, "contradicted" above."""
    context = dict(data=data, category=category, column="o3", unit="% of RMS radius", protocol="O(3)") | more
    return verdicts.direction(key, [lower, lower + 0.1, lower - 0.1], [9.0, 9.1, 8.9], **context)


def value(key, ours=50.0, category="human17_cmu", unit="mm", data="real"):
    seeds = [ours, ours + 1, ours - 1]
    return verdicts.value(key, seeds, data=data, category=category, unit=unit, evidence="05_x/table.csv")


def picture(width):
    figure = Figure(figsize=(width, 1.0))
    figure.subplots().plot([0, 1], [1, 2])
    return figure


def finish(name="05_x", rows=None, profile="cpu", scene=False):
    """A notebook that was run to its end, with a table, two figures, verdicts and an executed copy."""
    out = Report(name, profile, steps=3)
    out.table(pd.DataFrame([FLOOR | {"method": "flat", "o3": 20.25}, FLOOR | {"method": "mean", "o3": 18.5}]))
    out.table(pd.DataFrame({"data": ["a | b <i>"], "mm": ["1.0 ± 0.1"]}), "readme")
    out.figure(picture(1.5), "fig_narrow")
    out.figure(picture(9.0), "fig_wide")
    out.verdicts([direction("T2-chair")] if rows is None else rows)
    out.close(**{"best <error>": 17.54321, "arms": 3})
    if scene:
        files.write_text(out.folder / "turn.html", "<html></html>")
    cells = [
        {"cell_type": "markdown", "source": [f"# {name[:2]} A title & more\n", "words"]},
        {"cell_type": "markdown", "source": "## Error at the last step\nwords"},
        {"cell_type": "code", "source": 'report.figure(draw(), "fig_wide")'},
    ]
    files.write_text(out.folder / "executed.ipynb", json.dumps({"cells": cells}))
    return out.folder


def notebooks(root: Path, *names: str) -> None:
    """Notebooks that the repository at `root` has."""
    for name in names:
        files.write_text(root / "notebooks" / f"{name}.ipynb", "{}")
