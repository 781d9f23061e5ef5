"""Figures on a plane: maps of features, and the loss with paths across it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import FuncFormatter

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.figure import (
    COLOURS,
    WIDTH,
    Figure,
    canvas,
    colour,
    finish,
    listed,
    marker,
    number,
    to_array,
)

PATHS = (COLOURS[1], "#000000", COLOURS[3], COLOURS[4])  # apart from the blue plane
PATH_MARKERS = ("s", "o", "^", "D")
COMPARED = 800  # points whose neighbours the description counts


@kinds_checked
def scatter2d(
    panels: Any,
    labels: Sequence[int],
    class_names: Sequence[str],
    title: str = "",
    highlight: int | None = None,
) -> Figure:
    """Draw points in two dimensions, a colour and marker for each class (chapter 02).

    Args:
        panels: (N, 2) points, or a dict of such by name, drawn side by side.
        labels: N class indices.
        class_names: by index.
        title: one line above the plot.
        highlight: index of one point to ring.
    """
    classes = to_array(labels)
    clouds = _clouds(panels, len(classes))
    _check(classes, len(class_names), highlight)
    side = WIDTH / max(len(clouds), 2)
    width = WIDTH if len(clouds) > 1 else 5.6
    present = [int(c) for c in np.unique(classes)]
    legend_rows = -(-len(present) // 5)
    height = max(side, 3.6) + 0.2 * legend_rows + 0.4
    with canvas(height, width) as figure:
        axes = figure.subplots(1, len(clouds), squeeze=False)[0]
        for axis, (name, points) in zip(axes, clouds.items(), strict=True):
            _cloud(axis, points, classes, class_names, present)
            axis.set_title(name)
            if highlight is not None:
                axis.plot(*points[highlight], "o", ms=16, mfc="none", mec="k", mew=2.4)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=9)
        if title:
            figure.suptitle(title, fontsize=11)
        return finish(figure, _cloud_alt(clouds, classes, class_names, title))


def _check(classes: np.ndarray, known: int, highlight: int | None) -> None:
    if not len(classes) or not 0 <= classes.min() <= classes.max() < known:
        raise CourseError(
            f"{len(classes)} labels were given for {known} class names; expected one "
            "or more labels, each the place of a name."
        )
    if highlight is not None and not 0 <= highlight < len(classes):
        raise CourseError(
            f"Point {highlight} was to be ringed; expected 0 to {len(classes) - 1}."
        )


def _clouds(panels: Any, count: int) -> dict[str, np.ndarray]:
    named = panels if isinstance(panels, Mapping) else {"": panels}
    clouds = {str(name): to_array(points) for name, points in named.items()}
    if not clouds:
        raise CourseError("There is no panel of points to draw; expected at least one.")
    for name, points in clouds.items():
        if points.shape != (count, 2):
            raise CourseError(
                f"Panel {name!r} has shape {points.shape}; expected ({count}, 2), "
                "a point for each label."
            )
    return clouds


def _cloud(
    axis: Axes, points: Any, classes: Any, names: Sequence[str], present: Sequence[int]
) -> None:
    size = 26 if len(points) <= 400 else 14
    for place, index in enumerate(present):
        chosen = points[classes == index]
        axis.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=size,
            color=colour(place),
            marker=marker(place),
            alpha=0.8,
            linewidths=0,
            label=str(names[index]),
        )
    axis.set(xticks=[], yticks=[])
    axis.margins(0.06)


def _cloud_alt(
    clouds: Mapping[str, Any], classes: Any, names: Sequence[str], title: str
) -> str:
    start = f"{title.rstrip('.')}. " if title else ""
    present = [str(names[int(c)]) for c in np.unique(classes)]
    parts = []
    for name, points in clouds.items():
        share = _agreement(points, classes)
        where = f"In {name}" if name else "Here"
        parts.append(
            f"{where} the nearest other point has the same class for {share:.0%}."
        )
    return (
        f"{start}{len(classes)} points of {len(present)} classes "
        f"({listed(present)}). {' '.join(parts)}"
    )


def _agreement(points: np.ndarray, classes: np.ndarray) -> float:
    """Share of points whose nearest other point on the plane has the same class."""
    chosen = np.linspace(0, len(points) - 1, min(COMPARED, len(points))).astype(int)
    points, classes = points[chosen].astype(float), classes[chosen]
    if len(points) < 2:
        return 0.0
    gaps = ((points[:, None] - points[None]) ** 2).sum(-1)
    np.fill_diagonal(gaps, np.inf)
    return float((classes[gaps.argmin(1)] == classes).mean())


@kinds_checked
def loss_plane(
    loss: Any,
    xs: Sequence[float],
    ys: Sequence[float],
    paths: Mapping[str, Any],
    xlabel: str = "first direction",
    ylabel: str = "second direction",
    title: str = "",
) -> Figure:
    """Draw the loss over a plane of weights and the paths across it (chapter 03).

    Args:
        loss: (len(ys), len(xs)) values; places where it is not finite stay white.
        xs: coordinates along the first direction.
        ys: coordinates along the second direction.
        paths: name to (N, 2) points, from start to end.
        xlabel: what the first direction is.
        ylabel: what the second direction is.
        title: one line above the plot.
    """
    grid, x, y = (to_array(v).astype(float) for v in (loss, xs, ys))
    if grid.shape != (len(y), len(x)):
        raise CourseError(
            f"The loss has shape {grid.shape}; expected ({len(y)}, {len(x)}): "
            "a row for each y, a column for each x."
        )
    tracks = {str(name): to_array(p).astype(float) for name, p in paths.items()}
    with canvas(4.9, 6.8) as figure:
        axis = figure.subplots()
        _contours(figure, axis, (x, y, grid))
        for index, (name, track) in enumerate(tracks.items()):
            _track(axis, index, name, track)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        axis.grid(visible=False)
        figure.legend(loc="outside lower center", ncols=2)
        if title:
            figure.suptitle(title, fontsize=11)
        return finish(figure, _plane_alt((x, y, grid), tracks, title))


def _levels(grid: np.ndarray) -> np.ndarray:
    """Give level lines spaced by ratio: near the minimum the loss changes little."""
    values = grid[np.isfinite(grid)]
    if not len(values):
        raise CourseError("The loss is not a finite number anywhere on this plane.")
    low, high = float(values.min()), float(np.percentile(values, 99))
    if high - low < 1e-12:
        return np.array([low - 0.5, low + 0.5])
    if low <= 0:
        return np.linspace(low, high, 13)
    return np.geomspace(max(low, high / 1000), high, 13)


def _contours(figure: Any, axis: Axes, plane: tuple[Any, Any, Any]) -> None:
    x, y, grid = plane
    levels = _levels(grid)
    filled = np.ma.masked_invalid(grid)
    # The darkest blues are left out, so that a black path stays visible.
    shades = ListedColormap(_blues(len(levels) + 1))
    picture = axis.contourf(x, y, filled, levels=levels, cmap=shades, extend="both")
    axis.contour(x, y, filled, levels=levels, colors="white", linewidths=0.5, alpha=0.7)
    bar = figure.colorbar(picture, ax=axis, shrink=0.9, label="loss")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.2g}"))
    bar.ax.minorticks_off()


def _blues(count: int) -> np.ndarray:
    low, high = np.array([0.36, 0.58, 0.80]), np.array([0.95, 0.97, 1.0])
    return low + (high - low) * np.linspace(0, 1, count)[:, None]


def _track(axis: Axes, index: int, name: str, track: np.ndarray) -> None:
    shade, sign = PATHS[index % len(PATHS)], PATH_MARKERS[index % len(PATH_MARKERS)]
    every = max(1, len(track) // 12)
    axis.plot(
        track[:, 0],
        track[:, 1],
        color=shade,
        marker=sign,
        ms=4.5,
        markevery=every,
        label=name,
    )
    axis.plot(*track[0], sign, ms=11, mfc="white", mec=shade, mew=2.2)
    axis.plot(*track[-1], "*", ms=17, mfc=shade, mec="white", mew=1.2)
    side = 1 if track[0, 0] <= np.mean(axis.get_xlim()) else -1
    for point, word in ((track[0], "start"), (track[-1], "end")):
        axis.annotate(
            word,
            point,
            xytext=(9 * side, 9),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            fontsize=9.5,
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
        )


def _plane_alt(plane: tuple[Any, Any, Any], tracks: Mapping[str, Any], t: str) -> str:
    x, y, grid = plane
    start = f"{t.rstrip('.')}. " if t else ""
    parts = []
    for name, track in tracks.items():
        ends = [grid[_near(y, p[1]), _near(x, p[0])] for p in (track[0], track[-1])]
        length = float(np.linalg.norm(np.diff(track, axis=0), axis=1).sum())
        parts.append(
            f"{name} starts where the loss is {number(ends[0])}, ends where it is "
            f"{number(ends[1])}, and travels {number(length)}"
        )
    return (
        f"{start}Loss on a plane of weights, from {number(np.nanmin(grid))} to "
        f"{number(np.nanmax(grid))}. Paths: {'; '.join(parts)}."
    )


def _near(places: np.ndarray, value: float) -> int:
    return int(np.abs(places - value).argmin())
