"""The page of a class, as a teacher's browser shows it."""

from __future__ import annotations

import random

import pytest

from browser import axe
from course import classroom
from course.exercises.outline import by_chapter
from course.progress import Done, Progress, Vote

pytestmark = pytest.mark.browser


def a_class(learners=30):
    """Learners who got to different places; the same ones every time."""
    chance, exercises = random.Random(5), by_chapter()
    keys = [(module, one) for module, asked in exercises.items() for one in asked]
    for number in range(learners):
        done = {}
        for module, one in keys[: chance.randrange(len(keys))]:
            names = [wrong.name for wrong in one.mistakes if wrong.name][:6]
            made = {name: 1 for name in names if chance.random() < 0.3}
            status = chance.choice(["passed", "passed", "failed"])
            done[module, one.name] = Done(status, chance.randint(1, 9), mistakes=made)
        option = chance.choice(["a long option that wraps on a telephone", "another"])
        polls = {("choosing", "Which is the best of all?"): Vote(option, option, True)}
        yield classroom.Learner(f"Learner {number} <b>", Progress(done, polls))


@pytest.fixture(scope="module", params=["light", "dark"])
def opened(request, browser, tmp_path_factory):
    """The page of thirty learners, opened from disk, and what it asked for."""
    refused = {"<b>notes.txt": "is no .json file"}
    room = classroom.Classroom(tuple(a_class()), refused)
    file = tmp_path_factory.mktemp("class") / "class.html"
    classroom.write_page(room, file, names=True)
    view = {"width": 1400, "height": 1000}
    context = browser.new_context(viewport=view, color_scheme=request.param)
    page, wanted = context.new_page(), []
    page.on("request", lambda asked: wanted.append(asked.url))
    page.goto(file.as_uri())
    yield page, wanted, request.param
    context.close()


def test_it_asks_for_nothing_and_can_be_read_by_everybody(opened, artifacts):
    page, wanted, scheme = opened
    assert [url for url in wanted if not url.startswith("file:")] == []
    assert axe.findings(page) == []
    artifacts.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=artifacts / f"class_{scheme}.png", full_page=True)


def test_a_heading_leads_to_its_exercise_by_keyboard(opened):
    page, *_ = opened
    link = page.locator(".matrix thead a").last
    link.focus()
    link.press("Enter")
    row = page.locator(f"[id='{link.get_attribute('href')[1:]}']")
    assert row.evaluate("row => row.matches(':target')")


def test_it_fits_a_telephone(opened, artifacts):
    """Tables scroll in their own boxes; the page itself never does."""
    page, _, scheme = opened
    page.set_viewport_size({"width": 360, "height": 800})
    over = "() => document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(over) <= 0
    page.screenshot(path=artifacts / f"class_{scheme}_narrow.png")
