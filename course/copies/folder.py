"""Build a folder beside its place, and move it there when it is whole."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course.copies import seal
from course.errors import CourseError

MARK = ".made-by-course-student"  # only a folder that has it is ever replaced
LICENCES = ("LICENSE", "LICENSE-CONTENT")
TEXTS = Path(__file__).parent / "texts"
TESTING = "project.optional-dependencies"


@contextmanager
def building(out: Path, *, force: bool = False) -> Iterator[Path]:
    """Give an empty folder to build in; at the end it takes the place of `out`.

    Whatever goes wrong, `out` is then as it was, and nothing half-made is left.

    Args:
        out: where the folder is wanted.
        force: whether an earlier copy there may be replaced.

    Raises:
        CourseError: something else is there.
    """
    out = Path(os.path.abspath(out))
    _check(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        made = place / "made"
        made.mkdir()
        (made / MARK).write_text("`course student --force` may replace this folder.\n")
        yield made
        _check(out, force)  # it took a while
        if out.exists():
            os.replace(out, place / "before")
        os.replace(made, out)
    finally:
        if (place / "before").exists() and not out.exists():
            os.replace(place / "before", out)
        shutil.rmtree(place, ignore_errors=True)


def _check(out: Path, force: bool) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise CourseError(f"{out} is no folder; name another one.")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / MARK).is_file():
        raise CourseError(
            f"The folder {out} holds other files than an earlier copy; nothing was "
            "written. Name an empty or a new folder."
        )
    if not force:
        raise CourseError(
            f"The folder {out} holds an earlier copy; give --force to replace it, with "
            "all that was done in it, or name another folder."
        )


def copy_package(root: Path, made: Path, *, closed: bool) -> None:
    """Copy the package, with its answers sealed or open.

    Args:
        root: of the workbook.
        made: the folder that gets ``course/``.
        closed: whether to seal every module that holds reference answers.
    """
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.partial.safetensors")
    shutil.copytree(root / "course", made / "course", ignore=ignored)
    if closed:
        _close(made / "course")


def _close(package: Path) -> None:
    shutil.rmtree(package / "copies")
    (package / "copies").mkdir()
    write(package / "copies" / "__init__.py", seal.CLOSED)
    stays = seal.open_modules(package / "exercises")
    for path in sorted((package / "exercises").glob("*.py")):
        if path.stem not in stays:
            source, name = path.read_text("utf-8"), f"course.exercises.{path.stem}"
            write(path, seal.sealed(source, name))


def copy_settings(root: Path, made: Path) -> None:
    """Copy what an installation needs, without what only tests need.

    Args:
        root: of the workbook.
        made: the folder.
    """
    for name in ("constraints.txt", *LICENCES):
        shutil.copyfile(root / name, made / name)
    shutil.copyfile(TEXTS / "Makefile", made / "Makefile")
    project = (root / "pyproject.toml").read_text("utf-8")
    write(made / "pyproject.toml", _without_tests(project))
    conda = (root / "environment.yml").read_text("utf-8").splitlines(keepends=True)
    tests = _test_packages(project)
    kept = [line for line in conda if _package(line) not in tests]
    write(made / "environment.yml", "".join(kept))


def write(path: Path, text: str) -> None:
    """Write a text file that is the same on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")


def _sections(project: str) -> list[str]:
    """Split a TOML file before each of its headings."""
    return re.split(r"^(?=\[)", project, flags=re.M)


def _without_tests(project: str) -> str:
    tools = (f"[{TESTING}", "[tool.ruff", "[tool.pytest")
    return "".join(s for s in _sections(project) if not s.startswith(tools))


def _test_packages(project: str) -> set[str]:
    listed = "".join(s for s in _sections(project) if s.startswith(f"[{TESTING}"))
    return set(re.findall(r'^\s+"([\w-]+)', listed, re.M))


def _package(line: str) -> str:
    found = re.match(r"\s+- ([\w-]+)", line)
    return found[1] if found else ""
