"""The figure that a chapter shows: PNG bytes with a description in words."""

from __future__ import annotations

import base64
import html
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text
from PIL import Image

from course.errors import CourseError, shown

# Okabe and Ito's palette, which the common forms of colour blindness keep apart.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#885544",  # not their yellow, which fades on white
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DRAWING = threading.RLock()
WIDTH = 7.0  # inches, 700 pixels: the width of a notebook's output
FLAT = 64  # colours of a chart: flat areas with soft edges
DPI = 100
# JupyterLab knows the class, exported pages the style; GitHub drops both and shows the
# description as a caption.
HIDDEN = (
    "position:absolute;width:1px;height:1px;overflow:hidden;"
    "clip-path:inset(50%);white-space:nowrap"
)
HIDDEN_P = f'<p class="jp-sr-only" style="{HIDDEN}">'
STYLE: dict[str, Any] = {
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "figure.facecolor": "white",
    "text.parse_math": False,  # a dollar sign in the name of a class is no formula
}


@dataclass(frozen=True)
class Figure:
    """A finished picture: `png` bytes and `alt`, the same in words with its numbers.

    A notebook stores the picture as image/png, which every reader of notebooks shows,
    with `alt` in the output's metadata. JupyterLab and nbconvert ignore that field, so
    the words follow in an element that only a screen reader meets; `described` makes
    them the image's own alt in an exported page.
    """

    png: bytes = field(repr=False)
    alt: str

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        png = base64.b64encode(self.png).decode()
        data = {"image/png": png, "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt}}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True)
        display({"text/html": HIDDEN_P + html.escape(self.alt) + "</p>"}, raw=True)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return Image.open(io.BytesIO(self.png)).size


def described(notebook: Any) -> Any:
    """Return a copy of a notebook whose pictures have an alt in an exported page.

    nbconvert's page template drops the alt that an output's metadata holds. Here each
    such output becomes an `<img>` with it, and the hidden words beside it go. Code that
    the notebook folds, such as a poll's with its explanations, is left out.

    Args:
        notebook: as `nbformat.read` returns it.
    """
    copy = deepcopy(notebook)
    for cell in copy["cells"]:
        if cell["metadata"].get("jupyter", {}).get("source_hidden"):
            cell["metadata"]["transient"] = {"remove_source": True}
        outputs = cell.get("outputs", [])
        kept = [o for o in outputs if HIDDEN_P not in _html_of(o)]
        if outputs:
            cell["outputs"] = kept
        for output in kept:
            _give_alt(output)
    return copy


def _html_of(output: Any) -> str:
    return "".join(output.get("data", {}).get("text/html", ""))


def _give_alt(output: Any) -> None:
    alt = output.get("metadata", {}).get("image/png", {}).get("alt")
    png = output.get("data", {}).get("image/png")
    if alt and png:
        address = "data:image/png;base64," + "".join(png).replace("\n", "")
        image = f'<img alt="{html.escape(alt)}" src="{address}">'
        output["data"] = type(output["data"])({"text/html": image, "text/plain": alt})


@contextmanager
def canvas(height: float, width: float = WIDTH) -> Iterator[Canvas]:
    """Give an empty figure in the course's style; size in inches.

    It is never registered with pyplot, so there is nothing to close. The style belongs
    to the whole process: a thread that draws waits for the one before it.
    """
    with DRAWING, matplotlib.rc_context(STYLE):
        figure = Canvas(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        try:
            yield figure
        except TypeError as error:
            if "set_text" not in str(error):
                raise
            raise CourseError(
                "A name in the figure is no text: it holds half a character, as names "
                "from old archives do; rename the class or the file."
            ) from error


def finish(
    figure: Canvas, alt: str, graded: bool = False, colours: int = 256
) -> Figure:
    """Draw a figure into a small PNG and add its description.

    Args:
        figure: drawn on.
        alt: what it shows, made from its data.
        graded: see `to_png`.
        colours: of the palette; `FLAT` where there are lines and no pictures.
    """
    figure.canvas.draw()
    if powers := _powers(figure):
        for label in powers:
            label.set_parse_math(True)
        figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return Figure(to_png(image, colours, graded), alt)


def _powers(figure: Canvas) -> list[Text]:
    """Return the labels of logarithmic axes: of all texts, these alone are formulas."""
    axes = (axis for each in figure.axes for axis in (each.xaxis, each.yaxis))
    return [
        label
        for axis in axes
        if axis.get_scale() == "log"
        for label in axis.get_ticklabels(which="both")
        if label.get_text().startswith("$\\mathdefault{")
    ]


def to_png(image: Image.Image, colours: int = 256, graded: bool = False) -> bytes:
    """Return an image as optimised PNG bytes with a palette of at most `colours`.

    Args:
        image: any picture.
        colours: of the palette.
        graded: many colours that run into one another, as in a heat map: a palette
            spread over them all, which keeps a small patch of a colour of its own.
    """
    method = Image.Quantize.FASTOCTREE if graded else Image.Quantize.MEDIANCUT
    small = image.convert("RGB").quantize(colours, method, dither=Image.Dither.NONE)
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True)
    return file.getvalue()


def to_array(values: Any) -> np.ndarray:
    """Return numbers, a list or a tensor on any device as a NumPy array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        # NumPy has no bfloat16
        values = values.float() if values.dtype.is_floating_point else values
    try:
        array = np.asarray(values)
    except ValueError:  # lists of several lengths
        array = np.asarray(None)
    if array.dtype == object:
        raise CourseError(
            f"A figure was given {shown(values)}, which is no array of numbers; "
            "expected a tensor, an array or a list of numbers."
        )
    return array


def to_pixels(image: Any) -> np.ndarray:
    """Return an image as uint8 (H, W, 3).

    Args:
        image: PIL image, or uint8 values as (3, H, W), (H, W, 3) or (H, W).

    Raises:
        CourseError: for anything else, such as a normalised float tensor.
    """
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    pixels = to_array(image)
    if pixels.dtype != np.uint8:
        raise CourseError(
            f"A picture was expected as uint8 values from 0 to 255 and came as "
            f"{pixels.dtype}: pass the image as it was before preprocessing."
        )
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.ndim == 3 and pixels.shape[0] == 3:
        return np.moveaxis(pixels, 0, 2)
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return pixels
    raise CourseError(
        f"A picture was expected as (3, H, W) and came as {tuple(pixels.shape)}."
    )


def to_list(images: Any) -> list[np.ndarray]:
    """Return one image, a batch (N, 3, H, W) or a list as a list of (H, W, 3)."""
    if isinstance(images, Image.Image):
        return [to_pixels(images)]
    if not isinstance(images, (list, tuple)):
        images = to_array(images)
        if images.ndim < 4:
            return [to_pixels(images)]
    if len(images) == 0:
        raise CourseError("There is no picture to show: the list of images is empty.")
    return [to_pixels(image) for image in images]


def colour(index: int) -> str:
    """Return the colour of the series at `index`, starting again after the last."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Return the marker at `index`; it shifts when the colours start again."""
    return MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]


def number(value: float) -> str:
    """Write a number in three significant digits, as it should be read aloud."""
    value = float(value)
    if not np.isfinite(value):
        return "not a number" if np.isnan(value) else "infinite"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        size = int(np.floor(np.log10(abs(value)))) if value else 0
        digits = max(0, 2 - size)
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.2e}".replace("e-0", "e-").replace("e+0", "e+")


def listed(items: Sequence[str], most: int = 12) -> str:
    """Join items with commas, and count those after the first `most`."""
    shown = ", ".join(items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")
