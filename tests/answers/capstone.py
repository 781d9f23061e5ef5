"""Answers to the exercises of chapter 10, wrong ones and right ones."""

from collections import Counter
from statistics import mean as average

import numpy as np
import torch
from torch.nn import functional as F

from answers.kit import right, wrong
from course.exercises import capstone

split, most_wrong = capstone.split, capstone.most_wrong
best_temperature, ship = capstone.best_temperature, capstone.ship
predict_probabilities = capstone.predict_probabilities

# A split without leaks ----------------------------------------------------------------


@right(split)
def split_by_a_counter(labels, groups, order, count):
    class_of = dict(zip(groups.tolist(), labels.tolist(), strict=True))
    size_of, have, held = Counter(groups.tolist()), Counter(), set()
    for group in order:
        if have[class_of[group]] >= count:
            continue
        have[class_of[group]] += size_of[group]
        held.add(group)
    return torch.tensor([group in held for group in groups.tolist()])


@right(split)
def split_in_numpy(labels, groups, order, count):
    labels, groups = labels.numpy(), groups.numpy()
    held = np.zeros(len(labels), dtype=bool)
    for group in order:
        own = np.flatnonzero(groups == group)
        if np.sum(labels[held] == labels[own[0]]) < count:
            held[own] = True
    return held


@right(split)
def split_class_by_class(labels, groups, order, count):
    held = torch.zeros_like(labels, dtype=torch.bool)
    for label in labels.unique():
        taken = 0
        for group in order:
            members = (groups == group) & (labels == label)
            if taken < count:
                held[members] = True
                taken += members.sum().item()
    return held.tolist()


@wrong(split, "groups ignored")
def split_as_ever(labels, groups, order, count):
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        held[(labels == label).nonzero().flatten()[:count]] = True
    return held


@wrong(split, "a group cut at the count", score=1 / 3)
def split_exactly(labels, groups, order, count):
    held, have = [False] * len(labels), Counter()
    for group in order:
        for n in range(len(labels)):
            if groups[n] == group and have[int(labels[n])] < count:
                held[n] = True
                have[int(labels[n])] += 1
    return torch.tensor(held)


def walked(keeps):
    """Return an answer by its condition; it keeps a counter of images by class."""

    def answer(labels, groups, order, count):
        held, have = torch.zeros(len(labels), dtype=torch.bool), Counter()
        for group in order:
            members = groups == group
            label, size = int(labels[members][0]), int(members.sum())
            if keeps(have, label, size, count, labels):
                held = held | members
                have[label] += size
        return held

    return answer


wrong(split, "groups left out for being too large")(
    walked(lambda have, label, size, count, _: have[label] + size <= count)
)
wrong(split, "one group too many")(
    walked(lambda have, label, size, count, _: not have[label] > count)
)
wrong(split, "all classes counted together")(
    walked(lambda have, label, size, count, _: have.total() < count)
)
wrong(split, "one group a class")(
    walked(lambda have, label, size, count, _: label not in have)
)


@wrong(split, "full classes not left out")
def split_until_all_are_full(labels, groups, order, count):
    held = torch.zeros(len(labels), dtype=torch.bool)
    for group in order:
        held[groups == group] = True
        if all((held & (labels == c)).sum() >= count for c in labels.unique()):
            break
    return held


@wrong(split, "stopped at the first full class")
def split_with_a_break(labels, groups, order, count):
    held = torch.zeros(len(labels), dtype=torch.bool)
    for group in order:
        label = labels[groups == group][0]
        if (labels[held] == label).sum() >= count:
            break
        held[groups == group] = True
    return held


@wrong(split, "groups counted instead of images")
def split_groups(labels, groups, order, count):
    held, have = torch.zeros(len(labels), dtype=torch.bool), Counter()
    for group in order:
        label = int(labels[groups == group][0])
        if have[label] < count:
            held[groups == group] = True
            have[label] += 1
    return held


@wrong(split, "order not used")
def split_by_number(labels, groups, order, count):
    held = torch.zeros(len(labels), dtype=torch.bool)
    for group in groups.unique():
        members = groups == group
        if (labels[held] == labels[members][0]).sum() < count:
            held[members] = True
    return held


