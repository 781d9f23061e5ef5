"""Predict the winner: the lock, the score, and runs that do not reach their end."""

import base64
import threading
import time

import pytest

from course import evidence, plots, widgets
from course.errors import CourseError, TrainingDiverged
from course.widgets.winner import Contest, in_words, question, result

STRATEGIES = ("scratch", "probe", "full")
CLEAR = {"scratch": 0.3, "probe": 0.6, "full": 0.8}
SETTINGS = {"target": "digits", "labels": 5, "steps": 20}


def gives(accuracies):
    """A train that takes its steps and reaches what it is told."""

    def train(strategy, settings, after_step, stop):
        for step in range(1, settings["steps"] + 1):
            if stop.is_set():
                break
            after_step({"step": step, "loss": 1 / step})
        return accuracies[strategy]

    return train


def draw(target, points):
    """A background curve, and the reader's points as a line of their own."""
    series = {f"{target}, shipped table": ([1, 50], [0.2, 0.9])}
    if points:
        found = [point["accuracy"] for point in points]
        series["yours"] = ([point["labels"] for point in points], found)
    return plots.curves(series, "labels a class", "accuracy", ylim=(0, 1))


def lab(train=None, **options):
    menus = (("digits", "shapes"), (5, 20), (20, 40))
    train = train or gives(CLEAR)
    return widgets.PredictTheWinner(train, STRATEGIES, *menus, draw, **options)


class EndlessAt:
    """A train that reaches its end, but for one strategy that waits for the stop."""

    def __init__(self, strategy):
        self.strategy, self.began = strategy, threading.Event()

    def __call__(self, strategy, settings, after_step, stop):
        if strategy == self.strategy:
            step = 0
            while not stop.wait(0.001):
                step += 1
                after_step({"step": step, "loss": 1.0})
                self.began.set()
        return CLEAR[strategy]


def says(widget):
    return widget.picture.words.value


def test_run_is_enabled_by_a_prediction_only():
    widget = lab()
    assert widget.go.disabled and "Predict first" in widget.question.value
    with pytest.raises(CourseError, match="Predict the winner first"):
        widget.run()
    assert not widget.running and not widget.runs
    widget.choices.value = "probe"
    assert not widget.go.disabled and "You predict probe" in widget.question.value


def test_the_question_names_the_settings_and_what_became_of_it():
    few = {"target": "digits", "labels": 1, "steps": 20}
    asked = "Which one wins on digits, with 1 label a class and 20 steps?"
    assert question(few, None, False).startswith(f"{asked} Predict first")
    assert question(few, "full", True) == f"{asked} Locked in: full."
    widget = lab()
    widget.choose(target="shapes", labels=20, steps=40)
    asked = "Which one wins on shapes, with 20 labels a class and 40 steps?"
    assert asked in widget.question.value


def test_every_strategy_is_trained_once_with_the_chosen_settings():
    asked = []

    def train(strategy, settings, after_step, stop):
        asked.append((strategy, dict(settings)))
        settings["steps"] = 0  # its own copy
        return CLEAR[strategy]

    widget = lab(train)
    widget.choose(target="shapes", labels=20)
    widget.predict("full")
    widget.run()
    settings = {"target": "shapes", "labels": 20, "steps": 20}
    assert asked == [(strategy, settings) for strategy in STRATEGIES]
    assert widget.settings == settings


def test_the_results_join_the_figure_of_their_target():
    asked = []
    widget = lab()
    widget._draw_target = lambda *seen: asked.append(seen) or draw(*seen)
    widget.predict("full")
    widget.run()
    widget.choose(target="shapes")
    widget.choose(target="digits")
    point = {"labels": 5, "steps": 20}
    points = [{"strategy": s, **point, "accuracy": CLEAR[s]} for s in STRATEGIES]
    assert asked == [("digits", points), ("shapes", []), ("digits", points)]
    assert "with 3 points of yours" in says(widget)


def test_a_page_without_a_kernel_keeps_the_figure_of_the_present_target():
    widget = lab()
    assert "digits, shipped table" in widget.still().alt
    widget.choose(target="shapes")
    data, metadata = widget._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]) == bytes(widget.picture.image.value)
    assert "shapes, shipped table" in metadata["image/png"]["alt"]
    widget.predict("full")
    widget.run()
    assert "yours" in widget.still().alt


def test_calls_and_misses_and_close_runs_are_counted():
    accuracies = dict(CLEAR)
    widget = lab(gives(accuracies))
    assert "No prediction has been scored yet" in widget.tally.value
    rows = []
    for target, labels, best in [
        ("digits", 5, 0.8),  # ahead of the probe by more than is close
        ("digits", 20, 0.61),
        ("shapes", 5, 0.4),
    ]:
        accuracies["full"] = best
        widget.choose(target=target, labels=labels)
        widget.predict("full")
        rows.append(widget.run())
    assert [row["verdict"] for row in rows] == ["called", "close", "missed"]
    assert [row["winner"] for row in rows] == ["full", "full", "probe"]
    assert [row["ahead"] for row in rows] == [0.2, 0.01, 0.2]
    assert widget.score == {"called": 1, "missed": 1, "close": 1}
    assert "You have called 1 of 2; 1 too close." in widget.tally.value
    assert widget.runs == rows and [row["run"] for row in rows] == [1, 2, 3]


