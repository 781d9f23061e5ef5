"""The speed table: what is timed, in which order, and that its page is its data."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from course import data, models

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def speed():
    spec = importlib.util.spec_from_file_location("speed", FOLDER / "speed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_compared_runs_in_turns_after_a_warm_up(speed):
    order = []
    first, second = speed.alternately(
        lambda: order.append("a"), lambda: order.append("b"), pairs=3
    )
    assert "".join(order) == "ab" * 4
    assert len(first) == len(second) == 3


def test_a_row_is_the_median_with_lowest_and_highest(speed):
    one = speed.row("this", "that", "at most 2", [3.0, 1.0, 1.5], "×")
    assert (one["median"], one["lowest"], one["highest"]) == (1.5, 1.0, 3.0)


def test_the_page_is_what_the_results_say(speed):
    results = json.loads((FOLDER / "results.json").read_text("utf-8"))
    assert (FOLDER / "results.md").read_text("utf-8") == speed.written(results)
    for one in results["rows"]:
        assert one["lowest"] <= one["median"] <= one["highest"]


def test_the_bare_loop_trains_on_every_image_once(speed, monkeypatch):
    task = data.task("shapes", train=64, validation=1, test=1)
    model = models.fresh(task.class_names, 0)
    before = model.network.fc.weight.clone()
    seen, prepare = [], model.preprocess
    model.preprocess = lambda images: seen.append(images) or prepare(images)
    speed.bare_loop(model, task.train)
    assert not torch.equal(model.network.fc.weight, before)
    rows = {bytes(one.numpy().tobytes()) for one in torch.cat(seen)}
    assert rows == {bytes(one.numpy().tobytes()) for one in task.train.images}


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
