"""A counter-example as the reader sees it: a small table, and a picture for a map."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from course.exercises.compare import TOLERANCE, quoted

CELLS = 12  # rows and columns of numbers that a table shows
SIDE = 160  # pixels of a picture
CELL = "padding:2px 8px;text-align:right"


def page(arguments: Sequence[tuple[str, Any]], found: Any, expected: Any) -> str:
    """Return the table of one case as HTML: what went in, came out, and should have.

    Args:
        arguments: names and values that the answer was called with.
        found: what came out; an exception is shown by its name.
        expected: what should have.
    """
    rows = [_row(name, _shown(value)) for name, value in arguments]
    rows.append(_row("found", _shown(found, expected)))
    rows.append(_row("expected", _shown(expected)))
    caption = '<caption style="text-align:left">Counter-example</caption>'
    return f"<table>{caption}{''.join(rows)}</table>"


def _row(name: str, cell: str) -> str:
    return (
        f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{cell}</td></tr>'
    )


def _shown(value: Any, expected: Any = None) -> str:
    numbers = _numbers(value)
    if numbers is None:
        return html.escape(quoted(value))
    other = None if expected is None else _numbers(expected)
    if other is not None and other.shape != numbers.shape:
        other = None
    if _is_picture(numbers):
        return _picture(numbers)
    # (3, 1, 1) reads best as a row; a shape that is wrong is named in the message.
    if numbers.ndim > 2:
        numbers = numbers.squeeze()
        other = None if other is None else other.squeeze()
    if numbers.ndim in (1, 2) and max(numbers.shape) <= CELLS:
        return _grid(np.atleast_2d(numbers), other)
    return html.escape(quoted(value))


def _numbers(value: Any) -> np.ndarray[Any, Any] | None:
    """Return a value as an array where it is one, or a plain list of numbers."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    try:
        numbers = np.asarray(value)
    except Exception:
        return None
    fits = numbers.dtype.kind in "fiub" and numbers.ndim and numbers.size
    return numbers if fits else None


def _is_picture(numbers: np.ndarray[Any, Any]) -> bool:
    if numbers.ndim == 4 and len(numbers) == 1:
        numbers = numbers[0]
    flat = numbers.ndim == 2 or (numbers.ndim == 3 and numbers.shape[0] in (1, 3))
    return bool(flat and min(numbers.shape[-2:]) >= 6 and max(numbers.shape) > CELLS)


def _picture(numbers: np.ndarray[Any, Any]) -> str:
    """Return a map or an image as a PNG, black the smallest and white the largest."""
    numbers = np.nan_to_num(numbers.astype(float).reshape(-1, *numbers.shape[-2:]))
    low, high = float(numbers.min()), float(numbers.max())
    grey = np.uint8(255 * (numbers - low) / ((high - low) or 1.0))
    grey = np.moveaxis(grey, 0, -1)
    image = Image.fromarray(grey if grey.shape[-1] == 3 else grey[..., 0])
    image = image.resize((SIDE, SIDE), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    size = " × ".join(str(n) for n in numbers.shape[-2:])
    alt = f"{size} values from {low:.3g} (black) to {high:.3g} (white)"
    return f'<img alt="{alt}" src="data:image/png;base64,{text}">'


def _grid(numbers: np.ndarray[Any, Any], expected: np.ndarray[Any, Any] | None) -> str:
    """Return numbers as a table; those that were expected otherwise are marked."""
    wrong = np.zeros(numbers.shape, bool)
    if expected is not None:
        close = np.isclose(numbers, np.atleast_2d(expected), TOLERANCE, TOLERANCE, True)
        wrong = ~close
    rows = [
        "".join(_cell(number, bad) for number, bad in zip(line, marks, strict=True))
        for line, marks in zip(numbers, wrong, strict=True)
    ]
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _cell(number: Any, wrong: bool) -> str:
    text = html.escape(f"{number:.4g}" if number.dtype.kind == "f" else str(number))
    return f'<td style="{CELL}">{f"<b>✗ {text}</b>" if wrong else text}</td>'
