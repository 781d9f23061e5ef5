"""The zoo: torchvision's figures are read as they are, and what is counted agrees."""

import math
import random
import threading
import types

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models as torchvision_models

from course import cost, models, sweep, zoo
from course.errors import CourseError

ROWS = zoo.entries()


def test_every_set_of_weights_of_every_classifier_has_its_row():
    known = torchvision_models.list_models(module=torchvision_models)
    pairs = {
        (n, w.name) for n in known for w in torchvision_models.get_model_weights(n)
    }
    assert {(row["model"], row["weights"]) for row in ROWS} == pairs
    assert len(ROWS) == len(pairs) >= 100


def test_a_row_holds_what_torchvision_states():
    row = zoo.find(ROWS, "resnet18")
    meta = torchvision_models.ResNet18_Weights.IMAGENET1K_V1.meta
    assert row["parameters"] == meta["num_params"]
    assert row["top1"] == meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert row["top5"] == meta["_metrics"]["ImageNet-1K"]["acc@5"]
    assert (row["gmacs"], row["file_mb"]) == (meta["_ops"], meta["_file_size"])
    assert (row["size"], row["smallest"]) == (224, 1)
    assert row["recipe"] == meta["recipe"] and row["licence"] is None


def test_an_accuracy_that_is_not_a_number_is_none():
    features = zoo.find(ROWS, "vgg16", "IMAGENET1K_FEATURES")
    assert features["top1"] is None and features["top5"] is None
    assert zoo.find(ROWS, "vgg16")["weights"] == "IMAGENET1K_V1"


def test_a_licence_is_there_where_it_is_stated_and_only_there():
    assert zoo.find(ROWS, "vit_h_14")["licence"].startswith("https://")
    stated = [row["licence"] for row in ROWS if row["licence"]]
    assert 0 < len(stated) < len(ROWS) / 2


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"_metrics": None},
        {"_metrics": {"Another": {"acc@1": 1.0}}, "_ops": math.nan, "min_size": None},
    ],
)
def test_missing_keys_give_none_and_no_error(meta):
    weights = types.SimpleNamespace(name="W", meta=meta, transforms=None)
    row = zoo._stated(weights)
    assert row.pop("weights") == "W"
    assert set(row.values()) == {None}


def test_rows_are_the_callers_own():
    zoo.entries()[0]["model"] = "changed"
    assert zoo.entries()[0]["model"] == ROWS[0]["model"] != "changed"


@pytest.mark.parametrize(
    ("model", "weights", "says"),
    [("resnet19", None, "'resnet1"), ("resnet50", "IMAGENET1K_V9", "IMAGENET1K_V")],
)
def test_an_unknown_model_is_named_with_the_nearest(model, weights, says):
    with pytest.raises(CourseError, match="Did you mean") as error:
        zoo.find(ROWS, model, weights)
    assert says in str(error.value)


def test_our_own_checkpoints_are_rows_that_say_so():
    own = zoo.own()
    assert [row["model"] for row in own] == list(models.SHIPPED)
    assert set(own[0]) == set(ROWS[0])
    for row in own:
        assert row["source"] == "this course" and row["top1"] is None
        assert row["licence"] == "MIT" and row["size"] == models.IMAGE_SIZE
        assert 2 < row["file_mb"] < 3 and 1.2e6 < row["parameters"] < 1.3e6
        assert 0.06 < row["gmacs"] < 0.07
    assert zoo.pareto_front(own, "gmacs", "top1") == []


def slow_front(rows, cost, gain):
    """The definition, over all pairs."""
    known = [r for r in rows if r.get(cost) is not None and r.get(gain) is not None]

    def dominated(row):
        return any(
            o[cost] <= row[cost]
            and o[gain] >= row[gain]
            and (o[cost] < row[cost] or o[gain] > row[gain])
            for o in known
        )

    return sorted((r for r in known if not dominated(r)), key=lambda r: r[cost])


@pytest.mark.parametrize("seed", range(40))
def test_the_front_is_the_slow_definition_with_ties_and_gaps(seed):
    chance = random.Random(seed)
    values = [None, 0, 1, 2, 3, 0.5] if seed % 2 else list(range(40))
    rows = [
        {"n": n, "cost": chance.choice(values), "gain": chance.choice(values)}
        for n in range(chance.randrange(25))
    ]
    before = [dict(row) for row in rows]
    front = zoo.pareto_front(rows, "cost", "gain")
    assert front == slow_front(rows, "cost", "gain") and rows == before
    assert all(any(row is one for one in rows) for row in front)


