"""Wrong answers that readers give to the exercises of chapter 12, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.exercises.base import Mistake, seeded

Answer = Callable[..., Any]
Row = Mapping[str, Any]

# A batch in pieces --------------------------------------------------------------------


def set_weights(network: nn.Module, seed: int) -> None:
    """Draw all weights of a network anew, without touching torch's own seed.

    To set that takes longer than all the rest of a small network's copy.

    Args:
        network: changed in place.
        seed: of its weights.
    """
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(drawn / parameter[0].numel() ** 0.5)


class Watched(nn.Module):
    """A small network that notes how many images it sees, and when gradients pass it.

    Without BatchNorm: its statistics would come from each piece alone, and no sum of
    gradients would be that of the whole batch.

    Args:
        seed: of its weights.
        classes: how many it tells apart.
        old: whether each copy starts with gradients that are left from before.
    """

    def __init__(self, seed: int, classes: int, old: bool) -> None:
        super().__init__()
        self.made_of = (seed, classes, old)
        self.seen: list[int] = []
        self.graphs, self.most_graphs = 0, 0
        with torch.random.fork_rng(devices=[]):
            self.hidden = nn.Linear(12, 5)
            self.head = nn.Linear(5, classes)
        set_weights(self, seed)
        if old:
            for parameter in self.parameters():
                parameter.grad = torch.ones_like(parameter)

    def __deepcopy__(self, memo: dict[int, Any]) -> Watched:
        # A plain copy of a parameter has no gradient.
        return Watched(*self.made_of)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, classes) logits for (N, 3, 2, 2) images."""
        self.seen.append(len(images))
        logits = self.head(torch.tanh(self.hidden(images.flatten(1))))
        if logits.requires_grad:
            self.graphs += 1
            self.most_graphs = max(self.most_graphs, self.graphs)
            logits.register_hook(self._passed)
        return logits

    def _passed(self, _: Tensor) -> None:
        self.graphs -= 1


def gradient_and_pieces(
    result: Any, network: Watched, images: Tensor, labels: Tensor, most: int
) -> dict[str, Any]:
    """Say what an answer returned and left, and what the network had to hold."""
    left = [parameter.grad for parameter in network.parameters()]
    gradient: Any = "none"
    if any(one is not None for one in left):
        pairs = zip(left, network.parameters(), strict=True)
        filled = [torch.zeros_like(p) if one is None else one for one, p in pairs]
        gradient = torch.cat([one.flatten() for one in filled])
    largest = max(network.seen, default=0)
    fits = largest <= most
    # Of what never goes backward no graph is in the way of another one.
    kept = network.most_graphs > 1 and not isinstance(gradient, str)
    return {
        "images at once": "as many as fit" if fits else f"{largest} of at most {most}",
        "graphs at once": "several" if kept else "one",
        "gradient": gradient,
        "loss": result,
    }


def _mean(part: Tensor, *_: int) -> Tensor:
    return part.mean()


def _rightly(part: Tensor, count: int, *_: int) -> Tensor:
    return part.sum() / count


def _in_pieces(
    share: Callable[..., Tensor] = _rightly,
    told: Callable[[list[Tensor], list[int]], Tensor] | None = None,
    clear: str = "once",
    drop: bool = False,
    backward: bool = True,
) -> Answer:
    """Return an answer that gets one thing wrong.

    Args:
        share: from the losses of a piece, the number of images, of pieces and the most
            a piece may have, to what goes backward.
        told: from the shares and the sizes of the pieces to what is returned.
        clear: "once", "always" or "never".
        drop: whether a smaller last piece is left out.
        backward: whether anything goes backward.
    """

    def answer(network: nn.Module, images: Tensor, labels: Tensor, most: int) -> Any:
        if clear == "once":
            network.zero_grad()
        pairs = list(zip(images.split(most), labels.split(most), strict=True))
        if drop and len(pairs[-1][0]) < most:
            pairs.pop()
        shares = []
        for seen, wanted in pairs:
            if clear == "always":
                network.zero_grad()
            part = F.cross_entropy(network(seen), wanted, reduction="none")
            one = share(part, len(images), len(pairs), most)
            if backward:
                one.backward()
            shares.append(one.detach())
        if told is None:
            return sum(shares, torch.zeros(()))
        return told(shares, [len(seen) for seen, _ in pairs])

    return answer


