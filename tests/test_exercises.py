"""Exercises: nothing wrong passes, nothing right fails, nothing gets out."""

import builtins
import html
import importlib
import inspect
import json
import pkgutil
import random
import re
import threading
import time
import types
from pathlib import Path

import answers
import numpy as np
import pytest
import torch
from answers import table
from answers.kit import ANSWERS
from IPython.display import display

from course.exercises import (
    capstone,
    choosing,
    feature_extraction,
    fine_tuning,
    first_prediction,
    gpu_lab,
    looking_inside,
    meaning_of_text,
    object_detection,
    pretraining_tasks,
    tools,
    trial,
    when_it_hurts,
    when_it_pays,
)
from course.exercises.base import KINDS, Case, Exercise, Mistake, Rule, is_stub
from course.exercises.compare import difference, quoted

for found in pkgutil.iter_modules(answers.__path__):
    importlib.import_module(f"answers.{found.name}")

MODULES = (
    first_prediction,
    pretraining_tasks,
    feature_extraction,
    fine_tuning,
    looking_inside,
    when_it_pays,
    when_it_hurts,
    choosing,
    object_detection,
    meaning_of_text,
    capstone,
    tools,
    gpu_lab,
)
ALL = [exercise for module in MODULES for exercise in module.EXERCISES]
MISTAKES = [(exercise, mistake) for exercise in ALL for mistake in exercise.mistakes]
WRONG = [answer for answer in ANSWERS if answer.mistake]
RIGHT = [answer for answer in ANSWERS if not answer.mistake]
CHAPTERS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb"))
# Readers of every course make these; each is waited for somewhere in this one.
EVERYWHERE = {
    "optimiser built before the head was swapped",
    "softmax before cross-entropy",
    "eval mode forgotten",
    "BatchNorm moving in a frozen backbone",
    "normalisation missing",
    "normalisation of another model",
    "accuracy on the training part",
    "selection on the test part",
    "broadcast instead of pairwise",
    "mean over the wrong axis",
    "unequal budgets in a comparison",
    "best epoch reported",
    "seeds reused",
}


def rewritten(function):
    """Return the same function as if a reader had written it: other code."""
    code = function.__code__.replace(co_name="own")
    twin = types.FunctionType(code, function.__globals__, "own", function.__defaults__)
    return twin


def names_of(value):
    if isinstance(value, Exercise):
        return value.name
    return f"{value.exercise.name}-{value.function.__name__}"


