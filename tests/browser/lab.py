"""A real JupyterLab on a copy of the workbook, and a chapter open in it.

`tests/browser` and `benchmarks/widget_latency.py` share this module.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
COMMANDS = ("chromium", "chromium-browser", "google-chrome")
# As root, as in a container, Chromium starts without its sandbox only. Nothing but
# loopback has an address.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SETTINGS = {
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
}
START, RUN = 90, 300  # seconds of patience; a busy machine is no failure


def find_chromium(playwright: Playwright) -> str | None:
    """Return the path of a Chromium: $CHROMIUM, one on PATH, or Playwright's own."""
    named = os.environ.get("CHROMIUM")
    found = [named] if named else [shutil.which(name) for name in COMMANDS]
    places = [*filter(None, found), playwright.chromium.executable_path]
    return next((place for place in places if Path(place).is_file()), None)


def launch(playwright: Playwright, chromium: str) -> Browser:
    """Start a headless Chromium that reaches nothing but loopback."""
    return playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)


@dataclass(frozen=True)
class Lab:
    """A running server: its address, its token, and the folder that it serves."""

    url: str
    token: str
    root: Path


@contextmanager
def serving(folder: Path, profile: str = "smoke") -> Iterator[Lab]:
    """Start `course lab` on a copy of the workbook and end it again.

    The reader's own settings are neither read nor written, and nothing is written into
    the repository.

    Args:
        folder: an empty folder for the copy and for what JupyterLab keeps.
        profile: of every chapter that is opened.

    Raises:
        RuntimeError: it did not start; the message is what it said.
    """
    root = folder / "workbook"
    for part in ("course", "notebooks"):
        unwanted = shutil.ignore_patterns(".ipynb_checkpoints", ".*.part")
        shutil.copytree(ROOT / part, root / part, ignore=unwanted)
    command = [sys.executable, "-m", "course.cli", "lab", "--no-browser"]
    process = subprocess.Popen(
        [*command, f"--port={_free_port()}"],
        cwd=root,
        env=_environment(folder, root) | {"COURSE_PROFILE": profile},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield Lab(*_address(process), root)
    finally:
        _end(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(folder: Path, root: Path) -> dict[str, str]:
    """Return an environment in which all that Jupyter keeps is under `folder`."""
    places = {
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_DATA_DIR": folder / "data",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "IPYTHONDIR": folder / "ipython",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
    }
    for name, values in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    server = {"LabApp": {"expose_app_in_browser": True}}
    (folder / "config").mkdir()
    (folder / "config" / "jupyter_server_config.json").write_text(json.dumps(server))
    # The copy comes before the installed package, in the server and in its kernels.
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    variables = {name: str(place) for name, place in places.items()}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    variables["COURSE_PROGRESS"] = str(folder / "progress.json")
    return {**os.environ, **variables, "PYTHONDONTWRITEBYTECODE": "1"}


def _address(process: subprocess.Popen) -> tuple[str, str]:
    """Return the address and token that `course lab` prints, once it answers there."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(  # also empties the pipe for as long as the server talks
        target=lambda: [lines.put(line) for line in process.stdout], daemon=True
    ).start()
    said, found, until = "", None, time.monotonic() + START
    while time.monotonic() < until and process.poll() is None:
        while not lines.empty():
            said += lines.get()
        found = found or re.search(r"(http://[\d.:]+)/lab/tree/\S+token=(\w+)", said)
        if found and _answers(found[1]):
            return found[1], found[2]
        time.sleep(0.1)
    _end(process)
    raise RuntimeError(f"`course lab` did not start:\n{said[-3000:]}")


def _answers(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _end(process: subprocess.Popen) -> None:
    """End the server with all that it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, sign)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                continue


CURRENT = "window.jupyterapp.shell.currentWidget"
OPEN = """async path => {
  const app = window.jupyterapp;
  await app.restored;
  const panel = await app.commands.execute(
    'docmanager:open', {path, factory: 'Notebook'});
  await panel.context.ready;
  await panel.revealed;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
}"""
# The command's promise settles when the last reply is in.
RUN_ALL = f"""async () => {{
  await window.jupyterapp.commands.execute('notebook:run-all-cells');
  await {CURRENT}.sessionContext.session.kernel.info;
}}"""
RUN_ONE = f"""async index => {{
  {CURRENT}.content.activeCellIndex = index;
  await window.jupyterapp.commands.execute('notebook:run-cell');
}}"""
INSERT = f"""async ([index, source]) => {{
  const notebook = {CURRENT}.content;
  notebook.activeCellIndex = index;
  await window.jupyterapp.commands.execute('notebook:insert-cell-below');
  notebook.activeCell.model.sharedModel.setSource(source);
}}"""
DELETE = f"""async index => {{
  {CURRENT}.content.activeCellIndex = index;
  await window.jupyterapp.commands.execute('notebook:delete-cell');
}}"""
IDLE = f"() => {CURRENT}.sessionContext.session.kernel.status === 'idle'"
CODE_CELLS = f"""() => {CURRENT}.content.model.sharedModel.toJSON().cells
  .filter(cell => cell.cell_type === 'code')"""
# The outermost element of each widget, with the widgets inside it.
WIDGETS = """() => [...document.querySelectorAll('.jp-Notebook .jp-Cell')].flatMap(
  (cell, index) => {
    const name = node => [...node.classList].map(
      word => /^course-([A-Z]\\w*)$/.exec(word)?.[1]).find(Boolean);
    const all = [...cell.querySelectorAll('[class*="course-"]')].filter(name);
    const outer = all.filter(
      node => !all.some(other => other !== node && other.contains(node)));
    const alike = node => all.filter(other => name(other) === name(node));
    return outer.map(node => ({
      cell: index, name: name(node), place: alike(node).indexOf(node),
      inside: all.filter(other => other !== node && node.contains(other)).map(name),
    }));
  })"""
SHUT_DOWN = f"""async () => {{
  await {CURRENT}.context.save();
  await {CURRENT}.sessionContext.shutdown();
}}"""


class Chapter:
    """A chapter that is open in JupyterLab, alone on its page.

    Waiting for the toolbar's idle light would not do: it says idle before the kernel
    is attached, and a Run All issued then is dropped in silence.

    Args:
        browser: from `launch`.
        lab: from `serving`.
        name: the notebook's, such as ``"00_first_prediction.ipynb"``.
    """

    def __init__(self, browser: Browser, lab: Lab, name: str) -> None:
        self.path = lab.root / "notebooks" / name
        self.errors: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": 1200, "height": 1000})
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.set_default_timeout(START * 1000)
        place = f"notebooks/{name}"
        self.page.goto(f"{lab.url}/lab/tree/{place}?token={lab.token}&reset")
        self.page.wait_for_function("() => window.jupyterapp?.shell")
        self.page.evaluate(OPEN, place)

    def run_all(self) -> None:
        """Run every cell and wait until the kernel is idle."""
        self.page.evaluate(RUN_ALL)
        self.settle(RUN)

    def settle(self, seconds: float = START) -> None:
        """Wait until the kernel is idle."""
        self.page.wait_for_function(IDLE, timeout=seconds * 1000)

    def cells(self) -> list[dict[str, Any]]:
        """Return the code cells as they are now, with their outputs."""
        return self.page.evaluate(CODE_CELLS)

    def outputs(self, kind: str) -> list[dict[str, Any]]:
        """Return the outputs of a kind, such as "error" or "stream"."""
        every = [output for cell in self.cells() for output in cell["outputs"]]
        return [output for output in every if output["output_type"] == kind]

    def widgets(self) -> list[dict[str, Any]]:
        """Return where each widget is: cell, place in it, class, classes inside."""
        return self.page.evaluate(WIDGETS)

    def root(self, widget: dict[str, Any]) -> Any:
        """Return the locator of a widget from `widgets`."""
        cell = self.page.locator(".jp-Notebook .jp-Cell").nth(widget["cell"])
        return cell.locator(f".course-{widget['name']}").nth(widget["place"])

    def run_cell(self, index: int) -> None:
        """Run one cell again."""
        self.page.evaluate(RUN_ONE, index)
        self.settle()

    def insert(self, index: int, source: str) -> int:
        """Put a new cell below the one at `index`, run it, and return its index."""
        self.page.evaluate(INSERT, [index, source])
        self.run_cell(index + 1)
        return index + 1

    def delete(self, index: int) -> None:
        """Take a cell away."""
        self.page.evaluate(DELETE, index)

    def theme(self, name: str) -> None:
        """Change JupyterLab's theme."""
        change = """async theme => {
          await window.jupyterapp.commands.execute('apputils:change-theme', {theme});
        }"""
        self.page.evaluate(change, name)
        light = "false" if "Dark" in name else "true"
        self.page.wait_for_selector(
            f"body[data-jp-theme-light={light}]", state="attached"
        )

    def close(self) -> None:
        """Close the page and end its kernel, which would outlive it."""
        self.page.evaluate(SHUT_DOWN)
        self.page.close()
