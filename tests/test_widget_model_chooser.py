"""The model chooser: what it says, what it times, what it saves."""

import base64
import html
import json
import re

import ipywidgets
import pytest

from course import shortlist, widgets
from course.errors import CourseError
from course.shortlist import Needs
from course.widgets.model_chooser import LIMITS, NO_LIMIT


def row(model, top1, gmacs, file_mb, **more):
    base = {"model": model, "weights": "V1", "source": "torchvision", "size": 224}
    costs = {"parameters": int(file_mb * 250_000), "gmacs": gmacs, "file_mb": file_mb}
    memory = {"kept_mb": 20 * gmacs, "widest_mb": 2 * gmacs}
    none = {"licence": None, "recipe": None}
    return {**base, **costs, **memory, **none, "top1": top1, **more}


ROWS = [
    row("tiny", 60.0, 0.1, 5.0),
    row("small", 70.0, 0.5, 10.0),
    row("beaten", 65.0, 0.6, 20.0),
    row("middle", 78.0, 2.0, 80.0),
    row("large", 82.0, 4.5, 300.0, licence="https://example.org"),
    row("huge", 85.0, 50.0, 1200.0),
]


class Clock:
    """Stands for `zoo.latency`: a number a model, and a model that does not fit."""

    def __init__(self):
        self.asked = []

    def __call__(self, row):
        self.asked.append(row["model"])
        if row["model"] == "large":
            raise CourseError("large was not timed: it takes <too much> memory.")
        return {"tiny": 8.0, "small": 15.0, "middle": 40.0, "huge": 900.0}[row["model"]]


def chooser(rows=ROWS, clock=None, **options):
    return widgets.ModelChooser(
        rows,
        lambda needs, timed: shortlist.decide(rows, needs, timed),
        clock or Clock(),
        **options,
    )


def said(words):
    return html.unescape(re.sub("<[^>]+>", "", words.value)).strip()


def listed(widget):
    return re.findall(r'<th scope="row"[^>]*>(.*?)</th>', widget.page.value)


def set_to(widget, **values):
    for name, value in values.items():
        widget.controls[name].value = value


def tick(widget, *models):
    for box, pick in zip(widget.ticks, widget.decision.picks, strict=False):
        box.value = pick.row["model"] in models


def test_it_begins_with_a_shortlist_and_says_what_it_assumes():
    widget = chooser()
    assert listed(widget) == ["large", "middle", "small", "tiny"]
    text = said(widget.summary)
    assert text.startswith("Labelled images: 200 (20 a class), other photographs.")
    assert "Limits: at most 5 giga multiply-adds an image." in text
    assert "Try first: fine-tuning." in said(widget.advice)
    assert "chapters 03, 05" in said(widget.advice)


def test_the_controls_are_the_needs():
    widget = chooser(start=Needs(file_mb=100, labels=7, licence_stated=True))
    assert widget.needs == Needs(file_mb=100, labels=7, licence_stated=True)
    set_to(widget, labels=1, classes=1000, likeness="far", ms=50, training_mb=250)
    set_to(widget, save_on="file_mb", licence_stated=False, file_mb=NO_LIMIT)
    assert widget.needs == Needs(1, 1000, "far", None, None, 50, 250, False, "file_mb")


def test_it_says_what_came_and_what_went():
    widget = chooser()
    set_to(widget, file_mb=10)
    assert listed(widget) == ["small", "tiny"]
    assert said(widget.summary).endswith("Gone: large, middle.")
    set_to(widget, classes=50)
    assert said(widget.summary).endswith("The shortlist stays as it was.")
    set_to(widget, file_mb=NO_LIMIT, gmacs=NO_LIMIT)
    assert said(widget.summary).endswith("New: huge.")


@pytest.mark.parametrize("name", LIMITS)
def test_an_empty_shortlist_is_a_sentence_and_no_error(name):
    widget = chooser([r for r in ROWS if r["model"] != "tiny"], start=Needs())
    set_to(widget, **{name: LIMITS[name][3][0]})
    assert widget.decision.problem in said(widget.summary)
    set_to(widget, classes=100)  # still nothing, and nothing else to say
    assert said(widget.summary).endswith(widget.decision.problem)
    assert listed(widget) == [] and "alert" not in widget.summary.value
    assert [t.layout.display for t in widget.ticks] == ["none"] * 5
    assert "The front is empty" in widget.picture.alt
    set_to(widget, **{name: NO_LIMIT})
    assert listed(widget)


def test_the_strategy_follows_the_images():
    widget = chooser()
    before = widget.advice.value
    set_to(widget, classes=20)
    assert widget.advice.value == before  # not read out again
    set_to(widget, likeness="near", labels=5)
    assert "Try first: linear probe." in said(widget.advice)
    set_to(widget, likeness="far", labels=500)
    assert "Try first: from scratch, beside fine-tuning." in said(widget.advice)


def test_the_figure_shows_what_fits_and_the_shortlist():
    widget = chooser()
    assert "On the shortlist: large, middle, small, tiny." in widget.picture.alt
    assert "1 are outside the limits" in widget.picture.alt
    set_to(widget, save_on="parameters")
    assert "million parameters from 1.25 to 300" in widget.picture.alt
    data, metadata = widget._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]) == bytes(widget.picture.image.value)
    assert metadata["image/png"]["alt"] == widget.picture.alt


def test_coming_back_to_a_state_draws_nothing_anew():
    widget = chooser()
    before = widget.picture.figure
    set_to(widget, gmacs=2)
    assert widget.picture.figure is not before
    set_to(widget, gmacs=5)
    assert widget.picture.figure is before
    set_to(widget, labels=50)  # which changes the words alone
    assert widget.picture.figure is before


