"""Fig. 2, the overview of the network, drawn from a configuration."""

from typing import TYPE_CHECKING

from lfmlib import plots
from lfmlib.model import Lifter, LifterConfig
from lfmlib.rigs import Rig

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

MOST_BOXES = 6  # layers that are drawn one by one
CODE = "#1f4e9e"


def fig_overview(config: LifterConfig, rig: Rig) -> "matplotlib.figure.Figure":
    """Fig. 2 from a configuration: tokens, encoding, layers that get it, head, orthographic-N-point fit, Eq. 1."""
    parameters = sum(p.numel() for p in Lifter(config, [rig]).parameters())
    boxes = [("keypoints", f"X [{rig.n}, 2]"), ("embedding", f"X W + TPE(X)\n+ e_c   [{rig.n}, {config.width}]")]
    layers = _drawn_layers(config.depth)
    boxes += [("...", "") if layer is None else (f"layer {layer + 1}", f"{config.heads} heads\nFF {config.ff}D")
              for layer in layers]  # fmt: skip
    what = "depth z" if config.outputs == 1 else "shape Y"
    boxes += [("head", f"{config.width} → {config.outputs}"), (what, f"[{rig.n}, {config.outputs}]"),
              ("OnP", "s, R, t"), ("Eq. 1", "‖X − s P R Y − t‖²")]  # fmt: skip
    wide = {"...": 0.5, "embedding": 1.6, "Eq. 1": 1.6}
    widths = [wide.get(top, 1.05) for top, _ in boxes]
    starts = [sum(widths[:i]) + 0.28 * i for i in range(len(boxes))]
    middles = [start + width / 2 for start, width in zip(starts, widths, strict=True)]
    end = starts[-1] + widths[-1]
    figure, ax = plots.panels(width=0.85 * end, height=2.8)
    into = [1] * config.at_input + [2 + i for i, layer in enumerate(layers) if layer in config.layers]
    for i, (start, width, (top, text)) in enumerate(zip(starts, widths, boxes, strict=True)):
        _box(ax, start, width, top, text, i in into)
        if i:
            ax.annotate("", (start, 1), (starts[i - 1] + widths[i - 1], 1), arrowprops={"arrowstyle": "->"})
    if into:
        _phi(ax, config, rig, [middles[i] for i in into])
    for target in (-2, -1):  # the fit and the loss compare the shape's picture with what was observed
        ax.annotate("", (middles[target], 1.55), (middles[0], 1.55),
                    arrowprops=dict(arrowstyle="->", color="#777777", connectionstyle="arc3,rad=-0.06"))  # fmt: skip
    ax.set(xlim=(-0.1, end + 0.1), ylim=(-0.6, 2.3))
    ax.set_title(f"{config.depth} layers, width {config.width}, {config.heads} heads, injection {config.injection}, "
                 f"weight {config.alpha:g}: {parameters:,} parameters ({rig.name})")  # fmt: skip
    ax.set_axis_off()
    return figure


def _drawn_layers(depth: int) -> list[int | None]:
    """Layers that get a box of their own; None stands for those that do not."""
    if depth <= MOST_BOXES:
        return list(range(depth))
    return [0, 1, 2, None, depth - 2, depth - 1]


def _box(ax: "matplotlib.axes.Axes", start: float, width: float, top: str, text: str, gets_code: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    if top == "...":
        ax.text(start + width / 2, 1, "···", ha="center", va="center", fontsize=14)
        return
    face = "#dbe9f6" if gets_code else "#f3f3f3"
    ax.add_patch(FancyBboxPatch((start, 0.5), width, 1, boxstyle="round,pad=0.02", fc=face, ec="#333333", lw=1))
    ax.text(start + width / 2, 1.25, top, ha="center", va="center", fontsize=8, weight="bold")
    ax.text(start + width / 2, 0.83, text, ha="center", va="center", fontsize=7)


def _phi(ax: "matplotlib.axes.Axes", config: LifterConfig, rig: Rig, places: list[float]) -> None:
    """The index encoding under the boxes that it enters."""
    weight = f"{config.alpha:g} " if config.alpha != 1 else ""
    into = "Q, K, V" if config.into == "qkv" else "Q, K"
    text = f"{weight}Φ [{rig.n}, {config.width}], {config.encoding}, added to "
    text += " and ".join(["the input (Eq. 2)"] * config.at_input + [f"{into} (Eq. 3)"] * bool(config.layers))
    ax.plot([places[0], places[-1]], [-0.1, -0.1], color=CODE, lw=1.5)
    for place in places:
        ax.annotate("", (place, 0.47), (place, -0.1), arrowprops={"arrowstyle": "->", "color": CODE})
    ax.text((places[0] + places[-1]) / 2, -0.25, text, ha="center", va="top", fontsize=8, color=CODE)
