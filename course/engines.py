"""Where runs go: threads of this process, processes beside it, or a dask cluster."""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import (
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from types import ModuleType, TracebackType
from typing import Any, Self, TypeVar

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from course.errors import CourseError, unknown

T = TypeVar("T")
PACKAGE = "course"  # what a worker elsewhere must have
PATIENCE = 5  # seconds for a scheduler and its first worker to answer
_ONE_CORE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Engine:
    """Something that runs functions side by side; `open` chooses which.

    In a ``with`` block it is closed at the end; an interrupt inside closes it at once.

    Args:
        executor: what does the work.
        workers: how many functions run at once.
    """

    lost: tuple[type[BaseException], ...] = ()
    why = ""

    def __init__(self, executor: Executor, workers: int) -> None:
        self._executor = executor
        self._workers = workers

    def room(self) -> int:
        """Return how many functions it is worth to have submitted and not finished."""
        return self._workers

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Let a worker call a function, and return the future of what it returns.

        Raises:
            CourseError: the function cannot be sent to where the workers are, or they
                are gone.
        """
        try:
            return self._executor.submit(function, *arguments)
        except self.lost as error:
            raise CourseError(self.why) from error

    def close(self, *, now: bool = False) -> None:
        """End the workers: after what they are doing, or `now` where that is possible.

        What no worker has begun is cancelled.
        """
        self._executor.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        lost = isinstance(error, self.lost)
        self.close(now=lost or not (error is None or isinstance(error, Exception)))
        if lost:
            raise CourseError(self.why) from error


def open(backend: str, workers: int) -> Engine:
    """Return what runs functions side by side, by its name.

    Args:
        backend: ``"threads"`` of this process; ``"processes"`` of this machine;
            ``"dask"``, a cluster of dask.distributed that is started on this machine
            and ended again; ``"dask:tcp://HOST:8786"``, the one of that scheduler.
        workers: how many run at once; a scheduler elsewhere has as many as it has.

    Raises:
        CourseError: the backend is unknown, its package is missing, or no scheduler
            with a worker answers there.
    """
    if workers < 1:
        raise CourseError(f"workers was {workers}; expected 1 or more.")
    if backend.startswith("dask:"):
        return _Dask(workers, backend.removeprefix("dask:"))
    if backend not in _BACKENDS:
        raise unknown("backend", backend, (*_BACKENDS, "dask:tcp://HOST:8786"))
    return _BACKENDS[backend](workers)


class _Threads(Engine):
    def __init__(self, workers: int) -> None:
        super().__init__(ThreadPoolExecutor(workers, "worker"), workers)


# Processes of this machine ------------------------------------------------------------


class _Processes(Engine):
    lost = (BrokenProcessPool,)
    why = (
        "A worker process ended before its work did: killed, out of memory, or started "
        "by a script that does not guard its start with `if __name__ == '__main__':`. "
        "What was finished is kept; try again with fewer workers or with threads."
    )

    def __init__(self, workers: int) -> None:
        # Spawned, since a fork of a process with torch's threads may hang.
        context = multiprocessing.get_context("spawn")
        self._listens, self._holds = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(workers, context, _begin_alone, (self._listens,))
        super().__init__(pool, workers)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        _check_sendable(_Sending(io.BytesIO()).dump, (function, arguments))
        return super().submit(function, *arguments)

    def close(self, *, now: bool = False) -> None:
        if now:
            self._holds.close()
        try:
            super().close()
        finally:  # also of an interrupt while waiting
            self._holds.close()
            self._listens.close()


def _begin_alone(held: Connection) -> None:
    """Prepare a worker process: for one core, and to end with the process it serves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other one says when to end
    os.environ |= dict.fromkeys(_ONE_CORE, "1")
    threadpool_limits(1)  # of what a script that is imported again has loaded already
    _draw_alone()
    threading.Thread(target=_end_with, args=(held,), daemon=True).start()


def _draw_alone() -> None:
    # Its own lock is shared by processes: one that is ended would be said to leak it.
    tqdm.set_lock(threading.RLock())


def _end_with(held: Connection) -> None:
    # Nothing is ever sent: the pipe ends when it is closed, or its holder is killed.
    wait([held])
    os._exit(1)


class _Sending(pickle.Pickler):
    """Writes functions by their names, and refuses those of a notebook."""

    def reducer_override(self, value: Any) -> Any:
        if getattr(value, "__module__", None) == "__main__" and not hasattr(
            sys.modules["__main__"], "__file__"
        ):
            raise pickle.PicklingError(f"{value!r:.60} is defined in a notebook")
        return NotImplemented


def _check_sendable(write: Callable[[Any], Any], work: Any) -> None:
    try:
        write(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise CourseError(
            f"This work cannot be sent to another process ({error}); expected a "
            "function that stands in a module, such as a .py file beside the notebook. "
            "Write it there, or choose the backend 'threads'."
        ) from error


# A cluster of dask.distributed --------------------------------------------------------


class _Dask(Engine):
    def __init__(self, workers: int, address: str | None = None) -> None:
        distributed = _distributed()
        closed = distributed.comm.CommClosedError
        self.lost = (distributed.KilledWorker, CancelledError, closed)
        here = address is None
        where = "on this machine" if here else f"of {address}"
        self.why = (
            f"The dask workers {where} ended before their work did, or their scheduler "
            "is gone. What was finished is kept; start them anew and try again."
        )
        self._cluster = _cluster(distributed, workers) if here else None
        self._client = _client(distributed, self._cluster if here else address)
        if here:
            self._client.run(_draw_alone)
        super().__init__(self._client.get_executor(pure=False, retries=0), workers)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        write = importlib.import_module("cloudpickle").dumps
        _check_sendable(write, (function, arguments))
        return super().submit(function, *arguments)

    def room(self) -> int:
        """One more than the cluster has, so that nobody waits for the network."""
        return sum(self._client.nthreads().values()) + 1

    def close(self, *, now: bool = False) -> None:
        self._executor.shutdown(wait=False)  # cancels what nobody waited for
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def _distributed() -> ModuleType:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise CourseError(
            "The backend dask needs distributed, which is not installed; pip install "
            "-e '.[cluster]' in the folder of the workbook adds it, or choose the "
            "backend 'processes'."
        ) from error


def _cluster(distributed: ModuleType, workers: int) -> Any:
    """Start a scheduler and its workers, which only this machine can reach."""
    # Dask lets its workers give back freed memory at once; that costs a training, which
    # frees and asks all the time, as much again as its computing.
    keeping = {"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}
    try:
        with importlib.import_module("dask").config.set(keeping):
            return distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                memory_limit=0,
                env=dict.fromkeys(_ONE_CORE, "1"),
                silence_logs=logging.CRITICAL,
            )
    except (OSError, RuntimeError) as error:
        raise CourseError(
            f"No dask cluster could be started on this machine ({error}). Does a "
            "script guard its start with `if __name__ == '__main__':`? Otherwise "
            "choose the backend 'processes' or 'threads'."
        ) from error


def _client(distributed: ModuleType, where: Any) -> Any:
    """Return a client of a scheduler that answers and has a worker."""
    try:
        client = distributed.Client(where, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise CourseError(
            f"No dask scheduler answers at {str(where)!r}; expected an address such as "
            "tcp://HOST:8786, as `dask scheduler` prints it. Is it running, and may "
            "this machine reach it?"
        ) from error
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
        found = client.run(importlib.util.find_spec, PACKAGE)
    except TimeoutError as error:
        client.close()
        raise CourseError(
            f"The dask scheduler at {where} has no worker; start one, where this "
            f"workbook is installed: `dask worker {where} --nthreads 1 --no-nanny`."
        ) from error
    for worker, spec in found.items():
        if spec is None:
            client.close()
            raise CourseError(
                f"The dask worker {worker} does not have this workbook; install it "
                "there (pip install -e .) and start the worker anew."
            )
    return client


_BACKENDS: dict[str, Callable[[int], Engine]] = {
    "threads": _Threads,
    "processes": _Processes,
    "dask": _Dask,
}