def test_the_runs_are_rows_of_a_table():
    widget = lab()
    widget.predict("probe")
    widget.run()
    table = evidence.table_bundle(widget.runs, caption="Your predictions")
    for word in ("digits", "probe", "full", "0.2", "missed"):
        assert word in table["text/plain"]


@pytest.mark.parametrize(
    ("lead", "verdict"), [(0.0, "close"), (0.02, "close"), (0.021, "called")]
)
def test_the_callers_threshold_parts_a_win_from_chance(lead, verdict):
    widget = lab(gives({**CLEAR, "probe": 0.5, "full": 0.5 + lead}), close=0.02)
    widget.predict("full")
    assert widget.run()["verdict"] == verdict
    assert "A lead of up to 0.02 is too close to call" in widget.tally.value
    widest = lab(gives({**CLEAR, "probe": 0.5, "full": 0.5 + lead}), close=0.1)
    widest.predict("scratch")
    assert widest.run()["verdict"] == "close"


def contest(predicted, **found):
    return Contest(SETTINGS, predicted, 0.02, found)


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (
            contest("full", **CLEAR),
            "full wins with 0.800 on validation images, 0.200 ahead of probe. You "
            "called it. The others: probe 0.600, scratch 0.300.",
        ),
        (
            contest("probe", scratch=0.4, probe=0.1),
            "scratch wins with 0.400 on validation images, 0.300 ahead of probe. You "
            "predicted probe. The others: probe 0.100.",
        ),
        (
            contest("scratch", scratch=0.3, probe=0.61, full=0.6, lora=0.6),
            "Too close to call: probe 0.610, full 0.600, lora 0.600. You predicted "
            "scratch; no point is won or lost. The others: scratch 0.300.",
        ),
        (
            contest("probe", probe=0.6, full=0.6),
            "Too close to call: probe 0.600, full 0.600. You predicted probe; no point "
            "is won or lost.",
        ),
    ],
)
def test_a_result_says_who_won_how_close_it_was_and_what_was_predicted(run, sentence):
    assert result(run) == sentence


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        ((0, 0, 0), "No prediction has been scored yet."),
        ((2, 1, 1), "You have called 2 of 3; 1 too close."),
        ((0, 1, 0), "You have called 0 of 1."),
        ((0, 0, 2), "No run was decided so far; 2 too close."),
    ],
)
def test_a_score_is_a_sentence(score, sentence):
    names = ("called", "missed", "close")
    assert in_words(dict(zip(names, score, strict=True))) == sentence


def test_after_a_run_everything_can_be_chosen_again_and_is_asked_anew():
    widget = lab()
    for labels in (5, 20):
        widget.choose(labels=labels)
        widget.predict("full")
        widget.go.click()
        assert widget.wait(30)
        assert widget.prediction is None and widget.go.disabled
        assert widget.button.disabled and not widget.choices.disabled
        assert not any(menu.disabled for menu in widget.menus.values())
        assert "Predict first" in widget.question.value
    assert [row["labels"] for row in widget.runs] == [5, 20]
    assert widget.score["called"] == 2


def test_a_run_whose_answer_is_known_scores_nothing():
    widget = lab()
    for guess in ("probe", "full", "full"):
        widget.predict(guess)
        widget.run()
    verdicts = [row["verdict"] for row in widget.runs]
    assert verdicts == ["missed", "seen before", "seen before"]
    assert widget.score == {"called": 0, "missed": 1, "close": 0}
    assert "run these settings before: not scored" in says(widget)


def test_everything_is_locked_while_it_runs_and_stop_scores_nothing():
    train = EndlessAt("probe")
    widget = lab(train)
    widget.predict("full")
    widget.go.click()
    assert train.began.wait(30) and widget.running
    assert widget.choices.disabled and widget.go.disabled
    assert all(menu.disabled for menu in widget.menus.values())
    assert "Locked in: full" in widget.question.value
    assert "Training probe, 2 of 3. So far: scratch 0.300." in says(widget)
    for change in (
        lambda: widget.predict("probe"),
        lambda: widget.choose(labels=20),
        widget.run,
    ):
        with pytest.raises(CourseError, match="stop it first"):
            change()
    widget.button.click()
    assert widget.wait(30)
    assert "Stopped after 1 of 3 strategies: nothing is scored." in says(widget)
    assert "Finished: scratch 0.300." in says(widget)
    (row,) = widget.runs
    assert (row["winner"], row["ahead"], row["verdict"]) == ("", "", "stopped")
    assert sum(widget.score.values()) == 0
    assert "yours" in widget.still().alt


def test_a_run_is_the_one_that_was_asked_for_whatever_a_page_sends_meanwhile():
    train = EndlessAt("full")
    widget = lab(train)
    widget.predict("scratch")
    widget.go.click()
    assert train.began.wait(30)
    widget.choices.value, widget.menus["labels"].value = "full", 20
    widget.button.click()
    assert widget.wait(30)
    assert (widget.runs[0]["predicted"], widget.runs[0]["labels"]) == ("scratch", 5)


