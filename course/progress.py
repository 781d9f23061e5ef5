"""The progress file: what a reader has tried, passed and predicted, and nobody else's.

It is one small JSON file that the reader owns. It holds names, counts, days and the
options of polls that were chosen, never an answer's code or its values, and nothing is
sent anywhere. `$COURSE_PROGRESS` names another place for it; where that is empty,
nothing is kept.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import FileLock

from course.errors import CourseError, unknown

KIND = "progress in the pretrained workbook"  # tells the file from other JSON
VERSION = 1
VARIABLE = "COURSE_PROGRESS"
PLACE = "~/.pretrained-workbook/progress.json"
PATIENCE = 3  # seconds that a kernel waits for another one's write
# More than a course can fill: a larger file is another one, or was made to do harm.
MOST_BYTES, MOST_ENTRIES, MOST_TEXT, MOST_COUNT = 1_000_000, 2_000, 500, 1_000_000
STATES = ("passed", "failed", "not started")
KINDS = ("json", "csv")
Key = tuple[str, str]


class NewerFile(CourseError):
    """A progress file of a later version of the workbook, which is left as it is."""


class DamagedFile(CourseError):
    """What holds no progress that can be read."""


@dataclass(frozen=True)
class Done:
    """What is kept of one exercise.

    Args:
        status: of the last check: "passed", "failed", or "not started".
        tries: checks of an answer, but for those that only passed once more.
        needed: how many of them it took to pass; 0 before it did.
        best: the best score, from 0 to 1.
        passed: the day of the first pass, such as "2026-11-25"; "" before it.
        hints: the most hints that were read.
        answered: whether the reference answer was shown before it passed.
        mistakes: the wrong answers that were recognised, by name, and how often.
    """

    status: str = "not started"
    tries: int = 0
    needed: int = 0
    best: float = 0.0
    passed: str = ""
    hints: int = 0
    answered: bool = False
    mistakes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Vote:
    """What is kept of one poll.

    Args:
        first: the option that was predicted the first time.
        last: the option that was predicted the last time.
        right: whether the last prediction came out.
    """

    first: str
    last: str
    right: bool


UNTOUCHED = Done()


@dataclass(frozen=True)
class Progress:
    """A progress file as it was when it was read.

    Args:
        exercises: by chapter and name, such as ``("fine_tuning", "freeze")``.
        polls: by chapter and question.
    """

    exercises: Mapping[Key, Done] = field(default_factory=lambda: MappingProxyType({}))
    polls: Mapping[Key, Vote] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, chapter: str, exercise: str) -> Done:
        """Return what is kept of an exercise, also where it was never touched."""
        return self.exercises.get((chapter, exercise), UNTOUCHED)


def checked(
    chapter: str, exercise: str, status: str, score: float, mistake: str = ""
) -> None:
    """Keep what a check said.

    Args:
        chapter: the module of the exercise, such as "fine_tuning".
        exercise: its name in that module.
        status: "passed" or "failed"; anything else is not kept.
        score: from 0 to 1.
        mistake: the name of the wrong answer that was recognised, if any.
    """
    if status in ("passed", "failed"):
        _exercise(chapter, exercise, lambda done: _after(done, status, score, mistake))


def _after(done: Done, status: str, score: float, mistake: str) -> Done:
    # A cell that is run once more on the way through the page is no further try.
    once_more = status == done.status == "passed"
    tries = min(done.tries + (not once_more), MOST_COUNT)
    first = status == "passed" and not done.passed
    made = dict(done.mistakes)
    if mistake and (mistake := _clip(mistake)):
        made[mistake] = min(made.get(mistake, 0) + 1, MOST_COUNT)
    return replace(
        done,
        status=status,
        tries=tries,
        needed=tries if first else done.needed,
        best=max(done.best, _bounded(score)),
        passed=date.today().isoformat() if first else done.passed,
        mistakes=MappingProxyType(made),
    )


def _bounded(score: float) -> float:
    return min(max(float(score), 0.0), 1.0) if math.isfinite(score) else 0.0


def hinted(chapter: str, exercise: str, hints: int) -> None:
    """Keep how many hints of an exercise have been read."""
    _exercise(
        chapter,
        exercise,
        lambda done: replace(done, hints=max(done.hints, min(hints, MOST_COUNT))),
    )


def answered(chapter: str, exercise: str) -> None:
    """Keep that the reference answer was shown before the exercise was passed."""
    _exercise(
        chapter,
        exercise,
        lambda done: done if done.passed else replace(done, answered=True),
    )


def polled(chapter: str, question: str, choice: str, right: bool) -> None:
    """Keep a prediction and whether it came out.

    Args:
        chapter: as for `checked`; "" where it is not known.
        question: of the poll.
        choice: the option that was predicted.
        right: whether the experiment said the same.
    """
    key, choice = (_clip(chapter), _clip(question)), _clip(choice)

    def change(now: Progress) -> Progress:
        before = now.polls.get(key)
        vote = Vote(before.first if before else choice, choice, bool(right))
        return replace(now, polls=MappingProxyType({**now.polls, key: vote}))

    _update(change)


def _exercise(chapter: str, exercise: str, change: Callable[[Done], Done]) -> None:
    key = _clip(chapter), _clip(exercise)

    def changed(now: Progress) -> Progress:
        done = change(now.of(*key))
        return replace(now, exercises=MappingProxyType({**now.exercises, key: done}))

    _update(changed)


def _clip(text: str) -> str:
    """Return a text that the file takes: not too long, and nothing but characters."""
    return str(text)[:MOST_TEXT].encode("utf-8", "replace").decode("utf-8")


def path() -> Path | None:
    """Return where the file is, or will be; None where nothing is kept.

    Raises:
        CourseError: the place is in a home folder, and there is none.
    """
    named = os.environ.get(VARIABLE, PLACE).strip()
    try:
        return Path(named).expanduser() if named else None
    except RuntimeError as error:
        raise CourseError(
            f"Your progress is not kept: {named} is in a home folder, and there is "
            f"none. Name a file in {VARIABLE}, or set it to nothing."
        ) from error


def shown(place: Path) -> str:
    """Return a path as a reader writes it, with ~ for the home folder."""
    home = os.path.expanduser("~")
    text = str(place)
    inside = home != "/" and text.startswith(home + os.sep)
    return f"~{text[len(home) :]}" if inside else text


def load() -> Progress:
    """Return what the file holds; nothing where there is none.

    Raises:
        CourseError: the file cannot be read or is none of ours; it is left as it is.
    """
    place = path()
    try:
        return _read(place) if place else Progress()
    except DamagedFile as error:
        raise DamagedFile(
            f"{error} The next check puts it aside and begins a new one."
        ) from error


def export(kind: str) -> str:
    """Return the whole file as text.

    Args:
        kind: "json", as the file is, or "csv", a line for each exercise and poll.

    Raises:
        CourseError: as `load`, or another kind was asked for.
    """
    if kind not in KINDS:
        raise unknown("kind of export", kind, KINDS)
    now = load()
    return to_json(now) if kind == "json" else _to_csv(now)


def forget() -> bool:
    """Delete the file and say whether there was one.

    Raises:
        CourseError: it cannot be deleted.
    """
    place = path()
    if place is None or not place.exists():
        return False
    try:
        with FileLock(f"{place}.lock", timeout=PATIENCE):
            place.unlink()
    except (OSError, NotImplementedError) as error:
        raise CourseError(
            f"{shown(place)} could not be deleted ({_reason(error)}); it is as it was."
        ) from error
    return True


_said: set[str] = set()


def _say(sentence: str) -> None:
    """Tell the reader once a kernel: the page goes on, whatever becomes of the file."""
    if sentence not in _said:
        _said.add(sentence)
        # Not on stderr, where graders take it for an error of the answer.
        print(sentence, flush=True)


def _update(change: Callable[[Progress], Progress]) -> None:
    """Change the file under its lock; what goes wrong is said and stops nothing."""
    try:
        place = path()
        if place is None:
            return
        place = Path(os.path.realpath(place))  # a link stays a link
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{place}.lock", timeout=PATIENCE):
            before = _usable(place)
            after = change(before)
            if after != before:
                write(place, _fitting(to_json(after), after))
    except CourseError as error:
        _say(str(error))
    except (OSError, NotImplementedError) as error:  # no room, no right, no locks
        _say(
            f"Your progress is not kept: {shown(place)} cannot be written "
            f"({_reason(error)}). Name another file in {VARIABLE}, or set it to "
            "nothing."
        )


def _reason(error: BaseException) -> str:
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return words.splitlines()[0]


def _usable(place: Path) -> Progress:
    """Read the file; one that is damaged is put aside and a new one begun."""
    try:
        return _read(place)
    except DamagedFile as error:
        aside = _free_name(place)
        os.rename(place, aside)
        _say(f"{error} It was moved to {aside.name} beside it, and a new one begun.")
        return Progress()


def _free_name(place: Path) -> Path:
    numbers = range(1, MOST_COUNT)
    names = (place.with_name(f"{place.name}.damaged-{n}") for n in numbers)
    return next(name for name in names if not os.path.lexists(name))


def _fitting(text: str, now: Progress) -> str:
    if (
        len(now.exercises) + len(now.polls) > MOST_ENTRIES
        or len(text.encode()) > MOST_BYTES
    ):
        raise CourseError(
            "Your progress file is full, so nothing is added to it; `course progress "
            "--forget` begins a new one."
        )
    return text


def write(place: Path, text: str) -> None:
    """Write a file for its owner alone, whole or as it was, whenever this is killed.

    Args:
        place: in a folder that is there; one writer at a time.
        text: all of it.
    """
    part = place.with_name(f".{place.name}.part")  # always the same: none piles up
    part.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(part, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, place)


def _read(place: Path) -> Progress:
    try:
        content = _content(place)
    except FileNotFoundError:
        return Progress()
    except OSError as error:
        raise CourseError(
            f"Your progress cannot be read: {shown(place)} ({_reason(error)}). Name "
            f"another file in {VARIABLE}, or set it to nothing."
        ) from error
    try:
        return parse(content)
    except NewerFile as error:
        raise NewerFile(f"{shown(place)} {error}") from error
    except DamagedFile as error:
        raise DamagedFile(f"{shown(place)} {error}.") from error


def _content(place: Path) -> bytes:
    """Return a file's bytes, not many more than it may have."""
    if place.exists() and not place.is_file():
        # A device such as /dev/null must be neither read without end nor replaced.
        raise OSError("it is no file")
    with place.open("rb") as file:
        return file.read(MOST_BYTES + 1)


