"""From near to far: equal budgets, rates chosen apart, and what a slip would do."""

import inspect

import pytest
import torch

from course import data, models, sweep, transfer
from course.plans import distance

PLAN = distance.PLAN


@pytest.fixture
def small(monkeypatch):
    """Targets of few small images, and a narrow source, so that a run takes no time."""
    tasks = {
        name: data.task(kind, style=style, train=60, validation=12, test=12, size=16)
        for name, (kind, style) in distance.TARGETS.items()
        if name in ("colour", "position")
    }
    with models.seeded(0):
        network = models.resnet10(3, width=4)
    source = models.Model(network.eval(), models.normalising(16), ("a", "b", "c"))
    monkeypatch.setattr(distance, "task", tasks.__getitem__)
    monkeypatch.setattr(distance, "source", lambda name: source)
    monkeypatch.setattr(distance, "untrained", lambda: source)
    monkeypatch.setattr(distance, "LABELS", 2)
    fresh = sweep.once(distance.chosen.__wrapped__)  # remembers no other test
    monkeypatch.setattr(distance, "chosen", fresh)
    return source


def test_the_plan_is_found_by_its_name():
    assert sweep.plan("near-to-far") is PLAN
    assert PLAN.name in sweep.SHIPPED


def test_every_cell_fits_the_work_and_is_there_once():
    names = set(inspect.signature(PLAN.work).parameters)
    for profile in ("smoke", "quick", "full"):
        cells = PLAN.cells(profile)
        assert all(set(cell) == names for cell in cells)
        assert len({tuple(cell.items()) for cell in cells}) == len(cells)


def test_full_and_scratch_meet_on_every_target_with_the_same_steps_and_seeds():
    cells = [c for c in PLAN.cells("quick") if c["origin"] == "shapes"]
    settings = {
        strategy: {
            (c["target"], c["steps"], c["seed"])
            for c in cells
            if c["strategy"] == strategy
        }
        for strategy in ("full", "scratch")
    }
    assert settings["full"] == settings["scratch"]
    assert {target for target, *_ in settings["full"]} == set(distance.TARGETS)
    assert len({seed for *_, seed in settings["full"]}) >= 5


def test_no_seed_that_is_reported_chose_a_rate():
    used = {cell["seed"] for cell in PLAN.cells("full")}
    assert distance.APART not in used
    assert min(used) > 100  # chapters run the seeds from 0 up


def test_the_images_far_away_are_drawn_in_the_style_of_the_source():
    styles = {name: style for name, (_, style) in distance.TARGETS.items()}
    assert styles.pop("in another style") != "full"
    assert set(styles.values()) == {"full"}
    kinds = {kind for kind, _ in distance.TARGETS.values()}
    assert kinds <= set(data.TASKS)


def test_what_is_compared_differs_in_the_strategy_alone(small, monkeypatch):
    calls = []

    def watch(strategy, source, task, recipe, seed, **options):
        calls.append((strategy, recipe, tuple(task.train.labels.tolist()), seed))
        return original(strategy, source, task, recipe, seed, **options)

    original = transfer.run
    monkeypatch.setattr(transfer, "run", watch)
    for strategy in ("full", "scratch"):
        distance.measured(strategy, "colour", 2, 0, 1e-3)
    (one, *same), (two, *also) = calls
    assert (one, two) == ("full", "scratch") and same == also
    assert same[0].steps == 2 and same[0].batch == distance.BATCH


def test_the_rate_is_chosen_on_validation_with_a_seed_apart(small, monkeypatch):
    asked = []

    def watch(strategy, source, train, validation, recipe, values, seed):
        asked.append((strategy, len(train), validation.kind, recipe.steps, seed))
        return [(values[0], 0.5)]

    monkeypatch.setattr(transfer, "choose_rate", watch)
    few = 2 * len(data.shapes.COLOURS)
    for seed in (0, 1):
        row = distance.work("shapes", "colour", "full", 2, seed)
        assert row["rate"] == distance.RATES[0] and 0 <= row["accuracy"] <= 1
    assert asked == [("full", few, "validation", 2, distance.APART)]  # and only once


def test_the_untrained_probe_starts_from_the_untrained_network(small, monkeypatch):
    other = small.copy()
    transfer.reinitialise(other.network, 1)
    with torch.no_grad():
        for parameter in other.network.parameters():
            parameter.zero_()  # features that say nothing
    monkeypatch.setattr(distance, "untrained", lambda: other)
    got = distance.measured("untrained probe", "position", 1, 0, 0.1)["accuracy"]
    known = distance.measured("probe", "position", 1, 0, 0.1)["accuracy"]
    counts = distance.task("position").test.labels.bincount()
    assert got <= counts.max().item() / 12 + 1e-6
    assert known != got


def test_a_source_that_is_thrown_away_gains_nothing(small, monkeypatch):
    """Break the strategy: a "full" that starts from scratch has a gain of zero."""
    broken = {**transfer.STRATEGIES}
    broken["full"] = broken["scratch"]
    monkeypatch.setattr("course.strategies.STRATEGIES", broken)
    monkeypatch.setattr(transfer, "STRATEGIES", broken)
    full, scratch = (
        distance.measured(strategy, "colour", 2, 0, 1e-3)["accuracy"]
        for strategy in ("full", "scratch")
    )
    assert full == scratch


TABLE = sweep.TABLES / "near-to-far.csv"


@pytest.mark.skipif(not TABLE.is_file(), reason="the table has not been made yet")
def test_the_shipped_table_says_what_the_chapter_teaches():
    table = sweep.load("near-to-far")

    def gain(target, strategy, steps):
        rows = {
            who: table.where(origin="shapes", target=target, strategy=who, steps=steps)
            for who in (strategy, "scratch")
        }
        pairs = zip(*rows.values(), strict=True)
        assert [r["seed"] for r in rows[strategy]] == list(distance.SEEDS)
        return [ours["accuracy"] - theirs["accuracy"] for ours, theirs in pairs]

    assert min(gain("unseen shapes", "full", distance.STEPS)) > 0.4
    assert max(gain("colour", "full", distance.STEPS)) < -0.1
    assert max(gain("colour", "probe", distance.STEPS)) < -0.3
    late, soon = (
        sum(gain("colour", "full", steps)) for steps in (distance.LONG, distance.STEPS)
    )
    assert late > 0.5 * soon  # both are below zero: most of the harm has gone
