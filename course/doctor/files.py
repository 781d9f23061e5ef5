"""Room and write access where files go, and the files that should be there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from course.doctor.line import Found, check, export, sentence
from course.doctor.software import torch_problem

GIGA = 1e9
LEAST = 0.2  # GB at home: Jupyter's own files, notebooks, progress
ROOM = 1.0  # GB for weights or data: VGG16, the largest in the chapters, is 0.55
WEIGHTS = Path(__file__).parents[1] / "weights"
NAMED = re.compile(r"-([0-9a-f]{8,64})\.(?:pth|pt|safetensors)$")  # by torch.hub
AGAIN = "Copy course/weights anew; in a clone: git checkout -- course/weights"


def _place(folder: Path, least: float, remedy: str) -> Found:
    """Look at the room in a folder and write a file there, which is removed at once.

    A folder that is not there yet is not made: the nearest one above it is looked at.
    """
    near = folder
    while not os.path.exists(near) and near != near.parent:
        near = near.parent
    free = shutil.disk_usage(near).free / GIGA
    facts = {"free_gb": round(free, 2), "exists": near == folder, "writable": False}
    try:
        with tempfile.TemporaryFile(dir=near, prefix=".course-doctor-") as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Found(
            False, f"{folder}: cannot be written ({sentence(error)})", remedy, facts
        )
    facts["writable"] = True
    able = "can be written" if near == folder else "can be made"
    text = f"{folder}: {free:.1f} GB free, {able}"
    if free < least:
        return Found(False, f"{text}; {least} GB wanted", remedy, facts)
    return Found(True, text, "", facts)


@check("files.home", "home folder")
def home(folder: Path | None = None) -> Found:
    """Look at the home folder, where Jupyter keeps what it needs to run.

    Args:
        folder: None for the reader's own.
    """
    remedy = "Make room there, or ask whoever runs this machine for access."
    return _place(folder or Path.home(), LEAST, remedy)


@check("files.weights_folder", "weights cache", needed=False)
def weights_folder(folder: Path | None = None) -> Found:
    """Look at the folder for weights that the reader asks for.

    Args:
        folder: None for torch.hub's.
    """
    from course import fetch

    remedy = f"For further models only: make room, or {export('TORCH_HOME', 'FOLDER')}"
    return _place(folder or fetch.weights_folder(), ROOM, remedy)


@check("files.data_folder", "data folder", needed=False)
def data_folder(folder: Path | None = None) -> Found:
    """Look at the folder for data sets that the reader asks for.

    Args:
        folder: None for the course's.
    """
    from course import fetch

    remedy = f"For further data only: make room, or {export('COURSE_DATA', 'FOLDER')}"
    return _place(folder or fetch.data_folder(), ROOM, remedy)


@check("files.notebooks", "notebooks")
def notebooks() -> Found:
    """Count the chapters and look whether answers can be saved in them."""
    from course import runner

    folder = runner.notebooks_folder()
    count = len(runner.find_chapters([], folder))
    remedy = "Copy the workbook to a folder of yours."
    answer = _place(folder, LEAST, remedy)
    text = f"{count} in {answer.found}"
    return answer._replace(found=text, facts={**answer.facts, "chapters": count})


@check("files.shipped", "shipped weights")
def shipped(folder: Path = WEIGHTS, names: Sequence[str] | None = None) -> Found:
    """Compare the backbones that come with the course with the hashes on their cards.

    Args:
        folder: with checkpoints and cards.
        names: that should be there; None for the course's.
    """
    if names is None:
        names = _expected(folder)
    wrong = {name: reason for name in names if (reason := _damage(folder, name))}
    facts = {"files": len(names), "wrong": wrong}
    if not names:
        return Found(False, f"none in {folder}", AGAIN, facts)
    if wrong:
        listed = [f"{name} ({reason})" for name, reason in wrong.items()]
        text = f"{len(wrong)} of {len(names)} wrong: {', '.join(listed)}"
        return Found(False, text, AGAIN, facts)
    return Found(True, f"{len(names)}, each as its card says", "", facts)


def _expected(folder: Path) -> list[str]:
    """Return the names that should be there, as far as this can be known."""
    seen = {path.stem for path in folder.glob("resnet*.*")}
    if not torch_problem():
        from course import models

        seen |= set(models.SHIPPED)
    return sorted(seen)


def _damage(folder: Path, name: str) -> str:
    """Return what is wrong with a checkpoint or its card, or ""."""
    try:
        card = json.loads((folder / f"{name}.json").read_text("utf-8"))
        expected = card["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "no card"
    try:
        content = (folder / f"{name}.safetensors").read_bytes()
    except OSError:
        return "no file"
    if hashlib.sha256(content).hexdigest() != expected:
        return "truncated or altered"
    return ""


@check("files.cached", "cached weights", needed=False)
def cached(folder: Path | None = None) -> Found:
    """Compare torch.hub's files with the first digits of their hash in their names.

    Args:
        folder: None for torch.hub's.
    """
    from course import fetch

    folder = folder or fetch.weights_folder()
    files = sorted(path for path in folder.glob("*") if path.is_file())
    named = {path: match[1] for path in files if (match := NAMED.search(path.name))}
    if not named:
        text = "none; the chapters need none (course prefetch brings some)"
        return Found(None, text, "", {"files": 0})
    wrong = [
        path.name
        for path, digits in named.items()
        if not fetch.matches(path, f"sha256:{digits}")
    ]
    size = sum(path.stat().st_size for path in named) / 1e6
    facts = {"files": len(named), "megabytes": round(size, 1), "wrong": wrong}
    if wrong:
        text = f"{len(wrong)} of {len(named)} are not what their names say: "
        remedy = "Delete them; `course prefetch` fetches them again."
        return Found(False, text + ", ".join(wrong), remedy, facts)
    count = f"{len(named)} files" if len(named) > 1 else "one file"
    return Found(True, f"{count}, {size:.0f} MB, hashes right", "", facts)


@check("files.progress", "progress file", needed=False)
def progress() -> Found:
    """Look whether the reader's progress can be read; what it holds is nobody's."""
    from course import progress as kept

    place = kept.path()
    if place is None:
        return Found(None, f"none is kept: {kept.VARIABLE} is empty")
    kept.load()
    if not place.exists():
        return Found(None, f"none yet; the first check makes {kept.shown(place)}")
    return Found(True, f"{kept.shown(place)} can be read")
