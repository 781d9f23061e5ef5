"""The speed table: what is timed, whether the work is equal, and what may not grow."""

import importlib
import json
import re
import subprocess
from pathlib import Path

import pytest
import torch

from course import data, models
from course.training import Recipe

FOLDER = Path(__file__).parents[1] / "benchmarks"
COMMITTED = json.loads((FOLDER / "results.json").read_text("utf-8"))


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch):
    """The scripts import each other, as they do when one of them is run."""
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def speed():
    return importlib.import_module("speed")


@pytest.fixture
def timing():
    return importlib.import_module("timing")


@pytest.fixture
def table():
    return importlib.import_module("table")


@pytest.fixture
def workbook():
    return importlib.import_module("workbook")


@pytest.fixture
def peers(speed, monkeypatch):
    """Two steps of 32 images, and not sixty."""
    module = importlib.import_module("peers")
    for place in (speed, module):
        monkeypatch.setattr(place, "RECIPE", Recipe(2, batch=32))
    return module


@pytest.fixture(scope="module")
def part():
    return data.task("shapes", train=64, validation=1, test=1).train


def test_what_is_compared_runs_in_turns_after_a_warm_up(timing):
    order = []
    first, second = timing.alternately(
        lambda: order.append("a"), lambda: order.append("b"), pairs=3
    )
    assert "".join(order) == "ab" * 4
    assert len(first) == len(second) == 3


def test_a_row_is_the_median_with_lowest_and_highest(timing):
    one = timing.row("this", "that", "at most 2", [3.0, 1.0, 1.5], "×")
    assert (one["median"], one["lowest"], one["highest"]) == (1.5, 1.0, 3.0)


def test_the_page_is_what_the_results_say(table):
    assert (FOLDER / "results.md").read_text("utf-8") == table.written(COMMITTED)
    for one in COMMITTED["rows"]:
        assert one["part"] in table.PARTS
        if one["median"] is None:
            assert one["note"].startswith("not measured")
        else:
            assert one["lowest"] <= one["median"] <= one["highest"] and one["day"]


def test_the_bare_loop_trains_on_every_image_once(speed, part):
    model = models.fresh(part.class_names, 0)
    before = model.network.fc.weight.clone()
    seen, prepare = [], model.preprocess
    model.preprocess = lambda images: seen.append(images) or prepare(images)
    speed.bare_loop(model, part)
    assert not torch.equal(model.network.fc.weight, before)
    rows = {bytes(one.numpy().tobytes()) for one in torch.cat(seen)}
    assert rows == {bytes(one.numpy().tobytes()) for one in part.images}


def test_the_floor_prepares_one_batch_and_steps_as_often_as_an_epoch(speed, part):
    model = models.fresh(part.class_names, 0)
    prepared, stepped, prepare = [], [], model.preprocess
    model.preprocess = lambda images: prepared.append(len(images)) or prepare(images)
    model.network.fc.register_forward_hook(lambda *_: stepped.append(1))
    speed.bare_steps(model, part)
    assert (prepared, len(stepped)) == ([32], 2)


def test_the_tutorials_way_learns_and_stops_where_it_is_good_enough(speed, monkeypatch):
    task = data.task("digits", train=100, validation=50, test=1)
    source = models.load("resnet10-shapes")
    before = {k: v.clone() for k, v in source.network.state_dict().items()}
    epochs = []
    scored = speed.evaluate
    monkeypatch.setattr(
        speed, "evaluate", lambda *a, **k: epochs.append(1) or scored(*a, **k)
    )
    assert speed.by_descent(source, task, enough=0.3) >= 0.3
    assert len(epochs) < speed.EPOCHS
    after = source.network.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before)


# Other libraries ----------------------------------------------------------------------


def test_every_peer_is_pinned():
    names = importlib.import_module("peers").PEERS
    text = (FOLDER / "requirements.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z]+==\d+(\.\d+)+", line) for line in lines)
    assert [line.partition("==")[0] for line in lines] == [name for name, _ in names]


