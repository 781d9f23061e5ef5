"""Answers to the exercises of chapter 01, as readers write them."""

import torch
from torch import nn
from torch.nn import functional as F

from answers.kit import right, wrong
from course.exercises import pretraining_tasks as chapter


@right(chapter.cross_entropy)
def loss_by_pytorch(logits, labels):
    return F.cross_entropy(logits, labels)


@right(chapter.cross_entropy)
def loss_in_a_loop(logits, labels):
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        row = row - row.max()
        total = total + torch.log(torch.exp(row).sum()) - row[label]
    return total / len(labels)


@right(chapter.cross_entropy)
def loss_with_gather(z, y):
    log_p = z.log_softmax(dim=-1)
    return -log_p.gather(1, y.unsqueeze(1)).squeeze(1).mean()


@right(chapter.cross_entropy)
def loss_with_one_hot(logits, labels):
    hot = F.one_hot(labels, logits.size(1))
    return -(hot * torch.log_softmax(logits, 1)).sum(dim=1).mean()


def chosen(table, labels):
    return table[range(len(labels)), labels]


@wrong(chapter.cross_entropy, "sum instead of mean")
def loss_summed(logits, labels):
    return -chosen(logits.log_softmax(1), labels).sum()


@wrong(chapter.cross_entropy, "gradient lost", score=2 / 3)
def loss_as_a_float(logits, labels):
    return float(-chosen(logits.log_softmax(1), labels).mean())


@wrong(chapter.cross_entropy, "no mean")
def loss_of_each(logits, labels):
    return -chosen(logits.log_softmax(1), labels)


@wrong(chapter.cross_entropy, "sign lost", score=0)
def loss_below_zero(logits, labels):
    return chosen(logits.log_softmax(1), labels).mean()


@wrong(chapter.cross_entropy, "logarithm missing")
def loss_of_probabilities(logits, labels):
    return -chosen(logits.softmax(1), labels).mean()


@wrong(chapter.cross_entropy, "softmax before cross-entropy", score=0)
def loss_softmax_twice(logits, labels):
    probabilities = torch.softmax(logits, dim=1)
    return nn.CrossEntropyLoss()(probabilities, labels)


@wrong(chapter.cross_entropy, "softmax over the wrong axis")
def loss_over_pictures(logits, labels):
    return -chosen(logits.log_softmax(0), labels).mean()


@wrong(chapter.cross_entropy, "mean over the wrong axis")
def loss_mean_of_all(logits, labels):
    hot = F.one_hot(labels, logits.size(1))
    return -(hot * logits.log_softmax(1)).mean()


@wrong(chapter.cross_entropy, "broadcast instead of pairwise")
def loss_every_label(logits, labels):
    return -logits.log_softmax(1)[:, labels].mean()


@wrong(chapter.cross_entropy, "likeliest instead of true class")
def loss_of_the_guess(logits, labels):
    return -chosen(logits.log_softmax(1), logits.argmax(1)).mean()


@wrong(chapter.cross_entropy, "exponentials overflow", score=2 / 3)
def loss_overflowing(logits, labels):
    e = torch.exp(logits)
    return -torch.log(chosen(e, labels) / e.sum(dim=1)).mean()


@wrong(chapter.cross_entropy, "logarithm of zero")
def loss_log_of_softmax(logits, labels):
    return -torch.log(chosen(torch.softmax(logits, 1), labels)).mean()


@wrong(chapter.cross_entropy, "logits changed in place")
def loss_in_place(logits, labels):
    logits -= logits.max(dim=1, keepdim=True).values
    return F.cross_entropy(logits, labels)


@right(chapter.train_step)
def step_zeroed_first(network, optimizer, images, labels):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    optimizer.step()
    return float(loss)


@right(chapter.train_step)
def step_with_module(network, optimizer, images, labels):
    network.train()
    for parameter in network.parameters():
        parameter.grad = None
    loss = nn.CrossEntropyLoss()(network(images), labels)
    loss.backward()
    optimizer.step()
    return loss.detach()


