"""Try a class on one machine: a hub, and learners who run a chapter on it.

    python deploy/jupyterhub/simulate.py --learners 10 --stagger 6 \
        --chapter notebooks/00_first_prediction.ipynb --kernel-python .venv/bin/python

The Python that runs this needs jupyterhub, jupyterlab and nbgitpuller, the one named by
--kernel-python the workbook; configurable-http-proxy comes from npm. Linux only. All is
on the loopback and in one folder, and ends with the command. It exits with 1 where a
learner met an error, a shared file changed, or somebody could read another's file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

import psutil
from simulated_hub import (
    GIB,
    Hub,
    Load,
    Room,
    SimulationError,
    fingerprint,
    measure,
    prepare,
    running,
)
from simulated_learner import COPY, PROBE, Learner, LearnerError, Visit
from tornado.httpclient import AsyncHTTPClient

SAMPLE_SECONDS = 2
REFUSED = (403, 404)


@dataclass
class Crowd:
    """All learners of a simulation, and what they share.

    Args:
        hub: see `Hub`.
        room: see `Room`.
        chapter: path in the repository.
        weights: one shipped file that nobody may write.
        door: lets so many in at once.
        inside: who has a copy that another might try to read.
        visits: of the learners, in the order of arrival.
        stopped: why the simulation was stopped early; empty where it was not.
    """

    hub: Hub
    room: Room
    chapter: str
    weights: Path
    door: asyncio.Semaphore
    inside: dict[str, str] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)
    stopped: str = ""


async def attend(crowd: Crowd, number: int) -> None:
    """Let one learner come, run the chapter and leave; errors go into its visit.

    Args:
        crowd: see `Crowd`.
        number: of the learner, from 1.
    """
    visit = Visit(f"learner-{number:02}")
    crowd.visits.append(visit)
    learner = Learner(visit.name, crowd.hub.url, visit)
    async with crowd.door:
        try:
            await learner.log_in(crowd.hub.password)
            await learner.start_server()
            await learner.pull(crowd.hub.repository)
            crowd.inside[visit.name] = learner.file(crowd.chapter)
            await learner.run(crowd.chapter, lambda: _probe(crowd, visit.name))
            await _try_to_read_another(crowd, learner)
        except (LearnerError, OSError, TimeoutError) as error:
            visit.errors.append(f"{type(error).__name__}: {error}")
        finally:
            crowd.inside.pop(visit.name, None)
            await learner.stop_server()


def _probe(crowd: Crowd, name: str) -> str:
    """Return what the learner's kernel is asked; the other's file is there for sure."""
    copies = (crowd.room.folder / "homes").glob(f"*/{COPY}/{crowd.chapter}")
    other = next((str(copy) for copy in copies if name not in copy.parts), "")
    return PROBE.format(other=other, weights=str(crowd.weights))


async def _try_to_read_another(crowd: Crowd, learner: Learner) -> None:
    others = [url for name, url in crowd.inside.items() if name != learner.name]
    if others:
        learner.visit.other_over_http = (await learner.ask(others[0])).code


async def watch(
    crowd: Crowd, load: Load, keep_free: float, everyone: asyncio.Future
) -> None:
    """Measure until cancelled; stop all learners where the memory of the machine ends.

    Args:
        crowd: see `Crowd`.
        load: is filled in.
        keep_free: in GiB.
        everyone: the learners; cancelled in need.
    """
    while True:
        await asyncio.to_thread(measure, crowd.hub.process, load)
        free = psutil.virtual_memory().available / GIB
        if free < keep_free:
            crowd.stopped = f"only {free:.1f} GiB of memory were left"
            everyone.cancel()
        await asyncio.sleep(SAMPLE_SECONDS)


async def simulate(options: argparse.Namespace, room: Room) -> dict:
    """Run the whole simulation and return its report.

    Args:
        options: as on the command line.
        room: see `Room`.
    """
    AsyncHTTPClient.configure(None, max_clients=4 * options.learners + 10)
    weights = _weights(room.kernel_python)
    shared = [*weights, *room.shared.glob("torch_home/**/*.*")]
    before, load = fingerprint(shared), Load()
    repository = prepare(room, options.chapter)
    async with running(room, repository) as hub:
        chapter = f"{options.chapter.parent.name}/{options.chapter.name}"
        door = asyncio.Semaphore(options.at_once)
        crowd = Crowd(hub, room, chapter, weights[0], door)
        began = time.perf_counter()
        everyone = asyncio.ensure_future(_arrive(crowd, options))
        watcher = asyncio.create_task(watch(crowd, load, options.keep_free, everyone))
        with suppress(asyncio.CancelledError):
            await everyone
        seconds = time.perf_counter() - began
        watcher.cancel()
    return {
        "stopped": crowd.stopped,
        "seconds": seconds,
        "unchanged": fingerprint(shared) == before,
        "shared_files": len(shared),
        "load": asdict(load),
        "visits": [asdict(visit) for visit in crowd.visits],
        "environment": environment(options, room),
    }


async def _arrive(crowd: Crowd, options: argparse.Namespace) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(1, options.learners + 1):
            group.create_task(attend(crowd, number))
            await asyncio.sleep(options.stagger)


def _weights(python: str) -> list[Path]:
    """Return the shipped weights of the workbook that a Python has installed."""
    code = "import course; print(course.__path__[0])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise SimulationError(
            f"{python} has no workbook; install it there, or name another Python with "
            "--kernel-python."
        )
    return sorted((Path(done.stdout.strip()) / "weights").glob("*.safetensors"))


def environment(options: argparse.Namespace, room: Room) -> dict[str, str]:
    """Return what the figures depend on: machine, versions, and the command's words."""
    versions = {n: metadata.version(n) for n in ("jupyterhub", "jupyterlab")}
    memory = psutil.virtual_memory().total / GIB
    return versions | {
        "python": platform.python_version(),
        "cores": f"{os.cpu_count()}",
        "memory": f"{memory:.0f} GiB",
        "learners": f"{options.learners}",
        "stagger": f"{options.stagger:g} s",
        "at_once": f"{options.at_once}",
        "profile": room.profile,
        "users": "one Unix user each" if room.own_users else "one Unix user for all",
    }


