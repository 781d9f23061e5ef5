"""Answers to the exercises of chapter 06, wrong ones and right ones."""

import copy
import statistics

import numpy as np
import torch

from answers.kit import right, wrong
from course import evidence
from course.exercises import when_it_hurts

verdict, l2_sp = when_it_hurts.verdict, when_it_hurts.l2_sp
forgotten, interpolate = when_it_hurts.forgotten, when_it_hurts.interpolate
quantise = when_it_hurts.quantise

# Did pretraining do harm? -------------------------------------------------------------


@right(verdict)
def verdict_by_tuples(full, scratch, gains):
    names = ("steps", "batch", "augment", "rate chosen on")
    if tuple(full[n] for n in names) != tuple(scratch[n] for n in names):
        return "unfair"
    span = evidence.interval(np.array(gains))
    if span.low > 0:
        return "gain"
    if span.high < 0:
        return "harm"
    return "open"


@right(verdict)
def verdict_without_the_rate(a, b, gains):
    one = {key: value for key, value in a.items() if key != "rate"}
    other = {key: value for key, value in b.items() if key != "rate"}
    mean, low, high, _ = evidence.interval(gains)
    said = "open" if low <= 0 <= high else ("gain" if mean > 0 else "harm")
    return said if one == other else "unfair"


@right(verdict)
def verdict_by_hand(full, scratch, gains):
    fair = True
    for name in ["steps", "batch", "augment", "rate chosen on"]:
        fair = fair and full[name] == scratch[name]
    if not fair:
        return "unfair"
    t = {2: 2.91999, 3: 2.35336, 4: 2.13185, 5: 2.01505}[len(gains) - 1]
    half = t * statistics.stdev(gains) / len(gains) ** 0.5
    middle = statistics.mean(gains)
    if abs(middle) < half:
        return "open"
    return "gain" if middle > 0 else "harm"


@wrong(verdict, "unequal budgets in a comparison", score=0.2)
def verdict_of_gains_alone(full, scratch, gains):
    _, low, high, _ = evidence.interval(gains)
    return "harm" if high < 0 else "gain" if low > 0 else "open"


@wrong(verdict, "only the steps compared", score=0.4)
def verdict_by_steps(full, scratch, gains):
    if full["steps"] != scratch["steps"]:
        return "unfair"
    span = evidence.interval(gains)
    return "harm" if span.high < 0 else "gain" if span.low > 0 else "open"


@wrong(verdict, "selection on the test part let through", score=0.8)
def verdict_whoever_chose(full, scratch, gains):
    for name in ("steps", "batch", "augment"):
        if full[name] != scratch[name]:
            return "unfair"
    span = evidence.interval(gains)
    return "harm" if span.high < 0 else "gain" if span.low > 0 else "open"


@wrong(verdict, "augmentation not compared")
def verdict_any_augmentation(full, scratch, gains):
    if any(full[n] != scratch[n] for n in ("steps", "batch", "rate chosen on")):
        return "unfair"
    span = evidence.interval(gains)
    return "harm" if span.high < 0 else "gain" if span.low > 0 else "open"


@wrong(verdict, "batch not compared")
def verdict_any_batch(full, scratch, gains):
    if any(full[n] != scratch[n] for n in ("steps", "augment", "rate chosen on")):
        return "unfair"
    span = evidence.interval(gains)
    return "harm" if span.high < 0 else "gain" if span.low > 0 else "open"


@wrong(verdict, "equal rates demanded", score=0.8)
def verdict_all_the_same(full, scratch, gains):
    if full != scratch:
        return "unfair"
    span = evidence.interval(gains)
    return "harm" if span.high < 0 else "gain" if span.low > 0 else "open"


@wrong(verdict, "harm and gain swapped")
def verdict_turned(full, scratch, gains):
    if any(full[n] != scratch[n] for n in full if n != "rate"):
        return "unfair"
    span = evidence.interval(gains)
    return "gain" if span.high < 0 else "harm" if span.low > 0 else "open"


@wrong(verdict, "sign of the mean taken for proof")
def verdict_by_mean(full, scratch, gains):
    if any(full[n] != scratch[n] for n in full if n != "rate"):
        return "unfair"
    return "harm" if sum(gains) < 0 else "gain"


@wrong(verdict, "every seed on one side taken for proof")
def verdict_by_all(full, scratch, gains):
    if any(full[n] != scratch[n] for n in full if n != "rate"):
        return "unfair"
    if all(gain < 0 for gain in gains):
        return "harm"
    return "gain" if all(gain > 0 for gain in gains) else "open"