def test_a_row_without_the_column_is_left_out_and_equal_rows_stay():
    rows = [{"c": 1, "g": 2}, {"c": 1}, {"g": 9}, {"c": 1, "g": 2}, {}]
    assert zoo.pareto_front(rows, "c", "g") == [{"c": 1, "g": 2}] * 2
    assert zoo.pareto_front([], "c", "g") == []


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "regnet_y_400mf"])
def test_what_is_counted_agrees_with_what_is_stated_and_with_the_table(name):
    row = zoo.find(ROWS, name)
    count = zoo.counted(lambda: zoo.build(name, row["size"]), row["size"])
    assert count["counted_gmacs"] == pytest.approx(row["gmacs"], rel=0.02)
    for column, value in count.items():
        assert row[column] == pytest.approx(value, rel=1e-4), column


def test_all_that_is_counted_agrees_with_all_that_is_stated():
    for row in ROWS:
        assert row["counted_gmacs"] == pytest.approx(row["gmacs"], rel=0.02), row[
            "model"
        ]


def test_a_multiply_add_is_half_of_what_torch_counts():
    with torch.device("meta"):
        network, image = torch.nn.Conv2d(3, 8, 3), torch.empty(1, 3, 10, 10)
    with FlopCounterMode(display=False) as counter:
        network(image)
    by_hand = 8 * 8 * 8 * 3 * 9  # 8 × 8 places, 8 channels, 3 × 3 × 3 each
    assert counter.get_total_flops() == 2 * by_hand
    assert cost.multiply_adds(network, image) == by_hand


def test_what_autograd_keeps_is_the_same_without_numbers():
    kept, widest = zoo._traced(models.resnet10(5).train(), torch.zeros(2, 3, 32, 32))
    counted = zoo.counted(lambda: models.resnet10(5), 32)
    assert counted["kept_mb"] * 2 * zoo.MB == pytest.approx(kept)
    assert counted["widest_mb"] * 2 * zoo.MB == pytest.approx(widest)
    assert kept > widest > 2 * 32 * 16 * 16 * 4  # the first map of both images


def test_memory_grows_with_batch_and_a_probe_takes_less():
    row = zoo.find(ROWS, "resnet18")
    one, more = (zoo.training_mb(row, batch) for batch in (1, 11))
    assert more - one == pytest.approx(10 * row["kept_mb"])
    assert one > 16 * row["parameters"] / zoo.MB
    assert zoo.frozen_mb(row) < zoo.training_mb(row)
    for lacking in ({}, {"parameters": 3}, {"kept_mb": 3.0, "widest_mb": 3.0}):
        assert zoo.training_mb(lacking) is None and zoo.frozen_mb(lacking) is None


def test_a_model_is_timed_and_freed_and_the_random_numbers_stay():
    row = zoo.find([*ROWS, *zoo.own()], "resnet10-shapes")
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert 0 < zoo.latency(row, runs=3) < 10_000
    assert torch.equal(torch.rand(1), expected)


def test_a_network_is_timed_in_evaluation_mode_without_gradients(monkeypatch):
    seen = []

    class Spy(torch.nn.Linear):
        def forward(self, images):
            seen.append((self.training, torch.is_grad_enabled(), images.shape))
            return super().forward(images)

    row = {**zoo.find(ROWS, "shufflenet_v2_x0_5"), "size": 8}
    monkeypatch.setattr(zoo, "build", lambda name, size: Spy(size, 1))
    assert zoo.latency(row, runs=5) > 0
    assert set(seen) == {(False, False, (1, 3, 8, 8))}
    assert len(seen) == 1 + 1 + 5


def test_timing_keeps_to_its_time_and_to_one_model_at_once(monkeypatch):
    calls, at_once = [], []

    def slow(network, images, repeats, warmup):
        at_once.append(zoo._TIMING.locked())
        calls.append(repeats)
        return cost.Latency(500.0, 500.0, 500.0)

    monkeypatch.setattr(cost, "latency", slow)
    monkeypatch.setattr(zoo, "build", lambda name, size: torch.nn.Identity())
    row = zoo.find(ROWS, "shufflenet_v2_x0_5")
    threads = [threading.Thread(target=zoo.latency, args=(row,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert zoo.latency(row, seconds=0.1) == 500.0
    assert calls == [1, 4, 1, 4, 1, 3] and all(at_once)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (zoo.find(ROWS, "vgg16"), "about 552 MB of memory, and 300 MB"),
        ({"model": "mine", "parameters": None}, "an unknown amount of memory"),
    ],
)
def test_what_would_not_fit_is_refused_and_not_built(row, says, monkeypatch):
    monkeypatch.setattr(zoo, "build", lambda *_: pytest.fail("it was built"))
    with pytest.raises(CourseError, match=says):
        zoo.latency(row)


def test_the_plan_covers_every_row():
    cells = sweep.plan("zoo").cells("quick")
    assert {(c["model"], c["size"]) for c in cells} == {
        (row["model"], row["size"]) for row in ROWS
    }
