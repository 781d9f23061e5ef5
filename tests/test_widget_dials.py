"""The target dial and the mix slider: order, words, and the still picture."""

import pytest

from course import plots, widgets
from course.errors import CourseError

PICTURES = {
    name: plots.bars(["gain"], [value], title=name)
    for name, value in {"shapes": 0.5, "fill": 0.1, "colour": 0.2}.items()
}
SHARES = {share: plots.bars(["target"], [share]) for share in (1.0, 0.0, 0.5)}


def shown(widget):
    return bytes(widget.picture.image.value)


def test_the_targets_stay_in_the_order_from_near_to_far():
    dial = widgets.TargetDial(PICTURES, dict.fromkeys(PICTURES, "Said."))
    control = dial.controls["value"]
    assert [label for label, _ in control.options] == list(PICTURES)
    assert control.value == "shapes"


def test_turning_the_dial_shows_that_target_and_says_what_came_out():
    words = {name: f"Of {name}." for name in PICTURES}
    dial = widgets.TargetDial(PICTURES, words, start="fill")
    assert shown(dial) == PICTURES["fill"].png
    dial.controls["value"].value = "colour"
    assert shown(dial) == PICTURES["colour"].png
    assert "Of colour." in dial.picture.words.value
    assert dial.still() is PICTURES["colour"]


def test_shares_are_sorted_and_written_in_per_cent():
    slider = widgets.MixSlider(SHARES, start=0.5)
    labels = [label for label, _ in slider.controls["value"].options]
    assert labels == ["0%", "50%", "100%"]
    assert shown(slider) == SHARES[0.5].png


def test_a_share_of_nothing_is_the_network_before():
    slider = widgets.MixSlider(SHARES, {0.0: "Before.", 0.5: "", 1.0: "After."})
    assert slider.controls["value"].value == 0.0
    assert "Before." in slider.picture.words.value


@pytest.mark.parametrize("kind", [widgets.TargetDial, widgets.MixSlider])
def test_without_a_picture_there_is_nothing_to_turn(kind):
    with pytest.raises(CourseError, match="no picture to slide over"):
        kind({})
