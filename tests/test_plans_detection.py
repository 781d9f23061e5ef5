"""The detector's plan: equal budgets, rates chosen apart, scenes that nobody shares."""

import inspect
from dataclasses import replace

import pytest
import torch

from course import models, sweep
from course.data import scenes
from course.errors import CourseError, TrainingDiverged
from course.plans import detection

PLAN = detection.PLAN


@pytest.fixture
def small(monkeypatch):
    """Few small scenes and a narrow source, so that a run takes no time."""
    two = scenes.SHAPES[:2]

    def part(kind, count, seed):
        return scenes.draw(count, seed, shapes=two, size=64, objects=(1, 2), kind=kind)

    source = models.fresh(("a", "b"), seed=0, width=8)
    monkeypatch.setattr(
        detection, "train", lambda count, seed: part("train", min(count, 4), seed)
    )
    monkeypatch.setattr(detection, "validation", lambda: part("validation", 3, 1))
    monkeypatch.setattr(detection, "test", lambda: part("test", 3, 2))
    monkeypatch.setattr(detection, "source", lambda: source)
    monkeypatch.setattr(detection, "RATES", (1e-3, 2e-3))
    fresh = sweep.once(detection.chosen.__wrapped__)  # remembers no other test
    monkeypatch.setattr(detection, "chosen", fresh)
    return source


def test_the_plan_is_found_by_its_name():
    assert sweep.plan("detection") is PLAN
    assert PLAN.name in sweep.SHIPPED


def test_every_cell_fits_the_work_and_is_there_once():
    names = set(inspect.signature(PLAN.work).parameters)
    for profile in ("smoke", "quick", "full"):
        cells = PLAN.cells(profile)
        assert all(set(cell) == names for cell in cells)
        assert len({tuple(cell.items()) for cell in cells}) == len(cells)


def test_the_three_meet_at_every_budget_but_the_longest():
    settings = {
        name: {
            (c["scenes"], c["steps"], c["seed"])
            for c in PLAN.cells("quick")
            if c["variant"] == name and c["steps"] != detection.LONGEST
        }
        for name in detection.VARIANTS
    }
    assert settings["random"] == settings["frozen"] == settings["pretrained"]
    assert len({seed for *_, seed in settings["random"]}) >= 3
    longest = [c for c in PLAN.cells("quick") if c["steps"] == detection.LONGEST]
    assert {c["variant"] for c in longest} == {"random"} and len(longest) >= 3


def test_no_seed_that_is_reported_chose_a_rate():
    used = {cell["seed"] for cell in PLAN.cells("full")}
    assert not used & set(detection.APART)
    assert min(used) > 100  # chapters run the seeds from 0 up


def test_scenes_of_two_seeds_and_of_two_parts_are_not_the_same():
    one, other = (detection.train(2, seed) for seed in (1000, 2000))
    assert one is detection.train(2, 1000)
    parts = [one, other, detection.validation().take([0, 1])]
    pictures = [image for part in parts for image in part.images]
    for n, image in enumerate(pictures):
        assert not any(torch.equal(image, later) for later in pictures[n + 1 :])
    assert [part.kind for part in parts] == ["train", "train", "validation"]


def test_the_variants_differ_in_the_backbone_alone(small, monkeypatch):
    calls = []

    def watch(detector, part, recipe, **options):
        calls.append((detector, part, recipe, options))
        return original(detector, part, recipe, **options)

    original = detection.detection.fit
    monkeypatch.setattr(detection.detection, "fit", watch)
    for name in detection.VARIANTS:
        detection.trained(name, 4, 2, 5, 1e-3)
    (_, part, recipe, options), *others = calls
    assert recipe.steps == 2 and recipe.batch == detection.BATCH
    for _, also, like, too in others:
        assert like == recipe and too == options
        assert torch.equal(also.images, part.images)
    assert [call[0].card["frozen"] for call in calls] == [False, True, False]


def test_random_has_the_sources_layers_and_none_of_its_weights(small):
    one, other = (detection.backbone("random", seed) for seed in (0, 1))
    assert detection.backbone("frozen", 0) is detection.backbone("pretrained", 1)
    assert detection.backbone("frozen", 0) is small
    weights = [m.network.layer2[0].conv1.weight for m in (small, one, other)]
    assert not torch.equal(weights[1], weights[2])
    full = models.fresh(small.class_names, 1).network.layer2[0].conv1.weight
    assert torch.equal(weights[2], full)


