"""Figures of `table2`: error alone -> combined, improvement against samples, and the error as categories are added."""

from typing import TYPE_CHECKING

from lfmlib import claims, plots
from lfmlib.studies import table2_tables as tables
from lfmlib.studies.literal import shared_legend
from lfmlib.studies.table2 import ROWS, Study, row_of

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import pandas

OTHER = "#bbbbbb"


def figure_slopes(study: Study) -> "matplotlib.figure.Figure":
    """Alone -> combined, one line per category, Table 2's rows in colour; the paper's in its own "mm" on the right."""
    trainings = tables.settings(study)
    figure, axes = plots.panels(1, len(trainings) + 1, width=3.1, height=3.6, squeeze=False)
    frame = tables.compare(study)
    for ax, setting in zip(axes[0], trainings, strict=False):
        arm = tables.main_arm(study, setting)
        _slopes(ax, frame[(frame["training"] == setting) & (frame["against"] == arm)])
        for floor, level in tables.floors(study, tables.names_of(study, setting)).items():
            ax.axhline(level, color=plots.colour(floor), ls="--", lw=1, label=f"floor: {floor} (class mean)")
        ax.set_title(f"{setting}\n{arm}", fontsize=9)
    axes[0, 0].set_ylabel(plots.LABELS["flip"])
    for ax in axes[0, 1:-1]:
        ax.sharey(axes[0, 0])
    axes[0, 0].set_ylim(bottom=0)
    _paper(axes[0, -1], {row_of(name) for name in study.categories})
    return shared_legend(figure, list(axes[0]))


def _slopes(ax: "matplotlib.axes.Axes", rows: "pandas.DataFrame") -> None:
    for row in rows.to_dict("records"):
        key = row_of(row["category"])
        line = _colour(key) if key else OTHER
        ax.errorbar(
            [0, 1], [row["alone mean"], row["combined mean"]], [row["alone sd"], row["combined sd"]], color=line,
            marker="s" if _second(row["category"]) else "o", ms=4, capsize=2, lw=1.8 if key else 0.9,
            zorder=3 if key else 2,
            label=row["category"] if key else "other categories",
        )  # fmt: skip
    ax.set_xticks([0, 1], ["alone", "combined"])
    ax.set_xlim(-0.3, 1.3)


def _second(category: str) -> bool:
    """Whether another category comes before it in a row of Table 2."""
    key = row_of(category)
    return key is not None and category in ROWS[key][1:]


def _paper(ax: "matplotlib.axes.Axes", ours: set[str | None]) -> None:
    for key in ROWS:
        label = None if key in ours else f"{key.removeprefix('T2-')} (paper only)"
        ax.plot([0, 1], claims.get(key).pair, color=_colour(key), marker="D", mfc="none", ms=6, lw=1, label=label)
    ax.plot([], [], ls="", marker="D", mfc="none", mec="black", ms=6, label="paper, colour by row")
    ax.set_xticks([0, 1], ["alone", "combined"])
    ax.set(xlim=(-0.3, 1.3), ylim=(0, None), ylabel='printed "mm"')
    ax.set_title("2D-LFM, Table 2\nprinted", fontsize=9)


def _colour(key: str) -> str:
    return plots.CYCLE[list(ROWS).index(key)]


def figure_samples(study: Study) -> "matplotlib.figure.Figure":
    """Improvement by combined training against a category's samples: the paper's rows and ours."""
    trainings = tables.settings(study)
    figure, axes = plots.panels(1, len(trainings), width=3.6, height=3.2, squeeze=False, sharey=True)
    frame = tables.compare(study)
    for ax, setting in zip(axes[0], trainings, strict=True):
        arm = tables.main_arm(study, setting)
        mine = frame[(frame["training"] == setting) & (frame["against"] == arm)]
        ax.errorbar(
            mine["frames"], mine["improvement % mean"], mine["improvement % sd"], fmt="o", ms=4, capsize=2,
            color=plots.COLOURS["ours"], label="ours, mean and sd over seeds",
        )  # fmt: skip
        printed = [tables.printed(key) for key in ROWS]
        ax.plot(
            [row["paper samples"] for row in printed], [row["paper improvement %"] for row in printed], ls="",
            marker="D", mfc="none", mec=plots.COLOURS["paper"], ms=6, label="paper",
        )  # fmt: skip
        ax.axhline(0, color="black", lw=0.8)
        ax.set(xscale="log", xlabel="training frames of the category")
        ax.set_title(f"{setting}\n{arm}", fontsize=9)
    axes[0, 0].set_ylabel("improvement by combined\ntraining (%)")
    return shared_legend(figure, list(axes[0]))


def figure_scale(study: Study) -> "matplotlib.figure.Figure":
    """Error against the number of categories trained together, equal samples of each; one line per training."""
    frame = tables.scale(study).rename(columns={"categories": "categories trained together"})
    first = study.categories[0]
    figure, axes = plots.panels(1, 2, width=3.6, height=3.2)
    for ax, column in zip(axes, (tables.FIRST, tables.MEAN), strict=True):
        floors = tables.floors(study, [first]) if column == tables.FIRST else {"flat": 100.0}
        title = first if column == tables.FIRST else "mean of those trained together"
        plots.curves(
            frame, "categories trained together", column, "training", ax=ax, floors=floors, title=title, log_x=True
        )
        counts = sorted(set(frame["categories trained together"]))
        ax.set_xticks(counts, [str(n) for n in counts])
        ax.minorticks_off()
        ax.set_ylim(bottom=0)
        ax.set_ylabel(plots.LABELS["flip"] if column == tables.FIRST else "flip per category\n(% of the flat floor)")
    return shared_legend(figure, list(axes))
