"""Long use: chapters again and again in one kernel, widgets made and closed."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from pathlib import Path

import ipywidgets
import pytest
from test_widgets import EXAMPLES, texts_for, walk

from course import widgets

HARD = bool(os.environ.get("HARD"))
SOAK = Path(__file__).with_name("soak.py")
LIGHT = ("00_first_prediction", "11_tools_and_outlook")
ROUNDS, USED = 20, 20 if HARD else 2
GROWTH = 1.1  # of the memory after the first pass


def test_a_kernel_holds_no_more_after_all_chapters_ran_again():
    done = subprocess.run(
        [sys.executable, SOAK, *(() if HARD else LIGHT)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line[0] == "{"]
    first, second = rows[len(rows) // 2 - 1], rows[-1]
    assert (first["pass"], second["pass"]) == (1, 2)
    assert second["mb"] <= GROWTH * first["mb"], done.stdout
    assert not Counter(second["threads"]) - Counter(first["threads"]), done.stdout


def use(widget, name, folder):
    """Press its first buttons, as a reader would before closing the page."""
    for text in walk(widget):
        if isinstance(text, ipywidgets.Text) and (given := texts_for(name, folder)):
            text.value = given[0]
    for control in [w for w in walk(widget) if isinstance(w, ipywidgets.Button)][:3]:
        if not control.disabled:
            control.click()


def threads_after(before, patience=60):
    """Return which threads came and stayed; those that are ending may take a while."""
    end = time.monotonic() + patience
    while (left := set(threading.enumerate()) - before) and time.monotonic() < end:
        time.sleep(0.01)
    return left


@pytest.mark.parametrize("name", widgets.__all__)
def test_a_closed_widget_leaves_no_thread_no_comm_and_no_memory(name, tmp_path):
    known = ipywidgets.widgets.widget._instances
    gc.collect()
    threads = set(threading.enumerate())
    held = dict(known)
    refs = []
    for number in range(ROUNDS):
        widget = EXAMPLES[name]()
        if number < USED:
            use(widget, name, tmp_path)
        refs.append(weakref.ref(widget))
        widget.close()
        del widget
    assert not threads_after(threads)
    gc.collect()
    left = [one for key, one in known.items() if key not in held]
    assert not left, f"{len(left)} comms are open, such as {left[0]!r:.80}"
    alive = sum(ref() is not None for ref in refs)
    assert alive == 0, f"{alive} of {ROUNDS} are still held by somebody"
