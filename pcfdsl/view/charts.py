"""Line, bar and interval charts over several seeds, as PNG."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["bar_chart", "interval_chart", "line_chart"]

LINES = ("-", "--", ":")
COLORS = ("#2766b0", "#d9622b", "#2d9164", "#8a4fa3", "#b08a1e", "#5b6470")


def line_chart(
    series: Mapping[str, np.ndarray],
    *,
    x: np.ndarray | None = None,
    x_label: str = "",
    y_label: str = "",
    title: str = "",
    size: tuple[int, int] = (720, 420),
) -> bytes:
    """Mean curve of each series, with a band of one standard deviation over its seeds.

    Args:
        series: Name -> [num_seeds, num_steps], or [num_steps] for one seed; NaN where a value is missing.
        x: [num_steps]; by default 0, 1, 2, ...
        x_label: Text below; so `y_label` and `title`.
        size: Width and height in pixels.

    Returns:
        The content of a PNG file. The band is the sample deviation (n - 1), absent where there are fewer than two
        values.

    Raises:
        ValueError: Without series, or for another number of dimensions or of steps than `x` has.
    """
    if not series:
        raise ValueError("line_chart got no series; give at least one name -> [num_seeds, num_steps]")
    figure, axes = _empty(size, x_label, y_label, title)
    for k, (name, values) in enumerate(series.items()):
        runs = np.ma.masked_invalid(np.atleast_2d(np.asarray(values, dtype=np.float64)))
        at = np.arange(runs.shape[-1]) if x is None else np.asarray(x)
        if runs.ndim != 2 or at.shape != runs.shape[1:]:
            raise ValueError(
                f"series {name!r} has shape {np.shape(values)} over x of shape {at.shape}; "
                "expected [num_seeds, num_steps] and [num_steps]"
            )
        color, mean = COLORS[k % len(COLORS)], runs.mean(axis=0)
        label = name if len(runs) == 1 else f"{name} (mean ± sd, n = {len(runs)})"
        line = LINES[k // len(COLORS) % len(LINES)]  # where there are more series than colours
        axes.plot(at, mean.filled(np.nan), line, color=color, linewidth=1.8, label=label)
        if len(runs) > 1:
            spread = runs.std(axis=0, ddof=1)
            low, high = (mean - spread).filled(np.nan), (mean + spread).filled(np.nan)
            axes.fill_between(at, low, high, color=color, alpha=0.18, linewidth=0)
    axes.legend(frameon=False)
    return _png(figure)


def bar_chart(
    series: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    y_label: str = "",
    title: str = "",
    size: tuple[int, int] = (720, 420),
) -> bytes:
    """Groups of bars: the mean of each, its value above, every seed as a dot.

    Args:
        series: Name of a series -> name of a group -> values of the seeds; a group missing from a series leaves a gap.
        y_label: Text at the side.
        title: Text above.
        size: Width and height in pixels.

    Returns:
        The content of a PNG file.

    Raises:
        ValueError: Without series, or for a group without values.
    """
    if not series:
        raise ValueError("bar_chart got no series; give at least one name -> {group: values}")
    figure, axes = _empty(size, "", y_label, title)
    groups = list(dict.fromkeys(group for values in series.values() for group in values))
    width = 0.8 / len(series)
    for k, (name, values) in enumerate(series.items()):
        places = [groups.index(group) + (k - (len(series) - 1) / 2) * width for group in values]
        for group, seeds in values.items():
            if len(seeds) == 0:
                raise ValueError(f"series {name!r} has no values for {group!r}; omit the group or give its values")
        means = [float(np.mean(seeds)) for seeds in values.values()]
        axes.bar(places, means, 0.92 * width, color=COLORS[k % len(COLORS)], alpha=0.85, label=name)
        for place, mean, seeds in zip(places, means, values.values(), strict=True):
            top = (place, max(0.0, mean, *seeds))
            axes.annotate(f"{mean:.3g}", top, (0, 5), textcoords="offset points", ha="center", fontsize=9)
            if len(seeds) > 1:
                axes.plot(np.full(len(seeds), place), seeds, "o", markersize=3.5, color="black", alpha=0.55)
    axes.set_xticks(range(len(groups)), groups)
    axes.margins(y=0.12)
    figure.legend(loc="outside upper right", ncols=len(series), frameon=False)
    return _png(figure)


def interval_chart(
    rows: Mapping[str, tuple[float, float, float]],
    *,
    colors: Sequence[str] = (),
    x_label: str = "",
    title: str = "",
    width: int = 860,
) -> bytes:
    """One line below the other: a mean as a dot, its interval as a bar, zero as a rule.

    Args:
        rows: Name -> (mean, low, high).
        colors: Of the rows; all alike by default.
        x_label: Text below.
        title: Text above.
        width: In pixels; the height follows from the number of rows.

    Returns:
        The content of a PNG file.

    Raises:
        ValueError: Without rows.
    """
    if not rows:
        raise ValueError("interval_chart got no rows; give at least one name -> (mean, low, high)")
    figure, axes = _empty((width, 90 + 24 * len(rows)), x_label, "", title)
    axes.axvline(0, color="black", linewidth=0.8)
    for k, (mean, low, high) in enumerate(rows.values()):
        color = colors[k] if colors else COLORS[0]
        axes.plot([low, high], [k, k], color=color, linewidth=2.5, solid_capstyle="butt", alpha=0.6)
        axes.plot([mean], [k], "o", color=color, markersize=6)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25)
    return _png(figure)


def _empty(size: tuple[int, int], x_label: str, y_label: str, title: str):
    # The figure's own canvas instead of pyplot: no window system and no global state.
    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel=x_label, ylabel=y_label, title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
