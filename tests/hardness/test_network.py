"""No silent network: one table of all that can reach it, and default paths that do not.

The processes that are started here run without the block of the other tests: what
reaches for the network is noted where Python itself would open the connection.
"""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from course import cli

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "network.md"
PACKAGE = sorted((ROOT / "course").rglob("*.py"))
# Modules that reach another machine, or start a program that could.
MODULES = re.compile(
    "(aiohttp|dask|distributed|ftplib|http|httpx|huggingface_hub|imaplib|"
    "jupyter_client|nbclient|nbconvert|papermill|pip|poplib|requests|smtplib|socket|"
    "socketserver|ssl|subprocess|telnetlib|timm|torch[.]distributed|torch[.]hub|"
    r"torchvision[.]datasets|transformers|urllib[.]request|urllib3|webbrowser|websockets|"
    r"xmlrpc|zmq)(\.|$)"
)
# Only names of exceptions; what they are of is imported elsewhere.
HARMLESS = ("nbclient.exceptions", "huggingface_hub.errors")
CALLS = re.compile(
    r"(^|\.)(hf_hub_download|snapshot_download|from_pretrained|urlopen|urlretrieve|"
    r"load_state_dict_from_url|download_url_to_file|fetch_\w+|download|"
    r"create_connection|getaddrinfo|os\.system|Popen)$"
)
ADDRESS = re.compile(r"""(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s"'`)]*""")
NAMESPACE = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml")


def reaches(source):
    """Return what a source imports or calls that can reach another machine."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if CALLS.search(called):
                found.add(called)
            if called.endswith(("import_module", "__import__")):
                names = [a.value for a in node.args if isinstance(a, ast.Constant)]
            found |= {
                f"{called}(download=True)"
                for word in node.keywords
                if word.arg == "download" and ast.unparse(word.value) == "True"
            }
        found |= {
            name
            for name in names
            if MODULES.match(name) and not name.startswith(HARMLESS)
        }
    return found


def rows():
    lines = TABLE.read_text("utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def named():
    return {place for row in rows() for place in re.findall("`(.+?)`", row[1])}


def test_every_module_that_can_reach_the_network_has_a_row_and_no_other_has():
    able = {
        str(path.relative_to(ROOT)): what
        for path in PACKAGE
        if (what := reaches(path.read_text("utf-8")))
    }
    listed = {place for place in named() if place.startswith("course/")}
    assert not able.keys() - listed, {n: able[n] for n in able.keys() - listed}
    assert not listed - able.keys(), f"in {TABLE.name}, and cannot: {listed}"


def test_every_row_names_a_file_and_a_word_of_the_reader():
    assert len(rows()) > 10
    for what, where, word, reached, said in rows():
        assert what and word and reached and said
        for place in re.findall("`(.+?)`", where):
            assert (ROOT / place).is_file(), place


@pytest.mark.parametrize(
    "line",
    [
        "import urllib.request",
        "from urllib import request",
        "from http.client import HTTPSConnection",
        "import_module('requests')",
        "torch.hub.load_state_dict_from_url(address)",
        "from sklearn import datasets\ndatasets.fetch_openml('mnist_784')",
        "datasets.CIFAR10(place, download=True)",
        "import webbrowser",
    ],
)
def test_what_could_reach_the_network_is_seen_in_a_source(line):
    assert reaches(line)


def test_what_cannot_is_not_taken_for_it():
    assert not reaches("from urllib.parse import urlsplit\nload(x, download=download)")
    assert not reaches("from torchvision.models import resnet18\nhttp = 'https://x.y'")


def test_no_style_script_or_template_holds_an_address_to_load_from():
    endings = (".js", ".css", ".html", ".mjs")
    files = [p for p in (ROOT / "course").rglob("*") if p.suffix in endings]
    assert len(files) > 5
    for path in files:
        held = set(ADDRESS.findall(path.read_text("utf-8")))
        assert held <= set(NAMESPACE), f"{path.name}: {held}"


def test_jupyterlab_is_started_without_its_look_for_updates(monkeypatch):
    from traitlets import import_item

    asked = []
    monkeypatch.setattr(cli.subprocess, "call", lambda *a, **k: asked.append(a[0]) or 0)
    assert cli.main(["lab", "--no-browser"]) == 0
    (option,) = [one for one in asked[0] if "check_for_updates" in one]
    kind = import_item(option.partition("=")[2])
    with pytest.raises(StopIteration) as ended:
        kind("4.0.0").__call__().send(None)
    assert ended.value.value is None


# What runs by default -----------------------------------------------------------------

HEAR = """
import sys
wanted = []
def hear(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname",
                 "socket.sendto", "socket.sendmsg", "urllib.Request",
                 "http.client.connect", "ftplib.connect", "webbrowser.open"):
        wanted.append(f"{event} {arguments!r:.200}")
        raise OSError(f"{event} was not asked for")
sys.addaudithook(hear)
def done():
    import json
    print("\\n" + json.dumps(wanted))
"""

IMPORTS = """
import importlib
from pathlib import Path
here = Path("course")
for path in sorted(here.rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    if name not in ("course.copies.grading", "course.doctor.probe"):  # programs
        importlib.import_module(name)
"""

DEFAULTS = """
import contextlib, io
from course import cli, coco, data, language, models, sentences, sweep
from course.errors import CourseError
from course.data import named, reviews
for command in (["doctor"], ["progress"], ["prefetch"], ["cache"], ["cache", "prune"],
                ["run", "--help"]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        cli.main(command)
models.load("resnet10-shapes"); language.load(); sweep.load("few-labels")
data.task("digits", train=20, validation=1, test=1, size=16)
refused = 0
for absent in (lambda: models.load("vgg16"),
               lambda: models.load("timm:resnet18.a1_in1k"),
               lambda: models.load("hf:microsoft/resnet-18"),
               lambda: coco.load("ssdlite320_mobilenet_v3_large"),
               lambda: sentences.load("sentence-transformers/all-MiniLM-L6-v2"),
               lambda: named.task("fashionmnist"),
               reviews.sst2):
    try:
        absent()
    except CourseError:
        refused += 1
assert refused == 7, refused
"""


def heard(program, tmp_path):
    """Run a program where nothing is cached; return how it wanted the network."""
    surroundings = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    for name in ("TORCH_HOME", "COURSE_DATA", "HF_HOME", "HF_HUB_CACHE"):
        surroundings.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", f"{HEAR}\n{program}\ndone()"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=surroundings,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_ear_hears_what_would_reach_the_network(tmp_path):
    program = (
        "import urllib.request, contextlib\n"
        "with contextlib.suppress(OSError):\n"
        "    urllib.request.urlopen('http://192.0.2.1/', timeout=1)\n"
    )
    assert heard(program, tmp_path)


def test_nothing_that_was_not_asked_for_opens_a_connection(tmp_path):
    assert heard(IMPORTS + DEFAULTS, tmp_path) == []
