"""Bad input: the right result or one clear sentence, and nothing left on the disk.

Every case goes through `Desk.meets`, which counts it; the last test holds the number to
what was promised. With HARD=1 ten times as many cases are drawn.
"""

import functools
import hashlib
import io
import json
import math
import os
import random
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from course import (
    cli,
    data,
    evidence,
    extraction,
    labels,
    language,
    models,
    parallel,
    plots,
    prefetch,
    pretraining,
    progress,
    report,
    sweep,
    training,
    words,
)
from course.copies.timing import Timing
from course.data import pictures, reading, reviews
from course.errors import CourseError, unknown
from course.export import folder as export
from hardness import calls, corpus
from hardness.reader import TALLY, Desk, sentence_of

ROOM = 2 * 2**30  # bytes that a case may take
LEAST = 500  # cases in `make test`
HARD = 10 if os.environ.get("HARD") else 1
DRAWN = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
pytestmark = pytest.mark.filterwarnings("ignore")


def drawn(count):
    return settings(DRAWN, max_examples=count * HARD)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    return Desk(tmp_path, monkeypatch)


@pytest.fixture(scope="module", autouse=True)
def few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def little_memory():
    """A number that is taken at its word is to end in a sentence, not in a swap."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        pages = None
    if pages is not None:
        most = pages * resource.getpagesize() + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


# Arguments ----------------------------------------------------------------------------


class Strange:
    """A value of a kind that nobody knows."""


ODD = [
    *(-1, 0, 1, 2, 3, 255, 2**62, 10**30, -(10**30), True, False, None),
    *(math.nan, math.inf, -math.inf, 0.5, -0.5, 1.5, 1e300, 5e-324, -0.0, 1j),
    *("", " ", "abc", "\0", "x" * 5000, "\ud800", "../..", "<b>", "0", "nan", "auto"),
    *(b"", b"x", [], [None], [[]], {}, {"a": 1}, {1: 2}, (), (1, 2), (1, "a"), {1}),
    *(Strange(), Strange, len, range(3), object()),
    *(np.zeros(2), np.float32(1), np.int64(1), np.array([]), np.array("x")),
    *(torch.zeros(2), torch.zeros(0), torch.zeros(2, 2), torch.tensor(1)),
    *(torch.tensor(float("nan")), torch.zeros(1, 3, 4, 4, dtype=torch.uint8)),
]
LARGE = 300  # more of what is made or counted takes its time and memory, rightly
ABSURD = 2**55  # and this many of anything fit into no machine


def anything():
    """Return a strategy of values that no docstring names."""
    simple = st.one_of(
        st.integers(-(2**70), 2**70),
        st.integers(-3, 20),
        st.floats(),
        st.text(max_size=20),
        st.binary(max_size=5),
        st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=3),
    )
    return st.one_of(st.sampled_from(ODD), st.sampled_from(ODD), simple)


@functools.cache
def known():
    return calls.every()


def _counts(value):
    return isinstance(value, int | float) and value > LARGE


def tried(desk, name, argument, value):
    """Call a function with one argument exchanged; the rest is as it should be."""
    call = known()[name]
    patient = argument in call.patient or value < ABSURD if _counts(value) else False
    if patient and argument != "seed":
        value = LARGE
    if argument == "work" and callable(value):
        return  # a function of the reader's own, whose errors are the reader's too
    given_now = {**call.arguments, argument: value}
    with warnings.catch_warnings(action="ignore"), models.seeded(0):
        desk.meets(
            "argument",
            lambda: call.function(**given_now),
            right=call.right,
            what=f"{name}({argument}={value!r:.60})",
        )
    evidence.begin("quick")


@functools.cache
def places():
    return [(name, one) for name, call in known().items() for one in call.arguments]


def test_calls_with_arguments_that_are_right_go_well(desk):
    for name, call in known().items():
        found = desk.meets(
            "call",
            lambda call=call: call.function(**call.arguments),
            right=call.right,
            what=name,
        )
        absent = "nowhere" in call.arguments.values()
        assert isinstance(found, CourseError) == absent, f"{name}: {found}"
    evidence.begin("quick")


@pytest.mark.parametrize("number", range(len(ODD)))
def test_no_argument_of_a_wrong_kind_is_a_traceback(desk, number):
    """Each odd value in the place of a twelfth of all arguments, another one each."""
    step = 1 if HARD > 1 else 12
    for name, argument in places()[number % step :: step]:
        tried(desk, name, argument, ODD[number])


def test_no_argument_that_chance_draws_is_a_traceback(desk):
    @drawn(300)
    @given(data=st.data(), value=anything())
    def holds(data, value):
        tried(desk, *data.draw(st.sampled_from(places())), value)

    holds()


def test_a_name_that_is_not_known_is_said_shortly_and_on_one_line():
    for name in ("x" * 10_000, "two\nlines", Strange(), None, ["a"] * 1000):
        text = str(unknown("task", name, data.TASKS))
        assert len(text) < 400 and not sentence_of(CourseError(text)), text


# Pictures -----------------------------------------------------------------------------


def test_what_is_no_picture_is_refused_by_its_name(desk):
    for name, content in corpus.damaged_pictures().items():
        refused_as_a_picture(desk, name, content)


def refused_as_a_picture(desk, name, content):
    place = desk.chosen / "mine.png"
    place.write_bytes(content)
    readers = {
        "dropped": lambda: pictures.decoded(io.BytesIO(content), "mine.png"),
        "named": lambda: pictures.from_path(str(place)),
        "of a folder": lambda: reading.read(place, 16),
    }
    blue = (32, 96, 160)  # with a wrong sum the picture can be read all the same
    for how, call in readers.items():
        found = desk.meets(
            "picture",
            call,
            names="mine.png",
            right=lambda got: name == "png with a wrong sum" and _is(got, blue),
            what=f"{name}, {how}",
        )
        assert isinstance(found, CourseError) or name == "png with a wrong sum"


def _is(got, colour):
    pixels = got.pixels.transpose(1, 2, 0) if hasattr(got, "pixels") else got
    return (np.asarray(pixels) == colour).all()


def test_pictures_of_rare_kinds_are_seen_as_they_are(desk):
    for name, content, wanted in corpus.odd_pictures():
        seen = desk.meets(
            "picture",
            lambda content=content: pictures.decoded(io.BytesIO(content), "x"),
            right=lambda got, wanted=wanted: np.shape(got) == wanted.shape,
            what=name,
        )
        assert np.abs(np.asarray(seen).astype(int) - wanted).max() <= 1, name


def test_no_picture_that_chance_spoils_is_a_traceback(desk):
    whole = [saved for _, saved, _ in corpus.odd_pictures()]
    place = desk.chosen / "mine.png"

    @drawn(80)
    @given(at=st.integers(0, len(whole) - 1), seed=st.integers(0, 2**32))
    def holds(at, seed):
        place.write_bytes(spoiled(whole[at], random.Random(seed)))
        desk.meets(
            "picture",
            lambda: reading.read(place, 16),
            names="mine.png",
            right=lambda got: got.pixels.shape == (3, 16, 16),
            what=f"{at}, {seed}",
        )

    holds()


def spoiled(content, chance):
    """Return a file with pieces exchanged, cut out, doubled or set to extremes."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(max(1, len(content)))
        size = chance.choice([1, 2, 4, 8, 50])
        new = {
            "extreme": chance.choice([b"\xff", b"\0", b"\x7f", b"\x80"]) * size,
            "cut": b"",
            "twice": bytes(content[at : at + size]) * 2,
            "noise": chance.randbytes(size),
        }
        content[at : at + size] = new[chance.choice(list(new))]
    return bytes(content)