def parse(content: bytes) -> Progress:
    """Return the progress that a file's bytes hold.

    Raises:
        NewerFile: a later version of the workbook wrote it.
        DamagedFile: it is damaged, too large or another file; the message goes on from
            the file's name, such as "is not JSON".
    """
    if len(content) > MOST_BYTES:
        raise DamagedFile(f"is larger than {MOST_BYTES // 1000} kB")
    try:
        data = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile("is not JSON, or not all of it") from error
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise DamagedFile("is JSON, but no progress file")
    version = data.get("version")
    if type(version) is int and version > VERSION:
        raise NewerFile(
            f"was written by a newer workbook (version {min(version, MOST_COUNT)}, "
            f"known here: {VERSION}). It is left as it is and nothing is added: update "
            "this copy of the workbook."
        )
    if type(version) is not int or version != VERSION:
        raise DamagedFile("says no version that is known here")
    return _progress(data)


def _progress(data: dict[str, Any]) -> Progress:
    exercises, polls = (_rows(data, name) for name in ("exercises", "polls"))
    if len(exercises) + len(polls) > MOST_ENTRIES:
        raise DamagedFile(f"holds more than {MOST_ENTRIES} entries")
    return Progress(
        MappingProxyType(_entries(exercises, "exercise", Done, EXERCISE)),
        MappingProxyType(_entries(polls, "question", Vote, POLL)),
    )


