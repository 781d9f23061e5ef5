"""Run a reader's function so that nothing of it gets out, however it ends."""

from __future__ import annotations

import builtins
import contextlib
import copy
import ctypes
import itertools
import random
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from IPython.utils.capture import capture_output
from torch import nn

Result = TypeVar("Result")
# Seconds from one alarm to the next: an answer that catches the first is met again on
# its way back into its `try`, which takes a microsecond or so.
AGAIN = (1e-6, 2e-6, 5e-6, 1e-5, 1e-4)
COPIED = (list, dict, set, torch.Tensor, np.ndarray, nn.Module)


class TimeUp(BaseException):
    """The time of a check is over; no `except Exception` of an answer catches it."""


class NoInput(Exception):
    """An answer asked the keyboard."""


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what a call returns; end it once the time is over, also within `sleep`.

    A single call into compiled code cannot be stopped before it comes back. On Windows
    and outside the main thread, neither can `sleep`, nor a loop that catches all.

    Raises:
        TimeUp: where it was still running.
    """
    alarm = hasattr(signal, "setitimer") and (
        threading.current_thread() is threading.main_thread()
    )
    return (_alarmed if alarm else _haunted)(seconds, call)


def _guarded(call: Callable[[], Result]) -> Result:
    """Call; what is under this frame, and nothing else, may be ended."""
    return call()


def _is_guarded(frame: types.FrameType | None) -> bool:
    while frame is not None and frame.f_code is not _guarded.__code__:
        frame = frame.f_back
    return frame is not None


def _alarmed(seconds: float, call: Callable[[], Result]) -> Result:
    """Use the timer of the system: it wakes a sleeping answer as well."""
    waits = itertools.cycle(AGAIN)

    def over(_: int, frame: types.FrameType | None) -> None:
        if _is_guarded(frame):
            signal.setitimer(signal.ITIMER_REAL, next(waits))
            raise TimeUp

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return _guarded(call)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _haunted(seconds: float, call: Callable[[], Result]) -> Result:
    """Use a thread that throws into this one: Windows, and other threads than main."""
    me, done = threading.get_ident(), threading.Event()
    throw = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def haunt() -> None:
        wait = seconds
        while not done.wait(wait):
            wait = 0.1
            if _is_guarded(sys._current_frames().get(me)):
                throw(ctypes.c_ulong(me), ctypes.py_object(TimeUp))

    watcher = threading.Thread(target=haunt, daemon=True)
    watcher.start()
    try:
        return _guarded(call)
    finally:
        done.set()
        while watcher.is_alive():  # what was thrown too late arrives here
            with contextlib.suppress(TimeUp):
                watcher.join()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave random numbers and torch's switches as they were before.

    Inside, torch has one thread: for arrays this small more of them only wait for each
    other, and in a full room they wait for long.
    """
    numbers, arrays = random.getstate(), np.random.get_state()
    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(numbers)
        np.random.set_state(arrays)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        torch.set_num_threads(threads)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep prints, displays and warnings away from the page, and the keyboard too."""
    before = builtins.input
    builtins.input = _no_input
    try:
        with capture_output(), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        builtins.input = before


def _no_input(*_: Any) -> str:
    raise NoInput("it asks the keyboard; use the arguments instead")


def isolated(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that works on copies of the variables that it names.

    What a notebook defined stays as it is, whatever the answer, or a function of the
    notebook that it calls, appends to or sets.
    """
    if not isinstance(function, types.FunctionType):
        return function
    space = dict(function.__globals__)
    twin = _moved(function, space)
    for name in _named(function):
        value = space.get(name)
        if value is function:
            space[name] = twin
        elif _is_neighbour(value, function):
            space[name] = _moved(value, space)
        elif isinstance(value, COPIED):
            with contextlib.suppress(Exception):
                space[name] = copy.deepcopy(value)
    return twin


def _moved(function: types.FunctionType, space: dict[str, Any]) -> types.FunctionType:
    """Return the same function over other global names."""
    code, defaults = function.__code__, copy.copy(function.__defaults__)
    twin = types.FunctionType(
        code, space, function.__name__, defaults, function.__closure__
    )
    twin.__kwdefaults__ = copy.copy(function.__kwdefaults__)
    twin.__doc__ = function.__doc__
    return twin


def _named(function: types.FunctionType) -> set[str]:
    """Return the global names that a function reads, and those of what it calls."""
    names: set[str] = set()
    waiting = [function.__code__]
    while waiting:
        code = waiting.pop()
        new = set(code.co_names) - names
        names |= new
        waiting += [c for c in code.co_consts if isinstance(c, types.CodeType)]
        values = (function.__globals__.get(name) for name in new)
        waiting += [v.__code__ for v in values if _is_neighbour(v, function)]
    return names


def _is_neighbour(value: Any, function: types.FunctionType) -> bool:
    if not isinstance(value, types.FunctionType):
        return False
    return value.__globals__ is function.__globals__


def calls(function: Callable[[], Any], target: Callable[..., Any]) -> bool:
    """Say whether a call runs the code of another function on its way.

    Args:
        function: called once, without arguments.
        target: what is looked for, a Python function.
    """
    seen = False

    def look(frame: types.FrameType, event: str, _: Any) -> None:
        nonlocal seen
        seen = seen or (event == "call" and frame.f_code is target.__code__)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        function()
    finally:
        sys.setprofile(before)
    return seen