# Checkpoints, features and unfinished work --------------------------------------------


@functools.cache
def whole_checkpoint(place):
    models.save(models.fresh(("a", "b", "c"), 0, width=4), place)
    return place.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_checkpoint(tmp_path_factory.mktemp("whole") / "mine.safetensors")


def test_no_damaged_checkpoint_is_taken_though_its_card_vouches_for_it(desk, whole):
    for name, content in corpus.checkpoints(whole):
        path = corpus.carded(desk.chosen / "mine.safetensors", content)
        for kind, load in (("resnet10", models.load), ("language", language.load)):
            desk.meets(
                "checkpoint",
                lambda load=load, path=path: load(path),
                names="mine",
                what=f"{kind} {name}",
            )
    path = corpus.carded(desk.chosen / "mine.safetensors", whole)
    names = ("a", "b", "c")
    desk.meets(
        "checkpoint",
        lambda: models.load(path),
        right=lambda model: model.class_names == names,
    )


def test_no_checkpoint_that_chance_spoils_is_a_traceback(desk, whole):
    @drawn(40)
    @given(seed=st.integers(0, 2**32))
    def holds(seed):
        chance = random.Random(seed)
        end = 8 + int.from_bytes(whole[:8], "little")
        content = spoiled(whole[:end], chance) + whole[end:]
        path = corpus.carded(desk.chosen / "mine.safetensors", content)
        desk.meets(
            "checkpoint",
            lambda: models.load(path),
            names="mine.safetensors",
            right=calls.logits_of,
            what=str(seed),
        )

    holds()


