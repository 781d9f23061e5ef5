"""One line of the doctor's page, and how a check becomes one whatever happens in it."""

from __future__ import annotations

import functools
import getpass
import os
import platform
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from course.errors import CourseError

ROOT = Path(__file__).parents[2]  # the checkout, where this is one
REPORT = "Run it again; if it stays so, report this line."


@dataclass(frozen=True)
class Line:
    """What one check found.

    Args:
        key: a stable name, such as ``"machine.memory"``; the part before the point is
            the section of the page.
        ok: True: well. False: not well. None: not needed here, or not to be found out.
        title: what was looked at, in two or three words.
        found: what is there, for people.
        remedy: a command or a sentence; empty where nothing is to be done.
        needed: whether the course cannot do without it.
        facts: the same as ``found`` for programs: numbers and versions by name.
    """

    key: str
    ok: bool | None
    title: str
    found: str
    remedy: str = ""
    needed: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)


class Found(NamedTuple):
    """The answer of a check, before its key and title are put to it (see `Line`)."""

    ok: bool | None
    found: str
    remedy: str = ""
    facts: Mapping[str, Any] = {}


def check(
    key: str, title: str, *, needed: bool = True
) -> Callable[[Callable[..., Found]], Callable[..., Line]]:
    """Make a function that looks at one thing a check, which returns a `Line`.

    What the function raises becomes the line: a missing package with the command that
    installs it, anything else in one sentence.

    Args:
        key: see `Line`.
        title: see `Line`.
        needed: see `Line`.
    """

    def made(look: Callable[..., Found]) -> Callable[..., Line]:
        @functools.wraps(look)
        def line(*arguments: Any, **options: Any) -> Line:
            found = _answer(look, *arguments, **options)
            texts = tidy(found.found), tidy(found.remedy)
            return Line(key, found.ok, title, *texts, needed, tidy(found.facts))

        return line

    return made


def _answer(look: Callable[..., Found], *arguments: Any, **options: Any) -> Found:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return look(*arguments, **options)
    except CourseError as error:
        return _split(str(error))
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing == "course":
            return Found(False, f"This check broke: {sentence(error)}.", REPORT)
        return Found(False, f"{missing} cannot be imported.", install_all([missing]))
    except Exception as error:  # whatever it is, the page goes on
        return Found(False, f"This check broke: {sentence(error)}.", REPORT)


def _split(message: str) -> Found:
    """Return the two parts of a message: what was wrong, and what to do."""
    found, _, remedy = re.sub(r"[;.] ", "\n", message, count=1).partition("\n")
    remedy = remedy[:1].upper() + remedy[1:]
    return Found(False, found.rstrip("."), remedy or REPORT)


def sentence(error: BaseException) -> str:
    """Return the kind and the first line of an error, at most 200 characters.

    Of what the system refused, the system's own words are enough.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    words = str(error)
    first = next((line.strip() for line in words.splitlines() if line.strip()), "")
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return text[:200].rstrip(". ")


def install(*packages: str) -> str:
    """Return the command that installs packages.

    It names this Python, and the tested versions where their list is there.

    Args:
        packages: such as ``"torch"`` or ``"--force-reinstall", "torch"``.
    """
    return _pip(*(shlex.quote(package) for package in packages))


def install_all(otherwise: Iterable[str]) -> str:
    """Return the command that installs all that the course needs.

    Args:
        otherwise: what it installs where this is no checkout.
    """
    if (ROOT / "pyproject.toml").is_file():
        return _pip(f"-e {_quoted(ROOT)}")
    return install(*otherwise)


def _pip(*words: str) -> str:
    tested = ROOT / "constraints.txt"
    limit = [f"-c {_quoted(tested)}"] if tested.is_file() else []
    return " ".join([shown_python(), "-m pip install", *limit, *words])


def shown_python() -> str:
    """Return how this Python is called on a command line here."""
    return _quoted(Path(sys.executable)) if sys.executable else "python"


def _quoted(path: Path) -> str:
    """Return a path for a command line, from the current folder where it is inside."""
    if path == Path.cwd():
        return "."
    inside = path.is_relative_to(Path.cwd())
    text = str(path.relative_to(Path.cwd())) if inside else tidy(str(path))
    # In quotes a shell leaves ~ as it is.
    return f'"{text.replace("~", "$HOME", 1)}"' if " " in text else text


def export(name: str, value: str) -> str:
    """Return the line that sets a variable in the shell of this system.

    Args:
        name: of the variable.
        value: without blanks.
    """
    windows = sys.platform == "win32"
    return f'$env:{name} = "{value}"' if windows else f"export {name}={value}"


def tidy(value: Any) -> Any:
    """Return texts without the home folder, the user's name or the machine's.

    Args:
        value: a text, or a list or a mapping of texts; numbers stay as they are.
    """
    if isinstance(value, list):
        return [tidy(inner) for inner in value]
    if isinstance(value, Mapping):
        return {tidy(key): tidy(inner) for key, inner in value.items()}
    if not isinstance(value, str):
        return value
    for home in _homes():
        value = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", value)
    for name in filter(None, (_user(), platform.node())):
        # Only as a part of a path: a user may be called torch.
        value = re.sub(rf"(?<=[/\\]){re.escape(name)}(?![\w.-])", "…", value)
    return value


def _homes() -> list[str]:
    home = os.path.expanduser("~")
    known = {home, os.path.realpath(home)} - {"~", "/", os.path.realpath("~")}
    return sorted(known, key=len, reverse=True)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return ""