def _at_once(network: nn.Module, images: Tensor, labels: Tensor, most: int) -> Tensor:
    network.zero_grad()
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    return loss.detach()


def _pieces_counted(
    network: nn.Module, images: Tensor, labels: Tensor, most: int
) -> Tensor:
    return _in_pieces()(network, images, labels, -(-len(images) // most))


def _graphs_kept(
    network: nn.Module, images: Tensor, labels: Tensor, most: int
) -> Tensor:
    network.zero_grad()
    parts = [
        F.cross_entropy(network(seen), wanted, reduction="sum")
        for seen, wanted in zip(images.split(most), labels.split(most), strict=True)
    ]
    loss = sum(parts, torch.zeros(())) / len(images)
    loss.backward()
    return loss.detach()


def _last(shares: list[Tensor], _: list[int]) -> Tensor:
    return shares[-1]


def _averaged(shares: list[Tensor], sizes: list[int]) -> Tensor:
    count = sum(sizes)
    pairs = zip(shares, sizes, strict=True)
    return sum((one * count / size for one, size in pairs), torch.zeros(())) / len(
        shares
    )


ACCUMULATED = (
    Mistake(
        _in_pieces(lambda part, count, pieces, most: part.mean() / pieces),
        "Each piece counts the same, so that the images of a smaller last one count "
        "more: sum over the images of a piece, and divide by those of the batch.",
        "mean of the pieces' means",
    ),
    Mistake(
        _in_pieces(lambda part, count, pieces, most: part.sum() / (pieces * most)),
        "You divided by what full pieces would hold: the batch has len(images).",
        "a smaller last piece counted as a full one",
    ),
    Mistake(
        _in_pieces(_mean),
        "That is the sum of the pieces' means, and too long by about as many times as "
        "there are pieces: each image counts 1/N, with N those of the batch.",
        "means added and not divided",
    ),
    Mistake(
        _in_pieces(lambda part, *_: part.sum()),
        "That is the gradient of a sum over the images: divide each piece's sum by "
        "len(images).",
        "summed instead of averaged",
    ),
    Mistake(
        _in_pieces(clear="always"),
        "The gradients were cleared for each piece, so that the last one's is left: "
        "clear them once, before the loop.",
        "gradient of the last piece alone",
    ),
    Mistake(
        _in_pieces(clear="never"),
        "What was in .grad before is still in it, and backward adds: clear it first.",
        "old gradients kept",
    ),
    Mistake(
        _in_pieces(drop=True),
        "Images at the end were left out: the last piece may be smaller, and counts.",
        "a smaller last piece dropped",
    ),
    Mistake(
        _graphs_kept,
        "The numbers are right, and all pieces were in memory together: a graph is "
        "kept until its backward, so call backward on each piece before the next.",
        "one backward at the end",
    ),
    Mistake(
        _pieces_counted,
        "`most` is how many images a piece may have, and not how many pieces there "
        "are: images.split(most), not images.chunk(most).",
        "most taken for the number of pieces",
    ),
    Mistake(
        _at_once,
        "The network saw the whole batch at once, which is what does not fit.",
        "the whole batch at once",
    ),
    Mistake(
        _in_pieces(backward=False),
        "Nothing went backward: call backward on each piece's share of the loss.",
        "no gradient left",
    ),
    Mistake(
        _in_pieces(told=_last),
        "The gradient is right, and the loss is that of the last piece: add them up.",
        "loss of the last piece returned",
    ),
    Mistake(
        _in_pieces(told=_averaged),
        "The gradient is right, and the loss is the mean of the pieces' means: add up "
        "the shares that went backward.",
        "mean of the pieces' losses returned",
    ),
)

# A batch size from a curve ------------------------------------------------------------


def _fits(row: Row, limit_mb: float) -> bool:
    return row["mb"] is not None and row["mb"] <= limit_mb


def _strictly(row: Row, limit_mb: float) -> bool:
    return row["mb"] is not None and row["mb"] < limit_mb


def _runs(row: Row, _: float) -> bool:
    return row["mb"] is not None


def _none_is_zero(row: Row, limit_mb: float) -> bool:
    return (row["mb"] or 0) <= limit_mb


def _speed(row: Row) -> float:
    return row["images_a_second"] or 0


def _enough(row: Row, best: float, share: float) -> bool:
    return bool(_speed(row) >= share * best)


def _smallest(rows: Sequence[Row]) -> Any:
    return min(row["batch"] for row in rows)


def _chosen(
    fits: Callable[[Row, float], bool] = _fits,
    best: Callable[[Sequence[Row], Sequence[Row]], float] = lambda kept, every: max(
        map(_speed, kept)
    ),
    enough: Callable[[Row, float, float], bool] = _enough,
    end: Callable[[Sequence[Row]], Any] = _smallest,
) -> Answer:
    """Return an answer by its four steps: what fits, the best, what will do, one."""

    def answer(rows: Sequence[Row], limit_mb: float, share: float) -> Any:
        kept = [row for row in rows if fits(row, limit_mb)]
        if not kept:
            return 0
        top = best(kept, rows)
        left = [row for row in kept if enough(row, top, share)]
        return end(left) if left else 0

    return answer


def _none_compared(rows: Sequence[Row], limit_mb: float, share: float) -> Any:
    kept = [row for row in rows if row["mb"] <= limit_mb]
    return _chosen()(kept, limit_mb, share)


def _none_left(rows: Sequence[Row], limit_mb: float, share: float) -> Any:
    kept = [row for row in rows if _fits(row, limit_mb)]
    return _chosen()(kept, limit_mb, share) if kept else max(())


def _share_of_the_rest(row: Row, best: float, share: float) -> bool:
    return bool(_speed(row) >= (1 - share) * best)


CHOOSE_BATCH = (
    Mistake(
        _chosen(enough=lambda *_: True, end=lambda rows: max(r["batch"] for r in rows)),
        "That is the largest that fits, and it need not even be fast: take the "
        "smallest that reaches the share.",
        "the largest that fits",
    ),
    Mistake(
        _chosen(
            enough=lambda *_: True, end=lambda rows: max(rows, key=_speed)["batch"]
        ),
        "That is the fastest that fits: a smaller one that is nearly as fast leaves "
        "room, and more steps in an epoch.",
        "the fastest that fits",
    ),
    Mistake(
        _chosen(end=lambda rows: max(row["batch"] for row in rows)),
        "Of those that reach the share you took the largest: take the smallest.",
        "the largest that reaches the share",
    ),
    Mistake(
        _chosen(best=lambda kept, every: max(map(_speed, every))),
        "The share is one of the best among those that fit: a batch that does not fit "
        "sets no standard.",
        "the best over all, fitting or not",
    ),
    Mistake(
        _chosen(fits=_runs),
        "It takes more than limit_mb: that a batch ran when it was measured does not "
        "mean that it fits here.",
        "the limit not asked",
    ),
    Mistake(
        _chosen(enough=lambda *_: True),
        "That is the smallest of all that fit: it has to reach the share of the best "
        "throughput, too.",
        "the smallest, however slow",
    ),
    Mistake(
        _chosen(fits=_strictly),
        "A batch that takes just limit_mb fits: use <=.",
        "just the limit refused",
    ),
    Mistake(
        _chosen(enough=lambda row, best, share: _speed(row) > share * best),
        "A batch that has just the share reaches it: use >=.",
        "just the share refused",
    ),
    Mistake(
        _chosen(end=lambda rows: rows[0]["batch"]),
        "You took the first row that will do, and the rows come in any order: take "
        "the smallest batch of all that will.",
        "the first row that will do",
    ),
    Mistake(
        _chosen(best=lambda kept, every: _speed(max(kept, key=lambda r: r["batch"]))),
        "You took the throughput of the largest batch for the best: it may have "
        "fallen again by then.",
        "the largest taken for the best",
    ),
    Mistake(
        _chosen(best=lambda kept, every: _speed(kept[-1])),
        "You took the last row for the best: the rows come in any order, so look for "
        "the highest throughput.",
        "the last row taken for the best",
    ),
    Mistake(
        _chosen(enough=_share_of_the_rest),
        "`share` is what must be reached, and not what may be lost.",
        "share taken for what may be lost",
    ),
    Mistake(
        _none_compared,
        "Where the memory ran out, mb is None, which no number can be compared with: "
        "ask for it first.",
        "None compared with a number",
    ),
    Mistake(
        _none_left,
        "Where no batch fits there is no best to be found: return 0.",
        "none fits, and that not expected",
    ),
    Mistake(
        _chosen(fits=_none_is_zero),
        "None was taken for 0 MB: a batch that ran out of memory fits nowhere.",
        "None taken for zero",
    ),
    Mistake(
        _chosen(end=lambda rows: dict(min(rows, key=lambda row: row["batch"]))),
        'That is the whole row: return what it has under "batch".',
        "the row instead of its batch",
    ),
)

# A profile ----------------------------------------------------------------------------


def _end(event: Row) -> float:
    return event["start"] + event["length"]


def _within(inner: Row, outer: Row) -> bool:
    """Say whether an event lies in another one of the same thread."""
    if inner is outer or inner["thread"] != outer["thread"]:
        return False
    return bool(outer["start"] <= inner["start"] and _end(inner) <= _end(outer))


def _parents(events: Sequence[Row], event: Row) -> list[Row]:
    """Return all events around one, the innermost first."""
    around = [other for other in events if _within(event, other)]
    return sorted(around, key=lambda other: other["length"])


def _added(events: Sequence[Row], own: Callable[[Row], float]) -> dict[str, float]:
    busy: dict[str, float] = {}
    for event in events:
        busy[event["name"]] = busy.get(event["name"], 0) + own(event)
    return busy


def _children(events: Sequence[Row], event: Row) -> list[Row]:
    return [one for one in events if _parents(events, one)[:1] == [event]]


def _by(own: Callable[[Row, Sequence[Row]], float]) -> Answer:
    """Return an answer by what an event keeps for itself, given all events."""
    return lambda events: _added(events, lambda event: own(event, events))


def _own(event: Row, events: Sequence[Row]) -> float:
    called = _children(events, event)
    return event["length"] - sum(one["length"] for one in called)


def _less_all(event: Row, events: Sequence[Row]) -> float:
    inside = [one for one in events if _within(one, event)]
    return event["length"] - sum(one["length"] for one in inside)


def _less_the_first(event: Row, events: Sequence[Row]) -> float:
    called = sorted(_children(events, event), key=lambda one: one["start"])
    return event["length"] - sum(one["length"] for one in called[:1])


def _less_others(event: Row, events: Sequence[Row]) -> float:
    called = [one for one in _children(events, event) if one["name"] != event["name"]]
    return event["length"] - sum(one["length"] for one in called)


def _outermost(event: Row, events: Sequence[Row]) -> float:
    inside = [one for one in events if _within(one, event)]
    outer = not _parents(events, event)
    return event["length"] - (sum(one["length"] for one in inside) if outer else 0)


def _unless_zero(events: Sequence[Row]) -> dict[str, float]:
    return {name: time for name, time in _by(_own)(events).items() if time}


def _overwritten(events: Sequence[Row]) -> dict[str, float]:
    return {event["name"]: _own(event, events) for event in events}


def _one_thread(events: Sequence[Row]) -> dict[str, float]:
    return _stacked([{**event, "thread": 0} for event in events], _by_start)


def _by_start(events: Sequence[Row]) -> Sequence[Row]:
    return sorted(events, key=lambda event: (event["start"], -event["length"]))


def _by_start_alone(events: Sequence[Row]) -> Sequence[Row]:
    return sorted(events, key=lambda event: event["start"])


def _stacked(
    events: Sequence[Row],
    order: Callable[[Sequence[Row]], Sequence[Row]],
    over: Callable[[Row, Row], bool] = lambda last, event: _end(last) <= event["start"],
) -> dict[str, float]:
    """Subtract from what is on top of a stack, once what is over was taken off."""
    busy: dict[str, float] = {}
    running: dict[Any, list[Row]] = {}
    for event in order(events):
        busy[event["name"]] = busy.get(event["name"], 0) + event["length"]
        stack = running.setdefault(event["thread"], [])
        while stack and over(stack[-1], event):
            stack.pop()
        if stack:
            busy[stack[-1]["name"]] -= event["length"]
        stack.append(event)
    return busy


def _per_thread(events: Sequence[Row]) -> dict[Any, float]:
    busy: dict[Any, float] = {}
    for event in events:
        key = (event["thread"], event["name"])
        busy[key] = busy.get(key, 0) + _own(event, events)
    return busy


def _listed(events: Sequence[Row]) -> list[tuple[str, float]]:
    return [(event["name"], _own(event, events)) for event in events]


SELF_TIMES = (
    Mistake(
        _by(lambda event, _: event["length"]),
        "Those are total times: what an event called is in its length as well as in "
        "that of the call.",
        "total times",
    ),
    Mistake(
        _by(_less_all),
        "A call within a call was subtracted twice, from both around it: subtract each "
        "event from the innermost one around it alone.",
        "calls of calls subtracted too",
    ),
    Mistake(
        _by(_outermost),
        "All was subtracted from the outermost event: a call belongs to the innermost "
        "one around it.",
        "all subtracted from the outermost",
    ),
    Mistake(
        _by(_less_the_first),
        "An event may call several others: subtract them all.",
        "the first call alone subtracted",
    ),
    Mistake(
        _one_thread,
        "Threads run at the same time, and none of them called the other: keep a "
        "stack for each.",
        "threads mixed",
    ),
    Mistake(
        lambda events: _stacked(events, _by_start_alone),
        "Of two that start together the longer one is around the other: sort by "
        "(start, -length).",
        "equal starts in any order",
    ),
    Mistake(
        lambda events: _stacked(events, list),
        "The events come in any order: sort them by their start first.",
        "order trusted",
    ),
    Mistake(
        lambda events: _stacked(
            events, _by_start, lambda last, event: _end(last) < event["start"]
        ),
        "What ends where another one starts has not called it: take it off the stack.",
        "touching taken for nested",
    ),
    Mistake(
        lambda events: _stacked(
            events, _by_start, lambda last, event: last["length"] <= event["start"]
        ),
        "A length is no end: an event ends at start + length.",
        "length taken for the end",
    ),
    Mistake(
        _overwritten,
        "A name that comes twice lost what it had: add to it.",
        "a name overwritten",
    ),
    Mistake(
        _by(_less_others),
        "An event may call one of its own name: what counts is what lies within what, "
        "and not what it is called.",
        "calls of the same name not subtracted",
    ),
    Mistake(
        _unless_zero,
        "A name without a time of its own is left out: it is 0.",
        "names of no time left out",
    ),
    Mistake(
        _per_thread,
        "The threads of a name were kept apart: sum over them, by name.",
        "threads of a name kept apart",
    ),
    Mistake(
        _by(lambda *_: 1),
        "That is how often each was called: add up microseconds.",
        "calls counted",
    ),
    Mistake(
        _listed,
        "That is a list of events: return a dict with a sum for each name.",
        "a list instead of a dict",
    ),
)
