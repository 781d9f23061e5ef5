"""Names that are scripts, in a real browser: nothing of them runs or is fetched."""

from __future__ import annotations

import os
import re

import pytest
from hardness import surfaces

from browser import lab

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]
# What pages may ask for when they are opened: the typesetting of equations.
ALLOWED = re.compile(r"mathjax|^file:|^data:|^blob:", re.I)
AWAY = """() => [...document.querySelectorAll('*')].forEach(node => {
  for (const kind of ['mouseover', 'mouseenter', 'focus', 'toggle', 'load', 'error'])
    node.dispatchEvent(new Event(kind));
})"""


@pytest.fixture
def watched(browser):
    """A page, and what happened on it that should not."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page, happened = context.new_page(), []
    page.on("dialog", lambda one: (happened.append(one.message), one.dismiss()))
    page.on(
        "request",
        lambda asked: ALLOWED.search(asked.url) or happened.append(asked.url),
    )
    page.on(
        "framenavigated",
        lambda frame: "pwned" in frame.url and happened.append(frame.url),
    )
    yield page, happened
    context.close()


def pwned(page):
    return page.evaluate("() => window.pwned")


def test_a_script_that_nothing_escapes_is_noticed(watched, tmp_path):
    page, happened = watched
    file = tmp_path / "bad.html"
    for place, name in enumerate(surfaces.HOSTILE[:3]):
        file.write_text(f'<!doctype html><p title="{name}">{name}</p>', "utf-8")
        page.goto(f"{file.as_uri()}?{place}")
        page.evaluate(AWAY)
        assert pwned(page) == 1, name
    file.write_text("<!doctype html><img src='http://pwned.invalid/x.png'>", "utf-8")
    page.goto(file.as_uri())
    assert happened == ["http://pwned.invalid/x.png"]


def test_no_page_of_hostile_names_does_anything(watched, tmp_path):
    page, happened = watched
    for number, (name, text) in enumerate(surfaces.pages(tmp_path / "made").items()):
        file = tmp_path / f"{number}.html"
        file.write_text(text, "utf-8")
        page.goto(file.as_uri(), wait_until="domcontentloaded")
        page.evaluate(AWAY)
        for link in page.locator("a").all()[:40]:
            address = (link.get_attribute("href") or "").strip().lower()
            assert not address.startswith("javascript:"), name
        page.wait_for_timeout(100)  # a script that was late would have run by now
        assert pwned(page) is None, name
        assert happened == [], f"{name}: {happened}"
        assert name.startswith("title") or "pwned" in page.content(), f"{name}: not fed"


CELL = """import warnings; warnings.simplefilter("ignore")
import sys; sys.path.insert(0, {tests!r})
from hardness import surfaces
from hardness.test_injection import hostile_widgets
from IPython.display import display
from pathlib import Path
import tempfile
for made in hostile_widgets(Path(tempfile.mkdtemp())).values():
    display(made)
surfaces.everything()
display(surfaces.folder_report())
print("all of it is shown")
"""


@pytest.mark.skipif(not os.environ.get("HARD"), reason="half a minute; set HARD=1")
def test_jupyterlab_shows_hostile_names_as_words(browser, server):
    """The widgets that show names of others, and what evidence says of them."""
    path = server.root / "notebooks" / "hostile.ipynb"
    source = CELL.format(tests=str(lab.ROOT / "tests"))
    cell = surfaces.nbformat.v4.new_code_cell(source)
    notebook = surfaces.nbformat.v4.new_notebook(cells=[cell])
    notebook["metadata"]["kernelspec"] = {"name": "python3", "display_name": "Python"}
    surfaces.nbformat.write(notebook, path)
    opened = lab.Chapter(browser, server, path.name)
    asked = []
    opened.page.on("request", lambda one: asked.append(one.url))
    opened.run_all()
    opened.page.get_by_text("all of it is shown").last.wait_for()
    opened.page.evaluate(AWAY)
    opened.page.wait_for_timeout(500)
    assert pwned(opened.page) is None
    assert [url for url in asked if "pwned" in url] == []
    assert opened.page.get_by_text("window.pwned=1").count() > 5
    opened.close()
