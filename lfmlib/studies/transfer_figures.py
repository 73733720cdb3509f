"""Figures of `transfer`: O(3) errors with their floors, and what the 3D-LFM paper prints as open markers."""

from typing import TYPE_CHECKING

import numpy as np

from lfmlib import claims, plots
from lfmlib.studies import transfer_tables as tables
from lfmlib.studies.literal import shared_legend
from lfmlib.studies.transfer import (
    ALIGNMENT,
    ALL,
    EMBEDDING,
    HIPPO,
    IMBALANCE,
    ITSELF,
    OBJECT_INFO,
    OTHERS,
    RIGS,
    TOGETHER,
    UNSEEN,
)
from lfmlib.studies.transfer_measure import TRAINING_MEAN, Study
from lfmlib.studies.transfer_probes import TRAINED
from lfmlib.studies.transfer_verdicts import WIDTHS

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import pandas

FLOORS = ("flat", "mean", TRAINING_MEAN)
PAPER = {"marker": "D", "mfc": "none", "mec": plots.COLOURS["paper"], "ls": "", "ms": 6, "label": "paper"}
SHORT = {OTHERS: "others", ITSELF: "itself"}


def figure_unseen(study: Study) -> "matplotlib.figure.Figure":
    """Each category: trained on others, trained on itself, and the floors; on the right what Table 2 prints."""
    names = tables.tested(study, UNSEEN)
    figure, axes = plots.panels(1, len(names) + 1, width=2.1, height=3.2)
    for ax, name in zip(axes, names, strict=False):
        _bars(ax, study, UNSEEN, name, [OTHERS, ITSELF], SHORT)
        ax.set_title(name.replace("synthetic_", "synthetic\n").replace("_", "\n", 1) if "synthetic" not in name else
                     name.replace("_", "\n", 1), fontsize=9)  # fmt: skip
    axes[0].set_ylabel(plots.LABELS["o3"])
    printed = {name: claims.get(f"3DLFM-T2-{name}").value.split("/") for name in ("cheetah", "train", "chimp")}
    marks = {key: value for key, value in PAPER.items() if key != "label"}
    for number, (name, pair) in enumerate(printed.items()):
        axes[-1].plot(
            [0, 1], [float(value) for value in pair], **marks | {"marker": "Dos"[number], "ls": ":"}, label=name
        )
    axes[-1].set_xticks([0, 1], ["unseen", "itself"])
    axes[-1].set(xlim=(-0.5, 1.5), ylim=(0, None), ylabel='printed "mm"')
    axes[-1].set_title("3D-LFM, Table 2\n(paper)", fontsize=9)
    axes[-1].legend(fontsize=7)
    return shared_legend(figure, axes[:-1])


def _bars(
    ax: "matplotlib.axes.Axes", study: Study, part: str, name: str, trainings: list[str], words: dict[str, str]
) -> None:
    each = [tables.errors(study, part, training, name) for training in trainings]
    means, sds = np.mean(each, axis=1), np.std(each, axis=1, ddof=1)
    ax.bar(range(len(trainings)), means, yerr=sds, capsize=3, color=plots.CYCLE[: len(trainings)], width=0.6)
    _floors(ax, study, part, name)
    ax.set_xticks(range(len(trainings)), [words.get(text, text) for text in trainings])
    ax.set_ylim(bottom=0)


def _floors(ax: "matplotlib.axes.Axes", study: Study, part: str, name: str) -> None:
    for kind in FLOORS:
        if level := tables.floor(study, part, kind, name):
            line = plots.COLOURS.get(kind, "#b39ddb")
            ax.axhline(
                np.mean(level), color=line, ls="--", lw=1.2, label=f"floor: {kind}" + (" (3D)" * (kind != "flat"))
            )