@wrong(verdict, "best seed reported")
def verdict_by_best(full, scratch, gains):
    if any(full[n] != scratch[n] for n in full if n != "rate"):
        return "unfair"
    return "gain" if max(gains) > 0 else "harm"


@wrong(verdict, "spread of the seeds taken for the interval")
def verdict_by_deviation(full, scratch, gains):
    if any(full[n] != scratch[n] for n in full if n != "rate"):
        return "unfair"
    middle, spread = statistics.mean(gains), statistics.stdev(gains)
    if middle + spread < 0:
        return "harm"
    return "gain" if middle - spread > 0 else "open"


@wrong(verdict, "budgets asked about last")
def verdict_open_first(full, scratch, gains):
    span = evidence.interval(gains)
    if span.low <= 0 <= span.high:
        return "open"
    if any(full[n] != scratch[n] for n in full if n != "rate"):
        return "unfair"
    return "harm" if span.high < 0 else "gain"


@wrong(verdict, "steps not compared")
def verdict_any_steps(full, scratch, gains):
    if any(full[n] != scratch[n] for n in ("batch", "augment", "rate chosen on")):
        return "unfair"
    span = evidence.interval(gains)
    return "harm" if span.high < 0 else "gain" if span.low > 0 else "open"


# A pull towards the start -------------------------------------------------------------


@right(l2_sp)
def pull_over_the_start(network, start, strength):
    total = 0.0
    for name in start:
        total = total + ((network.get_parameter(name) - start[name]) ** 2).sum()
    return strength * total


@right(l2_sp)
def pull_as_one_vector(network, start, strength):
    parameters = dict(network.named_parameters())
    moved = torch.cat([(parameters[n] - v).flatten() for n, v in start.items()])
    return strength * moved.dot(moved)


@right(l2_sp)
def pull_by_squared_errors(network, start, beta):
    terms = []
    for name, weight in network.named_parameters():
        if name not in start:
            continue
        squares = torch.nn.functional.mse_loss(weight, start[name], reduction="sum")
        terms.append(beta * squares)
    return sum(terms)


@wrong(l2_sp, "weight decay instead of L2-SP")
def pull_to_zero(network, start, strength):
    weights = [w for name, w in network.named_parameters() if name in start]
    return strength * sum((w**2).sum() for w in weights)


@wrong(l2_sp, "new head pulled to zero", score=1 / 3)
def pull_the_head_too(network, start, strength):
    total = 0
    for name, weight in network.named_parameters():
        total = total + ((weight - start.get(name, 0.0)) ** 2).sum()
    return strength * total


@wrong(l2_sp, "new head looked up in the start")
def pull_without_asking(network, start, strength):
    return strength * sum(
        (w - start[name]).pow(2).sum() for name, w in network.named_parameters()
    )


@wrong(l2_sp, "absolute values instead of squares")
def pull_absolute(network, start, strength):
    return strength * sum(
        torch.abs(w - start[name]).sum()
        for name, w in network.named_parameters()
        if name in start
    )


@wrong(l2_sp, "mean instead of a sum", score=1 / 3)
def pull_mean(network, start, strength):
    return strength * sum(
        ((w - start[name]) ** 2).mean()
        for name, w in network.named_parameters()
        if name in start
    )


@wrong(l2_sp, "strength left out")
def pull_full(network, start, strength):
    return sum(
        ((w - start[name]) ** 2).sum()
        for name, w in network.named_parameters()
        if name in start
    )


@wrong(l2_sp, "half of the penalty")
def pull_half(network, start, strength):
    return (
        0.5
        * strength
        * sum(
            ((w - start[name]) ** 2).sum()
            for name, w in network.named_parameters()
            if name in start
        )
    )


@wrong(l2_sp, "root of the squares")
def pull_norm(network, start, strength):
    moved = [
        (w - start[name]).flatten()
        for name, w in network.named_parameters()
        if name in start
    ]
    return strength * torch.cat(moved).square().sum().sqrt()


@wrong(l2_sp, "square of the sum")
def pull_summed_first(network, start, strength):
    return strength * sum(
        (w - start[name]).sum() ** 2
        for name, w in network.named_parameters()
        if name in start
    )


@wrong(l2_sp, "penalty without a gradient")
def pull_of_the_state(network, start, strength):
    state = network.state_dict()
    return strength * sum(((state[n] - v) ** 2).sum() for n, v in start.items())


