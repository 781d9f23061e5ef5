"""Transferability scores against slow formulas; ranks; a search for duplicates."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from course import choose, data, models
from course.errors import CourseError, HeldOutError
from course.extraction import Features, before_head

SIZES = [(60, 8, 3), (30, 50, 4), (80, 20, 2)]  # images, values, classes


def drawn(count, width, classes, seed=0, kind="train"):
    """Features, correlated as a network's are, of which the first hint at the class."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, width, generator=generator)
    noise = torch.randn(count, classes, generator=generator)
    labels = (values[:, :classes] + noise).argmax(dim=1)
    values = values + 2 * torch.randn(count, 1, generator=generator)
    return Features(values, labels, tuple("abcdefgh"[:classes]), kind, "avgpool")


def believed(count, sources, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, sources, generator=generator).softmax(dim=1)


# The second, slow implementations -----------------------------------------------------


def slow_evidence(values, target):
    """Largest log evidence an image, with the whole covariance of the labels."""

    def minus(logs):
        alpha, beta = np.exp(logs)
        covariance = np.eye(len(target)) / beta + values @ values.T / alpha
        log_det = np.linalg.slogdet(covariance)[1]
        fit = target @ np.linalg.solve(covariance, target)
        return (log_det + fit + len(target) * math.log(2 * math.pi)) / 2

    exact = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 4000}
    found = [
        optimize.minimize(minus, start, method="Nelder-Mead", options=exact).fun
        for start in ([0, 0], [3, 1], [-2, 2])
    ]
    return -min(found) / len(target)


def slow_ledoit_wolf(centred):
    """The shrunk covariance and the strength, by the formulas of the paper (2004)."""
    count, width = centred.shape
    covariance = sum(np.outer(row, row) for row in centred) / count
    mean = np.trace(covariance) / width
    distance = ((covariance - mean * np.eye(width)) ** 2).sum()
    spread = (
        sum(((np.outer(row, row) - covariance) ** 2).sum() for row in centred)
        / count**2
    )
    strength = min(spread, distance) / distance
    return (1 - strength) * covariance + strength * mean * np.eye(width), strength


def slow_h_score(values, labels):
    centred = values - values.mean(axis=0)
    shrunk, strength = slow_ledoit_wolf(centred)
    between = np.zeros_like(shrunk)
    for label in set(labels):
        mean = centred[labels == label].mean(axis=0)
        between += (labels == label).mean() * np.outer(mean, mean)
    return np.trace(np.linalg.inv(shrunk) @ ((1 - strength) * between))


def slow_leep(beliefs, labels):
    count, sources = beliefs.shape
    total = 0.0
    for i in range(count):
        believed = 0.0
        for z in range(sources):
            joint = sum(beliefs[n, z] for n in range(count) if labels[n] == labels[i])
            believed += joint / beliefs[:, z].sum() * beliefs[i, z]
        total += math.log(believed)
    return total / count


def slow_nce(guesses, labels):
    total = 0.0
    for guess, label in zip(guesses, labels, strict=True):
        same = [y for z, y in zip(guesses, labels, strict=True) if z == guess]
        total += math.log(same.count(label) / len(same))
    return total / len(labels)


def slow_knn(values, labels, k):
    right = 0
    for i, row in enumerate(values):
        others = [n for n in range(len(values)) if n != i]
        cosine = {
            n: row @ values[n] / np.linalg.norm(row) / np.linalg.norm(values[n])
            for n in others
        }
        voters = sorted(others, key=cosine.get, reverse=True)[:k]
        votes = {
            label: (
                sum(labels[n] == label for n in voters),
                sum(cosine[n] for n in voters if labels[n] == label),
            )
            for label in set(labels)
        }
        right += max(votes, key=votes.get) == labels[i]
    return right / len(values)


@pytest.mark.parametrize(("count", "width", "classes"), SIZES)
def test_logme_finds_the_largest_evidence(count, width, classes):
    features = drawn(count, width, classes)
    values = features.values.double().numpy()
    slow = [
        slow_evidence(values, (features.labels == label).double().numpy())
        for label in range(classes)
    ]
    assert choose.logme(features) == pytest.approx(np.mean(slow), abs=1e-6)


