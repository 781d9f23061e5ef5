"""The doctor: what it says of broken surroundings, and that it never breaks itself."""

import hashlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from course import cli, doctor, fetch, models, progress, runner
from course.doctor import files, hardware, jupyter, page, probe, software, speed
from course.doctor.line import Found, Line, check, install, install_all, tidy
from course.errors import CourseError

ROOT = Path(__file__).parents[1]
GIB = 2**30
GOOD = {"torch": "", "torchvision": "", "numpy": "", probe.NMS: ""}
BAD = {**GOOD, "torch": "OSError: libc10.so: cannot open shared object file"}


@pytest.fixture
def well(monkeypatch, tmp_path):
    """A machine on which all goes well, as far as this one does not matter."""
    monkeypatch.setattr(software, "loaded", lambda: GOOD)
    takes(monkeypatch, 1)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))


def takes(monkeypatch, times, share=0.9):
    """Pretend that a step takes so many times as long as on the reference machine."""
    now = speed.Measured(times * speed.REFERENCE.seconds, share)
    monkeypatch.setattr(speed, "measured", lambda: now)


def versions(monkeypatch, **known):
    """Pretend that these packages are installed, and no others."""
    monkeypatch.setattr(software, "version", lambda name: known.get(name, ""))
    monkeypatch.setattr(jupyter, "version", software.version)


def asks(monkeypatch, *requirements):
    """Pretend that a package's metadata asks for these."""
    monkeypatch.setattr(software.metadata, "requires", lambda _: list(requirements))


def project(folder, *requirements):
    file = folder / "pyproject.toml"
    listed = json.dumps(list(requirements))
    file.write_text(f"[project]\ndependencies = {listed}\n", "utf-8")
    return file


def machine(folder, groups="", **contents):
    """A root folder with the files of Linux that tell of memory and cores."""
    every = {"proc/self/cgroup": groups, **contents}
    for name, text in every.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(text), "utf-8")
    return folder


def meminfo(total, free):
    kilobytes = [int(gb * 1e9 / 1024) for gb in (total, free)]
    text = "MemTotal:       {} kB\nMemFree: 5 kB\nMemAvailable:   {} kB\n"
    return text.format(*kilobytes)


# A check and what becomes of it


def test_a_check_that_breaks_is_a_line_of_one_sentence():
    @check("files.some", "some file")
    def broken() -> Found:
        raise KeyError("a\nb")

    line = broken()
    assert line.ok is False and line.needed
    assert line.found == "This check broke: KeyError: 'a\\nb'."
    assert line.remedy


def test_a_missing_package_is_a_line_with_the_command_that_installs_it():
    @check("files.some", "some file")
    def broken() -> Found:
        import no_such_package.inside  # noqa: F401

    line = broken()
    assert line.found == "no_such_package cannot be imported."
    assert "-m pip install" in line.remedy and " -e " in line.remedy


def test_an_error_of_the_course_gives_its_two_parts_to_found_and_remedy():
    @check("files.some", "some file")
    def refused() -> Found:
        raise CourseError("The file is not there; clone the repository.")

    line = refused()
    assert (line.found, line.remedy) == (
        "The file is not there",
        "Clone the repository.",
    )


def test_neither_home_nor_user_nor_machine_is_named(monkeypatch):
    monkeypatch.setenv("HOME", "/home/torch")
    monkeypatch.setenv("LOGNAME", "torch")
    monkeypatch.setattr("platform.node", lambda: "lab-07")
    told = tidy("/home/torch/w, /scratch/torch/x, /net/lab-07/y: torch 2.14")
    assert told == "~/w, /scratch/…/x, /net/…/y: torch 2.14"
    assert tidy({"a": "/home/torch", "n": 3}) == {"a": "~", "n": 3}
    assert tidy("/home/torchvision") == "/home/torchvision"