def spread(values: Sequence[float | None], unit: str) -> str:
    """Return the median and the largest of the values that are there, as words.

    Args:
        values: None where a learner did not come that far.
        unit: written behind both.
    """
    there = [value for value in values if value is not None]
    if not there:
        return "–"
    return f"{statistics.median(there):.0f} {unit}, at most {max(there):.0f} {unit}"


def through(report: dict) -> int:
    """Return how many learners ran every cell without an error."""
    return sum(v["end"] is not None and not v["errors"] for v in report["visits"])


def readings(report: dict) -> list[tuple[str, str]]:
    """Return the rows of the table that a report makes: what, and how much."""
    visits, load = report["visits"], report["load"]

    def over(name: str, unit: str) -> str:
        return spread([visit[name] for visit in visits], unit)

    codes = [v["other_over_http"] for v in visits if v["other_over_http"] is not None]
    refused = sum(code in REFUSED for code in codes)
    reads, writes = ([v[n] for v in visits if v[n] is not None] for n in ACCESS)
    return [
        ("learners who ran every cell", f"{through(report)} of {len(visits)}"),
        ("the whole crowd", f"{report['seconds']:.0f} s"),
        ("kernels at once", f"{load['most_kernels']}"),
        ("server ready", over("server", "s")),
        ("own copy there", over("copy", "s")),
        ("first figure", over("first_figure", "s")),
        ("end of the chapter", over("end", "s")),
        ("a kernel's time on one core", over("kernel_cpu", "s")),
        ("a kernel's peak resident memory", over("peak_mb", "MB")),
        ("a kernel's proportional memory (PSS)", over("pss_mb", "MB")),
        ("of it shared with nobody", over("private_mb", "MB")),
        ("a server without its kernel (PSS)", f"at most {load['server_mb']:.0f} MB"),
        ("all together (PSS)", f"{load['gib']:.1f} GiB with {load['kernels']} kernels"),
        ("another's file over the hub", f"refused {refused} of {len(codes)} times"),
        ("another's file on the disk", f"readable for {sum(reads)} of {len(reads)}"),
        ("shipped weights", f"writable for {sum(writes)} of {len(writes)}"),
        (
            f"the {report['shared_files']} shared files",
            "unchanged" if report["unchanged"] else "CHANGED",
        ),
    ]