def test_a_path_that_is_none_is_one_sentence_wherever_a_file_is_named(desk):
    paths = ["a\0b", "x" * 5000, "..", "/", "nowhere/x.csv", "~nobody-here/x.csv"]
    readers = {
        "models": models.load,
        "language": language.load,
        "table": lambda path: sweep.load(f"{path}.csv"),
        "folder": data.folder,
        "export": export.read,
        "vectors": words.glove,
        "texts": reviews.sst2,
        "picture": pictures.from_path,
        "labels": lambda path: labels.Labelling(path, ["a", "b"]),
    }
    for path in paths:
        for kind, read in readers.items():
            desk.meets(
                "path",
                lambda read=read, path=path: read(path),
                what=f"{kind} {path[:20]!r}",
            )


def test_damaged_features_are_computed_anew_and_written_whole(desk, whole):
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    model = models.fresh(("a", "b"), 0, width=4)

    def features():
        extraction.forget()
        return extraction.features(model, images, "layer1", desk.chosen, "cpu").values

    wanted = features()
    (place,) = desk.chosen.iterdir()
    good = place.read_bytes()
    nan = good[:-4] + struct.pack("<f", math.nan)
    for name, content in [*list(corpus.checkpoints(whole))[:30], ("NaN", nan)]:
        place.write_bytes(content)
        desk.meets(
            "checkpoint",
            features,
            right=lambda values: values.equal(wanted),
            makes=True,
            what=name,
        )
        assert place.read_bytes() == good, name


def test_unfinished_work_that_is_damaged_is_refused_and_stays_as_it_is(desk):
    state, trainer = unfinished(desk.chosen / ".mine.partial.safetensors")
    state.save(trainer, training.History([ROW]))
    header, content = corpus.parts(state.path.read_bytes())
    about = header["__metadata__"]
    key = about["key"]
    broken = dict(corpus.checkpoints(state.path.read_bytes()))
    for name in [n for n in broken if n.startswith(("width", "class_names"))]:
        del broken[name]  # what this file does not hold
    for name in ("weights: NaN", "weights: infinite", "one key more", "another type"):
        broken.pop(name)
    for done in ("", "-1", "2", "x", "9" * 400, "NaN"):
        broken[f"done {done[:9]}"] = with_metadata(header, content, done=done)
    for rows in ("", "null", "3", "{}", "[]", "[1]", '[{"step": 1}]', "[" * 100_000):
        broken[f"history {rows[:9]}"] = with_metadata(header, content, history=rows)
    broken["another run"] = with_metadata(header, content, key="x" * len(key))
    _, fresh = unfinished(state.path)
    for name, damaged in broken.items():
        state.path.write_bytes(damaged)
        desk.meets(
            "checkpoint", lambda: state.restore(fresh), names="mine.partial", what=name
        )
        assert state.path.read_bytes() == damaged, name