def test_the_command_that_installs_names_this_python_and_the_tested_versions(
    monkeypatch,
):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv/bin/python"))
    asked = f"{Path('.venv/bin/python')} -m pip install -c constraints.txt"
    assert install("torch>=2.11") == f"{asked} 'torch>=2.11'"
    assert install_all(["torch"]) == f"{asked} -e ."
    monkeypatch.chdir(ROOT / "docs")
    assert install_all(["torch"]).endswith(f"-e {tidy(str(ROOT))}")


def test_a_copy_that_is_no_checkout_installs_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("course.doctor.line.ROOT", tmp_path)
    assert install_all(["torch>=2.11"]).endswith("-m pip install 'torch>=2.11'")


# Software


def test_an_old_python_is_refused_with_the_version_that_is_needed():
    line = software.python(now=(3, 10, 4))
    assert line.ok is False and "3.10.4" in line.found and "3.11" in line.remedy
    assert software.python(now=(3, 11, 0)).ok and software.python(now=(3, 13, 0)).ok


def test_this_python_is_right_and_the_oldest_is_the_projects():
    assert software.python().ok
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    least = ".".join(map(str, software.LEAST))
    assert whole["project"]["requires-python"] == f">={least}"


def test_packages_that_are_missing_or_too_old_are_named(tmp_path, monkeypatch):
    file = project(tmp_path, "torch>=2.11", "captum>=0.8", "numpy>=2.0")
    versions(monkeypatch, torch="2.9.1+cpu", numpy="2.4.6")
    line = software.packages(file)
    assert line.ok is False
    assert "torch 2.9.1+cpu (>=2.11)" in line.found
    assert "captum is missing (>=0.8)" in line.found
    assert "numpy" not in line.found
    assert "-m pip install" in line.remedy
    assert line.facts == {"torch": "2.9.1+cpu", "captum": "", "numpy": "2.4.6"}


def test_a_requirement_of_another_system_or_an_extra_is_none(tmp_path, monkeypatch):
    file = project(
        tmp_path,
        "numpy>=2",
        'pywin>=1; sys_platform == "amiga"',
        'timm>=1; extra == "timm"',
    )
    versions(monkeypatch, numpy="2.4.6")
    assert software.packages(file).found == "all 1 that the course needs"


def test_a_copy_without_pyproject_reads_what_the_installation_noted(
    tmp_path, monkeypatch
):
    asks(monkeypatch, "numpy>=99")
    monkeypatch.setattr("course.doctor.line.ROOT", tmp_path)
    line = software.packages(tmp_path / "pyproject.toml")
    assert line.ok is False and line.remedy.endswith("'numpy>=99'")


def test_versions_other_than_the_tested_ones_can_wait(tmp_path, monkeypatch):
    file = tmp_path / "constraints.txt"
    file.write_text("torch==2.14.1\nnumpy==2.4.6\nruff==0.1\n", "utf-8")
    versions(monkeypatch, torch="2.14.1+cpu", numpy="2.3.0")
    line = software.constraints(file)
    assert line.ok is False and not line.needed
    assert "1 of 2" in line.found and "numpy 2.3.0 (2.4.6)" in line.found
    versions(monkeypatch, torch="2.14.1rc1", numpy="2.4.6")
    assert "torch 2.14.1rc1 (2.14.1)" in software.constraints(file).found
    versions(monkeypatch, torch="2.14.1+cpu", numpy="2.4.6")
    assert software.constraints(file).ok


def test_a_copy_without_constraints_says_so(tmp_path):
    line = software.constraints(tmp_path / "constraints.txt")
    assert line.ok is None and "without constraints.txt" in line.found


def test_torch_and_torchvision_that_do_not_fit_are_told_apart(monkeypatch):
    versions(monkeypatch, torch="2.14.1+cpu", torchvision="0.26.0+cpu")
    asks(monkeypatch, "numpy", "torch (==2.11.0)")
    line = software.pair(GOOD)
    assert line.ok is False and "for torch==2.11.0" in line.found
    assert line.remedy.endswith("whl/cpu")


def test_torchs_build_does_not_matter_to_the_pair(monkeypatch):
    versions(monkeypatch, torch="2.11.0+cu128", torchvision="0.26.0+cu128")
    asks(monkeypatch, "torch==2.11.0")
    assert software.pair(GOOD).ok


