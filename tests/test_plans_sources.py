"""The plan behind chapter 07, its table, and that its claims fail where they should."""

import numpy as np
import torch

from course import choose, models, sweep, transfer
from course.data.tasks import TestPart
from course.plans import sources
from course.training import Recipe

TABLE = sweep.load("sources")


def truth(target):
    rows = TABLE.where(target=target)
    found = {(row["seed"], row["source"]): row["accuracy"] for row in rows}
    seeds = sorted({seed for seed, _ in found})
    return np.array([[found[k, s] for s in sources.SOURCES] for k in seeds])


TRUTH = truth("unseen shapes")


def scores(name, target, shuffle=None):
    """One row: the score of each source, from one subset of labelled images."""
    few = sources.task(target).few_shot(sources.LABELS, 0).train
    if shuffle is not None:
        chance = torch.Generator().manual_seed(shuffle)
        order = torch.randperm(len(few), generator=chance)
        few = type(few)(few.images, few.labels[order], few.class_names)
    one = choose.SCORES[name]
    row = []
    for source in sources.SOURCES:
        features = transfer.before_head(sources.model(source), few)
        beliefs = choose._beliefs(sources.model(source), features)
        able = beliefs.shape[1] or not one.needs_head
        row.append(one.of(features, beliefs) if able else float("nan"))
    return [row]


def test_the_table_holds_five_seeds_of_every_pair():
    assert len(sources.SOURCES) >= 6
    assert len(sources.TARGETS) >= 4
    for target in sources.TARGETS:
        assert truth(target).shape == (5, len(sources.SOURCES))


def test_no_shipped_seed_is_one_that_a_chapter_reports():
    seeds = {row["seed"] for row in TABLE.rows}
    assert min(seeds) >= 1000 and sources.APART not in seeds


def test_one_rate_for_all_seeds_from_those_tried():
    for target in sources.TARGETS:
        for source in sources.SOURCES:
            rows = TABLE.where(target=target, source=source)
            assert len({row["rate"] for row in rows}) == 1
            assert rows[0]["rate"] in sources.RATES
            assert rows[0]["C"] in transfer.CS


def test_a_rate_is_never_chosen_on_the_test_part(monkeypatch):
    monkeypatch.setattr(sources, "RATES", (1e-3, 3e-3))
    monkeypatch.setattr(sources, "_recipe", lambda rate: Recipe(1, batch=4, rate=rate))
    seen = []

    def evaluate(model, part, device="auto"):
        seen.append(part)
        return real(model, part, device)

    real = transfer.evaluate
    monkeypatch.setattr(transfer, "evaluate", evaluate)
    sources.chosen.__wrapped__("glyphs", "digits", "full")
    assert seen and not any(isinstance(part, TestPart) for part in seen)


def test_half_of_a_source_keeps_its_first_stages_and_no_more():
    half, whole = sources.model("half of shapes"), models.load("resnet10-shapes")
    mine, theirs = half.network.state_dict(), whole.network.state_dict()
    assert torch.equal(mine["layer2.0.conv1.weight"], theirs["layer2.0.conv1.weight"])
    for name in ("layer3.0.conv1.weight", "layer4.0.conv2.weight"):
        assert not torch.equal(mine[name], theirs[name])
    assert sources.model("random").card["name"] not in models.SHIPPED


def test_a_run_gives_plain_values_and_the_same_twice():
    once, again = (
        sources.measured("glyphs", "digits", 0, 3e-3, steps=1) for _ in range(2)
    )
    assert once["accuracy"] == again["accuracy"]
    assert set(once) == {"accuracy", "seconds"}


def test_the_smoke_plan_is_small():
    assert len(sources.PLAN.cells("smoke")) == 4
    assert len(sources.PLAN.cells("quick")) == len(TABLE.rows)


# The claims of chapter 07, and wrong scores that they refuse --------------------------


def test_logme_orders_the_sources_of_unseen_shapes():
    found = choose.agreement(scores("LogME", "unseen shapes"), truth("unseen shapes"))
    assert found.tau >= 0.6


def test_a_wrong_logme_fails_that_claim():
    row = -np.array(scores("LogME", "unseen shapes"))
    assert choose.agreement(row, truth("unseen shapes")).tau < 0


def test_logme_of_shuffled_labels_knows_nothing_of_the_order():
    taus = [
        choose.agreement(scores("LogME", "unseen shapes", shuffle), TRUTH).tau
        for shuffle in (1, 2, 3, 4)
    ]
    assert np.mean(taus) < 0.5


def test_leep_flatters_a_sure_source_where_nothing_is_to_be_known():
    row = scores("LEEP", "position", shuffle=0)[0]
    nothing = -np.log(9)
    by_source = dict(zip(sources.SOURCES, row, strict=True))
    assert by_source["shapes"] - nothing > 0.5
    assert abs(by_source["random"] - nothing) < 0.1


def test_a_leep_that_held_images_back_would_fail_that_claim():
    few = sources.task("position").few_shot(sources.LABELS, 0).train
    order = torch.randperm(len(few), generator=torch.Generator().manual_seed(0))
    beliefs = sources.model("shapes").logits(few.images).softmax(dim=1).double()
    labels = few.labels[order]
    joint = torch.nn.functional.one_hot(labels).double()
    values = []
    for held in range(len(few)):
        rest = torch.arange(len(few)) != held
        given = joint[rest].T @ beliefs[rest] + 1 / 9
        given = given / given.sum(dim=0)
        values.append(float((given[labels[held]] * beliefs[held]).sum().log()))
    assert np.mean(values) + np.log(9) < 0.2


def test_the_first_choice_of_logme_costs_little_and_that_of_its_opposite_much():
    for target in sources.TARGETS:
        reached = truth(target).mean(axis=0)
        row = scores("LogME", target)[0]
        assert reached.max() - reached[np.argmax(row)] <= 0.1
        assert reached.max() - reached[np.argmin(row)] > 0.1