@pytest.mark.parametrize(("count", "width", "classes"), SIZES)
def test_the_h_score_is_that_of_explicit_covariances(count, width, classes):
    features = drawn(count, width, classes)
    slow = slow_h_score(features.values.double().numpy(), features.labels.numpy())
    assert slow > 0.1  # shrunk, but not to nothing
    assert choose.h_score(features) == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize(("count", "width", "classes"), SIZES)
def test_leep_and_nce_are_what_counting_gives(count, width, classes):
    labels, beliefs = drawn(count, width, classes).labels, believed(count, 5)
    slow = slow_leep(beliefs.double().numpy(), labels.tolist())
    assert choose.leep(beliefs, labels) == pytest.approx(slow, abs=1e-6)
    guesses = beliefs.argmax(dim=1)
    slow = slow_nce(guesses.tolist(), labels.tolist())
    assert choose.nce(guesses, labels) == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize(("count", "width", "classes"), SIZES)
def test_neighbours_vote_as_in_a_slow_loop(count, width, classes):
    features = drawn(count, width, classes)
    slow = slow_knn(features.values.double().numpy(), features.labels.tolist(), 5)
    assert choose.knn(features) == pytest.approx(slow, abs=1e-6)


def test_a_probe_is_judged_as_scikit_learn_would():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = drawn(90, 6, 3)
    values, labels = features.values.double().numpy(), features.labels.numpy()
    seen, folds = {}, []
    for label in labels.tolist():
        seen[label] = seen.get(label, 0) + 1
        folds.append(seen[label] % 3)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    guesses = cross_val_predict(model, values, labels, cv=PredefinedSplit(folds))
    assert choose.probe(features) == pytest.approx((guesses == labels).mean(), abs=1e-9)


# What a score must say ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["LogME", "H-score", "k-NN", "probe"])
def test_features_that_tell_the_classes_score_higher_than_noise(name):
    good = drawn(80, 10, 4)
    noise = Features(
        drawn(80, 10, 4, seed=9).values,
        good.labels,
        good.class_names,
        "train",
        "avgpool",
    )
    of = choose.SCORES[name].of
    nothing = torch.zeros(80, 0)
    assert of(good, nothing) > of(noise, nothing)


def test_a_head_that_knows_the_classes_scores_higher_than_one_that_guesses():
    labels = torch.arange(60) % 3
    knows = torch.nn.functional.one_hot(labels, 5).float() * 0.9 + 0.02
    assert choose.leep(knows, labels) > choose.leep(believed(60, 5), labels) + 0.5
    assert choose.nce(knows.argmax(1), labels) == pytest.approx(0)


def test_a_shared_scale_of_the_features_changes_no_score_but_little():
    features = drawn(80, 10, 3)
    tenfold = Features(
        features.values * 10, features.labels, features.class_names, "train", "avgpool"
    )
    for name in ("LogME", "H-score", "k-NN", "probe"):
        of = choose.SCORES[name].of
        before, after = (of(f, torch.zeros(80, 0)) for f in (features, tenfold))
        assert after == pytest.approx(before, rel=1e-4), name


@pytest.mark.parametrize("name", ["LogME", "H-score", "k-NN", "probe"])
def test_a_test_part_is_refused(name):
    with pytest.raises(HeldOutError, match="test part"):
        choose.SCORES[name].of(drawn(20, 4, 2, kind="test"), torch.zeros(20, 0))


def test_the_test_part_of_a_task_gets_no_score():
    task = data.task("digits", train=20, validation=10, test=10)
    with pytest.raises(HeldOutError):
        choose.score(models.load("resnet10-glyphs"), task.test)