@right(chapter.train_step)
def step_with_log_softmax(network, optimizer, images, labels):
    loss = F.nll_loss(network(images).log_softmax(dim=1), labels)
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    optimizer.step()
    return loss.item()


def stepped(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong(chapter.train_step, "softmax before cross-entropy", score=0.5)
def step_softmax(network, optimizer, images, labels):
    p = network(images).softmax(dim=1)
    return stepped(optimizer, F.cross_entropy(p, labels))


@wrong(chapter.train_step, "gradients not zeroed", score=0.5)
def step_adds_up(network, optimizer, images, labels):
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong(chapter.train_step, "both bugs left")
def step_rewritten_only(network, optimizer, images, labels):
    loss = F.cross_entropy(F.softmax(network(images), dim=1), labels)
    loss.backward()
    optimizer.step()
    return float(loss)


@wrong(chapter.train_step, "the weights do not move")
def step_without_step(network, optimizer, images, labels):
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


@wrong(chapter.train_step, "gradient lost", score=0)
def step_on_a_number(network, optimizer, images, labels):
    with torch.no_grad():
        loss = F.cross_entropy(network(images), labels)
    return stepped(optimizer, loss)


@wrong(chapter.train_step, "sign lost")
def step_uphill(network, optimizer, images, labels):
    return stepped(optimizer, -F.cross_entropy(network(images), labels))


@wrong(chapter.train_step, "nll_loss of logits")
def step_nll(network, optimizer, images, labels):
    return stepped(optimizer, F.nll_loss(network(images), labels))


@wrong(chapter.train_step, "logarithm missing")
def step_nll_of_probabilities(network, optimizer, images, labels):
    return stepped(optimizer, F.nll_loss(network(images).softmax(1), labels))


@wrong(chapter.train_step, "softmax over the wrong axis")
def step_over_the_batch(network, optimizer, images, labels):
    log_p = F.log_softmax(network(images), dim=0)
    return stepped(optimizer, F.nll_loss(log_p, labels))


@wrong(chapter.train_step, "sum instead of mean")
def step_summed(network, optimizer, images, labels):
    loss = nn.CrossEntropyLoss(reduction="sum")(network(images), labels)
    return stepped(optimizer, loss)


@wrong(chapter.train_step, "eval mode in training")
def step_at_rest(network, optimizer, images, labels):
    network.eval()
    return stepped(optimizer, F.cross_entropy(network(images), labels))


@wrong(chapter.train_step, "loss after the step")
def step_then_loss(network, optimizer, images, labels):
    stepped(optimizer, F.cross_entropy(network(images), labels))
    return F.cross_entropy(network(images), labels).item()


@right(chapter.rotate_batch)
def turn_all_at_once(images):
    turned = torch.cat([images.rot90(k, [2, 3]) for k in range(4)])
    return turned, torch.arange(4).repeat_interleave(len(images))


@right(chapter.rotate_batch)
def turn_by_flips(images):
    n = len(images)
    quarter = images.transpose(2, 3).flip(2)
    half = images.flip(2, 3)
    last = images.transpose(2, 3).flip(3)
    labels = [0] * n + [1] * n + [2] * n + [3] * n
    return torch.cat([images, quarter, half, last]), torch.tensor(labels)


@right(chapter.rotate_batch)
def turn_into_lists(pictures):
    out, names = [], []
    for k in range(4):
        for picture in pictures:
            out.append(torch.rot90(picture, k, (-2, -1)))
            names.append(k)
    return [torch.stack(out), names]


def all_turns(images, sign=1):
    return torch.cat([images.rot90(sign * k, [2, 3]) for k in range(4)])


def turn_names(images):
    return torch.arange(4).repeat_interleave(len(images))


@wrong(chapter.rotate_batch, "labels picture by picture", score=2 / 3)
def turn_repeat(images):
    return all_turns(images), torch.arange(4).repeat(len(images))


@wrong(chapter.rotate_batch, "picture by picture")
def turn_each_picture(images):
    out, names = [], []
    for image in images:
        for k in range(4):
            out.append(image.rot90(k, [1, 2]))
            names.append(k)
    return torch.stack(out), torch.tensor(names)


@wrong(chapter.rotate_batch, "clockwise", score=0)
def turn_clockwise(images):
    return all_turns(images, -1), turn_names(images)


@wrong(chapter.rotate_batch, "degrees instead of classes")
def turn_degrees(images):
    return all_turns(images), 90 * turn_names(images)


@wrong(chapter.rotate_batch, "labels from 1")
def turn_from_one(images):
    return all_turns(images), 1 + turn_names(images)


@wrong(chapter.rotate_batch, "one label a turn")
def turn_four_labels(images):
    return all_turns(images), torch.tensor([0, 1, 2, 3])


@wrong(chapter.rotate_batch, "labels as floats")
def turn_float_labels(images):
    n = len(images)
    labels = torch.zeros(4 * n)
    for k in range(4):
        labels[k * n : (k + 1) * n] = k
    return all_turns(images), labels


@wrong(chapter.rotate_batch, "not turned")
def turn_nothing(images):
    return images.repeat(4, 1, 1, 1), turn_names(images)


@wrong(chapter.rotate_batch, "three turns only")
def turn_three(images):
    turned = torch.cat([images.rot90(k, [2, 3]) for k in (1, 2, 3)])
    return turned, torch.tensor([1, 2, 3]).repeat_interleave(len(images))


@wrong(chapter.rotate_batch, "each turn on top of the last")
def turn_on_and_on(images):
    out = []
    for k in range(4):
        images = images.rot90(k, [2, 3])
        out.append(images)
    return torch.cat(out), turn_names(images)


@wrong(chapter.rotate_batch, "pictures as floats", score=2 / 3)
def turn_floats(images):
    return all_turns(images.float()), turn_names(images)


@right(chapter.positive_pairs)
def pairs_by_modulo(n):
    return (torch.arange(2 * n) + n) % (2 * n)


@right(chapter.positive_pairs)
def pairs_as_a_list(n):
    return list(range(n, 2 * n)) + list(range(n))


@right(chapter.positive_pairs)
def pairs_by_cat(count):
    first = torch.arange(count)
    return torch.cat([first + count, first])


@wrong(chapter.positive_pairs, "each its own partner", score=0)
def pairs_self(n):
    return list(range(2 * n))


@wrong(chapter.positive_pairs, "view beside view", score=0.5)
def pairs_neighbours(n):
    return [i + 1 if i % 2 == 0 else i - 1 for i in range(2 * n)]


@wrong(chapter.positive_pairs, "the first views only")
def pairs_half(n):
    return [i + n for i in range(n)]


@wrong(chapter.positive_pairs, "beyond the batch")
def pairs_beyond(n):
    return [i + n for i in range(2 * n)]


@wrong(chapter.positive_pairs, "modulo n")
def pairs_modulo_n(n):
    return [(i + n) % n for i in range(2 * n)]


@wrong(chapter.positive_pairs, "mirrored")
def pairs_mirrored(n):
    return list(range(2 * n))[::-1]


@wrong(chapter.positive_pairs, "the next view")
def pairs_next(n):
    return [(i + 1) % (2 * n) for i in range(2 * n)]


@wrong(chapter.positive_pairs, "counted from 1")
def pairs_from_one(n):
    return [(i + n) % (2 * n) + 1 for i in range(2 * n)]


@wrong(chapter.positive_pairs, "pairs instead of indices")
def pairs_of_indices(n):
    return [(i, i + n) for i in range(n)]


@wrong(chapter.positive_pairs, "floats instead of indices")
def pairs_floats(n):
    partners = torch.zeros(2 * n)
    for i in range(2 * n):
        partners[i] = (i + n) % (2 * n)
    return partners
