"""No pickle runs: one is planted wherever weights, caches or data are read."""

import ast
import hashlib
import io
import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from course import (
    coco,
    extraction,
    fetch,
    language,
    models,
    parallel,
    prefetch,
    pretrained,
    pretraining,
    progress,
    sentences,
    sweep,
    training,
    words,
)
from course.copies.timing import Timing
from course.data import folder, named, pictures, reviews
from course.errors import CourseError
from course.export import folder as export
from hardness import corpus
from hardness.reader import Desk

ROOT = Path(__file__).parents[2]


class Touches:
    """An object whose pickle makes a file when it is opened."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def pickles(marker):
    """Return by name the contents of files that run a program once they are opened."""
    harm = Touches(marker)
    array, arrays, torchs = io.BytesIO(), io.BytesIO(), io.BytesIO()
    objects = np.array([harm], dtype=object)
    np.save(array, objects, allow_pickle=True)
    np.savez(arrays, values=objects)
    torch.save({"conv1.weight": harm}, torchs)
    old = io.BytesIO()
    torch.save({"fc": harm}, old, _use_new_zipfile_serialization=False)
    plain = pickle.dumps(harm)
    return {
        "pickle": plain,
        "pickle of protocol 0": pickle.dumps(harm, 0),
        "npy": array.getvalue(),
        "npz": arrays.getvalue(),
        "torch": torchs.getvalue(),
        "old torch": old.getvalue(),
        "zip": corpus.zipped({"archive/data.pkl": plain, "archive/version": b"3"}),
    }


@pytest.fixture
def desk(tmp_path, monkeypatch):
    return Desk(tmp_path, monkeypatch)


@pytest.fixture
def planted(desk):
    """The contents of planted files; whether one of them ran is seen at the end."""
    marker = desk.around / "pwned"
    yield pickles(str(marker))
    assert not marker.exists(), "a pickle ran"


def test_the_planted_files_would_run_if_somebody_opened_them(tmp_path):
    marker = tmp_path / "pwned"
    found = pickles(str(marker))
    for name, read in {
        "pickle": pickle.loads,
        "pickle of protocol 0": pickle.loads,
        "npy": lambda content: np.load(io.BytesIO(content), allow_pickle=True),
        "npz": lambda content: np.load(io.BytesIO(content), allow_pickle=True)[
            "values"
        ],
        "torch": lambda content: torch.load(io.BytesIO(content), weights_only=False),
        "old torch": lambda content: torch.load(
            io.BytesIO(content), weights_only=False
        ),
        "zip": lambda content: pickle.loads(
            zipfile.ZipFile(io.BytesIO(content)).read("archive/data.pkl")
        ),
    }.items():
        read(found[name])
        marker.rmdir()  # it was made


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_weights_in_a_cache_are_never_unpickled(desk, planted, monkeypatch):
    """Also where the digest is right: who publishes weights may be the one to fear."""
    monkeypatch.setattr(fetch, "matches", lambda *_: True)
    resnet = models.remote("resnet18", "IMAGENET1K_V1").file
    detector = models.remote("fcos_resnet50_fpn", "COCO_V1").file
    caches = (fetch.weights_folder(), desk.chosen)
    for name, content in planted.items():
        for cache in caches:
            put(cache / resnet, content)
            put(cache / detector, content)
        calls = {
            "cache": lambda: models.load("resnet18", "IMAGENET1K_V1"),
            "folder": lambda: models.load(
                "resnet18", "IMAGENET1K_V1", folder=desk.chosen
            ),
            "download": lambda: models.load("resnet18", "IMAGENET1K_V1", download=True),
            "detector": lambda: coco.load("fcos_resnet50_fpn", "COCO_V1"),
            "state": lambda: pretrained._state(fetch.weights_folder() / resnet),
        }
        for how, call in calls.items():
            names = f"{resnet}|{detector}"
            desk.meets("pickle", call, names=names, what=f"{name}, {how}")


def test_a_file_of_weights_is_never_unpickled_whatever_it_is_called(desk, planted):
    for name, content in planted.items():
        for ending in ("safetensors", "pth", "pt", "pkl", "joblib", "bin", "npy"):
            path = corpus.carded(desk.chosen / f"mine.{ending}", content)
            for load in (models.load, language.load):
                desk.meets(
                    "pickle",
                    lambda load=load, path=path: load(path),
                    names="mine",
                    what=f"{name}.{ending}",
                )


def test_caches_and_unfinished_work_are_never_unpickled(desk, planted):
    model = models.fresh(("a", "b"), 0, width=4)
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)

    def features():
        extraction.forget()
        return extraction.features(model, images, "layer1", desk.chosen, "cpu").values

    wanted = features()
    (place,) = desk.chosen.iterdir()
    rows = [{"a": 1, "b": 2}]
    cells = desk.chosen / "cells"

    def swept():
        work = {"folder": cells, "progress": False, "workers": 1}
        return sweep.run(lambda a: {"b": 2}, [{"a": 1}], **work)

    assert swept() == rows
    (cell,) = cells.iterdir()
    other = models.fresh(("a", "b"), 0, width=4)
    trainer = training.Trainer(
        other.network, training.Recipe(steps=1, batch=2), device="cpu"
    )
    unfinished = desk.chosen / ".x.partial.safetensors"
    for name, content in planted.items():
        put(place, content)
        put(cell, content)
        put(unfinished, content)
        desk.meets(
            "pickle",
            features,
            right=lambda values: values.equal(wanted),
            makes=True,
            what=f"features {name}",
        )
        desk.meets("pickle", swept, right=rows.__eq__, makes=True, what=f"cell {name}")
        state = pretraining.State(unfinished, "key", parallel.ALONE)
        desk.meets(
            "pickle",
            lambda state=state: state.restore(trainer),
            names="partial",
            what=f"state {name}",
        )


def test_tables_exports_and_data_are_never_unpickled(desk, planted):
    chosen = desk.chosen
    for name, content in planted.items():
        table = put(chosen / "table.csv", content)
        digest = hashlib.sha256(content).hexdigest()
        card = {"sha256": digest, "columns": {"a": "int"}, "kind": "x", "files": []}
        put(chosen / "table.json", json.dumps(card).encode())
        for file in ("card.json", "records.json", "manifest.json", "train.tsv"):
            put(chosen / file, content)
        put(chosen / "glove.x.txt", content)
        put(chosen / "pictures/a/1.png", content)
        put(chosen / "pictures/b/1.npy", content)
        calls = {
            "table": lambda table=table: sweep.load(table),
            "export": lambda: export.read(chosen),
            "records": lambda: Timing.of(chosen / "records.json"),
            "stick": lambda: prefetch.from_stick(chosen, None, []),
            "vectors": lambda: words.glove(chosen / "glove.x.txt"),
            "texts": lambda: reviews.sst2(chosen),
            "pictures": lambda: folder(chosen / "pictures", size=8, progress=False),
            "list": lambda table=table: folder(table, size=8, progress=False),
            "picture": lambda: pictures.from_path(str(chosen / "pictures/a/1.png")),
            "progress": lambda content=content: progress.parse(content),
        }
        for how, call in calls.items():
            if how == "progress":  # goes on from the name of the file
                with pytest.raises(CourseError):
                    call()
            else:
                desk.meets("pickle", call, what=f"{name}, {how}")


def test_sets_that_are_published_as_pickles_are_not_read_at_all(desk, planted):
    for name in ("cifar10", "cifar100"):
        put(desk.chosen / "cifar-10-batches-py/data_batch_1", planted["pickle"])
        desk.meets(
            "pickle",
            lambda name=name: named.task(name, desk.chosen),
            names="pickles, which can run code",
        )


def test_an_encoder_that_comes_as_a_pickle_is_refused(desk, planted, monkeypatch):
    from course import sentence_encoder

    monkeypatch.setattr(sentence_encoder, "_installed", lambda package: True)
    chosen = desk.chosen
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    put(chosen / "modules.json", json.dumps(modules).encode())
    put(chosen / "config.json", b"{}")
    for name, content in planted.items():
        put(chosen / "pytorch_model.bin", content)
        call = {"folder": chosen}
        desk.meets(
            "pickle", lambda call=call: sentences.load("me/tiny", **call), what=name
        )


def test_a_models_hub_is_read_from_safetensors_alone():
    """timm and transformers are asked for that form by name, in every call."""
    text = (ROOT / "course/pretrained.py").read_text("utf-8")
    assert "use_safetensors=True" in text and '"model.safetensors"' in text
    encoder = (ROOT / "course/sentence_encoder.py").read_text("utf-8")
    assert encoder.count("from_pretrained(") == encoder.count("**local")
    assert "trust_remote_code=True" not in text + encoder


# Nothing that could -------------------------------------------------------------------

UNSAFE = {
    "pickle.load": "pickle.load",
    "pickle.loads": "pickle.loads",
    "pickle.Unpickler": "pickle.Unpickler",
    "cloudpickle.load": "cloudpickle.load",
    "cloudpickle.loads": "cloudpickle.loads",
    "joblib.load": "joblib.load",
    "marshal.loads": "marshal",
    "marshal.load": "marshal",
    "shelve.open": "shelve",
    "yaml.load": "yaml.load without a safe loader",
    "yaml.unsafe_load": "yaml.unsafe_load",
    "yaml.full_load": "yaml.full_load",
    "dill.load": "dill",
    "eval": "eval",
    "exec": "exec",
    "torch.load": "torch.load that may run what it reads",
    "numpy.load": "numpy.load of objects",
    "np.load": "numpy.load of objects",
    "extractall": "an archive unpacked without a filter",
    "torch.hub.load": "torch.hub.load",
    "load_state_dict_from_url": "torch's own download, which unpickles",
}
# file: how often, and why that is no harm
REVIEWED = {
    ("course/arguments.py", "eval"): "annotations of our own functions, as written",
    ("course/copies/seal.py", "exec"): "inside a text: tests of a class's teacher",
    ("tests/test_copies.py", "exec"): "opens what `seal` has just closed",
    ("tests/test_exercises.py", "exec"): "cells of our own chapters",
    ("tests/test_deploy.py", "exec"): "our own configuration of a hub",
    ("tests/mutants/play.py", "exec"): "our own modules, with a mistake planted",
    ("tests/hardness/test_pickle.py", "pickle.loads"): "shows that the trap works",
    ("tests/hardness/test_pickle.py", "np.load"): "shows that the trap works",
    ("tests/hardness/test_pickle.py", "torch.load"): "shows that the trap works",
    ("notebooks/11_tools_and_outlook.ipynb", "torch.load"): (
        "the lesson: a file that the cell above made shows what a pickle can do"
    ),
    ("notebooks/11_tools_and_outlook.ipynb", "torch.hub.load"): (
        "the lesson: from a folder that the cell above wrote, source='local'"
    ),
}


def sources():
    """Yield place and syntax tree of every file of ours that Python runs."""
    for top in ("course", "tests", "benchmarks", "deploy"):
        for path in sorted((ROOT / top).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        lines = "\n".join(code).splitlines()
        kept = "\n".join("pass" if line[:1] in "%!" else line for line in lines if line)
        yield path.relative_to(ROOT).as_posix(), ast.parse(kept)


LAST = {name.rpartition(".")[2] for name in UNSAFE}


def unsafe(call):
    """Return the name of a call that could run what it reads; "" for any other."""
    if getattr(call.func, "id", getattr(call.func, "attr", "")) not in LAST:
        return ""
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    key = name if name in UNSAFE else last if last in ("extractall",) else ""
    key = key or (last if last == "load_state_dict_from_url" else "")
    named_as = {one.arg: ast.unparse(one.value) for one in call.keywords}
    harmless = {
        "torch.load": named_as.get("weights_only") == "True",
        "np.load": named_as.get("allow_pickle", "False") == "False",
        "numpy.load": named_as.get("allow_pickle", "False") == "False",
        "extractall": named_as.get("filter") in ("'data'", '"data"'),
        "yaml.load": "SafeLoader" in ast.unparse(call),
    }
    return "" if harmless.get(key) else key


def test_nothing_in_the_repository_could_run_what_it_reads():
    found = {
        (place, name): UNSAFE[name]
        for place, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (name := unsafe(node))
    }
    assert set(found) <= set(REVIEWED), set(found) - set(REVIEWED)
    stale = set(REVIEWED) - set(found) - {("course/copies/seal.py", "exec")}
    assert not stale, f"reviewed, and no longer there: {stale}"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("torch.load(path)", "torch.load"),
        ("torch.load(path, weights_only=False)", "torch.load"),
        ("torch.load(path, weights_only=True)", ""),
        ("np.load(path)", ""),
        ("np.load(path, allow_pickle=True)", "np.load"),
        ("archive.extractall(place)", "extractall"),
        ("archive.extractall(place, filter='data')", ""),
        ("yaml.load(text, yaml.SafeLoader)", ""),
        ("yaml.load(text)", "yaml.load"),
        ("pickle.loads(text)", "pickle.loads"),
        ("network.eval()", ""),
        ("eval(text)", "eval"),
    ],
)
def test_a_call_that_could_is_told_from_one_that_could_not(text, name):
    assert unsafe(ast.parse(text).body[0].value) == name


def test_processes_are_sent_functions_and_read_none_of_a_readers_files():
    """`engines` writes pickles for its own workers, and opens none."""
    text = (ROOT / "course/engines.py").read_text("utf-8")
    assert not re.search(r"pickle\.loads?\(|Unpickler", text)
    assert "pickle.Pickler" in text  # or this test has nothing to say any more
