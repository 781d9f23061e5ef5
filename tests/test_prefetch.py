"""`course prefetch`: a plan, a question, what is missing; and the way by stick."""

import hashlib
import json
import os
import socket
from collections import namedtuple
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from course import cli, fetch, prefetch
from course.errors import CourseError, unknown
from course.fetch import Remote

FILES = {
    "net-a.pth": b"a" * 3_000,
    "net-b.pth": b"b" * 2_000,
    "ants.zip": b"c" * 1_000,
    "bees.zip": b"d" * 500,
}


def digest(content):
    return hashlib.sha256(content).hexdigest()


def remote(file, what, licence="BSD-3", whole=8):
    content = FILES[file]
    return Remote(
        f"https://example.org/{file}",
        file,
        f"sha256:{digest(content)[:whole]}",
        len(content) / 1e6,
        licence,
        what,
    )


MODELS = {
    "net_a": remote("net-a.pth", "net_a V1"),
    "net_b": remote("net-b.pth", "net_b V1", licence=None),
}
MD5 = "md5:" + hashlib.md5(FILES["bees.zip"]).hexdigest()
DATASETS = {
    "ants": [
        remote("ants.zip", "ants (images)", "CC BY 4.0", whole=64),
        Remote("https://example.org/bees.zip", "bees.zip", MD5, None, None, "ants (2)"),
    ]
}


def world(monkeypatch, tmp_path, place="https://example.org", unpacked=()):
    """Let two models and a data set be all that there is, on an empty machine."""

    def there(remote):
        return replace(remote, url=f"{place}/{remote.file}")

    def of_model(name, weights):
        if name not in MODELS:
            raise unknown("model", name, MODELS)
        return there(MODELS[name])

    def of_dataset(name):
        if name not in DATASETS:
            raise unknown("data set", name, DATASETS)
        return [there(remote) for remote in DATASETS[name]]

    names = SimpleNamespace(
        NAMES=tuple(DATASETS),
        remotes=of_dataset,
        present=lambda name: name in unpacked,
    )
    chapters = (("net_a", "V1", "chapter 00"), ("net_b", "V1", "10"))
    monkeypatch.setattr(prefetch.models, "remote", of_model)
    monkeypatch.setattr(prefetch, "named", names)
    monkeypatch.setattr(prefetch, "MODELS", chapters)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """That world, and what was asked of a network in which files can be broken."""
    asked = SimpleNamespace(files=[], broken=set(), unpacked=set())

    def download(remote, folder, say=print):
        path = fetch.place(remote, folder)
        if path.is_file():
            return path
        asked.files.append(remote.file)
        if remote.file in asked.broken:
            raise CourseError(f"{remote.what} could not be fetched.")
        put(path)
        return path

    monkeypatch.setattr(fetch, "download", download)
    world(monkeypatch, tmp_path, unpacked=asked.unpacked)
    return asked


def run(*arguments, answer="y", **named):
    """Return the exit status and what was said, with the questions among it."""
    said = []

    def ask(question):
        said.append(question)
        if answer is None:
            raise EOFError
        return answer

    status = prefetch.run(*arguments, ask=ask, say=said.append, **named)
    return status, said


def cached(file):
    models = file.startswith("net")
    return (fetch.weights_folder() if models else fetch.data_folder()) / file


