"""What must be true of figures, a loader and a step, however written (chapter 12)."""

from __future__ import annotations

import copy
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.exercises.base import Rule
from course.exercises.compare import difference
from course.exercises.gpu_lab_mistakes import set_weights

Holds = Callable[..., bool]


class Said(str):
    """Words that a message quotes as they are, without marks around them."""

    def __repr__(self) -> str:
        return str(self)


# Readings -----------------------------------------------------------------------------

NUMBER, DECISION, MASK, COPY = "number", "decision", "mask", "copy"
READS = {
    **dict.fromkeys(("item", "tolist", "__float__", "__int__", "__index__"), NUMBER),
    **dict.fromkeys(("__format__", "__repr__", "__round__"), NUMBER),
    **dict.fromkeys(("__bool__", "__contains__", "is_nonzero"), DECISION),
    **dict.fromkeys(("equal", "allclose"), DECISION),
    **dict.fromkeys(("nonzero", "argwhere", "masked_select"), MASK),
    **dict.fromkeys(("unique", "bincount"), MASK),
    **dict.fromkeys(("cpu", "numpy", "__array__"), COPY),
}
TWICE = 2  # readings that the whole epoch may take


def _kind(name: str, arguments: Sequence[Any]) -> str:
    """Say as what a call reads from the device, or nothing where it does not."""
    if name == "to":
        return COPY if "cpu" in arguments[1:] else ""
    if name == "where":
        return MASK if len(arguments) == 1 else ""
    if name == "__getitem__":
        places = arguments[1] if isinstance(arguments[1], tuple) else arguments[1:]
        return MASK if any(map(_is_mask, places)) else ""
    return READS.get(name, "")


def _is_mask(place: Any) -> bool:
    return isinstance(place, Tensor) and place.dtype == torch.bool


class _Read(Tensor):
    """A tensor that notes when its values are asked for; so do those made of it.

    On a CPU nobody waits for a reading; on a GPU each one waits for all before it.
    """

    readings: list[str]

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Note a reading and answer it plainly; leave all else as it is."""
        kind = _kind(getattr(func, "__name__", ""), args)
        if not kind:
            return super().__torch_function__(func, types, args, kwargs)
        cls.readings.append(kind)
        # Copies for the CPU are plain: to read those costs no more waiting.
        bare = kind in (NUMBER, COPY)
        plain = [_plainly(one) if bare else one for one in args]
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*plain, **(kwargs or {}))
        return found if bare else _noticed(found, cls)


def _plainly(value: Any) -> Any:
    return value.as_subclass(Tensor) if isinstance(value, _Read) else value


def _noticed(value: Any, kind: type[_Read]) -> Any:
    if isinstance(value, tuple):
        return tuple(_noticed(one, kind) for one in value)
    return value.as_subclass(kind) if isinstance(value, Tensor) else value


class Batches(list[tuple[Tensor, Tensor]]):
    """Batches of logits and labels; each copy of them counts its own readings."""

    readings: Sequence[str] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Batches:
        kind = type("Tensor", (_Read,), {"readings": []})
        copied = Batches()
        for batch in self:
            pair = [_plainly(tensor).clone().as_subclass(kind) for tensor in batch]
            copied.append((pair[0], pair[1]))
        copied.readings = kind.readings
        return copied

    def plain(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches as tensors that count nothing."""
        return ((_plainly(logits), _plainly(labels)) for logits, labels in self)


def figures_and_readings(result: Any, batches: Batches) -> dict[str, Any]:
    """Say what came back, and how often values were read before that."""
    readings = list(batches.readings)  # first, as to look at the figures reads as well
    figures = _plain_items(result)
    return {"figures": figures, "read back": readings}


def _plain_items(result: Any) -> Any:
    if isinstance(result, (tuple, list)):
        return tuple(_plainly(one) for one in result)
    return _plainly(result)


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, (str, bytes))


def _is_pair(value: Any, *_: Any) -> bool:
    figures = value["figures"]
    return (
        isinstance(figures, tuple)
        and len(figures) == 2
        and all(map(_is_number, figures))
    )


def _is_read(value: Any, *_: Any) -> bool:
    figures = value["figures"]
    return not any(
        isinstance(one, Tensor)
        for one in (figures if isinstance(figures, tuple) else (figures,))
    )


def _few(kind: str = "") -> Holds:
    """Return a rule: no more than two readings of a kind, or of all kinds together."""
    return lambda value, *_: _count(value, kind) <= TWICE


