"""Work that is killed anywhere ends with the bytes of work that nobody killed."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills by forks")
HARD = bool(os.environ.get("HARD"))
DEATHS = Path(__file__).with_name("deaths.py")
KILLS = (
    {"shapes": 3, "simclr": 2, "text": 5, "threads": 4},
    {"processes": 1},
)


@pytest.mark.parametrize("jobs", KILLS, ids=" ".join)
def test_killed_anywhere_and_started_again_it_ends_with_the_same_bytes(jobs, tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    kills = [str(25 if HARD else number) for number in jobs.values()]
    pairs = [text for pair in zip(jobs, kills, strict=True) for text in pair]
    done = subprocess.run(
        [sys.executable, DEATHS, tmp_path, str(seed), *pairs],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}"
