"""The command line: `course lab`, `run`, `doctor`, `prefetch`, `progress` and more."""

from __future__ import annotations

import argparse
import itertools
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from course import __version__, cli_compare, cli_run
from course.errors import CourseError

HOST = "127.0.0.1"
NO_UPDATES = "jupyterlab.NeverCheckForUpdate"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0: done. 1: a chapter failed. 2: the command could not be carried out.

    Args:
        arguments: as on the command line; None for those of this process.
    """
    options = parser().parse_args(arguments)
    try:
        return options.command(options)
    except CourseError as error:
        print(f"course: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"course: {_refused(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("course: interrupted; what was finished is kept.", file=sys.stderr)
        return 130


def _refused(error: OSError) -> str:
    place = f" ({error.filename})" if error.filename else ""
    return (
        f"A file could not be read or written: {error.strerror or error}{place}; free "
        "some space or name another folder with --out. What was finished is kept."
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="course", description=__doc__)
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_lab(commands)
    cli_run.add(commands)
    cli_compare.add(commands)
    _add_pretrain(commands)
    _add_sweep(commands)
    _add_gpu_table(commands)
    _add_progress(commands)
    _add_class(commands)
    _add_student(commands)
    _add_prefetch(commands)
    _add_doctor(commands)
    _add_cache(commands)
    return top


def _add_lab(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("lab", help="open the workbook in JupyterLab")
    command.add_argument(
        "--no-browser", action="store_true", help="print the address and open nothing"
    )
    command.add_argument(
        "--port", type=int, default=8888, help="default: %(default)s or the next free"
    )
    command.set_defaults(command=lab)


def _add_pretrain(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("pretrain", help="make one of the shipped backbones")
    command.add_argument("name", metavar="NAME", help="such as resnet10-shapes")
    _add_profile(command, "full")
    command.add_argument(
        "--out", type=Path, default=Path("runs/weights"), help="default: %(default)s"
    )
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    command.add_argument(
        "--resume", action="store_true", help="go on with what an earlier call left"
    )
    command.set_defaults(command=pretrain)


def _add_sweep(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("sweep", help="make one of the shipped tables")
    command.add_argument("name", metavar="NAME", help="such as few-labels")
    _add_profile(command, "quick")
    command.add_argument(
        "--out", type=Path, default=Path("runs/tables"), help="default: %(default)s"
    )
    command.add_argument(
        "--backend",
        default="threads",
        help="threads, processes, dask or dask:tcp://HOST:8786; default: %(default)s",
    )
    command.set_defaults(command=sweep)


def _add_gpu_table(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "gpu-table", help="climb chapter 12's ladder on a GPU, for its table"
    )
    _add_profile(command, "full")
    command.add_argument(
        "--device",
        default="auto",
        help="such as cuda; cpu only to try the command out (default: %(default)s)",
    )
    command.add_argument(
        "--out", type=Path, default=Path("runs/tables"), help="default: %(default)s"
    )
    command.set_defaults(command=gpu_table)


def _add_progress(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "progress", help="show what you have done, and what is worth repeating"
    )
    act = command.add_mutually_exclusive_group()
    act.add_argument(
        "--export", choices=("json", "csv"), help="write all that is kept, as one text"
    )
    act.add_argument(
        "--forget", action="store_true", help="delete it; asks before it does"
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="of --export; default: the terminal"
    )
    command.set_defaults(command=progress)


def _add_class(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "class", help="make one page from the progress files of a class"
    )
    command.add_argument(
        "folder", type=Path, metavar="DIR", help="with a progress file of each learner"
    )
    command.add_argument(
        "--out", type=Path, default=Path("class.html"), help="default: %(default)s"
    )
    command.add_argument(
        "--names", action="store_true", help="call the learners as their files"
    )
    command.set_defaults(command=class_view)


def _add_student(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("student", help="make copies for a class")
    command.add_argument(
        "chapters", nargs="*", metavar="CHAPTER", help="such as 02; default: all"
    )
    place = command.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "--out", type=Path, metavar="DIR", help="a new folder for the copies"
    )
    place.add_argument(
        "--nbgrader", type=Path, metavar="DIR", help="a new course folder for nbgrader"
    )
    kind = command.add_mutually_exclusive_group()
    kind.add_argument(
        "--teacher", action="store_true", help="with the answers, and notes"
    )
    kind.add_argument("--slides", action="store_true", help="a page of slides each")
    command.add_argument(
        "--timing",
        type=Path,
        metavar="RECORDS",
        help="records.json of a run, whose seconds the notes name (with --teacher)",
    )
    command.add_argument(
        "--force", action="store_true", help="replace an earlier copy in that folder"
    )
    command.set_defaults(command=student)


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("doctor", help="say whether this machine is ready")
    command.add_argument(
        "--json", action="store_true", help="for a program; it names nobody"
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="default: the terminal"
    )
    command.set_defaults(command=doctor)


def _add_prefetch(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "prefetch", help="fetch models and images for a class without bandwidth"
    )
    command.add_argument(
        "--models",
        nargs="+",
        metavar="NAME[:WEIGHTS]",
        help="such as vgg16, or resnet50:IMAGENET1K_V2; default: the chapters'",
    )
    command.add_argument(
        "--datasets", nargs="+", metavar="NAME", help="default: the chapters'"
    )
    command.add_argument("--yes", action="store_true", help="do not ask")
    place = command.add_mutually_exclusive_group()
    place.add_argument(
        "--to", type=Path, metavar="DIR", help="into a folder that travels on a stick"
    )
    place.add_argument(
        "--from",
        type=Path,
        metavar="DIR",
        dest="source",
        help="out of such a folder, without a network",
    )
    command.set_defaults(command=prefetch)


def _add_cache(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "cache", help="show what is kept to be faster, and let it go"
    )
    acts = command.add_subparsers(metavar="ACT", dest="act")
    acts.add_parser("list", help="what is kept, how much and where (the default)")
    acts.add_parser("size", help="how much it is, in bytes")
    prune = acts.add_parser("prune", help="remove what was not used for long")
    prune.add_argument("--limit", metavar="SIZE", help="such as 2GB; default: 10 GB")
    prune.add_argument(
        "--older", metavar="TIME", help="what was not used for that long: 12h, 30d, 4w"
    )
    clear = acts.add_parser("clear", help="remove all of it; asks before it does")
    clear.add_argument(
        "names", nargs="*", metavar="NAME", help="as listed, such as features"
    )
    clear.add_argument("--yes", action="store_true", help="do not ask")
    for one in (command, *acts.choices.values()):
        one.add_argument(
            "--in",
            type=Path,
            action="append",
            default=argparse.SUPPRESS,
            dest="further",
            metavar="DIR",
            help="look for features, tables and weights here too",
        )
    command.set_defaults(command=cache)


def _add_profile(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument(
        "--profile",
        choices=cli_run.PROFILES,
        default=default,
        help="how large: a few seconds, two cores, a GPU (default: %(default)s)",
    )


def lab(options: argparse.Namespace) -> int:
    """Open JupyterLab on the first chapter and stay until it ends."""
    from course import execution, places, runner

    folder = runner.notebooks_folder()
    port = free_port(options.port)
    token = secrets.token_hex(16)
    first, *_ = runner.find_chapters([], folder)
    place = f"{folder.name}/{first.name}"
    command = [sys.executable, "-m", "jupyterlab"]
    # Given the file as an argument, JupyterLab would make its folder the root, and the
    # reader could not open the package beside it.
    command += [f"--ServerApp.root_dir={folder.parent}"]
    command += [f"--LabApp.default_url=/lab/tree/{place}"]
    command += [f"--ip={HOST}", f"--port={port}", "--ServerApp.port_retries=0"]
    # JupyterLab may look for a newer version at pypi.org; nobody asked for that.
    command.append(f"--LabApp.check_for_updates_class={NO_UPDATES}")
    command += ["--no-browser"] * (options.no_browser or not has_screen())
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        print("You are root, as in a container: JupyterLab starts with --allow-root.")
        command.append("--allow-root")
    print(f"The workbook: http://{HOST}:{port}/lab/tree/{place}?token={token}")
    print("Ctrl-C ends it.", flush=True)
    # The token goes through the environment: a command line can be read by others.
    environment = {**execution.KERNEL, **os.environ, "JUPYTER_TOKEN": token}
    with places.for_jupyter() as instead, suppress(KeyboardInterrupt):
        if instead:
            print(places.said(instead), flush=True)
        environment.update(instead)
        return subprocess.call(command, cwd=folder.parent, env=environment)
    return 0


def has_screen() -> bool:
    """Say whether a browser could show itself here."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def free_port(wanted: int, tries: int = 20) -> int:
    """Return the first free port from `wanted` on.

    Raises:
        CourseError: the number is no port, or all of `tries` ports are busy.
    """
    if not 1 <= wanted <= 65_535:
        raise CourseError(f"Port {wanted} was asked for; expected 1 to 65535.")
    for port in range(wanted, min(wanted + tries, 65_536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
    raise CourseError(
        f"The ports {wanted} to {wanted + tries - 1} are busy; name another with "
        "--port."
    )


def pretrain(options: argparse.Namespace) -> int:
    """Pretrain a backbone, or the language model, and print where its weights are."""
    from course import language, parallel, pretraining

    text = options.name in language.SHIPPED
    if text:
        with parallel.joined() as team:
            team.must_be_one(options.name)
    path = (language.make if text else pretraining.pretrain)(
        options.name,
        profile=options.profile,
        out=options.out,
        resume=options.resume,
        seed=options.seed,
    )
    if parallel.leads():
        print(f"Weights and card: {path}")
    return 0


def sweep(options: argparse.Namespace) -> int:
    """Make a table and print where it is; stopped, the next call goes on."""
    from course import sweep as sweeps

    path = sweeps.make(
        options.name,
        profile=options.profile,
        out=options.out,
        backend=options.backend,
    )
    print(f"Table and card: {path}")
    return 0


def gpu_table(options: argparse.Namespace) -> int:
    """Measure the rungs of chapter 12 on a GPU, and print where their table is."""
    from course import ladder

    path = ladder.make(options.device, profile=options.profile, out=options.out)
    print(f"Table and card: {path}")
    return 0


def progress(options: argparse.Namespace) -> int:
    """Show, export or delete what the reader's progress file holds."""
    from course import progress as kept

    if options.out and not options.export:
        raise CourseError("--out is for an export: add --export json or --export csv.")
    if options.export:
        return _export(kept.export(options.export), options.out)
    if options.forget:
        return _forget()
    from course import syllabus

    place, now = kept.path(), kept.load()
    from course.exercises.outline import by_chapter  # loads torch

    print(syllabus.as_text(now, by_chapter()))
    print(f"\nKept in {kept.shown(place)}." if place else "\nNothing is kept.")
    return 0


def _export(text: str, out: Path | None) -> int:
    from course import progress as kept

    if out is None:
        print(text, end="")
    else:
        kept.write(out, text)
        print(f"Your progress: {out}")
    return 0


def _forget() -> int:
    from course import progress as kept

    place = kept.path()
    if place is None or not place.exists():
        print("There is no progress to delete.")
        return 0
    try:
        answer = input(f"Delete {kept.shown(place)}, all of your progress? [y/N] ")
    except EOFError:  # nobody is there to ask
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        print("Nothing was deleted.")
        return 0
    kept.forget()
    print("It is deleted.")
    return 0


def class_view(options: argparse.Namespace) -> int:
    """Make the page of a class and name the files that could not be read."""
    from course import classroom

    room = classroom.read(options.folder)
    classroom.write_page(room, options.out, names=options.names)
    for file, reason in room.refused.items():
        print(f"left out: {file!r}: {reason}", file=sys.stderr)
    count = len(room.learners)
    print(f"{count} learner{'s' * (count != 1)}: {options.out}")
    return 0


def student(options: argparse.Namespace) -> int:
    """Make copies of chapters for a class, and say where they are."""
    if options.nbgrader and (options.teacher or options.slides):
        raise CourseError("--nbgrader makes a folder of its own; leave the other out.")
    if options.timing and not options.teacher:
        raise CourseError("--timing belongs to --teacher: only its notes name seconds.")
    from course import copies, runner

    chapters = runner.find_chapters(options.chapters, runner.notebooks_folder())
    out = options.nbgrader or options.out
    if options.nbgrader:
        copies.nbgrader(chapters, out, force=options.force)
    elif options.teacher:
        copies.teacher(chapters, out, timing=options.timing, force=options.force)
    elif options.slides:
        copies.slides(chapters, out, force=options.force)
    else:
        copies.student(chapters, out, force=options.force)
    print(f"Made: {out}")
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Look at this machine; the exit status says whether the course will run on it."""
    from course import doctor as checks
    from course.doctor import page

    coming, lines = itertools.tee(checks.examine())
    if options.json or options.out:
        kept = list(lines)
        text = page.as_json(kept) if options.json else page.whole(kept)
        if options.out:
            from course.progress import write  # a bare Python may lack its filelock

            write(options.out, text)
            text = f"{page.verdict(kept)}\nWritten: {options.out}\n"
        print(page.printable(text, sys.stdout.encoding), end="")
        return 0 if checks.ready(kept) else 1
    for piece in page.texts(coming):  # each as soon as it is known
        print(page.printable(piece, sys.stdout.encoding), flush=True)
    return 0 if checks.ready(lines) else 1


def prefetch(options: argparse.Namespace) -> int:
    """Fetch what the chapters can use, after a plan and a question."""
    from course import prefetch as beforehand  # loads torch

    return beforehand.run(
        options.models,
        options.datasets,
        to=options.to,
        source=options.source,
        agreed=options.yes,
        say=lambda line: print(line, flush=True),
    )


def cache(options: argparse.Namespace) -> int:
    """List what is kept on disks, or remove some of it."""
    from course import caches  # loads torch

    further = getattr(options, "further", [])
    if options.act == "prune":
        return caches.prune(options.limit, options.older, further)
    if options.act == "clear":
        return caches.clear(options.names, further, options.yes)
    if options.act == "size":
        print(caches.size(further))
        return 0
    for line in (*caches.table(further), *caches.folders(further)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