def _count(value: Any, kind: str = "") -> int:
    return sum(1 for one in value["read back"] if not kind or one == kind)


def _figures(batches: Batches) -> tuple[list[float], list[int], list[int]]:
    """Return summed losses, right answers and sizes of the batches."""
    losses, hits, sizes = [], [], []
    for logits, labels in batches.plain():
        losses.append(F.cross_entropy(logits, labels, reduction="sum").item())
        hits.append(int((logits.argmax(dim=1) == labels).sum()))
        sizes.append(len(labels))
    return losses, hits, sizes


def _truth(batches: Batches) -> tuple[float, float]:
    losses, hits, sizes = _figures(batches)
    return sum(losses) / sum(sizes), sum(hits) / sum(sizes)


def _mean_ratio(above: Sequence[float], below: Sequence[int]) -> float:
    return sum(a / b for a, b in zip(above, below, strict=True)) / len(above)


def _is_not(place: int, wrong: Callable[..., float]) -> Holds:
    """Return a rule: a figure is right, or not wrong in this way."""

    def holds(value: Any, batches: Batches) -> bool:
        found, right = value["figures"][place], _truth(batches)[place]
        other = float(wrong(*_figures(batches)))
        return not difference(found, right) or bool(difference(found, other))

    return holds


def _is_right(place: int) -> Holds:
    def holds(value: Any, batches: Batches) -> bool:
        return not difference(value["figures"][place], _truth(batches)[place])

    return holds


def _in_order(value: Any, batches: Batches) -> bool:
    right = _truth(batches)
    swapped = not difference(list(value["figures"]), list(right[::-1]))
    return not swapped or not difference(right[0], right[1])


def _figure(place: int) -> Callable[[Any], Any]:
    return lambda value: value["figures"][place]


def _pair(value: Any) -> Any:
    return value["figures"]


def _told(value: Any) -> Said:
    """Say how often values were read, and as what."""
    kinds = dict.fromkeys(value["read back"])
    each = ", ".join(f"{_count(value, kind)} for a {kind}" for kind in kinds)
    return Said(f"{_count(value)} readings ({each})")


AT_MOST = "at most 2 readings, however many batches"
EPOCH_FIGURES = (
    Rule(
        "no pair of numbers",
        _is_pair,
        "mean loss and accuracy, a pair of numbers",
        "Let it come to its end, and return both, the loss first.",
        _pair,
    ),
    Rule(
        "a number read in every batch",
        _few(NUMBER),
        AT_MOST,
        "A number for Python waits for all that the device still has to do: add up "
        "tensors, and read the sums once, after the loop.",
        _told,
    ),
    Rule(
        "a decision in every batch",
        _few(DECISION),
        AT_MOST,
        "`if` has to know a value before Python goes on, and so has max() of tensors: "
        "leave the decision out, or let torch make it, as torch.where and "
        "torch.maximum do.",
        _told,
    ),
    Rule(
        "a mask in every batch",
        _few(MASK),
        AT_MOST,
        "How much a mask picks is known only when its values are: to count, sum the "
        "mask itself.",
        _told,
    ),
    Rule(
        "a copy in every batch",
        _few(COPY),
        AT_MOST,
        "A copy to the CPU waits as .item() does: leave the values where they are "
        "until the loop is over.",
        _told,
    ),
    Rule(
        "read back more than twice",
        _few(),
        AT_MOST,
        "Each kind of reading is rare, and together they are not: read the two sums, "
        "after the loop, and nothing else.",
        _told,
    ),
    Rule(
        "left on the device",
        _is_read,
        "two Python floats",
        "Whoever gets tensors reads them, and waits, at a place that nobody sees: read "
        "the two sums here, once.",
        _pair,
    ),
    Rule(
        "loss and accuracy swapped",
        _in_order,
        "the loss first, then the accuracy",
        "Return the mean loss first.",
        _pair,
    ),
    Rule(
        "mean of the batches' losses",
        _is_not(0, lambda losses, hits, sizes: _mean_ratio(losses, sizes)),
        "the mean loss over all images",
        "The images of a smaller last batch counted more than the others: add up sums, "
        "and divide by the number of images.",
        _figure(0),
    ),
    Rule(
        "mean of the batches' accuracies",
        _is_not(1, lambda losses, hits, sizes: _mean_ratio(hits, sizes)),
        "the share of right answers among all images",
        "The images of a smaller last batch counted more than the others: count right "
        "answers, and divide by the number of images.",
        _figure(1),
    ),
    Rule(
        "loss not divided",
        _is_not(0, lambda losses, hits, sizes: sum(losses)),
        "the mean loss over all images",
        "That is the sum: divide it by the number of images.",
        _figure(0),
    ),
    Rule(
        "loss divided by the batches",
        _is_not(0, lambda losses, hits, sizes: sum(losses) / len(sizes)),
        "the mean loss over all images",
        "The sum over images was divided by the number of batches.",
        _figure(0),
    ),
    Rule(
        "right answers counted",
        _is_not(1, lambda losses, hits, sizes: sum(hits)),
        "the share of right answers among all images",
        "That is how many were right: divide by the number of images.",
        _figure(1),
    ),
    Rule(
        "loss of the last batch",
        _is_not(0, lambda losses, hits, sizes: losses[-1] / sizes[-1]),
        "the mean loss over all images",
        "The loss of each batch took the place of the one before it: add them up.",
        _figure(0),
    ),
    Rule(
        "accuracy of the last batch",
        _is_not(1, lambda losses, hits, sizes: hits[-1] / sizes[-1]),
        "the share of right answers among all images",
        "The count of each batch took the place of the one before it: add them up.",
        _figure(1),
    ),
    Rule(
        "another mean loss",
        _is_right(0),
        "the mean cross-entropy over all images",
        'Add up F.cross_entropy(logits, labels, reduction="sum") of all batches, and '
        "divide by the number of images.",
        _figure(0),
    ),
    Rule(
        "another accuracy",
        _is_right(1),
        "the share of right answers among all images",
        "An answer is right where logits.argmax(dim=1) is the label.",
        _figure(1),
    ),
)

