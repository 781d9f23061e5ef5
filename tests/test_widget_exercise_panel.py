"""The exercise panel: it follows the checks, and help comes in steps."""

import gc
import types

import pytest

from course import exercises, widgets
from course.errors import CourseError
from course.exercises import base, first_prediction
from course.exercises.base import Case, Exercise
from course.widgets.exercise_panel import page_of

MODULES = [value for value in vars(exercises).values() if hasattr(value, "EXERCISES")]


def double_reference(number):
    """Return twice a number."""
    return 2 * number


def exercise(name, title):
    return Exercise(
        name=name,
        title=title,
        minutes=3,
        difficulty="easy",
        trains="sums <and> more",
        hints=("Think of <b>.", "Add.", "Add it to itself."),
        reference=double_reference,
        cases=lambda: [Case((2,), f"{name}(2)")],
        mistakes=(),
    )


@pytest.fixture
def module(monkeypatch):
    monkeypatch.setattr(base, "_verdicts", {})
    monkeypatch.setattr(base, "_listeners", [])
    monkeypatch.setattr(base, "display", lambda data, raw: None)
    asked = (exercise("double", "Twice"), exercise("again", "Once more"))
    return types.SimpleNamespace(EXERCISES=asked)


def right(number):
    return number + number


def wrong(number):
    return number


def test_the_state_follows_each_check_without_being_asked(module):
    panel, (first, second) = widgets.ExercisePanel(module), module.EXERCISES
    assert "○ Not started" in panel.page.value and panel.passed == 0
    first.check(wrong)
    assert "✗ Failed" in panel.page.value and "double(2)" in panel.page.value
    first.check(right)
    assert "✓ Passed" in panel.page.value and "1 of 2" in panel.page.value
    second.check(right)
    assert "2 of 2" in panel.page.value
    panel.menu.value = 1
    assert "✓ Passed" in panel.page.value
    second.check(wrong)
    assert "✗ Failed" in panel.page.value and "1 of 2" in panel.page.value


def test_a_panel_made_later_knows_the_earlier_checks(module):
    module.EXERCISES[0].check(right)
    assert widgets.ExercisePanel(module).passed == 1


def test_hints_come_one_by_one_and_the_answer_after_the_last(module):
    panel = widgets.ExercisePanel(module)
    for seen in range(1, 4):
        assert panel.answer.disabled
        panel.hint.click()
        assert panel.page.value.count("<li>") == seen
    assert panel.hint.disabled and not panel.answer.disabled
    assert "2 * number" not in panel.page.value
    panel.answer.click()
    assert "2 * number" in panel.page.value and panel.answer.disabled


def test_an_answer_before_the_hints_is_refused_in_a_sentence(module):
    panel = widgets.ExercisePanel(module)
    panel.answer.click()
    assert "Read every hint first" in panel.message.value
    assert "2 * number" not in panel.page.value
    panel.hint.click()
    assert panel.message.value == ""


def test_each_exercise_keeps_its_own_hints(module):
    panel = widgets.ExercisePanel(module)
    panel.hint.click()
    panel.hint.click()
    panel.menu.value = 1
    assert panel.page.value.count("<li>") == 0
    panel.hint.click()
    panel.menu.value = 0
    assert panel.page.value.count("<li>") == 2
    module.EXERCISES[0].check(right)
    assert panel.page.value.count("<li>") == 2


def test_more_clicks_than_hints_do_no_harm(module):
    panel = widgets.ExercisePanel(module)
    for _ in range(9):
        panel.hint.click()
    assert panel.page.value.count("<li>") == 3 and panel.message.value == ""


def test_the_page_is_a_function_of_the_state_and_escapes_what_it_is_given(module):
    first = module.EXERCISES[0]
    plain = page_of(first, 0, False, "0 of 2")
    assert "sums &lt;and&gt; more" in plain and "Hints" not in plain
    full = page_of(first, 3, True, "0 of 2")
    assert "Hints, 3 of 3" in full and "Think of &lt;b&gt;." in full
    assert full == page_of(first, 3, True, "0 of 2")


def test_a_long_line_of_an_answer_is_scrolled_by_keyboard(module):
    page = page_of(module.EXERCISES[0], 3, True, "")
    assert '<pre tabindex="0" style="overflow-x:auto' in page


@pytest.mark.parametrize("name", [m.__name__ for m in MODULES])
def test_a_page_without_a_kernel_lists_every_exercise(name, monkeypatch):
    monkeypatch.setattr(base, "_verdicts", {})
    (module,) = [m for m in MODULES if m.__name__ == name]
    data = widgets.ExercisePanel(module)._repr_mimebundle_()
    assert "image/png" not in data
    for asked in module.EXERCISES:
        line = f"- ○ {asked.title} (not started): {asked.difficulty}"
        assert line in data["text/markdown"] and line in data["text/plain"]


def test_the_list_says_what_was_passed(module):
    module.EXERCISES[1].check(right)
    text = widgets.ExercisePanel(module)._repr_mimebundle_()["text/plain"]
    assert "- ✓ Once more (passed)" in text and "- ○ Twice (not started)" in text


def test_a_check_does_not_fail_because_a_panel_does(module, caplog):
    panel = widgets.ExercisePanel(module)
    panel.exercises = ()  # whatever may break it
    assert module.EXERCISES[0].check(right) is right
    assert "IndexError" in panel.message.value and caplog.records


def test_a_panel_that_is_gone_is_told_nothing(module):
    panel = widgets.ExercisePanel(module)
    panel.close_all()
    del panel
    gc.collect()
    module.EXERCISES[0].check(right)
    assert not base._listeners


def test_what_holds_no_exercises_is_refused():
    with pytest.raises(CourseError, match="first_prediction"):
        widgets.ExercisePanel(types.ModuleType("empty"))
    assert widgets.ExercisePanel(first_prediction).exercises
