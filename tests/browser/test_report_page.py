"""The report page, as a browser shows it to whoever it was sent to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from browser import axe
from course import calibration, data, diagnosis, models, plots, report, training
from course.data.found import Folder, Report
from course.data.listing import Row
from course.export import Export

pytestmark = pytest.mark.browser

LONG = "a-very-long-name-without-a-place-to-break-" * 3 + "<b>"


def sections():
    """Every kind of block and every section, with names that are hard to lay out."""
    task = data.task("digits")
    names = [LONG, *task.class_names[1:]]
    generator = torch.Generator().manual_seed(0)
    labels = task.validation.labels
    logits = 4 * torch.randn(len(labels), 10, generator=generator)
    logits += 5 * torch.nn.functional.one_hot(labels, 10)
    t = calibration.temperature(logits, task.validation)
    probabilities = [calibration.calibrated(logits, one) for one in (1.0, t)]
    found = [calibration.reliability(p, labels) for p in probabilities]
    wrong = diagnosis.most_wrong(probabilities[1], labels)
    images = task.validation.images[[row.index for row in wrong]]
    maps = torch.rand(len(wrong), 4, 4, generator=generator)
    rows = [{"loss": 1 / step, "seconds": step} for step in range(1, 101)]
    claim = {"text": LONG, "value": 0.9, "low": 0.8, "high": 1.0, "n": 3}
    claims = [claim | {"holds": holds, "bound": "at least 0.8"} for holds in (1, 0)]
    matrix = diagnosis.confusion(labels, logits.argmax(1), 10)
    left_out = [Row(f"{n} {LONG}", "left out", "is cut short") for n in range(9)]
    counts = {part: {} for part in ("train", "validation", "test")}
    told = Report("digits", counts, tuple(left_out), (), {}, 0, (LONG,))
    considered = [{"model": LONG, **{f"column {n}": n / 7 for n in range(8)}}]
    return [
        report.the_data(Folder(task, told, {}, Path("digits"))),
        report.the_choice(
            considered, LONG, "It is best.", models.load("resnet10-glyphs")
        ),
        report.the_training(training.History(rows), training.Recipe(steps=100)),
        report.the_mistakes(
            matrix, names, plots.most_wrong(images, wrong, maps, names)
        ),
        report.the_calibration(t, *found),
        report.the_test(580, 600),
        report.the_limits(task, [LONG]),
        report.the_use(Export(Path(LONG), {LONG: 1, "predict.py": 1000}, {}, (LONG,))),
        report.Section("Claims", [report.Claims(claims)]),
        report.made_with(0),
    ]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    place = tmp_path_factory.mktemp("report") / "report.html"
    short = {"right on the test part": 0.967, LONG: LONG}
    return report.write(
        place, LONG, sections(), lead=f"What {LONG} is.", author="Ada", short=short
    )


@pytest.fixture(scope="module", params=["light", "dark"])
def opened(request, browser, file):
    """The page, opened from disk, and what it asked for."""
    view = {"width": 1200, "height": 900}
    context = browser.new_context(viewport=view, color_scheme=request.param)
    page, wanted = context.new_page(), []
    page.on("request", lambda asked: wanted.append(asked.url))
    page.goto(file.as_uri())
    yield page, wanted, request.param
    context.close()


def test_it_asks_for_nothing_and_can_be_read_by_everybody(opened, artifacts):
    page, wanted, scheme = opened
    assert [url for url in wanted if not url.startswith(("file:", "data:"))] == []
    assert axe.findings(page) == []
    artifacts.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=artifacts / f"report_{scheme}.png", full_page=True)


def test_every_figure_is_shown(opened):
    page, *_ = opened
    widths = page.locator("img").evaluate_all("all => all.map(i => i.naturalWidth)")
    assert len(widths) == 4 and all(widths)


def test_the_contents_lead_to_each_section_by_keyboard(opened):
    page, *_ = opened
    link = page.locator("nav a").last
    link.focus()
    link.press("Enter")
    assert page.evaluate("document.querySelector(':target').textContent") == "Made with"


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_the_page_never_scrolls_sideways(opened, artifacts, width):
    """Wide tables scroll in their own boxes."""
    page, _, scheme = opened
    page.set_viewport_size({"width": width, "height": 800})
    over = "() => document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(over) <= 0
    if width == 360:
        page.screenshot(path=artifacts / f"report_{scheme}_narrow.png", full_page=True)


def test_paper_is_white_whatever_the_screen_prefers(opened):
    page, *_ = opened
    page.emulate_media(media="print")
    colours = page.evaluate(
        "() => { const style = getComputedStyle(document.body);"
        " return [style.backgroundColor, style.color]; }"
    )
    assert colours == ["rgb(255, 255, 255)", "rgb(27, 27, 27)"]
    assert not page.locator("nav").is_visible()
    page.emulate_media(media="screen")
