"""Which files of a folder are pictures of which class, and of which part of a task.

Three layouts are understood: a folder for each class; ``train``, ``val`` and ``test``
with a folder for each class in them; and a CSV file that names files and labels.
Nothing is opened here but the CSV file.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from course.data.pictures import FORMATS, short
from course.errors import CourseError

PARTS = ("train", "validation", "test")
_PART_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_PART_OF = {name: part for part, names in _PART_NAMES.items() for name in names}
_FILE_COLUMNS = ("file", "filename", "file_name", "path", "image")
_LABEL_COLUMNS = ("label", "class", "class_name", "category")
_SPLIT_COLUMNS = ("split", "part", "set", "subset")
_TABLES = (".csv", ".tsv")
_MOST_TABLE = 200_000_000  # bytes
# What systems leave behind, beside everything whose name begins with a full stop.
_LEFT_BEHIND = ("thumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r")
_LAYOUT = (
    "put the pictures of each class into a folder that has its name, such as "
    "cats/1.jpg and dogs/1.jpg, or name them in a CSV file with the columns file and "
    "label"
)


class Entry(NamedTuple):
    """A file that should be a picture.

    Args:
        file: relative to the folder, with ``/`` between the names.
        label: the name of its class.
        part: one of `PARTS`; "" where the seed decides.
    """

    file: str
    label: str
    part: str


class Row(NamedTuple):
    """What became of one file.

    Args:
        file: relative to the folder, with ``/`` between the names.
        done: "read", "left out" or "dropped from train" (or from validation).
        reason: the rest of a sentence that begins with the file's name.
    """

    file: str
    done: str
    reason: str


@dataclass
class Listing:
    """What was found in a folder before any picture is opened.

    Args:
        root: the folder.
        entries: what should be pictures, sorted by file.
        rows: what is none of them, and why.
        skipped: files of the system, and hidden ones.
        notes: sentences on the layout.
        parts: those that the layout gives; none where the seed decides on all.
    """

    root: Path
    entries: list[Entry] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    skipped: int = 0
    notes: list[str] = field(default_factory=list)
    parts: tuple[str, ...] = ()

    def leave(self, file: str, reason: str) -> None:
        """Note a file that is no picture of a class."""
        self.rows.append(Row(file, "left out", reason))


def find(path: str | os.PathLike[str]) -> Listing:
    """List a folder, or what a CSV file names.

    Raises:
        CourseError: there is nothing there, or nothing that could be a task.
    """
    place = _place(path)
    if place.is_file():
        if place.suffix.lower() in _TABLES:
            return _from_table(place)
        raise CourseError(
            f"{short(place.name)!r} is a file; expected a folder of pictures, or a CSV "
            f"file: {_LAYOUT}."
        )
    found = Listing(place)
    top = sorted(_inside(found, place))
    if not top:
        raise _nothing(found)
    return _listed(found, top)


def _place(path: str | os.PathLike[str]) -> Path:
    try:
        place = Path(path).expanduser()
        if place.exists():
            return place
    except TypeError:
        raise CourseError(
            f"A folder was given as {type(path).__name__}; expected its path, such as "
            "'my_photos'."
        ) from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CourseError(
            f"The folder {short(str(path))!r} could not be opened: {reason}."
        ) from error
    raise CourseError(
        f"There is no folder {short(str(path).rstrip('/'))!r} at this path; it is "
        "looked for where the notebook runs: check the path and the spelling."
    )


def _inside(found: Listing, folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield path and entry of what lies in a folder, without what systems leave."""
    at = folder.relative_to(found.root).as_posix()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                file = entry.name if at == "." else f"{at}/{entry.name}"
                if _hidden(entry.name):
                    found.skipped += 1
                elif entry.is_symlink() and (why := _link(found.root, entry)):
                    found.leave(file, why)
                else:
                    yield file, entry
    except OSError as error:
        if at == ".":
            raise CourseError(
                f"The folder {short(folder.name)!r} could not be opened: "
                f"{error.strerror or error}."
            ) from error
        found.leave(at, f"could not be opened: {error.strerror or error}")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def _link(root: Path, entry: os.DirEntry[str]) -> str | None:
    """Return why a link is not followed; None where it is."""
    if not _within(root, Path(entry.path)):
        return "is a link that leads out of the folder, and is not followed"
    return "is a link to a folder, and is not followed" if entry.is_dir() else None


def _within(root: Path, path: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError):  # a link to itself, or no path at all
        return False