@pytest.mark.parametrize(
    ("values", "labels", "said"),
    [
        (torch.randn(6, 3), None, "without labels"),
        (torch.randn(6, 3), torch.zeros(6, dtype=torch.int64), "two classes"),
        (torch.full((6, 3), math.nan), torch.arange(6) % 2, "finite"),
    ],
)
def test_what_cannot_be_scored_is_answered_in_a_sentence(values, labels, said):
    features = Features(values, labels, ("a", "b"), "train", "avgpool")
    for one in (choose.logme, choose.h_score, choose.knn, choose.probe):
        with pytest.raises(CourseError, match=said):
            one(features)


def test_scores_that_need_a_head_say_so():
    labels = torch.tensor([0, 1])
    with pytest.raises(CourseError, match="without a head"):
        choose.leep(torch.zeros(2, 0), labels)
    with pytest.raises(CourseError, match="expected"):
        choose.nce(torch.tensor([0, 1, 1]), labels)
    with pytest.raises(CourseError, match="two images or more of each class"):
        choose.probe(
            Features(
                torch.randn(3, 2), torch.tensor([0, 0, 1]), ("a", "b"), "train", ""
            )
        )


def test_every_score_of_a_source_comes_with_its_time():
    few = data.task("digits").few_shot(2, 0).train
    found = choose.score(models.load("resnet10-glyphs"), few)
    assert list(found) == ["features", *choose.SCORES]
    assert all(math.isfinite(found[name].value) for name in choose.SCORES)
    assert all(one.seconds >= 0 for one in found.values())
    without = choose.score(models.load("resnet10-simclr"), few)
    for name, one in choose.SCORES.items():
        assert math.isnan(without[name].value) == one.needs_head


def test_leep_of_a_source_asks_its_own_head():
    glyphs = models.load("resnet10-glyphs")
    few = data.task("digits").few_shot(2, 0).train
    beliefs = glyphs.logits(few.images).softmax(dim=1)
    slow = choose.leep(beliefs, few.labels)
    assert choose.score(glyphs, few)["LEEP"].value == pytest.approx(slow, abs=1e-4)


# Ranks --------------------------------------------------------------------------------


def test_kendall_is_scipys_with_and_without_ties():
    generator = np.random.default_rng(0)
    for _ in range(20):
        one, other = generator.integers(0, 6, (2, 8)).astype(float)
        assert choose.kendall(one, other) == pytest.approx(
            stats.kendalltau(one, other).statistic
        )
    assert math.isnan(choose.kendall(np.ones(4), np.arange(4.0)))


def test_kendall_counts_pairs_in_many_rows_at_once():
    one = np.array([[1.0, 2, 3], [3, 2, 1]])
    other = np.array([[1.0, 2, 3], [1, 2, 3]])
    assert choose.kendall(one, other).tolist() == [1, -1]


def test_an_order_that_agrees_has_tau_one_and_a_reversed_one_minus_one():
    truth = np.array([[0.1, 0.3, 0.5, 0.9]] * 3) + 0.01 * np.arange(3)[:, None]
    found = choose.agreement([[1, 2, 3, 4]], truth)
    assert (found.tau, found.low, found.high) == (1, 1, 1)
    assert found.weighted == pytest.approx(1)
    assert (found.pairs, found.decided, found.sources) == (6, 1, 4)
    assert choose.agreement([[4, 3, 2, 1]], truth).tau == -1


def test_the_interval_of_an_agreement_covers_both_kinds_of_chance():
    truth = np.array([[0.1, 0.3, 0.5, 0.9]] * 4)
    steady = choose.agreement([[1, 2, 3, 4], [1, 2, 3, 4]], truth)
    moved = choose.agreement([[1, 2, 3, 4], [2, 1, 4, 3]], truth)
    assert steady.low == steady.high == 1
    assert moved.low == pytest.approx(1 / 3)
    shaky = truth + np.random.default_rng(0).normal(0, 1, truth.shape)
    assert choose.agreement([[1, 2, 3, 4]], shaky).low < 1


