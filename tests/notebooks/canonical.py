"""Execute chapters in place and bring them into the form in which they are committed.

    python tests/notebooks/canonical.py [--only-clean] [NOTEBOOK ...]

Without names: every chapter. Executing the same chapter twice leaves the same file,
but for what it measures. The seconds of its sections go to `docs/section-times.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbclient
import nbformat
import section_times

ROOT = Path(__file__).parents[2]
LARGEST = 400_000  # bytes
PATIENCE = 600  # seconds a cell
KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}
VOLATILE = ("ExecuteTime", "collapsed", "execution", "papermill", "scrolled", "trusted")
VIEW = "application/vnd.jupyter.widget-view+json"
# An address such as https://host/home/x is none: a word, a dot or a slash precedes it.
PLACE = re.compile(
    r"(?<![\w.:/~-])(/(home|root|Users|tmp|work|usr|opt|var|private|mnt)/[\w.-]"
    r"|[A-Z]:\\\\?(Users|Windows|Program))"
)


class NotCanonical(Exception):
    """An executed chapter that must not be committed; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Canonicalise chapters; the exit status says whether all may be committed."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    command.add_argument(
        "--only-clean", action="store_true", help="keep the outputs that are there"
    )
    options = command.parse_args(arguments)
    paths = options.notebooks or sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    failed = 0
    for path in paths:
        began = time.perf_counter()
        try:
            canonicalise(path, execute=not options.only_clean)
        except (NotCanonical, OSError) as error:
            failed += 1
            print(f"{path.name}: left as it was: {error}", file=sys.stderr)
        else:
            print(f"{path.name}: {time.perf_counter() - began:.0f} s", flush=True)
    return 1 if failed else 0


def canonicalise(path: Path, execute: bool = True) -> None:
    """Execute a notebook and replace it by its canonical form, whole or not at all.

    Raises:
        NotCanonical: it failed, is too large, or names a place of this machine.
    """
    notebook = nbformat.read(path, as_version=4)
    if execute:
        _execute(notebook, path.parent)
    seconds = section_times.measured(notebook)
    clean(notebook)
    text = nbformat.writes(notebook)
    check(notebook, len(text.encode()))
    place = path.with_name(f".{path.name}.part")
    place.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")
    os.replace(place, path)
    if execute and path.resolve().parent == ROOT / "notebooks":
        section_times.keep(path.stem, seconds)


def _execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "COURSE_PROFILE"}
    paths = [str(ROOT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    environment["COURSE_PROGRESS"] = ""  # what a machine runs is no reader's progress
    client = nbclient.NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=PATIENCE,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env=environment)
    except nbclient.exceptions.CellExecutionError as error:
        raise NotCanonical(f"{error.ename}: {error.evalue}") from error
    except nbclient.exceptions.CellTimeoutError as error:
        raise NotCanonical(f"a cell took more than {PATIENCE} s") from error
    except nbclient.exceptions.DeadKernelError as error:
        raise NotCanonical("its kernel died") from error


def clean(notebook: nbformat.NotebookNode) -> None:
    """Drop what differs between two runs of the same chapter, in place.

    Args:
        notebook: executed or not.
    """
    # Where the widget's view is dropped, JupyterLab shows the picture beside it in a
    # notebook that was not run yet, and not "model not found".
    notebook["metadata"] = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    )
    notebook["nbformat_minor"] = max(5, notebook["nbformat_minor"])
    count = 0
    for cell in notebook["cells"]:
        for name in VOLATILE:
            cell["metadata"].pop(name, None)
        if cell["cell_type"] == "code":
            count += 1
            _clean_outputs(cell, count)


def _clean_outputs(cell: nbformat.NotebookNode, count: int) -> None:
    cell["execution_count"] = count
    cell["outputs"] = _flowing(cell["outputs"])
    for output in cell["outputs"]:
        if output["output_type"] == "execute_result":
            output["execution_count"] = count
        if len(output.get("data", {})) > 1:
            output["data"].pop(VIEW, None)


def _flowing(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join what a cell printed: on a busy machine it comes in pieces."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        before = joined[-1] if joined else {}
        if output.get("name") and output["name"] == before.get("name"):
            before["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def check(notebook: nbformat.NotebookNode, size: int) -> None:
    """Refuse what a reader must never meet in a stored chapter.

    Args:
        notebook: a clean one.
        size: of its file, in bytes.

    Raises:
        NotCanonical: an error output, a place of this machine, or too many bytes.
    """
    for number, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                raise NotCanonical(f"cell {number} ends with {output['ename']}")
            found = PLACE.search(_words(output))
            if found:
                raise NotCanonical(f"cell {number} shows the path {found[0]}…")
    if size > LARGEST:
        raise NotCanonical(f"{size / 1000:.0f} KB, expected at most {LARGEST // 1000}")


def _words(output: nbformat.NotebookNode) -> str:
    data = output.get("data", {})
    kept = {kind: data[kind] for kind in data if not kind.startswith("image/")}
    return output.get("text", "") + json.dumps(kept)


if __name__ == "__main__":
    sys.exit(main())
