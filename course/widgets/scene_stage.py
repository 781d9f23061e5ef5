"""The stage of the scene builder: a picture, a cross on it, and clicks and keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from course.plots.figure import Figure
from course.widgets.base import Surface, guarded

MOST = 12  # objects of a scene: more leave no room to see what is where
LOOKS = """
.course-scene { position: relative; box-sizing: border-box; width: 100%;
  max-width: 480px; cursor: crosshair; touch-action: manipulation; line-height: 0;
  border: 1px solid var(--jp-border-color1, #bdbdbd); user-select: none; }
.course-scene:focus, .course-panel .course-scene:focus-visible { outline-offset: -3px;
  outline: 3px solid var(--jp-brand-color1, #0072b2); }
.course-scene img { display: block; width: 100%; height: auto; }
.course-scene-marks { position: absolute; inset: 0; width: 100%; height: 100%;
  pointer-events: none; }
.course-scene-marks * { fill: none; vector-effect: non-scaling-stroke; }
.course-scene-under { stroke: #111; stroke-width: 4px; }
.course-scene-over { stroke: #fff; stroke-width: 1.6px; }
circle.course-scene-under { stroke-width: 3px; }
circle.course-scene-over { stroke-width: 1.6px; stroke-dasharray: 5 4; }
.course-scene-marks [hidden] { display: none; }
.course-scene-place { padding: 3px 1px; min-height: 1.4em; line-height: 1.4;
  color: var(--jp-ui-font-color1, #222); }
"""
HOW = (
    "The scene. Arrow keys move the cross, with Shift by one pixel; Enter adds the "
    "next shape there, Backspace takes the last one away."
)


class SceneStage(anywidget.AnyWidget):
    """The picture of a scene, and what a mouse or keys do on it.

    Args:
        side: height and width of the scene in pixels.
        surface: where an error of `asked` is shown.
        asked: called with "add" or "undo" once the cross stands where that was asked.
    """

    _esm = Path(__file__).with_name("scene_builder.js").read_text("utf-8")
    _css = LOOKS

    picture = traitlets.Bytes(b"").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    label = traitlets.Unicode(HOW).tag(sync=True)
    side = traitlets.Int(128).tag(sync=True)
    x = traitlets.Int(0).tag(sync=True)  # of the cross, like y in pixels
    y = traitlets.Int(0).tag(sync=True)
    radius = traitlets.Float(1).tag(sync=True)  # of what comes next
    most = traitlets.Int(MOST).tag(sync=True)
    objects = traitlets.List(traitlets.Dict()).tag(sync=True)  # name, x, y, size

    def __init__(
        self, side: int, surface: Surface, asked: Callable[[str], None]
    ) -> None:
        super().__init__(side=side, x=side // 2, y=side // 2)
        self._asked = asked
        self.on_msg(guarded(surface, self._received))

    def go(self, x: float, y: float) -> None:
        """Move the cross, inside the scene."""
        last = self.side - 1
        self.x, self.y = (min(max(round(value), 0), last) for value in (x, y))

    def show(
        self, figure: Figure, objects: Sequence[tuple[str, float, float, float]]
    ) -> None:
        """Show a scene.

        Args:
            figure: its picture, without a margin.
            objects: what each is called, its centre and its radius in pixels.
        """
        keys = ("name", "x", "y", "size")
        with self.hold_sync():
            self.picture, self.alt = figure.png, figure.alt
            self.objects = [dict(zip(keys, one, strict=True)) for one in objects]

    def _received(self, _: Any, content: Any, buffers: Any) -> None:
        act = content.get("act") if isinstance(content, dict) else None
        if act not in ("add", "undo"):
            return
        if act == "add":
            self.go(float(content["x"]), float(content["y"]))
        self._asked(act)