def _rows(data: dict[str, Any], name: str) -> list[Any]:
    rows = data.get(name)
    if not isinstance(rows, list):
        raise DamagedFile(f"has no list of {name}")
    return rows


def _entries(
    rows: list[Any], name: str, kind: type, readers: Mapping[str, Callable]
) -> dict[Key, Any]:
    return dict(_entry(row, name, kind, readers) for row in rows)


def _entry(
    row: Any, name: str, kind: type, readers: Mapping[str, Callable]
) -> tuple[Key, Any]:
    values = {}
    for field_name, read in {"chapter": _text, name: _text, **readers}.items():
        try:
            values[field_name] = read(row[field_name])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DamagedFile(
                f"has an entry whose {field_name!r} is missing or makes no sense"
            ) from error
    return (values.pop("chapter"), values.pop(name)), kind(**values)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise ValueError
    value.encode("utf-8")  # half a character cannot be shown
    return value


def _status(value: Any) -> str:
    if value not in STATES:
        raise ValueError
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST_COUNT:
        raise ValueError
    return value


def _share(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError
    return float(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _day(value: Any) -> str:
    return date.fromisoformat(_text(value)).isoformat() if value != "" else ""


def _counts(value: Any) -> Mapping[str, int]:
    if not isinstance(value, dict) or len(value) > MOST_ENTRIES:
        raise ValueError
    return MappingProxyType({_text(name): _count(n) for name, n in value.items()})


EXERCISE: dict[str, Callable] = {
    "status": _status,
    "tries": _count,
    "needed": _count,
    "best": _share,
    "passed": _day,
    "hints": _count,
    "answered": _flag,
    "mistakes": _counts,
}
POLL: dict[str, Callable] = {"first": _text, "last": _text, "right": _flag}


def to_json(now: Progress) -> str:
    """Return progress as the text of a file, for people too."""
    rows = {
        "exercises": [
            {"chapter": chapter, "exercise": name, **_plain(done)}
            for (chapter, name), done in now.exercises.items()
        ],
        "polls": [
            {"chapter": chapter, "question": question, **asdict(vote)}
            for (chapter, question), vote in now.polls.items()
        ],
    }
    data = {"kind": KIND, "version": VERSION, **rows}
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _plain(done: Done) -> dict[str, Any]:
    names = (name for name in EXERCISE if name != "mistakes")
    return {
        **{name: getattr(done, name) for name in names},
        "mistakes": dict(done.mistakes),
    }


def _to_csv(now: Progress) -> str:
    columns = ["what", "chapter", "name", *EXERCISE, *POLL]
    file = io.StringIO()
    table = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    table.writeheader()
    for (chapter, name), done in now.exercises.items():
        made = "; ".join(f"{n} × {name}" for name, n in done.mistakes.items())
        row = {"what": "exercise", "chapter": chapter, "name": name}
        table.writerow({**row, **_plain(done), "mistakes": made})
    for (chapter, question), vote in now.polls.items():
        row = {"what": "poll", "chapter": chapter, "name": question}
        table.writerow({**row, **asdict(vote)})
    return file.getvalue()