@wrong(split, "places taken for numbers of groups")
def split_by_place(labels, groups, order, count):
    held = torch.zeros(len(labels), dtype=torch.bool)
    for number, _ in enumerate(order):
        members = groups == number
        if (labels[held] == labels[members][0]).sum() < count:
            held[members] = True
    return held


@wrong(split, "numbers of groups taken for images")
def split_images(labels, groups, order, count):
    held = torch.zeros(len(labels), dtype=torch.bool)
    for n in order:
        if (labels[held] == labels[n]).sum() < count:
            held[n] = True
    return held


def plain_split(labels, groups, order, count):
    held = torch.zeros(len(labels), dtype=torch.bool)
    for group in order:
        members = groups == group
        if (labels[held] == labels[members][0]).sum() < count:
            held[members] = True
    return held


@wrong(split, "order from its end")
def split_by_popping(labels, groups, order, count):
    held, waiting = torch.zeros(len(labels), dtype=torch.bool), list(order)
    while waiting:
        members = groups == waiting.pop()
        if (labels[held] == labels[members][0]).sum() < count:
            held[members] = True
    return held


@wrong(split, "training instead of held out", score=0.0)
def split_train(labels, groups, order, count):
    return ~plain_split(labels, groups, order, count)


@wrong(split, "places instead of a mask", score=0.0)
def split_places(labels, groups, order, count):
    return torch.where(plain_split(labels, groups, order, count))[0].tolist()


@wrong(split, "mask of numbers", score=0.0)
def split_numbers(labels, groups, order, count):
    return plain_split(labels, groups, order, count).double()


# The most wrong first -----------------------------------------------------------------


@right(most_wrong)
def most_wrong_by_tuples(probabilities, labels, count):
    found = []
    for n, (row, label) in enumerate(
        zip(probabilities.tolist(), labels.tolist(), strict=True)
    ):
        if row.index(max(row)) != label:
            found.append((-max(row), n))
    return [n for _, n in sorted(found)[:count]]


@right(most_wrong)
def most_wrong_in_numpy(probabilities, labels, count):
    p, y = probabilities.numpy(), labels.numpy()
    wrong_ones = np.flatnonzero(p.argmax(1) != y)
    return wrong_ones[np.argsort(-p[wrong_ones].max(1), kind="stable")][:count]


@right(most_wrong)
def most_wrong_in_torch(probabilities, labels, count):
    sure, guess = probabilities.max(1)
    sure = sure.masked_fill(guess == labels, -1)
    places = torch.sort(sure, descending=True, stable=True).indices
    return places[: min(count, int((guess != labels).sum()))]


@wrong(most_wrong, "right answers not left out")
def most_wrong_of_all(probabilities, labels, count):
    return probabilities.max(1)[0].argsort(descending=True, stable=True)[:count]


@wrong(most_wrong, "cut before the right ones were left out")
def most_wrong_cut(probabilities, labels, count):
    first = probabilities.max(1)[0].argsort(descending=True, stable=True)[:count]
    return first[probabilities.argmax(1)[first] != labels[first]]


def places_of(probabilities, labels):
    return (probabilities.argmax(1) != labels).nonzero().squeeze(1)


@wrong(most_wrong, "filled up with right answers", score=0.5)
def most_wrong_filled(probabilities, labels, count):
    sure = probabilities.max(1)[0] * (probabilities.argmax(1) != labels)
    return sure.argsort(descending=True, stable=True)[:count]


@wrong(most_wrong, "more asked for than there are", score=0.5)
def most_wrong_topk(probabilities, labels, count):
    places = places_of(probabilities, labels)
    sure = probabilities[places].max(1)[0]
    return places[(sure - 1e-6 * places).topk(count).indices]


@wrong(most_wrong, "places among the wrong ones", score=0.25)
def most_wrong_untranslated(probabilities, labels, count):
    sure = probabilities[places_of(probabilities, labels)].max(1)[0]
    return sure.sort(descending=True, stable=True)[1][:count].tolist()