def test_an_operation_that_does_not_run_spoils_the_pair(monkeypatch):
    versions(monkeypatch, torch="2.15.0", torchvision="0.29.2")
    asks(monkeypatch, "torch")
    results = {**GOOD, probe.NMS: "RuntimeError: operator nms does not exist"}
    line = software.pair(results)
    assert line.ok is False and "operator nms does not exist" in line.found
    assert "--force-reinstall" in line.remedy


def test_a_missing_torchvision_is_a_line(monkeypatch):
    versions(monkeypatch, torch="2.14.1")
    line = software.pair(GOOD)
    assert line.ok is False and "2.14.1 and none" in line.found


def test_a_package_that_raises_or_crashes_or_exits_takes_no_other_along(
    tmp_path, monkeypatch
):
    for name, text in {
        "good": "print('::probes like to talk')",
        "raising": "raise ImportError('libc.so: no such file\\nmore')",
        "crashing": "import os, signal; os.kill(os.getpid(), signal.SIGABRT)",
        "leaving": "import os; os._exit(3)",
        "exiting": "raise SystemExit(2)",
        "last": "",
    }.items():
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    names = ["good", "raising", "crashing", "leaving", "exiting", "last"]
    results = software.try_imports(names)
    assert list(results) == names
    assert results["good"] == results["last"] == ""
    assert results["raising"] == "ImportError: libc.so: no such file"
    assert results["crashing"] == "it crashes Python (SIGABRT)"
    assert results["leaving"] == "it ends Python (status 3)"
    assert results["exiting"] == "SystemExit: 2"


