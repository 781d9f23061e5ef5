"""Exercises of chapter 01: the losses and labels that a backbone is pretrained with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from course.exercises.base import Case, Exercise, Mistake, seeded


def _whole(low: int, high: int, generator: torch.Generator) -> int:
    """Return a random whole number between two, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _kind(value: Any) -> str:
    """Return the type of the numbers in a value, such as "float32"; "" for none."""
    try:
        return str(torch.as_tensor(value).dtype).removeprefix("torch.")
    except Exception:  # no numbers
        return ""


def cross_entropy_reference(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over the batch of -log p(label).

    Args:
        logits: (N, classes).
        labels: (N,) class indices.
    """
    log_probabilities = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    chosen = log_probabilities[torch.arange(len(labels)), labels]
    return -chosen.mean()


def _no_log(logits: Tensor, labels: Tensor) -> Tensor:
    probabilities = torch.softmax(logits, dim=1)
    return -probabilities[torch.arange(len(labels)), labels].mean()


def _softmax_twice(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.softmax(dim=1), labels)


def _over_the_batch(logits: Tensor, labels: Tensor) -> Tensor:
    wrong = torch.log_softmax(logits, dim=0)
    return -wrong[torch.arange(len(labels)), labels].mean()


def _overflowing(logits: Tensor, labels: Tensor) -> Tensor:
    exponentials = logits.exp()
    probabilities = exponentials / exponentials.sum(dim=1, keepdim=True)
    return -probabilities[torch.arange(len(labels)), labels].log().mean()


def _log_of_zero(logits: Tensor, labels: Tensor) -> Tensor:
    probabilities = torch.softmax(logits, dim=1)
    return -probabilities[torch.arange(len(labels)), labels].log().mean()


def _a_little_added(logits: Tensor, labels: Tensor) -> Tensor:
    probabilities = torch.softmax(logits, dim=1)
    return -(probabilities[torch.arange(len(labels)), labels] + 1e-8).log().mean()


def _in_place(logits: Tensor, labels: Tensor) -> Tensor:
    logits -= logits.max(dim=1, keepdim=True).values
    return F.cross_entropy(logits, labels)


def _over_the_classes_too(logits: Tensor, labels: Tensor) -> Tensor:
    hot = F.one_hot(labels, logits.shape[1])
    return -(hot * logits.log_softmax(dim=1)).mean()


def _loss_or_gradient(value: Any, logits: Tensor, labels: Tensor) -> Any:
    """Return the loss, or its gradient where the logits ask for one."""
    if not logits.requires_grad:
        return value
    if not isinstance(value, Tensor) or not value.requires_grad or value.numel() != 1:
        return None
    return torch.autograd.grad(value, logits, allow_unused=True)[0]


def _cross_entropy_case(logits: Tensor, labels: Tensor, gradient: bool = False) -> Case:
    large = bool(logits.abs().max() > 100)
    size = " by ".join(str(length) for length in logits.shape)
    shown = f"cross_entropy({'large ' * large}logits {size}, labels)"
    if gradient:
        shown, logits = f"the gradient of {shown}", logits.clone().requires_grad_()
    part = "the gradient" if gradient else "large logits" if large else "the plain case"
    return Case((logits, labels), shown, part)


def _cross_entropy_cases() -> list[Case]:
    cases = []
    for seed, (count, classes) in enumerate([(4, 3), (6, 10), (3, 30)]):
        logits = 2 * torch.randn(count, classes, generator=seeded(seed))
        labels = torch.randint(0, classes, (count,), generator=seeded(seed))
        cases += [_cross_entropy_case(logits, labels, g) for g in (False, True)]
    large = torch.tensor([[1000.0, 0.0], [0.0, 1000.0]])
    for labels in (torch.tensor([0, 1]), torch.tensor([0, 0])):
        cases.append(_cross_entropy_case(large, labels))
    return cases


def _draw_cross_entropy(generator: torch.Generator) -> Case:
    count, classes = _whole(1, 6, generator), _whole(2, 8, generator)
    kind = _whole(0, 2, generator)
    logits = (2 if kind else 500) * torch.randn(count, classes, generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return _cross_entropy_case(logits, labels, gradient=kind == 2)


cross_entropy = Exercise(
    name="cross_entropy",
    title="Cross-entropy by hand",
    minutes=8,
    difficulty="medium",
    trains="the loss of supervised pretraining",
    kind="write a function",
    place="2 · The loss",
    hints=(
        "It is the mean of -log p, where p is the probability of the true class.",
        "log p = logit of the class minus log of the sum of all exponentials.",
        "torch.logsumexp(logits, dim=1, keepdim=True) never overflows; "
        "log_p[torch.arange(len(labels)), labels] picks the true classes.",
    ),
    reference=cross_entropy_reference,
    cases=_cross_entropy_cases,
    draw=_draw_cross_entropy,
    observe=_loss_or_gradient,
    mistakes=(
        Mistake(
            lambda logits, labels: F.cross_entropy(logits, labels, reduction="sum"),
            "That is the sum over the batch: take the mean.",
            "sum instead of mean",
        ),
        Mistake(
            lambda logits, labels: F.cross_entropy(logits, labels).item(),
            "The value is right, but nothing can be learned from it: .item(), float(), "
            "math and NumPy lose the gradient. Stay with tensors.",
            "gradient lost",
        ),
        Mistake(
            lambda logits, labels: F.cross_entropy(logits, labels, reduction="none"),
            "That is one loss a picture: take their mean.",
            "no mean",
        ),
        Mistake(
            lambda logits, labels: -F.cross_entropy(logits, labels),
            "The sign is lost: a loss is minus the log probability.",
            "sign lost",
        ),
        Mistake(_no_log, "The logarithm is missing.", "logarithm missing"),
        Mistake(
            _softmax_twice,
            "The softmax was taken twice: PyTorch's cross-entropy takes logits and has "
            "the softmax in it.",
            "softmax before cross-entropy",
        ),
        Mistake(
            _over_the_batch,
            "Normalise over the classes (dim=1), not the images.",
            "softmax over the wrong axis",
        ),
        Mistake(
            _over_the_classes_too,
            "The mean runs over the classes as well, where all but one are zero: sum "
            "over the classes, then take the mean over the pictures.",
            "mean over the wrong axis",
        ),
        Mistake(
            lambda logits, labels: -logits.log_softmax(dim=1)[:, labels].mean(),
            "[:, labels] picks every label for every picture; "
            "[torch.arange(N), labels] picks pair by pair.",
            "broadcast instead of pairwise",
        ),
        Mistake(
            lambda logits, labels: -logits.log_softmax(1).max(1).values.mean(),
            "That is the probability of the likeliest class: take the true one.",
            "likeliest instead of true class",
        ),
        Mistake(
            _overflowing,
            "exp(1000) is infinite: use logsumexp or log_softmax.",
            "exponentials overflow",
        ),
        Mistake(
            _log_of_zero,
            "A small probability is rounded to 0, and its logarithm is infinite: "
            "compute log p as logit minus logsumexp.",
            "logarithm of zero",
        ),
        Mistake(
            _a_little_added,
            "With a small number added no loss can get large, however wrong the answer "
            "is: compute log p as logit minus logsumexp.",
            "a little added before the logarithm",
        ),
        Mistake(
            _in_place,
            "The logits that were passed are changed (-=): make new ones, "
            "logits = logits - ….",
            "logits changed in place",
        ),
    ),
)


def train_step_reference(
    network: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor
) -> float:
    """Take one step on a batch, and return its loss as a number.

    Args:
        network: in training mode; it may carry gradients of an earlier batch.
        optimizer: of the network's parameters.
        images: (N, …), as the network takes them.
        labels: (N,) class indices.
    """
    loss = F.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _handed_out(
    network: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor
) -> float:
    """Take a step, with both bugs in."""
    probabilities = network(images).softmax(dim=1)
    loss = F.cross_entropy(probabilities, labels)
    loss.backward()
    optimizer.step()
    return loss.item()


Loss = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[nn.Module, Optimizer, Tensor, Tensor], float]


def _learning_by(loss: Loss, order: str = "zbs") -> Step:
    """Return a step with another loss, or another order.

    Args:
        loss: from logits and labels.
        order: of (z)ero_grad, (b)ackward and (s)tep.
    """

    def answer(
        network: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor
    ) -> float:
        value = loss(network(images), labels)
        does = {"b": value.backward, "s": optimizer.step, "z": optimizer.zero_grad}
        for letter in order:
            does[letter]()
        return value.item()

    return answer


def _in_order(order: str) -> Step:
    return _learning_by(F.cross_entropy, order)


def _at_rest(
    network: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor
) -> float:
    return train_step_reference(network.eval(), optimizer, images, labels)


def _loss_after(
    network: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor
) -> float:
    train_step_reference(network, optimizer, images, labels)
    return F.cross_entropy(network(images), labels).item()


def _accuracy(
    network: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor
) -> float:
    right = network(images).argmax(dim=1) == labels
    train_step_reference(network, optimizer, images, labels)
    return right.float().mean().item()


class _Used(nn.Sequential):
    """A network whose copies keep the gradients that an earlier batch left."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Used:
        twin = _Used(*(copy.deepcopy(layer, memo) for layer in self))
        for new, old in zip(twin.parameters(), self.parameters(), strict=True):
            new.grad = None if old.grad is None else old.grad.clone()
        return twin


def _step_case(count: int, classes: int, rate: float, seed: int, used: bool) -> Case:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Used(
            nn.Flatten(),
            nn.Linear(4, 3, bias=False),
            nn.BatchNorm1d(3),
            nn.ReLU(),
            nn.Linear(3, classes),
        )
        images = torch.randn(count, 1, 2, 2)
        labels = torch.randint(0, classes, (count,))
        if used:
            network(torch.randn(4, 1, 2, 2)).square().sum().backward()
    optimizer = SGD(network.parameters(), rate)
    left = " with the gradients of another batch" * used
    names = "1 class" if classes == 1 else f"{classes} classes"
    shown = f"train_step(network of {names}{left}, optimizer, {count} images, labels)"
    part = "gradients left over" if used else "a fresh network"
    return Case((network, optimizer, images, labels), shown, part)


def _step_cases() -> list[Case]:
    """A network with one class has nothing to learn: only what was left can move it."""
    return [
        _step_case(4, 3, 0.5, seed=0, used=False),
        _step_case(8, 5, 0.1, seed=1, used=False),
        _step_case(4, 1, 0.5, seed=2, used=True),
    ]


def _draw_step(generator: torch.Generator) -> Case:
    used = bool(_whole(0, 1, generator))
    classes = 1 if used else _whole(2, 6, generator)
    count, rate = _whole(2, 8, generator), _whole(1, 8, generator) / 10
    return _step_case(count, classes, rate, _whole(0, 99, generator), used)


def _after_the_step(value: Any, network: nn.Module, *_: Any) -> dict[str, Any]:
    weights = [parameter.detach().flatten() for parameter in network.parameters()]
    return {"the loss": value, "the weights after the step": torch.cat(weights)}


train_step = Exercise(
    name="train_step",
    title="Find two bugs: one step of training",
    minutes=8,
    difficulty="medium",
    trains="reading a training loop line by line",
    kind="find the bug",
    place="3 · The loop",
    hints=(
        "Compare it with the loop above, line by line. What goes into the loss, and "
        "what is in the gradients before backward adds to them?",
        "F.cross_entropy wants logits: it takes the softmax itself. And backward adds "
        "to the gradients that are already there.",
        "loss = F.cross_entropy(network(images), labels), then optimizer.zero_grad(), "
        "loss.backward() and optimizer.step(), in this order.",
    ),
    reference=train_step_reference,
    cases=_step_cases,
    draw=_draw_step,
    observe=_after_the_step,
    given=_handed_out,
    mistakes=(
        Mistake(
            _learning_by(_softmax_twice),
            "F.cross_entropy takes logits and has the softmax in it: taken twice, it "
            "flattens the loss and its gradients.",
            "softmax before cross-entropy",
        ),
        Mistake(
            _in_order("bs"),
            "backward adds to the gradients that are there, and those of an earlier "
            "batch still were: optimizer.zero_grad() before backward.",
            "gradients not zeroed",
        ),
        Mistake(
            _learning_by(_softmax_twice, "bs"),
            "Both bugs are still in it: what does F.cross_entropy take, and what is in "
            "the gradients before backward?",
            "both bugs left",
        ),
        Mistake(
            _in_order("zb"),
            "The weights did not move: optimizer.step() comes after backward, and "
            "nothing may clear the gradients in between.",
            "the weights do not move",
        ),
        Mistake(
            _in_order("szb"),
            "The step comes before the gradient that it needs: backward, then step.",
            "step before backward",
        ),
        Mistake(
            _learning_by(lambda z, labels: (z.argmax(dim=1) != labels).float().mean()),
            "No gradient gets through argmax, .item(), detach or no_grad: the loss has "
            "to be made of the logits themselves.",
            "gradient lost",
        ),
        Mistake(
            _learning_by(lambda z, labels: -F.cross_entropy(z, labels)),
            "The sign is lost: the step goes uphill.",
            "sign lost",
        ),
        Mistake(
            _learning_by(F.nll_loss),
            "nll_loss takes log probabilities: give it log_softmax(dim=1), or use "
            "F.cross_entropy.",
            "nll_loss of logits",
        ),
        Mistake(
            _learning_by(lambda z, labels: F.nll_loss(z.softmax(dim=1), labels)),
            "The logarithm is missing: nll_loss takes log probabilities.",
            "logarithm missing",
        ),
        Mistake(
            _learning_by(lambda z, labels: F.nll_loss(z.log_softmax(dim=0), labels)),
            "The softmax ran over the batch: over the classes, dim=1.",
            "softmax over the wrong axis",
        ),
        Mistake(
            _learning_by(lambda z, y: F.cross_entropy(z, y, reduction="sum")),
            "With the sum over the batch a step grows with the batch: take the mean.",
            "sum instead of mean",
        ),
        Mistake(
            _learning_by(lambda z, y: F.mse_loss(z, F.one_hot(y, z.shape[1]).float())),
            "That is the squared error: the loss here is cross-entropy.",
            "squared error instead of cross-entropy",
        ),
        Mistake(
            _at_rest,
            "The network was put to rest: eval mode is for answering, and a step of "
            "training needs training mode.",
            "eval mode in training",
        ),
        Mistake(
            _loss_after,
            "That is the loss after the step: return the one that the step came from.",
            "loss after the step",
        ),
        Mistake(
            _accuracy,
            "That is the share of right answers: return the loss.",
            "accuracy instead of the loss",
        ),
    ),
)


def rotate_batch_reference(images: Tensor) -> tuple[Tensor, Tensor]:
    """Turn each image by 0, 90, 180 and 270 degrees; the turn is the label.

    Args:
        images: (N, C, S, S), square.

    Returns:
        (4N, C, S, S) images, all unturned ones first, and (4N,) labels 0 to 3.
    """
    turned, labels = [], []
    for turns in range(4):
        for image in images:
            turned.append(torch.rot90(image, turns, dims=(1, 2)))
            labels.append(turns)
    return torch.stack(turned), torch.tensor(labels)


def _labelled(label: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """Return an answer that labels the turns otherwise."""

    def answer(images: Tensor) -> Any:
        turned, labels = rotate_batch_reference(images)
        return turned, label(labels)

    return answer


def _turned(
    turn: Callable[[Tensor, int], Tensor], turns: tuple[int, ...] = (0, 1, 2, 3)
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return an answer that makes something else of a turn."""

    def answer(images: Tensor) -> tuple[Tensor, Tensor]:
        turned = torch.cat([turn(images, number) for number in turns])
        return turned, torch.tensor(turns).repeat_interleave(len(images))

    return answer


def _rightly(images: Tensor, turns: int) -> Tensor:
    return torch.rot90(images, turns, (2, 3))


def _picture_by_picture(images: Tensor) -> tuple[Tensor, Tensor]:
    turned = [torch.rot90(one, turns, (1, 2)) for one in images for turns in range(4)]
    return torch.stack(turned), torch.arange(4).repeat(len(images))


def _usable(pair: Any, images: Tensor) -> Any:
    """Return pictures and labels, or in words what a plot or a loss cannot take."""
    try:
        turned, labels = pair
    except Exception:  # no pair: compared as it is
        return pair
    if _kind(turned) not in ("", _kind(images)):
        turned = f"pictures of {_kind(turned)}"
    if "float" in _kind(labels):
        labels = f"labels of {_kind(labels)}"
    return turned, labels


def _rotate_case(images: Tensor) -> Case:
    count, size = images.shape[0], images.shape[-1]
    pixels = images.dtype == torch.uint8
    part = "one picture" if count == 1 else "several pictures"
    what = f"{count} picture{'s' * (count > 1)} of {size} by {size}"
    shown = f"rotate_batch({what}{', uint8' * pixels})"
    return Case((images,), shown, "pixels from 0 to 255" if pixels else part)


def _rotate_cases() -> list[Case]:
    numbered = torch.arange(1.0, 9.0).reshape(2, 1, 2, 2)
    sizes = [(3, 3, 4, 4), (2, 3, 3, 3), (1, 3, 5, 5)]
    drawn = [torch.rand(size, generator=seeded(0)) for size in sizes]
    pixels = (255 * drawn[-1]).byte()
    return [_rotate_case(one) for one in (numbered[:1], numbered, *drawn, pixels)]


def _draw_rotate(generator: torch.Generator) -> Case:
    count, size = _whole(1, 4, generator), _whole(2, 5, generator)
    channels = (1, 3)[_whole(0, 1, generator)]
    return _rotate_case(torch.rand(count, channels, size, size, generator=generator))


rotate_batch = Exercise(
    name="rotate_batch",
    title="Labels for free: rotations",
    minutes=8,
    difficulty="medium",
    trains="how self-supervised tasks make their own labels",
    kind="write a function",
    place="A question with a trap: which way was it turned?",
    hints=(
        "Each image appears four times; nobody has to label anything.",
        "torch.rot90(images, turns, dims=(2, 3)) turns height into width.",
        "torch.cat four turned batches; torch.arange(4).repeat_interleave(len(images)) "
        "gives 0, 0, …, 1, 1, …",
    ),
    reference=rotate_batch_reference,
    cases=_rotate_cases,
    draw=_draw_rotate,
    observe=_usable,
    mistakes=(
        Mistake(
            _labelled(lambda labels: torch.arange(4).repeat(len(labels) // 4)),
            "The labels are 0, 1, 2, 3, 0, …, but the images come turn by turn: "
            "use repeat_interleave.",
            "labels picture by picture",
        ),
        Mistake(
            _picture_by_picture,
            "The four turns of one picture follow each other: asked is turn by turn, "
            "all unturned ones first.",
            "picture by picture",
        ),
        Mistake(
            _turned(lambda images, turns: _rightly(images, -turns)),
            "They turn clockwise: rot90 with positive turns is asked.",
            "clockwise",
        ),
        Mistake(
            _labelled(lambda labels: labels * 90),
            "A label is a class from 0 to 3, not an angle.",
            "degrees instead of classes",
        ),
        Mistake(
            _labelled(lambda labels: labels + 1),
            "Classes are counted from 0.",
            "labels from 1",
        ),
        Mistake(
            _labelled(lambda labels: torch.arange(4)),
            "That is one label a turn: there is one for each picture, 4N.",
            "one label a turn",
        ),
        Mistake(
            _labelled(lambda labels: F.one_hot(labels, 4)),
            "The loss wants the number of the class, not a row of zeros and a one.",
            "one-hot labels",
        ),
        Mistake(
            _labelled(Tensor.float),
            "A label is an index, so it is a whole number: torch.zeros and torch.ones "
            "make floats.",
            "labels as floats",
        ),
        Mistake(
            lambda images: rotate_batch_reference(images.float()),
            "The pictures came back as floats: keep the type that they came with.",
            "pictures as floats",
        ),
        Mistake(
            _turned(lambda images, _: images),
            "The images were repeated but not turned.",
            "not turned",
        ),
        Mistake(
            _turned(_rightly, (1, 2, 3)),
            "The unturned pictures are missing: no turn is a class too.",
            "three turns only",
        ),
        Mistake(
            _turned(lambda images, turns: _rightly(images, (0, 1, 3, 6)[turns])),
            "Each turn was made on top of the last: turn the pictures as they came.",
            "each turn on top of the last",
        ),
        Mistake(
            _turned(lambda images, turns: torch.rot90(images, turns)),
            "rot90 turns the first two axes if nothing else is said, pictures and "
            "channels: dims=(2, 3).",
            "the first two axes turned",
        ),
        Mistake(
            _turned(lambda images, turns: torch.rot90(images, turns, (1, 2))),
            "Channels were turned into height: turn height and width, dims=(2, 3).",
            "channels turned",
        ),
    ),
)


def positive_pairs_reference(n: int) -> Tensor:
    """Return for each of 2n views the index of the other view of its image.

    The batch holds the first views of n images, then their second views in the same
    order, as in NT-Xent (Chen and others 2020, arXiv 2002.05709).
    """
    partners = []
    for view in range(2 * n):
        if view < n:
            partners.append(view + n)
        else:
            partners.append(view - n)
    return torch.tensor(partners)


def _each(partner: Callable[[Tensor, int], Any]) -> Callable[[int], Any]:
    """Return an answer from what it makes of all the places 0, 1, …, 2n - 1."""
    return lambda n: partner(torch.arange(2 * n), n)


def _whole_numbers(value: Any, n: int) -> Any:
    """Return indices, or in words why nothing can be looked up by them."""
    kind = _kind(value)
    return f"numbers of {kind}" if "float" in kind else value


def _pairs_case(n: int) -> Case:
    part = "one picture" if n == 1 else "several pictures"
    return Case.of("positive_pairs", n, part=part)


positive_pairs = Exercise(
    name="positive_pairs",
    title="Who belongs together in a contrastive batch?",
    minutes=5,
    difficulty="medium",
    trains="the index at the heart of the contrastive loss",
    kind="write a function",
    place="Contrastive: which two belong together?",
    hints=(
        "View 0 and view n show the same image.",
        "The first half points n places forward, the second half n places back.",
        "(index + n) modulo 2n does both; torch.roll does it without a modulo.",
    ),
    reference=positive_pairs_reference,
    cases=lambda: [_pairs_case(n) for n in (3, 2, 8, 1)],
    draw=lambda generator: _pairs_case(_whole(1, 20, generator)),
    observe=_whole_numbers,
    mistakes=(
        Mistake(
            _each(lambda places, n: places),
            "Each view points to itself, which teaches nothing.",
            "each its own partner",
        ),
        Mistake(
            _each(lambda places, n: places + 1 - 2 * (places % 2)),
            "That would fit a batch with view beside view: here all first views come "
            "first.",
            "view beside view",
        ),
        Mistake(
            lambda n: torch.arange(n, 2 * n),
            "The second views need their partner too: 2n indices.",
            "the first views only",
        ),
        Mistake(
            _each(lambda places, n: places + n),
            "The second half points beyond the batch: modulo 2n.",
            "beyond the batch",
        ),
        Mistake(
            _each(lambda places, n: places % n + n),
            "The second views point at themselves: their partners are the first views.",
            "all point at second views",
        ),
        Mistake(
            _each(lambda places, n: (places + n) % n),
            "Modulo n stays within the first views: modulo 2n.",
            "modulo n",
        ),
        Mistake(
            _each(lambda places, n: places.flip(0)),
            "The second views are in the same order, not mirrored.",
            "mirrored",
        ),
        Mistake(
            _each(lambda places, n: (places + 1) % (2 * n)),
            "That is the next view in the batch: the partner is n places away.",
            "the next view",
        ),
        Mistake(
            _each(lambda places, n: (places + n) % (2 * n) + 1),
            "Places are counted from 0.",
            "counted from 1",
        ),
        Mistake(
            lambda n: [(view, view + n) for view in range(n)],
            "Those are the pairs: asked is one index for each of the 2n views.",
            "pairs instead of indices",
        ),
        Mistake(
            _each(lambda places, n: (places[:, None] - places).abs() == n),
            "That is a table of all pairs: asked is one index for each view.",
            "a table instead of indices",
        ),
        Mistake(
            _each(lambda places, n: places.roll(n).float()),
            "An index is a whole number: torch.zeros and / make floats.",
            "floats instead of indices",
        ),
    ),
)

EXERCISES = (cross_entropy, train_step, rotate_batch, positive_pairs)