def test_an_unknown_backbone_is_named():
    with pytest.raises(CourseError, match="Did you mean 'frozen'"):
        detection.backbone("froze", 0)


def test_the_rate_is_chosen_on_validation_with_seeds_apart(small, monkeypatch):
    asked, judged = [], []

    def watch(variant, count, steps, seed, rate):
        asked.append((variant, count, steps, seed, rate))
        return original(variant, count, steps, seed, rate)

    def score(detector, part):
        judged.append(part.kind)
        return {"map50": 0.5, "map": 0.25}

    original = detection.trained
    monkeypatch.setattr(detection, "trained", watch)
    monkeypatch.setattr(detection, "score", score)
    for seed in (0, 1):
        row = detection.work("frozen", 4, 2, seed)
        assert row["rate"] == 1e-3 and row["on_validation"] == 0.5  # of equals
        assert row["map50"] == 0.5 and row["seconds"] > 0
    tried = [call for call in asked if call[3] in detection.APART]
    assert tried == [
        ("frozen", detection.SCENES, 2, seed, rate)
        for rate in (1e-3, 2e-3)
        for seed in detection.APART
    ]  # and only once
    assert judged == ["validation"] * 4 + ["test"] * 2


def test_a_long_training_takes_the_rate_of_a_shorter_one(small, monkeypatch):
    asked = []
    monkeypatch.setattr(
        detection, "chosen", lambda *about: asked.append(about) or (1e-3, 0.5)
    )
    monkeypatch.setattr(detection, "measured", lambda *about: {"map50": 0.5})
    for steps in (detection.STEPS, *detection.LONG, detection.LONGEST):
        detection.work("random", 4, steps, 0)
    assert [steps for _, steps in asked] == [detection.STEPS, 300, 300, 300]


def test_a_training_that_diverged_is_not_chosen(small, monkeypatch):
    def diverges(variant, count, steps, seed, rate):
        if rate < 2e-3:
            raise TrainingDiverged("The loss became nan.")
        return None, None

    monkeypatch.setattr(detection, "trained", diverges)
    monkeypatch.setattr(detection, "score", lambda *about: {"map50": 0.1})
    assert detection.chosen("random", 2) == (2e-3, 0.1)


def test_a_run_measures_on_the_test_scenes(small):
    row = detection.measured("pretrained", 4, 2, 0, 1e-3)
    assert set(row) == {"map50", "map", "seconds"}
    assert 0 <= row["map"] <= row["map50"] <= 1


def test_a_source_that_is_thrown_away_gains_nothing(small, monkeypatch):
    """Break a variant: a "pretrained" that starts from random weights gains nothing."""
    variants = dict(detection.VARIANTS)
    variants["pretrained"] = replace(variants["pretrained"], pretrained=False)
    monkeypatch.setattr(detection, "VARIANTS", variants)
    rows = [
        detection.measured(name, 4, 3, 0, 1e-3) for name in ("pretrained", "random")
    ]
    assert rows[0]["map50"] == rows[1]["map50"] and rows[0]["map"] == rows[1]["map"]


TABLE = sweep.TABLES / "detection.csv"


@pytest.mark.skipif(not TABLE.is_file(), reason="the table has not been made yet")
def test_the_shipped_table_says_what_the_chapter_teaches():
    table = sweep.load("detection")

    def values(variant, steps, scenes=detection.MORE, what="map50"):
        rows = table.where(variant=variant, steps=steps, scenes=scenes)
        assert [row["seed"] for row in rows] == list(detection.SEEDS)
        return [row[what] for row in rows]

    for count in (detection.FEWER, detection.SCENES, detection.MORE):
        random, frozen, pretrained = (
            values(name, detection.STEPS, count) for name in detection.VARIANTS
        )
        assert min(pretrained) - max(random) > 0.3
        assert min(frozen) - max(random) > 0.3
    long = detection.LONG[-1]
    assert min(values("pretrained", long)) > max(values("random", long))
    assert min(values("pretrained", long, what="map")) > max(
        values("frozen", long, what="map")
    )
    caught_up = values("random", detection.LONGEST)
    assert min(caught_up) > max(values("random", long))
    assert min(caught_up) > max(values("pretrained", detection.STEPS))
