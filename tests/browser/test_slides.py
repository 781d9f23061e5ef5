"""The slides of a chapter, as a teacher's browser shows them."""

from __future__ import annotations

import pytest

from browser import axe, lab
from course import copies

pytestmark = pytest.mark.browser
SHOWN = "() => location.hash"
FITS = """() => document.documentElement.scrollWidth <= window.innerWidth + 1"""


@pytest.fixture(scope="module")
def slides(browser, tmp_path_factory):
    """The slides of one chapter, opened from disk, and what the page asked for."""
    out = tmp_path_factory.mktemp("slides") / "out"
    copies.slides([lab.CHAPTERS[5]], out, report=lambda line: None)
    (file,) = out.glob("*.html")
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    errors, wanted = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda asked: wanted.append(asked.url))
    page.goto(file.as_uri())
    yield page, errors, wanted
    page.close()


def shown(page):
    """Return the numbers of the slides that can be seen."""
    sections = page.locator("section")
    every = range(sections.count())
    return [index for index in every if sections.nth(index).is_visible()]


def test_arrows_lead_through_the_slides(slides, artifacts):
    page, errors, _ = slides
    page.keyboard.press("Home")
    assert shown(page) == [0]
    page.keyboard.press("ArrowRight")
    assert shown(page) == [1]
    artifacts.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=artifacts / "slide_2.png")
    page.keyboard.press("ArrowLeft")
    assert shown(page) == [0]
    page.keyboard.press("End")
    assert shown(page) == [page.locator("section").count() - 1]
    assert errors == []


def test_no_slide_is_wider_than_the_wall(slides):
    page, *_ = slides
    page.keyboard.press("Home")
    for _ in range(page.locator("section").count()):
        assert page.evaluate(FITS), shown(page)
        page.keyboard.press("ArrowRight")


def test_the_page_asks_for_nothing_but_equations_and_everybody_can_read_it(slides):
    page, _, wanted = slides
    outside = [url for url in wanted if not url.startswith(("file:", "data:"))]
    assert all("mathjax" in url.lower() for url in outside)
    page.keyboard.press("Home")
    assert axe.findings(page) == []
