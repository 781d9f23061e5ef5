"""A process in which chapters are tried, with the package as it is or with a mutant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from mutants import planted, slices
from mutants.planted import Mutant

PLAY = Path(__file__).with_name("play.py")
Outcome = dict[str, Any]


class Trial:
    """Runs what leads to a claim, in one process that has loaded torch once."""

    def __enter__(self) -> Trial:
        own = {"OMP_NUM_THREADS": "1", "COURSE_PROGRESS": "", "MPLBACKEND": "agg"}
        self.process = subprocess.Popen(
            [sys.executable, str(PLAY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=slices.NOTEBOOKS,
            env={**os.environ, **own},
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def of(self, mutant: Mutant, *, planting: bool = True) -> Outcome:
        """Run what leads to where a mutant is caught, with it or without."""
        pieces = [
            [piece.cell, piece.source]
            for piece in slices.leading_to(mutant.chapter, mutant.catch)
            if piece.cell not in mutant.skip
        ]
        with planted.package(mutant if planting else None) as folder:
            plan = {"profile": "quick", "seed": 0, "folder": str(folder)}
            print(json.dumps({**plan, "pieces": pieces}), file=self.process.stdin)
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The process that tries {mutant.name!r} has ended.")
        return json.loads(answer)


def caught(mutant: Mutant, outcome: Outcome) -> bool:
    """Say whether a run fell where it had to, and not by some accident."""
    if mutant.guard:
        return outcome["error"] == mutant.guard
    held = [claim["holds"] for claim in outcome["claims"]]
    last = outcome["claims"][-1]["text"] if held else ""
    here = last.startswith(mutant.catch) and held[-1:] == [False]
    return outcome["error"] == "ClaimError" and here and all(held[:-1])


def green(mutant: Mutant, outcome: Outcome) -> bool:
    """Say whether a run without the mutant came to its end, the claim with it."""
    claims = outcome["claims"]
    there = mutant.guard or (claims and claims[-1]["text"].startswith(mutant.catch))
    return not outcome["error"] and bool(there) and all(c["holds"] for c in claims)