ACCESS = ("reads_other", "writes_weights")


def went_well(report: dict) -> bool:
    """Say whether nobody met an error, nothing changed and nobody could read another.

    What one Unix user for all cannot keep apart does not count against it.
    """
    visits = report["visits"]
    codes = [v["other_over_http"] for v in visits if v["other_over_http"] is not None]
    apart = report["environment"]["users"] == "one Unix user each"
    open_to_all = apart and any(visit[name] for visit in visits for name in ACCESS)
    return (
        not report["stopped"]
        and through(report) == len(visits)
        and report["unchanged"]
        and all(code in REFUSED for code in codes)
        and not open_to_all
    )


def table(report: dict) -> str:
    """Return a report as Markdown, and below it what went wrong."""
    facts = ", ".join(f"{k} {v}" for k, v in report["environment"].items())
    lines = [facts, "", "| what | how much |", "|---|---|"]
    lines += [f"| {what} | {much} |" for what, much in readings(report)]
    wrong = [f"{v['name']}: {e}" for v in report["visits"] for e in v["errors"]]
    stopped = [f"Stopped early: {report['stopped']}."] if report["stopped"] else []
    return "\n".join([*lines, "", *stopped, *wrong])


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = top.add_argument
    add("--learners", type=int, default=10, help="default: %(default)s")
    add("--stagger", type=float, default=5, help="seconds between two arrivals")
    add("--at-once", type=int, default=8, help="the others wait at the door")
    add("--keep-free", type=float, default=3, help="GiB below which all is stopped")
    add("--chapter", type=Path, required=True, help="a notebook")
    add("--profile", choices=("smoke", "quick", "full"), default="quick")
    add("--kernel-python", default=sys.executable, help="where the workbook is")
    add("--proxy", default=shutil.which("configurable-http-proxy"), help="its path")
    add("--shared", type=Path, help="a folder with torch_home in it; default: empty")
    add("--one-user", action="store_true", help="as root, too: all under your own user")
    add("--folder", type=Path, help="new, and kept; default: removed afterwards")
    add("--out", type=Path, help="a file for the whole report, as JSON")
    return top


def check(options: argparse.Namespace) -> None:
    """Raise SimulationError where the command line or the machine does not allow it."""
    if not sys.platform.startswith("linux"):
        raise SimulationError("Memory is read from /proc, so this runs on Linux only.")
    if not options.chapter.is_file():
        raise SimulationError(f"There is no notebook {options.chapter}.")
    if options.learners < 1 or options.at_once < 1 or options.stagger < 0:
        raise SimulationError("Expected at least one learner, and no negative seconds.")
    if not options.proxy or not Path(options.proxy).is_file():
        raise SimulationError(
            "configurable-http-proxy was not found; `npm install "
            "configurable-http-proxy`, then name its path with --proxy."
        )


def check_open(*places: Path) -> None:
    """Raise SimulationError where a place cannot be entered by other Unix users."""
    for place in places:
        closed = [p for p in place.resolve().parents if not p.stat().st_mode & 0o001]
        if closed:
            raise SimulationError(
                f"{place} lies in {closed[0]}, which other Unix users may not enter; "
                "use another place, or --one-user."
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a simulation, print its table, and return 0 where all went well.

    Args:
        arguments: as on the command line; None for those of this process.
    """
    options = parser().parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="simulated-hub-"))
    folder = folder.resolve()
    try:
        check(options)
        (folder / "shared").mkdir(parents=True, exist_ok=True)
        room = Room(
            folder=folder,
            kernel_python=os.path.abspath(options.kernel_python),
            proxy=str(options.proxy),
            shared=(options.shared or folder / "shared").resolve(),
            profile=options.profile,
            own_users=os.geteuid() == 0 and not options.one_user,
        )
        if room.own_users:
            check_open(Path(sys.executable), Path(room.kernel_python), folder)
        report = asyncio.run(simulate(options, room))
    except SimulationError as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    finally:
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(table(report))
    return 0 if went_well(report) else 1


if __name__ == "__main__":
    sys.exit(main())