# A loader that works ahead ------------------------------------------------------------

# Seconds. Only a wrong answer waits for PATIENCE; a moment shows that something which
# must not happen does not, and is waited for by a right one.
PATIENCE, MOMENT = 0.8, 0.05
NOTHING, TOO_LITTLE, TOO_MUCH = "nothing", "too little", "too much"
READER = "the reader of a check"
ENOUGH = 3  # items beyond the last, after which nobody reads on


class Patience:
    """What the cases of a check know of each other: whether one waited in vain."""

    def __init__(self) -> None:
        self.lost = False


class Loader:
    """Loads items, and notes when, in which thread, and how far ahead of its reader.

    Args:
        patience: shared by the cases of a check; no second one is waited for.
        count: how many items there are.
        broken: the place of an item that cannot be loaded, if any.
        empty: the place of an item that is None, if any.
        watched: whether to look how far ahead it gets, which takes a moment.
    """

    def __init__(
        self,
        patience: Patience,
        count: int,
        broken: int | None = None,
        empty: int | None = None,
        watched: bool = False,
    ) -> None:
        self.made_of = (patience, count, broken, empty, watched)
        self.patience, self.count, self.watched = patience, count, watched
        self.caller = threading.current_thread()  # it makes the copy, then calls
        self.broken, self.empty = broken, empty
        self.lock = threading.Lock()
        self.calls: list[int] = []
        self.threads: list[threading.Thread] = []
        self.busy, self.most_busy = 0, 0
        self.begun = [threading.Event() for _ in range(count)]
        self.first_read = threading.Event()
        self.first_late = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Loader:
        return Loader(*self.made_of)

    def __repr__(self) -> str:
        if self.broken is not None:
            return f"load, of which {self.broken} is broken"
        return "load" if self.empty is None else f"load, of which {self.empty} is None"

    def __call__(self, place: int) -> Any:
        """Return the item of a place.

        Raises:
            OSError: it is the broken one.
            IndexError: there is no such place.
        """
        with self.lock:
            self.calls.append(place)
            self.threads.append(threading.current_thread())
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        try:
            return self._item(place)
        finally:
            with self.lock:
                self.busy -= 1

    def _item(self, place: int) -> Any:
        if place not in range(self.count):
            raise IndexError(f"there is no item {place}")
        self.begun[place].set()
        if self.watched and place == 0:
            self.begun[1].wait(MOMENT)  # does another thread begin, meanwhile?
        if self.watched and place == self.count - 1 and not self.alone:
            self.first_late = not self.first_read.wait(PATIENCE)
        if place == self.broken:
            raise OSError(f"item {place} cannot be read")
        return self.wanted[place]

    @property
    def alone(self) -> bool:
        """Say whether all was loaded by whoever asked for it, in no other thread."""
        return all(
            one is self.caller or one.name == READER for one in list(self.threads)
        )

    @property
    def wanted(self) -> list[Any]:
        """The items in order."""
        return [None if n == self.empty else 10 * n for n in range(self.count)]


