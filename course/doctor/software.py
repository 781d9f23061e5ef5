"""Python, the packages and their versions, and whether they can be loaded at all."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from course.doctor import probe
from course.doctor.line import (
    ROOT,
    Found,
    Line,
    check,
    install,
    install_all,
    shown_python,
)

if TYPE_CHECKING:
    from packaging.requirements import Requirement

LEAST = (3, 11)
OURSELVES = "pretrained-workbook"
IMPORTED = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
PATIENCE = 300  # seconds for all imports: a cold disk of a network is slow
PAIR = ("torch", "torchvision")
OPTIONAL = {  # what it is for, and the extra of pyproject.toml that brings it
    "onnx": ("to export a model", "onnx"),
    "onnxscript": ("to export a model", "onnx"),
    "onnxruntime": ("to run an exported model", "onnx"),
    "timm": ("more pretrained models", "timm"),
    "huggingface_hub": ("models from the Hub", "hf"),
    "transformers": ("more models from the Hub", "hf"),
}
PROJECT = ROOT / "pyproject.toml"


def project(file: Path | None = None) -> list[str]:
    """Return which packages the course asks for, in pip's notation.

    They come from pyproject.toml beside the package or, in a copy without it, from
    what the installation noted.

    Args:
        file: a pyproject.toml; None for the one beside the package.
    """
    file = file or PROJECT
    if file.is_file():
        import tomllib  # not in the Pythons that are too old

        return tomllib.loads(file.read_text("utf-8"))["project"]["dependencies"]
    try:
        return metadata.requires(OURSELVES) or []
    except metadata.PackageNotFoundError:
        return []


def needed(file: Path | None = None) -> list[Requirement]:
    """Return the packages that the course needs on this system.

    Args:
        file: as for `project`.
    """
    from packaging.requirements import Requirement

    every = map(Requirement, project(file))
    applies = {"extra": ""}
    return [r for r in every if r.marker is None or r.marker.evaluate(applies)]


def module(package: str) -> str:
    """Return the name by which a package is imported."""
    return IMPORTED.get(package, package.replace("-", "_"))


def version(package: str) -> str:
    """Return the version of an installed package, or "" where there is none."""
    try:
        return metadata.version(package) or ""
    except metadata.PackageNotFoundError:
        return ""


@check("software.python", "Python")
def python(now: tuple[int, ...] | None = None) -> Found:
    """Look at Python's own version; nothing has to be installed for that.

    Args:
        now: the version's numbers; None for this Python's.
    """
    now = now or sys.version_info[:3]
    shown, least = (".".join(map(str, version)) for version in (now, LEAST))
    facts = {"version": shown, "needed": f">={least}"}
    if now >= LEAST:
        return Found(True, f"{shown} ({shown_python()})", "", facts)
    remedy = f"Install Python {least} or newer, and make the environment with it."
    text = f"{shown} ({shown_python()}); {least} or newer is needed"
    return Found(False, text, remedy, facts)


@check("software.packages", "packages")
def packages(file: Path | None = None) -> Found:
    """Look whether each needed package is there, in a version that the course can use.

    Args:
        file: as for `project`.
    """
    asked = needed(file)
    if not asked:
        text = "not to be checked: neither pyproject.toml nor the installation lists it"
        return Found(None, text)
    facts = {one.name: version(one.name) for one in asked}
    wrong = [one for one in asked if not _fits(one, facts[one.name])]
    if not wrong:
        return Found(True, f"all {len(asked)} that the course needs", "", facts)
    words = [f"{r.name} {facts[r.name] or 'is missing'} ({r.specifier})" for r in wrong]
    text = f"{len(wrong)} of {len(asked)} do not fit: {', '.join(words)}"
    return Found(
        False, text, install_all(f"{r.name}{r.specifier}" for r in wrong), facts
    )


def _fits(asked: Requirement, now: str) -> bool:
    return bool(now) and asked.specifier.contains(now, prereleases=True)


@check("software.constraints", "tested versions", needed=False)
def constraints(file: Path | None = None) -> Found:
    """Compare what is installed with the exact versions that the course was tested in.

    What is not installed is left out: most of the list are others' dependencies.

    Args:
        file: a constraints.txt; None for the one beside the package.
    """
    from packaging.version import Version

    file = file or ROOT / "constraints.txt"
    if not file.is_file():
        return Found(None, "not compared: this copy comes without constraints.txt")
    rows = re.findall(r"^([\w.-]+)==(\S+)", file.read_text("utf-8"), re.M)
    pairs = {name: (version(name), tested) for name, tested in rows}
    here = {name: pair for name, pair in pairs.items() if pair[0]}
    # A local part, as in 2.14.1+cpu, names the build and not another version.
    others = {
        name: f"{now} ({tested})"
        for name, (now, tested) in here.items()
        if Version(now).public != Version(tested).public
    }
    facts = {"compared": len(here), "differ": others}
    if not others:
        return Found(True, f"the {len(here)} installed are those tested", "", facts)
    listed = [f"{name} {text}" for name, text in others.items()]
    more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
    text = f"{len(others)} of {len(here)} are not those tested (in brackets): "
    remedy = install_all(others) if more else install(*others)
    return Found(False, text + ", ".join(listed[:4]) + more, remedy, facts)


@functools.cache
def loaded() -> Mapping[str, str]:
    """Return each needed module with what went wrong when it was imported, or "".

    A process of its own imports them, once: about five seconds.
    """
    # First what others need: where torch is broken, captum cannot be blamed.
    names = sorted((module(r.name) for r in needed()), key=_first)
    if "torchvision" in names:
        names.append(probe.NMS)
    return try_imports(names)


def _first(name: str) -> int:
    order = ("numpy", "torch", "torchvision")
    return order.index(name) if name in order else len(order)


def try_imports(names: Sequence[str]) -> dict[str, str]:
    """Return each module with what went wrong when a new process imported it, or "".

    A module that ends the process is named, and a new process goes on after it.

    Args:
        names: of modules, or `probe.NMS`.
    """
    results: dict[str, str] = {}
    while rest := [name for name in names if name not in results]:
        said, ending = _spawn(rest)
        for name, *outcome in said:
            results[name] = outcome[0] if outcome else ending
        results.setdefault(rest[0], ending)  # it may say nothing at all
    return results


def _spawn(names: Sequence[str]) -> tuple[list[list[str]], str]:
    """Return what the probe printed, and how it ended if it did so early."""
    command = [sys.executable, "-P", "-B", "-W", "ignore", probe.__file__, *names]
    # matplotlib writes a list of fonts wherever it is imported.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        surroundings = {**os.environ, "MPLCONFIGDIR": scratch}
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE,
                env=surroundings,
            )
            output, ending = done.stdout, _ending(done.returncode)
        except subprocess.TimeoutExpired as late:
            output, ending = late.stdout or b"", f"it takes over {PATIENCE} seconds"
    lines = output.decode("utf-8", "replace").splitlines()
    rows = (line.split("\t") for line in lines if line.startswith(f"{probe.MARK}\t"))
    return [row[1:] for row in rows], ending


def _ending(status: int) -> str:
    if status >= 0:
        return f"it ends Python (status {status})"
    try:
        return f"it crashes Python ({signal.Signals(-status).name})"
    except ValueError:
        return f"it crashes Python (signal {-status})"


@check("software.imports", "packages load")
def imports(results: Mapping[str, str] | None = None) -> Found:
    """Look whether each needed package can be imported.

    Args:
        results: as `try_imports` returns them; None for those of here.
    """
    results = loaded() if results is None else results
    every = {name: error for name, error in results.items() if name != probe.NMS}
    bad = {name: error for name, error in every.items() if error}
    if not bad:
        return Found(True, f"all {len(every)} can be imported", "", {"broken": {}})
    name, error = next(iter(bad.items()))
    more = f"; nor do {', '.join(list(bad)[1:])}" if len(bad) > 1 else ""
    package = {name: package for package, name in IMPORTED.items()}.get(name, name)
    remedy = _again(*PAIR) if name in PAIR else _again(package)
    return Found(False, f"{name} does not load: {error}{more}", remedy, {"broken": bad})


def _again(*packages: str) -> str:
    command = install("--force-reinstall", *packages)
    return command + (_wheels() if packages == PAIR else "")


def _wheels() -> str:
    """Return where pip finds torch without CUDA, if this one is without."""
    cpu = version("torch").endswith("+cpu")
    return " --index-url https://download.pytorch.org/whl/cpu" if cpu else ""


def torch_problem() -> str:
    """Return why torch cannot be used here, or "" where it can."""
    if not version("torch"):
        return "it is not installed"
    return loaded().get("torch", "")


@check("software.pair", "torch and torchvision")
def pair(results: Mapping[str, str] | None = None) -> Found:
    """Look whether torch and torchvision belong together.

    Their numbers have to fit by what torchvision's own metadata asks for, and an
    operation that torchvision compiled against torch has to run.

    Args:
        results: as for `imports`.
    """
    now = {name: version(name) for name in PAIR}
    text = f"{now['torch'] or 'none'} and {now['torchvision'] or 'none'}"
    remedy = install(*PAIR) + _wheels()
    if not all(now.values()):
        return Found(False, f"{text} installed; both are needed", remedy, now)
    wanted = _wanted_torch()
    if wanted and not _fits(wanted, now["torch"]):
        text += f": this torchvision is for torch{wanted.specifier}"
        return Found(False, text, remedy, now)
    results = loaded() if results is None else results
    if results.get("torch"):
        return Found(None, f"{text}; not tried: torch does not load", "", now)
    if error := results.get(probe.NMS):
        text += f" do not work together: nms fails ({error})"
        return Found(False, text, _again(*PAIR), now)
    return Found(True, f"{text}; nms runs", "", now)


def _wanted_torch() -> Requirement | None:
    from packaging.requirements import Requirement

    every = map(Requirement, metadata.requires("torchvision") or [])
    return next((one for one in every if one.name == "torch"), None)


def _extras() -> Iterator[Callable[..., Line]]:
    for package, (use, extra) in OPTIONAL.items():
        yield _extra(package, use, extra)


def _extra(package: str, use: str, group: str) -> Callable[..., Line]:
    @check(f"extras.{package}", package, needed=False)
    def extra() -> Found:
        now = version(package)
        if now:
            return Found(True, f"{now}: {use}", "", {"version": now})
        text = f"not installed; {use}: pip install {_named(package, group)}"
        return Found(None, text, "", {"version": ""})

    return extra


def _named(package: str, group: str) -> str:
    return f"-e '.[{group}]'" if PROJECT.is_file() else package


EXTRAS = tuple(_extras())
