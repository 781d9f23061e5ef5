"""The floor dial: three controls, one picture, and words on what bounds a step."""

import pytest

from course import plots, widgets
from course.errors import CourseError

LISTS = (["small", "large"], [32, 256, 1024], ["float32", "bfloat16"])


def draw(network, batch, kind):
    value = len(network) * batch / len(kind)
    return plots.bars([network], [value], title=f"{kind}, {batch}")


def said(network, batch, kind):
    return f"A step of {network} on {batch} images in {kind}."


def test_it_starts_with_the_first_of_every_list():
    dial = widgets.FloorDial(*LISTS, draw, said)
    assert dial.state == {"network": "small", "batch": 32, "kind": "float32"}
    assert dial.still() == draw("small", 32, "float32")
    assert "A step of small on 32 images in float32." in dial.picture.words.value


def test_each_control_changes_its_part_of_picture_and_words():
    dial = widgets.FloorDial(*LISTS, draw, said)
    dial.controls["network"].value = "large"
    dial.controls["batch"].value = 1024
    dial.controls["kind"].value = "bfloat16"
    assert dial.still() == draw("large", 1024, "bfloat16")
    assert said("large", 1024, "bfloat16") in dial.picture.words.value


def test_it_starts_where_it_is_told():
    dial = widgets.FloorDial(*LISTS, draw, start={"batch": 256, "kind": "bfloat16"})
    assert dial.state == {"network": "small", "batch": 256, "kind": "bfloat16"}
    assert dial.picture.alt == draw("small", 256, "bfloat16").alt


def test_without_a_sentence_the_picture_describes_itself():
    assert "small 8" in widgets.FloorDial(["small"], [8], ["f" * 5], draw).picture.alt


def test_large_batches_are_written_with_a_comma():
    options = widgets.FloorDial(*LISTS, draw).controls["batch"].options
    assert options == (("32", 32), ("256", 256), ("1,024", 1024))


def test_a_floor_that_cannot_be_drawn_is_said_in_the_widget():
    def fails(network, batch, kind):
        raise CourseError(f"Nobody measured {kind}.")

    assert "Nobody measured" in widgets.FloorDial(*LISTS, fails).picture.words.value


@pytest.mark.parametrize(
    ("lists", "start", "message"),
    [
        (([], *LISTS[1:]), {}, "nothing to choose from under 'Network'; expected"),
        ((LISTS[0], [], LISTS[2]), {}, "'Images a step'"),
        ((*LISTS[:2], []), {}, "'Numbers'"),
        (LISTS, {"batches": 32}, "Did you mean 'batch'"),
        (LISTS, {"batch": 33}, "Unknown batch 33"),
        (LISTS, {"kind": "bfloat"}, "Did you mean 'bfloat16'"),
    ],
)
def test_what_cannot_be_chosen_is_refused(lists, start, message):
    with pytest.raises(CourseError, match=message):
        widgets.FloorDial(*lists, draw, start=start)