class _Reading:
    """Reads in a thread of its own, so that it may wait in vain and nobody else does.

    Args:
        items: what an answer returned.
        load: what it was given to load with.
        depth: how far ahead it should get.
    """

    def __init__(self, items: Any, load: Loader, depth: int) -> None:
        self.load, self.depth = load, depth
        self.got: list[Any] = []
        self.error: BaseException | None = None
        self.ahead = ""  # what is wrong with how far ahead it gets
        self.all_first, self.given_up = False, False
        self.looks, self.done = 0, threading.Event()
        work = threading.Thread(
            target=self._read, args=(items,), name=READER, daemon=True
        )
        work.start()

    def _read(self, items: Any) -> None:
        sys.settrace(self._traced)  # of this thread
        try:
            for item in items:
                self.got.append(item)
                if len(self.got) == 1:
                    self._look()
                if len(self.got) >= self.load.count + ENOUGH:
                    break
        except BaseException as error:
            self.error = error
        self.done.set()

    def _look(self) -> None:
        """With the first item in hand, see how far the loader gets by itself."""
        load, depth = self.load, self.depth
        known = len(load.calls)
        load.first_read.set()
        alone = load.alone and known == load.count > 1
        self.all_first = alone or load.first_late
        if load.broken is not None and self._begins(load.broken, MOMENT):
            time.sleep(MOMENT)  # an error that overtakes the items shall be there
        if not load.watched or load.alone:
            return
        if not self._begins(1, PATIENCE):
            self.ahead = NOTHING
        elif not self._begins(depth, PATIENCE):
            self.ahead = TOO_LITTLE
        elif self._begins(depth + 2, MOMENT):
            self.ahead = TOO_MUCH

    def _begins(self, place: int, seconds: float) -> bool:
        self.looks += 1
        return self.load.begun[place].wait(seconds)

    def ends(self) -> bool:
        """Wait until all is read; give up where nothing has happened for long."""
        before, since = -1, time.monotonic()
        while not self.done.wait(MOMENT):
            now = len(self.got) + len(self.load.calls) + self.looks
            if now != before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since > 1.5 * PATIENCE:
                self.given_up = True
                return False
        return True

    def _traced(self, *_: Any) -> Callable[..., Any]:
        """End what goes round in circles, once nobody waits for it any more."""
        if self.given_up:
            raise SystemExit
        return self._traced


def what_was_read(result: Any, load: Loader, *rest: int) -> dict[str, Any]:
    """Read what an answer returned, and say what came of it and how it was loaded."""
    if not hasattr(type(result), "__iter__"):
        return {"iterable": False}
    if load.patience.lost:
        return {}  # one case says it, and each more would take as long
    reading = _Reading(result, load, rest[1])
    ends = reading.ends()
    late = reading.all_first or reading.ahead in (NOTHING, TOO_LITTLE)
    load.patience.lost = late or not ends
    return {
        "iterable": True,
        "items": list(reading.got),
        "ends": ends,
        "error": reading.error,
        "calls": list(load.calls),
        "threads": len(set(load.threads)),
        "at once": load.most_busy,
        "alone": load.alone,
        "all first": reading.all_first,
        "ahead": reading.ahead,
    }


def _read(holds: Callable[[dict[str, Any], Loader], bool]) -> Holds:
    """Return a rule about what was read; where nothing could be, it has no say."""

    def rule(value: Any, load: Loader, *_: int) -> bool:
        return "items" not in value or bool(holds(value, load))

    return rule


def _same(value: Any, items: Sequence[Any]) -> bool:
    return not difference(value["items"], list(items))


def _expected(load: Loader) -> list[Any]:
    return load.wanted[: load.broken]


def _waits(value: Any, load: Loader) -> str:
    """Say for what a reader waits in vain; nothing where it does not."""
    if value["ends"]:
        return ""
    if load.broken is not None and len(value["items"]) == load.broken:
        return "an error"
    return "the end" if len(value["items"]) >= load.count else "an item"


