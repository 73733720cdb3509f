"""The figure of Table 1's study."""

from typing import TYPE_CHECKING

from lfmlib import claims, plots
from lfmlib.studies import literal
from lfmlib.studies.table1 import INPUT_LAP, INPUT_RFF, INPUT_VIT, ORDER, PRINTED, Study, last_rows

if TYPE_CHECKING:
    import matplotlib.figure

OF_THE_PAPER = (INPUT_VIT, INPUT_RFF, INPUT_LAP, literal.LITERAL)


def _kind(method: str) -> tuple[str, str]:
    """What a method rests on, and its colour."""
    if "3D" in method:
        return "uses 3D", "#000000"
    return ("Eq. 1 alone", "#d55e00") if method in OF_THE_PAPER else ("2D alone, others' methods", "#0072b2")


def figure_methods(study: Study) -> "matplotlib.figure.Figure":
    """Every method per data set: per-category flip, mean and spread over seeds, O(3) as a tick, floors as lines.

    Open diamonds are the paper's values where millimetres mean something, as % of this data set's RMS radius.
    """
    rows = last_rows(study)
    names = list(dict.fromkeys(rows["set"]))
    shown = [m for m in ORDER if m not in ("flat", "mean") and m in set(rows["method"])]
    figure, axes = plots.panels(1, len(names), width=4.4, height=4.4, squeeze=False, sharey=True)
    for ax, name in zip(axes[0], names, strict=True):
        mine, unit = rows[rows["set"] == name], literal.per_mm(rows, name)
        floors = literal.floors(rows, name, "flip")
        for floor, value in floors.items():
            ax.axvline(value, color=plots.COLOURS[floor], ls="--", lw=1, label=f"floor: {floor}")
        for y, method in enumerate(shown):
            runs = mine[mine["method"] == method]
            if runs.empty:
                continue
            kind, colour = _kind(method)
            ax.errorbar(runs["flip"].mean(), y, xerr=runs["flip"].std(), fmt="o", color=colour, ms=5, label=kind)
            ax.plot(runs["o3"].mean(), y, "|", color=colour, ms=10, mew=1.5, label="O(3)" if y == 0 else None)
            key = f"{PRINTED.get(method)}-{literal.STANDS_FOR[name]}"
            if unit and key in claims.load():
                ax.plot(claims.get(key).number * unit, y, "D", mfc="none", mec="#888888", label="printed")
        right = 1.6 * max(floors.values())
        ax.set_xlim(0, max(right, 1.1 * float(mine[mine["method"].isin(OF_THE_PAPER)]["flip"].max())))
        ax.set(title=name, xlabel="PA-MPJPE, flip per category (% of RMS radius)")
        ax.set_yticks(range(len(shown)), shown)
    axes[0, 0].invert_yaxis()
    return literal.shared_legend(figure, axes[0])