@wrong(most_wrong, "the least confident first")
def most_wrong_upwards(probabilities, labels, count):
    sure = probabilities.max(1)[0].tolist()
    return sorted(places_of(probabilities, labels).tolist(), key=sure.__getitem__)[
        :count
    ]


@wrong(most_wrong, "sorted by the belief in the truth")
def most_wrong_by_loss(probabilities, labels, count):
    loss = F.nll_loss(probabilities.log(), labels, reduction="none")
    places = places_of(probabilities, labels)
    return places[loss[places].argsort(descending=True, stable=True)][:count]


@wrong(most_wrong, "sorted by the margin")
def most_wrong_by_margin(probabilities, labels, count):
    ordered = probabilities.sort(1, descending=True)[0]
    margin = ordered[:, 0] - ordered[:, 1]
    places = places_of(probabilities, labels)
    return places[margin[places].argsort(descending=True, stable=True)][:count]


@wrong(most_wrong, "not sorted")
def most_wrong_as_they_come(probabilities, labels, count):
    return places_of(probabilities, labels)[:count]


@wrong(most_wrong, "ties from the end", score=0.75)
def most_wrong_turned(probabilities, labels, count):
    places = places_of(probabilities, labels).numpy()
    sure = probabilities.numpy()[places].max(1, initial=0)
    return places[np.argsort(sure, kind="stable")[::-1]][:count].tolist()


@wrong(most_wrong, "all mistakes returned")
def most_wrong_all(probabilities, labels, count):
    places = places_of(probabilities, labels)
    sure = probabilities[places].max(1)[0]
    return places[sure.argsort(descending=True, stable=True)]


@wrong(most_wrong, "right and wrong swapped")
def most_wrong_right(probabilities, labels, count):
    places = (probabilities.argmax(1) == labels).nonzero().squeeze(1)
    sure = probabilities[places].max(1)[0]
    return places[sure.argsort(descending=True, stable=True)][:count]


@wrong(most_wrong, "confidences instead of places")
def most_wrong_values(probabilities, labels, count):
    sure, guess = probabilities.max(1)
    return sure[guess != labels].sort(descending=True)[0][:count]


@wrong(most_wrong, "a column of places")
def most_wrong_column(probabilities, labels, count):
    places = (probabilities.argmax(1) != labels).nonzero()
    sure = probabilities[places[:, 0]].max(1)[0]
    return places[sure.argsort(descending=True, stable=True)][:count]


# One number for honesty ---------------------------------------------------------------


@right(best_temperature)
def temperature_by_cross_entropy(logits, labels, grid):
    losses = [F.cross_entropy(logits / t, labels).item() for t in grid]
    least = min(losses)
    return grid[losses.index(least)], least


@right(best_temperature)
def temperature_in_numpy(logits, labels, grid):
    z = logits.double().numpy()[None] / np.array(grid)[:, None, None]
    z = z - z.max(axis=2, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=2, keepdims=True))
    losses = -log_p[:, np.arange(len(labels)), labels.numpy()].mean(axis=1)
    best = losses.argmin()
    return [grid[best], losses[best]]


@right(best_temperature)
def temperature_by_sorting(logits, labels, grid):
    def loss(temperature):
        logs = torch.log_softmax(logits / temperature, dim=-1)
        return -torch.gather(logs, 1, labels.unsqueeze(1)).mean()

    best = sorted(grid, key=loss)[0]
    return torch.tensor(best), loss(best)


@wrong(best_temperature, "softmax, then logarithm", score=0.75)
def temperature_naive(logits, labels, grid):
    best, least = grid[0], float("inf")
    for t in grid:
        p = torch.softmax(logits / t, dim=1)[range(len(labels)), labels]
        loss = -p.log().mean().item()
        if loss < least:
            best, least = t, loss
    return best, least


@wrong(best_temperature, "exponentials that overflow", score=0.75)
def temperature_by_hand(logits, labels, grid):
    losses = []
    for t in grid:
        e = np.exp(logits.numpy() / t)
        p = e / e.sum(1, keepdims=True)
        losses.append(-np.log(p[np.arange(len(labels)), labels]).mean())
    return grid[int(np.argmin(losses))], float(np.min(losses))


