"""Exercises: right answers pass, known mistakes are named, nothing gets out."""

import html
import inspect
import re

import numpy as np
import pytest
import torch

from course.exercises import (
    choosing,
    feature_extraction,
    fine_tuning,
    first_prediction,
    looking_inside,
    pretraining_tasks,
    when_it_hurts,
    when_it_pays,
)
from course.exercises.base import Case, Exercise, difference, is_stub, quoted

MODULES = (
    first_prediction,
    pretraining_tasks,
    feature_extraction,
    fine_tuning,
    looking_inside,
    when_it_pays,
    when_it_hurts,
    choosing,
)
ALL = [exercise for module in MODULES for exercise in module.EXERCISES]
MISTAKES = [(exercise, mistake) for exercise in ALL for mistake in exercise.mistakes]


def names(value):
    return value.name if isinstance(value, Exercise) else value.answer.__name__


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(
        "course.exercises.base.display", lambda data, raw: outputs.append(data)
    )
    return outputs


@pytest.mark.parametrize("module", MODULES)
def test_a_chapter_has_three_exercises_or_more_with_hints_in_steps(module):
    assert len(module.EXERCISES) >= 3
    for exercise in module.EXERCISES:
        assert getattr(module, exercise.name) is exercise
        assert len(exercise.hints) == 3 and len(exercise.mistakes) >= 3
        assert exercise.difficulty in ("easy", "medium", "hard") and exercise.minutes


@pytest.mark.parametrize("exercise", ALL, ids=names)
def test_the_reference_passes_and_a_copy_of_it_is_returned_to_the_chapter(
    exercise, shown
):
    def own(*arguments):
        return exercise.reference(*arguments)

    assert exercise.judge(exercise.reference).status == "passed"
    assert exercise.check(own) is own
    assert shown[0]["text/plain"].startswith("✓")


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=names)
def test_a_known_mistake_is_named_with_what_was_found(exercise, mistake):
    verdict = exercise.judge(mistake.answer)
    assert verdict.status == "failed"
    assert mistake.cause in verdict.message
    assert "found" in verdict.message


def stub_ellipsis(*_):
    """What is asked."""
    ...


def stub_pass(*_):
    pass


def stub_raise(*_):
    raise NotImplementedError("write me")


def stub_return(*_):
    """What is asked."""
    return None


def stub_todo(*_):
    answer = None  # the reader's place
    return answer


def stub_calls(*_):
    return stub_raise()


STUBS = (stub_ellipsis, stub_pass, stub_raise, stub_return, stub_todo, stub_calls, None)


@pytest.mark.parametrize("exercise", ALL, ids=names)
def test_an_untouched_stub_is_not_started_and_the_chapter_goes_on(exercise, shown):
    for stub in STUBS:
        assert exercise.check(stub) is exercise.reference
    texts = {output["text/plain"] for output in shown}
    assert len(texts) == 1 and "not started" in texts.pop()


def explode(*_):
    raise ValueError("a <b>bad</b> day\nand more")


def leave(*_):
    raise SystemExit(1)


def recurse(*arguments):
    return recurse(*arguments)


class Hostile:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name):
        raise RuntimeError("no")

    def __repr__(self):
        raise RuntimeError("no")

    def __eq__(self, other):
        raise RuntimeError("no")


WEIRD = {
    "raises": explode,
    "exits": leave,
    "recurses": recurse,
    "no arguments": lambda: 1,
    "string": lambda *_: "probability",
    "nan": lambda *_: float("nan"),
    "nan tensor": lambda *_: torch.full((3, 4), float("nan")),
    "huge": lambda *_: torch.zeros(300, 300, 10),
    "huge list": lambda *_: list(range(100_000)),
    "infinite": lambda *_: [np.inf],
    "empty": lambda *_: [],
    "dict": lambda *_: {"a": 1},
    "set": lambda *_: {1},
    "complex": lambda *_: 1j,
    "function": lambda *_: explode,
    "hostile": lambda *_: Hostile(),
    "array of objects": lambda *_: np.array([object()]),
    "not a function": 3,
    "a class": type("Answer", (), {}),
}


