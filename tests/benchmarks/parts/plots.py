"""The drawings of the report: the one door to matplotlib (the extra `bench`). SVG, the same bytes for the same figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

mpl.rcParams.update({"svg.hashsalt": "locksmith", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})

Line = Sequence[tuple[float, float]]
COLOURS = {
    "locksmith": "#1b6ca8",
    "locksmith, outside of the queue": "#8fc1e3",
    "locksmith, for a grant": "#0b3556",
    "Flatcar locksmith": "#d1495b",
    "airlock + zincati": "#edae49",
    "classic": "#d1495b",
    "etcdctl lock": "#3a7d44",
    "consul lock -n 2": "#8d3b72",
    "bare commit": "#777777",
}


def lines(
    path: Path, told: Mapping[str, Line], x: str, y: str, *, linear: bool = False, limit: float | None = None
) -> None:
    """One line a name over a logarithmic x axis; the y axis is logarithmic, too, unless it is told to be linear.

    `limit` is drawn as a dashed line.
    """
    figure, axes = plt.subplots(figsize=(6.4, 3.4))
    for name, line in told.items():
        dashes = "--" if "," in name else "-"
        axes.plot(*zip(*line, strict=True), dashes, marker="o", markersize=4, label=name, color=COLOURS.get(name))
    axes.set_xscale("log")
    if linear:
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale("log")
    if limit is not None:
        axes.axhline(limit, linestyle=":", color="#777777")
    _finish(figure, axes, path, x, y)


def bars(path: Path, groups: Sequence[str], told: Mapping[str, Sequence[float]], y: str) -> None:
    """One bar a name in each group."""
    figure, axes = plt.subplots(figsize=(6.4, 3.0))
    width = 0.8 / len(told)
    for number, (name, heights) in enumerate(told.items()):
        places = [place - 0.4 + width * (number + 0.5) for place in range(len(groups))]
        drawn = axes.bar(places, heights, width * 0.94, label=name, color=COLOURS.get(name))
        axes.bar_label(drawn, [f"{height:.3g}" for height in heights], fontsize=7)
    axes.set_xticks(range(len(groups)), groups)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.15)
    _finish(figure, axes, path, "", y)


def _finish(figure: plt.Figure, axes: Axes, path: Path, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
