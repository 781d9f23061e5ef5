"""The corpus that every Python carries, and the task made of it."""

import ast
import builtins
import gc
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections import Counter

import pytest
import torch

from course.data import docstrings
from course.data.docstrings import TOPICS, Docstring, TextPart, TextTask, masked
from course.data.texts import forbid_test
from course.errors import CourseError, HeldOutError

HASHED = """
import hashlib
import json
from course.data import docstrings
whole = repr((docstrings.corpus(), docstrings.topics_task().test.texts))
print(hashlib.sha256(whole.encode()).hexdigest())
"""


def by_name():
    return {one.name: one for one in docstrings.corpus()}


def test_the_corpus_holds_what_a_programmer_looks_for():
    found = by_name()
    wrap = found["textwrap.TextWrapper.wrap"]
    assert wrap.file == "textwrap.py" and wrap.topic == "text and markup"
    assert wrap.public and "\n    " not in wrap.text
    assert wrap.first_line == wrap.text.splitlines()[0]
    assert found["math.gcd"].file == "math (C)"
    assert found["str.split" if "str.split" in found else "builtins.str.split"]
    assert found["asyncio.tasks.sleep"].topic == "concurrency"
    assert "help.for" in found and found["help.for"].topic == ""
    assert not found["socketserver._SocketWriter"].public


def test_each_name_and_each_text_is_there_once_and_in_order():
    entries = docstrings.corpus()
    assert len({one.name for one in entries}) == len(entries) > 5000
    assert len({one.text for one in entries}) == len(entries)
    keys = [(one.file, one.name) for one in entries]
    assert keys == sorted(keys)
    words = sum(len(one.text.split()) for one in entries)
    assert 200_000 < words < 600_000


def test_what_is_left_out_is_left_out():
    for one in docstrings.corpus():
        parts = one.file.split("/")
        assert not {"test", "tests", "idlelib", "site-packages"} & set(parts)
        assert "@python.org" not in one.text
    assert docstrings.corpus() is docstrings.corpus()


def test_addresses_go_and_decorators_stay():
    found = docstrings._docstring(
        "a.b", "By A. B. <a.b+c@mail.example.org>.\n\n    Use @property.", "a.py", "a"
    )
    assert found.text == "By A. B. .\n\nUse @property."


def test_another_process_and_another_hash_give_the_same_bytes():
    whole = repr((docstrings.corpus(), docstrings.topics_task().test.texts))
    here = hashlib.sha256(whole.encode()).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    there = subprocess.run(
        [sys.executable, "-c", HASHED],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert there.stdout.strip() == here


def test_nothing_of_a_library_is_run(tmp_path, monkeypatch):
    trap = tmp_path / "textwrap.py"
    trap.write_text('"""A trap for whoever runs it."""\nraise SystemExit("it ran")\n')
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "__init__.py").write_text("def f():\n    'Speaks up.'\n")
    (tmp_path / "json" / "tests").mkdir()
    (tmp_path / "json" / "tests" / "test_f.py").write_text("'Left out, a test.'\n")
    (tmp_path / "wave.py").write_bytes(b"\xff\xfe\x00 no Python ((")
    (tmp_path / "mine.py").write_text("'Not of the standard library.'\n")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "more.py").write_text("'Installed.'\n")
    monkeypatch.setattr(docstrings, "_library", lambda: tmp_path)
    assert [(one.name, one.text) for one in docstrings._written()] == [
        ("json.f", "Speaks up."),
        ("textwrap", "A trap for whoever runs it."),
    ]


def test_what_is_defined_on_some_platforms_only_is_found():
    code = """
class A:
    'A class.'
    if True:
        def f(self): 'One way.'
    else:
        def g(self): 'The other.'
    try:
        async def h(self): 'A third.'
    except ImportError:
        def i(self): 'A fourth.'
def plain(): return 1
"""
    assert list(docstrings._spoken(ast.parse(code), "m")) == [
        ("m.A", "A class."),
        ("m.A.f", "One way."),
        ("m.A.g", "The other."),
        ("m.A.h", "A third."),
        ("m.A.i", "A fourth."),
    ]