ROW = {"step": 1, "loss": 1.0, "accuracy": 0.5, "rate": 1e-3, "seconds": 0.1}


def unfinished(path):
    model = models.fresh(("a", "b"), 0, width=4)
    trainer = training.Trainer(
        model.network, training.Recipe(steps=3, batch=2), device="cpu"
    )
    images = torch.zeros(2, 3, 16, 16)
    trainer.step(images, torch.tensor([0, 1]))
    return pretraining.State(path, "key", parallel.ALONE), trainer


def with_metadata(header, content, **changes):
    about = {**header["__metadata__"], **changes}
    return corpus.safetensors({**header, "__metadata__": about}, content)


# Cards, records and tables ------------------------------------------------------------


def test_no_card_of_anything_is_a_traceback(desk, whole):
    """A text of any kind in the place of each JSON file that a reader may be given."""
    folder = desk.chosen
    weights = corpus.carded(folder / "mine.safetensors", whole)
    table = sweep.save(sweep.Table("mine", [{"a": 1}], {}), folder)
    readers = {
        "mine.json": lambda: (models.load(weights), sweep.load(table)),
        "records.json": lambda: Timing.of(folder / "records.json"),
        "manifest.json": lambda: prefetch.from_stick(folder, None, []),
        "card.json": lambda: export.read(folder),
    }
    for file, read in readers.items():
        for name, content in corpus.texts():
            before = (folder / file).read_bytes() if (folder / file).exists() else b""
            (folder / file).write_bytes(content)
            harmless = file == "records.json" and name.startswith("an empty")
            found = desk.meets(
                "card",
                read,
                names=f"mine|{file}|chosen",
                right=lambda got, harmless=harmless: harmless and got.conditions == {},
                what=f"{file}: {name}",
            )
            assert (
                isinstance(found, CourseError) or harmless or name == "an empty object"
            )
            (folder / file).write_bytes(before)


def test_no_progress_file_is_a_traceback(desk):
    for name, content in corpus.texts():
        TALLY["card"] += 1
        with pytest.raises(CourseError) as caught:
            progress.parse(content)
        assert "\n" not in str(caught.value), name


COLUMNS = (
    {"a": "int", "b": "int"},
    {"a": "float", "b": "float"},
    {"a": "str", "b": "bool"},
    {"a": "x"},
    {},
    None,
    [1],
)


def test_no_table_is_a_traceback(desk):
    for name, text in corpus.TABLES.items():
        content = text.encode()
        place = desk.chosen / "mine.csv"
        place.write_bytes(content)
        (desk.chosen / "glove.mine.txt").write_bytes(content)
        readers = {
            "vectors": lambda: words.glove(desk.chosen / "glove.mine.txt"),
            "folder": lambda place=place: data.folder(place, size=8),
            "labels": lambda place=place: labels.read(place),
        }
        for kind, read in readers.items():
            desk.meets("table", read, names="mine", what=f"{kind}: {name}")
        for columns in COLUMNS:
            card = {"sha256": hashlib.sha256(content).hexdigest(), "columns": columns}
            place.with_suffix(".json").write_text(json.dumps(card), "utf-8")
            desk.meets(
                "table",
                lambda place=place: sweep.load(place),
                names="mine.csv",
                right=lambda table: len(table.rows) >= 1,
                what=f"{name} {columns}",
            )


def test_a_kept_run_that_is_none_is_made_anew(desk):
    cells = sweep.grid(a=[1])

    def rows():
        return sweep.run(
            lambda a: {"b": a + 1}, cells, folder=desk.chosen, progress=False, workers=1
        )

    assert rows() == [{"a": 1, "b": 2}]
    (place,) = desk.chosen.glob("*.json")
    others = [b"{}", b'{"a": 1}', b'{"a": 2, "b": 3}', b'{"a": 1, "b": [1]}']
    for content in [*others, *(content for _, content in corpus.texts())]:
        place.write_bytes(content)
        desk.meets(
            "card",
            rows,
            right=lambda found: found == [{"a": 1, "b": 2}],
            makes=True,
            what=repr(content[:40]),
        )


