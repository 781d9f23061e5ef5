"""Text that every Python carries: what the standard library says about itself.

Docstrings are read from the sources by `ast`, so nothing is imported, except for
modules that are written in C and have their docstrings inside. The same Python gives
the same corpus, in the same order; another version gives a slightly different one.
"""

from __future__ import annotations

import ast
import gc
import inspect
import json
import re
import sys
import sysconfig
import types
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.machinery import BuiltinImporter, ExtensionFileLoader
from importlib.util import find_spec
from pathlib import Path

import torch

from course.arguments import kinds_checked
from course.data.texts import KINDS, TextPart, TextTask
from course.errors import CourseError

__all__ = ["TOPICS", "Docstring", "TextPart", "TextTask", "corpus", "topics_task"]

TOPICS: dict[str, tuple[str, ...]] = {
    topic: tuple(modules.split())
    for topic, modules in {
        "text and markup": (
            "_markupbase codecs difflib gettext html locale re readline rlcompleter "
            "sre_compile sre_constants sre_parse string stringprep textwrap "
            "unicodedata xml"
        ),
        "data and numbers": (
            "_collections_abc _pydatetime _pydecimal _weakrefset array bisect builtins "
            "calendar cmath collections colorsys copy datetime decimal enum fractions "
            "functools graphlib heapq itertools math numbers operator pprint random "
            "reprlib statistics struct types weakref zoneinfo"
        ),
        "files and formats": (
            "_compression aifc bz2 chunk compression configparser copyreg csv dbm "
            "filecmp fileinput fnmatch genericpath glob gzip imghdr linecache lzma "
            "marshal netrc ntpath pathlib pickle plistlib posixpath shelve shutil "
            "sndhdr sqlite3 stat sunau tarfile tempfile tomllib wave xdrlib zipfile "
            "zlib"
        ),
        "operating system": (
            "_pyio _strptime argparse cmd crypt ctypes errno fcntl getopt "
            "getpass grp io logging mmap nis optparse os pipes platform pty pwd "
            "resource shlex syslog termios time tty"
        ),
        "concurrency": (
            "_thread _threading_local asynchat asyncio asyncore concurrent contextvars "
            "multiprocessing queue sched select selectors signal subprocess threading"
        ),
        "internet": (
            "base64 binascii cgi cgitb email ftplib hashlib hmac http imaplib "
            "ipaddress json mailbox mailcap mimetypes nntplib nturl2path poplib quopri "
            "secrets smtpd smtplib socket socketserver ssl telnetlib urllib uu uuid "
            "webbrowser wsgiref xmlrpc"
        ),
        "windows and drawing": "curses tkinter turtle",
        "tools and runtime": (
            "__future__ abc annotationlib ast atexit bdb cProfile code codeop "
            "compileall contextlib dataclasses dis distutils doctest ensurepip "
            "faulthandler gc imp importlib inspect keyword modulefinder opcode pdb "
            "pickletools pkgutil profile pstats py_compile pyclbr pydoc runpy site "
            "symtable sys sysconfig tabnanny timeit token tokenize trace traceback "
            "tracemalloc typing unittest venv warnings zipapp zipimport"
        ),
    }.items()
}
"""Eight families of modules, after the parts of Python's Library Reference."""

_TOPIC_OF = {name: topic for topic, names in TOPICS.items() for name in names}

# Tests and tools about themselves, tables of characters, and what is read elsewhere.
_LEFT_OUT = {
    "antigravity",
    "encodings",
    "idlelib",
    "lib2to3",
    "msilib",
    "pydoc_data",
    "test",
    "this",
    "turtledemo",
}
_INNER = {"test", "tests", "idle_test", "_bundled"}

