"""Answers to the exercises of chapter 03, as readers write them."""

import numpy as np
import torch
from torch import nn

from answers.kit import right, wrong
from course.exercises import fine_tuning as chapter


@right(chapter.is_fair)
def fair_in_a_loop(a, b):
    found = []
    for name in list(a) + [n for n in b if n not in a]:
        if name == "strategy" or name == "rate":
            continue
        if (name in a) != (name in b) or a[name] != b[name]:
            found.append(name)
    return found


@right(chapter.is_fair)
def fair_by_pairs(a, b):
    names = {name for name, _ in a.items() ^ b.items()}
    return names - {"strategy", "rate"}


@right(chapter.is_fair)
def fair_with_get(one, two):
    nothing = object()
    everything = {**one, **two}
    return tuple(
        sorted(
            name
            for name in everything
            if name not in ["strategy", "rate"]
            and one.get(name, nothing) != two.get(name, nothing)
        )
    )


@wrong(chapter.is_fair, "the strategy named too")
def fair_strategy(a, b):
    return {n for n in {**a, **b} if n != "rate" and a.get(n) != b.get(n)}


@wrong(chapter.is_fair, "the rate named too")
def fair_rate(a, b):
    return [n for n in {**a, **b} if n != "strategy" and a.get(n) != b.get(n)]


@wrong(chapter.is_fair, "all that differs")
def fair_all(a, b):
    return {name for name, _ in set(a.items()) ^ set(b.items())}


@wrong(chapter.is_fair, "unequal budgets in a comparison", score=3 / 4)
def fair_any_steps(a, b):
    may = ["strategy", "rate", "steps"]
    return [n for n in {**a, **b} if n not in may and a.get(n) != b.get(n)]


@wrong(chapter.is_fair, "how the rate was chosen left out", score=3 / 4)
def fair_any_choice(a, b):
    differs = {name for name in {**a, **b} if a.get(name) != b.get(name)}
    return {n for n in differs if "rate" not in n and n != "strategy"}


@wrong(chapter.is_fair, "only what both name", score=3 / 4)
def fair_shared(a, b):
    shared = (a.keys() & b.keys()) - {"strategy", "rate"}
    return {name for name in shared if a[name] != b[name]}


@wrong(chapter.is_fair, "only what the first names", score=3 / 4)
def fair_first(a, b):
    found = set()
    for name, value in a.items():
        if name not in ("strategy", "rate") and b.get(name) != value:
            found.add(name)
    return found


@wrong(chapter.is_fair, "looked up where it is not", score=3 / 4)
def fair_lookup(a, b):
    found = set()
    for name in {**a, **b}:
        if a[name] != b[name]:
            found.add(name)
    return found - {"strategy", "rate"}


@wrong(chapter.is_fair, "yes or no")
def fair_yes(a, b):
    names = set(a) | set(b)
    return all(a.get(n) == b.get(n) for n in names - {"strategy", "rate"})


@wrong(chapter.is_fair, "how many")
def fair_count(a, b):
    names = (set(a) | set(b)) - {"strategy", "rate"}
    return sum(a.get(n) != b.get(n) for n in names)


@wrong(chapter.is_fair, "what agrees")
def fair_agreeing(a, b):
    found = {n for n in a if n in b and a[n] == b[n]}
    return found | {"strategy", "rate"}


@wrong(chapter.is_fair, "pairs and not names")
def fair_pairs(a, b):
    pairs = a.items() ^ b.items()
    return [pair for pair in pairs if pair[0] not in ("strategy", "rate")]


@right(chapter.freeze)
def freeze_by_first_name(network, names):
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.split(".")[0] not in names
    for name, child in network.named_children():
        child.train(name not in names)
    return {name for name, p in network.named_parameters() if p.requires_grad}


@right(chapter.freeze)
def freeze_modules(model, frozen):
    left = []
    for name, child in model.named_children():
        if name in frozen:
            for module in child.modules():
                module.training = False
            for p in child.parameters():
                p.requires_grad = False
        else:
            left += [f"{name}.{own}" for own, _ in child.named_parameters()]
    return left


