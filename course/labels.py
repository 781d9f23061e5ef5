"""Labels for a folder of pictures: asked one by one, kept after each, taken back.

The labels are a CSV file of two columns, `file` and `label`, that people and
`data.folder` read: one row for each labelled picture, in the order of the answers.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from filelock import FileLock
from PIL import Image, ImageOps

from course.arguments import path_of
from course.data.pictures import NoPicture, in_rgb, in_words, opened, short
from course.errors import CourseError, unknown

COLUMNS = ["file", "label"]
FILE = "labels.csv"
MOST = 5_000  # files: "a small folder"; one at the top of a disk has no end
PATIENCE = 3  # seconds that an answer waits for another program's
SIDE = 480  # pixels of a picture on the page, at most
LONGEST = 60  # characters of a class name, as a button can hold it


class Labelling:
    """A folder that is being labelled: what is asked now, and what was answered.

    Every answer is in the file before the next picture is asked, and the file is whole
    at every moment. Labels that another program added meanwhile are kept.

    Args:
        folder: of pictures; folders inside it count too, hidden files do not.
        classes: names of the classes, two or more.
        file: the CSV file, beside the pictures or in a folder above them; None for
            ``labels.csv`` beside them. One that is there already is gone on with.

    Raises:
        CourseError: the folder, a class name or the file cannot be used.
    """

    def __init__(
        self,
        folder: str | Path,
        classes: Sequence[str],
        file: str | Path | None = None,
    ) -> None:
        self.classes = checked_classes(classes)
        self.folder = path_of(folder).expanduser()
        self.file = self.folder / FILE if file is None else Path(file).expanduser()
        found = _pictures(self.folder, self.file)
        _check_place(self.file)
        self._paths = dict(_named(found, self.folder, self.file.parent))
        self.unreadable = dict(_unreadable(self._paths))
        self.labels = read(self.file)
        known = set(self.names)
        self._said = [("label", name) for name in self.labels if name in known]
        self._waiting = [name for name in self._paths if self._is_open(name)]
        self._skipped: list[str] = []
        self._shown: tuple[str, Image.Image] | None = None

    @property
    def names(self) -> list[str]:
        """The readable pictures' names: paths seen from the folder of the file."""
        return [name for name in self._paths if name not in self.unreadable]

    @property
    def done(self) -> int:
        """How many of the pictures have a label."""
        return sum(name in self.labels for name in self.names)

    @property
    def skipped(self) -> list[str]:
        """Pictures that were passed over and have no label yet."""
        return list(self._skipped)

    @property
    def can_undo(self) -> bool:
        """Whether there is an answer that can be taken back."""
        return bool(self._said)

    def counts(self) -> dict[str, int]:
        """Return how many pictures have each label, also labels of no class here."""
        found = Counter(self.labels[name] for name in self.names if name in self.labels)
        return {**{name: found.pop(name, 0) for name in self.classes}, **found}

    def current(self) -> tuple[str, Image.Image] | None:
        """Return the picture that is asked now, with its name; None after the last.

        What turns out to be unreadable is moved to `unreadable` and passed.
        """
        while self._waiting:
            name = self._waiting[0]
            if self._shown is None or self._shown[0] != name:
                try:
                    self._shown = name, _picture(self._paths[name], name)
                except CourseError as error:
                    self.unreadable[name] = _reason(error)
                    self._waiting.pop(0)
                    continue
            return self._shown
        return None

    def label(self, label: str) -> str:
        """Give the current picture a label, keep it, go on; return the picture's name.

        Raises:
            CourseError: there is no such class or no picture left, the file cannot be
                written, or another program labelled this picture; the file is whole.
        """
        if label not in self.classes:
            raise unknown("class", label, self.classes)
        name = self._asked()
        self._keep(name, label)
        self._said.append(("label", name))
        return name

    def skip(self) -> str:
        """Pass the current picture over and return its name; it stays without a label.

        Raises:
            CourseError: there is no picture left.
        """
        name = self._asked()
        self._waiting.remove(name)
        self._skipped.append(name)
        self._said.append(("skip", name))
        return name

    def again(self) -> int:
        """Ask for the pictures that were skipped once more; return how many."""
        count = len(self._skipped)
        self._waiting += self._skipped
        self._skipped = []
        self._said = [(what, name) for what, name in self._said if what != "skip"]
        return count

    def undo(self) -> str:
        """Take the last answer back and ask it again; return the picture's name.

        Labels of an earlier session can be taken back too, the last one first.

        Raises:
            CourseError: there is nothing to take back, or as for `label`.
        """
        if not self._said:
            raise CourseError("There is no answer to take back.")
        what, name = self._said[-1]
        if what == "label":
            self._keep(name, None)
            self._waiting.remove(name)
        else:
            self._skipped.remove(name)
            self._said.pop()
        self._waiting.insert(0, name)
        return name

    def first(self, count: int) -> list[tuple[str, Image.Image]]:
        """Return the first readable pictures with their names."""
        rows: list[tuple[str, Image.Image]] = []
        for name in self.names:
            if len(rows) == count:
                break
            try:
                rows.append((name, _picture(self._paths[name], name)))
            except CourseError as error:
                self._give_up(name, error)
        return rows

    def _asked(self) -> str:
        now = self.current()
        if now is None:
            raise CourseError("There is no picture left to label.")
        return now[0]

    def _give_up(self, name: str, error: CourseError) -> None:
        self.unreadable[name] = _reason(error)
        self._waiting = [one for one in self._waiting if one != name]
        self._skipped = [one for one in self._skipped if one != name]
        self._said = [(what, one) for what, one in self._said if one != name]

    def _keep(self, name: str, label: str | None) -> None:
        """Set or remove one label in the file, whatever else was added to it."""
        place = Path(os.path.realpath(self.file))  # a link stays a link
        try:
            _check_rights(place)
            with FileLock(place.with_name(f".{place.name}.lock"), timeout=PATIENCE):
                # Where it was removed meanwhile, all that is known is written anew.
                kept = read(place) if place.exists() else dict(self.labels)
                disputed = kept.get(name) != self.labels.get(name)
                if not disputed:
                    kept.pop(name, None)
                    kept |= {} if label is None else {name: label}
                    write(place, kept)
        except (OSError, NotImplementedError) as error:
            held = isinstance(error, TimeoutError) and "another program is writing it"
            reason = held or getattr(error, "strerror", None) or type(error).__name__
            raise CourseError(
                f"{self.file.name} could not be written ({reason}), so the last answer "
                "was not kept; those before it are in the file."
            ) from error
        self._adopt(kept)
        if disputed:
            self._said = [row for row in self._said if row[1] != name]
            theirs = f"labelled {kept[name]!r}" if name in kept else "left without one"
            raise CourseError(
                f"Another program changed the label of {short(name)!r} meanwhile: it "
                f"is {theirs} now. That stands; your answer was not kept."
            )

    def _adopt(self, kept: dict[str, str]) -> None:
        """Go on from what the file holds now, also from another program's answers."""
        self.labels = kept
        self._skipped = [name for name in self._skipped if name not in kept]
        stands = {"label": kept, "skip": self._skipped}
        self._said = [row for row in self._said if row[1] in stands[row[0]]]
        asked = [name for name in self._waiting if name not in kept]
        known = {*asked, *self._skipped}
        self._waiting = asked + [
            name for name in self.names if self._is_open(name) and name not in known
        ]

    def _is_open(self, name: str) -> bool:
        return name not in self.labels and name not in self.unreadable


