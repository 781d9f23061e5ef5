"""The scene builder: put shapes into a scene and see at once what a detector finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets

from course import plots
from course.data.scenes import SHAPES, Placed, Scenes
from course.data.shapes import COLOURS, FILLS
from course.errors import CourseError, unknown
from course.widgets.accessibility import Accessibility
from course.widgets.base import ROW, Panel, Words, button, control, guarded
from course.widgets.scene_account import Account, account
from course.widgets.scene_stage import MOST, SceneStage

if TYPE_CHECKING:
    from torch import Tensor

    from course.boxes import Found

RADII = (6, 36)  # pixels, of a scene of 128


# In a scene of 128 pixels: what a detector finds easy, and what it does not.
READY_MADE: dict[str, tuple[Placed, ...]] = {
    "Far apart": (
        Placed("crown", 32, 34, 18),
        Placed("key", 94, 36, 19, colour="blue"),
        Placed("mushroom", 36, 94, 19, colour="violet"),
        Placed("star6", 94, 92, 18, colour="yellow"),
    ),
    "Close together": (
        Placed("trefoil", 40, 46, 20, colour="teal"),
        Placed("star6", 68, 66, 20, colour="orange"),
        Placed("trefoil", 96, 88, 20, colour="pink"),
    ),
    "From small to large": (
        Placed("crown", 12, 64, 6),
        Placed("crown", 30, 64, 10),
        Placed("crown", 56, 64, 15),
        Placed("crown", 96, 64, 24),
    ),
    "Turned": (
        Placed("pin", 34, 34, 19, colour="green"),
        Placed("pin", 94, 34, 19, colour="green", rotation=60),
        Placed("pin", 34, 94, 19, colour="green", rotation=120),
        Placed("pin", 94, 94, 19, colour="green", rotation=180),
    ),
    "In other patterns": (
        Placed("star6", 34, 36, 19, fill="stripes"),
        Placed("star6", 94, 36, 19, fill="dots"),
        Placed("star6", 34, 94, 19, fill="rings"),
        Placed("star6", 94, 94, 19, fill="speckle"),
    ),
    "Empty": (),
}


class SceneBuilder(Panel):
    """Click shapes into a scene; a detector says at once what it sees (chapter 08).

    A click puts the next shape there. The cross does the same from the keyboard: the
    arrow keys move it, Enter adds, Backspace takes away. Below the scene stands what
    was found, what was missed and what was invented.

    Args:
        compose: from a list of `scenes.Placed`, a ``size`` and a ``seed`` for what is
            behind them, to a scene: `scenes.compose`.
        detect: from uint8 (1, 3, S, S) to a list with what was found on it, such as
            ``lambda images: detection.detect(detector, images)``.
        matched: which boxes are right, given the true boxes and labels:
            `detection.matched`.
        draw: from a picture, what was found on it, and the true boxes and labels as
            ``truth``, to a figure of the picture without a margin; None for
            `plots.scene`.
        examples: name to the objects of a ready-made scene; the first is shown. None
            for `READY_MADE`.
        size: height and width of the scene in pixels.

    Raises:
        CourseError: there is no example.
    """

    def __init__(
        self,
        compose: Callable[..., Scenes],
        detect: Callable[[Tensor], Sequence[Found]],
        matched: Callable[..., Tensor],
        *,
        draw: Callable[..., plots.Figure] | None = None,
        examples: Mapping[str, Sequence[Placed]] | None = None,
        size: int = 128,
    ) -> None:
        if examples is None:
            examples = {name: scaled(row, size) for name, row in READY_MADE.items()}
        if not examples:
            raise CourseError(
                "The scene builder needs a scene to start from; pass one or more as "
                'examples, such as {"Empty": []}.'
            )
        self.examples = {str(name): list(row) for name, row in examples.items()}
        self._compose, self._detect, self._matched = compose, detect, matched
        self._draw = plots.scene if draw is None else draw
        self.objects: list[Placed] = []
        self.scene: Scenes | None = None
        self.found: Found | None = None
        self.result: Account | None = None
        self.figure: plots.Figure | None = None
        self._seed = 0
        self.next_words, self.words = Words(), Words()
        self.stage = SceneStage(size, self.words, self._asked)
        self._make_controls(size)
        super().__init__(self._arranged(), "Scene builder")
        self._connect()
        self._describe_next()
        guarded(self.words, self._start)()

    def add(self, x: float | None = None, y: float | None = None) -> None:
        """Put the next shape where the cross is, or at a place in pixels.

        Raises:
            CourseError: the scene is full.
        """
        self.stage.go(
            self.stage.x if x is None else x, self.stage.y if y is None else y
        )
        if len(self.objects) >= MOST:
            raise CourseError(
                f"The scene is full with {MOST} objects; take one away first."
            )
        self._show([*self.objects, self._next(self.stage.x, self.stage.y)])
        self.example.value = None

    def undo(self) -> None:
        """Take the last object away.

        Raises:
            CourseError: there is none.
        """
        if not self.objects:
            raise CourseError("The scene is empty: there is nothing to take away.")
        self._show(self.objects[:-1])
        self.example.value = None

    def clear(self) -> None:
        """Take all objects away."""
        self._show([])
        self.example.value = None

    def change_background(self) -> None:
        """Put the same objects on another background."""
        self._show(self.objects, self._seed + 1)

    def load(self, name: str) -> None:
        """Show a ready-made scene.

        Raises:
            CourseError: there is none of this name.
        """
        if name not in self.examples:
            raise unknown("scene", name, self.examples)
        self._show(self.examples[name])
        self.example.value = name

    def still(self) -> plots.Figure | None:
        """Return the scene with the boxes that were found."""
        if self.figure is None:
            return None
        said = self.result.sentence(len(self.objects))
        return plots.Figure(self.figure.png, f"{self.figure.alt} {said}")

    def _make_controls(self, size: int) -> None:
        low, high = (max(4, round(radius * size / 128)) for radius in RADII)
        menu, slider = ipywidgets.Dropdown, ipywidgets.IntSlider
        self.controls = {
            "shape": control(
                menu, "Shape", options=list(SHAPES), tooltip="What comes next"
            ),
            "colour": control(
                menu, "Colour", options=list(COLOURS), tooltip="Its colour"
            ),
            "fill": control(menu, "Fill", options=list(FILLS), tooltip="Its pattern"),
            "size": control(
                slider,
                "Radius",
                min=low,
                max=high,
                value=(low + high) // 2,
                tooltip="How large it is, in pixels of the scene",
            ),
            "rotation": control(
                slider,
                "Turn",
                min=-180,
                max=180,
                step=15,
                value=0,
                tooltip="By how many degrees it is turned, clockwise",
            ),
        }
        self.example = control(
            ipywidgets.Dropdown,
            "Ready-made",
            options=list(self.examples),
            tooltip="Start from a scene that is ready",
        )

    def _arranged(self) -> list[ipywidgets.Widget]:
        self.add_button = button("Add", "Put the shape where the cross is (Enter)")
        self.undo_button = button("Undo", "Take the last shape away (Backspace)")
        self.clear_button = button("Clear", "Take all shapes away")
        self.ground_button = button(
            "Another background", "Put the same shapes on another background"
        )
        buttons = [
            self.add_button,
            self.undo_button,
            self.clear_button,
            self.ground_button,
        ]
        rows = [
            ipywidgets.Box(row, layout=ipywidgets.Layout(**ROW))
            for row in ([self.example, *self.controls.values()], buttons)
        ]
        return [
            rows[0],
            self.next_words,
            self.stage,
            rows[1],
            self.words,
            Accessibility(),
        ]

    def _connect(self) -> None:
        for one, act in (
            (self.add_button, self.add),
            (self.undo_button, self.undo),
            (self.clear_button, self.clear),
            (self.ground_button, self.change_background),
        ):
            one.on_click(guarded(self.words, lambda _, act=act: act()))
        for one in self.controls.values():
            one.observe(
                guarded(self.words, lambda _: self._describe_next()), names="value"
            )
        self.example.observe(guarded(self.words, self._chosen), names="value")

    def _start(self) -> None:
        self._show(self.examples[self.example.value])

    def _chosen(self, change: dict[str, Any]) -> None:
        if change["new"] is not None and self.objects != self.examples[change["new"]]:
            self._show(self.examples[change["new"]])

    def _asked(self, act: str) -> None:
        self.add() if act == "add" else self.undo()

    def _next(self, x: float, y: float) -> Placed:
        return Placed(x=x, y=y, **{n: c.value for n, c in self.controls.items()})

    def _describe_next(self) -> None:
        one = self._next(0, 0)
        turn = f"turned by {one.rotation}°" if one.rotation else "not turned"
        self.next_words.say(
            f"Next: {one.shape}, {one.colour}, {one.fill}, radius {one.size} pixels, "
            f"{turn}. Click into the scene, or Enter at the cross."
        )
        self.stage.radius = one.size

    def _show(self, objects: list[Placed], seed: int | None = None) -> None:
        """Compose and detect; where that fails, all stays as it was."""
        seed = self._seed if seed is None else seed
        scene = self._compose(objects, size=self.stage.side, seed=seed)
        image, truth = scene.images[0], (scene.boxes[0], scene.labels[0])
        found = self._detect(scene.images)[0]
        figure = self._draw(image, found, truth=truth)
        names = _names(objects, scene)
        self.result = account(found, *truth, names, self._matched)
        self.objects, self._seed = objects, seed
        self.scene, self.found, self.figure = scene, found, figure
        self.stage.show(figure, [(named(o), o.x, o.y, o.size) for o in objects])
        self.undo_button.disabled = self.clear_button.disabled = not objects
        self.add_button.disabled = len(objects) >= MOST
        self.words.show(self.result.markup(len(objects)))


def _names(objects: Sequence[Placed], scene: Scenes) -> list[str]:
    """Return what each object that can be seen is called."""
    labels = scene.labels[0].tolist()
    if len(labels) == len(objects):
        return [named(one) for one in objects]
    return [scene.class_names[label] for label in labels]  # one is hidden, no telling


def scaled(objects: Sequence[Placed], size: int) -> list[Placed]:
    """Return objects of a scene of 128 pixels in one of another size."""
    by = size / 128
    return [replace(o, x=o.x * by, y=o.y * by, size=o.size * by) for o in objects]


def named(one: Placed) -> str:
    """Return an object in words, such as "red crown"."""
    return f"{one.colour} {one.shape}"
