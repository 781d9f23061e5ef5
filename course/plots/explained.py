"""A picture, what it was taken for, and where the evidence was, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from PIL import Image

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.figure import COLOURS, Figure, canvas, finish, listed, to_list
from course.plots.heat import SIDE, _heat, _in_words, _painted
from course.plots.images import _picture, _probabilities, _tighten, wrapped

TALL = 2.15  # inches
TILE = 1.9
MOST = 400  # pixels of the picture: more would not be seen


@kinds_checked
def explained(
    image: Any,
    predicted: Sequence[tuple[str, float]],
    seen: Any = None,
    heat: Any = None,
    chosen: int = 0,
) -> Figure:
    """Show a picture, its likeliest classes, and the map of one of them (chapter 10).

    Args:
        image: one picture, as `image_grid` takes it.
        predicted: ``[(name, probability), ...]``, the likeliest first.
        seen: what the model saw of it, where the map belongs; None for the picture.
        heat: (h, w), as `overlay` takes it; None for no map.
        chosen: the place in `predicted` of the class whose map it is.

    Raises:
        CourseError: there is no prediction, or none at the chosen place.
    """
    if not 0 <= chosen < len(predicted):
        raise CourseError(
            f"Class {chosen} of {len(predicted)} was to be explained; expected a place "
            "in the list of predictions, from 0 on."
        )
    rows = [(str(name), float(value)) for name, value in predicted]
    pixels = to_list(image if heat is None or seen is None else seen)[0]
    ratios = [1, 2.3] if heat is None else [1, 1.55, 1]
    with canvas(TALL) as figure:
        axes = figure.subplots(1, len(ratios), width_ratios=ratios)
        _picture(axes[0], to_list(_small(image))[0])
        axes[0].set_title("the picture", fontsize=9.5, pad=3)
        _bars(axes[1], rows, chosen if heat is not None else 0)
        alt = _alt(rows)
        if heat is not None:
            values = _heat(heat)
            painted = _painted(pixels, values, 0.5, None, SIDE)
            axes[2].set_axis_off()
            axes[2].imshow(painted, interpolation="antialiased")
            title = wrapped(f"evidence for {rows[chosen][0]}", TILE)
            axes[2].set_title(title, fontsize=9.5, pad=3, parse_math=False)
            alt += f" Evidence for {rows[chosen][0]}: {_in_words(values, None)}."
        _tighten(figure, "")
        return finish(figure, alt)


def _small(image: Any) -> Any:
    """Return a large photograph smaller, since drawing it takes longest."""
    if isinstance(image, Image.Image) and max(image.size) > MOST:
        image = image.copy()
        image.thumbnail((MOST, MOST))
    return image


def _bars(axis: Axes, rows: Sequence[tuple[str, float]], chosen: int) -> None:
    _probabilities(axis, rows, max(len(rows), 3))
    for place, (bar, label) in enumerate(
        zip(axis.patches, axis.get_yticklabels(), strict=True)
    ):
        bar.set_color(COLOURS[0] if place == chosen else COLOURS[5])
        label.set(fontweight="bold" if place == chosen else "normal", parse_math=False)
    axis.set_title("probability", fontsize=9.5, pad=3)
    axis.tick_params(labelbottom=True)


def _alt(rows: Sequence[tuple[str, float]]) -> str:
    return f"Most likely {listed([f'{name} {value:.2f}' for name, value in rows])}."