def put(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(FILES[path.name] if content is None else content)


PLAN = """\
what                 size  state                     licence     for
net_a V1           528 MB  to fetch, 50 MB are here  BSD-3       chapter 00
net_b V1           5.0 MB  is here                   not stated  10
ants (images)       90 MB  to fetch                  CC BY 4.0   WHY
ants (2)       not stated  to fetch                  not stated  WHY
To fetch: 568 MB, and 1 of a size that is not stated."""


def test_the_plan_says_what_how_large_whether_it_is_there_and_under_which_licence(
    asked, monkeypatch
):
    for name, megabytes in (("net_a", 528), ("net_b", 5)):
        monkeypatch.setitem(MODELS, name, replace(MODELS[name], megabytes=megabytes))
    ants, two = DATASETS["ants"]
    monkeypatch.setitem(DATASETS, "ants", [replace(ants, megabytes=90), two])
    monkeypatch.setattr(fetch, "free_megabytes", lambda folder: 80_000.0)
    put(cached("net-b.pth"))
    put(cached("net-a.pth.part"), b"")
    os.truncate(cached("net-a.pth.part"), 50_000_000)  # takes no room
    _, said = run(answer="n")
    assert said[:6] == PLAN.replace("WHY", prefetch.DATA_REASON).split("\n")
    (free,) = said[6:-2]
    assert free.startswith("Free in ") and free.endswith(": 80,000 MB.")
    assert said[-2:] == ["Go ahead? [y/N] ", "Nothing was fetched."]


@pytest.mark.parametrize("answer", ["", "n", "no", "x", None])
def test_without_a_yes_nothing_is_fetched_or_written(asked, tmp_path, answer):
    status, said = run(answer=answer)
    assert status == 0 and said[-1] == "Nothing was fetched."
    assert not asked.files and not os.listdir(tmp_path)
    status, _ = run(answer=answer, to=tmp_path / "stick")
    assert status == 0 and not asked.files and not os.listdir(tmp_path)


def test_a_plan_opens_no_connection(monkeypatch, tmp_path):
    """With the real names: what torchvision and the data sets say of themselves."""

    def connect(*_):
        raise AssertionError("a connection was opened")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(fetch, "free_megabytes", lambda folder: 1e6)
    status, said = run(answer="n")
    assert status == 0
    assert any(line.startswith("vgg16 IMAGENET1K_V1") for line in said)
    assert not os.listdir(tmp_path)


def test_the_chapters_files_have_plain_names_and_digests_that_can_be_checked(tmp_path):
    items = prefetch.wanted()
    for item in items:
        fetch.place(item.remote, tmp_path)
        fetch._digest(item.remote.digest)
        fetch._host(item.remote.url)
        assert item.why and item.group
    assert {item.name for item in items} >= {"vgg16:IMAGENET1K_V1"}
    assert len({(item.group, item.remote.file) for item in items}) == len(items)


def test_all_is_fetched_and_the_next_call_has_nothing_to_do(asked):
    status, said = run()
    assert status == 0 and said[-1] == "All 4 are there."
    assert asked.files == list(FILES)
    assert cached("net-a.pth").read_bytes() == FILES["net-a.pth"]
    assert cached("bees.zip").read_bytes() == FILES["bees.zip"]
    status, said = run(answer=None)
    assert status == 0 and said[-1] == "Everything is there; nothing was to be done."
    assert "Go ahead? [y/N] " not in said and len(asked.files) == 4


def test_yes_is_not_asked(asked):
    status, said = run(["net_a"], agreed=True)
    assert status == 0 and asked.files == ["net-a.pth"]
    assert not any("?" in line for line in said)


def test_a_very_large_data_set_is_left_out_unless_it_is_named(asked, monkeypatch):
    monkeypatch.setattr(fetch, "free_megabytes", lambda folder: 1e6)
    ants, two = DATASETS["ants"]
    monkeypatch.setitem(DATASETS, "ants", [replace(ants, megabytes=4_996), two])
    _, said = run()
    assert "Left out: ants (4,996 MB); --datasets ants brings it." in said
    assert asked.files == ["net-a.pth", "net-b.pth"]
    _, said = run(None, ["ants"])
    assert asked.files == list(FILES)
    assert not any(line.startswith("Left out") for line in said)


def test_only_what_is_named_is_fetched(asked):
    run(["net_b:V1"])
    assert asked.files == ["net-b.pth"]
    run(None, ["ants"])
    assert asked.files == ["net-b.pth", "ants.zip", "bees.zip"]


def test_a_file_that_fails_stops_no_other_and_is_tried_again(asked):
    asked.broken.add("net-a.pth")
    status, said = run()
    assert status == 1 and said[-1].startswith("1 failed")
    assert "✗ net_a V1 could not be fetched." in said
    assert "✓ net_b V1" in said
    asked.broken.clear()
    asked.files.clear()
    status, _ = run()
    assert status == 0 and asked.files == ["net-a.pth"]


def test_a_file_that_is_not_the_published_one_is_said_and_left(asked, tmp_path):
    put(cached("net-a.pth"), b"mine")
    status, said = run(["net_a", "net_b"])
    assert "is there, but is not the published file" in said[1]
    assert status == 1 and any("was left as it is" in line for line in said)
    assert cached("net-a.pth").read_bytes() == b"mine"
    assert asked.files == ["net-b.pth"]
    status, said = run(["net_a"], to=tmp_path / "stick")
    assert "to fetch; the cache's is not the published file" in said[1]
    assert status == 0 and asked.files == ["net-b.pth", "net-a.pth"]
    assert cached("net-a.pth").read_bytes() == b"mine"
    on_it = tmp_path / "stick" / "weights" / "net-a.pth"
    assert on_it.read_bytes() == FILES["net-a.pth"]


def test_a_data_set_that_was_unpacked_is_not_fetched_again(asked):
    asked.unpacked.add("ants")
    run(None, ["ants"])
    assert not asked.files


def test_a_name_that_nobody_knows_is_answered_with_those_that_are(asked):
    with pytest.raises(CourseError, match="Did you mean 'net_a'"):
        run(["net_aa"])
    with pytest.raises(CourseError, match=r"Unknown data set 'bees'.*ants"):
        run(None, ["bees"])
    with pytest.raises(CourseError, match="comes with the workbook"):
        run(["resnet10-shapes"])


def test_a_model_without_weights_means_the_chapters_or_torchvisions_own():
    assert prefetch._of_model("vgg16").name == "vgg16:IMAGENET1K_V1"
    assert prefetch._of_model("resnet50").name == "resnet50:IMAGENET1K_V2"
    with pytest.raises(CourseError, match="Unknown model"):
        prefetch._of_model("resnet5O")
    with pytest.raises(CourseError, match="Unknown weights of vgg16"):
        prefetch._of_model("vgg16:V7")


def test_a_disk_that_is_too_small_is_said_before_the_question(asked, monkeypatch):
    monkeypatch.setattr(fetch, "free_megabytes", lambda folder: 0.004)
    with pytest.raises(CourseError, match=r"are needed and 0\.0 MB are free"):
        run()
    assert not asked.files
    status, _ = run(["net_a"])
    assert status == 0


# By stick -----------------------------------------------------------------------------


@pytest.fixture
def stick(asked, tmp_path):
    """A stick with everything, made on another machine."""
    folder = tmp_path / "stick"
    status, _ = run(to=folder)
    assert status == 0
    asked.files.clear()
    asked.broken.update(FILES)  # there is no network any more
    return folder


def change(stick, **values):
    """Change the first entry of a manifest."""
    content = json.loads((stick / "manifest.json").read_text())
    content["files"][0].update(values)
    (stick / "manifest.json").write_text(json.dumps(content))


def test_a_stick_holds_copies_of_the_cache_and_what_was_missing(asked, tmp_path):
    put(cached("net-a.pth"))
    folder = tmp_path / "stick"
    status, said = run(to=folder)
    assert status == 0
    assert "to copy" in said[1]
    assert asked.files == ["net-b.pth", "ants.zip", "bees.zip"]
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*.*")) == [
        "data/ants.zip",
        "data/bees.zip",
        "manifest.json",
        "weights/net-a.pth",
        "weights/net-b.pth",
    ]
    assert not cached("net-b.pth").exists()
    entries = json.loads((folder / "manifest.json").read_text())["files"]
    assert {e["file"]: e["sha256"] for e in entries} == {
        file: digest(content) for file, content in FILES.items()
    }
    assert str(tmp_path) not in (folder / "manifest.json").read_text()


