"""What stands in deploy/: limits as in the docs, and links that are well formed."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
DEPLOY, HUB = ROOT / "deploy", ROOT / "deploy" / "jupyterhub"
DOCS = (ROOT / "docs" / "hub.md").read_text("utf-8")
REPO = "https://github.com/somebody/workbook"


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # a dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


links = loaded(DEPLOY / "links.py")


class Anything(SimpleNamespace):
    """A configuration that takes whatever is set, as JupyterHub's does."""

    def __getattr__(self, name):
        self.__dict__[name] = Anything()
        return self.__dict__[name]


@pytest.fixture
def configured(monkeypatch):
    monkeypatch.delenv("WORKBOOK_SHARED", raising=False)
    config = Anything()
    source = (HUB / "workbook_config.py").read_text("utf-8")
    exec(compile(source, "workbook_config.py", "exec"), {"get_config": lambda: config})
    return config


def values():
    """Return the scalars of values.yaml by their last key: it is plain enough."""
    text = (HUB / "values.yaml").read_text("utf-8")
    return dict(re.findall(r"^\s+(\w+): (\S+)$", text, re.M))


def test_both_ways_of_a_hub_have_the_limits_that_the_page_names(configured):
    limit = configured.Spawner.mem_limit
    assert re.search(rf"limit of {limit[:-1]} GiB", DOCS)
    text = (HUB / "values.yaml").read_text("utf-8")
    assert re.search(rf"memory:\n\s+limit: {limit}\n", text)
    assert re.search(rf"cpu:\n\s+limit: {configured.Spawner.cpu_limit}\n", text)


def test_weights_are_read_from_a_shared_place_in_both(configured):
    there = configured.Spawner.environment["TORCH_HOME"]
    assert there == "/srv/workbook/torch_home" == values()["TORCH_HOME"]
    text = (HUB / "values.yaml").read_text("utf-8")
    assert "readOnly: true" in text and f"install -d -m 755 {there}" in installer()


def installer():
    return (HUB / "install_tljh.sh").read_text("utf-8")


def test_threads_are_bound_to_the_limit_of_cores(configured):
    threads = configured.Spawner.environment["OMP_NUM_THREADS"]
    assert threads == str(configured.Spawner.cpu_limit)
    assert values()["OMP_NUM_THREADS"] == f'"{threads}"'


def test_the_limit_holds_the_hungriest_chapter_twice_over():
    (limit,) = re.findall(r"limit of (\d) GiB", DOCS)
    rows = re.findall(r"^\| (\d\d) \| (\d+) MB \|$", DOCS, re.M)
    chapters = sorted(path.name[:2] for path in (ROOT / "notebooks").glob("[0-9]*"))
    assert [number for number, _ in rows] == chapters
    assert 2 * max(int(peak) for _, peak in rows) <= 1024 * int(limit)


def test_the_installer_is_sound_shell_and_stops_where_there_is_no_hub():
    checked = subprocess.run(["bash", "-n", HUB / "install_tljh.sh"], check=False)
    assert checked.returncode == 0
    done = subprocess.run(
        ["bash", HUB / "install_tljh.sh", REPO], capture_output=True, text=True
    )
    assert done.returncode == 1 and "is not installed here" in done.stderr


def test_the_image_copies_what_is_there():
    text = (HUB / "Dockerfile").read_text("utf-8")
    for line in re.findall(r"^COPY --chown=\S+ (.+) \S+$", text, re.M):
        for name in line.split():
            assert (ROOT / name).exists(), name


def test_binder_gets_a_python_that_the_package_allows_and_proven_versions():
    assert (ROOT / ".binder" / "runtime.txt").read_text("utf-8") == "python-3.11\n"
    lines = (ROOT / ".binder" / "requirements.txt").read_text("utf-8").splitlines()
    assert "-e ." in lines and "-c ../constraints.txt" in lines


