"""Give the exercise cells of the chapters their metadata for nbgrader, in place.

    python tests/notebooks/stamp.py [NOTEBOOK ...]

Without names: every chapter. Stamping twice changes nothing more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

from course.copies import grading
from course.copies.chapters import read, tasks

FOLDER = Path(__file__).parents[2] / "notebooks"


def stamped(path: Path) -> str:
    """Return a chapter's text with the metadata in it."""
    notebook = read(path)
    grading.stamp(notebook, tasks(notebook, path.name))
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def main(names: Sequence[str]) -> int:
    """Stamp chapters and name those that changed."""
    paths = [Path(name) for name in names] or sorted(FOLDER.glob("[0-9]*.ipynb"))
    for path in paths:
        text = stamped(path)
        if text != path.read_text("utf-8"):
            place = path.with_name(f".{path.name}.part")
            place.write_text(text, encoding="utf-8", newline="\n")
            os.replace(place, path)
            print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
