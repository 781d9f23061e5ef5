"""One page on whether this machine is ready for the course (`course doctor`).

A list of small checks, each of which gives one `Line` and never fails itself. Nothing
here touches the network, loads torch before a check needs it, or leaves a file behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from course.doctor import files, hardware, jupyter, software, speed
from course.doctor.line import Line

CHECKS = (
    software.python,
    software.packages,
    software.constraints,
    software.imports,
    software.pair,
    jupyter.versions,
    jupyter.front_end,
    hardware.memory,
    hardware.cores,
    hardware.accelerator,
    files.home,
    files.weights_folder,
    files.data_folder,
    files.notebooks,
    files.shipped,
    files.cached,
    files.progress,
    *software.EXTRAS,
    speed.step,
    speed.chapters,
)


def examine() -> Iterator[Line]:
    """Yield the line of each check as soon as it is known, about ten seconds for all.

    A check that breaks becomes a line that says so.
    """
    for check in CHECKS:
        yield check()


def ready(lines: Iterable[Line]) -> bool:
    """Say whether nothing that the course needs is missing."""
    return not any(line.needed and line.ok is False for line in lines)