# Modules written in C. Not readline, which may write to the terminal, and not
# faulthandler, which notebooks change.
_IN_C = (
    "_bisect _bz2 _codecs _collections _contextvars _csv _ctypes _curses _datetime "
    "_decimal _elementtree _functools _hashlib _heapq _io _json _locale _lzma "
    "_operator _pickle _queue _random _socket _sqlite3 _ssl _statistics _string "
    "_struct _symtable _thread _tracemalloc _uuid _warnings _weakref _zstd array "
    "atexit binascii builtins cmath errno fcntl gc grp itertools marshal "
    "math mmap nt posix pwd pyexpat resource select sys syslog termios time "
    "unicodedata zlib"
)
_KNOWN_AS = {
    "_elementtree": "xml.etree.ElementTree",
    "_thread": "_thread",
    "_zstd": "compression.zstd",
    "nt": "os",
    "posix": "os",
    "pyexpat": "xml.parsers.expat",
}

_ADDRESS = re.compile(r"<?[\w.+-]+@[\w-]+(?:\.[\w-]+)+>?")
_DOCUMENTED = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    staticmethod,
    property,
)
# Notebooks, pytest and debuggers put functions of their own in their places.
_REPLACED = re.compile(r"input|\w*hook")

_BODIES = (ast.If, ast.Try, ast.ExceptHandler, ast.With)
_DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Docstring:
    """What one module, class, function or page of help says about itself.

    Args:
        name: dotted, such as ``"textwrap.wrap"``; pages of ``help()`` begin with
            ``"help."``, such as ``"help.for"``.
        text: the docstring, without its indentation and without e-mail addresses.
        file: where it stands, such as ``"asyncio/tasks.py"`` or ``"math (C)"``.
        topic: one of `TOPICS`; empty where the module belongs to none.
    """

    name: str
    text: str
    file: str
    topic: str

    @property
    def public(self) -> bool:
        """Whether no part of the name begins with an underscore."""
        return not any(part.startswith("_") for part in self.name.split("."))

    @property
    def first_line(self) -> str:
        """The first line of the text: what a docstring says in short."""
        return self.text.split("\n", 1)[0]


@lru_cache(maxsize=1)
@kinds_checked
def corpus() -> tuple[Docstring, ...]:
    """Return every docstring of the running Python's standard library (chapter 09).

    Sorted by file and name, each name and each text once. Where the sources are not
    there (a zipped or embedded Python), what is left are the pages of ``help()`` and
    the modules written in C, and one printed sentence says so.

    Raises:
        CourseError: not even those are there.
    """
    with _no_collection():
        written = list(_written())
    rest = [*_pages(), *_in_c()]
    if not written:
        _say_missing(rest)
    return _once([one for one in (*written, *rest) if re.search(r"\w", one.text)])


def _once(found: list[Docstring]) -> tuple[Docstring, ...]:
    """Keep of each text the name that a reader would call, of each name the most."""
    texts: dict[str, Docstring] = {}
    for one in sorted(found, key=lambda one: (not one.public, one.file, one.name)):
        texts.setdefault(one.text, one)
    names: dict[str, Docstring] = {}
    # Some modules are there twice, in Python and in C, and say nearly the same.
    for one in sorted(texts.values(), key=lambda one: (-len(one.text), one.file)):
        names.setdefault(one.name, one)
    return tuple(sorted(names.values(), key=lambda one: (one.file, one.name)))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Hold the garbage collector: it would walk through every tree again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _say_missing(rest: list[Docstring]) -> None:
    problem = f"The standard library's sources are not in {_library()}"
    if not any(one.name.startswith("help.") for one in rest):
        raise CourseError(
            f"{problem}, and neither are the pages of help(); chapter 09 needs a "
            "Python that brings them, such as one from python.org, conda or uv."
        )
    print(
        f"{problem}: the corpus is the {len(rest)} texts of help() and of modules "
        "written in C, and too small for the topics task."
    )


def _library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


# Written in Python: read, never run ---------------------------------------------------


def _written() -> Iterator[Docstring]:
    root = _library()
    for path in _sources(root):
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):  # one bad file spoils no corpus
            continue
        inner = path.relative_to(root)
        parts = inner.with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        for name, text in _spoken(tree, module):
            yield _docstring(name, text, inner.as_posix(), parts[0])


