"""Every test, and every kernel that a test starts, runs without a network."""

import os
import sys
from pathlib import Path

OFFLINE = Path(__file__).parent / "tests" / "offline"

# Chapters are compared in the profile in which they were committed.
os.environ.pop("COURSE_PROFILE", None)
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH", "")])
)
# Figures are drawn without a screen, and no test reads a reader's own settings.
os.environ.setdefault("MPLBACKEND", "agg")

sys.modules.pop("sitecustomize", None)
sys.path.insert(0, str(OFFLINE))
import sitecustomize  # noqa: E402, F401

sys.path.remove(str(OFFLINE))