def _listed(found: Listing, top: list[tuple[str, os.DirEntry[str]]]) -> Listing:
    folders = [(file, entry) for file, entry in top if entry.is_dir()]
    files = [file for file, entry in top if not entry.is_dir()]
    parts = _part_folders(found, folders)
    if not folders or (len(folders) == 1 and not parts):
        if table := _only_table(found.root, files):
            found = _from_table(found.root / table)
            found.notes.insert(0, f"Files and labels are those that {table} names.")
            return found
        raise _no_classes(found, folders, files)
    for file in files:
        found.leave(file, "lies outside the folders of the classes")
    if parts:
        _in_parts(found, folders, parts)
    else:
        for name, _ in folders:
            _in_class(found, name, name, "")
    return _sorted(found)


def _part_folders(
    found: Listing, folders: Sequence[tuple[str, os.DirEntry[str]]]
) -> dict[str, str]:
    """Return the folders that are parts of a split, by part; none in a flat layout."""
    parts: dict[str, str] = {}
    for file, _ in folders:
        part = _PART_OF.get(file.lower())
        if part in parts:
            raise CourseError(
                f"The folders {parts[part]!r} and {file!r} both name the {part} part; "
                "keep one of them."
            )
        if part:
            parts[part] = file
    quiet = Listing(found.root)  # what is hidden is counted when it is listed
    split = any(
        entry.is_dir()
        for file in parts.values()
        for _, entry in _inside(quiet, found.root / file)
    )
    # A class can be called "train": then there are pictures in it, and no folders.
    if not split:
        return {}
    if "train" not in parts:
        raise CourseError(
            f"There is a folder {next(iter(parts.values()))!r} and no folder 'train'; "
            "expected train, and beside it val and test if you have them."
        )
    return parts


def _in_parts(
    found: Listing,
    folders: Sequence[tuple[str, os.DirEntry[str]]],
    parts: dict[str, str],
) -> None:
    names = " and ".join(sorted(parts.values()))
    for file, _ in folders:
        if file not in parts.values():
            for inside in _files(found, found.root / file):
                found.leave(inside, f"lies outside {names}")
    given = []
    for part, folder in parts.items():
        labelled = False
        for file, entry in sorted(_inside(found, found.root / folder)):
            if entry.is_dir():
                _in_class(found, file, entry.name, part)
                labelled = True
            else:
                found.leave(file, "lies outside the folders of the classes")
        if labelled:
            given.append(part)
        else:
            found.notes.append(
                f"The folder {folder} has no folders of classes in it, and counts as "
                "missing."
            )
    if "train" not in given:
        raise CourseError(
            f"The folder {parts['train']!r} has no folders of classes in it; {_LAYOUT}."
        )
    found.parts = tuple(part for part in PARTS if part in given)


def _in_class(found: Listing, folder: str, label: str, part: str) -> None:
    label = plain(label)
    before = len(found.entries)
    for file in _files(found, found.root / folder):
        found.entries.append(Entry(file, label, part))
    if len(found.entries) == before:
        why = {row.file: row.reason for row in found.rows}.get(folder, "is empty")
        raise CourseError(
            f"The folder {folder!r} names a class and {why}; put pictures into it, or "
            "remove it."
        )


def _files(found: Listing, folder: Path) -> Iterator[str]:
    """Yield every file below a folder, however deep."""
    for file, entry in _inside(found, folder):
        if entry.is_dir():
            yield from _files(found, Path(entry.path))
        else:
            yield file


def _sorted(found: Listing) -> Listing:
    # Whatever order the file system gives them in.
    found.entries.sort()
    found.rows.sort()
    if not found.entries:
        raise _nothing(found)
    return found


def plain(name: str) -> str:
    """Return the name of a class as a page can show it.

    One way to write an accented letter (systems differ), and no characters that cannot
    be seen.
    """
    text = unicodedata.normalize("NFC", name.strip())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _nothing(found: Listing) -> CourseError:
    name = short(found.root.resolve().name)
    return CourseError(
        f"The folder {name!r} holds no pictures; expected {', '.join(FORMATS)}: "
        f"{_LAYOUT}."
    )