def figure_rigs(study: Study) -> "matplotlib.figure.Figure":
    """Trained on x, tested on y: a matrix for each pair of rigs, the floors in its last rows."""
    pairs = tables.rig_pairs(study)
    figure, axes = plots.panels(1, len(pairs), width=4.2, height=2.8)
    for ax, pair in zip(axes, pairs, strict=True):
        rows = {f"trained on {rig}": [tables.errors(study, RIGS, rig, other) for other in pair] for rig in pair}
        rows["trained on both"] = [tables.errors(study, RIGS, " + ".join(pair), rig) for rig in pair]
        for kind in ("flat", "mean"):
            rows[f"floor: {kind}" + " (3D)" * (kind == "mean")] = [tables.floor(study, RIGS, kind, rig) for rig in pair]
        values = np.array([[np.mean(cell) for cell in row] for row in rows.values()])
        ax.imshow(values, cmap="Blues", aspect="auto", vmin=0, vmax=1.3 * values.max())
        for (i, j), value in np.ndenumerate(values):
            spread = np.std(list(rows.values())[i][j], ddof=1)
            dark = value > 0.85 * values.max()
            ax.text(j, i, f"{value:.1f} ± {spread:.1f}", ha="center", va="center", color="white" if dark else "black")
        labels = [text.replace("synthetic_", "syn. ") for text in rows]
        ax.set_yticks(range(len(rows)), labels)
        ax.set_xticks(range(2), [f"tested on\n{rig.replace('synthetic_', 'syn. ')}" for rig in pair])
        ax.axhline(2.5, color="white", lw=3)
    figure.suptitle("PA-MPJPE, O(3) (% of RMS radius), mean ± sd over seeds", fontsize=9)
    return figure


def figure_viewpoints(viewpoints: "pandas.DataFrame") -> "matplotlib.figure.Figure":
    """Error of the tiger against the elevation of the camera, a line per side; the floors on the same views."""
    ours = viewpoints[~viewpoints["method"].isin(["flat", "mean"])]
    figure, ax = plots.panels(1, 1, width=5.2, height=3.4)
    ax.axvspan(-TRAINED, TRAINED, color="#eeeeee", label="trained elevations", zorder=0)
    plots.curves(ours, "elevation", "o3", "side", ax=ax)
    for kind in ("flat", "mean"):
        level = viewpoints[viewpoints["method"] == kind].groupby("elevation")["o3"].mean()
        ax.plot(level.index, level, color=plots.COLOURS[kind], ls="--", lw=1.2,
                label=f"floor: {kind}" + " (3D)" * (kind == "mean"))  # fmt: skip
    ax.set(xlabel="elevation of the camera (degrees, negative: from below)", ylim=(0, None))
    return shared_legend(figure, [ax])


def figure_widths(study: Study) -> "matplotlib.figure.Figure":
    """TPE against a linear embedding over the width: errors, and the improvement beside the printed one."""
    import pandas

    rows, gains = [], []
    for width in tables.widths(study):
        tpe, linear = (tables.errors(study, EMBEDDING, f"{kind}, width {width}", HIPPO) for kind in ("tpe", "linear"))
        rows += [{"width": width, "o3": error, "embedding": "TPE"} for error in tpe]
        rows += [{"width": width, "o3": error, "embedding": "linear"} for error in linear]
        gains += [{"width": width, "gain": 100 * (1 - a / b)} for a, b in zip(tpe, linear, strict=True)]
    figure, axes = plots.panels(1, 2, width=3.6, height=3.0)
    levels = {kind: float(np.mean(tables.floor(study, EMBEDDING, kind, HIPPO))) for kind in ("flat", "mean")}
    plots.curves(pandas.DataFrame(rows), "width", "o3", "embedding", ax=axes[0], floors=levels, title=HIPPO)
    plots.curves(pandas.DataFrame(gains), "width", "gain", ax=axes[1], paper=WIDTHS, title="improvement by TPE")
    axes[1].axhline(0, color="black", lw=0.8)
    axes[1].set_ylabel("error lower by (%)")
    axes[0].set_ylim(bottom=0)
    for ax in axes:
        ax.set_xscale("log", base=2)
        ax.set_xticks(sorted({*tables.widths(study), *(WIDTHS if ax is axes[1] else ())}))
        ax.xaxis.set_major_formatter("{x:.0f}")
        ax.set_xlabel("width D")
    return shared_legend(figure, axes)