def test_a_stick_is_filled_up_by_the_next_call(asked, tmp_path):
    folder = tmp_path / "stick"
    run(["net_a"], to=folder)
    status, _ = run(to=folder)
    assert status == 0 and asked.files == list(FILES)
    entries = json.loads((folder / "manifest.json").read_text())["files"]
    assert sorted(entry["file"] for entry in entries) == sorted(FILES)


def test_a_stick_is_taken_in_without_a_network(asked, stick):
    status, said = run(source=stick)
    assert status == 0 and not asked.files
    assert any(line.startswith("To copy: ") for line in said)
    for file in ("net-a.pth", "net-b.pth"):
        assert cached(file).read_bytes() == FILES[file]
    assert cached("ants.zip").read_bytes() == FILES["ants.zip"]
    leftovers = [p for p in fetch.weights_folder().iterdir() if p.suffix != ".pth"]
    assert not leftovers
    status, said = run(source=stick, answer=None)
    assert status == 0 and said[-1].startswith("Everything is there")


def test_a_no_takes_nothing_in(stick):
    status, _ = run(source=stick, answer="n")
    assert status == 0 and not cached("net-a.pth").exists()


def test_only_what_is_named_is_taken_from_a_stick(asked, tmp_path):
    run(["net_a"], to=tmp_path / "stick")
    status, said = run(["net_a", "net_b"], source=tmp_path / "stick")
    assert status == 1 and "✗ net_b V1 is not on the stick." in said
    assert cached("net-a.pth").exists()


