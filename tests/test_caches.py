"""Caches: all are found, the least recently used go, and nothing else ever does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from course import caches, cli, extraction, fetch, models, shelf
from course.data import named
from course.errors import CourseError

NOW = time.time()
DAY = 86_400
ROOT = Path(__file__).parents[1]
HEX = "0123456789abcdef" * 4
KINDS = ("features", "sweeps", "weights", "data", "unfinished", "compiler", "hub")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, and a folder of work, in which nothing is kept yet."""
    for name, place in {
        "HOME": "home",
        "XDG_CACHE_HOME": "home/.cache",
        "TORCHINDUCTOR_CACHE_DIR": "compiled",
        "COURSE_DATA": "home/data",
    }.items():
        monkeypatch.setenv(name, str(tmp_path / place))
    for name in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(caches, "__file__", str(tmp_path / "package" / "caches.py"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def put(path, size=100, days=0):
    """Write a file that was last used so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - days * DAY,) * 2)
    return path


def fill(home):
    """Put something into every cache; return the entries by name."""
    runs, torch_hub = home / "work" / "runs", home / "home/.cache/torch/hub/checkpoints"
    file = named.remotes("flowers102")[0].file
    return {
        "features": put(runs / "kept" / f"{HEX}.safetensors", 100, 9),
        "sweeps": put(runs / "tables/cells/few-labels" / f"{HEX[:24]}.json", 200, 8),
        "weights": put(torch_hub / "resnet18-f37072fd.pth", 300, 7),
        "data": put(home / "home/data" / file, 400, 6),
        "unfinished": put(runs / "weights/.resnet10-fills.partial.safetensors", 500, 5),
        "compiler": put(home / "compiled" / "ab", 600, 4),
        "hub": put(home / "home/.cache/huggingface/hub/models--a--b/blob", 700, 3),
    }


def belongings(home):
    """Write what is the reader's own, beside the caches; return the files."""
    work, hub = home / "work", home / "home/.cache/torch/hub/checkpoints"
    return [
        put(home / "home/.pretrained-workbook/progress.json", 10, 99),
        put(home / "home/data/my pictures/ring/1.png", 10, 99),
        put(home / "home/data/notes.txt", 10, 99),
        put(home / "home/data/MNIST-mine.gz", 10, 99),
        put(hub / "mine.pth", 10, 99),
        put(work / "runs/tables/few-labels.csv", 10, 99),
        put(work / "runs/tables/cells/notes.json", 10, 99),
        put(work / "runs/tables/cells/few-labels/notes.json", 10, 99),
        put(work / "runs/latest/records.json", 10, 99),
        put(work / "runs/weights/resnet10-fills.safetensors", 10, 99),
        put(work / "runs/exported/model.safetensors", 10, 99),
        put(work / "elsewhere" / f"{HEX}.safetensors", 10, 99),
    ]


def prune(**options):
    said = []
    return caches.prune(**options, say=said.append), "\n".join(said)


def clear(*names, answer="y", **options):
    said, asked = [], []

    def ask(question):
        asked.append(question)
        return answer

    code = caches.clear(names, ask=ask, say=said.append, **options)
    return code, "\n".join(said), asked


def there(kept):
    return {name for name, path in kept.items() if path.exists()}


def test_every_cache_is_listed_with_its_size_and_its_days(home, capsys):
    kept = fill(home)
    assert cli.main(["cache"]) == 0
    told = capsys.readouterr().out
    lines = {line.split()[0]: line for line in told.splitlines() if line[0] != " "}
    for name, path in kept.items():
        day = time.strftime("%Y-%m-%d", time.localtime(path.stat().st_mtime))
        assert day in lines[name] and " 1 " in lines[name]
    assert "weights in ~/.cache/torch/hub/checkpoints" in told
    assert caches.size() == 2800
    assert cli.main(["cache", "size"]) == 0
    assert capsys.readouterr().out == "2800\n"
    assert tuple(cache.name for cache in caches.CACHES) == KINDS


def test_an_empty_machine_has_no_caches_and_nothing_is_made(home):
    assert caches.size() == 0 and prune() == (0, "Nothing was to be removed.")
    assert clear() == (0, "Nothing was to be removed.", [])
    assert sorted(p.name for p in home.rglob("*")) == ["work"]


def test_the_least_recently_used_goes_until_the_limit_holds(home):
    kept, own = fill(home), belongings(home)
    assert prune(limit="800B")[1].startswith("Removed 2, ")
    assert there(kept) == set(KINDS) - {"features", "sweeps"}
    os.utime(kept["weights"])  # used again: now the data set is the older one
    assert prune(limit="0.4kb")[0] == 0
    assert there(kept) == {"weights", "unfinished", "compiler", "hub"}
    prune(limit="0")
    assert there(kept) == {"unfinished", "compiler", "hub"}
    assert all(path.exists() for path in own)


def test_what_is_within_the_limit_stays(home):
    kept = fill(home)
    assert prune(limit="1000B")[1] == prune()[1] == "Nothing was to be removed."
    assert there(kept) == set(KINDS)


def test_what_was_not_used_for_long_goes_and_nothing_else(home):
    kept, own = fill(home), belongings(home)
    assert prune(older="180h")[1].startswith("Removed 2, ")
    assert there(kept) == set(KINDS) - {"features", "sweeps"}
    prune(older="108h")
    assert there(kept) == {"compiler", "hub"}
    assert all(path.exists() for path in own)


@pytest.mark.parametrize("answer", ["", "n", "no", "what?"])
def test_without_a_yes_nothing_is_cleared(home, answer):
    kept = fill(home)
    code, said, asked = clear(answer=answer)
    assert code == 0 and "Nothing was removed" in said and len(asked) == 1
    assert there(kept) == set(KINDS)


def test_nobody_there_to_ask_means_no(home, capsys, monkeypatch):
    kept = fill(home)
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    assert cli.main(["cache", "clear"]) == 0
    assert there(kept) == set(KINDS)


def test_clearing_takes_what_is_named_or_all_that_is_ours(home):
    kept, own = fill(home), belongings(home)
    assert clear("weights", "compiler")[2] == ["Remove 2, together 0.0 MB? [y/N] "]
    assert there(kept) == set(KINDS) - {"weights", "compiler"}
    assert cli.main(["cache", "clear", "--yes"]) == 0
    assert there(kept) == {"hub"}
    assert all(path.exists() for path in own)


@pytest.mark.parametrize(
    ("name", "words"),
    [("hub", "is left alone"), ("feature", "Did you mean 'features'"), ("", "Unknown")],
)
def test_a_cache_that_is_none_of_ours_is_named(home, name, words):
    kept = fill(home)
    with pytest.raises(CourseError, match=words):
        clear("features", name)
    assert there(kept) == set(KINDS)


@pytest.mark.parametrize("text", ["", "2", "2XB", "-1GB", "1e9B", "GB", "2GB 3", "²GB"])
def test_a_size_that_is_none_is_one_sentence(home, text, capsys):
    kept = fill(home)
    assert cli.main(["cache", "prune", f"--limit={text}", "--older=1h"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "such as 500MB" in told
    assert there(kept) == set(KINDS)


@pytest.mark.parametrize("text", ["", "30", "d", "-3d", "1.5d", "3 years", "9999999w"])
def test_an_age_that_is_none_is_one_sentence(home, text, capsys):
    kept = fill(home)
    assert cli.main(["cache", "prune", f"--older={text}", "--limit=0"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "12h, 30d or 4w" in told
    assert there(kept) == set(KINDS)


def test_sizes_are_read_as_people_write_them():
    texts = ("0", "1b", "2 kB", "500MB", "2gb", "1.5 GB", "1TB")
    assert [caches.bytes_of(text) for text in texts] == [
        0, 1, 2_000, 500_000_000, 2 * 10**9, 1_500_000_000, 10**12
    ]  # fmt: skip


def test_links_lead_nowhere_and_stay(home):
    outside = put(home / "outside" / f"{HEX}.safetensors", 100, 99)
    kept = fill(home)
    links = [
        kept["weights"].with_name("vgg16-397923af.pth"),
        kept["features"].with_name(f"{HEX[::-1]}.safetensors"),
        home / "home/data/unpacked/mnist",
        home / "work/runs/linked",
    ]
    links[2].parent.mkdir()
    for link, aim in zip(links, [outside, outside, *[outside.parent] * 2], strict=True):
        link.symlink_to(aim)
    before = caches.size()
    assert before == 2800
    clear()
    assert outside.exists() and all(link.is_symlink() for link in links)


def test_a_data_set_that_is_unpacked_goes_whole_and_its_links_lead_nowhere(home):
    outside = put(home / "outside" / "1.png", 100)
    folder = home / "home/data/unpacked/flowers102"
    put(folder / "flowers-102/jpg/1.jpg", 30, 2)
    (folder / "flowers-102/more").symlink_to(outside.parent)
    scratch = put(home / "home/data/unpacked/.abcd_123/whole/1.jpg", 12, 2)
    assert caches.size() == 42
    assert clear("data")[1].endswith("Removed 2, 0.0 MB.")
    assert not folder.exists() and not scratch.exists() and outside.exists()


def test_every_published_file_of_a_data_set_is_known(home):
    files = [one.file for name in named.NAMES for one in named.remotes(name)]
    for file in files:
        put(fetch.data_folder() / file, 1)
        put(fetch.data_folder() / f"{file}.part", 1)
    assert caches.size() == 2 * len(files) > 30


@pytest.mark.parametrize("ending", ["", ".part"])
def test_what_another_process_fetches_is_left_alone(home, ending):
    file = put(fetch.weights_folder() / f"vgg16-397923af.pth{ending}", 100, 9)
    lock = file.with_name(".vgg16-397923af.pth.lock")
    with FileLock(lock):
        code, said = prune(limit="0")
        assert code == 0 and "another process is using them: 1" in said
        assert file.exists()
    prune(limit="0")
    assert not file.exists() and not lock.exists()


def test_what_is_being_unpacked_is_left_alone(home):
    folder = home / "home/data/unpacked"
    scratch = put(folder / ".abcd_123/whole/1.jpg", 12, 2)
    with FileLock(folder / ".flowers102.lock"):
        clear("data")
        assert scratch.exists()
    clear("data")
    assert not scratch.exists()


@pytest.mark.parametrize("name", ["features", "sweeps", "unfinished"])
def test_a_folder_in_which_somebody_works_is_left_alone(home, name):
    kept = fill(home)[name]
    with shelf.in_use(kept.parent):
        _, said, _ = clear(name)
        assert "Left alone" in said and kept.exists()
    clear(name)
    assert not kept.exists()


def test_what_was_used_since_it_was_looked_at_stays(home):
    kept = fill(home)

    def meanwhile(question):
        os.utime(kept["weights"])
        kept["data"].unlink()
        return "y"

    said = []
    assert caches.clear(ask=meanwhile, say=said.append) == 0
    assert there(kept) == {"weights", "compiler", "hub"}
    assert "Left alone" in said[-2] and said[-1].startswith("Removed 4")


def test_what_cannot_be_removed_is_named_and_the_rest_goes(home, monkeypatch):
    kept, remove = fill(home), shelf.remove
    stuck = kept["weights"]
    monkeypatch.setattr(shelf, "remove", lambda path: path != stuck and remove(path))
    code, said = prune(limit="0")
    assert code == 1 and "✗ ~/.cache/torch/hub/checkpoints/resnet18" in said
    assert there(kept) == {"weights", "unfinished", "compiler", "hub"}


def test_what_killed_processes_left_goes_once_nobody_can_be_writing_it(home):
    kept = fill(home)
    folder = kept["sweeps"].parent
    old = put(folder / f".{HEX[:24]}.json.abcd_123", 10, 1)
    new = put(folder / f".{HEX[:24]}.json.abcd_124", 10, 0)
    prune()
    assert not old.exists() and new.exists()


def test_a_folder_elsewhere_is_looked_into_where_it_is_named(home, capsys):
    file = put(home / "stick" / "deep" / f"{HEX}.safetensors", 77)
    assert caches.size() == 0 and caches.size([home / "stick"]) == 77
    assert cli.main(["cache", "--in", str(home / "stick"), "size"]) == 0
    assert cli.main(["cache", "size", "--in", str(home / "stick")]) == 0
    assert capsys.readouterr().out == "77\n77\n"
    assert cli.main(["cache", "list", "--in", str(file)]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_help_loads_no_torch():
    program = (
        "import sys\nfrom course import cli\n"
        "try: cli.main(['cache', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'course.caches' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


# A shelf ------------------------------------------------------------------------------


def test_a_killed_process_stops_nobody_and_what_it_left_goes(tmp_path):
    mark = put(tmp_path / ".in-use-1-abcd", 0)
    half = put(tmp_path / ".table.csv.abcd_123", 10, 1)
    own = put(tmp_path / ".table.csv.bak", 10, 1)
    assert not shelf.busy(tmp_path)
    assert not mark.exists() and half.exists()
    with shelf.in_use(tmp_path):
        assert shelf.busy(tmp_path) and not half.exists() and own.exists()
    assert [path.name for path in tmp_path.iterdir()] == [own.name]


def test_what_a_living_process_is_about_to_write_stays(tmp_path):
    half = tmp_path / ".table.csv.abcd_123"
    with shelf.in_use(tmp_path):
        put(half, 10, 1)
        with shelf.in_use(tmp_path):
            assert half.exists()
        assert half.exists() and shelf.busy(tmp_path)


def test_a_folder_that_takes_no_mark_is_used_all_the_same(tmp_path):
    place = put(tmp_path / "file")
    with shelf.in_use(place / "folder"):
        done = True
    assert done and not shelf.busy(place / "folder")


# Features on a disk -------------------------------------------------------------------


def features(folder, seed):
    model = models.fresh(("a", "b"), seed, width=4)
    model.preprocess = models.normalising(16)
    images = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    extraction.forget()
    return extraction.features(model, images, cache=folder).values


def test_kept_features_stay_below_a_limit_and_the_least_used_go(tmp_path, monkeypatch):
    first = features(tmp_path, 0)
    (file,) = tmp_path.iterdir()
    monkeypatch.setattr(extraction, "LIMIT", int(2.5 * file.stat().st_size))
    os.utime(file, (NOW - DAY,) * 2)
    features(tmp_path, 1)
    second = next(path for path in tmp_path.iterdir() if path != file)
    os.utime(second, (NOW - DAY / 2,) * 2)
    assert torch.equal(features(tmp_path, 0), first)  # read, and so used again
    features(tmp_path, 2)
    assert file.exists() and not second.exists() and len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(extraction, "LIMIT", 1)
    features(tmp_path, 3)  # what is too large alone is kept alone
    assert len(list(tmp_path.iterdir())) == 1