def test_peers_get_the_batches_that_fit_gets(peers, part):
    model = models.fresh(part.class_names, 0)
    images, labels = peers.Images(model, part).__getitems__([5, 2])
    assert torch.equal(images, model.preprocess(part.images[[5, 2]]))
    assert labels.tolist() == part.labels[[5, 2]].tolist()
    assert images.is_contiguous(memory_format=torch.channels_last)
    seen = torch.cat([labels for _, labels in peers.loader(model, part)])
    assert sorted(seen.tolist()) == sorted(part.labels.tolist())


def test_work_is_counted_in_whatever_trains(peers, speed, part):
    def by_fit(model, part):
        speed.fit_once(part, model)

    for train in (by_fit, speed.bare_loop):
        work = peers.work_of(train, part)
        assert (work.steps, work.images) == (2, 64)
        assert 0 < work.loss < 10 and work.loss != work.before


def test_equal_work_is_as_many_steps_and_a_loss_that_fell_alike(peers):
    ours = peers.Work(before=2.1, steps=60, images=1920, loss=0.2)
    alike = {"steps": 60, "images": 1920, "loss": 0.3}
    assert ours.equals(peers.Work(before=2.1, **alike))
    for wrong in ({"steps": 59}, {"images": 1888}, {"loss": 0.9}, {"loss": 2.1}):
        assert not ours.equals(peers.Work(before=2.1, **{**alike, **wrong}))


def test_only_equal_work_counts_and_what_is_missing_says_so(
    peers, speed, part, monkeypatch
):
    def half(model, part):
        speed.bare_loop(model, part.take(torch.arange(32)))

    def missing(model, part):
        import no_such_library  # noqa: F401

    monkeypatch.setattr(peers.metadata, "version", lambda name: "1.0")
    monkeypatch.setattr(
        peers.Work, "equals", lambda one, other: one.steps == other.steps
    )
    monkeypatch.setattr(
        peers, "alternately", lambda a, b, _: (a(), b(), ([3.0], [2.0]))[-1]
    )
    trained = (("half", half), ("whole", speed.bare_loop), ("missing", missing))
    monkeypatch.setattr(peers, "PEERS", trained)
    lazy, whole, gone, over = peers.rows(part, part, pairs=1)
    assert "UNEQUAL: 2 steps on 64 images against 1 on 32" in lazy["note"]
    assert [one["goal"] == peers.GOAL for one in (lazy, whole, gone)] == [0, 1, 0]
    assert gone["median"] is None and "no_such_library" in gone["note"]
    assert over["what"].startswith("whole")
    assert (whole["median"], over["median"]) == (1.5, 1.5)


# The whole workbook -------------------------------------------------------------------


def test_the_workbook_is_measured_against_an_epoch(workbook, monkeypatch):
    records = [
        {"chapter": "00_first", "peak_mb": 1000.0},
        {"chapter": "01_second", "peak_mb": None},
    ]
    monkeypatch.setattr(workbook, "reference", lambda: [2.0, 4.0])
    monkeypatch.setattr(workbook, "executed", lambda chapters: (600.0, records))
    ratio, minutes, memory, unknown = workbook.rows()
    assert (ratio["median"], ratio["lowest"], ratio["highest"]) == (225, 150, 300)
    assert minutes["median"] == 10
    assert memory["what"].endswith("00")
    assert memory["median"] == pytest.approx(1.048576)
    assert unknown["median"] is None and "does not count" in unknown["note"]


def test_a_workbook_that_fails_is_not_measured(workbook, timing, monkeypatch):
    def failed(command, **_):
        assert command[1] == "run"
        return subprocess.CompletedProcess(command, 1, "02_x: failed\n  why", "")

    monkeypatch.setattr(workbook.subprocess, "run", failed)
    with pytest.raises(timing.NotMeasured, match=r"02_x: failed / +why"):
        workbook.executed()


def ratio(value, spread=1.0, cores=2):
    return {"day": "2026-01-01", "cores": cores, "ratio": value, "spread": spread}