def _sources(root: Path) -> Iterator[Path]:
    """Yield the library's own files: what was installed into it is not looked at."""
    for name in sorted(sys.stdlib_module_names - _LEFT_OUT):
        for path in (root / f"{name}.py", *sorted((root / name).rglob("*.py"))):
            inner = path.relative_to(root).parts
            if path.is_file() and not _INNER.intersection(inner):
                yield path


def _spoken(tree: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the docstring of everything that is defined."""
    if text := ast.get_docstring(tree):
        yield name, text
    pending = list(reversed(tree.body))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ClassDef):
            yield from _spoken(node, f"{name}.{node.name}")
        elif isinstance(node, _DEFINED) and (text := ast.get_docstring(node)):
            yield f"{name}.{node.name}", text
        elif isinstance(node, _BODIES):  # what is defined on some platforms only
            pending += reversed(list(ast.iter_child_nodes(node)))


def _docstring(name: str, text: str, file: str, module: str) -> Docstring:
    clean = _ADDRESS.sub("", inspect.cleandoc(text)).strip()
    topic = _TOPIC_OF.get(module) or _TOPIC_OF.get(module.lstrip("_"), "")
    return Docstring(name, clean, file, topic)


# Not written in Python: pages of help(), and modules in C -----------------------------


def _pages() -> Iterator[Docstring]:
    """Yield the pages of ``help()``, each paragraph in the first page that has it."""
    try:
        topics = import_module("pydoc_data.topics").topics
    except ImportError:  # some distributions leave it out
        return
    seen: set[str] = set()
    for name in sorted(topics):
        paragraphs = re.split(r"\n\s*\n", topics[name])
        new = [text for text in dict.fromkeys(paragraphs) if text not in seen]
        seen.update(new)
        text = "\n\n".join(new)
        yield _docstring(f"help.{name}", text, "pydoc_data/topics.py", "")


def _in_c() -> Iterator[Docstring]:
    for hidden in _IN_C.split():
        if not _is_c(hidden):
            continue
        name = _KNOWN_AS.get(hidden, hidden.lstrip("_"))
        try:
            module = import_module(hidden)
        except ImportError:  # built without the library that it needs
            continue
        top, file = name.split(".")[0], f"{hidden} (C)"
        for key, text in _inside(module, {hidden, name, top}):
            yield _docstring(f"{name}.{key}" if key else name, text, file, top)


def _is_c(name: str) -> bool:
    found = find_spec(name)
    loader = found and found.loader
    return loader is BuiltinImporter or isinstance(loader, ExtensionFileLoader)


def _inside(module: types.ModuleType, homes: set[str]) -> Iterator[tuple[str, str]]:
    """Yield names and docstrings of a module's own functions, classes and methods."""
    yield "", module.__doc__ or ""
    for name, value in sorted(vars(module).items()):
        if name.startswith("__") or _REPLACED.fullmatch(name):
            continue
        if isinstance(value, type) and value.__module__ in homes:
            yield name, _own_text(value)
            for inner, member in sorted(vars(value).items()):
                if isinstance(member, _DOCUMENTED) and not inner.startswith("__"):
                    yield f"{name}.{inner}", _own_text(member)
        elif isinstance(value, _DOCUMENTED):
            yield name, _own_text(value)


def _own_text(value: object) -> str:
    text = getattr(value, "__doc__", None)
    return text if isinstance(text, str) else ""


# The topics task ----------------------------------------------------------------------

SPLIT = Path(__file__).parents[1] / "tables" / "topics.json"
_SHARES = {"train": 0.5, "validation": 0.2, "test": 0.3}
_LARGE = 2 / 3  # of what a part should hold: a larger file would be all there is
_LEAST_WORDS = 4
_LEAST = 30  # docstrings of a topic in each part


@lru_cache(maxsize=1)
@kinds_checked
def topics_task() -> TextTask:
    """Return the task: to which of `TOPICS` does a docstring belong (chapter 09)?

    Split by file: no file, nor its twin in C, has docstrings in two parts. In the
    texts, names of modules and the docstring's own name are blanked with ``_``; see
    `masked`. Docstrings with fewer than four other words are left out, and so is a
    topic of which this Python has too little: one sentence says so then (some Linux
    distributions leave out tkinter). The split is a table, the same for every Python;
    a module that the table does not know is in the train part.

    Raises:
        CourseError: the standard library's sources are not there.
    """
    chosen = labelled()
    places = _places(chosen)
    counts = Counter((one.topic, places[one.file]) for one in chosen)
    names = _kept(counts)
    parts = []
    for kind in KINDS:
        inside = [
            (names.index(one.topic), masked(one), one.name)
            for one in chosen
            if places[one.file] == kind and one.topic in names
        ]
        labels, texts, known = zip(*inside, strict=True)
        parts.append(TextPart(texts, torch.tensor(labels), names, kind, known))
    return TextTask("topics", *parts)


def _kept(counts: Counter[tuple[str, str]]) -> tuple[str, ...]:
    """Return the topics of which every part has enough, and say which are left out."""
    least = {topic: min(counts[topic, kind] for kind in KINDS) for topic in TOPICS}
    kept = tuple(topic for topic in TOPICS if least[topic] >= _LEAST)
    if len(kept) < len(TOPICS) // 2:
        raise CourseError(
            "The topics task needs the sources of the standard library, and in "
            f"{_library()} there are too few; use a Python that brings them, such as "
            "one from python.org, conda or uv."
        )
    for topic in sorted(TOPICS.keys() - kept):
        print(
            f"This Python has too few docstrings of {topic!r} (in "
            f"{', '.join(TOPICS[topic])}): the topics task goes without that topic."
        )
    return kept


def masked(one: Docstring) -> str:
    """Return a docstring's text with the names that give its topic away blanked.

    Args:
        one: any docstring. Blanked with ``_`` are the names of all modules in `TOPICS`
            and each part of the docstring's own dotted name and file, as whole words,
            in upper or lower case.
    """
    own = f"{one.name} {one.file.removesuffix('.py')}".lower()
    hidden = {*re.findall(r"\w+", own), *re.findall(r"[^\W_]+", own), *_TOPIC_OF}
    return re.sub(
        r"\w+", lambda word: "_" if word[0].lower() in hidden else word[0], one.text
    )


def _enough(text: str) -> bool:
    return len(re.findall(r"[^\W\d_]{2,}", text)) >= _LEAST_WORDS


def _places(found: list[Docstring]) -> dict[str, str]:
    """Say for each file to which part it goes: the table knows, and all else is train.

    So what the shipped language model was tested on is tested on with every Python.
    """
    parts = json.loads(SPLIT.read_text("utf-8"))["parts"]
    known = {module: kind for kind, modules in parts.items() for module in modules}
    return {one.file: known.get(_module(one.file), "train") for one in found}


def split(found: Sequence[Docstring]) -> dict[str, str]:
    """Say for each module to which part it goes; large ones first, where most lacks.

    Made once into a table by `benchmarks/topics_split.py`, since modules grow and new
    ones come: with each Python some would change their part.
    """
    places = {}
    for topic in TOPICS:
        sizes = Counter(_module(one.file) for one in found if one.topic == topic)
        goals = {kind: share * sizes.total() for kind, share in _SHARES.items()}
        left = dict(goals)
        for module in sorted(sizes, key=lambda module: (-sizes[module], module)):
            size = sizes[module]
            fits = [k for k in KINDS if k == "train" or size <= _LARGE * goals[k]]
            places[module] = max(fits, key=lambda kind: left[kind] / goals[kind])
            left[places[module]] -= size
    return places


def labelled() -> list[Docstring]:
    """Return the docstrings with a topic and enough words to tell it by."""
    return [one for one in corpus() if one.topic and _enough(masked(one))]


def _module(file: str) -> str:
    """Return one name for a file and its twin in C, which say nearly the same."""
    return re.sub(r"^_(py)?|\.py$| \(C\)$", "", file)