def _not_waiting(what: str) -> Holds:
    return _read(lambda value, load: _waits(value, load) != what)


def _not_swallowed(value: Any, load: Loader) -> bool:
    quiet = load.broken is None or not value["ends"]
    handed = any(isinstance(item, BaseException) for item in value["items"])
    return quiet or handed or value["error"] is not None


def _its_own(value: Any, load: Loader) -> bool:
    error = value["error"]
    if load.broken is None or error is None:
        return True
    return isinstance(error, OSError) or isinstance(error.__cause__, OSError)


def _in_place(value: Any, load: Loader) -> bool:
    return value["error"] is None or len(value["items"]) >= len(_expected(load))


def _in_order(value: Any, load: Loader) -> bool:
    wanted = _expected(load)
    lost = sorted(map(repr, value["items"])) == sorted(map(repr, wanted))
    return not lost or _same(value, wanted)


def _not_short(value: Any, load: Loader) -> bool:
    short = load.broken is None and load.count > 1
    return not short or not _same(value, load.wanted[:-1])


def _none_goes_on(value: Any, load: Loader) -> bool:
    return load.empty is None or not _same(value, load.wanted[: load.empty])


def _not_ahead(what: str) -> Holds:
    return _read(lambda value, _: value["ahead"] != what)


def _stopped(value: Any) -> Said:
    return Said(f"{len(value['items'])} items, and a reader that waits for ever")


def _of(name: str) -> Callable[[Any], Any]:
    return lambda value: value[name]


