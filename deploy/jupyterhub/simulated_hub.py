"""A hub for a simulation: started, watched, and ended with all that it started."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tornado.httpclient import AsyncHTTPClient

HERE = Path(__file__).parent
PATIENCE = 60  # seconds for the hub to answer, and to end
GIB = 2**30


class SimulationError(RuntimeError):
    """The simulation cannot be carried out; the message says what is missing."""


@dataclass(frozen=True)
class Room:
    """What a simulated hub is made of.

    Args:
        folder: an existing folder, for all that is written.
        kernel_python: the Python in which the workbook is installed.
        proxy: the path of configurable-http-proxy.
        shared: the folder that holds ``torch_home``.
        profile: of the chapters.
        own_users: every learner under a Unix user of its own; needs root.
    """

    folder: Path
    kernel_python: str
    proxy: str
    shared: Path
    profile: str
    own_users: bool


@dataclass(frozen=True)
class Hub:
    """A running hub.

    Args:
        url: its address, without a slash at the end.
        password: everybody's.
        process: the hub's own; everything else descends from it.
        repository: the address from which learners pull their copies.
    """

    url: str
    password: str
    process: psutil.Process
    repository: str


@dataclass
class Load:
    """The most that was seen at once.

    Args:
        gib: proportional memory of the hub and all that descends from it.
        kernels: how many ran at that moment.
        most_kernels: the most at any moment.
        server_mb: the most proportional memory of a learner's server, without kernel.
    """

    gib: float = 0
    kernels: int = 0
    most_kernels: int = 0
    server_mb: float = 0
    samples: list[tuple[int, float]] = field(default_factory=list)


def prepare(room: Room, chapter: Path) -> str:
    """Lay out the folder and return the address of a repository with the chapter.

    Args:
        room: see `Room`.
        chapter: the notebook; its folder keeps its name in the repository.
    """
    for name, mode in (("hub", 0o700), ("homes", 0o711), ("jupyter", 0o755)):
        (room.folder / name).mkdir(mode=mode)
    room.folder.chmod(0o755)
    kernel = room.folder / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [room.kernel_python, "-m", "ipykernel_launcher", "-f"]
    spec = {"argv": [*command, "{connection_file}"], "display_name": "Python 3"}
    (kernel / "kernel.json").write_text(json.dumps({**spec, "language": "python"}))
    # Learners pull from a repository that another user owns; git asks to be told.
    (room.folder / "gitconfig").write_text("[safe]\n\tdirectory = *\n")
    return _publish(room.folder / "workbook", chapter)


def _publish(place: Path, chapter: Path) -> str:
    """Make a repository that holds one chapter, as a teacher would publish it."""
    (place / chapter.parent.name).mkdir(parents=True)
    shutil.copy(chapter, place / chapter.parent.name)
    author = ["-c", "user.name=Teacher", "-c", "user.email=teacher@example.invalid"]
    for words in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        ["commit", "--quiet", "--message=Chapter"],
    ):
        subprocess.run(["git", *author, *words], cwd=place, check=True)
    return place.as_uri()


@asynccontextmanager
async def running(room: Room, repository: str) -> AsyncIterator[Hub]:
    """Start a hub, and end it with every process that descends from it.

    Args:
        room: see `Room`; `prepare` has been called for it.
        repository: see `Hub`.

    Raises:
        SimulationError: it did not answer; the message ends with its last lines.
    """
    ports, password = free_ports(3), secrets.token_hex(16)
    facts = {"folder": str(room.folder), "ports": ports, "password": password}
    facts |= {"proxy": room.proxy, "profile": room.profile, "own_users": room.own_users}
    log = room.folder / "hub" / "hub.log"
    with log.open("w") as lines:
        started = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", HERE / "simulation_config.py"],
            cwd=room.folder / "hub",
            env=os.environ
            | {"SIMULATION": json.dumps(facts), "WORKBOOK_SHARED": str(room.shared)},
            stdout=lines,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process = psutil.Process(started.pid)
    try:
        url = f"http://127.0.0.1:{ports[0]}"
        await _answers(url, started, log)
        yield Hub(url, password, process, repository)
    finally:
        await asyncio.to_thread(_end, process)
        started.wait()


async def _answers(url: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(2 * PATIENCE):
        with suppress(OSError):
            reply = await AsyncHTTPClient().fetch(f"{url}/hub/api", raise_error=False)
            if reply.code == 200:
                return
        if process.poll() is not None:
            break
        await asyncio.sleep(0.5)
    last = "\n".join(log.read_text().splitlines()[-15:])
    raise SimulationError(f"The hub did not start. Its last lines:\n{last}")


def _end(process: psutil.Process) -> None:
    """Ask the hub to end, then end what is left of its descendants by their numbers."""
    family = [process, *descendants(process)]
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    _, left = psutil.wait_procs(family, timeout=20)
    for straggler in left:
        with suppress(psutil.NoSuchProcess):
            straggler.kill()
    psutil.wait_procs(left, timeout=PATIENCE)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback that are free now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """Return all processes that a process started, directly or not; [] if it ended."""
    with suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def measure(process: psutil.Process, load: Load) -> None:
    """Look once at the memory of a hub and of all that descends from it.

    Args:
        process: the hub.
        load: what was seen so far; changed where more is seen now.
    """
    total, kernels = 0, 0
    for one in [process, *descendants(process)]:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            words, size = " ".join(one.cmdline()), one.memory_full_info().pss
            total += size
            kernels += "ipykernel_launcher" in words
            if "jupyterhub.singleuser" in words:
                load.server_mb = max(load.server_mb, size / 2**20)
    load.samples.append((kernels, total / GIB))
    load.most_kernels = max(load.most_kernels, kernels)
    if total / GIB > load.gib:
        load.gib, load.kernels = total / GIB, kernels


def fingerprint(files: Iterable[Path]) -> str:
    """Return one SHA-256 over the names and bytes of files, in any order given."""
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(str(file).encode())
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()