def test_without_sources_one_sentence_and_the_pages_of_help(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(docstrings, "_library", lambda: tmp_path / "none")
    left = docstrings.corpus.__wrapped__()
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "sources are not in" in said
    assert any(one.name == "help.for" for one in left) and len(left) > 70
    with pytest.raises(CourseError, match="needs the sources of the standard"):
        docstrings._kept(Counter())


def test_without_anything_there_is_one_clear_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(docstrings, "_library", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(CourseError, match="neither are the pages of help") as caught:
        docstrings.corpus.__wrapped__()
    assert "\n" not in str(caught.value)


def test_the_collector_runs_again_afterwards():
    with pytest.raises(KeyError), docstrings._no_collection():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_functions_that_notebooks_replace_are_not_asked(monkeypatch):
    before = list(docstrings._in_c())
    monkeypatch.setattr(sys, "excepthook", len)
    monkeypatch.setattr(builtins, "input", len)
    monkeypatch.setattr(builtins, "display", lambda: "a notebook's", raising=False)
    assert list(docstrings._in_c()) == before


def test_every_topic_has_enough_in_every_part():
    task = docstrings.topics_task()
    assert len(task.class_names) >= 7 and set(task.class_names) <= set(TOPICS)
    for part, least in ((task.train, 200), (task.validation, 30), (task.test, 30)):
        counts = Counter(part.labels.tolist())
        assert min(counts.values()) >= least
        assert len(counts) == len(task.class_names)
    assert len(task.few_shot(100, seed=0).train) == 100 * len(task.class_names)


def test_no_file_nor_its_twin_in_c_is_in_two_parts():
    task, found = docstrings.topics_task(), by_name()
    modules = [
        {docstrings._module(found[name].file) for name in part.names}
        for part in (task.train, task.validation, task.test)
    ]
    assert not modules[0] & modules[1]
    assert not modules[0] & modules[2] and not modules[1] & modules[2]
    assert docstrings._module("_pydecimal.py") == docstrings._module("_decimal (C)")
    assert docstrings._module("_io (C)") == docstrings._module("io.py")


def test_the_split_is_the_table_and_the_table_is_the_rule():
    table = json.loads(docstrings.SPLIT.read_text("utf-8"))
    if table["python"] != platform.python_version():
        pytest.skip(f"the table was made with Python {table['python']}")
    places = docstrings.split(docstrings.labelled())
    for kind, modules in table["parts"].items():
        assert modules == sorted(m for m in places if places[m] == kind)


def test_another_python_tests_on_the_same_modules_and_learns_from_new_ones():
    table = json.loads(docstrings.SPLIT.read_text("utf-8"))["parts"]
    fewer = [one for one in docstrings.labelled() if not one.file.startswith("tk")]
    new = Docstring("new.thing", "Do what is new.", "new.py", "data and numbers")
    places = docstrings._places([*fewer, new])
    assert places["new.py"] == "train"
    for file, kind in places.items():
        assert file == "new.py" or docstrings._module(file) in table[kind]


def test_names_that_give_the_topic_away_are_blanked():
    one = Docstring(
        "tkinter.ttk.Button.invoke_it",
        "Tkinter: the button's tkinter.Button, invoke_it() and a Socket or sockets.",
        "tkinter/ttk.py",
        "windows and drawing",
    )
    assert masked(one) == "_: the _'s _._, _() and a _ or sockets."
    task = docstrings.topics_task()
    for text in task.train.texts + task.test.texts:
        assert not {"tkinter", "asyncio", "xml", "socket"} & set(text.lower().split())


def test_a_topic_of_which_a_python_has_too_little_is_left_out(capsys):
    full = Counter({(t, k): 50 for t in TOPICS for k in docstrings.KINDS})
    assert docstrings._kept(full) == tuple(TOPICS)
    assert capsys.readouterr().out == ""
    full["windows and drawing", "test"] = 4
    assert docstrings._kept(full) == tuple(
        t for t in TOPICS if t != "windows and drawing"
    )
    assert "goes without that topic" in capsys.readouterr().out


def test_no_module_is_in_two_topics():
    counts = Counter(name for names in TOPICS.values() for name in names)
    assert max(counts.values()) == 1 and len(TOPICS) == 8


def part(kind="train", n=4, **other):
    texts = tuple(f"text {i}" for i in range(n))
    labels = torch.arange(n) % 2
    given = {"texts": texts, "labels": labels, "class_names": ("a", "b"), "kind": kind}
    return TextPart(**(given | other))


def test_a_few_labels_are_drawn_alike_from_each_class():
    task = TextTask("toy", part(n=20), part("validation"), part("test"))
    few = task.few_shot(3, seed=1)
    assert Counter(few.train.labels.tolist()) == {0: 3, 1: 3}
    assert few.train.texts == task.few_shot(3, seed=1).train.texts
    assert few.train.texts != task.few_shot(3, seed=2).train.texts
    assert few.test is task.test and len(set(few.train.texts)) == 6
    with pytest.raises(CourseError, match="expected 1 to 10"):
        task.few_shot(11, seed=0)


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(CourseError, match="one label a text"):
        part(labels=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(CourseError, match="labels from 0 to 1"):
        part(labels=torch.tensor([0, 1, 2, 0]))
    with pytest.raises(CourseError, match="expected one of train"):
        part("exam")
    with pytest.raises(CourseError, match="one name a text"):
        part(names=("x",))
    with pytest.raises(CourseError, match="validation part"):
        TextTask("toy", part(), part(), part("test"))
    with pytest.raises(CourseError, match="other classes"):
        wrong = part("test", class_names=("a", "c"))
        TextTask("toy", part(), part("validation"), wrong)


def test_taking_keeps_texts_labels_and_names_together():
    whole = part(names=("w", "x", "y", "z"))
    some = whole.take([2, 1])
    assert some.texts == ("text 2", "text 1") and some.names == ("y", "x")
    assert some.labels.tolist() == [0, 1] and some.kind == "train"
    assert len(whole.take([])) == 0


def test_the_test_part_is_for_the_last_figure_alone():
    forbid_test(part(), "fit")
    with pytest.raises(HeldOutError, match="given to fit"):
        forbid_test(part("test"), "fit")