@wrong(best_temperature, "a small number before the logarithm", score=0.75)
def temperature_with_epsilon(logits, labels, grid):
    def loss(t):
        p = torch.softmax(logits / t, dim=1)
        return -torch.log(p[torch.arange(len(p)), labels] + 1e-12).mean().item()

    best = min(grid, key=loss)
    return best, loss(best)


def searched(loss, told=None):
    def answer(logits, labels, grid):
        best = min(grid, key=lambda t: loss(logits, labels, t))
        return best, (told or loss)(logits, labels, best)

    return answer


def nll(z, y, t):
    return F.cross_entropy(z / t, y).item()


wrong(best_temperature, "multiplied by the temperature")(
    searched(lambda z, y, t: F.cross_entropy(z * t, y).item())
)
wrong(best_temperature, "sum instead of a mean")(
    searched(lambda z, y, t: F.cross_entropy(z / t, y, reduction="sum"))
)
wrong(best_temperature, "the sign turned")(
    searched(lambda z, y, t: -F.cross_entropy(z / t, y))
)
wrong(best_temperature, "softmax before cross-entropy")(
    searched(lambda z, y, t: F.cross_entropy((z / t).softmax(1), y))
)
wrong(best_temperature, "chosen by accuracy")(
    searched(lambda z, y, t: -((z / t).argmax(1) == y).float().mean().item(), nll)
)
wrong(best_temperature, "share of errors minimised")(
    searched(lambda z, y, t: ((z / t).argmax(1) != y).float().mean().item())
)
wrong(best_temperature, "squared error instead of the logarithm")(
    searched(
        lambda z, y, t: (
            ((z / t).softmax(1) - torch.eye(z.shape[1])[y]).pow(2).sum(1).mean().item()
        )
    )
)
wrong(best_temperature, "softmax over the wrong axis")(
    searched(
        lambda z, y, t: -(z / t).log_softmax(0)[torch.arange(len(y)), y].mean().item()
    )
)


@wrong(best_temperature, "temperature after the softmax")
def temperature_of_probabilities(logits, labels, grid):
    def loss(t):
        p = logits.softmax(dim=1) / t
        return F.nll_loss(p.clamp_min(1e-12).log(), labels).item()

    best = min(grid, key=loss)
    return best, loss(best)


@wrong(best_temperature, "mean confidence matched to accuracy")
def temperature_matched(logits, labels, grid):
    accuracy = (logits.argmax(1) == labels).float().mean()

    def gap(t):
        return ((logits / t).softmax(1).max(1)[0].mean() - accuracy).abs().item()

    best = min(grid, key=gap)
    return best, nll(logits, labels, best)


@wrong(best_temperature, "belief in the guess instead of the truth")
def temperature_of_guesses(logits, labels, grid):
    def loss(t):
        return -(logits / t).log_softmax(1).max(1)[0].mean().item()

    best = min(grid, key=loss)
    return best, loss(best)


@wrong(best_temperature, "stopped at the first rise")
def temperature_downhill(logits, labels, grid):
    losses = [nll(logits, labels, t) for t in grid]
    n = 0
    while n + 1 < len(losses) and losses[n + 1] <= losses[n]:
        n += 1
    return grid[n], losses[n]


@wrong(best_temperature, "place instead of the value", score=0.0)
def temperature_place(logits, labels, grid):
    losses = torch.tensor([nll(logits, labels, t) for t in grid])
    return losses.argmin(), losses.min()


@wrong(best_temperature, "temperature alone", score=0.0)
def temperature_alone(logits, labels, grid):
    return min(grid, key=lambda t: nll(logits, labels, t))


@wrong(best_temperature, "loss and temperature swapped")
def temperature_pairs(logits, labels, grid):
    return min((nll(logits, labels, t), t) for t in grid)


@wrong(best_temperature, "loss at temperature 1")
def temperature_and_loss_before(logits, labels, grid):
    return min(grid, key=lambda t: nll(logits, labels, t)), nll(logits, labels, 1.0)