@wrong(l2_sp, "penalty without a gradient")
def pull_as_a_number(network, start, strength):
    total = 0.0
    for name, weight in network.named_parameters():
        if name in start:
            total += ((weight - start[name]) ** 2).sum().item()
    return strength * total


@wrong(l2_sp, "biases left out")
def pull_weights(network, start, strength):
    return strength * sum(
        ((w - start[name]) ** 2).sum()
        for name, w in network.named_parameters()
        if name in start and name.endswith("weight")
    )


# Three bugs in a measurement ----------------------------------------------------------

STRENGTHS = (0.01, 1.0, 100.0)


def share(weights, part):
    features, labels = part
    return ((features @ weights).argmax(1) == labels).double().mean().item()


@right(forgotten)
def forgotten_by_loops(head, before, after, fit):
    found = []
    for parts in (before, after):
        best, judged = -1.0, None
        for strength in STRENGTHS:
            features, labels = parts["train"]
            weights = fit(features, labels, strength)
            if share(weights, parts["validation"]) > best:
                best = share(weights, parts["validation"])
                judged = share(weights, parts["test"])
        found.append(judged)
    stale = share(head, before["test"]) - share(head, after["test"])
    return [stale, found[0] - found[1]]


@right(forgotten)
def forgotten_in_numpy(head, before, after, fit):
    def correct(weights, part):
        features, labels = part
        guesses = (features.numpy() @ weights.numpy()).argmax(axis=1)
        return np.mean(guesses == labels.numpy())

    def probed(parts):
        probes = [fit(*parts["train"], s) for s in STRENGTHS]
        place = np.argmax([correct(p, parts["validation"]) for p in probes])
        return correct(probes[place], parts["test"])

    before_after = [correct(head, one["test"]) for one in (before, after)]
    return before_after[0] - before_after[1], probed(before) - probed(after)


@right(forgotten)
def forgotten_as_a_tensor(head, before, after, fit):
    def probe_of(parts):
        probes = {s: fit(*parts["train"], s) for s in reversed(STRENGTHS)}
        return max(probes.values(), key=lambda w: share(w, parts["validation"]))

    old = torch.tensor([share(head, before["test"]), share(head, after["test"])])
    one, other = probe_of(before), probe_of(after)
    new = torch.tensor([share(one, before["test"]), share(other, after["test"])])
    return torch.stack([old[0] - old[1], new[0] - new[1]])


def measure(parts, fit, fitted="train", chosen="validation", told="test"):
    probes = [fit(*parts[fitted], s) for s in STRENGTHS]
    best = max(probes, key=lambda probe: share(probe, parts[chosen]))
    return share(best, parts[told])


def stale_head(head, before, after):
    return share(head, before["test"]) - share(head, after["test"])


@wrong(forgotten, "accuracy on the training part", score=0.5)
def forgotten_train_left(head, before, after, fit):
    stale = share(head, before["test"]) - share(head, after["train"])
    return stale, measure(before, fit) - measure(after, fit)


@wrong(forgotten, "old head judged on the training part, twice", score=0.5)
def forgotten_train_twice(head, before, after, fit):
    stale = share(head, before["train"]) - share(head, after["train"])
    return stale, measure(before, fit) - measure(after, fit)


@wrong(forgotten, "old head on the new features", score=0.5)
def forgotten_old_probe(head, before, after, fit):
    probes = [fit(*before["train"], s) for s in STRENGTHS]

    def reprobed(parts):
        best = max(probes, key=lambda probe: share(probe, parts["validation"]))
        return share(best, parts["test"])

    return stale_head(head, before, after), reprobed(before) - reprobed(after)


@wrong(forgotten, "selection on the test part", score=0.5)
def forgotten_by_test(head, before, after, fit):
    def reprobed(parts):
        return max(share(fit(*parts["train"], s), parts["test"]) for s in STRENGTHS)

    return stale_head(head, before, after), reprobed(before) - reprobed(after)


@wrong(forgotten, "accuracy on the training part", score=0.25)
def forgotten_two_left(head, before, after, fit):
    def reprobed(parts):
        return max(share(fit(*parts["train"], s), parts["test"]) for s in STRENGTHS)

    stale = share(head, before["test"]) - share(head, after["train"])
    return stale, reprobed(before) - reprobed(after)


@wrong(forgotten, "strength chosen on the training part")
def forgotten_by_train(head, before, after, fit):
    lost = measure(before, fit, chosen="train") - measure(after, fit, chosen="train")
    return stale_head(head, before, after), lost


