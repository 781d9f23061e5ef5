"""The report of a run, as the browser of a maintainer or of a CI server shows it."""

from __future__ import annotations

import json
import random

import nbformat
import pytest

from browser import axe
from course import drift, execution, run_report, runs

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>'\"" + "long" * 60
CELL = "ch01-12_a"
PACKAGES = {"torch": "2.14.1", EVIL: EVIL}


def rows(chance, seeds=(0, 1, 2)):
    """A run of three chapters, one of which fails with the second seed."""
    for seed in seeds:
        for number, chapter in enumerate(
            ["00_first_prediction", "01_pretraining", "02"]
        ):
            lost = (number, seed) == (1, 1)
            records = [(f"{word} {EVIL}"[:90], "MB") for word in ("held", "kept")]
            records += [(f"accuracy {n}", "") for n in range(9)]
            value = chance.gauss(0.7, 0.1)
            yield {
                "chapter": chapter,
                "status": "failed" if lost else "ok",
                "seconds": 61.2,
                "peak_mb": None if seed else 1320.1,
                "records": [
                    {"name": name, "value": chance.gauss(0.8, 0.02), "unit": unit}
                    for name, unit in records
                ],
                "claims": [
                    {
                        "text": f"{EVIL} {n}",
                        "value": value,
                        "bound": "at least 0.5",
                        "holds": not lost,
                        "margin": value - 0.5,
                        "low": value,
                        "high": value,
                        "n": 3,
                    }
                    for n in range(8)
                ],
                "environment": {
                    "profile": "quick",
                    "seed": seed,
                    "backbone": None,
                    "packages": PACKAGES,
                },
                "error": f"cell 12, In [9]: ValueError: {EVIL}" if lost else "",
                "cell": CELL if lost else None,
                "folder": f"quick-seed{seed}",
            }


def put(folder, chance, **given):
    folder.mkdir()
    (folder / "records.json").write_text(json.dumps(list(rows(chance, **given))))
    return folder


def with_a_page(out):
    """Add the page of the chapter that failed, as a run does."""
    cells = [nbformat.v4.new_markdown_cell("x\n\n" * 300, id="first")]
    cells.append(nbformat.v4.new_code_cell("1 / 0", id=CELL))
    page = execution.page_of(nbformat.v4.new_notebook(cells=cells), "x")
    place = out / "quick-seed1" / "01_pretraining.html"
    place.parent.mkdir()
    place.write_text(page, "utf-8")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The report of three seeds beside four earlier runs and a baseline."""
    place, chance = tmp_path_factory.mktemp("runs"), random.Random(3)
    past = [put(place / f"past {n}", chance) for n in range(4)]
    out = put(place / "now", chance)
    with_a_page(out)
    before = {one.place: one for one in runs.gather(list(rows(chance, seeds=range(5))))}
    found = drift.compare(runs.read(out), before)
    moved = [
        drift.Moved(
            "01_pretraining", "quick", None, name, "", "record", 0.8, 0.02, 0.9, 0.7,
            0.9, 4.2, 0.001, red, EVIL,
        )
        for name, red in ((EVIL, True), ("accuracy 1", False))
    ]  # fmt: skip
    gone = [drift.Named("01_pretraining", "quick", None, EVIL, "record")]
    changed = [drift.Changed(EVIL, EVIL, "2.15")]
    found = drift.replace(found, moved=moved, gone=gone, changed=changed, notes=[EVIL])
    return run_report.write(out, history=past, comparison=found, baselines=before)


@pytest.fixture(scope="module", params=["light", "dark"])
def opened(request, browser, file):
    """The page, opened from disk, what it asked for, and what its names called."""
    view = {"width": 1200, "height": 900}
    context = browser.new_context(viewport=view, color_scheme=request.param)
    page, wanted = context.new_page(), []
    page.on("request", lambda asked: wanted.append(asked.url))
    page.on("dialog", lambda dialog: wanted.append(dialog.message))
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    yield page, wanted, request.param
    context.close()


def test_it_asks_for_nothing_and_can_be_read_by_everybody(opened, artifacts):
    page, wanted, scheme = opened
    assert len(wanted) == 1 and wanted[0].startswith("file:")
    assert page.locator("svg").count() > 30
    assert axe.findings(page) == []
    artifacts.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=artifacts / f"run_report_{scheme}.png", full_page=True)


@pytest.mark.parametrize("width", [320, 768, 1200])
def test_the_page_never_scrolls_sideways(opened, artifacts, width):
    """Wide tables scroll in their own boxes, which the keyboard reaches."""
    page, _, scheme = opened
    page.set_viewport_size({"width": width, "height": 800})
    over = "() => document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(over) <= 0
    boxes = page.locator(".wide")
    assert boxes.count() >= 4
    assert boxes.evaluate_all("all => all.every(box => box.tabIndex === 0)")
    if width == 320:
        name = f"run_report_{scheme}_narrow.png"
        page.screenshot(path=artifacts / name, full_page=True)


def test_every_chart_has_a_name_made_of_its_data(opened):
    page, *_ = opened
    charts = page.get_by_role("img", name="in this run; ")
    assert charts.count() == page.locator("svg").count()
    assert page.get_by_role("img", name="4 earlier runs").count() > 30


def test_paper_is_white_whatever_the_screen_prefers(opened):
    page, *_ = opened
    page.emulate_media(media="print")
    colours = page.evaluate(
        "() => { const style = getComputedStyle(document.body);"
        " return [style.backgroundColor, style.color]; }"
    )
    assert colours == ["rgb(255, 255, 255)", "rgb(27, 27, 27)"]
    page.emulate_media(media="screen")


def test_a_failed_chapter_leads_to_its_cell_by_keyboard(browser, file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    page.locator("td.failed a").first.press("Enter")
    page.wait_for_url("**/01_pretraining.html#*")
    target = page.locator(":target")
    assert target.get_attribute("id") == f"cell-id={CELL}"
    context.close()
