"""The shortlist: every limit and its empty case, the reasons, and the card."""

import itertools
import json
import os

import pytest

from course import shortlist, zoo
from course.errors import CourseError
from course.shortlist import Needs, amount, decide, save

LICENCE = "https://example.org/LICENCE"


def row(model, top1, gmacs, file_mb, **more):
    base = {
        "model": model,
        "weights": "V1",
        "source": "torchvision",
        "parameters": file_mb and file_mb * 250_000,
        "gmacs": gmacs,
        "file_mb": file_mb,
        "top1": top1,
        "size": 224,
        "licence": None,
        "recipe": None,
        "kept_mb": gmacs and 20 * gmacs,
        "widest_mb": gmacs and 2 * gmacs,
    }
    return {**base, **more}


ROWS = [
    row("tiny", 60.0, 0.1, 5.0),
    row("small", 70.0, 0.5, 10.0),
    row("beaten", 65.0, 0.6, 20.0),
    row("middle", 78.0, 2.0, 80.0),
    row("free", 75.0, 3.0, 90.0, licence=LICENCE),
    row("large", 82.0, 8.0, 300.0),
    row("huge", 85.0, 50.0, 1200.0, licence=LICENCE),
    row("unrated", None, 0.01, 1.0),
]


def names(decision):
    return [pick.row["model"] for pick in decision.picks]


def fitting(**limits):
    return {r["model"] for r in decide(ROWS, Needs(**limits)).fitting}


def test_without_limits_the_most_accurate_comes_first_and_each_next_costs_half():
    decision = decide(ROWS, Needs())
    assert names(decision) == ["huge", "large", "middle", "small", "tiny"]
    costs = [pick.row["gmacs"] for pick in decision.picks]
    assert all(2 * b <= a for a, b in itertools.pairwise(costs))
    assert decision.problem == "" and "unrated" not in fitting()
    assert dict(decision.dropped) == {"no ImageNet accuracy": 1}


def test_there_are_five_at_most_and_the_reason_is_in_words():
    many = [row(f"m{n}", 50.0 + n, 3.0**n, 10.0 + n) for n in range(12)]
    decision = decide(many, Needs())
    assert names(decision) == ["m11", "m10", "m9", "m8", "m7"]
    first, second, *_ = (pick.reason for pick in decision.picks)
    assert first == "The highest ImageNet accuracy that your limits leave."
    assert second == "1.0 points less than the first, with 3.0 times less arithmetic."


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        ("file_mb", "in a file 2.0 times smaller"),
        ("parameters", "with 2.0 times fewer parameters"),
        ("gmacs", "with 2.0 times less arithmetic"),
    ],
)
def test_what_is_saved_on_decides_the_front_and_the_words(cost, words):
    rows = [row("a", 80.0, 4.0, 10.0), row("b", 70.0, 2.0, 5.0)]
    rows += [row("other", 75.0, 9.0, 7.0) if cost == "gmacs" else row("o", 60, 1, 9)]
    decision = decide(rows, Needs(save_on=cost))
    assert names(decision) == ["a", "b"]
    assert words in decision.picks[1].reason


def test_a_stated_licence_is_a_reason_to_read_it():
    (pick,) = decide(ROWS[6:7], Needs()).picks
    assert "read whether it allows your use" in pick.reason


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"file_mb": 10.0}, {"tiny", "small"}),
        ({"file_mb": 9.99}, {"tiny"}),
        ({"gmacs": 0.5}, {"tiny", "small"}),
        ({"gmacs": 2}, {"tiny", "small", "beaten", "middle"}),
        ({"licence_stated": True}, {"free", "huge"}),
        ({"licence_stated": True, "file_mb": 100}, {"free"}),
        ({"file_mb": 10_000, "gmacs": 10_000, "training_mb": 1e9}, "all"),
        ({"training_mb": 60.0}, {"tiny"}),
    ],
)
def test_each_limit_keeps_what_keeps_it_and_no_more(limits, left):
    every = {r["model"] for r in ROWS} - {"unrated"}
    assert fitting(**limits) == (every if left == "all" else left)


def test_the_memory_is_that_of_the_strategy():
    most = zoo.training_mb(ROWS[0]) - 1
    assert decide(ROWS, Needs(training_mb=most)).problem
    probe = decide(ROWS, Needs(labels=2, likeness="near", training_mb=most))
    assert not probe.problem and "tiny" in names(probe)


