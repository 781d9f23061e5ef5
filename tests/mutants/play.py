"""Run statements of a chapter with one package after another, and say what they claim.

    python tests/mutants/play.py

Each line that comes in is a plan as JSON: the pieces, each the id of a cell and a
source, the profile, the seed and the folder of the package. Each line that goes out
says what came of it: the claims and records that were made and, where a piece raised,
the id of its cell, the type of the error and its message. So torch is loaded once.
"""

from __future__ import annotations

import json
import linecache
import os
import sys
import time
from typing import Any

FRESH = 67280421310721  # torch's seed in a new kernel


def played(plan: dict[str, Any]) -> dict[str, Any]:
    """Run the pieces of a plan with the package in its folder."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "course"]:
        del sys.modules[name]
    os.environ["COURSE_PROFILE"] = plan["profile"]
    sys.path.insert(0, plan["folder"])
    began = time.process_time()
    try:
        return {**_run(**plan), "seconds": time.process_time() - began}
    finally:
        sys.path.remove(plan["folder"])


def _run(
    pieces: list[list[str]], folder: str, seed: int, profile: str
) -> dict[str, Any]:
    import torch

    import course
    from course import evidence

    if os.path.dirname(os.path.dirname(course.__file__)) != folder:
        raise RuntimeError(f"course came from {course.__file__}, not from {folder}.")
    torch.manual_seed(FRESH)
    names: dict[str, Any] = {"__name__": "__main__", "display": _shown}
    failure = {"cell": "", "error": "", "message": ""}
    for number, (cell, source) in enumerate(pieces):
        try:
            exec(_compiled(f"<{profile} {number}>", source), names)
            if "SEED" in names:
                names["SEED"] = seed
        except Exception as error:
            kind = type(error).__name__
            failure = {"cell": cell, "error": kind, "message": str(error)}
            break
    records, claims = evidence.so_far()
    return {"claims": claims, "records": records, **failure}


def _compiled(place: str, source: str) -> Any:
    """Compile a piece so that its functions' source is found again, as in a kernel."""
    linecache.cache[place] = (len(source), None, source.splitlines(True), place)
    return compile(source, place, "exec")


def _shown(*_: object) -> None:
    """Stand in for display, without drawing anything."""


def main() -> None:
    """Answer one plan after another until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a chapter prints
    for line in sys.stdin:
        print(json.dumps(played(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