def test_only_what_is_ticked_is_timed_and_only_once():
    clock = Clock()
    widget = chooser(clock=clock)
    tick(widget, "tiny", "middle")
    assert said(widget.timing) == "To be timed here: middle, tiny."
    widget.go.click()
    times = "middle at 224 px: 40 ms an image. tiny at 224 px: 8 ms an image."
    assert said(widget.timing) == times
    widget.go.click()
    assert clock.asked == ["middle", "tiny"]
    # The same words once more would look as if nothing had happened.
    assert said(widget.timing) == f"{times} (Asked 2 times.)"
    assert ">40</td>" in widget.page.value and "not timed" in widget.page.value


def test_a_limit_in_ms_keeps_what_was_timed():
    widget = chooser()
    set_to(widget, ms=20)
    assert "has been timed here" in said(widget.summary)
    set_to(widget, ms=NO_LIMIT)
    tick(widget, "tiny", "small", "middle")
    widget.go.click()
    set_to(widget, ms=20)
    assert listed(widget) == ["small", "tiny"]
    set_to(widget, ms=5)
    assert "the fastest is tiny with 8 ms" in said(widget.summary)


def test_a_model_that_does_not_fit_is_said_and_the_others_are_timed():
    widget = chooser()
    tick(widget, "large", "tiny")
    widget.go.click()
    assert "large was not timed" in said(widget.timing)
    assert "&lt;too much&gt;" in widget.timing.value
    assert "tiny at 224 px: 8 ms" in said(widget.timing)
    assert set(widget.timed) == {"tiny at 224 px"}


def test_with_nothing_ticked_it_says_so():
    widget = chooser()
    widget.go.click()
    assert "tick a model of the shortlist" in said(widget.timing)


def test_a_tick_belongs_to_its_model():
    clock = Clock()
    widget = chooser(clock=clock)
    tick(widget, "large")
    set_to(widget, gmacs=2)  # another model takes the first place
    assert [box.value for box in widget.ticks] == [False] * 5
    widget.go.click()
    assert clock.asked == []


def test_a_clock_that_breaks_is_an_error_in_the_widget(caplog):
    def broken(row):
        raise ZeroDivisionError("no <time>")

    widget = chooser(clock=broken)
    tick(widget, "tiny")
    widget.go.click()
    assert 'role="alert"' in widget.timing.value
    assert "no &lt;time&gt;" in widget.timing.value
    assert caplog.records[-1].exc_info[0] is ZeroDivisionError


def test_the_card_is_saved_where_the_reader_says(tmp_path):
    widget = chooser()
    widget.folder.value = str(tmp_path / "a <b>folder</b>")
    assert "&lt;b&gt;folder" in widget.saved.value
    tick(widget, "tiny")
    widget.go.click()
    set_to(widget, labels=5)
    widget.save.click()
    assert "Saved as model-decision.md and model-decision.json" in said(widget.saved)
    assert "&lt;b&gt;folder" in widget.saved.value
    card = json.loads((tmp_path / "a <b>folder</b>/model-decision.json").read_text())
    assert card["needs"]["labels"] == 5
    assert [m["ms_here"] for m in card["shortlist"]] == [None, None, None, 8.0]


def test_a_second_card_does_not_overwrite_the_first_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    widget = chooser()
    widget.save.click()
    assert said(widget.saved).endswith("model-decision.json beside this notebook.")
    first = (tmp_path / "model-decision.md").read_bytes()
    set_to(widget, file_mb=10)
    widget.save.click()
    text = said(widget.saved)
    assert "model-decision-2.md" in text and "was there already" in text
    assert (tmp_path / "model-decision.md").read_bytes() == first


def test_a_card_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    widget = chooser(folder=str(tmp_path / "file"))
    for _ in range(2):
        widget.save.click()
    assert 'role="alert"' in widget.saved.value
    assert "could not be written into the folder" in said(widget.saved)
    assert "(Tried 2 times.)" in said(widget.saved)
    widget.folder.value = str(tmp_path)
    widget.save.click()
    assert "alert" not in widget.saved.value


def test_names_cannot_become_markup():
    bad = [row("<b>x</b>", 80.0, 1.0, 10.0, weights="<i>w</i>"), *ROWS[:2]]
    widget = chooser(bad)
    assert "&lt;b&gt;x&lt;/b&gt;" in widget.page.value
    set_to(widget, file_mb=5)
    set_to(widget, file_mb=50)
    texts = [widget.page, widget.summary, widget.timing, widget.saved, widget.advice]
    tick(widget, "<b>x</b>")
    for text in texts:
        assert "<b>x" not in text.value and "<i>w" not in text.value


def test_every_state_of_the_limits_gives_words_and_a_picture():
    widget = chooser()
    for name, (*_, values) in LIMITS.items():
        for value in (*values, NO_LIMIT):
            before = widget.summary.value
            set_to(widget, **{name: value})
            assert widget.summary.value != before or value == 5
            assert "alert" not in widget.summary.value
            assert widget.picture.figure is not None


def test_a_table_wider_than_the_page_is_scrolled_and_reached():
    markup = chooser().page.value
    assert 'tabindex="0" role="region" aria-label="The most accurate first"' in markup
    assert "<caption>The most accurate first</caption>" in markup


def test_models_without_an_accuracy_are_not_enough():
    with pytest.raises(CourseError, match="models with an accuracy"):
        chooser([{**ROWS[0], "top1": None}])


def test_headings_are_no_controls():
    headings = [w for w in chooser().children if type(w) is ipywidgets.HTML]
    assert [h.value for h in headings[:3]] == [
        "<b>My images</b>", "<b>My limits</b>", "<b>The shortlist</b>",
    ]  # fmt: skip