# What leaves the house ----------------------------------------------------------------


def faults(row, need):
    found = []
    if row["ms"] is None or row["ms"] > need["ms"]:
        found.append("slow")
    if row["licence"] not in need["licences"]:
        found.append("licence")
    if len(row["validation"]) < need["seeds"]:
        found.append("seeds")
    if row["chosen on"] == "test":
        found.append("peeked")
    return found


def but_for(*ignored):
    def rows_of(candidates, need):
        return [row for row in candidates if not set(faults(row, need)) - set(ignored)]

    return rows_of


def score_of(row):
    return sum(row["validation"]) / len(row["validation"])


def overlapping(rows):
    best = max(rows, key=score_of)
    return [row for row in rows if max(row["validation"]) >= min(best["validation"])]


def fastest_close(rows):
    return min(overlapping(rows), key=lambda row: row["ms"])


def defence(row, candidates, need):
    """Return the form of a defence, with reasons that are true of a right choice."""
    fit, reasons = but_for()(candidates, need), {}
    for other in candidates:
        if other is not row:
            behind = other in fit and other not in overlapping(fit)
            worse = "accuracy" if behind else "slower"
            reasons[other["model"]] = (faults(other, need) or [worse])[0]
    name = None if row is None else row["model"]
    expected = None if row is None else score_of(row)
    tested = [] if row is None else [name]
    return {
        "choice": name,
        "test": tested,
        "expected": expected,
        "ruled out": reasons,
    }


@right(ship)
def ship_by_steps(candidates, need):
    fit = but_for()(candidates, need)
    return defence(fastest_close(fit) if fit else None, candidates, need)


@right(ship)
def ship_by_going_up(candidates, need):
    fit = sorted(but_for()(candidates, need), key=lambda row: row["ms"])
    chosen = next((row for row in fit if row in overlapping(fit)), None)
    result = defence(chosen, candidates, need)
    for row in candidates:
        if row is not chosen and chosen and (row["ms"] or 0) >= chosen["ms"]:
            result["ruled out"][row["model"]] = "slower"
    return result


@right(ship)
def ship_in_numpy(candidates, need):
    allowed = [
        row
        for row in candidates
        if row["chosen on"] == "validation"
        and row["licence"] in need["licences"]
        and row["ms"] is not None
        and row["ms"] <= need["ms"]
        and len(row["validation"]) >= need["seeds"]
    ]
    reasons = {row["model"]: faults(row, need)[-1:] for row in candidates}
    if not allowed:
        return {
            "choice": None,
            "test": (),
            "expected": None,
            "ruled out": {name: reason[0] for name, reason in reasons.items()},
        }
    means = np.array([np.mean(row["validation"]) for row in allowed])
    bar = min(allowed[means.argmax()]["validation"])
    near = np.array([max(row["validation"]) >= bar for row in allowed])
    times = np.where(near, [row["ms"] for row in allowed], np.inf)
    n = int(times.argmin())
    for k, row in enumerate(allowed):
        reasons[row["model"]] = ["slower" if near[k] else "accuracy"]
    del reasons[allowed[n]["model"]]
    return {
        "choice": allowed[n]["model"],
        "test": (allowed[n]["model"],),
        "expected": means[n],
        "ruled out": {name: reason[0] for name, reason in reasons.items()},
    }


def shipping(rows_of, chosen_of):
    """Return an answer by whom it lets in, and whom of these it takes."""

    def answer(candidates, need):
        rows = rows_of(candidates, need)
        return defence(chosen_of(rows) if rows else None, candidates, need)

    return answer