def names(value):
    return value.name if isinstance(value, Exercise) else value.answer.__name__


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A machine that runs other tests beside these is slow, and no answer endless."""
    monkeypatch.setattr(trial, "ANSWERING", 60)
    monkeypatch.setattr(trial, "LOOKING", 60)
    monkeypatch.setattr(trial, "ASKING", 60)


def test_a_check_takes_no_longer_than_five_seconds():
    source = inspect.getsource(trial)
    line = re.search(r"^ANSWERING, LOOKING, ASKING = (.+)$", source, re.M)[1]
    assert sum(map(float, line.split(", "))) <= 4.5


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
        assert len(exercise.hints) == 3
        assert exercise.difficulty in ("easy", "medium", "hard") and exercise.minutes


@pytest.mark.parametrize("exercise", ALL, ids=names)
def test_the_reference_passes_and_a_copy_of_it_is_returned_to_the_chapter(
    exercise, shown
):
    own = rewritten(exercise.reference)
    assert exercise.check(own) is own
    assert shown[0]["text/plain"].startswith("✓")
    assert exercise.verdict.score == 1 and exercise.points(3) == 3


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=names)
def test_a_known_mistake_is_named_with_what_was_found(exercise, mistake):
    verdict = exercise.judge(mistake.answer)
    assert verdict.status == "failed" and verdict.mistake == mistake.name != ""
    assert mistake.cause in verdict.message
    assert "found" in verdict.message or "it raised" in verdict.message


@pytest.mark.parametrize("answer", WRONG, ids=names_of)
def test_a_typical_wrong_answer_fails_and_is_called_by_its_name(answer):
    verdict = answer.exercise.judge(answer.function)
    assert verdict.status == "failed", verdict
    assert verdict.mistake == answer.mistake, verdict
    assert hint_of(answer.exercise, answer.mistake) in verdict.message
    assert verdict.score < 1
    if answer.score is not None:
        assert verdict.score == pytest.approx(answer.score, abs=0.01)


def hint_of(exercise, name):
    hints = {one.name: one.cause for one in (*exercise.mistakes, *exercise.rules)}
    return hints[name]


@pytest.mark.parametrize("answer", RIGHT, ids=names_of)
def test_a_right_answer_passes_however_it_is_written(answer):
    verdict = answer.exercise.judge(answer.function)
    assert verdict.status == "passed", verdict


@pytest.mark.parametrize("exercise", ALL, ids=names)
def test_eight_wrong_answers_and_three_right_ones_are_known(exercise):
    wrong = [a.mistake for a in WRONG if a.exercise is exercise]
    right = [a.function for a in RIGHT if a.exercise is exercise]
    assert len(set(wrong)) >= 8, sorted(set(wrong))
    assert len(right) >= 3
    called = [one.name for one in (*exercise.mistakes, *exercise.rules)]
    assert len(set(called)) == len(called), "two mistakes of one name"


@pytest.mark.parametrize("exercise", ALL, ids=names)
def test_an_answer_that_is_right_in_part_gets_credit_in_part(exercise):
    parts = {case.part for case in exercise.all_cases()} | {
        rule.name for rule in exercise.rules
    }
    scored = [a.score for a in WRONG if a.exercise is exercise and a.score]
    assert len(parts) == 1 or any(0 < score < 1 for score in scored)


def test_what_readers_do_wrong_everywhere_is_waited_for():
    assert {answer.mistake for answer in WRONG} >= EVERYWHERE


def test_the_kinds_of_exercises_are_mixed():
    assert {exercise.kind for exercise in ALL} == set(KINDS)


@pytest.mark.parametrize("module", MODULES)
def test_an_exercise_names_a_section_of_its_chapter(module):
    number = MODULES.index(module)
    cells = json.loads(CHAPTERS[number].read_text("utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    words = " ".join(text.split())
    for exercise in module.EXERCISES:
        assert exercise.place in headings, exercise.name
        assert f"{exercise.title}\n" in text, exercise.name
        effort = (
            f"*({exercise.kind}, {exercise.difficulty}, {exercise.minutes} minutes)*"
        )
        assert effort in words, exercise.name


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
    for stub in (*STUBS, exercise.reference, exercise.given):
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
    "huge": lambda *_: torch.zeros(100, 100, 10),
    "huge list": lambda *_: list(range(10_000)),
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
    def chatty(features):
        print("debugging")
        return features.mean((2, 3))

    assert feature_extraction.average_pool.check(chatty) is chatty
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
    def numbers():
        return torch.rand(1).item(), np.random.rand(), random.random()

    def wild(*_):
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        torch.set_grad_enabled(False)
        return 3

    def seed_all():
        torch.manual_seed(3)
        np.random.seed(3)
        random.seed(3)

    seed_all()
    expected = numbers()
    seed_all()
    for exercise in ALL:
        exercise.judge(rewritten(exercise.reference))
        exercise.judge(wild)
    assert numbers() == expected and torch.is_grad_enabled()


def endless(*_):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


def counting(*_):
    number = 0
    while True:
        number += 1


def asleep(*_):
    time.sleep(1000)


@pytest.mark.parametrize("exercise", ALL, ids=names)
def test_a_loop_without_an_end_is_ended(exercise, shown, monkeypatch):
    monkeypatch.setattr(trial, "ANSWERING", 0.05)
    for answer in (endless, asleep):
        assert exercise.check(answer) is exercise.reference
    assert all("does a loop end?" in output["text/plain"] for output in shown)


def test_a_loop_is_ended_in_another_thread_as_well(monkeypatch):
    monkeypatch.setattr(trial, "ANSWERING", 0.05)
    verdicts = []
    thread = threading.Thread(
        target=lambda: verdicts.append(first_prediction.top_k.judge(counting))
    )
    thread.start()
    thread.join(60)
    assert "does a loop end?" in verdicts[0].message


def test_an_answer_that_was_in_time_is_not_disturbed_later(monkeypatch):
    monkeypatch.setattr(trial, "ANSWERING", 0.3)
    assert first_prediction.top_k.judge(rewritten(first_prediction.top_k.reference))
    time.sleep(0.5)  # an alarm that was left on would go off here


log, total, weights = [], 0, torch.zeros(2)


def helper():
    log.append("called")


def greedy(logits, k):
    global total
    total += 1
    log.append(k)
    weights.add_(1)
    helper()
    return greedy(logits, 1)[:0] if k > 1 else logits


def test_the_readers_variables_are_left_alone():
    first_prediction.top_k.judge(greedy)
    assert log == [] and total == 0 and weights.tolist() == [0, 0]


@pytest.mark.parametrize("exercise", ALL, ids=names)
def test_calling_the_reference_is_no_answer(exercise):
    def borrowed(*arguments):
        return exercise.reference(*arguments)

    verdict = exercise.judge(borrowed)
    assert verdict.status == "failed" and "calls the reference" in verdict.message


def test_an_answer_may_not_ask_the_keyboard(shown):
    before = builtins.input
    first_prediction.top_k.check(lambda logits, k: input("which? "))
    assert "asks the keyboard" in shown[0]["text/plain"]
    assert builtins.input is before


def test_displays_of_the_answer_do_not_reach_the_page(capfd):
    def showing(logits, k):
        display("look")
        return logits

    first_prediction.top_k.judge(showing)
    assert capfd.readouterr().out == ""


def exercise_of(reference=lambda x: 2 * x, cases=None, **options):
    cases = cases or (lambda: [Case((3,), "double(3)")])
    return Exercise(
        "double", "Twice", 1, "easy", "doubling", ("a", "b", "c"), reference, cases,
        options.pop("mistakes", ()), **options,
    )  # fmt: skip


def test_a_message_names_the_call_what_was_found_and_what_was_expected():
    exercise = exercise_of()
    assert exercise.judge(lambda x: x).message == "double(3): found 3, expected 6."


def test_a_message_names_the_place_the_cause_and_how_much_is_right():
    squared = Mistake(lambda x: x * x, "That is the square.", "squared")
    cases = [Case.of("double", 2, part="two"), Case.of("double", 3, part="three")]
    exercise = exercise_of(cases=lambda: cases, mistakes=(squared,), place="1 · Twice")
    verdict = exercise.judge(lambda x: x**2)
    assert verdict.message == (
        "double(3): found 9, expected 6. That is the square. "
        "Look again at “1 · Twice”. 1 of 2 parts are right."
    )
    assert (verdict.score, verdict.mistake) == (0.5, "squared")


def test_an_error_is_recognised_by_its_kind():
    mistake = Mistake(lambda x: x["a"], "It is no dictionary.", "key")
    exercise = exercise_of(mistakes=(mistake,))
    assert exercise.judge(lambda x: x[0]).mistake == "key"
    assert exercise.judge(lambda x: x / 0).mistake == ""


def test_of_random_cases_the_smallest_that_fails_is_shown():
    def draw(generator):
        size = int(torch.randint(1, 9, (), generator=generator))
        return Case.of("double", torch.ones(size))

    exercise = exercise_of(cases=list, draw=draw)
    verdict = exercise.judge(lambda x: 2 * x if len(x) < 3 else x)
    assert verdict.message.startswith("double(a tensor (3,) of [1, 1, 1])")
    assert "✗ 1" in verdict.example and ">Counter-example<" in verdict.example


def test_a_counter_example_of_a_map_is_a_picture_with_words():
    exercise = exercise_of(cases=lambda: [Case.of("double", torch.rand(16, 16))])
    page = exercise.judge(lambda x: x + 9).example
    assert page.count("<img alt=") == 3 and "16 × 16 values from" in page


def test_a_counter_example_is_escaped():
    exercise = exercise_of(cases=lambda: [Case.of("double", "<i>x</i>")])
    assert "<i>" not in exercise.judge(lambda x: "<i>y</i>").example


def test_rules_judge_an_answer_of_which_many_are_right():
    even = Rule("odd", lambda v, x: v % 2 == 0, "an even number", "Halve it first.")
    big = Rule("small", lambda v, x: v > x, "more than x", "Add something.")
    exercise = exercise_of(rules=(even, big))
    assert exercise.judge(lambda x: 8).status == "passed"
    assert exercise.judge(lambda x: 100).status == "passed"
    verdict = exercise.judge(lambda x: 5)
    assert (verdict.score, verdict.mistake) == (0.5, "odd")
    assert verdict.message.startswith(
        "double(3): found 5, expected an even number. Halve it first."
    )
    assert exercise.judge(lambda x: "five").score == 0


def given(x):
    """Has a bug."""
    return x + 1


def test_a_bug_that_is_handed_out_is_not_started_until_it_is_changed():
    exercise = exercise_of(given=given)

    def double(x):
        """The words differ, the code does not."""
        return x + 1

    assert exercise.judge(double).status == "not started"
    assert exercise.judge(lambda x: x + 2).status == "failed"
    assert exercise.judge(lambda x: x + x).status == "passed"


def cell_of(exercise):
    """Return the function as the chapter's own cell makes it."""
    number = next(n for n, m in enumerate(MODULES) if exercise in m.EXERCISES)
    cells = json.loads(CHAPTERS[number].read_text("utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    start = f"def {exercise.name}("
    source = next(text for text in sources if text.startswith(start))
    space = {}
    exec(compile(source, "a cell", "exec"), space)
    return space[exercise.name]


@pytest.mark.parametrize("exercise", ALL, ids=names)
def test_what_a_chapter_hands_out_is_not_started(exercise):
    assert exercise.judge(cell_of(exercise)).status == "not started"


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


def test_the_page_of_wrong_answers_is_what_the_checks_say():
    assert table.PLACE.read_text("utf-8") == table.page(), (
        "run python tests/answers/table.py"
    )
