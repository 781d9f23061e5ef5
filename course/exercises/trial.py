"""Try an answer on every case, and weigh what came out."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from course.exercises import example, guard
from course.exercises.compare import difference, quoted, shortened

if TYPE_CHECKING:
    from course.exercises.base import Case, Exercise, Mistake, Rule

# Seconds that a check may take: for the calls of all cases, for looking at what came
# back, and for one more call that tells whose answer it is. With what torch may have to
# import at its first call they stay below five.
ANSWERING, LOOKING, ASKING = 2.5, 1.2, 0.3


def is_nothing(value: Any) -> bool:
    """Say whether a value stands for no answer; a strange one is asked nothing."""
    return value is None or value is ...


class NotStarted(Exception):
    """The answer is a stub: it says so itself, or nothing ever comes back."""


class Failed(Exception):
    """An answer is not right; the message is for the reader."""


@dataclass(frozen=True)
class Outcome:
    """What a call came to: a value, or the error that it raised."""

    value: Any = None
    error: str = ""  # its type
    reason: str = ""


@dataclass(frozen=True)
class Finding:
    """A case with what the answer made of it; `problem` is empty where it is right."""

    case: Case
    found: Outcome
    expected: Any
    problem: str
    part: str
    rule: Rule | None = None


@dataclass(frozen=True)
class Report:
    """What a whole check has found.

    Args:
        findings: one for each case, or for each case and rule.
        mistake: the name of the wrong answer that explains them; "" where none does.
        cause: its sentence.
    """

    findings: tuple[Finding, ...]
    mistake: str = ""
    cause: str = ""

    @property
    def wrong(self) -> list[Finding]:
        """The findings with a problem; the simplest case first."""
        return [finding for finding in self.findings if finding.problem]

    @property
    def parts(self) -> dict[str, bool]:
        """Each part of the exercise, and whether all of it is right."""
        parts: dict[str, bool] = {}
        for finding in self.findings:
            right = not finding.problem
            parts[finding.part] = parts.get(finding.part, True) and right
        return parts

    @property
    def score(self) -> float:
        """The share of the parts that are right."""
        return sum(self.parts.values()) / len(self.parts)


def tried(exercise: Exercise, answer: Callable[..., Any]) -> Report:
    """Try an answer on all cases.

    Raises:
        NotStarted: where it is a stub after all.
        Failed: where it does not come to an end, or only calls the reference.
    """
    # Quiet outside of what may be ended at any place: the page gets its words back.
    with guard.undisturbed(), guard.silent():
        answer = guard.isolated(answer)
        cases = exercise.all_cases()
        # What torch imports at its first call is no part of the reader's time.
        outcome(exercise, exercise.reference, cases[0])
        found = _answers(exercise, answer, cases)
        try:
            report = guard.within(LOOKING, partial(_weighed, exercise, cases, found))
            if not report.wrong and _borrowed(exercise, answer, cases[0]):
                raise Failed(
                    f"`{exercise.name}` calls the reference answer. Write it yourself: "
                    "the third hint goes nearly the whole way."
                )
        except guard.TimeUp:
            text = f"`{exercise.name}`: found values that take too long to look at."
            raise Failed(text) from None
        return report


def _answers(
    exercise: Exercise, answer: Callable[..., Any], cases: Sequence[Case]
) -> list[Outcome]:
    found: list[Outcome] = []

    def call_all() -> None:
        for case in cases:
            found.append(outcome(exercise, answer, case))

    try:
        guard.within(ANSWERING, call_all)
    except NotImplementedError:
        raise NotStarted from None
    except (guard.TimeUp, KeyboardInterrupt) as error:
        late = isinstance(error, guard.TimeUp)
        what = f"still running after {ANSWERING:g} s" if late else "interrupted"
        shown = cases[min(len(found), len(cases) - 1)].shown
        raise Failed(f"{shown}: it was {what}; does a loop end?") from None
    if all(is_nothing(one.value) and not one.error for one in found):
        raise NotStarted
    return found


def outcome(exercise: Exercise, function: Callable[..., Any], case: Case) -> Outcome:
    """Call a function on its own copy of a case, and observe what it did."""
    arguments = copy.deepcopy(case.arguments)
    try:
        value = function(*arguments)
        if exercise.observe is not None and not is_nothing(value):
            value = exercise.observe(value, *arguments)
        return Outcome(value)
    except (NotImplementedError, guard.TimeUp, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too: an answer must not end the page
        return Outcome(error=type(error).__name__, reason=_text_of(error))


def _text_of(error: BaseException) -> str:
    try:
        lines = str(error).strip().splitlines()
    except Exception:
        return ""
    return shortened(lines[0]) if lines else ""


def _weighed(
    exercise: Exercise, cases: Sequence[Case], found: Sequence[Outcome]
) -> Report:
    findings = tuple(
        finding
        for case, one in zip(cases, found, strict=True)
        for finding in _findings(exercise, case, one)
    )
    report = Report(findings)
    if not report.wrong:
        return report
    rule = report.wrong[0].rule
    if rule is not None:
        return Report(findings, rule.name, rule.cause)
    mistake = _recognised(exercise, report.wrong)
    if mistake is None:
        return report
    return Report(findings, mistake.name, mistake.cause)


def _findings(exercise: Exercise, case: Case, found: Outcome) -> list[Finding]:
    if exercise.rules:
        return [_ruled(rule, case, found) for rule in exercise.rules]
    expected = outcome(exercise, exercise.reference, case).value
    problem = _plain_problem(found)
    if not problem:
        problem = difference(found.value, expected)
    return [Finding(case, found, expected, problem, case.part)]


def _plain_problem(found: Outcome) -> str:
    if found.error:
        return f"it raised {found.error}" + (f": {found.reason}" * bool(found.reason))
    return "found None" if is_nothing(found.value) else ""


def _ruled(rule: Rule, case: Case, found: Outcome) -> Finding:
    problem = _plain_problem(found)
    if not problem:
        try:
            holds = bool(rule.holds(found.value, *copy.deepcopy(case.arguments)))
        except Exception:  # a value of another kind breaks the rule
            holds = False
        problem = "" if holds else f"found {_part_of(rule, found.value)}"
    return Finding(case, found, rule.expected, problem, rule.name, rule)


def _part_of(rule: Rule, value: Any) -> str:
    with contextlib.suppress(Exception):
        return f"{quoted(rule.look(value))}, expected {rule.expected}"
    return f"{quoted(value)}, expected {rule.expected}"


def _recognised(exercise: Exercise, wrong: Sequence[Finding]) -> Mistake | None:
    """Return the mistake that explains all that is wrong, or else the first of it."""
    for findings in (wrong, wrong[:1]):
        for mistake in exercise.mistakes:
            if all(_explains(exercise, mistake, finding) for finding in findings):
                return mistake
    return None


def _explains(exercise: Exercise, mistake: Mistake, finding: Finding) -> bool:
    try:
        made = outcome(exercise, mistake.answer, finding.case)
    except NotImplementedError:
        return False
    if made.error or finding.found.error:
        return made.error == finding.found.error
    return not difference(finding.found.value, made.value)


def _borrowed(exercise: Exercise, answer: Callable[..., Any], case: Case) -> bool:
    arguments = copy.deepcopy(case.arguments)

    def alone() -> None:  # what observes an answer may well call the reference
        with contextlib.suppress(guard.TimeUp):
            guard.within(ASKING, lambda: answer(*arguments))

    return guard.calls(alone, exercise.reference)


def message(report: Report, place: str) -> str:
    """Return what is said of a failed answer: found, expected, cause, where to look."""
    first = report.wrong[0]
    text = f"{first.case.shown}: {first.problem}."
    text += f" {report.cause}" if report.cause else ""
    text += f" Look again at “{place}”." if place else ""
    right, total = sum(report.parts.values()), len(report.parts)
    return text + (f" {right} of {total} parts are right." if right else "")


def counter_example(exercise: Exercise, report: Report) -> str:
    """Return the simplest case that went wrong as a table, in HTML."""
    first = report.wrong[0]
    names = list(inspect.signature(exercise.reference).parameters)
    values = copy.deepcopy(first.case.arguments)
    found = first.found.error or first.found.value
    try:
        return example.page(
            list(zip(names, values, strict=False)), found, first.expected
        )
    except Exception:  # a value that cannot even be looked at
        return ""