def figure_together(study: Study) -> "matplotlib.figure.Figure":
    """Isolated -> combined per category, and the rare one with the huge one; the paper's pairs on the right."""
    solid = [name for name in tables.tested(study, TOGETHER) if name in tables.tested(study, OBJECT_INFO)]
    others = [name for name in tables.tested(study, TOGETHER) if name not in solid]
    figure, axes = plots.panels(1, 4, width=3.0, height=3.6)
    for ax, names, title in zip(axes, (solid, others), ("CAD categories", "animals and people"), strict=False):
        _mean_floors(ax, study, TOGETHER, names)
        for number, name in enumerate(names):
            sides = [tables.errors(study, TOGETHER, training, name) for training in (ITSELF, ALL)]
            _slope(ax, sides, name, "os"[number // len(plots.CYCLE)])
        _start(ax, title, "isolated", "combined")
    frame = study.table[(study.table["part"] == IMBALANCE) & study.table["training"].str.startswith("with ")]
    pairs = {
        t: next(n for n in frame[frame["training"] == t]["category"] if n not in t)
        for t in dict.fromkeys(frame["training"])
    }
    _mean_floors(axes[2], study, IMBALANCE, list(pairs.values()))
    for training, rare in pairs.items():
        _slope(axes[2], [tables.errors(study, IMBALANCE, t, rare) for t in (ITSELF, training)], rare)
    _start(axes[2], "rare", "alone", "with a huge one")
    for key in ("3DLFM-S431", "3DLFM-animals", "3DLFM-openmonkey", "3DLFM-amass"):
        axes[3].plot([0, 1], claims.get(key).pair, marker="D", mfc="none", ms=6, lw=1, label=key)
    _start(axes[3], "3D-LFM, Sec. IV.3.1 (paper)", "isolated", "combined")
    axes[0].set_ylabel(plots.LABELS["o3"])
    axes[3].set_ylabel('printed "mm"')
    return figure


def _mean_floors(ax: "matplotlib.axes.Axes", study: Study, part: str, names: list[str]) -> None:
    for kind in ("flat", "mean"):
        level = np.mean([tables.floor(study, part, kind, name) for name in names])
        label = f"floor: {kind}" + " (3D)" * (kind == "mean") + (", their mean" * (len(names) > 1))
        ax.axhline(level, color=plots.COLOURS[kind], ls="--", lw=1, label=label)


def _slope(ax: "matplotlib.axes.Axes", sides: list[list[float]], label: str, marker: str = "o") -> None:
    means, sds = ([f(side) for side in sides] for f in (np.mean, lambda side: np.std(side, ddof=1)))
    ax.errorbar([0, 1], means, sds, marker=marker, ms=4, capsize=2, lw=1.2, label=label.replace("synthetic_", "syn. "))


def _start(ax: "matplotlib.axes.Axes", title: str, before: str, after: str) -> None:
    ax.set_xticks([0, 1], [before, after])
    ax.set(xlim=(-0.3, 1.3), ylim=(0, None), title=title)
    ax.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)


def figure_switches(study: Study) -> "matplotlib.figure.Figure":
    """Object info on and off over the CAD categories, alignment on and off on people; three mirror policies."""
    import pandas

    frame, (name,) = study.table, tables.tested(study, ALIGNMENT)
    solid = frame[(frame["part"] == OBJECT_INFO) & (frame["training"] != "")]
    solid = solid.groupby(["method", "seed"], sort=False)[["o3", "so3", "flip"]].mean().reset_index()
    person = frame[(frame["part"] == ALIGNMENT) & (frame["training"] != "")]
    figure, axes = plots.panels(1, 3, width=4.4, height=3.6, width_ratios=[5, 3, 3])
    for ax, rows, title in zip(axes, (solid, person), ("CAD categories, their mean", name), strict=False):
        long = pandas.concat([
            rows.assign(error=rows[key], policy=word)
            for key, word in (("o3", "O(3)"), ("so3", "SO(3)"), ("flip", "flip per category"))
        ])  # fmt: skip
        long["method"] = long["method"].str.replace(", ", ",\n").str.replace(" as ", "\nas ")
        part = OBJECT_INFO if rows is solid else ALIGNMENT
        levels = {kind: float(np.mean([tables.floor(study, part, kind, n) for n in tables.tested(study, part)]))
                  for kind in ("flat", "mean")}  # fmt: skip
        plots.points(long, "method", "error", "policy", ax=ax, floors=levels, title=title)
        ax.set(xlabel="", ylabel="PA-MPJPE (% of RMS radius)", ylim=(0, None))
        ax.tick_params(axis="x", labelsize=7, rotation=0)
    for number, (key, label) in enumerate((("a", "C3DPO, none"), ("b", "C3DPO, info"), ("c", "3D-LFM, none"),
                                           ("d", "3D-LFM, info"))):  # fmt: skip
        axes[2].plot(number, claims.get(f"3DLFM-F3-{key}").number, **PAPER)
        axes[2].annotate(label, (number, claims.get(f"3DLFM-F3-{key}").number), (0, 8), textcoords="offset points",
                         ha="center", fontsize=7)  # fmt: skip
    axes[2].set(xlim=(-0.6, 3.6), ylim=(0, 47), xticks=[], ylabel='printed "mm"', title="3D-LFM, Fig. 3 (paper)")
    return shared_legend(figure, axes)
