"""The exported page of each chapter: whole without a network, and open to everybody."""

from __future__ import annotations

import nbformat
import pytest

from browser import axe, lab
from course import execution

pytestmark = pytest.mark.browser
UNSEEN = """() => [...document.images].filter(
  image => !image.complete || !image.naturalWidth || !image.getClientRects().length
).map(image => image.alt || image.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module", params=lab.CHAPTERS, ids=lambda path: path.stem)
def opened(request, browser, tmp_path_factory):
    """The page of a stored chapter, opened from disk, with what went wrong on it."""
    notebook = nbformat.read(request.param, as_version=4)
    file = tmp_path_factory.mktemp("pages") / "page.html"
    file.write_text(execution.page_of(notebook, request.param.stem), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    page, wanted, problems = context.new_page(), [], []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if bad(said) else None)
    page.on("request", lambda asked: wanted.append(asked.url))
    page.goto(file.as_uri())
    page.wait_for_load_state("load")
    yield page, wanted, problems
    context.close()


def bad(message):
    """Say whether a line of the console is an error, but for what is not fetched."""
    unreached = "Failed to load resource: net::ERR_NAME_NOT_RESOLVED"
    return message.type == "error" and not message.text.startswith(unreached)


def test_the_page_wants_nothing_but_the_typesetting_of_equations(opened):
    _, wanted, problems = opened
    outside = [url for url in wanted if not url.startswith(("file:", "data:"))]
    assert [url for url in outside if "mathjax" not in url.lower()] == []
    assert problems == []


def test_every_picture_of_the_page_is_seen(opened, artifacts, request):
    page, *_ = opened
    assert page.evaluate("() => document.images.length") > 0
    assert page.evaluate(UNSEEN) == []
    artifacts.mkdir(parents=True, exist_ok=True)
    name = request.node.callspec.id
    page.screenshot(path=artifacts / f"page_{name}.png", full_page=True)


def test_the_page_can_be_read_by_everybody(opened):
    page, *_ = opened
    assert page.evaluate("() => document.documentElement.lang") == "en"
    assert " " in page.title(), "a file's name is no title"
    assert page.locator("main").count() == 1
    assert axe.findings(page) == []


def test_the_page_fits_a_telephone(opened):
    """Code and tables scroll in their own boxes; the page itself never does."""
    page, *_ = opened
    page.set_viewport_size({"width": 360, "height": 800})
    over = "() => document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(over) <= 0