wrong(ship, "tuned on the test part and shipped")(
    shipping(but_for("peeked"), fastest_close)
)
wrong(ship, "too few seeds believed")(shipping(but_for("seeds"), fastest_close))
wrong(ship, "licence not read")(shipping(but_for("licence"), fastest_close))
wrong(ship, "limit exceeded")(
    shipping(
        lambda candidates, need: [
            row for row in but_for("slow")(candidates, need) if row["ms"]
        ],
        lambda rows: max(rows, key=score_of),
    )
)
wrong(ship, "selection on the test part")(
    shipping(but_for(), lambda rows: max(rows, key=lambda row: row["test"] or 0))
)
wrong(ship, "chosen by the best seed")(
    shipping(but_for(), lambda rows: max(rows, key=lambda row: max(row["validation"])))
)
wrong(ship, "clearly less accurate")(
    shipping(but_for(), lambda rows: min(rows, key=lambda row: row["ms"]))
)
wrong(ship, "a faster one among equals overlooked")(
    shipping(but_for(), lambda rows: max(rows, key=score_of))
)


@wrong(ship, "unknown time taken for none")
def ship_none_as_zero(candidates, need):
    filled = [{**row, "ms": row["ms"] or 0.0} for row in candidates]
    rows = but_for()(filled, need)
    return defence(fastest_close(rows) if rows else None, filled, need)


@wrong(ship, "nothing chosen, though one fits")
def ship_the_best_or_none(candidates, need):
    best = max(candidates, key=score_of)
    return defence(None if faults(best, need) else best, candidates, need)


@wrong(ship, "a choice, though nothing fits")
def ship_at_any_price(candidates, need):
    rows = but_for()(candidates, need)
    best = fastest_close(rows) if rows else max(candidates, key=score_of)
    return defence(best, candidates, need)


def redone(change):
    """Return a right answer whose defence was changed afterwards."""

    def answer(candidates, need):
        fit = but_for()(candidates, need)
        row = fastest_close(fit) if fit else None
        result = defence(row, candidates, need)
        change(result, row, candidates, fit)
        return result

    return answer


@wrong(ship, "several models tested", score=20 / 21)
@redone
def ship_after_testing_the_finalists(result, row, candidates, fit):
    result["test"] = [other["model"] for other in fit]


@wrong(ship, "the choice not tested", score=20 / 21)
@redone
def ship_untested(result, row, candidates, fit):
    result["test"] = []


@wrong(ship, "tested, though nothing is chosen", score=20 / 21)
@redone
def ship_and_test_anyway(result, row, candidates, fit):
    result["test"] = result["test"] or [max(candidates, key=score_of)["model"]]


@wrong(ship, "accuracy on the test part expected")
@redone
def ship_by_what_was_seen(result, row, candidates, fit):
    if row and row["test"] is not None:
        result["expected"] = row["test"]


@wrong(ship, "the best seed expected")
@redone
def ship_the_best_day(result, row, candidates, fit):
    if row:
        result["expected"] = max(row["validation"])


@wrong(ship, "another number expected", score=20 / 21)
@redone
def ship_rounded(result, row, candidates, fit):
    if row:
        result["expected"] = round(100 * average(row["validation"]))


@wrong(ship, "some ruled out without a word", score=20 / 21)
@redone
def ship_only_the_fitting(result, row, candidates, fit):
    names = [other["model"] for other in fit]
    result["ruled out"] = {n: r for n, r in result["ruled out"].items() if n in names}


@wrong(ship, "within the seeds, yet called less accurate")
@redone
def ship_by_tiny_differences(result, row, candidates, fit):
    for other in fit:
        if other is not row:
            result["ruled out"][other["model"]] = "accuracy"


@wrong(ship, "a reason that is not true")
@redone
def ship_all_slow(result, row, candidates, fit):
    result["ruled out"] = dict.fromkeys(result["ruled out"], "slow")


@wrong(ship, "no defence in the form asked for", score=0.0)
def ship_a_name(candidates, need):
    fit = but_for()(candidates, need)
    return fastest_close(fit)["model"] if fit else "none"


@wrong(ship, "no defence in the form asked for")
@redone
def ship_with_the_row(result, row, candidates, fit):
    result["choice"] = row


# Two bugs in a predictor --------------------------------------------------------------


@right(predict_probabilities)
def predict_in_one_go(network, pixels, mean, std, temperature):
    network.train(False)
    image = (pixels / 255 - torch.tensor(mean)) / torch.tensor(std)
    with torch.inference_mode():
        return (network(image.permute(2, 0, 1)[None]) / temperature).softmax(1)[0]