EMPTY = {
    "file": (
        {"file_mb": 3},
        "Nothing is small enough: the smallest is tiny with 5 MB; raise the limit to "
        "5 MB.",
    ),
    "arithmetic": (
        {"gmacs": 0.03},
        "Nothing is light enough: the lightest is tiny with 0.1 giga multiply-adds; "
        "raise the limit to 0.1 giga multiply-adds.",
    ),
    "memory": (
        {"training_mb": 10},
        "Nothing fits into that memory (fine-tuning): the leanest is tiny with "
        "51.1 MB; raise the limit to 52 MB or train with smaller batches.",
    ),
    "memory of a probe": (
        {"training_mb": 1, "labels": 1, "likeness": "near"},
        "Nothing fits into that memory (linear probe): the leanest is tiny with "
        "7.97 MB; raise the limit to 8 MB.",
    ),
    "licence, then file": (
        {"licence_stated": True, "file_mb": 10},
        "Nothing is small enough: the smallest is free with 90 MB; raise the limit to "
        "90 MB.",
    ),
    "time, not timed": (
        {"ms": 5},
        "None of the models that are left has been timed here: take the limit in ms "
        "off, tick models of the shortlist and time them, then set it again.",
    ),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_shortlist_says_why_and_what_would_do(name):
    limits, sentence = EMPTY[name]
    decision = decide(ROWS, Needs(**limits))
    assert decision.summary == decision.problem == sentence
    assert decision.picks == decision.fitting == decision.front == ()


@pytest.mark.parametrize("name", [n for n in EMPTY if n != "time, not timed"])
def test_the_limit_that_the_sentence_names_does(name):
    limits, sentence = EMPTY[name]
    raised = float(sentence.rpartition("raise the limit to ")[2].split()[0])
    last = list(limits)[0 if "memory" in name else -1]
    assert not decide(ROWS, Needs(**{**limits, last: raised})).problem


def test_a_time_limit_keeps_only_what_was_timed_and_is_fast_enough():
    timed = {shortlist.key(ROWS[0]): 30.0, shortlist.key(ROWS[3]): 90.0}
    assert names(decide(ROWS, Needs(ms=100), timed)) == ["middle", "tiny"]
    assert names(decide(ROWS, Needs(ms=50), timed)) == ["tiny"]
    assert decide(ROWS, Needs(ms=20), timed).problem == (
        "Nothing that was timed is fast enough: the fastest is tiny with 30 ms; raise "
        "the limit to 30 ms or time others."
    )


def test_a_time_belongs_to_a_model_at_an_input_size():
    other = {**ROWS[0], "size": 384}
    assert shortlist.key(other) != shortlist.key(ROWS[0])
    assert decide([other], Needs(ms=100), {shortlist.key(ROWS[0]): 1.0}).problem


@pytest.mark.parametrize(
    ("column", "limit", "says"),
    [
        ("file_mb", {"file_mb": 5}, "No file size is known"),
        ("gmacs", {"gmacs": 5}, "No number of multiply-adds is known"),
        ("kept_mb", {"training_mb": 5}, "is known for none"),
        ("licence", {"licence_stated": True}, "No weights have a stated licence"),
        ("top1", {}, "no model with an ImageNet accuracy"),
    ],
)
def test_what_is_not_known_keeps_no_limit_and_is_said(column, limit, says):
    unknown = [{**r, column: None} for r in ROWS]
    assert says in decide(unknown, Needs(**limit)).problem
    lacking = [{k: v for k, v in r.items() if k != column} for r in ROWS]
    assert says in decide(lacking, Needs(**limit)).problem
    if column in ("file_mb", "gmacs"):  # one that is known is enough
        assert names(decide([*unknown, ROWS[0]], Needs(**limit))) == ["tiny"]


def test_no_rows_at_all_is_said():
    assert "no model" in decide([], Needs()).problem


def test_equal_models_both_fit_and_one_is_picked():
    twins = [row("a", 70.0, 1.0, 10.0), row("b", 70.0, 1.0, 10.0)]
    decision = decide(twins, Needs())
    assert len(decision.front) == 2 and len(decision.picks) == 1


def test_the_front_is_the_one_that_is_handed_in():
    decision = decide(ROWS, Needs(), front=lambda rows, cost, gain: rows[:1])
    assert names(decision) == ["tiny"]


def test_a_cost_of_nothing_divides_by_nothing():
    rows = [row("a", 80.0, 1.0, 10.0), row("nothing", 50.0, 0.0, 9.0)]
    assert "any number of times" in decide(rows, Needs()).picks[1].reason
    low = decide([{**rows[1], "file_mb": 0.0}], Needs(file_mb=-1))
    assert "raise the limit to 0 MB" in low.problem


@pytest.mark.parametrize("likeness", shortlist.LIKENESS)
@pytest.mark.parametrize("labels", [1, 2, 5, 6, 20, 99, 100, 500])
@pytest.mark.parametrize("classes", [2, 10, 50, 1000])
def test_a_strategy_is_suggested_over_the_whole_range(likeness, labels, classes):
    strategy = shortlist.strategy_for(Needs(labels, classes, likeness))
    assert strategy.why.endswith(".") and set(strategy.chapters) <= {
        "02", "03", "05", "06",
    }  # fmt: skip
    probe = likeness == "near" and labels <= 5
    scratch = likeness == "far" and labels >= 100 and labels * classes >= 5000
    expected = "linear probe" if probe else "from scratch" if scratch else "fine-tuning"
    assert strategy.name.startswith(expected)
    assert strategy.trains_all is not probe


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"likeness": "nearr"}, "Did you mean 'near'"),
        ({"save_on": "gmac"}, "Did you mean 'gmacs'"),
        ({"labels": 0}, "expected 1 or more"),
        ({"classes": -1}, "expected 1 or more"),
    ],
)
def test_needs_that_make_no_sense_get_one_sentence(wrong, says):
    with pytest.raises(CourseError, match=says):
        Needs(**wrong)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.04, "0.04"), (4.729, "4.73"), (99.96, "100"), (527.8, "528"),
     (1161.0, "1,160"), (2.0, "2"), (0.0312, "0.0312")],
)  # fmt: skip
def test_amounts_are_written_in_three_digits(value, text):
    assert amount(value) == text


