"""Words and texts as a map, as a table of similarities, and as what a search found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.charts import _heading
from course.plots.figure import (
    COLOURS,
    FLAT,
    Figure,
    canvas,
    colour,
    finish,
    listed,
    marker,
    number,
    to_array,
)
from course.plots.images import _fit
from course.plots.pareto import _around, _overlap

NAMED = 9.0  # points, the size of a word
DOT = 4.0  # pixels around a point that no word may cover
# Where a word may stand, in pixels from its point: (x, y) and how it is aligned.
PLACES = [
    (x * far, y * far, ha, va)
    for far in (1, 2, 3.5, 5)
    for x, y, ha, va in (
        (7, 0, "left", "center"),
        (-7, 0, "right", "center"),
        (0, 6, "center", "bottom"),
        (0, -6, "center", "top"),
        (5, 5, "left", "bottom"),
        (-5, 5, "right", "bottom"),
        (5, -5, "left", "top"),
        (-5, -5, "right", "top"),
    )
]
MOST_NUMBERED = 12  # rows up to which a similarity's number is written into its cell
# Blue to orange through white, never so dark that black numbers could not be read.
SIGNED = LinearSegmentedColormap.from_list("signed", ["#F0A868", "white", "#86B8E0"])


class Found(Protocol):
    """One result of a search; see `search.Answer`."""

    name: str
    line: str
    similarity: float


@kinds_checked
def word_map(
    words: Sequence[str],
    points: Any,
    groups: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw words at their places on a plane; no word covers another (chapter 09).

    A word for which there is no room keeps its point and loses its name.

    Args:
        words: N words, those that matter most first.
        points: (N, 2), such as `search.plane` gives.
        groups: N names, a colour and a marker for each; None for one colour.
        title: one line above the plot.

    Raises:
        CourseError: there is no word, or not a point and a group for each.
    """
    places, kinds = to_array(points).astype(float), groups
    if places.shape != (len(words), 2) or not len(words):
        raise CourseError(
            f"A map got {len(words)} words and points of shape {places.shape}; "
            f"expected ({len(words)}, 2), and at least one word."
        )
    if kinds is not None and len(kinds) != len(words):
        raise CourseError(
            f"A map got {len(words)} words and {len(kinds)} groups; expected as many."
        )
    kinds = list(kinds) if kinds is not None else [""] * len(words)
    with canvas(5.2) as figure:
        axis = figure.subplots()
        _dots(axis, places, kinds)
        axis.set(xticks=[], yticks=[])
        axis.margins(0.09)
        axis.grid(visible=False)
        _heading(figure, title, any(kinds), dict.fromkeys(kinds))
        figure.get_layout_engine().execute(figure)  # now the pixels are known,
        figure.set_layout_engine("none")  # and stay
        named = _write(axis, [str(word) for word in words], places)
        return finish(figure, _map_alt(words, places, kinds, named, title))


def _dots(axis: Axes, places: np.ndarray, kinds: Sequence[str]) -> None:
    for index, kind in enumerate(dict.fromkeys(kinds)):
        chosen = places[[one == kind for one in kinds]]
        style = {"color": colour(index), "marker": marker(index), "s": 22}
        axis.scatter(*chosen.T, linewidths=0, label=kind or None, **style)


def _write(axis: Axes, words: Sequence[str], places: np.ndarray) -> int:
    """Write words where they cover neither points nor words; return how many stand."""
    pixels = axis.transData.transform(places)
    inside = axis.get_window_extent()
    taken, named = _around(pixels, DOT), 0
    for word, point in zip(words, places, strict=True):
        text = axis.annotate(
            word, point, (0, 0), textcoords="offset pixels", fontsize=NAMED
        )
        text.set_in_layout(False)
        for x, y, ha, va in PLACES:
            text.set(position=(x, y), ha=ha, va=va)
            box = np.array([text.get_window_extent().extents])
            within = inside.containsx(box[0, 0]) and inside.containsx(box[0, 2])
            if within and not _overlap(box, taken):
                taken, named = np.concatenate([taken, box]), named + 1
                break
        else:
            text.remove()
    return named


def _map_alt(
    words: Sequence[str],
    places: np.ndarray,
    kinds: Sequence[str],
    named: int,
    title: str,
) -> str:
    start = f"{title.rstrip('.')}. " if title else ""
    present = [kind for kind in dict.fromkeys(kinds) if kind]
    of = f" of {len(present)} groups ({listed(present)})" if present else ""
    few = "" if named == len(words) else f", {named} of them with room for a name"
    near = [f"{words[a]} and {words[b]}" for a, b in _nearest_pairs(places)]
    pairs = f" Nearest to each other: {', '.join(near)}." if near else ""
    return f"{start}A map of {len(words)} words{of}{few}.{pairs}"