def _no_classes(
    found: Listing,
    folders: Sequence[tuple[str, os.DirEntry[str]]],
    files: Sequence[str],
) -> CourseError:
    name = short(found.root.resolve().name)
    tables = [file for file in files if file.lower().endswith(_TABLES)]
    if not folders:
        also = f" The columns of {tables[0]!r} have other names." if tables else ""
        return CourseError(
            f"The files in {name!r} lie in no folder of a class; {_LAYOUT}.{also}"
        )
    only, entry = folders[0]
    inner = [child.is_dir() for _, child in _inside(Listing(found.root), Path(entry))]
    if sum(inner) > 1:
        return CourseError(
            f"The folder {name!r} holds only the folder {only!r}, in which there are "
            f"{sum(inner)} folders; give the path of {only!r} itself."
        )
    return CourseError(
        f"The folder {name!r} has only one class, {only!r}; expected two or more: "
        f"{_LAYOUT}."
    )


# What a CSV file names ----------------------------------------------------------------


def _only_table(root: Path, files: Sequence[str]) -> str | None:
    """Return the one file that names files and labels, if there is just one."""
    tables = []
    for file in files:
        if file.lower().endswith(_TABLES):
            try:
                _table(root / file)
            except CourseError:
                continue
            tables.append(file)
    return tables[0] if len(tables) == 1 else None


def _from_table(table: Path) -> Listing:
    found = Listing(table.parent)
    rows, (file_column, label_column, split_column) = _table(table)
    named: dict[str, Entry | None] = {}
    for line, row in rows:
        entry = _entry(
            found,
            (row.get(file_column) or "").strip(),
            plain(row.get(label_column) or ""),
            (row.get(split_column) or "").strip() if split_column else None,
            f"line {line} of {table.name}",
        )
        if entry and named.setdefault(entry.file, entry) not in (entry, None):
            found.leave(entry.file, "is named twice, with different labels or parts")
            named[entry.file] = None
    found.entries = [entry for entry in named.values() if entry]
    if split_column:
        seen = {entry.part for entry in found.entries}
        found.parts = tuple(part for part in PARTS if part in seen)
        if found.entries and "train" not in seen:
            raise CourseError(
                f"No line of {table.name} has 'train' in its column {split_column!r}; "
                "expected train, and val and test if you have them."
            )
    return _sorted(found)


def _table(table: Path) -> tuple[list[tuple[int, dict]], tuple[str, str, str | None]]:
    """Return the lines of a table by number, and the columns that matter.

    Raises:
        CourseError: it cannot be read, or has no such columns.
    """
    text = _text(table)
    head = text.split("\n", 1)[0]
    mark = max(",;\t", key=head.count)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark)
        columns = list(reader.fieldnames or ())
        chosen = [
            next((c for c in columns if c.strip().lower() in known), None)
            for known in (_FILE_COLUMNS, _LABEL_COLUMNS, _SPLIT_COLUMNS)
        ]
        if chosen[0] is None or chosen[1] is None:
            raise CourseError(
                f"{table.name!r} has the columns {', '.join(map(short, columns[:9]))}; "
                "expected a column file and a column label, and split if you like."
            )
        return [(reader.line_num, row) for row in reader], tuple(chosen)
    except csv.Error as error:
        raise CourseError(f"{table.name!r} is no CSV file: {error}.") from error


def _text(table: Path) -> str:
    try:
        if table.stat().st_size > _MOST_TABLE:
            raise CourseError(f"{table.name!r} is too large for a table of files.")
        return table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CourseError(
            f"{table.name!r} is not written in UTF-8; save it as CSV UTF-8."
        ) from None
    except OSError as error:
        raise CourseError(
            f"{table.name!r} could not be opened: {error.strerror or error}."
        ) from error


def _entry(
    found: Listing, file: str, label: str, split: str | None, line: str
) -> Entry | None:
    """Return what a line names, or note why it names nothing."""
    if not file or not label:
        found.leave(file or line, f"has no {'label' if file else 'file'} ({line})")
        return None
    part = "" if split is None else _PART_OF.get(split.lower())
    if part is None:
        found.leave(file, f"has the split {short(split)!r} ({line}); expected train")
        return None
    path = _named(found.root, file)
    if not _within(found.root, path):
        found.leave(file, f"lies outside the folder of the CSV file ({line})")
        return None
    if not path.exists():
        found.leave(file, f"is not there ({line})")
        return None
    return Entry(_relative(found.root, path), label, part)


def _named(root: Path, file: str) -> Path:
    """Return the path that a table means, which Windows may have written."""
    path = root / file
    if "\\" in file and _within(root, path) and not path.exists():
        return root / file.replace("\\", "/")
    return path


def _relative(root: Path, path: Path) -> str:
    """Return one name for a file, however it was written: ``a/../b.jpg`` is b.jpg."""
    return Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()