def test_an_import_without_end_is_ended(tmp_path, monkeypatch):
    (tmp_path / "waiting.py").write_text("import time; time.sleep(60)", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(software, "PATIENCE", 1)
    assert "over 1 seconds" in software.try_imports(["waiting"])["waiting"]


def test_a_broken_import_is_named_with_the_package_to_install_again():
    line = software.imports({"numpy": "", "PIL": "ImportError: no", probe.NMS: ""})
    assert line.ok is False and "PIL does not load: ImportError: no" in line.found
    assert line.remedy.endswith("--force-reinstall pillow")
    assert software.imports(GOOD).found == "all 3 can be imported"


def test_every_needed_package_is_imported_by_its_module_name():
    modules = [software.module(one.name) for one in software.needed()]
    assert all(importlib.util.find_spec(module) for module in modules)


def test_every_extra_is_one_of_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for package, (_, extra) in software.OPTIONAL.items():
        listed = project["optional-dependencies"][extra]
        assert any(text.startswith(package) for text in listed), package


def test_extras_are_never_missed(monkeypatch):
    versions(monkeypatch, onnx="1.20.0")
    lines = {line.title: line for line in (extra() for extra in software.EXTRAS)}
    assert lines["onnx"].ok and lines["onnx"].found.startswith("1.20.0")
    assert (
        lines["timm"].ok is None and "pip install -e '.[timm]'" in lines["timm"].found
    )
    assert doctor.ready(lines.values())


# JupyterLab


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Folders of JupyterLab with both front ends, and the folder of its settings."""
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    versions(monkeypatch, anywidget="0.11.0")
    for name, number in ((jupyter.MANAGER, "5.0.16"), ("anywidget", "0.11.0")):
        folder = tmp_path / "labextensions" / name
        (folder / "static").mkdir(parents=True)
        (folder / "static" / "remote.js").write_text("", "utf-8")
        build = {"_build": {"load": "static/remote.js"}}
        about = {"name": name, "version": number, "jupyterlab": build}
        (folder / "package.json").write_text(json.dumps(about), "utf-8")
    (tmp_path / "settings").mkdir()
    return tmp_path


def look(lab):
    return jupyter.front_end([str(lab / "labextensions")], lab / "settings")


def test_front_ends_that_are_there_are_named(lab):
    line = look(lab)
    assert line.ok and line.facts == {jupyter.MANAGER: "5.0.16", "anywidget": "0.11.0"}


@pytest.mark.parametrize("part", ["package.json", "static/remote.js"])
def test_a_front_end_that_is_not_whole_leaves_widgets_empty(lab, part):
    (lab / "labextensions/anywidget" / part).unlink()
    line = look(lab)
    assert line.ok is False and "lacks anywidget" in line.found
    assert line.remedy.endswith("--force-reinstall --no-deps anywidget")


@pytest.mark.parametrize("entry", [jupyter.MANAGER, f"{jupyter.MANAGER}:plugin"])
def test_a_disabled_front_end_is_found_with_the_command_that_enables_it(lab, entry):
    settings = {"disabledExtensions": {entry: True, "anywidget": False}}
    file = lab / "config/labconfig/page_config.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(settings), "utf-8")
    line = look(lab)
    assert line.ok is False and "disabled" in line.found
    assert line.remedy.endswith(f"labextension enable --level=user {entry}")


def test_a_front_end_that_jupyterlabs_own_settings_disable_is_found(lab):
    settings = json.dumps({"disabledExtensions": ["anywidget"]})
    (lab / "settings/page_config.json").write_text(settings, "utf-8")
    line = look(lab)
    assert line.ok is False and "page_config.json" in line.remedy


def test_a_front_end_of_another_version_is_found(lab, monkeypatch):
    versions(monkeypatch, anywidget="0.12.0")
    line = look(lab)
    assert line.ok is False and "anywidget 0.11.0" in line.found


def test_halves_of_the_widgets_that_do_not_fit_are_found(monkeypatch):
    now = dict.fromkeys(jupyter.PACKAGES, "4.1")
    now |= {"ipywidgets": "8.1.9", "jupyterlab_widgets": "1.1.0"}
    versions(monkeypatch, **now)
    asks(monkeypatch, "widgetsnbextension~=4.0", "jupyterlab_widgets~=3.0.17")
    line = jupyter.versions()
    assert line.ok is False
    assert "ipywidgets 8.1.9 goes with jupyterlab_widgets~=3.0.17" in line.found
    assert "--upgrade" in line.remedy


def test_a_missing_half_of_the_widgets_is_found(monkeypatch):
    now = dict.fromkeys(jupyter.PACKAGES, "4.1") | {"anywidget": ""}
    versions(monkeypatch, **now)
    line = jupyter.versions()
    assert line.ok is False and line.found == "anywidget not installed"


# The machine


def test_memory_without_a_limit(tmp_path):
    root = machine(tmp_path, **{"proc/meminfo": meminfo(16, 10)})
    line = hardware.memory(root)
    assert line.ok and "16.0 GB, 10.0 GB free" in line.found
    assert "6 kernels" in line.found
    assert line.facts == {"total_gb": 16.0, "limit_gb": None, "free_gb": 10.0}


def test_memory_limited_by_the_second_version_of_control_groups(tmp_path):
    root = machine(
        tmp_path,
        groups="0::/kube/pod\n",
        **{
            "proc/meminfo": meminfo(64, 60),
            "sys/fs/cgroup/kube/memory.max": 2 * 10**9,
            "sys/fs/cgroup/kube/memory.current": 17 * 10**8,
            "sys/fs/cgroup/kube/memory.stat": "anon 5\ninactive_file 300000000\n",
            "sys/fs/cgroup/kube/pod/memory.max": "max\n",
            "sys/fs/cgroup/kube/pod/memory.current": 10**9,
        },
    )
    line = hardware.memory(root)
    assert line.facts == {"total_gb": 64.0, "limit_gb": 2.0, "free_gb": 0.6}
    assert line.ok is False and "2.0 GB may be used here" in line.found
    assert "1.5 GB" in line.found and line.remedy


def test_memory_limited_by_the_first_version_of_control_groups(tmp_path):
    groups = "9:name=systemd:/\n4:memory:/docker/abc\n3:cpu,cpuacct:/\n0::/\n"
    root = machine(
        tmp_path,
        groups=groups,
        **{
            "proc/meminfo": meminfo(64, 60),
            # In a container its own group is the root of what can be seen.
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 4 * 10**9,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": 10**9,
        },
    )
    line = hardware.memory(root)
    assert line.ok and line.facts["limit_gb"] == 4.0 and "2 kernels" in line.found


def test_the_huge_number_that_stands_for_no_limit_is_none(tmp_path):
    root = machine(
        tmp_path,
        groups="4:memory:/\n",
        **{
            "proc/meminfo": meminfo(8, 6),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": 10**9,
        },
    )
    assert hardware.memory(root).facts["limit_gb"] is None


def test_a_machine_that_tells_nothing_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(hardware, "_asked_memory", lambda: float("inf"))
    assert hardware.memory(tmp_path).ok is None


@pytest.mark.parametrize(
    "groups, contents",
    [
        ("0::/a\n", {"sys/fs/cgroup/a/cpu.max": "200000 100000\n"}),
        (
            "1:cpu,cpuacct:/\n",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000\n",
            },
        ),
    ],
)
def test_a_quota_of_two_cores_asks_for_two_threads(
    tmp_path, monkeypatch, groups, contents
):
    root = machine(tmp_path, groups=groups, **contents)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    line = hardware.cores(root, seen=64)
    assert line.ok is False and not line.needed
    assert "2 of 64" in line.found and "OMP_NUM_THREADS" in line.remedy
    assert line.facts == {"seen": 64, "quota": 2.0}
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert hardware.cores(root, seen=64).ok


@pytest.mark.parametrize(
    "text, period", [("max 100000\n", ""), ("-1\n", "100000\n")], ids=["v2", "v1"]
)
def test_no_quota_is_none(tmp_path, text, period):
    name = "cpu.cfs_quota_us" if period else "cpu.max"
    root = machine(tmp_path, "0::/\n", **{f"sys/fs/cgroup/{name}": text})
    if period:
        (tmp_path / "sys/fs/cgroup/cpu.cfs_period_us").write_text(period)
    assert hardware.cores(root, seen=8).found == "8"


def test_one_core_is_said_to_take_longer(tmp_path):
    line = hardware.cores(tmp_path, seen=1)
    assert line.ok is False and not line.needed and "minutes" in line.remedy


class Accelerator:
    """What torch has since 2.6, with one device or none."""

    def __init__(self, kind=None):
        self.kind = kind

    def is_available(self):
        return self.kind is not None

    def current_accelerator(self):
        import torch

        return torch.device(self.kind)

    def synchronize(self):
        pass


def accelerated(monkeypatch, kind=None):
    import torch

    monkeypatch.setattr(torch, "accelerator", Accelerator(kind), raising=False)
    return torch


def test_no_gpu_is_fine(well, tmp_path, monkeypatch):
    accelerated(monkeypatch)
    line = hardware.accelerator(tmp_path)
    assert line.ok is None and line.found == "none, and none is needed"


def test_a_torch_of_old_without_accelerators_is_no_failure(well, tmp_path, monkeypatch):
    monkeypatch.delattr(accelerated(monkeypatch), "accelerator")
    assert hardware.accelerator(tmp_path).ok is None


DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 2026\n"


@pytest.mark.parametrize(
    "cuda, said", [(None, "built without CUDA"), ("13.0", "finds no GPU")]
)
def test_a_driver_that_torch_does_not_use_can_wait(
    well, tmp_path, monkeypatch, cuda, said
):
    torch = accelerated(monkeypatch)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    root = machine(tmp_path, **{"proc/driver/nvidia/version": DRIVER})
    line = hardware.accelerator(root)
    assert line.ok is False and not line.needed and line.remedy
    assert "550.54.15" in line.found and said in line.found


def test_a_gpu_that_computes_is_named(well, tmp_path, monkeypatch):
    accelerated(monkeypatch, "cpu")  # the only device that is everywhere
    line = hardware.accelerator(tmp_path)
    assert line.ok and line.found.startswith("cpu") and line.facts["kind"] == "cpu"


def test_a_gpu_that_does_not_compute_is_found(well, tmp_path, monkeypatch):
    torch = accelerated(monkeypatch, "cpu")

    def broken(*_, **__):
        raise RuntimeError("no kernel image is available\nmore")

    monkeypatch.setattr(torch, "ones", broken)
    line = hardware.accelerator(tmp_path)
    assert line.ok is False and "no kernel image is available" in line.found


# Files


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path):
    line = files.home(tmp_path)
    assert line.ok and line.facts["writable"] and not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_yet_is_not_made(tmp_path):
    line = files.data_folder(tmp_path / "a" / "b")
    assert line.ok and "can be made" in line.found and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_found(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    line = files.home(tmp_path)
    assert line.ok is False and line.needed and "Permission denied" in line.found
    line = files.weights_folder(tmp_path)
    assert line.ok is False and not line.needed and "TORCH_HOME" in line.remedy


def test_a_file_in_the_place_of_a_folder_is_found(tmp_path):
    (tmp_path / "data").write_text("")
    line = files.data_folder(tmp_path / "data" / "sets")
    assert line.ok is False and "cannot be written" in line.found


def test_a_full_disk_is_found(tmp_path, monkeypatch):
    full = type("Usage", (), {"free": 5e7})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: full)
    line = files.home(tmp_path)
    assert line.ok is False and "0.1 GB free" in line.found and line.remedy


def test_the_chapters_are_counted(monkeypatch):
    line = files.notebooks()
    assert line.ok and line.facts["chapters"] >= 8
    assert line.found.startswith(f"{line.facts['chapters']} in ")


def test_a_package_without_notebooks_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "__file__", str(tmp_path / "course" / "runner.py"))
    line = files.notebooks()
    assert line.ok is False and line.remedy.startswith("Clone the repository")


def test_the_shipped_weights_are_right(well):
    line = files.shipped()
    assert line.ok and line.facts["files"] >= len(models.SHIPPED)


def shipped(folder, name="resnet10-x", content=b"weights"):
    (folder / f"{name}.safetensors").write_bytes(content)
    card = {"sha256": hashlib.sha256(b"weights").hexdigest()}
    (folder / f"{name}.json").write_text(json.dumps(card), "utf-8")
    return files.shipped(folder, [name])


def test_shipped_weights_that_are_not_their_cards_are_found(tmp_path):
    assert shipped(tmp_path).ok
    line = shipped(tmp_path, content=b"weight")
    assert line.ok is False and "resnet10-x (truncated or altered)" in line.found
    assert line.remedy
    (tmp_path / "resnet10-x.json").write_text("{}", "utf-8")
    assert "no card" in files.shipped(tmp_path, ["resnet10-x"]).found
    assert "2 of 2" in files.shipped(tmp_path, ["resnet10-y", "resnet10-z"]).found


def test_shipped_weights_that_are_all_gone_are_missed(well, tmp_path):
    line = files.shipped(tmp_path)
    assert line.ok is False and line.facts["files"] == len(models.SHIPPED)


def test_cached_weights_are_held_against_the_digits_in_their_names(tmp_path):
    digits = hashlib.sha256(b"weights").hexdigest()[:8]
    (tmp_path / f"mobilenet_v2-{digits}.pth").write_bytes(b"weights")
    (tmp_path / "other.pth").write_bytes(b"nobody knows")
    (tmp_path / f"resnet18-{digits}.pth.part").write_bytes(b"wei")
    line = files.cached(tmp_path)
    assert line.ok and line.facts["files"] == 1
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"broken")
    line = files.cached(tmp_path)
    assert line.ok is False and not line.needed
    assert "1 of 2" in line.found and "vgg16-397923af.pth" in line.found
    assert "prefetch" in line.remedy and line.facts["wrong"] == ["vgg16-397923af.pth"]


def test_an_empty_cache_is_fine(tmp_path):
    assert files.cached(tmp_path / "none").ok is None


def test_the_progress_file_is_read_and_nothing_of_it_told(well, tmp_path):
    assert files.progress().ok is None
    progress.checked("fine_tuning", "freeze", "passed", 1.0)
    line = files.progress()
    assert line.ok and "freeze" not in repr(line)
    Path(tmp_path / "progress.json").write_text("{", "utf-8")
    line = files.progress()
    assert line.ok is False and not line.needed and line.remedy


def test_progress_that_nobody_wants_is_fine(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "")
    assert files.progress().ok is None


# Speed


def test_a_step_is_measured_and_leaves_random_numbers_as_they_were(monkeypatch):
    import torch

    monkeypatch.setattr(speed, "STEPS", 1)
    monkeypatch.setattr(speed, "WARM", 1)
    speed.measured.cache_clear()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    now = speed.measured()
    assert now.seconds > 0 and 0 < now.share <= 1
    assert torch.equal(before, torch.random.get_rng_state())
    speed.measured.cache_clear()


def test_chapters_take_as_many_times_longer_as_a_step_does(well, monkeypatch, tmp_path):
    takes(monkeypatch, 2)
    file = tmp_path / "times.json"
    file.write_text('{"00_a": {"seconds": 30}, "01_b": {"seconds": 90}}', "utf-8")
    line = speed.chapters(file)
    assert line.facts["minutes"] == {"00": 1.0, "01": 3.0}
    assert line.found.startswith("roughly 4 for all")
    assert speed.chapters(tmp_path / "none.json").ok is None


def test_a_slow_machine_can_wait(well, monkeypatch):
    takes(monkeypatch, 5)
    line = speed.step()
    assert line.ok is False and not line.needed and "COURSE_PROFILE" in line.remedy


def test_a_machine_that_others_use_is_told_from_a_slow_one(well, monkeypatch):
    takes(monkeypatch, 9, share=0.3)
    line = speed.step()
    assert line.ok is False and "30%" in line.found and "Stop" in line.remedy
    assert speed.chapters().ok is None
    takes(monkeypatch, 1, share=0.3)  # some systems let a waiting thread sleep
    assert speed.step().ok and speed.chapters().ok


def test_the_measured_chapters_are_those_of_the_course(well):
    minutes = speed.chapters().facts["minutes"]
    assert {f"{n:02}" for n in range(8)} <= set(minutes)


# The page


def test_the_whole_page_fits_and_touches_no_network(well, monkeypatch, capsys):
    def refuse(*_):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    lines = list(doctor.examine())
    keys = [line.key for line in lines]
    assert len(keys) == len(set(keys)) == len(doctor.CHECKS)
    text = page.whole(lines)
    assert max(map(len, text.splitlines())) <= page.WIDTH
    assert "broke" not in text
    assert {line.key.partition(".")[0] for line in lines} == set(page.HEADINGS)
    assert all(len(line.title) <= page.TITLE for line in lines)
    assert all(line.remedy for line in lines if line.ok is False)


LINES = [
    Line("software.a", True, "one", "here"),
    Line("software.b", False, "two", "not here", "Do this.", needed=False),
    Line("machine.c", None, "three", "not needed"),
]
BROKEN = Line("files.d", False, "four", "gone", "Do that: " + "word " * 30)


def test_the_page_has_marks_remedies_and_a_verdict():
    text = page.whole(LINES)
    assert " ✓ one " in text and " ✗ two " in text and " – three " in text
    assert "   → (can wait) Do this." in text
    assert text.endswith("Ready. One line that can wait is marked ✗.\n")
    text = page.whole([*LINES, BROKEN])
    assert text.endswith("Not ready: four. Begin with the first ✗.\n")
    assert doctor.ready(LINES) and not doctor.ready([*LINES, BROKEN])


def test_a_remedy_is_said_once():
    twice = Line("files.e", False, "five", "gone too", BROKEN.remedy)
    text = page.whole([BROKEN, twice])
    assert text.count("Do that") == 1 and "→ as for four" in text
    assert json.loads(page.as_json([twice]))["checks"]["files.e"]["remedy"]


def test_a_terminal_without_the_marks_gets_others():
    text = page.whole(LINES)
    assert page.printable(text, "utf-8") == text
    plain = page.printable(text, "cp1252")
    assert " + one " in plain and " x two " in plain and " - three " in plain
    plain.encode("ascii")
    assert page.printable(text, None).isascii()


def test_json_has_a_schema_and_stable_keys(monkeypatch):
    content = json.loads(page.as_json([*LINES, BROKEN]))
    assert content["schema"] == page.SCHEMA and content["ready"] is False
    assert list(content["checks"]) == [
        "software.a",
        "software.b",
        "machine.c",
        "files.d",
    ]
    assert set(content["checks"]["software.b"]) == {
        "ok",
        "needed",
        "title",
        "found",
        "remedy",
        "facts",
    }


def test_the_command_prints_and_its_status_says_whether_all_is_well(
    monkeypatch, capsys
):
    monkeypatch.setattr(doctor, "CHECKS", [lambda: LINES[0]])
    assert cli.main(["doctor"]) == 0
    assert " ✓ one " in capsys.readouterr().out
    monkeypatch.setattr(doctor, "CHECKS", [lambda: LINES[0], lambda: BROKEN])
    assert cli.main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["checks"]["files.d"]["ok"] is False


def test_the_command_writes_a_file_whole(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(doctor, "CHECKS", [lambda: LINES[0]])
    out = tmp_path / "mine.json"
    assert cli.main(["doctor", "--json", "--out", str(out)]) == 0
    assert json.loads(out.read_text("utf-8"))["ready"] is True
    assert cli.main(["doctor", "--out", str(tmp_path / "page.txt")]) == 0
    assert " ✓ one " in (tmp_path / "page.txt").read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json", "page.txt"]
    assert cli.main(["doctor", "--out", str(tmp_path / "no" / "page.txt")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_broken_torch_breaks_no_other_line_and_nothing_is_left_behind(tmp_path):
    """The command as a reader runs it, with a torch whose library is missing."""
    home, packages = tmp_path / "home", tmp_path / "packages"
    home.mkdir()
    (packages / "torch").mkdir(parents=True)
    broken = "raise OSError('libc10.so: cannot open shared object file')"
    (packages / "torch" / "__init__.py").write_text(broken, "utf-8")
    surroundings = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("COURSE", "XDG"))},
        "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(home),
        "USERPROFILE": str(home),
    }
    surroundings.pop("TORCH_HOME", None)
    done = subprocess.run(
        [sys.executable, "-m", "course.cli", "doctor", "--json"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=surroundings,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert str(home) not in done.stdout
    checks = json.loads(done.stdout)["checks"]
    assert len(checks) == len(doctor.CHECKS)
    assert "libc10.so" in checks["software.imports"]["facts"]["broken"]["torch"]
    assert checks["software.pair"]["ok"] is None
    assert checks["machine.memory"]["ok"] is not False
    assert checks["speed.step"]["ok"] is checks["machine.gpu"]["ok"] is None
    assert not list(home.rglob("*"))


def test_a_python_with_nothing_installed_gets_a_page_too(tmp_path):
    done = subprocess.run(
        [sys.executable, "-S", "-m", "course.cli", "doctor"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 1 and not done.stderr, done.stderr
    assert "✓ Python" in done.stdout and "✗ packages" in done.stdout
    assert "broke" not in done.stdout and " -e " in done.stdout
    assert "\nNot ready: packages, " in done.stdout


def test_the_doctor_loads_nothing_heavy_before_a_check_needs_it():
    code = "import sys; from course.doctor import page; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    heavy = {"torch", "torchvision", "jupyterlab", "jupyter_core", "course.models"}
    assert not heavy & set(done.stdout.split())


def test_weights_and_data_are_looked_for_where_downloads_put_them(well, monkeypatch):
    for look, place in (
        (files.weights_folder, fetch.weights_folder()),
        (files.data_folder, fetch.data_folder()),
    ):
        assert str(place) in look().found and look().facts["exists"] is False
