"""The detector dials: two thresholds, and what they do to boxes, precision, recall."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets

from course import plots
from course.errors import CourseError, unknown
from course.widgets.base import ROW, Explorer, Words, control

if TYPE_CHECKING:
    from torch import Tensor

    from course.boxes import Found
    from course.data.scenes import Scenes

SCORES = tuple(round(0.05 * step, 2) for step in range(1, 20))  # 0.05 to 0.95
OVERLAPS = tuple(round(0.1 * step, 1) for step in range(1, 10))  # 0.1 to 0.9
COLUMN = {
    "flex": "1 1 270px",
    "width": "auto",
    "min_width": "200px",
    "margin": "2px 6px 2px 2px",
    "overflow": "visible",  # a column that scrolls would have to take the focus
}


class DetectorDials(Explorer):
    """Turn a detector's two thresholds and see what stays of its boxes (chapter 08).

    The picture shows the boxes that are left on one scene. Precision and recall stand
    below it, of this scene and of all scenes, and a curve shows where on their trade
    the score threshold is.

    Args:
        scenes: what was looked at, with the true boxes.
        candidates: what was found in each scene before any box was suppressed:
            `detection.candidates`.
        keep: from candidates, a score and an overlap to the boxes that are left:
            `detection.keep`.
        precision_recall: from the boxes of scenes, the scenes and a score to precision
            and recall: `detection.precision_recall`.
        curve: from the boxes of scenes and the scenes to recalls, precisions and
            scores, the surest box first: `detection.precision_recall_curve`.
        draw: from a picture and its boxes, and the true boxes and labels as ``truth``,
            to a figure; None for `plots.scene`.
        score: the score threshold at the start, one of `SCORES`.
        nms: the threshold of non-maximum suppression at the start, one of `OVERLAPS`.

    Raises:
        CourseError: there is no scene, or not one list of candidates for each, or a
            threshold is no step of its slider.
    """

    def __init__(
        self,
        scenes: Scenes,
        candidates: Sequence[Found],
        *,
        keep: Callable[..., Found],
        precision_recall: Callable[..., tuple[float, float]],
        curve: Callable[..., tuple[Tensor, Tensor, Tensor]],
        draw: Callable[..., plots.Figure] | None = None,
        score: float = 0.3,
        nms: float = 0.5,
    ) -> None:
        if not len(scenes) or len(candidates) != len(scenes):
            raise CourseError(
                f"The detector dials got {len(scenes)} scenes and the candidates of "
                f"{len(candidates)}; expected one scene or more, and those of each."
            )
        self.scenes, self.candidates = scenes, list(candidates)
        self._keep, self._measure = keep, precision_recall
        self._draw_boxes = plots.scene if draw is None else draw
        # Beforehand: matching the boxes of all scenes takes longer than a slider may.
        self._left = {overlap: self._suppressed(overlap) for overlap in OVERLAPS}
        self._walks = {
            overlap: curve(self._left[overlap], scenes) for overlap in OVERLAPS
        }
        self._measured: dict[tuple[float, float], str] = {}
        self.chart, self.total = ipywidgets.HTML(), Words()
        controls = _controls(len(scenes), score, nms)
        super().__init__("Detector dials", controls, self._picture, self._of_one)
        row, picture = self.children
        self.children = [row, _side_by_side(picture, self.chart, self.total)]

    def left(self, score: float, nms: float, scene: int) -> Found:
        """Return the boxes that are left on a scene, which counts from 1."""
        return self._keep(self.candidates[scene - 1], score, nms)

    def still(self) -> plots.Figure | None:
        """Return the scene with its boxes above the curve of all scenes."""
        figure = super().still()
        if figure is None:
            return None
        score, nms = self.state["score"], self.state["nms"]
        recalls, precisions, _ = self._walks[nms]
        if not len(recalls):  # no box in any scene: there is no curve
            return figure
        precision, recall, _ = self._of_all(score, nms)
        name = f"overlaps up to {nms:.2f}"
        walked, here = {name: (recalls, precisions)}, {name: (recall, precision)}
        return plots.stacked(figure, plots.precision_recall(walked, here))

    def _suppressed(self, overlap: float) -> list[Found]:
        return [self._keep(found, SCORES[0], overlap) for found in self.candidates]

    def _picture(self, score: float, nms: float, scene: int) -> plots.Figure:
        place = scene - 1
        return self._draw_boxes(
            self.scenes.images[place],
            self.left(score, nms, scene),
            truth=(self.scenes.boxes[place], self.scenes.labels[place]),
        )

    def _of_one(self, score: float, nms: float, scene: int) -> str:
        left, one = self.left(score, nms, scene), self.scenes.take([scene - 1])
        measured = self._measure([left], one, score)
        there = len(self.scenes.labels[scene - 1])
        return (
            f"Scene {scene} with scores from {score:.2f} and overlaps up to {nms:.2f}: "
            + in_words(len(left), there, *measured)
        )

    def _of_all(self, score: float, nms: float) -> tuple[float, float, str]:
        """Return precision, recall and a sentence on all scenes."""
        if (score, nms) not in self._measured:
            measured = self._measure(self._left[nms], self.scenes, score)
            boxes = int((self._walks[nms][2] >= score).sum())
            there = sum(map(len, self.scenes.labels))
            words = f"All {len(self.scenes)} scenes: " + in_words(
                boxes, there, *measured
            )
            self._measured[score, nms] = (*measured, words)
        return self._measured[score, nms]

    def _draw_state(self) -> None:
        super()._draw_state()
        score, nms = self.state["score"], self.state["nms"]
        recalls, precisions, _ = self._walks[nms]
        precision, recall, words = self._of_all(score, nms)
        said = (
            f"Precision over recall of all scenes with overlaps up to {nms:.2f}. The "
            f"threshold {score:.2f} stands at recall {recall:.2f}, precision "
            f"{precision:.2f}."
        )
        points = thinned(recalls.tolist(), precisions.tolist())
        self.chart.value = chart(points, (recall, precision), said)
        self.total.say(words)


def in_words(boxes: int, objects: int, precision: float, recall: float) -> str:
    """Return precision and recall in words, with the counts that they stand for.

    Args:
        boxes: how many are left.
        objects: how many there are to be found.
        precision: the share of the boxes that is right.
        recall: the share of the objects that was found.
    """
    right = round(recall * objects)
    missed = f"{objects - right} of {objects} {_plural(objects, 'object')} missed"
    if not boxes:
        return f"no box is left, {missed}. Recall {recall:.2f}; no precision."
    return (
        f"{boxes} {_plural(boxes, 'box')}, {right} right and {boxes - right} wrong; "
        f"{missed}. Precision {precision:.2f}, recall {recall:.2f}."
    )


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else noun + ("es" if noun.endswith("x") else "s")


def _controls(scenes: int, score: float, nms: float) -> dict[str, Any]:
    return {
        "score": _threshold(
            "Score from", SCORES, score, "Drop the boxes that are less sure than this"
        ),
        "nms": _threshold(
            "NMS overlap",
            OVERLAPS,
            nms,
            "Drop a box that overlaps a surer one of its class by more than this (IoU)",
        ),
        "scene": control(
            ipywidgets.IntSlider,
            "Scene",
            min=1,
            max=scenes,
            tooltip="Which scene is shown",
        ),
    }


def _threshold(label: str, steps: Sequence[float], start: float, tooltip: str) -> Any:
    if start not in steps:
        raise unknown(label.lower(), start, map(str, steps))
    return control(
        ipywidgets.SelectionSlider,
        label,
        options=[(f"{step:.2f}", step) for step in steps],
        value=start,
        tooltip=tooltip,
    )


def _side_by_side(picture: Any, *column: ipywidgets.Widget) -> ipywidgets.Box:
    """Put the chart beside the picture, below it where the page is narrow."""
    for attribute, value in COLUMN.items():
        setattr(picture.layout, attribute, value)
    beside = ipywidgets.VBox(list(column), layout=ipywidgets.Layout(**COLUMN))
    return ipywidgets.Box([picture, beside], layout=ipywidgets.Layout(**ROW))


# The chart is drawn as SVG, which takes the theme's colours and costs no time. Its unit
# is a pixel where there is room for all of it.
SIDE, LEFT, TOP, WIDE, HIGH = 236, 46, 10, 296, 290
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def thinned(
    recalls: Sequence[float], precisions: Sequence[float]
) -> list[tuple[float, float]]:
    """Return the points of a curve that are a pixel or more apart, and the last."""
    kept: list[tuple[float, float]] = []
    points = list(zip(recalls, precisions, strict=True))
    for x, y in points:
        if not kept or abs(x - kept[-1][0]) + abs(y - kept[-1][1]) >= 1 / SIDE:
            kept.append((x, y))
    return kept + [point for point in points[-1:] if point != kept[-1]]


def chart(
    points: Sequence[tuple[float, float]], now: tuple[float, float], said: str
) -> str:
    """Return a curve of precision over recall as SVG.

    Args:
        points: recall and precision, from 0 to 1.
        now: the point that is marked.
        said: what the chart shows, for who cannot see it.
    """
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(_at, points))
    x, y = _at(now)
    guides = f"M{LEFT} {y:.1f}H{x:.1f}V{TOP + SIDE}"
    bright = "var(--jp-brand-color1, currentColor)"
    return (
        f'<svg role="img" aria-label="{html.escape(said)}" viewBox="0 0 {WIDE} {HIGH}" '
        'style="display:block;width:100%;max-width:340px;font-size:12px;'
        'color:var(--jp-content-font-color1, inherit)" fill="currentColor">'
        f"{_axes()}"
        f'<path d="{guides}" fill="none" stroke="currentColor" stroke-dasharray="4 4"/>'
        f'<polyline points="{line}" fill="none" stroke="{bright}" stroke-width="2"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{bright}" '
        'stroke="currentColor" stroke-width="2"/></svg>'
    )


def _at(point: tuple[float, float]) -> tuple[float, float]:
    return LEFT + SIDE * point[0], TOP + SIDE * (1 - point[1])


def _axes() -> str:
    bottom, middle = TOP + SIDE, TOP + SIDE / 2
    across, down = _at((0.5, 0.5))
    frame = f"M{LEFT} {TOP}V{bottom}H{LEFT + SIDE}"
    parts = [
        f'<path d="{frame}" fill="none" stroke="currentColor"/>',
        _text("recall", across, bottom + 36),
        f'<g transform="rotate(-90 12 {middle})">{_text("precision", 12, down)}</g>',
    ]
    for tick in TICKS:
        x, y = _at((tick, tick))
        parts.append(_text(f"{tick:g}", x, bottom + 17))
        parts.append(_text(f"{tick:g}", LEFT - 6, y + 4, "end"))
    return "".join(parts)


def _text(words: str, x: float, y: float, anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{words}</text>'