@wrong(forgotten, "accuracy on the validation part")
def forgotten_told_validation(head, before, after, fit):
    def reprobed(parts):
        tried = [share(fit(*parts["train"], s), parts["validation"]) for s in STRENGTHS]
        return max(tried)

    return stale_head(head, before, after), reprobed(before) - reprobed(after)


@wrong(forgotten, "strength not chosen")
def forgotten_one_strength(head, before, after, fit):
    one, other = (share(fit(*p["train"], 1.0), p["test"]) for p in (before, after))
    return stale_head(head, before, after), one - other


@wrong(forgotten, "probe fitted on the test part")
def forgotten_fitted_on_test(head, before, after, fit):
    lost = measure(before, fit, "test") - measure(after, fit, "test")
    return stale_head(head, before, after), lost


@wrong(forgotten, "what is left instead of what is lost")
def forgotten_left(head, before, after, fit):
    return share(head, after["test"]), measure(after, fit)


@wrong(forgotten, "gain instead of loss")
def forgotten_negative(head, before, after, fit):
    return -stale_head(head, before, after), measure(after, fit) - measure(before, fit)


@wrong(forgotten, "probe compared with the old head")
def forgotten_mixed_baseline(head, before, after, fit):
    known = share(head, before["test"])
    return known - share(head, after["test"]), known - measure(after, fit)


@wrong(forgotten, "pair in the other order")
def forgotten_other_order(head, before, after, fit):
    lost = measure(before, fit) - measure(after, fit)
    return lost, stale_head(head, before, after)


@wrong(forgotten, "probe fitted on the validation part")
def forgotten_fitted_on_validation(head, before, after, fit):
    lost = measure(before, fit, "validation") - measure(after, fit, "validation")
    return stale_head(head, before, after), lost


# Between before and after -------------------------------------------------------------


@right(interpolate)
def mix_by_lerp(before, after, share):
    state = copy.deepcopy(after)
    for name, value in state.items():
        if value.dtype.is_floating_point:
            state[name] = torch.lerp(before[name], value, share)
    return state


@right(interpolate)
def mix_by_a_step(before, after, share):
    result = {}
    for name in before:
        if "num_batches" in name:
            result[name] = after[name].clone()
        else:
            result[name] = before[name] + share * (after[name] - before[name])
    return result


@right(interpolate)
def mix_in_doubles(before, after, share):
    def mixed(old, new):
        if not torch.is_floating_point(new):
            return new
        array = (1 - share) * old.double().numpy() + share * new.double().numpy()
        return torch.as_tensor(array)

    return {name: mixed(before[name], after[name]) for name in sorted(after)}


@wrong(interpolate, "statistics of after", score=0.4)
def mix_parameters(before, after, share):
    mixed = dict(after)
    for name in after:
        if name.endswith(("weight", "bias")):
            mixed[name] = (1 - share) * before[name] + share * after[name]
    return mixed


@wrong(interpolate, "statistics of before")
def mix_onto_before(before, after, share):
    mixed = {name: value.clone() for name, value in before.items()}
    for name, value in after.items():
        if "num_" in name:
            mixed[name] = value
        elif "running" not in name:
            mixed[name] = (1 - share) * before[name] + share * value
    return mixed


@wrong(interpolate, "buffers left out")
def mix_parameters_alone(before, after, share):
    return {
        name: (1 - share) * before[name] + share * after[name]
        for name in after
        if name.endswith(("weight", "bias"))
    }


@wrong(interpolate, "counts mixed", score=0.4)
def mix_everything(before, after, share):
    return {name: (1 - share) * before[name] + share * after[name] for name in after}


@wrong(interpolate, "counts left out")
def mix_floats_alone(before, after, share):
    return {
        name: (1 - share) * before[name] + share * value
        for name, value in after.items()
        if value.is_floating_point()
    }


@wrong(interpolate, "counts of before")
def mix_old_counts(before, after, share):
    return {
        name: (1 - share) * value + share * after[name]
        if value.is_floating_point()
        else value
        for name, value in before.items()
    }


@wrong(interpolate, "before and after swapped")
def mix_turned(before, after, share):
    return {
        name: share * before[name] + (1 - share) * value
        if value.is_floating_point()
        else value
        for name, value in after.items()
    }


@wrong(interpolate, "before in full")
def mix_added(before, after, share):
    return {
        name: before[name] + share * value if value.is_floating_point() else value
        for name, value in after.items()
    }