def checked_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return class names without the spaces around them.

    Raises:
        CourseError: fewer than two, two alike, an empty or a very long one.
    """
    if isinstance(classes, str):
        raise CourseError(
            f"The classes came as the text {classes!r}; expected a list of names, "
            'such as ["ant", "bee"].'
        )
    names = tuple(unicodedata.normalize("NFC", str(name)).strip() for name in classes)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if len(names) < 2:
        raise CourseError(
            f"There is {len(names) or 'no'} class to choose from; expected two or more "
            'names, such as ["ant", "bee"].'
        )
    if "" in names:
        raise CourseError(
            f"The name of class {names.index('') + 1} is empty; give each class a name."
        )
    if twice:
        raise CourseError(
            f"The class {twice[0]!r} is named twice; give each class another name."
        )
    for name in names:
        if len(name) > LONGEST or _has_controls(name):
            raise CourseError(
                f"The class name {short(name)!r} is too long or has line breaks; "
                f"expected one line of {LONGEST} characters at most."
            )
    return names


def read(file: Path) -> dict[str, str]:
    """Return the label of each picture that a file of labels names.

    Args:
        file: a CSV file of the columns `file` and `label`; one that is not there has
            no rows. A row without a label is left out.

    Raises:
        CourseError: it cannot be read, is no such table, or contradicts itself.
    """
    try:
        text = file.read_text("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CourseError(
            f"{file.name} cannot be read as a table of labels and is left as it is; "
            "mend it, or name another file for the labels."
        ) from error
    if not rows or rows[0] != COLUMNS:
        columns = ", ".join(rows[0])[:80] if rows else "none"
        raise CourseError(
            f"{file.name} has the columns {columns}; expected file,label and nothing "
            "else. It is left as it is: name another file for the labels."
        )
    labels: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if row:
            _add(labels, row, f"Row {number} of {file.name}")
    return labels


def _add(labels: dict[str, str], row: list[str], place: str) -> None:
    if len(row) != len(COLUMNS) or not row[0]:
        raise CourseError(
            f"{place} has {len(row)} values; expected a file and a label. The file is "
            "left as it is: mend that row first."
        )
    name, label = row
    if not label.strip():
        return
    if labels.setdefault(name, label) != label:
        raise CourseError(
            f"{place} calls {short(name)!r} {label!r}, and a row above it "
            f"{labels[name]!r}; remove one of them first."
        )


def write(file: Path, labels: Mapping[str, str]) -> None:
    """Write labels as a CSV file, whole or as it was, whenever this is killed.

    Args:
        file: in a folder that is there; one writer at a time.
        labels: name of a picture to its label.

    Raises:
        OSError: there is no room, or no right to write.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows([COLUMNS, *labels.items()])
    part = file.with_name(f".{file.name}.part")  # always the same: none piles up
    with part.open("w", encoding="utf-8", newline="") as out:
        out.write(text.getvalue())
        out.flush()
        os.fsync(out.fileno())
    if file.exists():
        shutil.copymode(file, part)
    os.replace(part, file)


