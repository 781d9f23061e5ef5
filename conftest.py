"""Every test, and every kernel that a test starts, runs without a network."""

import os
import sys
from pathlib import Path

OFFLINE = Path(__file__).parent / "tests" / "offline"

# Chapters are compared in the profile in which they were committed.
os.environ.pop("COURSE_PROFILE", None)
# No test and no kernel that it starts writes into a reader's progress.
os.environ["COURSE_PROGRESS"] = ""
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH", "")])
)
# Tests that run side by side share the cores, in their kernels too; more threads than
# cores would wait for each other.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(max(1, (os.cpu_count() or 1) // workers))
# Figures are drawn without a screen, and no test reads a reader's own settings.
os.environ.setdefault("MPLBACKEND", "agg")

sys.modules.pop("sitecustomize", None)
sys.path.insert(0, str(OFFLINE))
import sitecustomize  # noqa: E402, F401

sys.path.remove(str(OFFLINE))
