"""Figures of notebook 99: how the verdicts are spread over the parts of the papers."""

import math
from typing import TYPE_CHECKING

from lfmlib import ledger_report, plots, verdicts
from lfmlib.ledger import NOT_RUN, STATES, Ledger

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas

# told apart with any colour vision; what says nothing about a claim is grey
COLOURS = {
    verdicts.REPRODUCED: "#009e73",
    verdicts.SAME_DIRECTION: "#56b4e9",
    verdicts.CONTRADICTED: "#d55e00",
    verdicts.SELF_CONTRADICTORY: "#cc79a7",
    verdicts.NOT_TESTABLE: "#7f7f7f",
    NOT_RUN: "#d0d0d0",
}


def counts(ledger: Ledger) -> "pandas.DataFrame":
    """Claims per part of the papers (rows, `all` last) and verdict (columns)."""
    import pandas

    return pandas.DataFrame(ledger_report.counts(ledger), columns=["part", "claims", *STATES])


def figure_radar(ledger: Ledger) -> "matplotlib.figure.Figure":
    """One web per verdict: the share of each part's claims that got it. The rim is all of them."""
    parts = counts(ledger).iloc[:-1]
    figure, axes = plots.panels(2, 3, width=4.0, height=3.4, subplot_kw={"projection": "polar"})
    angles = [2 * math.pi * place / len(parts) for place in range(len(parts))]
    names = [f"{row['part']}\n({row['claims']})" for _, row in parts.iterrows()]
    for ax, state in zip(axes.flat, STATES, strict=True):
        shares = (parts[state] / parts["claims"]).tolist()
        ax.fill([*angles, angles[0]], [*shares, shares[0]], color=COLOURS[state], alpha=0.45, lw=0)
        ax.plot([*angles, angles[0]], [*shares, shares[0]], color=COLOURS[state], marker="o", ms=3)
        ax.set_xticks(angles, names, fontsize=7)
        ax.set_yticks([0.25, 0.5, 0.75, 1.0], ["", "50 %", "", ""], fontsize=7, color="0.4")
        ax.tick_params(axis="x", pad=7)
        ax.set(ylim=(0, 1), theta_offset=math.pi / 2, theta_direction=-1)
        ax.set_title(f"{state}: {parts[state].sum()} of {parts['claims'].sum()} claims", fontsize=9)
    return figure


def figure_bars(ledger: Ledger) -> "matplotlib.figure.Figure":
    """Claims of each part of the papers, stacked by verdict."""
    parts = counts(ledger).iloc[:-1]
    figure, ax = plots.panels(width=7.5, height=3.4)
    left = [0] * len(parts)
    for state in STATES:
        values = parts[state].tolist()
        bars = ax.barh(parts["part"], values, left=left, color=COLOURS[state], label=state)
        ax.bar_label(bars, [str(value) if value else "" for value in values], label_type="center", fontsize=7)
        left = [base + value for base, value in zip(left, values, strict=True)]
    ax.invert_yaxis()
    ax.set(xlabel="claims", ylabel="")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure
