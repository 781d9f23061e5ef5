"""One kernel that runs all cells of chapters, twice in a row, and what it then holds.

    python tests/hardness/soak.py CHAPTER [CHAPTER ...]

Prints a JSON line with its memory in MB and its threads after every chapter of the
first and of the second pass.
"""

import json
import os
import sys
from pathlib import Path

from jupyter_client.manager import start_new_kernel

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PATIENCE = 1800  # seconds for one cell on a busy machine
# What a reader does who is through with a chapter: closes its page, forgets its names.
LEAVE = """
get_ipython().reset(new_session=False, aggressive=False)
import ctypes, gc, sys, threading
import ipywidgets
ipywidgets.Widget.close_all()
if "matplotlib.pyplot" in sys.modules:
    sys.modules["matplotlib.pyplot"].close("all")
gc.collect()
if sys.platform == "linux":
    ctypes.CDLL(None).malloc_trim(0)
import psutil
print(psutil.Process().memory_info().rss / 1e6, end=" ")
print(*sorted(thread.name.split("-")[0] for thread in threading.enumerate()))
"""


class Failed(Exception):
    """A cell raised something."""


def do(client, code):
    """Let the kernel do a cell, and return what it wrote on its stdout."""
    written, raised = [], []

    def hear(message):
        kind, content = message["msg_type"], message["content"]
        if kind == "stream" and content["name"] == "stdout":
            written.append(content["text"])
        if kind == "error":
            raised.append(f"{content['ename']}: {content['evalue']}")

    client.execute_interactive(
        code, store_history=True, allow_stdin=False, timeout=PATIENCE, output_hook=hear
    )
    if raised:
        raise Failed(raised[0])
    return "".join(written)


def cells(chapter):
    notebook = json.loads((NOTEBOOKS / f"{chapter}.ipynb").read_text("utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            yield cell["id"], "".join(cell["source"])


def through(client, chapter):
    """Run a chapter and leave it; return memory and threads."""
    for name, code in cells(chapter):
        try:
            do(client, code)
        except Failed as error:
            raise Failed(f"{chapter}, cell {name}: {error}") from None
    megabytes, *threads = do(client, LEAVE).split()
    return float(megabytes), threads


def soak(chapters):
    settings = {"COURSE_PROFILE": "smoke", "COURSE_PROGRESS": ""}
    surroundings = {**os.environ, "MALLOC_ARENA_MAX": "2", **settings}
    manager, client = start_new_kernel(
        kernel_name="python3", cwd=str(NOTEBOOKS), env=surroundings
    )
    try:
        for count in (1, 2):
            for chapter in chapters:
                megabytes, threads = through(client, chapter)
                row = {"pass": count, "chapter": chapter, "mb": round(megabytes)}
                print(json.dumps({**row, "threads": threads}), flush=True)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    soak(sys.argv[1:] or sorted(path.stem for path in NOTEBOOKS.glob("[0-9]*.ipynb")))
