"""The scene builder: a click, a key and a button do the same, and words say what."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import torch

from course import boxes, plots, widgets
from course.data import scenes
from course.data.scenes import Placed
from course.errors import CourseError
from course.widgets.scene_account import Account, account
from course.widgets.scene_builder import MOST, READY_MADE, scaled
from course.widgets.scene_stage import SceneStage

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "course" / "widgets" / "scene_builder.js"
NAMES = ("crown", "key", "pin")


class Eye:
    """A detector that sees all that is composed, except where it is told not to.

    Args:
        blind: classes that it never sees.
        shift: by how many pixels its boxes are off.
    """

    def __init__(self, blind=(), shift=0.0):
        self.blind, self.shift, self.asked = blind, shift, []
        self.scene = None

    def compose(self, objects, *, size, seed):
        self.asked.append((list(objects), size, seed))
        self.scene = scenes.compose(objects, size=size, seed=seed)
        return self.scene

    def detect(self, images):
        assert images.dtype == torch.uint8 and len(images) == 1
        labels = self.scene.labels[0]
        sees = [scenes.SHAPES[label] not in self.blind for label in labels.tolist()]
        seen = torch.tensor(sees, dtype=torch.bool)
        scores = torch.linspace(0.9, 0.5, len(labels))
        places = self.scene.boxes[0] + self.shift
        return [boxes.Found(places, scores, labels, scenes.SHAPES).take(seen)]


def draw(image, found, truth):
    return plots.plain(image, f"{len(found)} boxes on {len(truth[1])} objects", side=1)


def builder(eye=None, **options):
    eye = Eye() if eye is None else eye
    return widgets.SceneBuilder(
        eye.compose, eye.detect, boxes.matched, draw=draw, **options
    )


def send(widget, **content):
    """Send what the page sends."""
    widget.stage._handle_custom_msg(content, [])


def words(widget):
    return re.sub("<.*?>", " ", widget.words.value).replace("  ", " ")


def failed(widget):
    return 'role="alert"' in widget.words.value


def empty(**options):
    return builder(examples={"Empty": []}, **options)


def test_a_click_a_key_and_a_button_put_the_same_shape_there():
    clicked, pressed, called = empty(), empty(), empty()
    for widget in (clicked, pressed, called):
        widget.controls["shape"].value = "key"
        widget.controls["colour"].value = "blue"
        widget.controls["fill"].value = "dots"
        widget.controls["size"].value = 14
        widget.controls["rotation"].value = 45
    send(clicked, act="add", x=40, y=90)
    pressed.stage.x, pressed.stage.y = 40, 90  # as the arrow keys move it
    pressed.add_button.click()
    called.add(40, 90)
    wanted = [Placed("key", 40, 90, 14, "dots", "blue", 45)]
    assert clicked.objects == pressed.objects == called.objects == wanted
    assert clicked.stage.picture == pressed.stage.picture == called.stage.picture
    assert words(clicked) == words(pressed) and "blue key 0.90" in words(clicked)


def test_backspace_and_undo_take_the_last_one_away_and_clear_all():
    widget = empty()
    pictures = [widget.stage.picture]
    for place in (30, 64, 98):
        widget.add(place, place)
        pictures.append(widget.stage.picture)
    assert len(set(pictures)) == 4
    send(widget, act="undo")
    assert widget.stage.picture == pictures[2]
    widget.undo_button.click()
    assert widget.stage.picture == pictures[1] and len(widget.objects) == 1
    widget.clear_button.click()
    assert widget.objects == [] and widget.stage.picture == pictures[0]
    assert not failed(widget) and "The scene is empty" in words(widget)


def test_buttons_are_off_where_they_could_do_nothing():
    widget = empty()
    assert widget.undo_button.disabled and widget.clear_button.disabled
    widget.add()
    assert not widget.undo_button.disabled and not widget.clear_button.disabled
    send(widget, act="undo")
    assert widget.undo_button.disabled and widget.clear_button.disabled
    send(widget, act="undo")  # the key is never off
    assert failed(widget) and "nothing to take away" in words(widget)


def test_what_comes_next_stands_in_words_and_is_the_circle_at_the_cross():
    widget = empty()
    widget.controls["shape"].value = "pin"
    widget.controls["size"].value = 30
    widget.controls["rotation"].value = -45
    said = widget.next_words.value
    assert "pin, red, solid, radius 30 pixels, turned by -45°" in said
    assert widget.stage.radius == 30 and widget.objects == []


def test_found_missed_and_invented_stand_in_words():
    widget = builder(Eye(blind=("key",)))
    assert "Found 3 of 4 : red crown 0.90" in words(widget)
    assert "Missed 1 : blue key." in words(widget) and "Invented 0 ." in words(widget)
    off = builder(Eye(shift=14))
    assert "Found 0 of 4" in words(off) and "Invented 4" in words(off)
    assert "badly placed on the red crown" in words(off)


def test_a_detector_may_see_things_in_an_empty_scene():
    class Dreamer(Eye):
        def detect(self, images):
            box = torch.tensor([[10.0, 10, 40, 40]])
            one, sure = torch.tensor([2]), torch.tensor([0.41])
            return [boxes.Found(box, sure, one, scenes.SHAPES)]

    widget = empty(eye=Dreamer())
    assert "Invented 1 : mushroom 0.41 on nothing." in words(widget)


def test_an_object_that_is_wholly_hidden_is_counted_and_not_missed():
    widget = empty()
    widget.controls["size"].value = 12
    widget.add(64, 64)
    widget.controls["colour"].value = "blue"
    widget.add(64, 64)
    assert "Found 1 of 1 : crown 0.90" in words(widget)
    assert "Hidden 1" in words(widget) and "Missed 0" in words(widget)
    assert len(widget.stage.objects) == 2


@pytest.mark.parametrize("size", [128, 192])
def test_every_ready_made_scene_can_be_composed_and_all_of_it_seen(size):
    eye = Eye()
    widget = builder(eye, size=size)
    for name in READY_MADE:
        widget.load(name)
        assert not failed(widget), words(widget)
        assert len(eye.scene.labels[0]) == len(READY_MADE[name])
        assert float(min([1, *eye.scene.visible[0].tolist()])) > 0.5
        assert eye.scene.images.shape[-1] == size == widget.stage.side
    assert scaled([Placed("pin", 32, 64, 10)], 256) == [Placed("pin", 64, 128, 20)]


def test_the_menu_follows_what_is_done():
    widget = builder()
    assert widget.example.value == "Far apart" and len(widget.objects) == 4
    widget.example.value = "Turned"
    assert [one.rotation for one in widget.objects] == [0, 60, 120, 180]
    widget.add(64, 64)
    assert widget.example.value is None and len(widget.objects) == 5
    widget.example.value = "Turned"
    assert len(widget.objects) == 4
    assert READY_MADE["Turned"] == tuple(widget.objects)  # they were not changed
    with pytest.raises(CourseError, match="Did you mean 'Far apart'"):
        widget.load("Far appart")


def test_one_detection_for_each_change_and_none_for_what_comes_next():
    eye = Eye()
    widget = builder(eye)
    assert len(eye.asked) == 1
    widget.load("Turned")
    widget.add()
    assert len(eye.asked) == 3
    for one in (widget.controls["size"], widget.controls["rotation"]):
        one.value = one.min
    assert len(eye.asked) == 3


def test_another_background_keeps_the_objects():
    eye = Eye()
    widget = builder(eye)
    before, objects = widget.stage.picture, widget.objects
    widget.ground_button.click()
    assert widget.stage.picture != before and widget.objects == objects
    assert [seed for _, _, seed in eye.asked] == [0, 1]
    widget.add()
    assert eye.asked[-1][2] == 1  # and it stays


def test_what_fails_is_said_and_changes_nothing(caplog):
    eye = Eye()
    widget = builder(eye)
    before, objects = widget.stage.picture, list(widget.objects)

    def broken(images):
        raise RuntimeError("no memory")

    widget._detect = broken
    send(widget, act="add", x=64, y=64)
    assert failed(widget) and "no memory" in words(widget) and caplog.records
    assert widget.objects == objects and widget.stage.picture == before
    widget._detect = eye.detect
    send(widget, act="add", x=64, y=64)
    assert not failed(widget) and len(widget.objects) == 5


def test_a_full_scene_says_so():
    widget = empty()
    for _ in range(MOST):
        widget.add()
    send(widget, act="add", x=1, y=1)
    assert failed(widget) and f"full with {MOST} objects" in words(widget)
    assert len(widget.objects) == MOST


@pytest.mark.parametrize(
    "content",
    ["nonsense", None, {}, {"act": "explode"}, {"act": ["add"]}],
)
def test_a_message_that_means_nothing_does_nothing(content):
    widget = empty()
    widget.stage._handle_custom_msg(content, [])
    assert widget.objects == [] and not failed(widget)


def test_a_place_outside_is_moved_inside_and_one_that_is_none_is_refused():
    widget = empty()
    send(widget, act="add", x=-40, y=1e9)
    assert (widget.objects[0].x, widget.objects[0].y) == (0, 127)
    send(widget, act="add", x="there", y=1)
    assert failed(widget) and len(widget.objects) == 1
    send(widget, act="add", x=float("nan"), y=1)
    assert failed(widget) and len(widget.objects) == 1


def test_it_needs_a_scene_to_start_from():
    with pytest.raises(CourseError, match="needs a scene to start from"):
        builder(examples={})


def test_a_page_without_a_kernel_shows_the_scene_and_says_what_was_found():
    widget = builder(Eye(blind=("key",)))
    data, metadata = widget._repr_mimebundle_()
    alt = metadata["image/png"]["alt"]
    assert data["text/plain"] == alt == widget.still().alt
    assert alt.startswith("3 boxes on 4 objects") and "Missed 1: blue key." in alt
    assert widget.still().png == widget.stage.picture


def test_words_of_another_are_never_markup():
    told = Account(("<b>a</b> 0.90",), ("<i>b</i>",), ())
    assert "&lt;b&gt;a" in told.markup(2) and "<i>" not in told.markup(2)
    assert "<b>a</b>" in told.sentence(2)


# The account on its own.


def found(*rows):
    """Boxes from (left, side, label), the surest first."""
    places = [[left, 0.0, left + side, side] for left, side, _ in rows]
    return boxes.Found(
        torch.tensor(places).reshape(-1, 4),
        torch.linspace(0.9, 0.5, len(rows)),
        torch.tensor([label for *_, label in rows], dtype=torch.int64),
        NAMES,
    )


def told(rows, truth):
    true = found(*truth)
    names = [f"{NAMES[label]} {place}" for place, (*_, label) in enumerate(truth)]
    return account(found(*rows), true.boxes, true.labels, names, boxes.matched)


def test_each_box_is_told_by_where_it_lies_and_what_it_says():
    result = told(
        [(0, 20, 0), (1, 20, 0), (50, 20, 2), (108, 20, 2), (200, 20, 1)],
        [(0, 20, 0), (50, 20, 1), (100, 20, 2)],
    )
    assert result.right == ("crown 0 0.90",)
    assert result.missed == ("key 1", "pin 2")
    assert result.invented == (
        "crown 0.80 once more on the crown 0",
        "pin 0.70 on the key 1",
        "pin 0.60 badly placed on the pin 2",
        "key 0.50 on nothing",
    )


def test_two_alike_that_overlap_are_told_apart_as_the_matching_does():
    # The surest box fits the second object best, though the first one is there too.
    result = told([(6, 20, 0), (1, 20, 0)], [(0, 20, 0), (5, 20, 0)])
    assert result.right == ("crown 1 0.90", "crown 0 0.50") and not result.missed


@pytest.mark.parametrize("rows", [[], [(0, 20, 0)]])
@pytest.mark.parametrize("truth", [[], [(0, 20, 0)], [(0, 20, 0), (60, 20, 1)]])
def test_the_account_adds_up_without_boxes_and_without_objects(rows, truth):
    result = told(rows, truth)
    assert len(result.right) + len(result.missed) == len(truth)
    assert len(result.right) + len(result.invented) == len(rows)


def test_the_account_adds_up_on_random_scenes():
    chance = torch.Generator().manual_seed(0)
    for _ in range(30):
        rows, truth = (
            [
                (float(left), 20.0, int(label))
                for left, label in zip(
                    torch.randint(0, 80, (n,), generator=chance),
                    torch.randint(0, 3, (n,), generator=chance),
                    strict=True,
                )
            ]
            for n in (9, 5)
        )
        result, right = told(rows, truth), found(*rows)
        flags = boxes.matched(right, found(*truth).boxes, found(*truth).labels)
        assert len(result.right) == int(flags.sum())
        assert len(result.missed) == 5 - len(result.right)
        assert len(result.invented) == 9 - len(result.right)


# The script.


def test_the_script_travels_with_the_package_and_fetches_nothing():
    text = SCRIPT.read_text("utf-8")
    assert empty().stage._esm == text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["course"]
    assert any(SCRIPT.match(pattern) for pattern in patterns)
    names = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|\bimport\b|\bfetch\(|XMLHttpRequest", names)


def test_the_script_uses_only_traits_that_exist():
    text = SCRIPT.read_text("utf-8")
    used = set(re.findall(r'model\.get\("(\w+)"', text))
    sent = set(SceneStage.class_traits(sync=True))
    assert used and used <= sent
    assert re.findall(r"model\.set\(\{ (\w+):.*, (\w+):", text) == [("x", "y")]
    acts = set(re.findall(r'act: "(\w+)"', text))
    assert acts == {"add", "undo"}
    state = builder().stage.get_state()
    json.dumps({k: v for k, v in state.items() if k != "picture"})


@pytest.mark.skipif(not shutil.which("node"), reason="no node to parse the script")
def test_the_script_is_a_module_that_parses():
    command = ["node", "--input-type=module", "--check"]
    done = subprocess.run(
        command, input=SCRIPT.read_text("utf-8"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_stage_says_its_keys_and_its_name_stays_the_same():
    widget = builder()
    name = widget.stage.label
    assert "Arrow keys" in name and "Enter" in name and "Backspace" in name
    widget.add()
    assert widget.stage.label == name and "5 boxes on 5" in widget.stage.alt


def test_a_size_of_ones_own_reaches_compose():
    eye = Eye()
    widget = builder(eye, size=96)
    assert widget.controls["size"].max == 27 and eye.asked[-1][1] == 96