def _nearest_pairs(places: np.ndarray, most: int = 3) -> list[tuple[int, int]]:
    """Return the closest pairs, of which no two share a point."""
    gaps = ((places[:, None] - places[None]) ** 2).sum(axis=-1)
    gaps[np.tril_indices(len(places))] = np.inf
    pairs = []
    while len(pairs) < most and np.isfinite(gaps).any():
        a, b = map(int, np.unravel_index(gaps.argmin(), gaps.shape))
        pairs.append((a, b))
        for one in (a, b):
            gaps[one], gaps[:, one] = np.inf, np.inf
    return pairs


@kinds_checked
def similarities(values: Any, names: Sequence[str], title: str = "") -> Figure:
    """Draw how similar texts or words are to one another, −1 to 1 (chapter 09).

    Args:
        values: (N, N) cosines.
        names: of rows and columns alike.
        title: one line above the plot.

    Raises:
        CourseError: the table does not fit the names, or there are fewer than two.
    """
    grid = to_array(values).astype(float)
    if grid.shape != (len(names), len(names)) or len(names) < 2:
        raise CourseError(
            f"A table of similarities has shape {grid.shape} for {len(names)} names; "
            "expected a row and a column for each, and at least two."
        )
    short = [_fit(str(name), 2.2) for name in names]
    with canvas(min(5.6, 0.36 * len(names) + 1.6)) as figure:
        axis = figure.subplots()
        axis.imshow(grid, cmap=SIGNED, vmin=-1, vmax=1, aspect="auto")
        axis.set_yticks(range(len(names)), short)
        turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
        axis.set_xticks(range(len(names)), short, **turned)
        axis.grid(visible=False)
        axis.tick_params(length=0)
        if len(names) <= MOST_NUMBERED:
            for (row, column), value in np.ndenumerate(grid):
                place = {"ha": "center", "va": "center", "fontsize": 9}
                axis.text(column, row, f"{value:.2f}", color="#111111", **place)
        _heading(figure, title, False, names)
        return finish(figure, _similarities_alt(grid, names, title), graded=True)


def _similarities_alt(grid: np.ndarray, names: Sequence[str], title: str) -> str:
    start = f"{title.rstrip('.')}. " if title else ""
    rows, columns = np.triu_indices(len(names), 1)
    cells = grid[rows, columns]
    high, low = int(cells.argmax()), int(cells.argmin())

    def pair(place: int) -> str:
        one, other = names[rows[place]], names[columns[place]]
        return f"{one} and {other} ({number(cells[place])})"

    return (
        f"{start}Similarity of {len(names)} to one another, on average "
        f"{number(cells.mean())}. Most alike: {pair(high)}; least: {pair(low)}."
    )


@kinds_checked
def search_results(query: str, answers: Sequence[Found], title: str = "") -> Figure:
    """Draw what a search found: a bar for each, its name and first line (chapter 09).

    Args:
        query: what was asked.
        answers: the best first, with `name`, `line` and `similarity`.
        title: one line above the plot; left out, the query stands there.

    Raises:
        CourseError: there is no answer.
    """
    if not answers:
        raise CourseError(f"Nothing was found for {query!r}; expected an answer.")
    values = np.array([answer.similarity for answer in answers], float)
    heading = title or f"Nearest to “{_fit(query, 4.5)}”"
    with canvas(0.44 * len(answers) + 0.9) as figure:
        axis = figure.subplots()
        rows = np.arange(len(answers))
        axis.barh(rows + 0.2, values, 0.2, color=COLOURS[0])
        left = min(0.0, float(values.min()))
        for row, answer in enumerate(answers):
            _name_and_line(axis, (left, row - 0.13), answer)
            value = f" {answer.similarity:.2f}"
            axis.text(
                max(0.0, values[row]), row + 0.2, value, fontsize=8.5, va="center"
            )
        axis.set(xlabel="cosine similarity", yticks=[], xlim=(left, 1.0))
        axis.set_ylim(len(answers) - 0.4, -0.5)
        axis.grid(visible=False)
        axis.spines["left"].set_visible(False)
        _heading(figure, heading, False, [])
        return finish(figure, _found_alt(heading, answers), colours=FLAT)


def _name_and_line(axis: Axes, place: tuple[float, float], answer: Found) -> None:
    style = {"fontsize": 9, "va": "center"}
    name = axis.text(*place, _fit(answer.name, 5.2), weight="bold", **style)
    name.set_in_layout(False)
    rest = _fit(f"{answer.name} {answer.line}", 6.0)[len(answer.name) + 1 :]
    beside = {"xycoords": name, "textcoords": "offset points"}
    line = axis.annotate(rest, (1, 0.5), (6, 0), **beside, **style)
    line.set_in_layout(False)


def _found_alt(heading: str, answers: Sequence[Found]) -> str:
    found = [f"{one.name} ({number(one.similarity)})" for one in answers]
    return f"{heading.rstrip('.')}: {listed(found)}."
