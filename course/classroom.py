"""The class view: one page from the progress files of a class, for its teacher.

Each learner hands over one file, made with `course progress --export json --out …`. The
files come from others: whatever one of them holds, it cannot do more than be left out.
"""

from __future__ import annotations

import html
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path

from course import syllabus
from course.errors import CourseError
from course.exercises.base import Exercise
from course.exercises.outline import by_chapter
from course.progress import MOST_BYTES, Done, Progress, Vote, parse, to_json, write
from course.syllabus import SIGNS, Chapter, counted

MOST_FILES = 1_000
MOST_POLLS = 200  # a course asks a few dozen; more were made to do harm
STUCK = 5  # exercises that are named first
COMMON = 3  # wrong answers to an exercise that are not folded away


@dataclass(frozen=True)
class Learner:
    """A progress file that could be read; its name is that of the file."""

    name: str
    progress: Progress


@dataclass(frozen=True)
class Classroom:
    """The files of a class.

    Args:
        learners: by the names of their files.
        refused: file name to the reason why it was left out.
    """

    learners: tuple[Learner, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Asked:
    """An exercise and its place in the course; both as a page names them."""

    chapter: Chapter
    number: int
    exercise: Exercise

    @property
    def anchor(self) -> str:
        """What a link on the page leads to."""
        return f"{self.chapter.module}-{self.exercise.name}"

    @property
    def title(self) -> str:
        """Chapter, number and title."""
        return f"{self.chapter.number}.{self.number} {self.exercise.title}"

    def of(self, learner: Learner) -> Done:
        """Return what a learner has done with it."""
        return learner.progress.of(self.chapter.module, self.exercise.name)


def read(folder: Path) -> Classroom:
    """Read the progress files of a class: every ``.json`` file of a folder.

    Raises:
        CourseError: there is no such folder, or no file in it.
    """
    if not folder.is_dir():
        raise CourseError(
            f"{folder} is no folder; expected one with a progress file of each learner."
        )
    paths = [path for path in sorted(folder.iterdir()) if not _unseen(path)]
    if not paths:
        raise CourseError(
            f"{folder} holds no file; expected one of each learner, made with `course "
            "progress --export json --out NAME.json`."
        )
    learners, refused = [], {}
    for path in paths[:MOST_FILES]:
        try:
            learners.append(Learner(_name(path.stem), parse(_content(path))))
        except CourseError as error:
            refused[_name(path.name)] = str(error)
    for path in paths[MOST_FILES:]:
        refused[_name(path.name)] = f"is beyond the first {MOST_FILES} files"
    return Classroom(tuple(learners), refused)


def _unseen(path: Path) -> bool:
    """Say whether a file is none that a learner handed over."""
    return path.name.startswith(".") or path.suffix == ".lock"


def _name(text: str) -> str:
    """Return a file's name as it may be shown: nothing in it but characters."""
    known = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(sign if sign.isprintable() else "�" for sign in known)


def _content(path: Path) -> bytes:
    if not path.is_file():  # a folder, or a pipe that never ends
        raise CourseError("is no file")
    if path.suffix.lower() != ".json":
        raise CourseError("is no .json file")
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CourseError(f"cannot be read ({error.strerror})") from error


def write_page(room: Classroom, out: Path, names: bool = False) -> None:
    """Write the page of a class, whole or not at all, for its owner alone.

    Args:
        room: from `read`.
        out: the file.
        names: whether learners are called by the names of their files.
    """
    write(out, page(room, by_chapter(), names))


def page(
    room: Classroom, exercises: Mapping[str, Sequence[Exercise]], names: bool = False
) -> str:
    """Return the page of a class: HTML that fetches nothing.

    Without names it depends on what the files hold and not on what they are called:
    learners are numbered from the one who has passed least.

    Args:
        room: from `read`.
        exercises: of every chapter, by its module.
        names: whether learners are called by the names of their files.
    """
    every = [
        Asked(chapter, number, exercise)
        for chapter in syllabus.CHAPTERS
        for number, exercise in enumerate(exercises.get(chapter.module, ()), start=1)
    ]
    learners = _in_order(room.learners, every, names)
    parts = [
        _summary(learners, every),
        _matrix(learners, every),
        _exercises(learners, every),
        _polls(learners),
        _left_out(room, every, names),
    ]
    style = files("course").joinpath("classroom.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>The class in the workbook</title><style>{style}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _in_order(
    learners: Sequence[Learner], every: Sequence[Asked], names: bool
) -> list[Learner]:
    if names:
        return sorted(learners, key=lambda learner: learner.name.casefold())
    # By what they did alone: an order by files would give a name away.
    ordered = sorted(
        learners, key=lambda one: (_passed(one, every), to_json(one.progress))
    )
    return [
        Learner(f"learner {number}", learner.progress)
        for number, learner in enumerate(ordered, start=1)
    ]


def _passed(learner: Learner, every: Iterable[Asked], status: str = "passed") -> int:
    return sum(asked.of(learner).status == status for asked in every)


def _summary(learners: Sequence[Learner], every: Sequence[Asked]) -> str:
    stuck = {asked: _with(learners, asked, "failed") for asked in every}
    worst = sorted((a for a in every if stuck[a]), key=lambda a: -stuck[a])[:STUCK]
    items = "".join(
        f"<li>{_link(a)}, {stuck[a]} of {len(learners)}</li>" for a in worst
    )
    where = f"<p>Most are stuck at</p><ol>{items}</ol>" if worst else ""
    return (
        f"<h1>The class: {counted(len(learners), 'learner')}</h1>"
        f"<p>Made on {date.today().isoformat()} from the files that learners handed "
        "over. <b>Stuck</b> means that the last check failed; <b>not started</b>, that "
        f"no answer was checked.</p>{where}"
    )


def _with(learners: Iterable[Learner], asked: Asked, status: str) -> int:
    return sum(asked.of(learner).status == status for learner in learners)


def _link(asked: Asked, short: str = "") -> str:
    """Link to an exercise; a short text has its whole title as its name."""
    title = _quoted(asked.title)
    named = f' aria-label="{title}" title="{title}"' if short else ""
    return (
        f'<a href="#{_quoted(asked.anchor)}"{named}>{short or _text(asked.title)}</a>'
    )


def _text(text: str) -> str:
    """Escape a text, and keep the direction of its script to itself."""
    return f"<bdi>{html.escape(text)}</bdi>"


def _quoted(text: str) -> str:
    return html.escape(text, quote=True)


def _matrix(learners: Sequence[Learner], every: Sequence[Asked]) -> str:
    rows = "".join(_learner(learner, every) for learner in learners)
    return (
        "<h2>Who is where</h2><p>✓ passed, ✗ stuck, ○ not started; the number says how "
        "many tries it was. The headings lead to the exercises below.</p>"
        '<div class="wide" tabindex="0" role="region" aria-label="Learners and '
        f'exercises"><table class="matrix"><thead>{_headings(every)}</thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _headings(every: Sequence[Asked]) -> str:
    spans = Counter(asked.chapter for asked in every)
    chapters = "".join(
        f'<th scope="colgroup" colspan="{spans[chapter]}">{chapter.number} '
        f"{_text(chapter.title)}</th>"
        for chapter in syllabus.CHAPTERS
        if spans[chapter]
    )
    numbers = "".join(
        f'<th scope="col">{_link(asked, str(asked.number))}</th>' for asked in every
    )
    sums = (
        '<th scope="col" rowspan="2">passed</th><th scope="col" rowspan="2">stuck</th>'
    )
    return (
        f'<tr><th scope="col" rowspan="2">learner</th>{sums}{chapters}</tr>'
        f"<tr>{numbers}</tr>"
    )


def _learner(learner: Learner, every: Sequence[Asked]) -> str:
    cells = "".join(_cell(asked.of(learner)) for asked in every)
    sums = "".join(
        f"<td>{_passed(learner, every, status)}</td>" for status in ("passed", "failed")
    )
    return f'<tr><th scope="row">{_text(learner.name)}</th>{sums}{cells}</tr>'


def _cell(done: Done) -> str:
    sign, kind = SIGNS[done.status], done.status.replace(" ", "-")
    if done.status == "not started":
        return f'<td class="{kind}">{sign}</td>'
    said = f"{done.status}, {counted(done.tries, 'try', 'tries')}"
    return f'<td class="{kind}" title="{said}">{sign}<small>{done.tries}</small></td>'


def _exercises(learners: Sequence[Learner], every: Sequence[Asked]) -> str:
    names = ("exercise", "passed", "stuck", "not started", "tries", "wrong answers")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = "".join(_exercise(learners, asked) for asked in every)
    return (
        "<h2>What is hard</h2><p>Tries are the median of those who tried. A wrong "
        "answer is listed where a check recognised it, the commonest first, with the "
        "sentence that the learner was told.</p>"
        '<div class="wide" tabindex="0" role="region" aria-label="Exercises">'
        f'<table class="hard"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>'
        "</table></div>"
    )


def _exercise(learners: Sequence[Learner], asked: Asked) -> str:
    counts = [_with(learners, asked, status) for status in SIGNS]
    tries = [done.tries for done in map(asked.of, learners) if done.tries]
    middle = f"{statistics.median(tries):g}" if tries else "–"
    cells = "".join(_bar(count, len(learners)) for count in counts)
    return (
        f'<tr id="{_quoted(asked.anchor)}"><th scope="row">{_text(asked.title)}</th>'
        f"{cells}<td>{middle}</td><td>{_wrong(learners, asked)}</td></tr>"
    )


def _bar(count: int, most: int) -> str:
    share = round(100 * count / most) if most else 0
    return f'<td class="bar" style="--share:{share}%">{count}</td>'


def _wrong(learners: Sequence[Learner], asked: Asked) -> str:
    causes = _causes(asked.exercise)
    times: Counter[str] = Counter()
    who: Counter[str] = Counter()
    for learner in learners:
        for name, count in asked.of(learner).mistakes.items():
            known = name if name in causes else ""
            times[known] += count
            who[known] += 1
    order = sorted(times, key=lambda name: (name == "", -who[name], -times[name]))
    items = [
        f"<li>{_mistake(name, causes)} ({counted(who[name], 'learner')}, "
        f"{counted(times[name], 'time')})</li>"
        for name in order
    ]
    return _folded(items) if items else "–"


def _folded(items: Sequence[str]) -> str:
    first, rest = items[:COMMON], items[COMMON:]
    shown = f"<ol>{''.join(first)}</ol>"
    if not rest:
        return shown
    more = f'<ol start="{COMMON + 1}">{"".join(rest)}</ol>'
    return f"{shown}<details><summary>{len(rest)} more</summary>{more}</details>"


def _mistake(name: str, causes: Mapping[str, str]) -> str:
    if not name:  # of another version, or written by hand: its words are not shown
        return "others, which this copy of the workbook does not know"
    return f"<b>{_text(name)}</b>: {_text(causes[name])}"


def _causes(exercise: Exercise) -> dict[str, str]:
    """Return the sentence of each wrong answer that a check recognises by name."""
    known = [*exercise.mistakes, *exercise.rules]
    return {one.name: one.cause for one in known if one.name}


def _polls(learners: Sequence[Learner]) -> str:
    places = {chapter.module: chapter for chapter in syllabus.CHAPTERS}
    votes: dict[tuple[str, str], list[Vote]] = {}
    for learner in learners:
        for key, vote in learner.progress.polls.items():
            if key[0] in places or not key[0]:
                votes.setdefault(key, []).append(vote)
    order = [*places, ""]
    keys = sorted(
        votes, key=lambda key: (order.index(key[0]), -len(votes[key]), key[1])
    )
    shown = "".join(
        _poll(places.get(key[0]), key[1], votes[key]) for key in keys[:MOST_POLLS]
    )
    more = len(keys) - MOST_POLLS
    rest = f"<p>{counted(more, 'more question')} not shown.</p>" if more > 0 else ""
    return f"<h2>What was predicted</h2>{shown or '<p>Nothing yet.</p>'}{rest}"


def _poll(chapter: Chapter | None, question: str, votes: Sequence[Vote]) -> str:
    chosen = Counter(vote.first for vote in votes)
    rows = "".join(
        f'<tr><th scope="row">{_text(option)}</th>{_bar(count, len(votes))}</tr>'
        for option, count in sorted(
            chosen.items(), key=lambda item: (-item[1], item[0])
        )
    )
    right = sum(vote.right for vote in votes)
    where = f"{chapter.number} " if chapter else ""
    return (
        f"<h3>{where}{_text(question)}</h3><table><thead><tr>"
        '<th scope="col">first prediction</th><th scope="col">learners</th></tr>'
        f"</thead><tbody>{rows}</tbody></table><p>{right} of {len(votes)} "
        "came out, the last time that it was answered.</p>"
    )


def _left_out(room: Classroom, every: Sequence[Asked], names: bool) -> str:
    reasons = sorted(
        f"{file} {reason}" if names else f"a file {reason}"
        for file, reason in room.refused.items()
    )
    lines = [f"<li>{_text(reason)}</li>" for reason in reasons]
    if strange := _strangers(room, every):
        entries = counted(strange, "entry", "entries")
        lines.append(f"<li>{entries} of exercises that this copy does not have</li>")
    return f"<h2>What was left out</h2><ul>{''.join(lines)}</ul>" if lines else ""


def _strangers(room: Classroom, every: Sequence[Asked]) -> int:
    known = {(asked.chapter.module, asked.exercise.name) for asked in every}
    return sum(len(set(one.progress.exercises) - known) for one in room.learners)
