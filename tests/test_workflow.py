"""The workflows of GitHub Actions: they name what exists, and may not do more."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from course import cli

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
SYSTEMS = {"ubuntu-latest", "macos-latest", "windows-latest"}
FLOWS = {
    path.stem: yaml.safe_load(path.read_text("utf-8")) for path in FOLDER.iterdir()
}
ALWAYS = "${{ !cancelled() }}"


def starts(flow):
    return flow[True]  # YAML reads the key `on` as a truth value


def jobs():
    return [
        (f"{name}: {key}", job)
        for name, flow in FLOWS.items()
        for key, job in flow["jobs"].items()
    ]


def steps():
    return [(where, step) for where, job in jobs() for step in job.get("steps", [])]


def lines(first):
    """Return the lines of all steps that call a program, split as a shell does."""
    found = []
    for where, step in steps():
        for line in step.get("run", "").splitlines():
            words = shlex.split(line)
            if words[0] == first:
                found.append((where, words[1:]))
    assert found, f"no workflow calls {first}"
    return found


def test_every_target_of_make_exists():
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))
    named = {word for _, words in lines("make") for word in words}
    assert {"lint", "test", "hard"} <= named <= targets


def test_every_command_and_option_of_course_exists(capsys):
    called = [words for _, words in lines("course")]
    for words in called:
        try:
            cli.parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"course {' '.join(words)}: {capsys.readouterr().err}")
    assert {words[0] for words in called} == {"run", "compare"}


def test_what_is_compared_summed_up_and_kept_is_what_was_run():
    steps = FLOWS["run"]["jobs"]["run"]["steps"]
    ((_, run),) = [call for call in lines("course") if call[1][0] == "run"]
    ((_, compare),) = [call for call in lines("course") if call[1][0] == "compare"]
    place = str(cli.parser().parse_args(run).out)
    assert str(cli.parser().parse_args(compare).run) == place
    (kept,) = [step for step in steps if "upload-artifact" in step.get("uses", "")]
    assert kept["with"]["path"] == place
    assert any(
        step.get("run") == f'cat {place}/summary.md >> "$GITHUB_STEP_SUMMARY"'
        for step in steps
    )


def test_a_red_run_is_compared_summed_up_and_kept_all_the_same():
    steps = FLOWS["run"]["jobs"]["run"]["steps"]
    (red,) = [
        n for n, s in enumerate(steps) if s.get("run", "").startswith("course run")
    ]
    after = steps[red + 1 :]
    assert len(after) == 3 and all(step["if"] == ALWAYS for step in after)
    assert not any("continue-on-error" in step for _, step in steps_and_jobs())


def steps_and_jobs():
    return [*steps(), *jobs()]


@pytest.mark.parametrize(("name", "job"), [("checks", "run"), ("weekly", "newest")])
def test_the_chapters_run_on_three_systems_and_none_hides_another(name, job):
    found = FLOWS[name]["jobs"][job]
    strategy = found["strategy"]
    assert set(strategy["matrix"]["system"]) == SYSTEMS
    assert strategy["fail-fast"] is False
    assert found["with"]["system"] == "${{ matrix.system }}"


def test_a_change_is_checked_and_the_newest_torch_every_week():
    assert set(starts(FLOWS["checks"])) == {"push", "pull_request"}
    (planned,) = starts(FLOWS["weekly"])["schedule"]
    minute, hour, day, month, weekday = planned["cron"].split()
    assert (day, month) == ("*", "*") and re.fullmatch("[0-6]", weekday)
    assert re.fullmatch(r"\d+ \d+", f"{minute} {hour}")
    assert FLOWS["weekly"]["jobs"]["newest"]["with"]["newest"] is True


def test_the_newest_is_installed_without_constraints_and_otherwise_with_them():
    installs = {
        step["if"]: step["run"]
        for step in FLOWS["run"]["jobs"]["run"]["steps"]
        if "pip install" in step.get("run", "")
    }
    assert set(installs) == {"${{ inputs.newest }}", "${{ !inputs.newest }}"}
    newest = installs["${{ inputs.newest }}"].split()
    assert "--upgrade" in newest and "constraints.txt" not in newest
    usual = installs["${{ !inputs.newest }}"].split()
    assert usual[usual.index("-c") + 1] == "constraints.txt"
    for words in (newest, usual):
        extras = re.findall(r"\[(.*?)\]", words[words.index("-e") + 1])
        known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        assert set(extras) <= set(known["optional-dependencies"])


def test_called_workflows_exist_and_get_what_they_ask_for():
    called = [job for _, job in jobs() if "uses" in job]
    assert called
    for job in called:
        path = ROOT / job["uses"]
        assert path.parent == FOLDER and path.is_file()
        inputs = starts(FLOWS[path.stem])["workflow_call"]["inputs"]
        needed = {name for name, about in inputs.items() if about.get("required")}
        assert needed <= set(job["with"]) <= set(inputs)


@pytest.mark.parametrize("name", FLOWS)
def test_a_workflow_may_read_and_nothing_else(name):
    assert FLOWS[name]["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in FLOWS[name]["jobs"].values())
    assert "pull_request_target" not in starts(FLOWS[name])
    text = (FOLDER / f"{name}.yml").read_text("utf-8")
    assert "secrets." not in text
    for where, step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, where


def test_no_line_of_a_shell_holds_what_somebody_else_wrote():
    """A branch may be called `$(…)`: an expression in a script would run it."""
    for where, step in steps():
        assert "${{" not in step.get("run", ""), where


def test_every_job_ends_and_a_newer_push_ends_the_older_one():
    for where, job in jobs():
        if "steps" in job:
            assert 5 <= job["timeout-minutes"] <= 240, where
    for name in ("checks", "weekly"):
        assert FLOWS[name]["concurrency"]["cancel-in-progress"] is True
        assert FLOWS[name]["concurrency"]["group"].startswith(name)
    assert "github.ref" in FLOWS["checks"]["concurrency"]["group"]


def test_actions_are_githubs_own_at_a_major_version_and_packages_are_cached():
    used = [step["uses"] for _, step in steps() if "uses" in step]
    versions = {}
    for action in used:
        name, version = re.fullmatch(r"actions/([\w-]+)@v(\d+)", action).groups()
        assert versions.setdefault(name, version) == version
    assert set(versions) == {"checkout", "setup-python", "upload-artifact"}
    for where, step in steps():
        if step.get("uses", "").startswith("actions/setup-python@"):
            asked = step["with"]
            assert asked["cache"] == "pip", where
            for file in asked["cache-dependency-path"].split():
                assert (ROOT / file).is_file(), where
            project = (ROOT / "pyproject.toml").read_text("utf-8")
            assert f'requires-python = ">={asked["python-version"]}"' in project


def test_the_browser_tests_are_not_skipped_unnoticed():
    commands = [
        step.get("run", "") for step in FLOWS["checks"]["jobs"]["test"]["steps"]
    ]
    looked = commands.index("google-chrome --version")
    assert looked < commands.index("make test")
    from browser import lab

    assert "google-chrome" in lab.COMMANDS