def test_the_card_is_written_as_markdown_and_as_json(tmp_path):
    needs = Needs(labels=3, gmacs=10, file_mb=500)
    timed = {shortlist.key(ROWS[3]): 41.66}
    decision = decide(ROWS, needs, timed)
    page, data = save(decision, tmp_path / "new" / "cards", timed)
    assert (page.name, data.name) == ("model-decision.md", "model-decision.json")
    card = json.loads(data.read_text("utf-8"))
    assert card["needs"]["labels"] == 3 and card["needs"]["ms"] is None
    assert [m["model"] for m in card["shortlist"]] == names(decision)
    assert [m["ms_here"] for m in card["shortlist"]][1] == 41.66
    assert card["strategy"]["name"] == "fine-tuning"
    assert card["left_out"] == dict(decision.dropped)
    text = page.read_text("utf-8")
    assert "| middle | V1 | 78.0 | 2 | 80 | 41.7 | " in text
    assert (
        "at most 10 giga multiply-adds" in text and "a file of at most 500 MB" in text
    )
    assert "middle: licence not stated" in text and shortlist.CAVEAT in text
    assert sorted(p.name for p in page.parent.iterdir()) == [data.name, page.name]


def test_an_empty_decision_can_be_saved_too(tmp_path):
    decision = decide(ROWS, Needs(file_mb=1))
    page, data = save(decision, tmp_path)
    assert decision.problem in page.read_text("utf-8")
    assert json.loads(data.read_text("utf-8"))["shortlist"] == []


def test_nothing_is_overwritten(tmp_path):
    decision = decide(ROWS, Needs())
    (tmp_path / "model-decision.json").write_text("mine")
    (tmp_path / "model-decision-2.md").write_text("mine")
    page, data = save(decision, tmp_path)
    assert (page.name, data.name) == ("model-decision-3.md", "model-decision-3.json")
    assert save(decision, tmp_path)[0].name == "model-decision-4.md"
    assert (tmp_path / "model-decision.json").read_text() == "mine"


def test_names_cannot_become_markup_in_the_card(tmp_path):
    bad = row("<b>x</b>|*y*`", 80.0, 1.0, 10.0, licence="<script>\nalert(1)</script>")
    text = shortlist.as_markdown(decide([bad], Needs()))
    assert "<b>" not in text and "<script>" not in text
    assert "&lt;b&gt;x&lt;/b&gt;\\|\\*y\\*\\`" in text


@pytest.mark.parametrize("folder", ["file", "file/below", "nul\0"])
def test_a_folder_that_cannot_be_written_gets_one_sentence(folder, tmp_path):
    (tmp_path / "file").write_text("a file, no folder")
    with pytest.raises(CourseError, match="could not be written into the folder"):
        save(decide(ROWS, Needs()), str(tmp_path / folder))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_gets_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CourseError, match="name a folder in which you may write"):
        save(decide(ROWS, Needs()), tmp_path)


def test_without_a_folder_it_goes_beside_the_notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page, _ = save(decide(ROWS, Needs()))
    assert not page.is_absolute() and (tmp_path / page.name).is_file()


def test_a_write_that_fails_leaves_no_half_of_a_file(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CourseError, match="No space left on device"):
        save(decide(ROWS, Needs()), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("save_on", shortlist.COSTS)
@pytest.mark.parametrize("gmacs", [None, 0.03, 0.3, 5, 20])
@pytest.mark.parametrize("file_mb", [None, 3, 20, 200])
def test_on_the_real_zoo_a_shortlist_or_a_sentence_always_comes(
    save_on, gmacs, file_mb
):
    needs = Needs(gmacs=gmacs, file_mb=file_mb, save_on=save_on)
    decision = decide(zoo.entries(), needs)
    assert bool(decision.picks) != bool(decision.problem)
    assert decision.summary.endswith(".")
    for one in decision.fitting:
        assert gmacs is None or one["gmacs"] <= gmacs
        assert file_mb is None or one["file_mb"] <= file_mb
    accuracies = [pick.row["top1"] for pick in decision.picks]
    assert accuracies == sorted(accuracies, reverse=True)
    if decision.fitting:
        assert accuracies[0] == max(one["top1"] for one in decision.fitting)