def test_an_archive_that_lies_or_swells_is_one_sentence(desk):
    place = desk.chosen / "SST-2.zip"
    names = [f"SST-2/{name}.tsv" for name in ("train", "dev", "test")]
    good = corpus.zipped(dict.fromkeys(names, "fine\t1\nbad\t0\n"))
    cases = {
        "no archive": b"PK\x03\x04",
        "half": good[: len(good) // 2],
        "names that lead out": corpus.zipped({f"../../{n}": "x\t1\n" for n in names}),
        "no tables": corpus.zipped(dict.fromkeys(names, b"\0\xff")),
        "nothing in it": corpus.zipped({}),
    }
    chance = random.Random(0)
    for number in range(20 * HARD):
        cases[f"spoiled {number}"] = spoiled(good, chance)
    for name, content in cases.items():
        place.write_bytes(content)
        desk.meets(
            "archive",
            lambda: reviews.sst2(desk.chosen),
            names="SST-2|tsv",
            right=lambda task, name=name: (
                name.startswith("spoiled") and len(task.train) >= 1
            ),
            what=name,
        )


# Names --------------------------------------------------------------------------------


def test_class_names_of_every_kind_come_through_a_checkpoint_and_back(desk):
    names = corpus.NAMES
    model = models.fresh(names, 0, width=4)
    models.save(model, desk.chosen / "mine.safetensors")
    found = desk.meets(
        "name",
        lambda: models.load(desk.chosen / "mine.safetensors"),
        right=lambda again: again.class_names == names,
    )
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    assert {row.name for row in found.predict(image, len(names))} == set(names)
    TALLY["name"] += len(names)


def test_class_names_of_every_kind_can_be_drawn_and_reported(desk):
    names = [*corpus.NAMES, *corpus.UNWRITABLE]
    for number, name in enumerate(names):
        pair = [name, "other"]
        part = data.TrainPart(
            torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
            torch.tensor([0, 1]),
            tuple(pair),
        )
        two = torch.tensor([[3, 1], [0, 2]])
        surfaces = {"confusion": lambda pair=pair, two=two: plots.confusion(two, pair)}
        if number % 12 == 0 or name in corpus.UNWRITABLE:
            surfaces["grid"] = lambda pair=pair, part=part: plots.image_grid(
                part.images, pair
            )
        for kind, draw in surfaces.items():
            desk.meets(
                "name",
                draw,
                names="rename",
                right=calls.picture,
                what=f"{kind} {name!r}",
            )
        sections = [
            report.Section(name, [name, report.Table([{name: name}], caption=name)])
        ]
        desk.meets(
            "name",
            lambda name=name, sections=sections: report.write(
                desk.chosen / "page.html", name, sections
            ),
            right=lambda place: "<script>" not in place.read_text("utf-8"),
            makes=True,
            what=repr(name),
        )


def test_no_name_of_a_table_or_a_folder_leads_elsewhere(desk):
    for name in [*corpus.NAMES, *corpus.UNWRITABLE]:

        def save(name=name):
            return sweep.save(sweep.Table(name, [{"a": 1}], {}), desk.chosen)

        desk.meets(
            "name",
            save,
            right=lambda place: place.parent == desk.chosen and place.is_file(),
            makes=True,
            what=f"table {name!r}",
        )
        desk.meets(
            "name",
            lambda name=name: models.load(name, folder=desk.chosen),
            what=f"model {name!r}",
        )
        desk.meets(
            "name",
            lambda name=name: data.named.task(name, desk.chosen),
            what=f"data set {name!r}",
        )


def test_folders_of_any_name_are_classes_and_the_report_shows_them(desk):
    root = desk.chosen / "mine"
    taken = []
    for number, name in enumerate([*corpus.NAMES, os.fsdecode(b"not \xff text")]):
        try:
            place = root / name
            if place.resolve().parent != root.resolve():
                continue
            place.mkdir(parents=True)
        except (OSError, ValueError):
            continue  # no file system has it
        taken.append(name)
        for n in range(3):
            pixels = np.random.default_rng([number, n]).integers(0, 255, (12, 12, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{n}.png")
    assert len(taken) > 25
    TALLY["name"] += len(taken)
    found = desk.meets(
        "name",
        lambda: data.folder(root, size=8, progress=False),
        names="no text",
        right=lambda found: len(found.task.class_names) == len(taken),
    )
    if isinstance(found, CourseError):
        (root / os.fsdecode(b"not \xff text")).rename(desk.chosen / "renamed")
        found = data.folder(root, size=8, progress=False)
    page = found._repr_html_()
    assert "<script>" not in page and "<svg" not in page
    page.encode("utf-8")


def test_ten_thousand_classes_are_no_trouble(desk):
    names = tuple(f"class {n}" for n in range(10_000))
    model = models.fresh(("a",), 0, width=4)
    found = desk.meets(
        "name",
        lambda: models.replace_head(model, names),
        right=lambda new: len(new.class_names) == 10_000,
    )
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    assert len(found.predict(image, 5)) == 5
    part = data.TrainPart(
        image[None].repeat(3, 1, 1, 1), torch.tensor([0, 1, 2]), names
    )
    three = data.Task(
        "many",
        part,
        data.ValidationPart(*vars(part).values()),
        data.TestPart(*vars(part).values()),
    )
    section = report.the_data(three)
    desk.meets(
        "name",
        lambda: report.write(desk.chosen / "page.html", "many", [section]),
        right=lambda place: "class 9999" in place.read_text("utf-8"),
        makes=True,
    )


# The command line ---------------------------------------------------------------------

STRANGE = (
    *("", " ", "-1", "--", "--nothing", "../..", "/", "x" * 300, "<b>", "nan", "1e9"),
    *("9" * 30, "none", "00", "*", "a\nb", "0", "resnet10-shapes "),
)
COMMANDS = (
    *(["run", "zz{}"], ["run", "--seed", "{}", "zz"], ["run", "--profile", "{}", "zz"]),
    *(["pretrain", "{}"], ["pretrain", "zz", "--seed", "{}"], ["sweep", "{}"]),
    *(["sweep", "zz", "--backend", "{}"], ["progress", "--export", "{}"]),
    *(["progress", "--export", "json", "--out", "{}/none/x"], ["class", "zz{}"]),
    *(["student", "zz", "--out", "{}"], ["student", "--out", "o", "--timing", "{}"]),
    *(["prefetch", "--models", "{}", "--yes"], ["prefetch", "--from", "{}", "--yes"]),
    *(["prefetch", "--datasets", "{}", "--yes"], ["lab", "--port", "{}x"], ["{}"]),
    *(["gpu-table", "--device", "{}"], ["compare", "{}"], ["cache", "{}"]),
    *(["cache", "prune", "--limit", "{}x"], ["baseline", "{}"]),
)


def test_no_command_is_a_traceback(desk, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "")
    pairs = [(command, word) for command in COMMANDS for word in STRANGE]
    for command, word in pairs if HARD > 1 else pairs[::5]:
        words_of = [part.replace("{}", word) for part in command]
        TALLY["command"] += 1
        before = desk._outside()
        try:
            status = cli.main(words_of)
        except SystemExit as left:  # argparse says what it takes
            status = left.code
        said = capsys.readouterr()
        assert status in (0, 1, 2), words_of
        assert "Traceback" not in said.out + said.err, words_of
        assert status == 0 or said.err.strip() or said.out.strip(), words_of
        assert desk._outside() == before, words_of


def test_as_many_cases_were_tried_as_promised(request):
    here = [item for item in request.session.items if item.path == request.path]
    if len(here) < 40:
        pytest.skip("only a few of these tests were asked for")
    print(dict(TALLY), sum(TALLY.values()))
    assert sum(TALLY.values()) >= LEAST * HARD and min(TALLY.values()) >= 20