PREFETCHED = (
    Rule(
        "nothing to read from",
        lambda value, *_: value.get("iterable", True),
        "an iterator over the items",
        "It returns at once, and its items come later: make it a generator that yields "
        "one after the other.",
        lambda _: Said("nothing to iterate over"),
    ),
    Rule(
        "all loaded before the first is read",
        _read(lambda value, _: not value["all first"]),
        "the first item as soon as it is there",
        "The reader had to wait for all items, which then lie in memory together: hand "
        "each one over when it is loaded.",
        lambda value: Said(
            f"{len(value['calls'])} items loaded before the first was read"
        ),
    ),
    Rule(
        "loaded in the reader's thread",
        _read(lambda value, _: not value["calls"] or not value["alone"]),
        "items loaded in a thread of their own",
        "While the reader works nothing is loaded, and while something is loaded the "
        "reader waits: start a threading.Thread that loads.",
        lambda _: Said("items loaded when they were asked for"),
    ),
    Rule(
        "several threads load",
        _read(lambda value, _: value["threads"] <= 1 and value["at once"] <= 1),
        "one thread that loads one item after the other",
        "With several the order is lost, and `load` may not bear it: one thread that "
        "works ahead is enough here.",
        lambda _: Said("several threads"),
    ),
    Rule(
        "the reader waits for ever after an error",
        _not_waiting("an error"),
        "the error of `load`, in place of the item",
        "An error ends the thread, and nobody tells the reader: catch it there, hand "
        "it over as you hand over items, and raise it where it is taken out.",
        _stopped,
    ),
    Rule(
        "the end is never said",
        _not_waiting("the end"),
        "an end after the last item",
        "All items were read, and the reader waits for one more: take `count` of them, "
        "or put something at the end that says so.",
        _stopped,
    ),
    Rule(
        "the reader waits for ever",
        _not_waiting("an item"),
        "all items",
        "The one waits for the other: is the thread started, and does everything that "
        "it loads get to the reader?",
        _stopped,
    ),
    Rule(
        "places counted from one",
        _read(lambda value, _: 0 in value["calls"] or not value["calls"]),
        "calls of load from 0 to count - 1",
        "The first place is 0, as range(count) has it.",
        _of("calls"),
    ),
    Rule(
        "loaded beyond the last",
        _read(lambda value, load: max(value["calls"], default=-1) < load.count),
        "calls of load from 0 to count - 1",
        "There is no item at `count`: range(count) ends before it.",
        _of("calls"),
    ),
    Rule(
        "an error swallowed",
        _read(_not_swallowed),
        "the error of `load` raised where its item would be",
        "The reader was never told, and takes what it has for all there is: hand the "
        "error over, and raise it there.",
        lambda value: Said(f"{len(value['items'])} items and no error"),
    ),
    Rule(
        "an error handed over as an item",
        _read(lambda v, _: not any(isinstance(i, BaseException) for i in v["items"])),
        "the error of `load` raised",
        "The reader would work with an exception as if it were an item: raise it.",
        _of("items"),
    ),
    Rule(
        "an error before its place",
        _read(_in_place),
        "the items before it first",
        "The thread is ahead of the reader, and so was its error: let it go through "
        "the queue behind the items that were loaded before it.",
        lambda value: Said(f"{len(value['items'])} items, then {value['error']!r}"),
    ),
    Rule(
        "another error than that of load",
        _read(_its_own),
        "the error that `load` raised",
        "Raise the very error that was caught, or one `from` it.",
        lambda value: repr(value["error"]),
    ),
    Rule(
        "an error though nothing is broken",
        _read(lambda value, load: load.broken is not None or value["error"] is None),
        "all items and no error",
        "Look where it comes from: a queue that is asked without waiting, or a place "
        "that does not exist.",
        lambda value: repr(value["error"]),
    ),
    Rule(
        "None taken for the end",
        _read(_none_goes_on),
        "all items, also after one that is None",
        "`load` may return None: count the items, or mark the end by an object of "
        "your own.",
        _of("items"),
    ),
    Rule(
        "the last item missing",
        _read(_not_short),
        "as many items as asked for",
        "One item is short: range(count) has its last place, and what marks the end "
        "must not take the place of an item.",
        _of("items"),
    ),
    Rule(
        "loaded twice",
        _read(lambda value, _: len(set(value["calls"])) == len(value["calls"])),
        "one call for each item",
        "Loading is what takes long: call `load` once for each place.",
        _of("calls"),
    ),
    Rule(
        "order lost",
        _read(_in_order),
        "the items in order",
        "A queue.Queue gives first what was put first; a stack or a list that is "
        "popped at its end does not.",
        _of("items"),
    ),
    Rule(
        "other items",
        _read(lambda value, load: _same(value, _expected(load))),
        "load(0), load(1), … up to the last, or to the first that is broken",
        "Hand over what `load` returned, all of it, and nothing else.",
        _of("items"),
    ),
    Rule(
        "nothing loaded while the reader works",
        _not_ahead(NOTHING),
        "the next item loading while the reader works on one",
        "The thread waits until it is asked: it should go on by itself until `depth` "
        "items wait.",
        lambda value: Said(f"{value['ahead']} loaded ahead"),
    ),
    Rule(
        "fewer ahead than depth",
        _not_ahead(TOO_LITTLE),
        "`depth` items loaded ahead while the reader works on one",
        "The thread stops too early: the queue should hold `depth` items besides the "
        "one that the reader has.",
        lambda value: Said(f"{value['ahead']} loaded ahead"),
    ),
    Rule(
        "more ahead than depth",
        _not_ahead(TOO_MUCH),
        "`depth` items at most that wait, and one in the thread's hand",
        "With a slow reader the memory fills up: give the queue a maxsize.",
        lambda value: Said(f"{value['ahead']} loaded ahead"),
    ),
)

# A step of one's own ------------------------------------------------------------------


