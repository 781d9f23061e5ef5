"""What an exercise is, and how an answer is checked without ever stopping the page."""

from __future__ import annotations

import ast
import contextlib
import copy
import html
import inspect
import io
import textwrap
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from IPython.display import display
from torch import nn

TOLERANCE = 1e-4
SHOWN = 160  # characters of a value that a message quotes
UNTOUCHED = (type(None), type(Ellipsis))


class Failed(Exception):
    """An answer is not right; the message is for the reader."""


@dataclass(frozen=True)
class Case:
    """Arguments to try an answer on.

    Args:
        arguments: passed by position; each call gets its own copy.
        shown: the call as the reader would write it.
    """

    arguments: tuple[Any, ...]
    shown: str


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that readers often give.

    Args:
        answer: a function that makes the mistake.
        cause: what went wrong and what to look at, in one sentence.
    """

    answer: Callable[..., Any]
    cause: str


@dataclass(frozen=True)
class Verdict:
    """What became of an answer: "passed", "failed" or "not started"."""

    status: str
    message: str


NOT_STARTED = Verdict("not started", "The chapter goes on with the reference answer.")


@dataclass(frozen=True)
class Exercise:
    """One exercise: its cases, its hints, and an answer that is known to be right.

    Args:
        name: what the reader's function is called.
        title: what is asked, in a few words.
        minutes: how long it takes.
        difficulty: "easy", "medium" or "hard".
        trains: what the reader learns by it.
        hints: three steps, from a nudge to nearly the answer.
        reference: a right answer, written to be read.
        cases: makes the cases; the same ones every time.
        mistakes: wrong answers that are recognised by what they return.
        observe: from what came back and the arguments, as the answer left them, to
            what is compared; left out, that is what came back.
    """

    name: str
    title: str
    minutes: int
    difficulty: str
    trains: str
    hints: tuple[str, ...]
    reference: Callable[..., Any]
    cases: Callable[[], Sequence[Case]]
    mistakes: tuple[Mistake, ...]
    observe: Callable[..., Any] | None = None

    def check(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        """Try an answer, show the verdict, and return a function that works.

        Returns:
            The reader's answer where it passes, the reference otherwise, so that the
            chapter goes on either way.
        """
        verdict = self.judge(answer)
        _record(self, verdict)
        text, page = _as_text(self, verdict), _as_page(self, verdict)
        display({"text/html": page, "text/plain": text}, raw=True)
        return answer if verdict.status == "passed" else self.reference

    @property
    def verdict(self) -> Verdict:
        """What the last check in this kernel said; "not started" before the first."""
        return _verdicts.get(self, NOT_STARTED)

    @property
    def about(self) -> str:
        """How hard it is, how long it takes and what it is good for."""
        return f"{self.difficulty} · {self.minutes} minutes · trains {self.trains}"

    @property
    def source(self) -> str:
        """The reference answer as it is written."""
        return textwrap.dedent(inspect.getsource(self.reference))

    def judge(self, answer: Callable[..., Any]) -> Verdict:
        """Try an answer on every case; nothing that it does gets out of here."""
        if is_stub(answer):
            return NOT_STARTED
        if not callable(answer):
            kind = type(answer).__name__
            text = f"`{self.name}` should be a function and is a {kind}."
            return Verdict("failed", text)
        empty = 0
        cases = self.cases()
        for case in cases:
            try:
                empty += self._try(answer, case)
            except NotImplementedError:
                return NOT_STARTED
            except Failed as failure:
                return Verdict("failed", str(failure))
            except Exception as error:  # a value that cannot even be looked at
                text = (
                    f"{case.shown}: found a value that raises {type(error).__name__}."
                )
                return Verdict("failed", text)
        if empty == len(cases):
            return NOT_STARTED
        if empty:
            return Verdict("failed", f"`{self.name}` sometimes returns None.")
        count = f"{len(cases)} cases"
        return Verdict(
            "passed", f"Right in all {count}. The chapter uses your version."
        )

    def _try(self, answer: Callable[..., Any], case: Case) -> bool:
        """Check one case; True where nothing came back at all."""
        expected = self._outcome(self.reference, case)
        found = _guarded(lambda: self._outcome(answer, case), case.shown)
        if isinstance(found, UNTOUCHED):
            return True
        problem = difference(found, expected)
        if problem:
            cause = self._cause(found, case)
            raise Failed(f"{case.shown}: {problem}.{cause}")
        return False

    def _outcome(self, function: Callable[..., Any], case: Case) -> Any:
        """Call a function on its own copy of a case and observe what it did."""
        arguments = copy.deepcopy(case.arguments)
        result = function(*arguments)
        if self.observe is None or isinstance(result, UNTOUCHED):
            return result
        return self.observe(result, *arguments)

    def _cause(self, found: Any, case: Case) -> str:
        for mistake in self.mistakes:
            with contextlib.suppress(Exception):
                wrong = self._outcome(mistake.answer, case)
                if not difference(found, wrong):
                    return f" {mistake.cause}"
        return ""


_verdicts: dict[Exercise, Verdict] = {}
# Weak, so that a panel that was replaced is not kept for the sake of being told.
_listeners: list[weakref.WeakMethod[Callable[[], None]]] = []


def on_check(listener: Callable[[], None]) -> None:
    """Call a method after each check, for as long as its object lives.

    Args:
        listener: a bound method; what it raises it has to deal with itself.
    """
    _listeners.append(weakref.WeakMethod(listener))


def _record(exercise: Exercise, verdict: Verdict) -> None:
    _verdicts[exercise] = verdict
    _listeners[:] = [reference for reference in _listeners if reference() is not None]
    for reference in list(_listeners):
        listener = reference()
        if listener is not None:
            listener()


def is_stub(answer: Any) -> bool:
    """Say whether a function has no body yet.

    No body is a docstring, `...`, `pass`, or raising NotImplementedError.
    """
    if isinstance(answer, UNTOUCHED):
        return True
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(answer)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return False  # no source at hand: calling it will tell
    function = tree.body[0] if tree.body else None
    if not isinstance(function, ast.FunctionDef):
        return False
    return all(_is_nothing(statement) for statement in function.body)


def _is_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Pass):
        return True
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Return):
        value = statement.value
        return value is None or (
            isinstance(value, ast.Constant) and isinstance(value.value, UNTOUCHED)
        )
    raised = ast.unparse(statement) if isinstance(statement, ast.Raise) else ""
    return raised.startswith("raise NotImplementedError")


def _guarded(call: Callable[[], Any], shown: str) -> Any:
    """Call an answer, keeping its prints and its errors to ourselves."""
    silent = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(silent),
            contextlib.redirect_stderr(silent),
            warnings.catch_warnings(action="ignore"),
        ):
            return call()
    except NotImplementedError:
        raise
    except KeyboardInterrupt:
        raise Failed(f"{shown}: it was interrupted; does a loop end?") from None
    except BaseException as error:  # SystemExit too: an answer must not end the page
        kind = type(error).__name__
        reason = f"{kind}: {_text_of(error)}" if _text_of(error) else kind
        raise Failed(f"{shown}: it raised {reason}.") from None


def _text_of(value: Any) -> str:
    try:
        lines = str(value).strip().splitlines()
    except Exception:
        return ""
    return _short(lines[0]) if lines else ""


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def quoted(value: Any) -> str:
    """Write a value as a message shows it: rounded, on one line, not too long."""
    if isinstance(value, torch.Tensor) and value.numel() == 1 and value.ndim == 0:
        value = value.item()
    if isinstance(value, torch.Tensor):
        listed = value.detach().flatten()[:6].tolist()
        dots = ", …" if value.numel() > 6 else ""
        numbers = ", ".join(quoted(number) for number in listed)
        return _short(f"a tensor {tuple(value.shape)} of [{numbers}{dots}]")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)) and len(value) <= 20:
        inner = ", ".join(quoted(item) for item in value)
        return _short(f"[{inner}]" if isinstance(value, list) else f"({inner})")
    try:
        return _short(" ".join(repr(value).split()))
    except Exception:
        return f"a {type(value).__name__}"


def difference(found: Any, expected: Any) -> str:
    """Say how two values differ, or nothing where they agree up to rounding.

    Tensors, arrays and numbers are compared by value; lists and tuples item by item.
    """
    try:
        return _difference(found, expected)
    except Exception as error:
        kind = type(error).__name__
        return f"found something that cannot be compared ({kind}): {quoted(found)}"


def _difference(found: Any, expected: Any) -> str:
    if isinstance(expected, (torch.Tensor, float)):
        return _numbers_differ(found, expected)
    if isinstance(expected, (list, tuple)):
        return _items_differ(found, expected)
    if isinstance(expected, Mapping):
        return _entries_differ(found, expected)
    if isinstance(expected, (set, frozenset)) and isinstance(found, (list, tuple)):
        found = set(found)
    if isinstance(found, (torch.Tensor, np.generic)):
        found = found.item()
    return "" if found == expected else _both(found, expected)


def _both(found: Any, expected: Any) -> str:
    return f"found {quoted(found)}, expected {quoted(expected)}"


def _numbers_differ(found: Any, expected: Any) -> str:
    right = torch.as_tensor(expected).detach()
    numeric = (torch.Tensor, np.ndarray, np.generic, float, int, list, tuple)
    if not isinstance(found, numeric):
        kind = type(found).__name__
        return f"found a {kind} ({quoted(found)}), expected {quoted(expected)}"
    values = torch.as_tensor(found).detach().cpu()
    if values.shape != right.shape:
        return f"found shape {tuple(values.shape)}, expected shape {tuple(right.shape)}"
    values, right = values.double(), right.double()
    if not torch.isfinite(values).all() and torch.isfinite(right).all():
        return f"found values that are not finite: {quoted(found)}"
    close = torch.allclose(
        values, right, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
    )
    return "" if close else _both(found, expected)


def _items_differ(found: Any, expected: Sequence[Any]) -> str:
    if isinstance(found, (torch.Tensor, np.ndarray)):
        found = found.tolist()
    if not isinstance(found, (list, tuple)):
        return f"found a {type(found).__name__}, expected {quoted(expected)}"
    if len(found) != len(expected):
        return (
            f"found {len(found)} items, expected {len(expected)}: "
            f"{quoted(found)} against {quoted(expected)}"
        )
    pairs = zip(found, expected, strict=True)
    for place, (one, other) in enumerate(pairs):
        problem = _difference(one, other)
        if problem:
            return f"item {place}: {problem}"
    return ""


def _entries_differ(found: Any, expected: Mapping[Any, Any]) -> str:
    if not isinstance(found, Mapping):
        return f"found a {type(found).__name__}, expected a dict"
    if set(found) != set(expected):
        return (
            f"found the keys {quoted(list(found))}, expected {quoted(list(expected))}"
        )
    for key, value in expected.items():
        problem = _difference(found[key], value)
        if problem:
            return f"{key!r}: {problem}"
    return ""


SIGNS = {"passed": "✓", "failed": "✗", "not started": "○"}


def _as_text(exercise: Exercise, verdict: Verdict) -> str:
    sign = SIGNS[verdict.status]
    return f"{sign} {exercise.title}: {verdict.status}. {verdict.message}"


def _as_page(exercise: Exercise, verdict: Verdict) -> str:
    sign, status = SIGNS[verdict.status], verdict.status
    about = f"{exercise.title} · {exercise.about}"
    folds = [
        _folded(f"Hint {place}", f"<p>{html.escape(hint)}</p>")
        for place, hint in enumerate(exercise.hints, start=1)
    ]
    source = html.escape(exercise.source)
    folds.append(_folded("Reference answer", f"<pre><code>{source}</code></pre>"))
    return (
        f'<div role="status"><p><b>{sign} {html.escape(status.capitalize())}</b> '
        f"({html.escape(about)})</p><p>{html.escape(verdict.message)}</p></div>"
        + "".join(folds)
    )


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>{body}</details>"


def seeded(seed: int) -> torch.Generator:
    """Return a random generator for cases, the same in every check."""
    return torch.Generator().manual_seed(seed)


def small_network() -> nn.Sequential:
    """Return a backbone with BatchNorm and a head, small enough for a check."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential()
        network.add_module("conv1", nn.Conv2d(3, 4, 3, bias=False))
        network.add_module("bn1", nn.BatchNorm2d(4))
        network.add_module(
            "layer1", nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        )
        network.add_module("fc", nn.Linear(4, 2))
    return network