def test_pairs_that_the_seeds_cannot_tell_are_not_decided():
    truth = np.array([[0.5, 0.52, 0.9], [0.52, 0.5, 0.91], [0.5, 0.51, 0.9]])
    assert choose.decided(truth) == [(0, 2), (1, 2)]
    assert choose.decided(truth[:1]) == []
    reversed_where_undecided = choose.agreement([[2, 1, 3]], truth)
    assert reversed_where_undecided.decided == 1
    assert reversed_where_undecided.pairs == 2


def test_sources_without_a_score_are_left_out():
    truth = np.array([[0.1, 0.2, 0.3, 0.4]] * 2)
    found = choose.agreement([[1, 2, math.nan, 4]], truth)
    assert (found.tau, found.sources) == (1, 3)
    with pytest.raises(CourseError, match="three or more"):
        choose.agreement([[1, math.nan, math.nan, 4]], truth)
    with pytest.raises(CourseError, match="expected"):
        choose.agreement([[1, 2]], truth)


def test_a_constant_score_has_no_rank():
    found = choose.agreement([[1, 1, 1]], [[0.1, 0.2, 0.3]] * 3)
    assert math.isnan(found.tau)
    assert math.isnan(found.low)


# Near-duplicates ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures():
    glyphs = models.load("resnet10-glyphs")
    digits = data.task("digits", train=150, validation=60, test=60)
    return [
        before_head(glyphs, part)
        for part in (digits.train, digits.validation, digits.test)
    ]


def test_copies_are_found_and_others_are_left_alone(pictures):
    album, clean, test = pictures
    values = test.values.clone()
    planted = torch.zeros(len(test), dtype=torch.bool)
    planted[::6] = True
    copied = torch.arange(10, 20)
    values[planted] = album.values[copied] + 0.01
    suspects = Features(values, test.labels, test.class_names, "test", test.layer)
    found = choose.near_duplicates(album, suspects, clean)
    assert found.recall(planted) == 1
    assert found.precision(planted) >= 0.8
    assert found.nearest[planted].tolist() == copied.tolist()


def test_the_share_of_false_alarms_is_what_was_asked_for(pictures):
    album, clean, _ = pictures
    for alarms in (0.05, 0.2):
        found = choose.near_duplicates(album, clean, clean, alarms)
        assert found.found.float().mean() <= alarms
        assert found.found.any()


def test_a_slow_search_finds_the_same_neighbours(pictures):
    album, clean, test = pictures
    found = choose.near_duplicates(album, test, clean)
    mean, spread = album.values.mean(0), album.values.std(0, correction=0)
    spread[spread == 0] = 1
    for i in range(0, len(test), 7):
        one = (test.values[i] - mean) / spread
        best, place = -2.0, -1
        for n, row in enumerate((album.values - mean) / spread):
            cosine = torch.nn.functional.cosine_similarity(one, row, dim=0).item()
            if cosine > best:
                best, place = cosine, n
        assert found.nearest[i] == place
        assert found.similarity[i] == pytest.approx(best, abs=1e-5)


def test_a_search_without_images_or_across_layers_is_refused(pictures):
    album, clean, test = pictures
    nobody = test.take(torch.tensor([], dtype=torch.int64))
    for parts in itertools.product([album], [nobody], [clean]):
        with pytest.raises(CourseError, match="at least one of each"):
            choose.near_duplicates(*parts)
    other = Features(test.values, test.labels, test.class_names, "test", "layer2")
    with pytest.raises(CourseError, match="different layers"):
        choose.near_duplicates(album, other, clean)
    with pytest.raises(CourseError, match="between 0 and 1"):
        choose.near_duplicates(album, test, clean, alarms=1.0)


def test_precision_and_recall_count_what_was_found():
    found = torch.tensor([True, True, False, False])
    planted = torch.tensor([True, False, True, False])
    one = choose.Duplicates(torch.zeros(4), torch.zeros(4), 0.5, found)
    assert (one.precision(planted), one.recall(planted)) == (0.5, 0.5)
    assert math.isnan(
        choose.Duplicates(*[torch.zeros(4)] * 2, 0.5, ~found & found).precision(planted)
    )
