"""Published data sets: never fetched unasked, never half unpacked, read by torchvision.

Tiny archives stand in for the published ones; everything else is as it is.
"""

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from course import fetch
from course.data import TestPart, TrainPart, ValidationPart, named
from course.errors import CourseError

COLOURS = np.array([[250, 20, 20], [20, 20, 250], [20, 250, 20]], np.uint8)


def md5(content):
    return hashlib.md5(content).hexdigest()


def idx(values):
    """Return values as an idx file, compressed: how MNIST and its like are kept."""
    head = bytes([0, 0, 8, values.ndim])
    sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    return gzip.compress(head + sizes + values.astype(np.uint8).tobytes())


def jpeg(label, size=(30, 20)):
    file = io.BytesIO()
    Image.new("RGB", size, tuple(COLOURS[label].tolist())).save(file, "JPEG")
    return file.getvalue()


def tar(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def mat(**values):
    file = io.BytesIO()
    savemat(file, values)
    return file.getvalue()


def digit_like(cls, patch):
    """Twelve grey images to learn from and six to test with, of three classes."""
    files = {}
    for part, count in (("train", 12), ("t10k", 6)):
        labels = np.arange(count) % 3
        images = np.broadcast_to(labels[:, None, None] * 100 + 20, (count, 28, 28))
        files[f"{part}-images-idx3-ubyte.gz"] = idx(images)
        files[f"{part}-labels-idx1-ubyte.gz"] = idx(labels)
    patch.setattr(
        cls, "resources", [(file, md5(files[file])) for file, _ in cls.resources]
    )
    return files


def pets(cls, patch):
    names = [f"{breed}_{n}" for n in range(4) for breed in ("Birman", "pug", "Sphynx")]
    lines = [f"{name} {at % 3 + 1} 1 1" for at, name in enumerate(names)]
    files = {
        "images.tar.gz": tar(
            {f"images/{name}.jpg": jpeg(at % 3) for at, name in enumerate(names)}
        ),
        "annotations.tar.gz": tar(
            {
                "annotations/trainval.txt": "\n".join(lines[:9]).encode(),
                "annotations/test.txt": "\n".join(lines[9:]).encode(),
            }
        ),
    }
    patch.setattr(
        cls,
        "_RESOURCES",
        tuple((url, md5(files[url.rsplit("/", 1)[1]])) for url, _ in cls._RESOURCES),
    )
    return files


def flowers(cls, patch):
    labels = np.array([1, 2, 3] * 4)
    files = {
        "102flowers.tgz": tar(
            {f"jpg/image_{n + 1:05}.jpg": jpeg(n % 3) for n in range(12)}
        ),
        "imagelabels.mat": mat(labels=labels),
        "setid.mat": mat(
            trnid=np.arange(1, 7), valid=np.arange(7, 10), tstid=np.arange(10, 13)
        ),
    }
    patch.setattr(
        cls,
        "_file_dict",
        {key: (file, md5(files[file])) for key, (file, _) in cls._file_dict.items()},
    )
    return files


def textures(cls, patch):
    names = [f"{kind}/{kind}_{n}.jpg" for n in range(4) for kind in "abc"]
    lists = {"train1": names[:6], "val1": names[6:9], "test1": names[9:]}
    files = {f"dtd/labels/{k}.txt": "\n".join(v).encode() for k, v in lists.items()}
    files |= {f"dtd/images/{name}": jpeg(at % 3) for at, name in enumerate(names)}
    packed = tar(files)
    patch.setattr(cls, "_MD5", md5(packed))
    return {"dtd-r1.0.1.tar.gz": packed}


def food(cls, patch):
    kinds = ("pho", "ramen", "tacos")
    lists = {
        part: {kind: [f"{kind}/{part}{n}" for n in range(count)] for kind in kinds}
        for part, count in (("train", 4), ("test", 1))
    }
    files = {
        f"food-101/meta/{part}.json": json.dumps(names).encode()
        for part, names in lists.items()
    }
    for names in lists.values():
        for at, kind in enumerate(kinds):
            for name in names[kind]:
                files[f"food-101/images/{name}.jpg"] = jpeg(at)
    packed = tar(files)
    patch.setattr(cls, "_MD5", md5(packed))
    return {"food-101.tar.gz": packed}


def street(cls, patch):
    files = {}
    for part, count in (("train", 12), ("test", 3)):
        labels = np.arange(count) % 3  # ten stands for the digit 0
        images = np.broadcast_to(COLOURS[labels].T[None, None], (32, 32, 3, count))
        files[f"{part}_32x32.mat"] = mat(
            X=images.astype(np.uint8),
            y=np.where(labels, labels, 10)[:, None].astype(np.uint8),
        )
    patch.setattr(
        cls,
        "split_list",
        {
            part: [url, file, md5(files[file])]
            for part, (url, file, _) in cls.split_list.items()
            if part != "extra"
        },
    )
    return files


MAKERS = {
    "mnist": digit_like,
    "fashionmnist": digit_like,
    "kmnist": digit_like,
    "oxfordiiitpet": pets,
    "flowers102": flowers,
    "dtd": textures,
    "food101": food,
    "svhn": street,
}
CLASSES = {name.lower(): name for name in datasets.__all__}


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Lay the stand-ins of a data set where a download would have put them."""

    def lay(name, folder=tmp_path):
        cls = getattr(datasets, CLASSES[name])
        files = MAKERS[name](cls, monkeypatch)
        folder.mkdir(exist_ok=True)
        for remote in named.remotes(name):
            (folder / remote.file).write_bytes(files[remote.url.rsplit("/", 1)[1]])
        return folder

    return lay


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments, **named):
        raise AssertionError("something was fetched that nobody had asked for")

    monkeypatch.setattr(datasets.utils, "_urlretrieve", refuse)
    monkeypatch.setattr(datasets.utils, "_get_redirect_url", refuse)
    monkeypatch.setattr(fetch, "download", refuse)


def test_every_data_set_has_a_stand_in_here():
    assert set(MAKERS) == set(named.NAMES)


@pytest.mark.parametrize("name", named.NAMES)
def test_addresses_and_digests_are_torchvisions_own(name):
    modules = Path(datasets.__file__).parent.glob("*.py")
    source = "".join(path.read_text("utf-8") for path in modules)
    remotes = named.remotes(name)
    assert len({remote.file for remote in remotes}) == len(remotes) >= 1
    for remote in remotes:
        kind, digest = remote.digest.split(":")
        assert kind == "md5" and digest in source
        assert remote.url.rsplit("/", 1)[1] in source
        assert remote.megabytes > 0 and "/" not in remote.file
        assert fetch.place(remote, Path()).name == remote.file


def test_no_two_data_sets_keep_a_file_under_the_same_name():
    files = [remote.file for name in named.NAMES for remote in named.remotes(name)]
    assert len({file.lower() for file in files}) == len(files)


@pytest.mark.parametrize("name", named.NAMES)
def test_a_data_set_that_lies_there_becomes_a_task_without_a_network(name, publish):
    root = publish(name)
    assert named.present(name, root)
    task = named.task(name, root, validation=3, size=16)
    assert task.name == name
    for part, kind in (
        (task.train, TrainPart),
        (task.validation, ValidationPart),
        (task.test, TestPart),
    ):
        assert isinstance(part, kind) and len(part) >= 3
        assert part.images.shape[1:] == (3, 16, 16)
        assert sorted(set(part.labels.tolist())) == [0, 1, 2]
        # Each label still belongs to its picture.
        for label in range(3):
            mean = part.images[part.labels == label].float().mean((0, 2, 3))
            if MAKERS[name] is digit_like:
                assert torch.allclose(mean, torch.full((3,), label * 100 + 20.0))
            else:
                assert mean.argmax() == COLOURS[label].argmax()


@pytest.mark.parametrize("name", ["oxfordiiitpet", "food101"])
def test_it_is_unpacked_once_and_nothing_else_is_left(name, publish):
    root = publish(name)
    archives = {path.name for path in root.iterdir()}
    named.task(name, root, validation=3, size=8)
    unpacked = root / "unpacked"
    assert {p.name for p in root.iterdir()} == archives | {"unpacked"}
    assert {p.name for p in unpacked.iterdir()} - {f".{name}.lock"} == {name}
    assert not list(unpacked.rglob("*gz"))
    for archive in archives:
        (root / archive).unlink()
    assert named.present(name, root)
    assert len(named.task(name, root, validation=3, size=8).test) == 3


def test_a_data_set_that_torchvision_has_unpacked_is_used_where_it_is(
    publish, tmp_path
):
    root = publish("dtd", tmp_path / "fetched")
    named.task("dtd", root, size=8)
    own = tmp_path / "torchvision"
    shutil.copytree(root / "unpacked" / "dtd", own)
    datasets.DTD(own)
    assert named.present("dtd", own)
    assert len(named.task("dtd", own, size=8).train) == 6


def test_the_validation_part_is_set_aside_by_the_seed_and_shares_no_image(publish):
    root = publish("mnist")
    tasks = [
        named.task("mnist", root, validation=6, test=4, size=8, seed=seed)
        for seed in (0, 0, 1, 2, 3)
    ]
    for task in tasks:
        assert task.validation.labels.bincount().tolist() == [2, 2, 2]
        assert len(task.train) == 6
    first, again, *others = (task.validation.fingerprint() for task in tasks)
    assert first == again and {first} < {first, *others}
    tests = {task.test.fingerprint() for task in tasks}
    assert len(tests) == 1


def test_a_data_sets_own_validation_part_is_used(publish):
    task = named.task("flowers102", publish("flowers102"), size=8)
    assert [len(p) for p in (task.train, task.validation, task.test)] == [6, 3, 3]
    assert task.class_names[:2] == ("pink primrose", "hard-leaved pocket orchid")


def test_a_part_is_as_small_as_was_asked_for_and_holds_all_classes_alike(publish):
    root = publish("fashionmnist")
    task = named.task("fashionmnist", root, train=3, validation=3, test=3, size=8)
    for part in (task.train, task.validation, task.test):
        assert sorted(part.labels.tolist()) == [0, 1, 2]


def test_what_is_not_there_is_one_sentence_with_the_command(tmp_path):
    with pytest.raises(CourseError) as caught:
        named.task("oxfordiiitpet", tmp_path)
    for piece in ("course prefetch --datasets oxfordiiitpet", "download=True"):
        assert piece in str(caught.value)
    assert "811 MB" in str(caught.value) and "CC BY-SA" in str(caught.value)
    assert 'data.task("digits")' in str(caught.value)
    assert not list(tmp_path.iterdir()) and not named.present("dtd", tmp_path)


def test_only_what_is_missing_is_fetched_when_it_was_asked_for(
    publish, tmp_path, monkeypatch
):
    elsewhere = publish("kmnist", tmp_path / "elsewhere")
    root = tmp_path / "here"
    root.mkdir()
    first, *others = named.remotes("kmnist")
    shutil.copy(elsewhere / first.file, root)
    fetched = []

    def download(remote, folder):
        fetched.append(remote.file)
        return shutil.copy(elsewhere / remote.file, folder)

    monkeypatch.setattr(fetch, "download", download)
    task = named.task("KMNIST", root, download=True, validation=3, size=8)
    assert fetched == [remote.file for remote in others] and len(task.train) == 9


def test_the_data_folder_is_the_default(publish, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(publish("dtd")))
    assert named.present("dtd") and len(named.task("dtd", size=8).test) == 3


@pytest.mark.parametrize("spoiled", [b"", b"something else"])
def test_a_damaged_archive_is_refused_and_leaves_nothing(spoiled, publish):
    root = publish("oxfordiiitpet")
    (root / "OxfordIIITPet-images.tar.gz").write_bytes(spoiled)
    with pytest.raises(CourseError, match=r"images\.tar\.gz is damaged"):
        named.task("oxfordiiitpet", root)
    left = [path.name for path in (root / "unpacked").iterdir()]
    assert left in ([], [".oxfordiiitpet.lock"])


def test_an_archive_that_cannot_be_unpacked_leaves_nothing(publish, monkeypatch):
    root = publish("food101")
    (root / "Food101-food-101.tar.gz").write_bytes(b"\x1f\x8b no archive")
    monkeypatch.setattr(
        datasets.Food101, "_MD5", md5((root / "Food101-food-101.tar.gz").read_bytes())
    )
    with pytest.raises(CourseError, match="could not be unpacked"):
        named.task("food101", root)
    assert not (root / "unpacked" / "food101").exists()


def test_what_was_unpacked_and_lost_a_file_is_one_sentence(publish):
    root = publish("dtd")
    named.task("dtd", root, size=8)
    images = root / "unpacked/dtd/dtd/dtd/images"
    shutil.rmtree(images)
    with pytest.raises(CourseError, match="could not be opened"):
        named.task("dtd", root, size=8)
    shutil.rmtree(root / "unpacked/dtd/dtd/dtd/labels")
    with pytest.raises(CourseError, match="remove it and fetch it again"):
        named.task("dtd", root, size=8)


@pytest.mark.parametrize("name", ["CIFAR10", "cifar100"])
def test_pickles_are_refused_with_the_reason(name):
    with pytest.raises(CourseError, match="pickles, which can run code"):
        named.task(name)


def test_a_wrong_name_or_number_is_one_sentence(publish):
    with pytest.raises(CourseError, match="Did you mean 'fashionmnist'"):
        named.task("fashionmist")
    for wrong in ({"train": 0}, {"size": 0}, {"seed": -1}, {"validation": 0}):
        with pytest.raises(CourseError, match="expected"):
            named.task("dtd", **wrong)
    with pytest.raises(CourseError, match="no image is left"):
        named.task("mnist", publish("mnist"), validation=12)