class Learner(nn.Module):
    """A network with BatchNorm and with gradients that are left from before.

    Args:
        seed: of its weights.
        classes: how many it tells apart.
        rate: the learning rate of its optimiser.
    """

    def __init__(self, seed: int, classes: int, rate: float) -> None:
        super().__init__()
        self.made_of, self.rate = (seed, classes, rate), rate
        with torch.random.fork_rng(devices=[]):
            self.conv = nn.Conv2d(3, 6, 3, bias=False)
            self.norm = nn.BatchNorm2d(6)
            self.head = nn.Linear(6, classes)
        set_weights(self, seed)
        for parameter in self.parameters():
            parameter.grad = 0.3 * parameter.detach().flip(0)

    def __deepcopy__(self, memo: dict[int, Any]) -> Learner:
        # A plain copy of a parameter has no gradient; the optimiser's copy, which comes
        # after this one, has to find the new parameters.
        copied = Learner(*self.made_of)
        pairs = zip(self.parameters(), copied.parameters(), strict=True)
        memo.update({id(one): other for one, other in pairs})
        return copied

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, classes) logits for (N, 3, H, W) images."""
        return self.head(F.silu(self.norm(self.conv(images))).mean(dim=(2, 3)))


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([one.detach().float().flatten() for one in tensors])


def _weights(network: nn.Module) -> Tensor:
    return _flat(list(network.parameters()))


def _numbers(network: nn.Module) -> Tensor:
    """Return the moving means and variances of BatchNorm."""
    return _flat([one for one in network.buffers() if one.is_floating_point()])


def _descent(
    network: Learner,
    images: Tensor,
    labels: Tensor,
    loss: Callable[..., Tensor] = F.cross_entropy,
) -> tuple[float, Tensor]:
    """Make a plain step by hand, and return the loss and how the weights moved."""
    before = _weights(network)
    value = loss(network(images), labels)
    moves = torch.autograd.grad(value, list(network.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(network.parameters(), moves, strict=True):
            parameter -= network.rate * gradient
    return value.item(), _weights(network) - before


def _plain(network: Learner, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return what the plain step does from the same start, and what wrong ones do."""
    start = copy.deepcopy(network)
    left = [p.grad for p in start.parameters() if p.grad is not None]
    once = copy.deepcopy(network)
    loss, move = _descent(once, images, labels)
    numbers = _numbers(once)
    after, again = _descent(once, images, labels)
    _, softmax = _descent(start, images, labels, _of_softmax)
    return {
        "loss": loss,
        "move": move,
        "numbers": numbers - _numbers(copy.deepcopy(network)),
        "loss after": after,
        "old": -start.rate * _flat(left),
        "twice": move + again,
        "softmax": softmax,
    }


def _of_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.softmax(dim=1), labels)


def step_and_plain(
    result: Any, network: Learner, _: Any, images: Tensor, labels: Tensor
) -> dict[str, Any]:
    """Say what a step returned and did, beside what the plain one does."""
    start = copy.deepcopy(network)
    return {
        "loss": float(result) if _is_number(result) else None,
        "move": _weights(network) - _weights(start),
        "numbers": _numbers(network) - _numbers(start),
        "training": network.training and network.norm.training,
        "stuck": _stuck(start, network),
        "count": len(labels),
        "plain": _plain(network, images, labels),
    }


def _stuck(before: nn.Module, after: nn.Module) -> list[str]:
    """Return the names of the parameters that are what they were."""
    old = dict(before.named_parameters())
    return [name for name, p in after.named_parameters() if torch.equal(p, old[name])]


SAME_WAY, SAME_LENGTH = 0.99, 0.05  # what half precision may change


def _cosine(one: Tensor, other: Tensor) -> float:
    return F.cosine_similarity(one, other, dim=0).item()


def _ratio(value: Any) -> float:
    """Return how long the step is, in plain ones."""
    return float(value["move"].norm() / value["plain"]["move"].norm())


def _agrees(value: Any, name: str) -> bool:
    """Say whether the weights moved as they do in another step, up to rounding."""
    move, other = value["move"], value["plain"][name]
    gap = float((move - other).norm() / other.norm())
    return gap < SAME_LENGTH


def _like(name: str) -> Holds:
    """Return a rule: a move is the plain one, or not that of a known mistake."""
    return lambda value, *_: _agrees(value, "move") or not _agrees(value, name)


def _close(found: float, expected: float) -> bool:
    return abs(found - expected) <= SAME_LENGTH * abs(expected)


def _old_added(value: Any, *_: Any) -> bool:
    plain = value["plain"]
    both = plain["move"] + plain["old"]
    return float((value["move"] - both).norm() / both.norm()) >= SAME_LENGTH


def _not_summed(value: Any, *_: Any) -> bool:
    same_way = _cosine(value["move"], value["plain"]["move"]) >= SAME_WAY
    return not same_way or not _close(_ratio(value), value["count"])


def _not_later(value: Any, *_: Any) -> bool:
    before, after = value["plain"]["loss"], value["plain"]["loss after"]
    return _close(value["loss"], before) or not _close(value["loss"], after)


def _loss_not_summed(value: Any, *_: Any) -> bool:
    return not _close(value["loss"], value["plain"]["loss"] * value["count"])


def _seen(times: float) -> Holds:
    """Return a rule: BatchNorm's statistics did not move so many times as far."""

    def holds(value: Any, *_: Any) -> bool:
        far = float(value["numbers"].norm() / value["plain"]["numbers"].norm())
        return not _close(1 + far, 1 + times)

    return holds


def _numbers_agree(value: Any, *_: Any) -> bool:
    plain = value["plain"]["numbers"]
    return float((value["numbers"] - plain).norm() / plain.norm()) < SAME_LENGTH


