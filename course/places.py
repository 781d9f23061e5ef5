"""Where Jupyter keeps what it needs to run, should the home folder take nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from course.progress import shown


@contextmanager
def for_jupyter() -> Iterator[Mapping[str, str]]:
    """Yield what the environment has to say so that a kernel or JupyterLab can start.

    Nothing, where Jupyter can write into its own folders; else folders that are removed
    at the end of the block, and with them a session's settings and layout.
    """
    closed = {name: place for name, place in _own().items() if not _takes(place)}
    if not closed:
        yield {}
        return
    with tempfile.TemporaryDirectory(
        prefix="course-jupyter-", ignore_cleanup_errors=True
    ) as scratch:
        yield {name: os.path.join(scratch, name.lower()) for name in closed}


def _own() -> dict[str, Path]:
    from jupyter_core import paths

    return {
        "JUPYTER_CONFIG_DIR": Path(paths.jupyter_config_dir()),
        "JUPYTER_DATA_DIR": Path(paths.jupyter_data_dir()),
        "JUPYTER_RUNTIME_DIR": Path(paths.jupyter_runtime_dir()),
    }


def _takes(place: Path) -> bool:
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False


def said(instead: Mapping[str, str]) -> str:
    """Return the sentence for a reader whose settings will not be kept; "" for others.

    Args:
        instead: what `for_jupyter` yields.
    """
    if not instead:
        return ""
    names = sorted({shown(place) for name, place in _own().items() if name in instead})
    return (
        f"Jupyter cannot write into {', '.join(names)}: it starts with folders of its "
        "own, and this session's settings and layout are not kept."
    )