@right(predict_probabilities)
def predict_by_powers(network, pixels, mean, std, temperature):
    """A temperature is a root of each probability."""
    network.eval()
    image = torch.stack([pixels[..., c].float() / 255 for c in range(3)])
    for c in range(3):
        image[c] = (image[c] - mean[c]) / std[c]
    with torch.no_grad():
        logs = network(image.unsqueeze(0)).log_softmax(dim=1).squeeze(0)
    roots = (logs / temperature).exp()
    return roots / roots.sum()


@right(predict_probabilities)
def predict_in_numpy(network, pixels, mean, std, temperature):
    network.eval()
    values = (pixels.numpy().astype("float32") / 255 - mean) / std
    image = torch.from_numpy(values.transpose(2, 0, 1)).float()
    z = network(image[None]).detach().numpy()[0] / temperature
    e = np.exp(z - z.max())
    return (e / e.sum()).tolist()


def predicted(
    image=lambda pixels: pixels.permute(2, 0, 1) / 255,
    end=lambda z, t: (z / t).softmax(1)[0],
    mode=lambda network: network.eval(),
    scaled=lambda image, mean, std: (image - mean) / std,
):
    """Return an answer by its four steps; each is right unless it is given."""

    def answer(network, pixels, mean, std, temperature):
        mode(network)
        m, s = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
        with torch.no_grad():
            logits = network(scaled(image(pixels), m, s)[None])
        return end(logits, temperature)

    return answer


def renormalised(z, t):
    p = z.softmax(1)[0] / t
    return p / p.sum()


wrong(predict_probabilities, "reshape instead of permute", score=1 / 3)(
    predicted(image=lambda pixels: pixels.reshape(3, *pixels.shape[:2]) / 255)
)
wrong(predict_probabilities, "reshape instead of permute")(
    predicted(image=lambda pixels: pixels.view(3, *pixels.shape[:-1]).float() / 255)
)
wrong(predict_probabilities, "temperature after the softmax", score=1 / 3)(
    predicted(end=renormalised)
)
wrong(predict_probabilities, "both bugs left", score=0.0)(
    predicted(
        image=lambda pixels: pixels.reshape(3, *pixels.shape[:2]) / 255,
        end=lambda z, t: z.softmax(1).squeeze(),
    )
)
wrong(predict_probabilities, "probabilities divided by the temperature")(
    predicted(end=lambda z, t: z.softmax(1)[0] / t)
)
wrong(predict_probabilities, "softmax of a softmax")(
    predicted(end=lambda z, t: (z.softmax(1) / t).softmax(1)[0])
)
wrong(predict_probabilities, "multiplied by the temperature")(
    predicted(end=lambda z, t: (t * z[0]).softmax(0))
)
wrong(predict_probabilities, "height and width swapped")(
    predicted(image=lambda pixels: pixels.float().transpose(0, 2) / 255)
)
wrong(predict_probabilities, "channels in the order BGR")(
    predicted(image=lambda pixels: pixels.permute(2, 0, 1)[[2, 1, 0]] / 255)
)
wrong(predict_probabilities, "not divided by 255")(
    predicted(image=lambda pixels: pixels.permute(2, 0, 1).float())
)
wrong(predict_probabilities, "normalisation missing")(
    predicted(scaled=lambda image, mean, std: image)
)
wrong(predict_probabilities, "mean and std swapped")(
    predicted(scaled=lambda image, mean, std: (image - std) / mean)
)
wrong(predict_probabilities, "eval mode forgotten")(
    predicted(mode=lambda network: network.requires_grad_(False))
)
wrong(predict_probabilities, "softmax over the batch")(
    predicted(end=lambda z, t: (z / t).softmax(0)[0])
)
wrong(predict_probabilities, "logits instead of probabilities")(
    predicted(end=lambda z, t: z[0] / t)
)
wrong(predict_probabilities, "logarithms of probabilities")(
    predicted(end=lambda z, t: (z[0] / t).log_softmax(0))
)
wrong(predict_probabilities, "a batch instead of one picture")(
    predicted(end=lambda z, t: (z / t).softmax(1))
)
