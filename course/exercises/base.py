"""What an exercise is, and how an answer is checked without ever stopping the page."""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
import types
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from IPython.display import display
from torch import nn

from course import progress
from course.exercises import trial
from course.exercises.compare import quoted
from course.exercises.page import as_page, as_text
from course.exercises.trial import is_nothing

DRAWN = 20  # random cases of a check
KINDS = (
    "write a function",
    "find the bug",
    "predict, then run",
    "design an experiment",
    "choose and defend",
)


@dataclass(frozen=True)
class Case:
    """Arguments to try an answer on.

    Args:
        arguments: passed by position; each call gets its own copy.
        shown: the call as the reader would write it.
        part: what of the exercise it tries, such as "ties"; credit is given by parts.
    """

    arguments: tuple[Any, ...]
    shown: str
    part: str = "the plain case"

    @classmethod
    def of(cls, name: str, *arguments: Any, part: str = "the plain case") -> Case:
        """Make a case that shows itself as `name(…)`."""
        inside = ", ".join(quoted(argument) for argument in arguments)
        return cls(arguments, f"{name}({inside})", part)


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that readers often give.

    Args:
        answer: a function that makes the mistake.
        cause: what went wrong and what to look at, in one sentence.
        name: what the mistake is called, in a few words.
    """

    answer: Callable[..., Any]
    cause: str
    name: str


def _itself(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Rule:
    """One thing that must be true of an answer, where many answers are right.

    Args:
        name: what the mistake is called where the rule is broken.
        holds: from what came back and the arguments, to whether it is kept.
        expected: what was expected, as the end of a sentence.
        cause: what usually went wrong and what to look at, in one sentence.
        look: the part of what came back that a message quotes.
    """

    name: str
    holds: Callable[..., bool]
    expected: str
    cause: str
    look: Callable[[Any], Any] = _itself


@dataclass(frozen=True)
class Verdict:
    """What became of an answer.

    Args:
        status: "passed", "failed" or "not started".
        message: for the reader, one to three sentences.
        score: between 0 and 1, the share of the parts that are right.
        mistake: the name of the mistake that was recognised.
        example: a counter-example as HTML.
    """

    status: str
    message: str
    score: float = 0.0
    mistake: str = ""
    example: str = ""


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
        reference: a right answer, written to be read, slow and plain.
        cases: makes cases thought of by hand; the same ones every time.
        mistakes: wrong answers that are recognised by what they return.
        observe: from what came back and the arguments, as the answer left them, to
            what is compared; left out, that is what came back.
        kind: one of KINDS.
        place: the section of the chapter that explains it.
        draw: makes a random case; the smallest one that fails is shown.
        given: what is handed out instead of an empty stub, such as a bug to find.
        rules: where many answers are right, what must be true of all of them; the
            reference is then one of them, and nothing is compared with it.
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
    kind: str = KINDS[0]
    place: str = ""
    draw: Callable[[torch.Generator], Case] | None = None
    given: Callable[..., Any] | None = None
    rules: tuple[Rule, ...] = ()

    def check(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        """Try an answer, show the verdict, and return a function that works.

        Returns:
            The reader's answer where it passes, the reference otherwise, so that the
            chapter goes on either way.
        """
        verdict = self.judge(answer)
        _record(self, verdict)
        text, page = as_text(self, verdict), as_page(self, verdict)
        display({"text/html": page, "text/plain": text}, raw=True)
        return answer if verdict.status == "passed" else self.reference

    @property
    def verdict(self) -> Verdict:
        """What the last check in this kernel said; "not started" before the first."""
        return _verdicts.get(self, NOT_STARTED)

    def points(self, most: float) -> float:
        """Return the points for the last check in this kernel, in part where due.

        Args:
            most: for an answer that is right in all its parts.
        """
        return round(self.verdict.score * most, 2)

    @property
    def chapter(self) -> str:
        """The module that holds the exercise, such as "fine_tuning"."""
        return self.reference.__module__.rpartition(".")[2]

    @property
    def about(self) -> str:
        """How hard it is, how long it takes and what it is good for."""
        return f"{self.difficulty} · {self.minutes} minutes · trains {self.trains}"

    @property
    def source(self) -> str:
        """The reference answer as it is written; "" where no source is at hand."""
        try:
            text = textwrap.dedent(inspect.getsource(self.reference))
        except (OSError, TypeError):
            return ""
        return text if f"def {self.reference.__name__}(" in text else ""

    def all_cases(self) -> list[Case]:
        """Return the cases made by hand and then the drawn ones, small ones first."""
        cases = list(self.cases())
        if self.draw is None:
            return cases
        generator = seeded(0)
        drawn = [self.draw(generator) for _ in range(DRAWN)]
        return cases + sorted(drawn, key=lambda case: _size(case.arguments))

    def judge(self, answer: Callable[..., Any]) -> Verdict:
        """Try an answer on every case; nothing that it does gets out of here."""
        if is_stub(answer) or answer is self.reference or self._untouched(answer):
            return NOT_STARTED
        if not callable(answer):
            kind = type(answer).__name__
            text = f"`{self.name}` should be a function and is a {kind}."
            return Verdict("failed", text)
        try:
            report = trial.tried(self, answer)
        except trial.NotStarted:
            return NOT_STARTED
        except trial.Failed as failure:
            return Verdict("failed", str(failure))
        return self._verdict_on(report)

    def _verdict_on(self, report: trial.Report) -> Verdict:
        if report.wrong:
            text = trial.message(report, self.place)
            table = trial.counter_example(self, report)
            return Verdict("failed", text, report.score, report.mistake, table)
        what = "every respect" if self.rules else f"all {len(report.findings)} cases"
        text = f"Right in {what}. The chapter uses your version."
        return Verdict("passed", text, 1.0)

    def _untouched(self, answer: Any) -> bool:
        """Say whether the answer is still what was handed out, whatever its name."""
        given, function = self.given, types.FunctionType
        if not isinstance(given, function) or not isinstance(answer, function):
            return False
        return _essence(answer) == _essence(given)


# How a method is fetched depends on where its name was imported: the compiler knows
# that only within one file, and a notebook's cells are files of their own.
FETCHED = {"LOAD_METHOD": "LOAD_ATTR"}
JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))


def _essence(function: types.FunctionType | types.CodeType) -> list[Any]:
    """Return what a function does: its steps without name, place and docstring."""
    steps: list[Any] = []
    for step in dis.get_instructions(function):
        value = "" if step.opcode in JUMPS else step.argval
        if isinstance(value, types.CodeType):
            value = _essence(value)
        if step.opname != "PUSH_NULL":
            steps.append((FETCHED.get(step.opname, step.opname), repr(value)))
    return steps


def _size(value: Any) -> int:
    """Return how many numbers a value holds, roughly: what is shown first is small."""
    if isinstance(value, torch.Tensor):
        return value.numel()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return sum(_size(item) for item in value)
    return 1


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
    if verdict.status != "not started":
        progress.checked(
            exercise.chapter,
            exercise.name,
            verdict.status,
            verdict.score,
            verdict.mistake,
        )
    _listeners[:] = [reference for reference in _listeners if reference() is not None]
    for reference in list(_listeners):
        listener = reference()
        if listener is not None:
            listener()


def is_stub(answer: Any) -> bool:
    """Say whether a function has no body yet.

    No body is a docstring, `...`, `pass`, or raising NotImplementedError.
    """
    if is_nothing(answer):
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
            isinstance(value, ast.Constant) and is_nothing(value.value)
        )
    raised = ast.unparse(statement) if isinstance(statement, ast.Raise) else ""
    return raised.startswith("raise NotImplementedError")


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