@pytest.mark.parametrize(
    ("repo", "says"),
    [
        (REPO, "gh/somebody/workbook/main"),
        (f"{REPO}.git/", "gh/somebody/workbook/main"),
        (
            "https://git.example.org/a/b",
            "git/https%3A%2F%2Fgit.example.org%2Fa%2Fb/main",
        ),
    ],
)
def test_binder_gets_the_repository_and_opens_the_first_chapter(repo, says):
    parts = urlsplit(links.binder(links.address(repo), "main"))
    assert parts.path == f"/v2/{says}"
    (path,) = parse_qs(parts.query)["urlpath"]
    assert (ROOT / path.removeprefix("lab/tree/")).is_file()


def test_colab_opens_the_start_page_of_a_branch():
    link = links.colab(REPO, "a b")
    assert "/somebody/workbook/blob/a%20b/" in link
    assert (ROOT / link.partition("a%20b/")[2]).is_file()
    assert links.colab("https://git.example.org/a/b", "main") == ""
    assert links.badge(link).endswith(f"]({link})")


def test_a_hub_gets_a_copy_for_each_learner():
    link = links.nbgitpuller(REPO, "main", "https://hub.example.org")
    wish = parse_qs(urlsplit(link).query)
    assert wish["repo"] == [REPO] and wish["branch"] == ["main"]
    assert wish["urlpath"] == [f"lab/tree/workbook/{links.FIRST}"]


def test_links_are_printed_and_a_slip_is_one_sentence(capsys):
    assert links.main(["--repo", REPO, "--hub", "https://hub.example.org"]) == 0
    names = capsys.readouterr().out.splitlines()[::2]
    assert names == ["Binder", "Colab", "Colab's badge", "nbgitpuller"]
    assert links.main(["--repo", "workbook"]) == 2
    assert "'workbook' is no address" in capsys.readouterr().err


def cells():
    notebook = json.loads((DEPLOY / "colab" / "start.ipynb").read_text("utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def start_page(place, repository, count):
    """Run the first cells of Colab's page with other parameters, as papermill does."""
    first, *others = cells()[:count]
    assert first["metadata"]["tags"] == ["parameters"]
    given = f"REPOSITORY, PLACE = {str(repository)!r}, {str(place)!r}"
    code = "\n".join([given, *("".join(cell["source"]) for cell in others)])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    return done.stderr


def test_the_start_page_asks_for_an_address_before_anything_else(tmp_path):
    said = start_page(tmp_path / "none", "", 2)
    assert "Write the repository's address" in said


def test_the_start_page_says_why_a_clone_failed(tmp_path):
    said = start_page(tmp_path / "none", tmp_path / "nowhere", 3)
    assert "git failed: " in said and not (tmp_path / "none").exists()


@pytest.mark.parametrize("path", sorted(HUB.glob("*.py")), ids=lambda path: path.name)
def test_every_script_of_the_hub_compiles(path):
    compile(path.read_text("utf-8"), path.name, "exec")


def test_a_simulated_learner_reads_what_a_kernel_sends(monkeypatch):
    pytest.importorskip("tornado")
    learner = loaded(HUB / "simulated_learner.py")
    message = json.dumps({"content": {"data": {"image/png": "x"}}}).encode()
    head = (2).to_bytes(4, "big") + (12).to_bytes(4, "big")
    head += (12 + len(message)).to_bytes(4, "big")
    assert learner.has_picture(learner.decode(head + message + b"picture"))
    assert not learner.has_picture(learner.decode('{"content": {}}'))
    rollup = (
        "Rss: 9 kB\nPss:    2048 kB\nPrivate_Clean: 1024 kB\nPrivate_Dirty: 512 kB\n"
    )
    assert learner.megabytes(rollup, "Pss") == 2
    assert learner.megabytes(rollup, "Private_Clean", "Private_Dirty") == 1.5
    sources = learner.code_cells(
        {"cells": [{"cell_type": "code", "source": ["a\n", "b"]},
                   {"cell_type": "code", "source": []},
                   {"cell_type": "markdown", "source": ["c"]}]}
    )  # fmt: skip
    assert sources == ["a\nb"]