def test_when_time_is_up_the_finished_ones_are_shown_and_nothing_is_scored():
    widget = lab(EndlessAt("full"), seconds=0.05)
    widget.predict("full")
    row = widget.run()
    assert row["verdict"] == "time was up" and sum(widget.score.values()) == 0
    assert "Time is up after 2 of 3 strategies: nothing is scored." in says(widget)
    assert "Finished: scratch 0.300, probe 0.600. Fewer steps" in says(widget)
    assert "yours" in widget.still().alt


def test_time_is_kept_between_strategies_that_take_no_steps():
    trained = []

    def train(strategy, settings, after_step, stop):
        trained.append(strategy)
        time.sleep(0.05)
        return CLEAR[strategy]

    widget = lab(train, seconds=0.01)
    widget.predict("full")
    assert widget.run()["verdict"] == "time was up" and trained == ["scratch"]
    assert len(widget._points["digits"]) == 1


def test_settings_that_were_cut_short_can_still_be_scored():
    train = EndlessAt("full")
    widget = lab(train, seconds=0.02)
    widget.predict("full")
    widget.run()
    train.strategy = None
    widget._seconds = None
    widget.predict("full")
    assert widget.run()["verdict"] == "called" and widget.score["called"] == 1
    assert not widget.out_of_time


def test_a_strategy_that_fails_is_named_and_logged_and_what_finished_is_shown(caplog):
    def train(strategy, settings, after_step, stop):
        if strategy == "probe":
            raise TrainingDiverged("The loss became <nan> at step 3.")
        return CLEAR[strategy]

    widget = lab(train)
    widget.predict("full")
    widget.go.click()
    assert widget.wait(30)
    assert 'role="alert"' in says(widget) and "&lt;nan&gt; at step 3" in says(widget)
    assert "probe failed, so nothing is scored." in widget.tally.value
    assert caplog.records[-1].exc_info[0] is TrainingDiverged
    assert widget.runs[0]["verdict"] == "failed" and "yours" in widget.still().alt
    assert not widget.choices.disabled and sum(widget.score.values()) == 0
    widget.predict("full")
    with pytest.raises(TrainingDiverged):
        widget.run()


def test_an_accuracy_that_is_no_number_is_refused():
    widget = lab(gives({**CLEAR, "full": float("nan")}))
    widget.predict("full")
    with pytest.raises(CourseError, match="full gave the accuracy nan"):
        widget.run()


def test_a_figure_that_cannot_be_drawn_costs_no_point(caplog):
    widget = lab()
    widget._draw_target = lambda target, points: 1 / 0
    widget.predict("full")
    assert widget.run()["verdict"] == "called" and widget.score["called"] == 1
    assert "ZeroDivisionError" in says(widget)
    assert "You have called 1 of 1." in widget.tally.value
    assert not widget.choices.disabled


def test_there_is_nothing_to_stop_before_a_run():
    widget = lab()
    widget.button.click()
    assert "no training to stop" in says(widget) and not widget.stopped


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda widget: widget.predict("fulll"), "Did you mean 'full'"),
        (lambda widget: widget.choose(target="digit"), "Did you mean 'digits'"),
        (lambda widget: widget.choose(labels=7), "Unknown labels a class 7"),
        (lambda widget: widget.choose(steps=7), "Unknown steps 7. Known: 20, 40"),
        (lambda widget: widget.choose(label=5), "Did you mean 'labels'"),
        (lambda widget: widget.choose(labels=20, steps=7), "Unknown steps 7"),
    ],
)
def test_a_name_or_number_that_is_not_offered_is_told_and_changes_nothing(
    change, message
):
    widget = lab()
    with pytest.raises(CourseError, match=message):
        change(widget)
    assert widget.settings == SETTINGS and widget.prediction is None


@pytest.mark.parametrize(
    ("place", "values", "message"),
    [
        (0, ["full"], "two or more strategies"),
        (0, ["full", "full"], "strategies of a prediction must all be different"),
        (1, [], "one or more targets"),
        (2, [], "one or more labels"),
        (3, [20, 20], "steps of a prediction must all be different"),
    ],
)
def test_there_must_be_something_to_choose_from(place, values, message):
    given = [STRATEGIES, ("digits",), (5,), (20,)]
    given[place] = values
    with pytest.raises(CourseError, match=message):
        widgets.PredictTheWinner(gives(CLEAR), *given, draw)


def test_the_whole_range_can_be_predicted_and_run():
    widget = lab()
    for target in widget.menus["target"].options:
        for labels in widget.menus["labels"].options:
            for steps in widget.menus["steps"].options:
                for strategy in STRATEGIES:
                    widget.choose(target=target, labels=labels, steps=steps)
                    widget.predict(strategy)
                    widget.run()
                    assert 'role="alert"' not in says(widget)
    assert len(widget.runs) == 2 * 2 * 2 * 3
    assert widget.score == {"called": 0, "missed": 8, "close": 0}
