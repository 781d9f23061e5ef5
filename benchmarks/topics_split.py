"""Which modules the topics task of chapter 09 learns from, and which it tests on.

    python benchmarks/topics_split.py

Applies `docstrings.split` to the running Python's library and writes
`course/tables/topics.json`. Whoever does so has to pretrain `words-transformer` again,
which must not have read the test part, and to run `benchmarks/sentiment.py` after it.
"""

from __future__ import annotations

import json
import platform

from course.data import docstrings
from course.data.texts import KINDS


def main() -> None:
    """Split the library's modules, and write the table."""
    places = docstrings.split(docstrings.labelled())
    parts = {k: sorted(m for m, kind in places.items() if kind == k) for k in KINDS}
    table = {"python": platform.python_version(), "parts": parts}
    docstrings.SPLIT.write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    print({kind: len(modules) for kind, modules in parts.items()})


if __name__ == "__main__":
    main()
