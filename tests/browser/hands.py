"""Hands for a widget: every control it has, moved with the mouse or the keyboard.

A control is told by what it is in the page, so a new widget needs nothing here unless
it brings a new kind of control.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from playwright.sync_api import FileChooser, Locator

PATIENCE = 30  # seconds from a move to what it changes; a busy machine is no failure
# What a reader sees of a widget: its words and the bytes of its pictures, without what
# a control shows by itself, such as a slider's number or a canvas that is pointed at:
# that would change with a dead kernel too. An image's address says nothing; it may be a
# new one for the same bytes.
SEEN = """async root => {
  const copy = root.cloneNode(true);
  const own = ['.widget-readout', '.widget-label', 'select', '.course-drop', 'style',
    '.course-scene-place'];
  copy.querySelectorAll(own.join()).forEach(node => node.remove());
  const hash = async bytes => [...new Uint8Array(
    await crypto.subtle.digest('SHA-1', bytes))].join();
  const bytes = async image => {
    try { return await hash(await (await fetch(image.src)).arrayBuffer()); }
    catch { return 'being replaced'; }
  };
  const pictures = await Promise.all([...root.querySelectorAll('img')].map(bytes));
  const unfolded = root.querySelectorAll('details[open]').length;
  const words = copy.textContent.replace(/\\s+/g, ' ').trim();
  return JSON.stringify([words, pictures, unfolded]);
}"""
ALERTS = """root => [...root.querySelectorAll('[role=alert]')].map(
  node => node.textContent.trim()).filter(Boolean)"""
# Every control that can be used now: its kind, its place among its kind, its label.
CONTROLS = """(root, kinds) => kinds.flatMap(([kind, selector]) =>
  [...root.querySelectorAll(selector)].map((node, index) => {
    const named = '.widget-label, .widget-label-basic';
    let box = node;
    while (!box.querySelector(named) && box !== root) box = box.parentElement;
    const labels = [...box.querySelectorAll(named)].map(one => one.textContent);
    const own = node.getAttribute('aria-label') || node.textContent;
    const words = own.trim() || labels.join('');
    const label = words.replace(/\\(\\d+\\)$/, '').trim();
    const usable = node.getClientRects().length && !node.closest('[disabled]');
    return usable && {kind, index, label};
  }).filter(Boolean))"""
HAS_FOCUS = "node => node === node.ownerDocument.activeElement"


@dataclass(frozen=True)
class Control:
    """One control of a widget: a key of `KINDS`, what the page calls it, its place."""

    kind: str
    label: str
    where: Locator

    def __str__(self) -> str:
        return f"{self.kind} {self.label!r}"


def controls(root: Locator) -> list[Control]:
    """Return the controls of a widget that can be used now, buttons last."""
    kinds = [(kind, selector) for kind, (selector, *_) in KINDS.items()]
    return [
        Control(
            row["kind"],
            row["label"],
            root.locator(KINDS[row["kind"]][0]).nth(row["index"]),
        )
        for row in root.evaluate(CONTROLS, kinds)
    ]


def alerts(root: Locator) -> list[str]:
    """Return the errors that a widget shows."""
    return root.evaluate(ALERTS)


def becomes_other(root: Locator, before: str) -> str:
    """Wait until a widget looks otherwise, and settles; empty where it never does."""
    until = time.monotonic() + PATIENCE
    while root.evaluate(SEEN) == before:
        if time.monotonic() > until:
            return ""
        root.page.wait_for_timeout(20)
    return at_rest(root)


def at_rest(root: Locator, quiet: float = 0.1) -> str:
    """Return what is seen of a widget, to be compared, once it stays the same."""
    last, since = root.evaluate(SEEN), time.monotonic()
    until = since + PATIENCE
    while time.monotonic() - since < quiet and time.monotonic() < until:
        root.page.wait_for_timeout(30)
        now = root.evaluate(SEEN)
        if now != last:
            last, since = now, time.monotonic()
    return last


def move(control: Control, how: str, text: str = "") -> None:
    """Move a control once, to another of its values.

    Args:
        control: from `controls`.
        how: "mouse" or "keyboard".
        text: what a text field gets.
    """
    by_mouse, by_keyboard = KINDS[control.kind][1:]
    act = by_mouse if how == "mouse" else by_keyboard
    bring(control.where)
    if how == "keyboard" and control.kind != "radio":  # a group, whose inputs take it
        control.where.focus()
        assert control.where.evaluate(HAS_FOCUS), f"{control} takes no focus"
    act(control.where, text) if control.kind == "text" else act(control.where)


# JupyterLab lays a cell out when it comes near, which moves all that is below it.
CENTRE = """node => new Promise(done => {
  node.scrollIntoView({block: 'center'});
  const rest = (last, left) => requestAnimationFrame(() => {
    const now = node.getBoundingClientRect().top;
    if (now === last && !left) return done();
    if (now !== last) node.scrollIntoView({block: 'center'});
    rest(now, now === last ? left - 1 : 2);
  });
  rest(NaN, 2);
})"""


def bring(place: Locator) -> None:
    """Scroll an element to the middle of the page and wait until it stays there."""
    place.evaluate(CENTRE)


def _number(place: Locator, name: str) -> float:
    return float(place.get_attribute(name) or 0)


def _drag(handle: Locator) -> None:
    """Drag a slider's handle to the far part of its track."""
    track = handle.locator("xpath=ancestor::*[contains(@class, 'noUi-base')]")
    span, start = track.bounding_box(), handle.bounding_box()
    x, y = start["x"] + start["width"] / 2, start["y"] + start["height"] / 2
    in_left_half = x < span["x"] + span["width"] / 2
    target = span["x"] + span["width"] * (0.9 if in_left_half else 0.1)
    mouse = handle.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move((x + target) / 2, y)
    mouse.move(target, y)
    mouse.up()