def test_a_damaged_file_is_named_and_not_taken_and_the_others_are(asked, stick):
    put(stick / "weights" / "net-a.pth", b"a" * 2_999 + b"!")
    status, said = run(source=stick)
    assert status == 1
    (line,) = [line for line in said if line.startswith("✗")]
    assert "net-a.pth is damaged" in line
    taken = {path.name for path in fetch.weights_folder().iterdir()}
    assert taken - {".net-a.pth.lock"} == {"net-b.pth"}
    assert cached("bees.zip").exists()


def test_a_file_that_only_its_own_manifest_vouches_for_is_not_taken(asked, stick):
    """Both a digest that is shown to differ, and one that begins as the published."""
    other = b"other weights"
    put(stick / "weights" / "net-a.pth", other)
    change(stick, sha256=digest(other))
    status, said = run(source=stick)
    assert status == 1 and any("is not the published net_a V1" in line for line in said)
    change(stick, sha256=digest(FILES["net-a.pth"])[:8] + digest(other)[8:])
    status, said = run(source=stick)
    assert status == 1 and any("net-a.pth is damaged" in line for line in said)
    assert not cached("net-a.pth").exists()


def test_a_file_is_held_to_its_manifest_beside_the_published_digits(asked, stick):
    """Which are eight for torchvision's weights, and could be met on purpose."""
    change(stick, sha256=digest(FILES["net-a.pth"])[:8] + "0" * 56)
    status, said = run(source=stick)
    assert status == 1 and any("net-a.pth is damaged" in line for line in said)
    assert not cached("net-a.pth").exists()


def test_a_published_md5_is_held_to_beside_the_manifest(asked, stick):
    other = b"other images"
    put(stick / "data" / "bees.zip", other)
    content = json.loads((stick / "manifest.json").read_text())
    content["files"][-1]["sha256"] = digest(other)
    (stick / "manifest.json").write_text(json.dumps(content))
    status, _ = run(source=stick)
    assert status == 1 and not cached("bees.zip").exists()


@pytest.mark.parametrize(
    "change_to",
    [
        {"file": "../net-a.pth"},
        {"file": "/etc/hosts"},
        {"file": "weights\\net-a.pth"},
        {"folder": "../weights"},
        {"folder": "data"},
        {"file": "foreign.pth"},
        {"name": "net_c:V1"},
        {"name": ["net_a"]},
        {"file": None},
        {"sha256": "abc"},
        {"sha256": 7},
    ],
    ids=str,
)
def test_what_the_workbook_does_not_know_is_not_taken(asked, stick, change_to):
    change(stick, **change_to)
    status, said = run(source=stick)
    assert status == 1
    (line,) = [line for line in said if line.startswith("✗")]
    assert "not taken" in line and "\n" not in line
    assert not cached("net-a.pth").exists()
    assert cached("net-b.pth").exists()


def test_a_link_on_a_stick_is_not_followed(asked, stick, tmp_path):
    path = stick / "weights" / "net-a.pth"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    status, said = run(source=stick)
    assert status == 1 and any("no such file is on the stick" in line for line in said)
    assert not cached("net-a.pth").exists()


FOREIGN = ["", "[]", "{}", '{"files": 3}', "\0", "[" * 9_000, "x" * 1_000_001]


