"""Memory, cores and GPU, also where a container may use only a part of them."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from course.doctor.line import Found, check, export, install, sentence
from course.doctor.software import torch_problem

KERNEL = 1.5e9  # bytes that a chapter's kernel may take, with a margin
CORES = 2  # that the course's minutes are for
GIGA = 1e9


def control_groups(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """Yield the folders of this process's control groups, the innermost first.

    Both versions of Linux's control groups are read. In a container the innermost may
    not be visible; then its parents are all there is.

    Args:
        controller: ``"memory"`` or ``"cpu"``.
        root: where ``proc`` and ``sys`` are.
    """
    try:
        text = (root / "proc/self/cgroup").read_text("utf-8")
    except OSError:  # not Linux
        return
    mount = root / "sys/fs/cgroup"
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = mount / controller if controllers else mount
        parts = [part for part in Path(path).parts if part not in ("/", "..")]
        for length in range(len(parts), -1, -1):
            folder = base.joinpath(*parts[:length])
            if folder.is_dir():
                yield folder


def _number(*files: Path) -> float:
    """Return the first number in the first of some files that is there, or infinity."""
    for file in files:
        try:
            words = file.read_text("utf-8").split()
        except OSError:
            continue
        if words and re.fullmatch(r"-?\d+", words[0]):
            return float(words[0])
    return math.inf


def _group_memory(folder: Path) -> tuple[float, float]:
    """Return limit and free bytes of a control group; infinity where it has none."""
    limit = _number(folder / "memory.max", folder / "memory.limit_in_bytes")
    used = _number(folder / "memory.current", folder / "memory.usage_in_bytes")
    if math.inf in (limit, used):
        return limit, limit
    try:
        stat = dict(re.findall(r"^(\w+) (\d+)$", _read(folder / "memory.stat"), re.M))
    except OSError:
        stat = {}
    # Files that were read once count as used, and are given back when asked for.
    cache = stat.get("total_inactive_file", stat.get("inactive_file", "0"))
    return limit, max(limit - used + int(cache), 0.0)


def _read(file: Path) -> str:
    return file.read_text("utf-8")


def memory_bytes(root: Path = Path("/")) -> tuple[float, float, float]:
    """Return the machine's memory, its limit here, and what is free; bytes.

    Infinity stands for what cannot be found out.

    Args:
        root: as for `control_groups`.
    """
    total, free = _machine_memory(root)
    groups = [_group_memory(folder) for folder in control_groups("memory", root)]
    limit = min([limit for limit, _ in groups], default=math.inf)
    return total, limit, min([free, *(left for _, left in groups)])


def _machine_memory(root: Path) -> tuple[float, float]:
    file = root / "proc/meminfo"
    if file.is_file():
        rows = dict(re.findall(r"^(\w+): +(\d+) kB$", _read(file), re.M))
        kilobytes = (rows.get(name) for name in ("MemTotal", "MemAvailable"))
        total, free = (int(kb) * 1024.0 if kb else math.inf for kb in kilobytes)
        return total, free
    try:
        import psutil  # where Jupyter brought it along
    except ImportError:
        return _asked_memory(), math.inf
    now = psutil.virtual_memory()
    return float(now.total), float(now.available)


def _asked_memory() -> float:
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # Windows
        return math.inf


@check("machine.memory", "memory")
def memory(root: Path = Path("/")) -> Found:
    """Look whether a kernel finds the memory that a chapter takes.

    Args:
        root: as for `control_groups`.
    """
    total, limit, free = memory_bytes(root)
    facts = {
        "total_gb": _gb(total),
        "limit_gb": _gb(limit) if limit < total else None,
        "free_gb": _gb(free),
    }
    most = min(total, limit, free)
    if math.isinf(most):
        return Found(None, "cannot be found out on this system", "", facts)
    parts = [f"{total / GIGA:.1f} GB"] if total < math.inf else []
    parts += [f"of which {limit / GIGA:.1f} GB may be used here"] * (limit < total)
    parts += [f"{free / GIGA:.1f} GB free"] * (free < math.inf)
    text, kernels = ", ".join(parts), int(most / KERNEL)
    if not kernels:
        remedy = "Close other programs and shut down kernels you no longer use."
        return Found(False, f"{text}; a kernel may take 1.5 GB", remedy, facts)
    several = f"{kernels} kernels" if kernels > 1 else "one kernel"
    return Found(True, f"{text}: enough for {several} at 1.5 GB", "", facts)


def _gb(count: float) -> float | None:
    return None if math.isinf(count) else round(count / GIGA, 2)


def cpu_quota(root: Path = Path("/")) -> float:
    """Return how many cores' time this process may use; infinity without a limit.

    Args:
        root: as for `control_groups`.
    """
    least = math.inf
    for folder in control_groups("cpu", root):
        quota = _number(folder / "cpu.max", folder / "cpu.cfs_quota_us")
        try:
            period = float(_read(folder / "cpu.max").split()[1])
        except (OSError, IndexError, ValueError):
            period = _number(folder / "cpu.cfs_period_us")
        if 0 < quota < math.inf and 0 < period < math.inf:
            least = min(least, quota / period)
    return least


@check("machine.cores", "cores", needed=False)
def cores(root: Path = Path("/"), seen: int | None = None) -> Found:
    """Look how many cores there are, and whether torch will take them for more.

    Args:
        root: as for `control_groups`.
        seen: how many a program sees; None for those of here.
    """
    seen, quota = seen or visible_cores(), cpu_quota(root)
    usable = min(seen, quota)
    facts = {"seen": seen, "quota": None if math.isinf(quota) else round(quota, 2)}
    text = f"{seen}" if quota >= seen else f"{usable:.3g} of {seen} (a limit)"
    threads = max(int(usable), 1)
    if threads < seen and not os.environ.get("OMP_NUM_THREADS"):
        text += f"; torch would start {seen} threads on them, and be slow"
        return Found(False, text, export("OMP_NUM_THREADS", str(threads)), facts)
    if usable < CORES:
        remedy = "Expect up to twice the minutes, or give it two cores."
        text += "; the course's minutes are for two"
        return Found(False, text, remedy, facts)
    return Found(True, text, "", facts)


def visible_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@check("machine.gpu", "GPU", needed=False)
def accelerator(root: Path = Path("/")) -> Found:
    """Look for a GPU that torch can use; the course needs none.

    Args:
        root: as for `control_groups`.
    """
    driver = nvidia_driver(root)
    facts = {"driver": driver, "kind": "", "name": ""}
    if torch_problem():
        return Found(None, "not looked for: torch does not load", "", facts)
    import torch

    found = getattr(torch, "accelerator", None)
    if found is None or not found.is_available():
        return _without(torch, driver, facts)
    device = found.current_accelerator()
    name, gigabytes = _about(torch, device)
    facts |= {"kind": device.type, "name": name, "memory_gb": gigabytes}
    parts = [name, f"{gigabytes:.0f} GB" if gigabytes else ""]
    parts += [f"driver {driver}"] * bool(driver and device.type == "cuda")
    text = ", ".join(filter(None, parts))
    try:
        torch.ones(64, 64, device=device).matmul(torch.ones(64, 64, device=device))
        found.synchronize()
    except (RuntimeError, AssertionError) as error:
        text += f": it does not compute ({sentence(error)})"
        remedy = 'Choose DEVICE = "cpu" in the chapters, or update the driver.'
        return Found(False, text, remedy, facts)
    return Found(True, f"{text}; used where a chapter's DEVICE is auto", "", facts)


def _without(torch: Any, driver: str, facts: dict[str, Any]) -> Found:
    if not driver:
        return Found(None, "none, and none is needed", "", facts)
    text = f"an NVIDIA driver ({driver}) is here, but torch {torch.__version__} "
    if torch.version.cuda is None:
        remedy = install("--force-reinstall", "torch", "torchvision")
        return Found(False, f"{text}was built without CUDA", remedy, facts)
    text += f"(CUDA {torch.version.cuda}) finds no GPU"
    remedy = "Update the NVIDIA driver, or go on without: the course needs no GPU."
    return Found(False, text, remedy, facts)


def _about(torch: Any, device: Any) -> tuple[str, float | None]:
    """Return the name and the memory in GB of a device, as far as torch knows them."""
    module = getattr(torch, device.type, None)
    try:
        about = module.get_device_properties(device)
        return about.name, round(about.total_memory / GIGA, 1)
    except (AttributeError, RuntimeError, AssertionError):  # Apple's has none of it
        return device.type, None


def nvidia_driver(root: Path = Path("/")) -> str:
    """Return the version of NVIDIA's driver, "present" where it is unknown, or "".

    Args:
        root: as for `control_groups`.
    """
    try:
        text = _read(root / "proc/driver/nvidia/version")
    except OSError:
        here = root == Path("/") and shutil.which("nvidia-smi")
        return "present" if here else ""
    number = re.search(r"\b\d+\.\d+(\.\d+)?\b", text)
    return number[0] if number else "present"