def _way(value: Any) -> str:
    cosine = _cosine(value["move"], value["plain"]["move"])
    return Said(f"a cosine of {cosine:.3f} with the plain step")


def _length(value: Any) -> str:
    return Said(f"a step of {_ratio(value):.2f} times the plain length")


OWN_STEP = (
    Rule(
        "no loss returned",
        lambda value, *_: value["loss"] is not None,
        "the loss, a number or a tensor of one",
        "Clear the gradients, forward, loss, backward, step, in this order; then "
        "return loss.detach(), which whoever calls may read or not.",
        _of("loss"),
    ),
    Rule(
        "nothing moved",
        lambda value, *_: bool(value["move"].any()),
        "weights that have moved",
        "The optimiser moves them by the gradients that are there when its step is "
        "called: forward, backward, step, in this order.",
        lambda _: Said("weights that are what they were"),
    ),
    Rule(
        "moved along old gradients",
        _like("old"),
        "a step along the gradient of this batch",
        "The step was made before backward: it went along what was left in .grad.",
        _way,
    ),
    Rule(
        "old gradients added",
        _old_added,
        "a step along the gradient of this batch alone",
        "backward adds to what is in .grad, and something was: clear it before "
        "backward, not after the step.",
        _way,
    ),
    Rule(
        "uphill",
        lambda v, *_: _cosine(v["move"], v["plain"]["move"]) > -SAME_WAY,
        "a step that makes the loss smaller",
        "The weights moved against the plain step: is there a minus too many?",
        _way,
    ),
    Rule(
        "stepped twice",
        _like("twice"),
        "one step",
        "That is where two steps lead: one forward, one backward, one step.",
        _length,
    ),
    Rule(
        "loss summed instead of a mean",
        _not_summed,
        "the length of the plain step",
        "The step is as many times too long as there are images: F.cross_entropy takes "
        "the mean, unless it is told otherwise.",
        _length,
    ),
    Rule(
        "softmax before cross-entropy",
        _like("softmax"),
        "the direction of the plain step",
        "F.cross_entropy has its own softmax: hand over what the network returns.",
        _way,
    ),
    Rule(
        "left in eval mode",
        lambda value, *_: value["training"],
        "a network in training mode",
        "The next step would not train BatchNorm's statistics: leave the mode as it "
        "was, or set it back.",
        lambda _: Said("a network in eval mode"),
    ),
    Rule(
        "BatchNorm in eval mode",
        _seen(0),
        "BatchNorm's statistics moved by this batch, once",
        "The batch was seen in eval mode, with statistics that then stay as they were.",
        lambda _: Said("statistics that are what they were"),
    ),
    Rule(
        "some weights left out",
        lambda value, *_: not value["stuck"],
        "a step of all weights",
        "Those of these names have no gradient, or the optimiser skipped them: do not "
        "freeze anything, and do not detach features.",
        _of("stuck"),
    ),
    Rule(
        "another direction",
        lambda value, *_: _cosine(value["move"], value["plain"]["move"]) >= SAME_WAY,
        "0.99 or more",
        "The gradient is that of something else: of other images, of another loss, or "
        "of a network that was changed.",
        _way,
    ),
    Rule(
        "another length",
        lambda value, *_: _close(_ratio(value), 1),
        "1 ± 0.05",
        "The direction is right: look for a factor on the loss, for a clipped "
        "gradient, or for an optimiser of your own.",
        _length,
    ),
    Rule(
        "images seen more than once",
        _numbers_agree,
        "BatchNorm's statistics moved by this batch, once",
        "Each forward pass in training mode moves BatchNorm's statistics: the images "
        "went through more than once, or in pieces.",
        lambda _: Said("statistics that moved otherwise"),
    ),
    Rule(
        "sum of the losses returned",
        _loss_not_summed,
        "the mean loss",
        "Return the mean over the images, as the plain step does.",
        _of("loss"),
    ),
    Rule(
        "loss after the step returned",
        _not_later,
        "the loss before the step",
        "It costs a second forward pass, and every curve shows the loss before.",
        _of("loss"),
    ),
    Rule(
        "another loss returned",
        lambda value, *_: _close(value["loss"], value["plain"]["loss"]),
        "the mean loss of this batch, ± 5 %",
        "Return the mean cross-entropy that went backward.",
        _of("loss"),
    ),
)