@right(chapter.freeze)
def freeze_with_getattr(network, names):
    network.train()
    for name in names:
        getattr(network, name).eval()
        getattr(network, name).requires_grad_(False)
    trains = dict(network.named_parameters())
    return tuple(n for n in trains if trains[n].requires_grad)


@wrong(chapter.freeze, "BatchNorm moving in a frozen backbone", score=1 / 2)
def freeze_gradients_only(network, names):
    for name in names:
        for p in getattr(network, name).parameters():
            p.requires_grad = False
    return [n for n, p in network.named_parameters() if p.requires_grad]


@wrong(chapter.freeze, "BatchNorm moving in a frozen backbone")
def freeze_and_thaw(network, names):
    for name in names:
        getattr(network, name).eval().requires_grad_(False)
    network.train()
    return [n for n, p in network.named_parameters() if p.requires_grad]


@wrong(chapter.freeze, "gradients not stopped")
def freeze_an_attribute(network, names):
    for name in names:
        part = getattr(network, name)
        part.requires_grad = False
        part.eval()
    return [n for n, p in network.named_parameters() if p.requires_grad]


@wrong(chapter.freeze, "gradients not stopped")
def freeze_eval_alone(network, names):
    for name in names:
        getattr(network, name).train(False)
    return [n for n, p in network.named_parameters() if p.requires_grad]


@wrong(chapter.freeze, "the others frozen")
def freeze_inverted(network, names):
    for name, child in network.named_children():
        child.train(name in names).requires_grad_(name in names)
    return [n for n, p in network.named_parameters() if p.requires_grad]


@wrong(chapter.freeze, "the frozen named")
def freeze_returns_frozen(network, names):
    frozen = []
    for name in names:
        part = getattr(network, name).eval().requires_grad_(False)
        frozen += [f"{name}.{own}" for own, _ in part.named_parameters()]
    return frozen


@wrong(chapter.freeze, "children named, not parameters")
def freeze_returns_children(network, names):
    for name in names:
        getattr(network, name).eval().requires_grad_(False)
    return {name for name, _ in network.named_children()} - set(names)


@wrong(chapter.freeze, "the whole network in eval mode", score=1 / 4)
def freeze_all_eval(network, names):
    network.eval()
    for name in names:
        getattr(network, name).requires_grad_(False)
    return [n for n, p in network.named_parameters() if p.requires_grad]


@wrong(chapter.freeze, "one level deep", score=1 / 2)
def freeze_shallow(network, names):
    for name in names:
        part = getattr(network, name)
        part.eval()
        for own in ("weight", "bias"):
            if getattr(part, own, None) is not None:
                getattr(part, own).requires_grad = False
    return [n for n, p in network.named_parameters() if p.requires_grad]


@wrong(chapter.freeze, "biases forgotten")
def freeze_weights(network, names):
    for name, parameter in network.named_parameters():
        if name.split(".")[0] in names and name.endswith(".weight"):
            parameter.requires_grad = False
    for name in names:
        getattr(network, name).eval()
    return [n for n, p in network.named_parameters() if p.requires_grad]


@wrong(chapter.freeze, "names that only contain it", score=3 / 4)
def freeze_substrings(network, names):
    for own, parameter in network.named_parameters():
        for name in names:
            if name in own:
                parameter.requires_grad = False
    for name in names:
        getattr(network, name).eval()
    return [n for n, p in network.named_parameters() if p.requires_grad]


@wrong(chapter.freeze, "everything frozen")
def freeze_everything(network, names):
    for p in network.parameters():
        p.requires_grad = False
    network.eval()
    return [n for n, p in network.named_parameters() if p.requires_grad]


@wrong(chapter.freeze, "nothing frozen")
def freeze_nothing(network, names):
    with torch.no_grad():
        for name in names:
            getattr(network, name)
    return [n for n, _ in network.named_parameters()]


@right(chapter.prepare)
def prepare_mended(network, classes, frozen, rate):
    if frozen:
        network.requires_grad_(False)
        network.eval()
    network.fc = nn.Linear(network.fc.in_features, classes)
    return torch.optim.AdamW(network.parameters(), lr=rate)


