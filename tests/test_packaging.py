"""One list of dependencies in three files, and files that a fresh clone needs."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import course
from course.export import formats

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch"}
MAKE_TARGETS = {"lab", "test", "run", "install", "clean"}


def requirements():
    listed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    return {canonicalize_name(r.name): r for r in map(Requirement, listed)}


def constraints():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    rows = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(row.name): row for row in rows}


def conda():
    """Return the requirements of environment.yml by name, and those left to pip."""
    text = (ROOT / "environment.yml").read_text("utf-8")
    rows = yaml.safe_load(text)["dependencies"]
    pip = next(row["pip"] for row in rows if isinstance(row, dict))
    own = [row for row in rows if isinstance(row, str) and row != "pip"]
    others = [row for row in pip if row != "-e ."]
    assert "-e ." in pip
    return (
        {canonicalize_name(r.name): r for r in map(Requirement, own)},
        {canonicalize_name(r.name): r for r in map(Requirement, others)},
    )


def test_constraints_are_exact_and_for_everybody():
    for name, row in constraints().items():
        (pin,) = row.specifier
        assert pin.operator == "==", name
        assert Version(pin.version).local is None, f"{row}: a build of one machine"
        assert row.url is None
        assert not name.startswith(("nvidia", "cuda", "triton")), f"{name} needs a GPU"


def test_constraints_hold_every_dependency_within_its_bounds():
    pins = constraints()
    for name, wanted in requirements().items():
        assert name in pins
        (pin,) = pins[name].specifier
        assert wanted.specifier.contains(pin.version), f"{pins[name]} against {wanted}"


def test_whoever_tests_has_what_exports_to_onnx_need():
    extras = PROJECT["optional-dependencies"]
    assert set(extras["onnx"]) <= set(extras["test"])
    assert {Requirement(row).name for row in extras["onnx"]} == set(formats.ONNX)


def test_conda_users_get_the_same_dependencies():
    own, pip = conda()
    assert (
        own.pop("python").specifier
        == Requirement(f"python{PROJECT['requires-python']}").specifier
    )
    wanted = {CONDA_NAMES.get(name, name): row for name, row in requirements().items()}
    given = own | pip
    assert set(given) == set(wanted)
    for name, row in wanted.items():
        assert given[name].specifier == row.specifier, name


def test_torch_and_torchvision_come_from_one_channel():
    own, pip = conda()
    assert {"pytorch", "torchvision"} <= set(own)
    assert not {"torch", "pytorch", "torchvision"} & set(pip)


def test_weights_and_texts_travel_with_the_package():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    patterns = tomllib.loads(text)["tool"]["setuptools"]["package-data"]["course"]
    for folder in ("weights", "export/texts"):
        for file in (ROOT / "course" / folder).glob("*.*"):
            if not file.name.startswith("."):
                assert any(file.match(pattern) for pattern in patterns), file.name


def test_citation_names_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(cited["version"]) == course.__version__
    assert f"[{course.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("name", PROJECT["license-files"])
def test_licence_files_are_there(name):
    assert (ROOT / name).stat().st_size > 300


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r"\]\(([^)#:\s]+)\)|src=\"([^\":]+)\"", text)
    for link in filter(None, (part for pair in links for part in pair)):
        assert (ROOT / link).exists(), link


def test_make_offers_its_targets_and_they_install_first():
    text = (ROOT / "Makefile").read_text("utf-8")
    rules = dict(re.findall(r"^(\w+):(?!=) *(.*)$", text, re.M))
    assert set(rules) >= MAKE_TARGETS
    for target in ("lab", "test", "run"):
        assert rules[target].split() == ["install"]


def test_make_refuses_an_old_python_with_one_sentence(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["make", f"--file={ROOT / 'Makefile'}", "install", f"PYTHON={old}"],
        cwd=_copy_of_what_make_reads(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stdout + done.stderr
    assert not (tmp_path / "fresh" / ".venv").exists()


def _copy_of_what_make_reads(folder):
    fresh = folder / "fresh"
    fresh.mkdir()
    for name in ("pyproject.toml", "constraints.txt"):
        (fresh / name).write_bytes((ROOT / name).read_bytes())
    return fresh


def test_ci_calls_make_test_and_stops_at_the_first_error():
    text = (ROOT / ".ci" / "run").read_text("utf-8")
    assert text.startswith("#!/usr/bin/env bash")
    assert "set -euo pipefail" in text
    assert text.rstrip().endswith("make test")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def _command(folder, name, script):
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def bare(tmp_path):
    """Run .ci/run where only what a test puts there can be called."""
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "run"
    script.write_bytes((ROOT / ".ci" / "run").read_bytes())
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("git", "python3"):
        _command(commands, name, "exit 0")
    for name in ("make", "apt-get"):
        _command(commands, name, f'echo {name} "$@"')
    _command(commands, "id", "echo 0")
    (commands / "dirname").symlink_to(shutil.which("dirname"))

    def run():
        return subprocess.run(
            [shutil.which("bash"), script],
            env={"PATH": str(commands)},
            capture_output=True,
            text=True,
        )

    return commands, run


def test_ci_brings_a_browser_to_a_bare_machine(bare):
    _, run = bare
    done = run()
    *_, installed, tested = done.stdout.splitlines()
    assert installed.startswith("apt-get install") and " chromium" in installed
    assert tested == "make test" and done.returncode == 0


def test_ci_leaves_a_browser_alone_that_is_there(bare):
    commands, run = bare
    _command(commands, "chromium-browser", "exit 0")
    assert run().stdout.splitlines() == ["make test"]


@pytest.mark.parametrize(
    ("name", "script"), [("id", "echo 1000"), ("apt-get", "exit 100")]
)
def test_ci_goes_on_without_a_browser_that_cannot_be_had(bare, name, script):
    commands, run = bare
    _command(commands, name, script)
    done = run()
    assert done.stdout.splitlines() == ["make test"] and done.returncode == 0
    assert "Please install: chromium" in done.stderr


def test_ci_stops_where_make_is_missing_and_says_so(bare):
    commands, run = bare
    (commands / "make").unlink()
    _command(commands, "id", "echo 1000")
    done = run()
    assert done.returncode == 1 and "Please install: make" in done.stderr
