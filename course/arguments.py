"""Arguments of the wrong kind: said in one sentence where a reader's call comes in.

Without this a text where a number belongs shows itself deep inside numpy or torch, as a
page of somebody else's code.
"""

from __future__ import annotations

import errno
import functools
import inspect
import operator
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from course.errors import CourseError, shown

P = ParamSpec("P")
T = TypeVar("T")
MOST = 2**63  # what a whole number of torch holds
MOST_SEED = 2**32  # what scikit-learn takes
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "True or False",
    Sequence: "a list or a tuple",
    Iterable: "a list or a tuple",
    Mapping: "a dict",
    Callable: "a function",
    Path: "a path",
    os.PathLike: "a path",
    types.NoneType: "None",
}


def kinds_checked(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function refuse arguments of a kind that its annotations do not name.

    Only what a glance tells is looked at: numbers, texts, lists, and objects of the
    course or of torch. What an annotation says beyond that, or names of a module that
    is not loaded, is the function's own business.
    """
    signature = inspect.signature(function)
    where = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"

    @functools.wraps(function)
    def asked(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            given = signature.bind(*arguments, **named)
        except TypeError:  # a name that there is not: Python says so, and names it
            return function(*arguments, **named)
        kinds = _kinds(function)
        for name, value in given.arguments.items():
            if name in kinds:
                _check(where, name, value, kinds[name])
                given.arguments[name] = _plain(value, kinds[name])
        try:
            return function(*given.args, **given.kwargs)
        except (MemoryError, RuntimeError, ValueError) as error:
            if not _about_memory(error):
                raise
            raise CourseError(
                f"{where} needs more memory than this machine has; ask for less: fewer "
                "or smaller images, a smaller network, fewer at once."
            ) from error

    return asked


def check_fields(instance: Any) -> None:
    """Refuse fields of a dataclass of a kind that their annotations do not name."""
    kind = type(instance)
    for name, annotation in _kinds(kind).items():
        _check(kind.__name__, name, getattr(instance, name), annotation)


def _about_memory(error: BaseException) -> bool:
    words = (
        "can't allocate memory",
        "Storage size calculation overflowed",
        "Overflow when unpacking long long",  # torch, of a number of cells
        "array is too big",
        "Maximum allowed dimension exceeded",
    )
    return isinstance(error, MemoryError) or any(one in str(error) for one in words)


@functools.cache
def _kinds(owner: Any) -> dict[str, Any]:
    """Return the annotations of a function or a class that can be read now."""
    space = vars(sys.modules[owner.__module__])
    rows = inspect.get_annotations(owner)
    rows.pop("return", None)
    many = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if not isinstance(owner, type):
        parameters = inspect.signature(owner).parameters
        rows = {n: a for n, a in rows.items() if parameters[n].kind not in many}
    found = {}
    for name, text in rows.items():
        try:
            found[name] = eval(text, space) if isinstance(text, str) else text
        except (NameError, AttributeError):  # imported for the type checker alone
            continue
    return found


def _check(where: str, name: str, value: Any, kind: Any) -> None:
    if not _fits(value, kind):
        raise CourseError(
            f"{where} was given {name}={_shown(value)}; expected {_worded(kind)}."
        )
    if name == "seed" and isinstance(value, int) and not 0 <= value < MOST_SEED:
        raise CourseError(
            f"{where} was given seed={value}; expected 0 or more, a whole number below "
            f"{MOST_SEED}."
        )


def _shown(value: Any) -> str:
    """Return a value as a sentence holds it: short, on one line."""
    if hasattr(value, "shape"):
        return f"an array of shape {tuple(value.shape)}"
    text = shown(value)
    plain = value is None or text.startswith("an object of")
    return text if plain else f"{text} ({type(value).__name__})"


def _worded(kind: Any) -> str:
    origin = typing.get_origin(kind) or kind
    if origin in (types.UnionType, typing.Union):
        words = dict.fromkeys(_worded(one) for one in typing.get_args(kind))
        return " or ".join(words)
    if origin is Literal:
        return " or ".join(map(repr, typing.get_args(kind)))
    if origin in (Sequence, Iterable) and typing.get_args(kind) not in ((), (Any,)):
        return f"a list or a tuple, each item {_worded(typing.get_args(kind)[0])}"
    known = _WORDS.get(origin)
    return known or f"a {getattr(origin, '__name__', str(origin))}"


def _plain(value: Any, kind: Any) -> Any:
    """Return a whole number of numpy or torch as Python's own, where one is meant."""
    meant = kind is int or int in typing.get_args(kind)
    foreign = meant and not isinstance(value, int) and _whole(value, None)
    return operator.index(value) if foreign else value


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind is None:
        return value is None
    if origin in (types.UnionType, typing.Union):
        # A text that may be a path has to be one that the system takes.
        first = sorted(inner, key=lambda one: not _is_path(one))
        return any(_fits(value, one) for one in first)
    if origin in _LOOKS:
        return _LOOKS[origin](value, inner)
    if not isinstance(origin, type):
        return True  # a variable, say
    if getattr(origin, "_is_protocol", False):
        return all(hasattr(value, name) for name in _wanted(origin))
    if origin.__module__ == "torch" and origin.__name__ == "Tensor":
        return hasattr(value, "detach") or _numbers(value)
    if hasattr(origin, "kind") and getattr(value, "kind", None) == "test":
        return True  # forbid_test has more to say of it than that it is no TrainPart
    return isinstance(value, origin)


def _numbers(value: Any) -> bool:
    """Say whether torch makes a tensor of a list or an array."""
    if not isinstance(value, list | tuple) and not hasattr(value, "shape"):
        return False
    try:
        sys.modules["torch"].as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def _is_path(kind: Any) -> bool:
    return (typing.get_origin(kind) or kind) in (Path, os.PathLike)


def _wanted(protocol: type) -> set[str]:
    names = {*vars(protocol), *inspect.get_annotations(protocol)}
    return {name for name in names if not name.startswith("_")}


def _whole(value: Any, _: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return abs(operator.index(value)) < MOST
    except (TypeError, RuntimeError):
        return False


def _number(value: Any, _: Any) -> bool:
    if isinstance(value, str | bytes):
        return False
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False
    return True


def path_of(value: Any) -> Path:
    """Return the path that a reader wrote.

    Raises:
        CourseError: no system takes it for one.
    """
    if not _path(value, None):
        raise CourseError(f"A path was given as {_shown(value)}; expected a text.")
    return Path(value)


def _text(value: Any, _: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any, _: Any) -> bool:
    return isinstance(value, bool | int) or type(value).__name__ in ("bool_", "bool")


def _path(value: Any, _: Any) -> bool:
    if not isinstance(value, str | os.PathLike):
        return False
    try:
        os.stat(Path(value).expanduser())
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RuntimeError) as error:  # the last: no such home
        if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
            return True  # said where it is opened
        reason = getattr(error, "strerror", None) or str(error)
        raise CourseError(f"{_shown(value)} is no path: {reason}.") from error
    return True


def _list(value: Any, inner: tuple[Any, ...]) -> bool:
    if isinstance(value, str | bytes | Mapping | set) or not hasattr(value, "__len__"):
        return False
    return _items(value, inner)


def _row(value: Any, inner: tuple[Any, ...]) -> bool:
    if not inner or inner[-1] is Ellipsis:
        return _list(value, inner[:1])
    if hasattr(value, "shape"):
        return tuple(value.shape) == (len(inner),)
    fits = isinstance(value, list | tuple) and len(value) == len(inner)
    return fits and all(map(_fits, value, inner))


def _items(value: Any, inner: tuple[Any, ...]) -> bool:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return False
    if hasattr(value, "shape"):
        one = 0.5 if "float" in str(getattr(value, "dtype", "")) else 0
        rows = not inner or typing.get_origin(inner[0]) in (list, tuple, Sequence)
        plain = len(value.shape) == 1 and _fits(one, inner[0]) if inner else False
        return bool(len(value.shape)) and (rows or plain or inner[0] is Any)
    if not isinstance(value, list | tuple | range | set) or not inner:
        return True
    each = {type(one): one for one in value}  # one of a kind: lists may be long
    return all(_fits(one, inner[0]) for one in each.values())


def _mapping(value: Any, _: Any) -> bool:
    return isinstance(value, Mapping)


def _call(value: Any, _: Any) -> bool:
    return callable(value)


_LOOKS: dict[Any, Callable[[Any, tuple[Any, ...]], bool]] = {
    Any: lambda value, _: True,
    Literal: lambda value, _: True,  # refused with the nearest name, where it is used
    int: _whole,
    float: _number,
    str: _text,
    bool: _flag,
    Path: _path,
    os.PathLike: _path,
    Sequence: _list,
    list: _list,
    tuple: _row,
    Iterable: _items,
    Mapping: _mapping,
    dict: _mapping,
    Callable: _call,
}
