"""Seal a module: what it does is decoded in memory, and cannot be read in its file."""

from __future__ import annotations

import ast
import base64
import hashlib
import textwrap
import zlib
from collections.abc import Iterator
from pathlib import Path

# A sealed module opens itself, so that a student copy needs nothing of this package.
SEALED = '''"""{title}

Sealed, as in every student copy: the answers cannot be read in this file. The chapter
runs with them, its checks and hints work as ever. Ask your teacher for the open one.
"""

import base64
import hashlib
import zlib

from course.errors import CourseError

NAME = "{name}"
DIGEST = "{digest}"
TEXT = """
{text}
"""


def opened() -> str:
    """Return what is sealed here; it has to be as it was sealed."""
    text = "".join(TEXT.split()).encode()
    if hashlib.sha256(text).hexdigest() != DIGEST:
        raise CourseError(
            f"The file of {{NAME}} was changed or is damaged; expected it as it came. "
            "Copy it again from the folder that you were given."
        )
    data = base64.b85decode(text)
    key = hashlib.shake_256(NAME.encode()).digest(len(data))
    return zlib.decompress(bytes(a ^ b for a, b in zip(data, key))).decode()


exec(compile(opened(), f"<sealed {{NAME}}>", "exec", dont_inherit=True), globals())
'''
WIDTH = 88
# What stands in a student copy in the place of this package.
CLOSED = '''"""No copies can be made of a student copy: its answers are sealed."""

from course.errors import CourseError

raise CourseError(
    "This is a student copy: its answers are sealed, and no copies can be made of it. "
    "Run `course student` in the workbook that it came from."
)
'''


def open_modules(folder: Path) -> set[str]:
    """Return the exercises' modules that hold no answers: `base`, and what it needs.

    All others are sealed, also one that is new and that nobody thought of.

    Args:
        folder: ``course/exercises``.
    """
    found, waiting = {"__init__"}, ["base"]
    while waiting:
        name = waiting.pop()
        path = folder / f"{name}.py"
        if name not in found and path.is_file():
            found.add(name)
            waiting += _neighbours(ast.parse(path.read_text("utf-8")))
    return found


def _neighbours(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "course.exercises":
                yield from (alias.name for alias in node.names)
            elif node.module.startswith("course.exercises."):
                yield node.module.rpartition(".")[2]


def sealed(source: str, name: str) -> str:
    """Return the sealed form of a module's source.

    Args:
        source: its text.
        name: of the module, such as ``"course.exercises.choosing"``.
    """
    data = zlib.compress(source.encode(), 9)
    text = base64.b85encode(_mixed(data, name))
    title = (ast.get_docstring(ast.parse(source)) or name).partition("\n")[0]
    return SEALED.format(
        title=title,
        name=name,
        digest=hashlib.sha256(text).hexdigest(),
        text="\n".join(textwrap.wrap(text.decode(), WIDTH, break_on_hyphens=False)),
    )


def _mixed(data: bytes, name: str) -> bytes:
    key = hashlib.shake_256(name.encode()).digest(len(data))
    return bytes(a ^ b for a, b in zip(data, key, strict=True))
