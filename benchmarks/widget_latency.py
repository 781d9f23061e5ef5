"""How long is it from a key to the new picture? Every slider of every chapter.

Run it with ``python benchmarks/widget_latency.py [CHAPTER ...]``; it needs a Chromium
(see ``tests/browser``). A picture that was finished beforehand should be there within
150 ms, one that is computed as the slider moves, such as Grad-CAM, within 400 ms.

The time is taken in the page: from the key to the image element having loaded other
bytes. "new" are states that were not shown before; the others come from the widget's
memory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Locator, TimeoutError, sync_playwright
from timing import NotMeasured, Row, row

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browser import hands, lab

PRESSES = 24  # of each slider, at least
SILENT = 4  # presses without a picture, after which a slider is taken to have none
REST = 80  # milliseconds between a picture and the next key
GOAL, LIVE_GOAL = 150, 400  # milliseconds
LIVE = {"04_looking_inside": ("LayerSlider",)}  # computed as the slider moves
WATCH = """root => {
  root.addEventListener('keydown', () => {
    window.pressed = performance.now();
    window.took = null;
  }, true);
  for (const image of root.querySelectorAll('img'))
    image.addEventListener('load', () => {
      window.took ??= performance.now() - window.pressed;
    });
}"""


@dataclass
class Timed:
    """The milliseconds that one slider took, for new states and for known ones."""

    chapter: str
    widget: str
    slider: str
    new: list[float] = field(default_factory=list)
    known: list[float] = field(default_factory=list)
    silent: int = 0  # presses after which no picture came within three seconds

    @property
    def goal(self) -> int:
        """What the median should not exceed, in milliseconds."""
        live = self.widget in LIVE.get(self.chapter, ())
        return LIVE_GOAL if live else GOAL

    @property
    def typical(self) -> float:
        """The median over new states; over known ones where none was new."""
        return statistics.median(self.new or self.known)


def press(handle: Locator, key: str) -> float | None:
    """Press a key on a slider; return milliseconds to the picture, None for none."""
    page = handle.page
    handle.press(key)
    try:
        page.wait_for_function("() => window.took !== null", timeout=3000, polling=5)
    except TimeoutError:
        return None
    page.wait_for_timeout(REST)
    return page.evaluate("() => window.took")


def walk(handle: Locator, timed: Timed) -> None:
    """Go to one end of a slider and back and forth until there are enough times."""
    key, seen = "ArrowRight", {handle.get_attribute("aria-valuenow")}
    for _ in range(2 * PRESSES):
        now = handle.get_attribute("aria-valuenow")
        if now == handle.get_attribute("aria-valuemax"):
            key = "ArrowLeft"
        elif now == handle.get_attribute("aria-valuemin"):
            key = "ArrowRight"
        took = press(handle, key)
        now = handle.get_attribute("aria-valuenow")
        if took is not None:
            (timed.known if now in seen else timed.new).append(took)
        seen.add(now)
        timed.silent += took is None
        answers = len(timed.new) + len(timed.known)
        if answers >= PRESSES or (timed.silent >= SILENT and not answers):
            break


def measured(chapter: lab.Chapter) -> Iterator[Timed]:
    """Time every slider of a chapter that is open and was run."""
    for widget in chapter.widgets():
        root = chapter.root(widget)
        sliders = [c for c in hands.controls(root) if c.kind == "slider"]
        if not sliders or not root.locator("img").count():
            continue
        root.evaluate(WATCH)
        for slider in sliders:
            hands.bring(slider.where)
            slider.where.focus()
            timed = Timed(chapter.path.stem, widget["name"], slider.label)
            walk(slider.where, timed)
            if timed.new or timed.known:
                yield timed


def line(timed: Timed) -> str:
    """Return a row of the table: medians, the slowest, and whether the goal is met."""
    both = timed.new + timed.known
    median = statistics.median(both)
    parts = [
        f"{statistics.median(times):5.0f} ({len(times):2})" if times else "     – ( 0)"
        for times in (timed.new, timed.known)
    ]
    verdict = "met" if timed.typical <= timed.goal else "MISSED"
    return (
        f"{timed.chapter[:2]}  {timed.widget:17} {timed.slider:14} {parts[0]}  "
        f"{parts[1]}  {median:6.0f}  {max(both):7.0f}  {timed.goal:4}  {verdict}"
    )


def opened(chapters: Sequence[str] = (), profile: str = "smoke") -> Iterator[Timed]:
    """Run chapters in a browser and time every slider in them.

    Args:
        chapters: how their file names begin, such as ``"04"``; empty for all.
        profile: of the chapters.

    Raises:
        NotMeasured: there is no Chromium.
    """
    wanted = tuple(chapters) or ("",)
    with (
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as folder,
    ):
        chromium = lab.find_chromium(playwright)
        if chromium is None:
            raise NotMeasured(
                "there is no Chromium; install one or name it in $CHROMIUM"
            )
        with lab.serving(Path(folder), profile) as server:
            browser = lab.launch(playwright, chromium)
            for path in lab.CHAPTERS:
                if path.name.startswith(wanted):
                    chapter = lab.Chapter(browser, server, path.name)
                    chapter.run_all()
                    yield from measured(chapter)
                    chapter.close()
            browser.close()


def rows() -> list[Row]:
    """Return a row for the finished pictures, and one for those computed live.

    Its values are the medians of the sliders, so its highest is the slowest slider's.
    """
    every = list(opened())
    lines = []
    for goal, kind in ((GOAL, "finished beforehand"), (LIVE_GOAL, "live Grad-CAM")):
        alike = [one for one in every if one.goal == goal]
        if not alike:
            continue
        what = f"a key on a slider to the new picture, {kind}"
        reach = f"at most {goal}, every slider"
        lines.append(row(what, "–", reach, [one.typical for one in alike], "ms"))
        slowest = max(alike, key=lambda one: one.typical)
        lines[-1]["note"] = (
            f"medians of {len(alike)} sliders; the slowest is “{slowest.slider}” of "
            f"{slowest.widget} in chapter {slowest.chapter[:2]}"
        )
    return lines


def main() -> None:
    """Print one row for each slider."""
    command = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    command.add_argument("chapters", nargs="*", help="such as 04; default: all")
    command.add_argument("--profile", default="smoke", help="default: %(default)s")
    options = command.parse_args()
    print(
        "ch  widget            slider          new ms (n)  known ms (n)  median "
        " slowest  goal"
    )
    try:
        for timed in opened(options.chapters, options.profile):
            print(line(timed), flush=True)
    except NotMeasured as error:
        sys.exit(f"Nothing was measured: {error}.")


if __name__ == "__main__":
    main()