def _step(handle: Locator) -> None:
    """Press an arrow key, away from the end at which the slider stands."""
    now, most = (_number(handle, f"aria-value{name}") for name in ("now", "max"))
    handle.press("ArrowLeft" if now >= most else "ArrowRight")


def _other_option(menu: Locator) -> int:
    state = "node => [node.selectedIndex, node.options.length]"
    chosen, count = menu.evaluate(state)
    return chosen + 1 if chosen + 1 < count else max(0, chosen - 1)


def _choose(menu: Locator) -> None:
    """Choose another option; the system draws the open list, where no page reaches."""
    menu.select_option(index=_other_option(menu))


def _arrow(menu: Locator) -> None:
    chosen = menu.evaluate("node => node.selectedIndex")
    menu.press("ArrowDown" if _other_option(menu) > chosen else "ArrowUp")


def _click_radio(box: Locator) -> None:
    box.locator("label:has(input:not(:checked))").first.click()


def _arrow_radio(box: Locator) -> None:
    chosen = box.locator("input:checked")
    if chosen.count():
        chosen.press("ArrowDown")
    else:
        box.locator("input").first.press("Space")


def _type(place: Locator, text: str) -> None:
    """Replace what a text field holds, and leave it as one does: Enter."""
    place.press("ControlOrMeta+a")
    place.press("Delete")
    place.press_sequentially(text)
    place.press("Enter")


def _click_and_type(place: Locator, text: str) -> None:
    place.click()
    _type(place, text)


def png(shade: str = "#DC1E1E", side: int = 96) -> bytes:
    """Return a small picture of a disc, to upload."""
    image = Image.new("RGB", (side, side), "#888888")
    ImageDraw.Draw(image).ellipse((side // 6, side // 6, side // 2, side // 2), shade)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _upload(button: Locator, open_dialog: Callable[[], None]) -> None:
    with button.page.expect_file_chooser() as dialog:
        open_dialog()
    chooser: FileChooser = dialog.value
    chooser.set_files(
        {"name": "sent.png", "mimeType": "image/png", "buffer": png("#1E8C32")}
    )


# A place on a canvas where a coloured mark is, well away from the last one clicked.
DRAWN = """canvas => {
  const {width, height} = canvas;
  const dots = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  const places = [];
  for (let i = 0; i < dots.length; i += 4) {
    const [red, green, blue, alpha] = dots.slice(i, i + 4);
    const coloured = Math.max(red, green, blue) - Math.min(red, green, blue) > 60;
    const dot = i / 4;
    if (alpha > 200 && coloured) places.push([dot % width, Math.floor(dot / width)]);
  }
  const [x, y] = places[Math.floor(places.length * (canvas.clicked ? 0.8 : 0.1))];
  canvas.clicked = !canvas.clicked;
  const scale = canvas.clientWidth / width;
  return {x: x * scale, y: y * scale};
}"""


def _click_canvas(canvas: Locator) -> None:
    """Click a point, and another one where the first was chosen already."""
    _until_other(canvas, [partial(_click_point, canvas)] * 2)


def _click_point(canvas: Locator) -> None:
    canvas.click(position=canvas.evaluate(DRAWN))


def _walk_canvas(canvas: Locator) -> None:
    """Take one step: a point at the edge has none beside it in some directions."""
    keys = ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp")
    _until_other(canvas, [partial(canvas.press, key) for key in keys])


def _until_other(canvas: Locator, acts: list[Callable[[], Any]]) -> None:
    """Act in turn until the canvas says something else."""
    before = canvas.get_attribute("aria-label")
    for act in acts:
        act()
        for _ in range(20):
            if canvas.get_attribute("aria-label") != before:
                return
            canvas.page.wait_for_timeout(100)


def _click_and_answer(stage: Locator) -> None:
    """Label the picture: a click lets its keys work."""
    stage.click()
    stage.page.keyboard.press("1")


def _click_scene(stage: Locator) -> None:
    """Put a shape where few scenes have one: above and left of the middle."""
    box = stage.bounding_box()
    stage.click(position={"x": 0.45 * box["width"], "y": 0.3 * box["height"]})


def _add_to_scene(stage: Locator) -> None:
    """Move the cross and put a shape there."""
    stage.press("ArrowRight")
    stage.press("Enter")


# kind: what it is in the page, how a mouse moves it, how a keyboard does.
KINDS: dict[str, tuple[Any, ...]] = {
    "slider": (".noUi-handle", _drag, _step),
    "menu": ("select", _choose, _arrow),
    "radio": (".widget-radio-box:has(input:enabled)", _click_radio, _arrow_radio),
    "checkbox": (
        "input[type=checkbox]",
        lambda place: place.click(),
        lambda place: place.press("Space"),
    ),
    "text": (
        "input[type=text], input[type=search], input[type=number], textarea",
        _click_and_type,
        _type,
    ),
    "canvas": ("canvas[tabindex]", _click_canvas, _walk_canvas),
    "fold": (
        "summary",
        lambda place: place.click(),
        lambda place: place.press("Enter"),
    ),
    "scene": (".course-scene", _click_scene, _add_to_scene),
    "stage": (".course-stage", _click_and_answer, lambda place: place.press("1")),
    "upload": (
        ".course-drop-choose",
        lambda place: _upload(place, place.click),
        lambda place: _upload(place, lambda: place.press("Enter")),
    ),
    "button": (
        "button:not(.course-drop-choose)",
        lambda place: place.click(),
        lambda place: place.press("Enter"),
    ),
}


def keep_picture(root: Locator, path: Path) -> None:
    """Keep a screenshot of a widget."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bring(root)
    root.screenshot(path=path)