@pytest.mark.parametrize("content", FOREIGN, ids=lambda content: content[:9])
@pytest.mark.parametrize("way", ["to", "source"])
def test_a_folder_with_another_manifest_is_no_stick(asked, tmp_path, content, way):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(CourseError, match="course prefetch --to DIR writes"):
        run(**{way: tmp_path})
    assert not asked.files and os.listdir(tmp_path) == ["manifest.json"]


def test_nothing_is_taken_from_a_folder_that_is_no_stick(asked, tmp_path):
    with pytest.raises(CourseError, match=r"There is no manifest\.json"):
        run(source=tmp_path)


def test_a_stick_that_cannot_be_written_is_named(asked, tmp_path):
    put(cached("net-a.pth"))
    (tmp_path / "stick").touch()
    status, said = run(["net_a"], to=tmp_path / "stick" / "folder")
    assert status == 1
    assert any("Nothing can be written in" in line for line in said)


def test_a_copy_for_which_there_is_no_room_leaves_nothing(tmp_path, monkeypatch):
    put(tmp_path / "net-a.pth")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda place: usage(9, 9, 300))
    with pytest.raises(CourseError, match="free in"):
        fetch.copy(tmp_path / "net-a.pth", MODELS["net_a"], tmp_path / "new")
    assert not [p for p in (tmp_path / "new").iterdir() if p.suffix != ".lock"]


def test_a_source_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CourseError, match="cannot be read"):
        fetch.copy(tmp_path / "absent", MODELS["net_a"], tmp_path / "new")


def test_the_whole_way_over_a_network_that_breaks_once(tmp_path, monkeypatch):
    """The downloads themselves, from a server here to a stick and to a machine."""
    published = tmp_path / "published"
    for name in FILES:
        put(published / name)
    gone = published / "net-a.pth"
    gone.rename(tmp_path / "kept")

    def handler(*given):
        return Quiet(*given, directory=published)

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        world(monkeypatch, tmp_path, place)
        status, said = run(to=tmp_path / "stick")
        assert status == 1 and sum("answered 404" in line for line in said) == 1
        (tmp_path / "kept").rename(gone)
        status, _ = run(to=tmp_path / "stick")
        assert status == 0
        server.shutdown()
    status, _ = run(source=tmp_path / "stick")
    assert status == 0
    status, said = run(answer=None)
    assert status == 0 and said[-1].startswith("Everything is there")
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*FILES, "manifest.json"}


class Quiet(SimpleHTTPRequestHandler):
    """Serve a folder, and print nothing."""

    def log_message(self, *_):
        pass


# The command --------------------------------------------------------------------------


def test_the_command_hands_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(prefetch, "run", lambda *a, **n: calls.append((a, n)) or 1)
    assert cli.main(["prefetch"]) == 1
    assert cli.main(["prefetch", "--models", "a", "b:V1", "--yes", "--to", "x"]) == 1
    assert cli.main(["prefetch", "--datasets", "c", "--from", "x"]) == 1
    assert [call[0] for call in calls] == [
        (None, None),
        (["a", "b:V1"], None),
        (None, ["c"]),
    ]
    assert [call[1]["agreed"] for call in calls] == [False, True, False]
    assert [call[1]["to"] for call in calls] == [None, Path("x"), None]
    assert [call[1]["source"] for call in calls] == [None, None, Path("x")]


def test_a_folder_is_either_filled_or_taken_from(capsys):
    with pytest.raises(SystemExit):
        cli.main(["prefetch", "--to", "x", "--from", "y"])
    assert "not allowed" in capsys.readouterr().err


def test_the_command_with_nobody_there_fetches_nothing(asked, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda question: "n")
    monkeypatch.setitem(prefetch.run.__kwdefaults__, "ask", lambda question: "n")
    assert cli.main(["prefetch"]) == 0
    out = capsys.readouterr().out
    assert "net_a V1" in out and out.endswith("Nothing was fetched.\n")
    assert not asked.files


def test_an_unknown_model_is_refused_by_the_command(asked, capsys):
    assert cli.main(["prefetch", "--models", "nett_a"]) == 2
    assert "course: Unknown model 'nett_a'" in capsys.readouterr().err