def _check_place(file: Path) -> None:
    if file.suffix.lower() != ".csv":
        raise CourseError(
            f"The labels were to be kept in {file.name!r}; expected the name of a CSV "
            "file, such as labels.csv."
        )
    try:
        _check_rights(file)
    except OSError as error:
        raise CourseError(
            f"{file.name} cannot be written in {str(file.parent)!r} "
            f"({error.strerror}); name a file in a folder above, or copy the pictures "
            "into a folder of yours first."
        ) from error


def _check_rights(file: Path) -> None:
    """Raise OSError where a file cannot be made, or is not to be replaced."""
    if not file.parent.is_dir():
        raise NotADirectoryError(20, "there is no such folder")
    if not os.access(file.parent, os.W_OK):
        raise PermissionError(13, "no write access to the folder")
    if file.exists() and not file.is_file():
        raise OSError(21, "it is no file")
    if file.exists() and not os.access(file, os.W_OK):
        raise PermissionError(13, "the file is read-only")


def _pictures(folder: Path, file: Path) -> list[Path]:
    if not folder.is_dir():
        raise CourseError(
            f"There is no folder {str(folder)!r}; it is looked for where the notebook "
            "runs: check the spelling."
        )
    found: list[Path] = []
    for path in _walk(folder):
        if not _same(path, file):
            found.append(path)
        if len(found) > MOST:
            raise CourseError(
                f"{str(folder)!r} holds more than {MOST:,} files; name a smaller "
                "folder, one with the pictures alone."
            )
    if not found:
        raise CourseError(
            f"There is no picture in {str(folder)!r}; put the pictures to be labelled "
            "there first."
        )
    return sorted(found, key=lambda path: _in_order(path.relative_to(folder)))


def _same(path: Path, file: Path) -> bool:
    try:
        return path.samefile(file)
    except OSError:  # it is not there, or leads where nobody may look
        return False


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those inside it, without hidden ones."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in files if not name.startswith("."))


def _in_order(path: Path) -> list[tuple[int, int, str]]:
    """Return a key by which image2 comes before image10."""
    parts = re.split(r"([0-9]+)", path.as_posix().lower())
    keys = [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]
    return [*keys, (1, 0, path.as_posix())]


def _named(
    paths: Sequence[Path], folder: Path, table: Path
) -> Iterator[tuple[str, Path]]:
    """Yield each picture's name in the table, seen from the table's folder, and path.

    Raises:
        CourseError: the table is neither beside the pictures nor above them.
    """
    try:
        way = folder.resolve().relative_to(table.resolve())
    except ValueError:
        raise CourseError(
            f"The labels were to be kept in {str(table)!r}, and `data.folder` reads "
            "pictures beside or below its table only; name a file in the folder of the "
            "pictures, or in one above it."
        ) from None
    for path in paths:
        yield (way / path.relative_to(folder)).as_posix(), path


def _unreadable(paths: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield what no table can name, and what its first bytes say is no picture."""
    for name, path in paths.items():
        try:
            _check_name(name)
            with path.open("rb") as file, in_words(name):
                opened(file, name)
        except CourseError as error:
            yield name, _reason(error)
        except OSError:
            continue  # said when it is its turn


def _check_name(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        fault = "is no text"
    else:
        fault = "has a line break" if _has_controls(name) else ""
    if fault:
        raise CourseError(f"Its name {fault}, so no table can hold it; rename it.")


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") for c in text)


def _picture(path: Path, name: str) -> Image.Image:
    """Return a picture as a page shows it: upright, in RGB, not too large."""
    try:
        with path.open("rb") as file, in_words(short(name)):
            picture = opened(file, name, SIDE)
            picture.load()
            upright = in_rgb(ImageOps.exif_transpose(picture))
    except OSError as error:
        raise NoPicture(
            short(name), f"could not be opened: {error.strerror or error}"
        ) from error
    upright.thumbnail((SIDE, SIDE))
    return upright


def _reason(error: CourseError) -> str:
    """Return what is wrong with a picture, without its name."""
    return f"{error.reason}." if isinstance(error, NoPicture) else str(error)
