"""Thirty processes and one empty folder: nobody gets or leaves half of anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HARD = bool(os.environ.get("HARD"))
CROWD = Path(__file__).with_name("crowd.py")
WAYS = ["forked", "started"] if HARD else ["forked"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the crowd is made by forks")
@pytest.mark.parametrize("how", WAYS)
def test_thirty_at_once_get_what_one_alone_gets_and_leave_the_same(how, tmp_path):
    done = subprocess.run(
        [sys.executable, CROWD, tmp_path, "30", how],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}"
