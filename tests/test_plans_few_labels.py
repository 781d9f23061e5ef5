"""The few-label plan, and that chapter 05's claims fail where a strategy is broken."""

import dataclasses

import numpy as np
import pytest

from course import strategies, sweep, transfer
from course.curves import disagreement
from course.data.tasks import TestPart
from course.plans import few_labels

TABLE = sweep.load("few-labels")
SEEDS = (0, 1, 2)


def shipped(strategy, labels, target="unseen shapes"):
    rows = TABLE.where(
        target=target, strategy=strategy, labels=labels, steps=few_labels.STEPS
    )
    return [row["accuracy"] for row in rows if row["seed"] == row["subset"]]


def live(strategy, labels, target="unseen shapes"):
    wanted = {"target": target, "strategy": strategy, "labels": labels}
    rate = TABLE.where(**wanted, steps=few_labels.STEPS)[0]["rate"]
    return [
        few_labels.measured(**wanted, steps=few_labels.STEPS, seed=seed, rate=rate)[
            "accuracy"
        ]
        for seed in SEEDS
    ]


def gain(labels=5):
    return np.subtract(live("full", labels), live("scratch", labels))


def test_the_table_holds_every_point_of_the_curve_and_of_the_budgets():
    for target in few_labels.SOURCES:
        for strategy in few_labels.STRATEGIES:
            for labels in few_labels.LABELS:
                assert len(shipped(strategy, labels, target)) == len(few_labels.SEEDS)
        for steps in few_labels.BUDGETS:
            assert TABLE.where(target=target, strategy="full", labels=5, steps=steps)


def test_no_shipped_seed_or_subset_is_one_that_a_chapter_reports():
    used = {row[k] for row in TABLE.rows for k in ("seed", "subset")}
    assert min(used) >= 1000 and few_labels.APART not in used


def test_rates_are_among_those_tried_and_one_for_all_seeds():
    found = {}
    for row in TABLE.rows:
        key = tuple(row[k] for k in ("target", "strategy", "labels", "steps"))
        found.setdefault(key, set()).add(row["rate"])
        tried = transfer.CS if row["strategy"] == "probe" else few_labels.RATES
        assert row["rate"] in tried
    assert all(len(rates) == 1 for rates in found.values())


def test_a_rate_is_chosen_without_a_test_part_in_sight(monkeypatch):
    seen = []

    def watched(strategy, source, train, validation, recipe, values, seed):
        seen.extend([train, validation])
        return [(values[0], 0.5)]

    monkeypatch.setattr(transfer, "choose_rate", watched)
    few_labels.chosen.__wrapped__("digits", "full", 1, 2)
    assert len(seen) == 2 and not any(isinstance(part, TestPart) for part in seen)


def test_the_claims_hold_in_a_small_run():
    assert gain().min() > 0.5
    assert min(live("probe", 5)) >= 0.9
    points = {s: live(s, 5) for s in ("probe", "full")}
    table = {s: shipped(s, 5) for s in points}
    assert disagreement(points, table, 1 / few_labels.TESTS) >= 0.01


@pytest.mark.parametrize("broken", ["probe", "full"])
def test_a_strategy_that_forgets_the_pretrained_weights_is_found(monkeypatch, broken):
    honest = strategies.STRATEGIES[broken]
    mutant = dataclasses.replace(honest, start="scratch")
    monkeypatch.setitem(strategies.STRATEGIES, broken, mutant)
    values = live(broken, 5)
    assert max(values) < 0.5  # neither claim on the near target would hold
    table = {broken: shipped(broken, 5)}
    assert disagreement({broken: values}, table, 1 / few_labels.TESTS) < 0.01


def test_training_on_too_few_labels_is_found(monkeypatch):
    short = few_labels.task("digits").few_shot
    task = few_labels.task("digits")

    class Fewer:
        def few_shot(self, labels, seed):
            return short(1, seed)

        def __getattr__(self, name):
            return getattr(task, name)

    monkeypatch.setattr(few_labels, "task", lambda target: Fewer())
    table = {"probe": shipped("probe", 20, "digits")}
    values = {"probe": live("probe", 20, "digits")}
    assert disagreement(values, table, 1 / few_labels.TESTS) < 0.01