@pytest.mark.parametrize("exercise", ALL, ids=names)
@pytest.mark.parametrize("kind", WEIRD)
def test_whatever_an_answer_does_stays_inside(exercise, kind, shown, capfd):
    assert exercise.check(WEIRD[kind]) is exercise.reference
    text = shown[0]["text/plain"]
    assert text.startswith("✗") and len(text) < 800
    assert capfd.readouterr().err == ""


def test_an_error_of_the_answer_is_quoted_and_escaped(shown):
    first_prediction.top_k.check(explode)
    assert "it raised ValueError: a <b>bad</b> day" in shown[0]["text/plain"]
    assert "<b>bad</b>" not in shown[0]["text/html"]
    assert "a &lt;b&gt;bad&lt;/b&gt; day" in shown[0]["text/html"]


def test_prints_of_the_answer_do_not_reach_the_page(shown, capfd):
    def chatty(logits, k):
        print("debugging")
        return first_prediction.top_k_reference(logits, k)

    assert first_prediction.top_k.check(chatty) is chatty
    assert capfd.readouterr().out == ""


def test_changes_in_place_do_not_spoil_the_next_case():
    def greedy(maps):
        result = maps.mean(dim=(2, 3))
        maps.zero_()
        return result

    assert feature_extraction.average_pool.judge(greedy).status == "passed"


def test_an_answer_that_returns_nothing_sometimes_is_not_a_stub():
    def sometimes(purpose):
        return first_prediction.PURPOSES[purpose] if "probe" in purpose else None

    verdict = first_prediction.which_part.judge(sometimes)
    assert verdict.status == "failed" and "None" in verdict.message


def test_the_page_folds_three_hints_and_the_reference_away(shown):
    exercise = fine_tuning.freeze
    exercise.check(None)
    page = shown[0]["text/html"]
    summaries = re.findall(r"<details><summary>(.*?)</summary>", page)
    assert summaries == ["Hint 1", "Hint 2", "Hint 3", "Reference answer"]
    assert html.escape(inspect.getsource(exercise.reference)) in page
    assert "<details open" not in page


def test_the_text_of_a_check_is_the_same_each_time(shown):
    wrong = feature_extraction.nearest.mistakes[0].answer
    for _ in range(2):
        feature_extraction.nearest.check(wrong)
    assert shown[0] == shown[1]


def test_a_check_leaves_the_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    for exercise in ALL:
        exercise.judge(exercise.reference)
    assert torch.equal(torch.rand(2), expected)


def test_a_message_names_the_call_what_was_found_and_what_was_expected():
    exercise = Exercise(
        "double", "Twice", 1, "easy", "doubling", ("a", "b", "c"),
        lambda x: 2 * x, lambda: [Case((3,), "double(3)")], (),
    )  # fmt: skip
    assert exercise.judge(lambda x: x).message == "double(3): found 3, expected 6."


@pytest.mark.parametrize(
    ("found", "expected", "agree"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-6]), True),
        (np.array([1.0, 2.0]), torch.tensor([1.0, 2.0]), True),
        ([1.0, 2.0], torch.tensor([1.0, 2.0]), True),
        (torch.tensor(0.5), 0.5, True),
        (np.float32(0.5), 0.5, True),
        (torch.tensor([[1, 0.5]]), [(1, 0.5)], True),
        (["a", "b"], {"b", "a"}, True),
        (torch.tensor([1.0]), torch.tensor([[1.0]]), False),
        (torch.tensor([float("nan")]), torch.tensor([1.0]), False),
        ({"a": 1.0}, {"a": 2.0}, False),
        ("train", "test", False),
    ],
)
def test_values_are_compared_and_not_their_types(found, expected, agree):
    assert (difference(found, expected) == "") is agree


def test_a_long_value_is_quoted_in_short():
    assert len(quoted(list(range(10_000)))) <= 160
    assert quoted(torch.zeros(3, 4)).startswith("a tensor (3, 4) of [0, 0")


def test_a_function_that_does_something_is_not_a_stub():
    assert not is_stub(lambda x: x) and not is_stub(explode)
