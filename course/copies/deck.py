"""Slides of a chapter: which cells go together, in one page that needs no file."""

from __future__ import annotations

import ast
import base64
import binascii
import html
import math
import re
from collections.abc import Iterator
from string import Template
from typing import Any

from nbformat.v4 import new_markdown_cell

from course import execution, plots
from course.copies.folder import TEXTS

LINES = 20  # of a slide; what has more starts another one, or is scrolled
LETTERS = 88  # of a line of prose
PIXELS = 34  # of a picture for a line
MOST = 13  # lines that a picture takes, since it is shrunk to them


def cut(notebook: Any) -> None:
    """Give each cell its place in the slides, in place.

    A heading starts a slide, and so does what no longer fits. A cell of prose is cut
    before each of its headings. Cells that only set up are skipped.

    Args:
        notebook: as nbformat reads it.
    """
    cells = [part for cell in notebook["cells"] for part in _parts(cell)]
    used = 0.0
    for cell in cells:
        lines = _lines(cell)
        if _is_setting_up(cell):
            kind = "skip"
        elif cell["cell_type"] == "markdown" and cell["source"].startswith("#"):
            kind, used = "slide", lines
        elif used == 0 or used + lines > LINES:
            kind, used = "subslide", lines
        else:
            kind, used = "-", used + lines
        cell["metadata"]["slideshow"] = {"slide_type": kind}
    notebook["cells"] = cells


def _parts(cell: Any) -> list[Any]:
    if cell["cell_type"] != "markdown":
        return [cell]
    texts = re.split(r"^(?=#{1,3} )", cell["source"], flags=re.M)
    kept = [text.strip() for text in texts if text.strip()]
    cells = [new_markdown_cell(text) for text in kept]
    for place, part in enumerate(cells):
        part["id"] = cell["id"] if place == 0 else f"{cell['id'][:50]}-{place}"
    return cells


def _is_setting_up(cell: Any) -> bool:
    if cell["cell_type"] != "code":
        return False
    try:
        body = ast.parse(cell["source"]).body
    except SyntaxError:
        return False
    imports = all(isinstance(node, ast.Import | ast.ImportFrom) for node in body)
    return imports or "parameters" in cell["metadata"].get("tags", [])


def _lines(cell: Any) -> float:
    """Return how many lines of a slide a cell takes, roughly."""
    if cell["cell_type"] == "markdown":
        return _prose(cell["source"])
    hidden = cell["metadata"].get("jupyter", {}).get("source_hidden")
    source = 0 if hidden else 0.8 * len(cell["source"].splitlines()) + 1
    return source + sum(_output(output) for output in cell.get("outputs", []))


def _prose(text: str) -> float:
    lines = 0.0
    for block in re.split(r"\n\s*\n", text):
        rows = block.splitlines()
        short = all(re.match(r"([-*>|#]|\d+\.) ?", row) for row in rows)
        joined = rows if short else [" ".join(rows)]
        lines += sum(math.ceil(len(row) / LETTERS) for row in joined) + 0.5
        lines += 1.5 * ("$$" in block) + 1 * block.startswith("#")
    return lines


def _output(output: Any) -> float:
    data = output.get("data", {})
    if "image/png" in data:
        return min(MOST, _height(data["image/png"]) / PIXELS)
    if "text/html" in data:
        return max(1.5, 1.3 * data["text/html"].count("<tr"))
    text = output.get("text", data.get("text/markdown", data.get("text/plain", "")))
    return 0.8 * len(text.splitlines())


def _height(png: str) -> int:
    """Return the height of a picture in pixels, out of its header."""
    try:
        head = base64.b64decode(png[:64])
    except binascii.Error:
        return 0
    return int.from_bytes(head[20:24], "big")


def page(notebook: Any, title: str) -> str:
    """Return the slides of a notebook as one HTML page.

    Without JavaScript, and on paper, they stand one under the other.

    Args:
        notebook: with the places that `cut` gave its cells.
        title: where the notebook opens with no heading.
    """
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    exporter = HTMLExporter(
        template_name="basic",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    shown = plots.described(notebook)
    sections = []
    for number, cells in enumerate(_slides(shown), start=1):
        shown["cells"] = cells
        body = exporter.from_notebook_node(shown)[0]
        sections.append(f'<section tabindex="-1" id="{number}">{body}</section>')
    style, script, frame = (
        (TEXTS / name).read_text("utf-8")
        for name in ("deck.css", "deck.js", "deck.html")
    )
    return Template(frame).substitute(
        title=html.escape(execution.heading(notebook) or title),
        style=style + HtmlFormatter().get_style_defs(".highlight"),
        mathjax=html.escape(exporter.mathjax_url),
        sections="\n".join(sections),
        script=script,
    )


def _slides(notebook: Any) -> Iterator[list[Any]]:
    cells: list[Any] = []
    for cell in notebook["cells"]:
        kind = cell["metadata"].get("slideshow", {}).get("slide_type", "-")
        if kind in ("slide", "subslide") and cells:
            yield cells
            cells = []
        if kind != "skip":
            cells.append(cell)
    if cells:
        yield cells
