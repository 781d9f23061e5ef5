"""Exercises of chapter 12: hidden waits, pieces of a batch, a loader ahead, a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Queue
from threading import Thread
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from course.exercises import gpu_lab_mistakes as mistakes
from course.exercises import gpu_lab_rules as rules
from course.exercises.base import Case, Exercise, seeded
from course.exercises.gpu_lab_rules import Batches, Learner, Loader, Patience

Row = Mapping[str, Any]
Batch = tuple[Tensor, Tensor]


def _whole(generator: Generator, low: int, high: int) -> int:
    """Draw a whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _one_of(generator: Generator, choices: Sequence[Any]) -> Any:
    return choices[_whole(generator, 0, len(choices) - 1)]


# Hidden waits -------------------------------------------------------------------------


def epoch_figures_reference(batches: Sequence[Batch]) -> tuple[float, float]:
    """Return mean loss and accuracy over all images, and read back twice in all.

    Args:
        batches: logits (N, C) and labels (N,) of each, which may lie on a GPU.

    Returns:
        Mean cross-entropy and share of right answers, each over all images.
    """
    losses, hits, seen = [], [], 0
    for logits, labels in batches:
        losses.append(F.cross_entropy(logits, labels, reduction="sum"))
        hits.append((logits.argmax(dim=1) == labels).sum())
        seen += len(labels)  # a shape: the CPU knows it
    loss, right = torch.stack(losses).sum(), torch.stack(hits).sum()
    return loss.item() / seen, right.item() / seen


def _epoch_figures_as_handed_out(batches: Sequence[Batch]) -> tuple[float, float]:
    total, right, seen = 0.0, 0, 0
    for logits, labels in batches:
        loss = F.cross_entropy(logits, labels, reduction="sum")
        total += loss.item()
        hit = logits.argmax(dim=1) == labels
        if hit.any():
            right += len(labels[hit])
        seen += len(labels)
    return total / seen, right / seen


def _some_batches(generator: Generator, sizes: Sequence[int]) -> Case:
    """Draw logits of three classes that are right about half of the time."""
    batches = Batches()
    for size in sizes:
        labels = torch.randint(0, 3, (size,), generator=generator)
        logits = torch.randn((size, 3), generator=generator)
        batches.append((logits + 1.5 * F.one_hot(labels, 3), labels))
    plural = "es" if len(sizes) > 1 else ""
    return Case((batches,), f"epoch_figures({len(sizes)} batch{plural})")


def _draw_batches(generator: Generator) -> Case:
    sizes = [_whole(generator, 2, 9) for _ in range(_whole(generator, 1, 5))]
    return _some_batches(generator, sizes)


epoch_figures = Exercise(
    name="epoch_figures",
    title="Find the hidden syncs",
    minutes=8,
    difficulty="medium",
    trains="seeing where the CPU has to wait for the GPU",
    kind="find the bug",
    place="3 · Waiting without noticing",
    hints=(
        "Nothing that comes out is wrong. Which lines need to know a value that was "
        "just computed, before the next one can run?",
        "Three of them, in each batch: a number for Python, a decision, and a result "
        "whose length depends on values. What of that can stay a tensor?",
        "Add up the losses and the right ones, (logits.argmax(dim=1) == labels).sum(), "
        "as tensors; the length of labels is no reading. Call .item() on the two sums "
        "once the loop is over.",
    ),
    reference=epoch_figures_reference,
    given=_epoch_figures_as_handed_out,
    cases=lambda: [
        _some_batches(seeded(seed), sizes)
        for seed, sizes in enumerate(((8, 8, 8), (9, 9, 9, 2), (5,), (4,) * 12))
    ],
    mistakes=(),
    rules=rules.EPOCH_FIGURES,
    observe=rules.figures_and_readings,
    draw=_draw_batches,
)

# A batch in pieces --------------------------------------------------------------------


def accumulated_reference(
    network: nn.Module, images: Tensor, labels: Tensor, most: int
) -> Tensor:
    """Leave the gradient of a whole batch, of which the network sees a piece at a time.

    Args:
        network: its parameters have the gradient in `.grad` afterwards, and nothing of
            what was there before.
        images: (N, 3, H, W).
        labels: (N,).
        most: how many images the network may see at once; the last piece may be
            smaller.

    Returns:
        The mean cross-entropy over the whole batch.
    """
    network.zero_grad()
    total = torch.zeros((), device=images.device)
    for seen, wanted in zip(images.split(most), labels.split(most), strict=True):
        summed = F.cross_entropy(network(seen), wanted, reduction="sum")
        share = summed / len(images)
        share.backward()  # adds to .grad, and lets go of the piece's graph
        total += share.detach()
    return total