@wrong(interpolate, "half and half, whatever the share")
def mix_even(before, after, share):
    return {
        name: (before[name] + value) / 2 if value.is_floating_point() else value
        for name, value in after.items()
    }


@wrong(interpolate, "step without its start")
def mix_step(before, after, share):
    return {
        name: share * (value - before[name]) if value.is_floating_point() else value
        for name, value in after.items()
    }


@wrong(interpolate, "after changed in place")
def mix_in_after(before, after, share):
    for name in after:
        if after[name].is_floating_point():
            after[name].copy_((1 - share) * before[name] + share * after[name])
    return after


@wrong(interpolate, "before changed in place")
def mix_in_before(before, after, share):
    for name in before:
        if before[name].is_floating_point():
            before[name] *= 1 - share
            before[name] += share * after[name]
        else:
            before[name] = after[name]
    return before


# Eight bits a weight ------------------------------------------------------------------


@right(quantise)
def bits_flat(weight):
    rows = weight.reshape(len(weight), -1)
    scale = rows.abs().max(dim=1).values / 127
    whole = torch.round(rows / scale.unsqueeze(1))
    return whole.view_as(weight).type(torch.int8), scale


@right(quantise)
def bits_by_loop(w):
    values = torch.empty(w.shape, dtype=torch.int8)
    scales = []
    for place in range(w.shape[0]):
        top = max(w[place].max().item(), -w[place].min().item())
        scales.append(top / 127.0)
        values[place] = torch.round(w[place] * 127.0 / top).char()
    return [values, torch.tensor(scales)]


@right(quantise)
def bits_clamped(weight):
    scale = torch.amax(torch.abs(weight), (1, 2, 3), keepdim=True) / 127
    values = torch.clamp(torch.round(weight / scale), -127, 127).to(dtype=torch.int8)
    return values, scale.flatten()


@wrong(quantise, "one scale for all channels")
def bits_one_scale(weight):
    scale = weight.abs().max() / 127
    return (weight / scale).round().to(torch.int8), scale.repeat(weight.shape[0])


@wrong(quantise, "largest over the wrong axis")
def bits_by_input(weight):
    scale = weight.abs().amax(dim=(0, 2, 3)) / 127
    return (weight / scale.view(1, -1, 1, 1)).round().char(), scale


@wrong(quantise, "scale divided along the wrong axis")
def bits_broadcast(weight):
    scale = weight.abs().amax(dim=(1, 2, 3)) / 127
    return torch.round(weight / scale).char(), scale


@wrong(quantise, "cut off instead of rounded")
def bits_cut(weight):
    scale = weight.abs().amax(dim=(1, 2, 3)) / 127
    return (weight / scale.view(-1, 1, 1, 1)).char(), scale


@wrong(quantise, "128 steps, clipped")
def bits_128(weight):
    scale = weight.abs().amax(dim=(1, 2, 3)) / 128
    steps = (weight / scale.view(-1, 1, 1, 1)).round()
    return steps.clamp(-128, 127).char(), scale


@wrong(quantise, "largest without its sign dropped, clipped", score=2 / 3)
def bits_positive(weight):
    scale = weight.amax(dim=(1, 2, 3)) / 127
    steps = torch.round(weight / scale.view(-1, 1, 1, 1))
    return steps.clamp(-127, 127).char(), scale


@wrong(quantise, "still floats")
def bits_float(weight):
    scale = weight.abs().amax(dim=(1, 2, 3)) / 127
    return (weight / scale.view(-1, 1, 1, 1)).round(), scale


@wrong(quantise, "scale upside down")
def bits_inverse(weight):
    scale = 127 / weight.abs().amax(dim=(1, 2, 3))
    return (weight * scale.view(-1, 1, 1, 1)).round().char(), scale


@wrong(quantise, "scale with four axes")
def bits_kept_axes(weight):
    scale = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    return (weight / scale).round().char(), scale


@wrong(quantise, "scale before the values")
def bits_swapped(weight):
    scale = weight.abs().amax(dim=(1, 2, 3)) / 127
    return scale, (weight / scale.view(-1, 1, 1, 1)).round().char()


@wrong(quantise, "weight made whole again")
def bits_whole(weight):
    scale = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    return (weight / scale).round() * scale


@wrong(quantise, "unsigned numbers")
def bits_unsigned(weight):
    low = weight.amin(dim=(1, 2, 3), keepdim=True)
    scale = (weight.amax(dim=(1, 2, 3), keepdim=True) - low) / 255
    return ((weight - low) / scale).round().to(torch.uint8), scale.flatten()