@right(chapter.prepare)
def prepare_child_by_child(model, n, frozen, lr):
    model.fc = torch.nn.Linear(model.fc.weight.shape[1], n)
    for name, child in model.named_children():
        if frozen and name != "fc":
            child.eval()
            for p in child.parameters():
                p.requires_grad = False
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr, 0.9)


@right(chapter.prepare)
def prepare_with_zeros(network, classes, frozen, rate):
    head = nn.Linear(network.fc.in_features, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    network.fc = head
    if not frozen:
        return torch.optim.Adam(network.parameters(), rate)
    network.eval().requires_grad_(False)
    return torch.optim.Adam(head.requires_grad_(True).parameters(), rate)


@right(chapter.prepare)
def prepare_adds_a_group(network, classes, frozen, rate):
    backbone = [p for n, p in network.named_parameters() if not n.startswith("fc")]
    if frozen:
        network.eval()
        for p in backbone:
            p.requires_grad = False
    optimizer = torch.optim.SGD(backbone, lr=rate)
    setattr(network, "fc", nn.Linear(4, classes))  # noqa: B010
    optimizer.add_param_group({"params": network.fc.parameters()})
    return optimizer


@wrong(chapter.prepare, "optimiser built before the head was swapped", score=0)
def prepare_too_early(network, classes, frozen, rate):
    if frozen:
        network.requires_grad_(False)
        network.eval()
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    network.fc = nn.Linear(network.fc.in_features, classes)
    return optimizer


@wrong(chapter.prepare, "BatchNorm moving in a frozen backbone", score=1 / 3)
def prepare_without_eval(network, classes, frozen, rate):
    for parameter in network.parameters():
        parameter.requires_grad = not frozen
    network.fc = nn.Linear(network.fc.in_features, classes)
    return torch.optim.SGD(network.parameters(), lr=rate)


@wrong(chapter.prepare, "gradients not stopped", score=1 / 3)
def prepare_by_eval(network, classes, frozen, rate):
    network.fc = nn.Linear(network.fc.in_features, classes)
    network.train(not frozen)
    return torch.optim.AdamW(network.parameters(), lr=rate)


@wrong(chapter.prepare, "the head frozen too", score=1 / 3)
def prepare_freezes_last(network, classes, frozen, rate):
    network.fc = nn.Linear(network.fc.in_features, classes)
    if frozen:
        network.requires_grad_(False)
        network.eval()
    return torch.optim.AdamW(network.parameters(), lr=rate)


@wrong(chapter.prepare, "the old head still answers", score=0)
def prepare_a_number(network, classes, frozen, rate):
    if frozen:
        network.requires_grad_(False)
        network.eval()
    network.fc.out_features = classes
    network.fc.requires_grad_(True)
    return torch.optim.SGD(network.parameters(), lr=rate)


@wrong(chapter.prepare, "a layer behind the old head")
def prepare_appends(network, classes, frozen, rate):
    if frozen:
        network.requires_grad_(False)
        network.eval()
    old = network.fc
    network.fc = nn.Sequential(old, nn.Linear(old.out_features, classes))
    return torch.optim.SGD(network.parameters(), lr=rate)


@wrong(chapter.prepare, "inputs and outputs the wrong way round")
def prepare_turned(network, classes, frozen, rate):
    if frozen:
        network.requires_grad_(False)
        network.eval()
    network.fc = nn.Linear(in_features=classes, out_features=network.fc.in_features)
    return torch.optim.AdamW(network.parameters(), lr=rate)


@wrong(chapter.prepare, "eval mode always", score=1 / 3)
def prepare_eval(network, classes, frozen, rate):
    network.eval()
    if frozen:
        network.requires_grad_(False)
    network.fc = nn.Linear(network.fc.in_features, classes)
    return torch.optim.SGD(network.parameters(), lr=rate)


@wrong(chapter.prepare, "only the head in the optimiser", score=1 / 3)
def prepare_head_alone(network, classes, frozen, rate):
    if frozen:
        network.requires_grad_(False)
        network.eval()
    network.fc = nn.Linear(network.fc.in_features, classes)
    return torch.optim.SGD(network.fc.parameters(), lr=rate)


@wrong(chapter.prepare, "never frozen", score=1 / 3)
def prepare_never_frozen(network, classes, frozen, rate):
    network.fc = nn.Linear(network.fc.in_features, classes)
    return torch.optim.AdamW(network.parameters(), lr=rate)


@wrong(chapter.prepare, "always frozen")
def prepare_always_frozen(network, classes, frozen, rate):
    network.requires_grad_(False)
    network.eval()
    network.fc = nn.Linear(network.fc.in_features, classes)
    return torch.optim.AdamW(network.parameters(), lr=rate)


@wrong(chapter.prepare, "the rate left out")
def prepare_no_rate(network, classes, frozen, rate):
    if frozen:
        network.requires_grad_(False)
        network.eval()
    network.fc = nn.Linear(network.fc.in_features, classes)
    return torch.optim.AdamW(network.parameters())


@wrong(chapter.prepare, "the network returned")
def prepare_returns_network(network, classes, frozen, rate):
    if frozen:
        network.requires_grad_(False)
        network.eval()
    network.fc = nn.Linear(network.fc.in_features, classes)
    network.optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    return network


@right(chapter.lora_update)
def lora_with_einsum(weight, a, b, scale):
    return weight + scale * torch.einsum("or,ri->oi", b, a)


@right(chapter.lora_update)
def lora_by_rank(weight, a, b, scale):
    updated = weight.clone()
    for row, column in zip(a, b.T, strict=True):
        updated = updated + scale * column[:, None] * row[None, :]
    return updated


@right(chapter.lora_update)
def lora_with_addmm(W, A, B, s):
    return torch.addmm(W, B, A, alpha=s)


@right(chapter.lora_update)
def lora_out_of_place(weight, a, b, scale):
    update = (a.T @ b.T).T
    update = update * scale
    update += weight
    return update


@wrong(chapter.lora_update, "the scale left out", score=1 / 4)
def lora_unscaled(weight, a, b, scale):
    return torch.addmm(weight, b, a)


@wrong(chapter.lora_update, "the update alone")
def lora_alone(weight, a, b, scale):
    return scale * torch.matmul(b, a)


@wrong(chapter.lora_update, "the frozen weight changed")
def lora_in_place(weight, a, b, scale):
    return weight.add_(b @ a, alpha=scale)


@wrong(chapter.lora_update, "the update transposed")
def lora_transposed(weight, a, b, scale):
    return weight + scale * (b @ a).T


@wrong(chapter.lora_update, "the weight scaled too")
def lora_all_scaled(weight, a, b, scale):
    return (weight + torch.matmul(b, a)) * scale


@wrong(chapter.lora_update, "* instead of @")
def lora_elementwise(weight, a, b, scale):
    return weight + scale * b * a


@wrong(chapter.lora_update, "a @ b")
def lora_turned(weight, a, b, scale):
    return weight + scale * torch.matmul(a, b)


@wrong(chapter.lora_update, "divided by the rank")
def lora_per_rank(weight, a, b, scale):
    rank = a.shape[0]
    return weight + (b @ a) * (scale / rank)


@wrong(chapter.lora_update, "a mixture")
def lora_mixed(weight, a, b, scale):
    return torch.lerp(weight, b @ a, scale)


@wrong(chapter.lora_update, "subtracted")
def lora_subtracted(weight, a, b, scale):
    return torch.addmm(weight, b, a, alpha=-scale)


@wrong(chapter.lora_update, "scaled twice", score=1 / 4)
def lora_twice(weight, a, b, scale):
    return weight + scale**2 * (b @ a)


@wrong(chapter.lora_update, "cut off from the gradient", score=3 / 4)
def lora_without_gradient(weight, a, b, scale):
    with torch.no_grad():
        return weight + scale * (b @ a)


@right(chapter.groups)
def groups_from_the_front(network, rate, decay):
    children = list(network.children())
    depth = len(children) - 1
    found = []
    for place, child in enumerate(children):
        lr = rate * decay ** (depth - place)
        found.append({"lr": lr, "params": child.parameters()})
    return found


@right(chapter.groups)
def groups_with_numpy(network, rate, decay):
    children = list(network.children())
    rates = rate * np.power(decay, np.arange(len(children)))[::-1]
    return tuple(
        {"params": [*child.parameters()], "lr": lr}
        for child, lr in zip(children, rates, strict=True)
    )


@right(chapter.groups)
def groups_with_names(net, lr, decay):
    found, now = [], lr
    for name, child in list(net.named_children())[::-1]:
        group = {"name": name, "params": list(child.parameters()), "lr": now}
        found.insert(0, group)
        now *= decay
    return found


@wrong(chapter.groups, "the first layer fastest")
def groups_forwards(network, rate, decay):
    found = []
    for child in network.children():
        found.append({"params": list(child.parameters()), "lr": rate})
        rate *= decay
    return found


@wrong(chapter.groups, "one rate for all")
def groups_alike(network, rate, decay):
    return [{"params": list(network.parameters()), "lr": rate}]


@wrong(chapter.groups, "the head left out")
def groups_backbone_only(network, rate, decay):
    found = []
    for child in list(network.children())[-2::-1]:
        rate *= decay
        found.append({"params": list(child.parameters()), "lr": rate})
    return found


@wrong(chapter.groups, "falls by the same amount", score=1 / 3)
def groups_linear(network, rate, decay):
    step, found, now = rate - rate * decay, [], rate
    for child in reversed(list(network.children())):
        found.append({"params": list(child.parameters()), "lr": now})
        now -= step
    return found


@wrong(chapter.groups, "divided by the depth", score=1 / 3)
def groups_harmonic(network, rate, decay):
    *others, head = network.children()
    found = [{"params": list(head.parameters()), "lr": rate}]
    for depth, child in enumerate(reversed(others), start=1):
        found.append({"params": list(child.parameters()), "lr": rate * decay / depth})
    return found


@wrong(chapter.groups, "the head slowed down too")
def groups_from_one(network, rate, decay):
    children = list(network.children())[::-1]
    return [
        {"params": list(child.parameters()), "lr": rate * decay**depth}
        for depth, child in enumerate(children, start=1)
    ]


@wrong(chapter.groups, "only two rates", score=1 / 3)
def groups_two(network, rate, decay):
    *others, head = network.children()
    backbone = [p for child in others for p in child.parameters()]
    return [
        {"params": backbone, "lr": rate * decay},
        {"params": list(head.parameters()), "lr": rate},
    ]


@wrong(chapter.groups, "divided instead of multiplied")
def groups_divided(network, rate, decay):
    found = []
    for child in list(network.children())[::-1]:
        found.append({"params": list(child.parameters()), "lr": rate})
        rate /= decay
    return found


@wrong(chapter.groups, "counted by parameters")
def groups_of_parameters(network, rate, decay):
    found = []
    for parameter in list(network.parameters())[::-1]:
        found.append({"params": [parameter], "lr": rate})
        rate *= decay
    return found


@wrong(chapter.groups, "one level deep", score=2 / 3)
def groups_shallow(network, rate, decay):
    found = []
    for child in list(network.children())[::-1]:
        own = [getattr(child, name, None) for name in ("weight", "bias")]
        found.append({"params": [p for p in own if p is not None], "lr": rate})
        rate *= decay
    return found


@wrong(chapter.groups, "pairs and not parameters")
def groups_named(network, rate, decay):
    found = []
    for child in list(network.children())[::-1]:
        found.append({"params": dict(child.named_parameters()).items(), "lr": rate})
        rate *= decay
    return found


@wrong(chapter.groups, "another key")
def groups_learning_rate(network, rate, decay):
    found = []
    for child in list(network.children())[::-1]:
        found.append({"params": list(child.parameters()), "learning_rate": rate})
        rate *= decay
    return found