EVEN, UNEVEN = "pieces of one size", "a smaller last piece"
SINGLE, OLD = "one image at a time", "old gradients"
WHOLE = "a batch that fits"


def _accumulated_case(part: str, generator: Generator, count: int, most: int) -> Case:
    classes = _whole(generator, 2, 4)
    network = mistakes.Watched(_whole(generator, 0, 9), classes, old=part == OLD)
    images = torch.randn((count, 3, 2, 2), generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    shown = f"accumulated(network, {count} images, labels, {most})"
    return Case((network, images, labels, most), shown, part)


def _accumulated_cases() -> list[Case]:
    tries = [(EVEN, 8, 4), (UNEVEN, 10, 4), (UNEVEN, 7, 3), (SINGLE, 5, 1)]
    tries += [(EVEN, 6, 2), (OLD, 8, 4), (WHOLE, 4, 4), (WHOLE, 3, 8)]
    return [
        _accumulated_case(part, seeded(seed), count, most)
        for seed, (part, count, most) in enumerate(tries)
    ]


def _draw_accumulated(generator: Generator) -> Case:
    part = _one_of(generator, (EVEN, UNEVEN, OLD))
    most, pieces = _whole(generator, 2, 5), _whole(generator, 2, 3)
    count = most * pieces
    if part == UNEVEN:
        count += _whole(generator, 1, most - 1)
    return _accumulated_case(part, generator, count, most)


accumulated = Exercise(
    name="accumulated",
    title="A batch that does not fit",
    minutes=10,
    difficulty="medium",
    trains="what a sum of gradients is the gradient of",
    kind="write a function",
    place="4 · Larger batches, less memory",
    hints=(
        "The gradient of a sum is the sum of the gradients, and backward adds to what "
        "is in .grad. Of which sum is the mean over the batch made?",
        "Each image should count 1/N, whatever piece it is in. What does a mean over a "
        "smaller last piece do to that, and when may the graph of a piece go?",
        "Clear the gradients once. For each pair of images.split(most) and "
        'labels.split(most): cross_entropy with reduction="sum", divided by '
        "len(images); backward; add its detached value to the loss.",
    ),
    reference=accumulated_reference,
    cases=_accumulated_cases,
    mistakes=mistakes.ACCUMULATED,
    observe=mistakes.gradient_and_pieces,
    draw=_draw_accumulated,
)

# A batch size from a curve ------------------------------------------------------------


def choose_batch_reference(rows: Sequence[Row], limit_mb: float, share: float) -> int:
    """Return the smallest batch that is nearly as fast as the best one that fits.

    Args:
        rows: with "batch", "images_a_second" and "mb", in any order; the latter two
            are None where the memory ran out.
        limit_mb: what a batch may take at most.
        share: of the best throughput among those that fit, from 0 to 1.

    Returns:
        A batch that fits and reaches the share; 0 where none fits.
    """
    fitting = [row for row in rows if row["mb"] is not None and row["mb"] <= limit_mb]
    if not fitting:
        return 0
    enough = share * max(row["images_a_second"] for row in fitting)
    return min(row["batch"] for row in fitting if row["images_a_second"] >= enough)


RISING = ((8, 400, 300), (16, 700, 400), (32, 960, 600), (64, 1000, 1000))
BEYOND = ((128, 1400, 1800), (256, None, None))
OUT = ((256, None, None), (512, None, None))
ORDER, PEAK = "rows in any order", "the largest is not the fastest"


def _batch_case(
    table: Sequence[Sequence[Any]], limit_mb: float, share: float, part: str
) -> Case:
    names = ("batch", "images_a_second", "mb")
    rows = [dict(zip(names, row, strict=True)) for row in table]
    sizes = ", ".join(str(row["batch"]) for row in rows)
    limits = f"limit_mb={limit_mb:g}, share={share:g}"
    shown = f"choose_batch(rows with batches {sizes}; {limits})"
    return Case((rows, limit_mb, share), shown, part)


def _batch_cases() -> list[Case]:
    mixed = [(*RISING, *BEYOND)[place] for place in (4, 2, 0, 5, 1, 3)]
    falling = ((8, 200, 200), (16, 600, 300), (32, 1000, 500), (64, 990, 900))
    falling = (*falling, (128, 480, 1600))
    nearly = ((8, 200, 100), (16, 500, 200), (32, 700, 400), (64, 1000, 600))
    tries = [
        (RISING, 2000, 0.9, "all fit"),
        (RISING, 2000, 0.6, "all fit"),
        ((*RISING, *BEYOND), 1200, 0.9, "some do not fit"),
        ((*RISING, *BEYOND), 700, 0.7, "some do not fit"),
        (falling, 2000, 0.5, PEAK),
        (falling, 2000, 0.9, PEAK),
        (mixed, 1200, 0.9, ORDER),
        (mixed[::-1], 1900, 0.45, ORDER),
        (RISING, 600, 0.9, "just at the limit"),
        (nearly, 900, 0.5, "just the share"),
        (RISING, 250, 0.9, "none fits"),
        (OUT, 2000, 0.9, "none fits"),
    ]
    return [_batch_case(*row) for row in tries]


def _draw_rows(generator: Generator) -> Case:
    """Draw a curve that levels off, whose last sizes may have run out of memory."""
    table, mb = [], 100 * _whole(generator, 1, 3)
    speed = 100 * _whole(generator, 1, 5)
    for power in range(_whole(generator, 2, 6)):
        table.append((2**power, speed, mb))
        speed += _one_of(generator, (-30, 10, 90, speed * 4 // 5))
        mb += 100 * (1 + power) + 30
    if _whole(generator, 0, 1):
        table.append((128, None, None))
    order = torch.randperm(len(table), generator=generator).tolist()
    limit = 50 + 100 * _whole(generator, 4, 16)
    share = _one_of(generator, (0.455, 0.705, 0.905, 0.955))
    return _batch_case([table[place] for place in order], limit, share, ORDER)


choose_batch = Exercise(
    name="choose_batch",
    title="Choose a batch size from a curve",
    minutes=6,
    difficulty="easy",
    trains="stopping where more no longer pays",
    kind="write a function",
    place="4 · Larger batches, less memory",
    hints=(
        "Three questions in this order: which fit, how fast is the best of those, and "
        "which is the smallest that is fast enough?",
        "What did not run has None and fits nowhere. Among what fits, the best is "
        "found by its throughput: neither the order nor the size says it.",
        "Keep the rows whose mb is not None and at most limit_mb, and return 0 where "
        "none is left; best is the highest images_a_second of those kept; return the "
        "smallest batch that has share * best or more.",
    ),
    reference=choose_batch_reference,
    cases=_batch_cases,
    mistakes=mistakes.CHOOSE_BATCH,
    draw=_draw_rows,
)

# A loader that works ahead ------------------------------------------------------------


def prefetched_reference(
    load: Callable[[int], Any], count: int, depth: int
) -> Iterator[Any]:
    """Return load(0), load(1), … one by one, while a thread loads the next ones.

    Args:
        load: takes a place from 0 to count - 1, and returns an item or raises; it is
            called in one thread, which is not the reader's.
        count: of items.
        depth: how many finished items may wait for the reader, at least one; the thread
            may hold another one.

    Returns:
        An iterator over the items in order. What `load` raises comes out of it in place
        of the item, and ends it.
    """
    waiting: Queue[tuple[Any, Exception | None]] = Queue(maxsize=depth)

    def fill() -> None:
        for place in range(count):
            try:
                waiting.put((load(place), None))
            except Exception as problem:
                waiting.put((None, problem))
                return

    def items() -> Iterator[Any]:
        Thread(target=fill, daemon=True).start()
        for _ in range(count):
            item, problem = waiting.get()
            if problem is not None:
                raise problem
            yield item

    return items()


def _loader_cases() -> list[Case]:
    """Return readings of all kinds; only the first two watch how far ahead it gets."""
    patience = Patience()
    tries = [
        (Loader(patience, 8, watched=True), 3),
        (Loader(patience, 6, watched=True), 1),
        (Loader(patience, 6, broken=3), 2),
        (Loader(patience, 3, broken=0), 2),
        (Loader(patience, 5, empty=2), 2),
        (Loader(patience, 2), 9),
        (Loader(patience, 0), 3),
    ]
    return [
        Case((load, load.count, depth), f"prefetched({load}, {load.count}, {depth})")
        for load, depth in tries
    ]


prefetched = Exercise(
    name="prefetched",
    title="The loader is not the bottleneck",
    minutes=15,
    difficulty="hard",
    trains="doing two things at once without losing order or errors",
    kind="write a function",
    place="6 · Feeding it",
    hints=(
        "Two work at once: a thread that loads, and a reader that takes. What stands "
        "between them should hold back the one when it is full, and the other when it "
        "is empty.",
        "queue.Queue(maxsize=depth) is just that: put waits while it is full, get "
        "while it is empty. An error in the thread is seen by nobody, unless it goes "
        "through the queue as well.",
        "In the thread, for each place: put (item, None), or catch the error, put "
        "(None, error) and stop. In the generator: start threading.Thread(…, "
        "daemon=True), then count times: get a pair, raise its error where there is "
        "one, and yield its item.",
    ),
    reference=prefetched_reference,
    cases=_loader_cases,
    mistakes=(),
    rules=rules.PREFETCHED,
    observe=rules.what_was_read,
)

# A profile ----------------------------------------------------------------------------


def self_times_reference(events: Sequence[Row]) -> dict[str, float]:
    """Return how long each name was busy itself, without what it called.

    Args:
        events: of a profile, in any order: "name", "thread", "start" and "length", the
            latter two in microseconds. On one thread they are nested like calls: of
            two, one lies within the other or after it. No two of them have the same
            start and the same length.

    Returns:
        Microseconds by name, summed over all events of that name.
    """
    busy: dict[str, float] = {}
    # Name and end of what is running on each thread, the outermost first.
    calls: dict[Any, list[tuple[str, float]]] = {}
    for event in sorted(events, key=lambda one: (one["start"], -one["length"])):
        name, start, length = event["name"], event["start"], event["length"]
        busy[name] = busy.get(name, 0) + length
        running = calls.setdefault(event["thread"], [])
        while running and running[-1][1] <= start:
            running.pop()
        if running:
            busy[running[-1][0]] -= length
        running.append((name, start + length))
    return busy


CALLED, DEEP, THREADS = "one calls another", "calls in calls", "several threads"
ANYHOW, TWICE, TOUCHING = "events in any order", "a name used twice", "touching events"
EDGES = "starts together, or takes no time"


def _events(*rows: tuple[str, int, float, float]) -> list[dict[str, Any]]:
    """Return events from name, thread, start and end."""
    return [
        {"name": name, "thread": thread, "start": start, "length": end - start}
        for name, thread, start, end in rows
    ]


def _profile_case(events: list[dict[str, Any]], part: str) -> Case:
    several = len({event["thread"] for event in events}) > 1
    words = [
        f"{event['name']} {event['start']:g} to {event['start'] + event['length']:g}"
        + f" on {event['thread']}" * several
        for event in events
    ]
    inside = ", ".join(words) if len(words) <= 5 else f"{len(words)} events"
    return Case((events,), f"self_times({inside})", part)


def _profile_cases() -> list[Case]:
    step, forward = ("step", 1, 0, 100), ("forward", 1, 10, 40)
    backward, conv = ("backward", 1, 50, 95), ("conv", 1, 15, 35)
    load, read = ("load", 2, 5, 90), ("read", 2, 12, 60)
    copy = ("copy", 1, 20, 30)
    tries = [
        ((step,), CALLED),
        ((step, forward), CALLED),
        ((step, forward, backward), CALLED),
        ((step, forward, conv), DEEP),
        ((step, forward, conv, copy), DEEP),
        ((step, load), THREADS),
        ((step, forward, load, read, backward), THREADS),
        ((forward, step), ANYHOW),
        ((conv, backward, copy, step, forward), ANYHOW),
        ((("conv", 1, 0, 7), ("norm", 1, 8, 10), ("conv", 1, 12, 30)), TWICE),
        ((step, forward, conv, ("conv", 1, 55, 80), backward), TWICE),
        ((("step", 1, 0, 50), ("step", 1, 10, 30)), TWICE),
        ((("load", 1, 0, 20), ("forward", 1, 20, 50)), TOUCHING),
        ((step, ("forward", 1, 10, 50), ("backward", 1, 50, 95)), TOUCHING),
        ((("forward", 1, 0, 6), ("step", 1, 0, 10)), EDGES),
        ((step, ("mark", 1, 30, 30), ("conv", 1, 40, 62.5)), EDGES),
    ]
    return [_profile_case(_events(*rows), part) for rows, part in tries]


def _grown(
    generator: Generator, thread: int, start: int, end: int, depth: int
) -> list[tuple[str, int, float, float]]:
    """Draw an event with up to three calls in it, each shorter than what called it."""
    name = _one_of(generator, ("step", "forward", "conv", "norm", "copy"))
    rows: list[tuple[str, int, float, float]] = [(name, thread, start, end)]
    place = start + 1
    for _ in range(_whole(generator, 0, 3)):
        last = place + _whole(generator, 5, 30)
        if depth and last < end:
            rows += _grown(generator, thread, place, last, depth - 1)
            place = last + _whole(generator, 0, 2)
    return rows


def _draw_profile(generator: Generator) -> Case:
    rows = []
    for thread in range(_whole(generator, 1, 2)):
        rows += _grown(generator, thread + 1, 0, _whole(generator, 30, 90), 2)
    order = torch.randperm(len(rows), generator=generator).tolist()
    part = THREADS if len({row[1] for row in rows}) > 1 else ANYHOW
    return _profile_case(_events(*(rows[place] for place in order)), part)


self_times = Exercise(
    name="self_times",
    title="Explain a profile",
    minutes=15,
    difficulty="hard",
    trains="reading who was busy, and who only waited for another",
    kind="write a function",
    place="7 · Reading a profile",
    hints=(
        "An event that lies within another of its thread was called by it. Whose time "
        "is that of a call within a call?",
        "Subtract each event once, from the innermost one around it on its own thread. "
        "In order of their starts, the longer first, whatever is still running is a "
        "stack.",
        "Sort by (start, -length), with a stack for each thread. For each event: pop "
        "what ended at its start or before; add its length to its own name; subtract "
        "it from the name on top of the stack, if there is one; push it.",
    ),
    reference=self_times_reference,
    cases=_profile_cases,
    mistakes=mistakes.SELF_TIMES,
    draw=_draw_profile,
)

# A step of one's own ------------------------------------------------------------------


def own_step_reference(
    network: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> Tensor:
    """Make one training step, the plain way.

    Args:
        network: in training mode; its gradients may hold something old.
        optimiser: of its parameters.
        images: (N, 3, H, W).
        labels: (N,).

    Returns:
        The mean cross-entropy before the step, a tensor without a graph.
    """
    optimiser.zero_grad()
    scores = network(images)
    mean = F.cross_entropy(scores, labels)
    mean.backward()
    optimiser.step()
    return mean.detach()  # no .item(): nobody has to wait for it here


def _step_case(generator: Generator, count: int) -> Case:
    classes, rate = _whole(generator, 3, 5), _one_of(generator, (0.5, 0.1))
    network = Learner(_whole(generator, 0, 99), classes, rate)
    # Its first optimiser takes torch a second: here, that is not the reader's time.
    optimiser = torch.optim.SGD(network.parameters(), lr=rate)
    labels = torch.randint(0, classes, (count,), generator=generator)
    tint = F.one_hot(labels, classes)[:, :3].float()[:, :, None, None]
    images = 0.5 * torch.randn((count, 3, 6, 6), generator=generator) + tint
    shown = f"own_step(network, SGD({rate:g}), {count} images, labels)"
    return Case((network, optimiser, images, labels), shown)


own_step = Exercise(
    name="own_step",
    title="Your own step",
    minutes=10,
    difficulty="medium",
    trains="changing how a step is computed, and not what it computes",
    kind="write a function",
    place="8 · Your own step",
    hints=(
        "First write the plain step, so that the check passes; then change one thing "
        "at a time, and let the ladder time it.",
        "Five lines: clear the gradients, forward, the mean cross-entropy, backward, "
        "step. What else have the sections before shown that leaves the numbers alone?",
        "optimiser.zero_grad(); loss = F.cross_entropy(network(images), labels), under "
        "torch.autocast(images.device.type, torch.bfloat16) if you like; "
        "loss.backward(); optimiser.step(); return loss.detach().",
    ),
    reference=own_step_reference,
    cases=lambda: [_step_case(seeded(seed), 8 + 4 * seed) for seed in range(4)],
    mistakes=(),
    rules=rules.OWN_STEP,
    observe=rules.step_and_plain,
    draw=lambda generator: _step_case(generator, _whole(generator, 6, 16)),
)

EXERCISES = (
    epoch_figures,
    choose_batch,
    accumulated,
    prefetched,
    self_times,
    own_step,
)