@pytest.mark.parametrize(
    ("now", "history", "grown"),
    [
        (ratio(300), [], False),
        (ratio(290), [ratio(300)], False),
        (ratio(301), [ratio(300)], False),
        (ratio(302), [ratio(300)], True),
        (ratio(302, spread=5), [ratio(300)], False),
        (ratio(302), [ratio(300), ratio(301)], True),  # no creeping up
        (ratio(400), [ratio(300, cores=8)], False),
    ],
)
def test_the_ratio_may_only_go_down(table, now, history, grown):
    said = table.slower(now, history)
    assert bool(said) == grown
    if grown:
        assert "took 302 epochs" in said and "300 on 2026-01-01" in said


def test_no_committed_run_was_slower_than_one_before_it(table):
    history = COMMITTED["history"]
    for place, one in enumerate(history):
        assert not table.slower(one, history[:place])
    measured = [one for one in COMMITTED["rows"] if one["goal"] == "may only go down"]
    assert [one["median"] for one in measured] == [one["ratio"] for one in history[-1:]]


# The table ----------------------------------------------------------------------------


@pytest.fixture
def parts(table, timing, monkeypatch):
    """One part that can be measured, one that cannot, and the workbook."""

    def broken():
        raise timing.NotMeasured("there is no Chromium")

    goal = table.workbook.RATIO_GOAL
    parts = {
        "sound": lambda: [timing.row("a", "b", "c", [2.0], "×")],
        "broken": broken,
        "run": lambda: [timing.row("run", "epoch", goal, [9.0, 10.0, 12.0], "×")],
    }
    monkeypatch.setattr(table, "PARTS", parts)
    return parts


def test_what_cannot_be_measured_keeps_its_last_rows(table, timing, parts):
    old = {**timing.row("old", "–", "d", [7.0], "ms"), "part": "broken", "day": "1 May"}
    results = {"machine": {}, "rows": [old], "history": []}
    results, said = table.measured(results, skip=["run"])
    sound, kept, left = results["rows"]
    assert sound["day"] == table.date.today().isoformat() and "kept" not in sound
    assert kept == {**old, "kept": "there is no Chromium"}
    assert left["median"] is None and left["note"].endswith("left out this time")
    assert (results["history"], said) == ([], "")
    page = table.written(results)
    assert "| 7 ms | 7 to 7; of 1 May: there is no Chromium |" in page
    again, _ = table.measured(results, skip=["run", "sound"])
    assert [one["median"] for one in again["rows"]] == [2.0, 7.0, None]


def test_a_measured_run_enters_the_history_and_a_kept_one_does_not(table, parts):
    empty = {"machine": {}, "rows": [], "history": []}
    first, said = table.measured(empty, skip=["sound", "broken"])
    (one,) = first["history"]
    assert (one["ratio"], one["spread"], said) == (10.0, 3.0, "")
    kept, _ = table.measured(first, skip=list(parts))
    assert kept["history"] == first["history"]
    best = {**first, "history": [{**one, "ratio": 6.0}]}
    later, said = table.measured(best, skip=["sound", "broken"])
    assert len(later["history"]) == 2 and "may" not in said and "took 10" in said


def test_sliders_are_told_apart_by_how_their_pictures_are_made(monkeypatch):
    latency = importlib.import_module("widget_latency")
    timed = [
        latency.Timed("04_looking_inside", "LayerSlider", "layer", [300.0], [5.0]),
        latency.Timed("01_pretraining", "Filters", "step", [50.0, 70.0], [5.0]),
        latency.Timed("02_feature_extraction", "Mix", "share", [], [90.0]),
    ]
    monkeypatch.setattr(latency, "opened", lambda: iter(timed))
    finished, live = latency.rows()
    assert (finished["lowest"], finished["highest"]) == (60, 90)
    assert "2 sliders" in finished["note"] and "“share” of Mix" in finished["note"]
    assert (live["median"], live["goal"]) == (300, "at most 400, every slider")
