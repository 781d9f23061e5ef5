"""Folders of images: read rightly or reported with the reason, and dealt out fairly."""

import io
import os
import random
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course import data
from course.data import TestPart, TrainPart, ValidationPart, listing, reading, twins
from course.errors import CourseError

ROOT = Path(__file__).parents[1]
REAL = Path(os.environ.get("COURSE_REAL", ROOT / "../shared/real"))
PHOTOS = REAL / "images" / "hymenoptera"
needs_photos = pytest.mark.skipif(
    not PHOTOS.is_dir(), reason="the photographs of ants and bees are not here"
)


def picture(number, size=(48, 40)):
    """Return a picture that is unlike any of another number."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def encoded(image, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write(root, files):
    """Write files by path; a number stands for the JPEG file of a picture."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, int):
            content = encoded(picture(content))
        path.write_bytes(content)
    return root


def flat(root, per_class=8, classes=("ant", "bee")):
    numbers = iter(range(10_000))
    return write(
        root,
        {f"{c}/{n}.jpg": next(numbers) for c in classes for n in range(per_class)},
    )


def split(root, counts=None, classes=("ant", "bee"), names=("train", "val", "test")):
    numbers = iter(range(10_000))
    counts = counts or [4, 2, 3]
    return write(
        root,
        {
            f"{part}/{c}/{n}.jpg": next(numbers)
            for part, count in zip(names, counts, strict=True)
            for c in classes
            for n in range(count)
        },
    )


def sizes(found):
    task = found.task
    return [len(part) for part in (task.train, task.validation, task.test)]


def refused(path, **options):
    with pytest.raises(CourseError) as caught:
        data.folder(path, **options)
    sentence = str(caught.value)
    assert len(sentence) < 500 and "\n" not in sentence
    return sentence


# Layouts ------------------------------------------------------------------------------


def test_a_folder_with_three_parts_becomes_a_task_with_its_files(tmp_path):
    found = data.folder(split(tmp_path / "insects"), size=32)
    task = found.task
    assert task.name == "insects" and task.class_names == ("ant", "bee")
    for part, kind in zip(
        (task.train, task.validation, task.test),
        (TrainPart, ValidationPart, TestPart),
        strict=True,
    ):
        assert isinstance(part, kind)
        assert part.images.dtype == torch.uint8 and part.labels.dtype == torch.int64
        assert part.images.shape[1:] == (3, 32, 32)
    assert sizes(found) == [8, 4, 6] and found.report.rows == ()
    assert found.files["test"] == tuple(
        f"test/{c}/{n}.jpg" for c in ("ant", "bee") for n in range(3)
    )


def test_each_file_is_named_beside_its_own_image_and_label(tmp_path):
    found = data.folder(flat(tmp_path), size=24)
    for name, files in found.files.items():
        part = getattr(found.task, name)
        assert len(files) == len(part)
        for file, image, label in zip(files, part.images, part.labels, strict=True):
            alone = reading.read(found.root / file, 24).pixels
            assert np.array_equal(image.numpy(), alone)
            assert found.task.class_names[label] == file.split("/")[0]


@pytest.mark.parametrize(
    "names",
    [
        ("train", "valid", "test"),
        ("Train", "validation", "TEST"),
        ("training", "dev", "testing"),
    ],
)
def test_parts_may_have_their_usual_names(tmp_path, names):
    assert sizes(data.folder(split(tmp_path, names=names), size=8)) == [8, 4, 6]


def test_a_missing_part_is_set_aside_from_train_and_said(tmp_path):
    root = split(tmp_path, [20, 4], names=("train", "val"))
    found = data.folder(root, size=8, test=0.2)
    assert sizes(found) == [32, 8, 8]
    assert all(file.startswith("train/") for file in found.files["test"])
    assert "The test part was set aside by seed 0: 20% of each class in train" in str(
        found
    )
    alone = data.folder(split(tmp_path / "b", [20], names=("train",)), size=8)
    assert sizes(alone) == [28, 6, 6]
    assert "The validation and test parts were set aside by seed 0" in str(alone)


def test_a_test_folder_without_classes_counts_as_missing_and_loses_no_file(tmp_path):
    root = split(tmp_path, [9, 2], names=("train", "val"))
    write(root, {"test/1.jpg": 900, "test/2.jpg": 901})
    found = data.folder(root, size=8)
    assert [row.file for row in found.report.left_out] == ["test/1.jpg", "test/2.jpg"]
    assert "no folders of classes in it, and counts as missing" in str(found)
    assert min(sizes(found)) >= 2


def test_a_class_may_be_called_train(tmp_path):
    found = data.folder(flat(tmp_path, classes=("car", "test", "train")), size=8)
    assert found.task.class_names == ("car", "test", "train")


def test_classes_are_sorted_as_text_and_folders_in_them_are_entered(tmp_path):
    root = flat(tmp_path, 3, classes=("10", "9", "B", "a"))
    write(root, {"a/deep/er/x.jpg": 500})
    found = data.folder(root, size=8)
    assert found.task.class_names == ("10", "9", "B", "a")
    assert any("a/deep/er/x.jpg" in files for files in found.files.values())


def test_the_deal_holds_each_class_alike_and_depends_on_the_seed_alone(tmp_path):
    root = flat(tmp_path / "one", 20)
    found = data.folder(root, size=8, validation=0.25, test=0.1)
    assert found.report.counts == {
        "train": {"ant": 13, "bee": 13},
        "validation": {"ant": 5, "bee": 5},
        "test": {"ant": 2, "bee": 2},
    }
    assert data.folder(root, size=8, validation=0.25, test=0.1).files == found.files
    other = data.folder(root, size=8, validation=0.25, test=0.1, seed=1)
    assert other.files != found.files
    everything = [file for files in found.files.values() for file in files]
    assert len(set(everything)) == len(everything) == 40


def test_a_sample_of_each_class_can_be_read_and_is_said(tmp_path):
    root = split(tmp_path, [9, 6, 3])
    found = data.folder(root, size=8, per_class=4)
    assert sizes(found) == [8, 8, 6]
    assert "22 of 36 files were read, 4 of each class and part at most" in str(found)
    assert found.files == data.folder(root, size=8, per_class=4).files
    assert found.files != data.folder(root, size=8, per_class=4, seed=1).files
    whole = data.folder(root, size=8, per_class=9)
    assert sizes(whole) == [18, 12, 6] and "per_class" not in str(whole)


def test_the_order_of_the_file_system_does_not_matter(tmp_path, monkeypatch):
    root = split(tmp_path, [6, 2], names=("train", "val"))
    before = data.folder(root, size=8)
    scan = os.scandir

    class Shuffled:
        def __init__(self, folder):
            with scan(folder) as entries:
                self.entries = list(entries)
            random.Random(3).shuffle(self.entries)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *error):
            return False

    monkeypatch.setattr(listing.os, "scandir", Shuffled)
    after = data.folder(root, size=8)
    assert after.files == before.files
    assert after.task.train.fingerprint() == before.task.train.fingerprint()


def test_what_systems_leave_behind_is_counted_and_not_read(tmp_path):
    root = flat(tmp_path)
    write(
        root,
        {
            ".DS_Store": b"x",
            "ant/Thumbs.db": b"x",
            "bee/._1.jpg": b"x",
            "__MACOSX/ant/1.jpg": 0,
            ".ipynb_checkpoints/1.jpg": 0,
        },
    )
    found = data.folder(root, size=8)
    assert found.report.skipped == 5 and found.report.rows == ()
    assert found.task.class_names == ("ant", "bee")
    assert "5 hidden files passed over" in str(found)


def test_files_outside_the_classes_are_named(tmp_path):
    root = write(split(tmp_path), {"read me.txt": b"hello", "train/x.jpg": 700})
    write(root, {"raw/1.jpg": 701})
    rows = {row.file: row.reason for row in data.folder(root, size=8).report.left_out}
    assert set(rows) == {"read me.txt", "train/x.jpg", "raw/1.jpg"}
    assert rows["raw/1.jpg"] == "lies outside test and train and val"


def test_accented_class_names_are_one_however_a_system_writes_them(tmp_path):
    root = tmp_path / "parts"
    numbers = iter(range(100))
    for part, form in (("train", "NFC"), ("val", "NFD"), ("test", "NFD")):
        for name in ("abeille à miel", "fourmi noire"):
            plain = unicodedata.normalize(form, name)
            for n in range(2):
                write(root, {f"{part}/{plain}/{n}.jpg": next(numbers)})
    assert data.folder(root, size=8).task.class_names == (
        "abeille à miel",
        "fourmi noire",
    )


def test_names_are_shown_as_text_whatever_they_hold(tmp_path):
    odd = ("<b>bold", "日本 蟻", "a & 'b'", "x" * 200)
    root = flat(tmp_path, 3, classes=odd)
    write(root, {"<b>bold/<img src=x onerror=alert(1)>.jpg": b"no picture"})
    found = data.folder(root, size=8)
    assert set(found.task.class_names) == set(odd)
    page = found._repr_html_()
    assert "<b>bold" not in page and "<img" not in page
    assert "&lt;b&gt;bold" in page and "日本 蟻" in page
    assert "x" * 100 not in page
    assert "onerror" in str(found)


def test_a_file_name_that_is_no_text_can_be_shown(tmp_path):
    root = flat(tmp_path)
    try:
        (root / "ant" / os.fsdecode(b"\xff\n.jpg")).write_bytes(b"no picture")
    except OSError:
        pytest.skip("this file system takes only names that are text")
    found = data.folder(root, size=8)
    found._repr_html_().encode("utf-8")
    assert "\n.jpg" not in str(found) and str(found).encode("utf-8")


def test_ten_thousand_classes_are_dealt_out(tmp_path, monkeypatch):
    pixels = np.zeros((3, 4, 4), np.uint8)

    def read(path, size):
        number = int(path.stem)
        mark = twins.Mark(number, np.full(192, number % 256, np.uint8))
        return reading.Read(pixels, (), str(path).encode(), mark)

    entries = [
        listing.Entry(f"c{c:05}/{3 * c + n}.jpg", f"c{c:05}", "")
        for c in range(10_000)
        for n in range(3)
    ]
    monkeypatch.setattr(
        listing, "find", lambda path: listing.Listing(tmp_path, entries)
    )
    monkeypatch.setattr(reading, "read", read)
    monkeypatch.setattr(twins, "groups", lambda marks, _: np.arange(len(marks)))
    found = data.folder(tmp_path)
    assert sizes(found) == [10_000] * 3 and len(found.task.class_names) == 10_000
    assert "and 9,995 more classes" in found._repr_html_()


# Tables -------------------------------------------------------------------------------


def table(root, lines, name="labels.csv", encoding="utf-8"):
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(lines) + "\n", encoding)
    return root / name


def listed(root, count=8):
    write(root, {f"pictures/{n}.jpg": n for n in range(count)})
    return [f"pictures/{n}.jpg,{('ant', 'bee')[n % 2]}" for n in range(count)]


@pytest.mark.parametrize("columns", ["file,label", "Filename, Class ", "path,category"])
def test_a_table_names_files_and_labels(tmp_path, columns):
    found = data.folder(table(tmp_path, [columns, *listed(tmp_path)]), size=8)
    assert sizes(found) == [4, 2, 2] and found.task.class_names == ("ant", "bee")
    assert found.report.counts["train"] == {"ant": 2, "bee": 2}


def test_a_table_may_have_a_column_of_splits_and_other_marks(tmp_path):
    lines = [line.replace(",", ";") for line in listed(tmp_path)]
    parts = ["train"] * 4 + ["Valid"] * 2 + ["test"] * 2
    lines = [f"{line};{part};x" for line, part in zip(lines, parts, strict=True)]
    path = table(tmp_path, ["image;label;split;note", *lines], encoding="utf-8-sig")
    found = data.folder(path, size=8)
    assert sizes(found) == [4, 2, 2]
    assert found.files["test"] == ("pictures/6.jpg", "pictures/7.jpg")


def test_the_only_table_beside_the_pictures_is_found(tmp_path):
    table(tmp_path, ["file,label", *listed(tmp_path)])
    found = data.folder(tmp_path, size=8)
    assert sizes(found) == [4, 2, 2]
    assert "Files and labels are those that labels.csv names" in str(found)


def test_a_table_never_leads_out_of_its_folder(tmp_path):
    secret = write(tmp_path, {"secret.jpg": 900}) / "secret.jpg"
    root = tmp_path / "mine"
    lines = listed(root)
    (root / "link.jpg").symlink_to(secret)
    bad = ["../secret.jpg", str(secret), "pictures/../../secret.jpg", "link.jpg"]
    own = f"{root / 'pictures' / '0.jpg'},ant"
    path = table(root, ["file,label", *lines, own, *(f"{b},ant" for b in bad)])
    report = data.folder(path, size=8).report
    assert [row.file for row in report.left_out] == sorted(bad)
    assert {row.reason.split(" (")[0] for row in report.left_out} == {
        "lies outside the folder of the CSV file"
    }


def test_every_line_of_a_table_that_gives_nothing_is_named(tmp_path):
    lines = [
        *listed(tmp_path),
        "pictures/none.jpg,ant",
        "pictures/0.jpg,bee",
        ",ant",
        "pictures/1.jpg",
        "a\0b.jpg,ant",
        "pictures,bee",
    ]
    found = data.folder(table(tmp_path, ["file,label", *lines]), size=8)
    reasons = {row.file: row.reason for row in found.report.left_out}
    assert reasons["pictures/none.jpg"] == "is not there (line 10 of labels.csv)"
    assert "named twice" in reasons["pictures/0.jpg"]
    assert "has no file" in reasons["line 12 of labels.csv"]
    assert "has no label" in reasons["pictures/1.jpg"]
    assert "no file with a content" in reasons["pictures"]
    assert sum(sizes(found)) == 7 and len(reasons) == 6


def test_a_path_that_windows_wrote_is_understood(tmp_path):
    lines = [line.replace("/", "\\") for line in listed(tmp_path)]
    assert sizes(data.folder(table(tmp_path, ["file,label", *lines]))) == [4, 2, 2]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["name,kind", "a.jpg,b"], "expected a column file and a column label"),
        ([""], "expected a column file and a column label"),
        (["file,label,split", "pictures/0.jpg,ant,test"], "No line of .* has 'train'"),
        (["file,label", "gone.jpg,ant"], "holds no pictures"),
    ],
)
def test_a_table_that_makes_no_task_is_one_sentence(tmp_path, lines, reason):
    listed(tmp_path)
    with pytest.raises(CourseError, match=reason):
        data.folder(table(tmp_path, lines))


def test_a_table_in_another_encoding_is_one_sentence(tmp_path):
    path = table(tmp_path, ["file,label", "b\xe4r.jpg,b\xe4r"], encoding="latin-1")
    assert "not written in UTF-8" in refused(path)


# Files --------------------------------------------------------------------------------


def noise(mode="RGB", size=(80, 64)):
    return picture(77, size).convert(mode)


def deep(kind):
    grey = (np.asarray(noise("L")).astype(np.uint32) * 256).astype(np.uint16)
    return encoded(Image.fromarray(grey), kind)


def clear():
    image = noise("RGBA")
    image.putalpha(0)
    return encoded(image, "PNG")


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(noise().transpose(Image.Transpose.ROTATE_90), exif=exif)


def film(kind):
    others = [picture(n, (80, 64)) for n in (1, 2)]
    return encoded(noise(), kind, save_all=True, append_images=others)


GREY = np.asarray(noise("L").convert("RGB"))
COLOUR = np.asarray(noise())
READ = {
    "cmyk.jpg": (encoded(noise("CMYK")), "was CMYK and became RGB", COLOUR),
    "a png.jpg": (encoded(noise(), "PNG"), "is a PNG whatever its name says", COLOUR),
    "a jpeg.png": (encoded(noise()), "is a JPEG whatever its name says", COLOUR),
    "deep.png": (deep("PNG"), "had 16 bits a pixel", GREY),
    "deep.tif": (deep("TIFF"), "had 16 bits a pixel", GREY),
    "clear.png": (clear(), "was transparent and lies on white", COLOUR * 0 + 255),
    "turned.jpg": (turned(), "was turned upright", COLOUR),
    "film.gif": (film("GIF"), "has several frames", COLOUR),
    "film.webp": (film("WEBP"), "has several frames", COLOUR),
    "pages.tiff": (film("TIFF"), "has several frames", COLOUR),
    "palette.png": (encoded(noise("P"), "PNG"), None, COLOUR),
    "grey.JPG": (encoded(noise("L")), None, GREY),
    "no name": (encoded(noise()), None, COLOUR),
}


@pytest.mark.parametrize("name", READ)
def test_a_picture_of_a_rare_kind_is_read_rightly_and_noted(tmp_path, name):
    content, note, expected = READ[name]
    read = reading.read(write(tmp_path, {name: content}) / name, 32)
    shown = reading.square(Image.fromarray(expected.astype(np.uint8)), 32)
    assert np.abs(read.pixels.astype(int) - shown).mean() < 16  # a palette's error
    assert (note is None and not read.notes) or any(note in n for n in read.notes)


def bomb(side):
    return encoded(Image.new("1", (side, side)), "PNG")


LEFT = {
    "empty.jpg": (b"", "is empty: it has 0 bytes"),
    "cut.jpg": (encoded(noise())[:900], "is damaged or not complete"),
    "cut.png": (encoded(noise(), "PNG")[:900], "is damaged or not complete"),
    "text.jpg": (b"these are words, not pixels", "is text, not a picture"),
    "page.jpg": (b"<!DOCTYPE html><html>404</html>", "is a web page, not a picture"),
    "drawing.svg": (b'<?xml version="1.0"?>\n<svg/>', "is SVG, .*export it as PNG"),
    "phone.heic": (b"\0\0\0\x18ftypheic\0\0", "is HEIC, .*export it as JPEG"),
    "phone.jpg": (b"\0\0\0\x18ftypmif1\0\0", "is HEIC, .*export it as JPEG"),
    "new.avif": (b"\0\0\0\x18ftypavif\0\0", "is AVIF, which is not read here"),
    "film.mp4": (b"\0\0\0\x18ftypisom\0\0", "is a film, not a picture"),
    "camera.nef": (encoded(noise(), "TIFF"), "is a camera's raw file"),
    "page.pdf": (b"%PDF-1.7 ...", "is a PDF"),
    "pack.zip": (b"PK\x03\x04....", "is an archive, not a picture: unpack it"),
    "lfs.jpg": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "bytes.jpg": (bytes(range(128, 256)) * 20, "is no picture that can be read here"),
    "large.png": (bomb(8_000), "more than 50 million pixels"),
    "huge.png": (bomb(20_000), "more than 50 million pixels"),
    "float.tif": (encoded(noise("F"), "TIFF"), "pixels of more than 16 bits"),
}


def test_whatever_cannot_be_read_is_in_the_report_with_its_reason(tmp_path):
    root = flat(tmp_path, 4)
    write(root, {f"ant/{name}": content for name, (content, _) in LEFT.items()})
    found = data.folder(root, size=16)
    reasons = {row.file: row.reason for row in found.report.left_out}
    assert set(reasons) == {f"ant/{name}" for name in LEFT}
    for name, (_, reason) in LEFT.items():
        assert re.search(reason, reasons[f"ant/{name}"]), name
        assert name in str(found) or "more" in str(found)
    assert sum(sizes(found)) == 8


@pytest.mark.parametrize("spoiled", range(40))
def test_no_damage_whatever_is_a_traceback(tmp_path, spoiled):
    chance = random.Random(spoiled)
    kind = chance.choice(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
    content = bytearray(encoded(noise(), kind))
    for _ in range(chance.randint(1, 30)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path = tmp_path / "x.jpg"
    path.write_bytes(content[: chance.randint(1, len(content))])
    try:
        assert reading.read(path, 16).pixels.shape == (3, 16, 16)
    except CourseError as error:
        assert "x.jpg" in str(error)


def test_a_file_that_nobody_may_read_is_in_the_report(tmp_path, monkeypatch):
    root = flat(tmp_path)
    whole = Path.read_bytes

    def read(path):
        if path.name == "0.jpg":
            raise PermissionError(13, "Permission denied")
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    rows = data.folder(root, size=8).report.left_out
    assert [(r.file, r.reason) for r in rows] == [
        ("ant/0.jpg", "could not be opened: Permission denied"),
        ("bee/0.jpg", "could not be opened: Permission denied"),
    ]


def test_links_and_pipes_are_not_followed(tmp_path):
    write(tmp_path, {"else/secret.jpg": 900})
    root = flat(tmp_path / "mine")
    (root / "ant/out.jpg").symlink_to(tmp_path / "else/secret.jpg")
    (root / "ant/gone.jpg").symlink_to("nowhere.jpg")
    (root / "ant/self.jpg").symlink_to("self.jpg")
    (root / "ant/in.jpg").symlink_to("../bee/0.jpg")
    (root / "again").symlink_to(root)
    (root / "other").symlink_to(tmp_path / "else")
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "bee/pipe.jpg")
    found = data.folder(root, size=8)
    reasons = {row.file: row.reason for row in found.report.left_out}
    assert "leads out of the folder" in reasons["ant/out.jpg"]
    assert "leads out of the folder" in reasons["other"]
    assert reasons["again"] == "is a link to a folder, and is not followed"
    assert "could not be opened" in reasons["ant/gone.jpg"]
    assert "ant/self.jpg" in reasons and "ant/in.jpg" not in reasons
    assert len(reasons) == 5 + hasattr(os, "mkfifo")
    assert sum(sizes(found)) == 17


def test_the_square_is_the_middle_and_the_resize_does_not_alias():
    image = np.zeros((60, 120, 3), np.uint8)
    image[:, :30] = image[:, 90:] = 255  # what is cut off
    image[::2, 30:90] = 200  # lines of one pixel: their mean, not one of them
    shown = reading.square(Image.fromarray(image), 15)
    assert shown.shape == (3, 15, 15) and np.abs(shown.astype(int) - 100).max() <= 60
    assert np.abs(shown[:, 2:-2, 2:-2].astype(int) - 100).max() <= 15


@pytest.mark.parametrize("size", [8, 64, 224])
def test_a_large_jpeg_that_is_unpacked_small_looks_the_same(tmp_path, size):
    image = picture(5, (1600, 1200))
    path = write(tmp_path, {"x.jpg": encoded(image, quality=95)}) / "x.jpg"
    read, whole = reading.read(path, size), reading.square(image, size)
    assert np.abs(read.pixels.astype(int) - whole).mean() < 3 and not read.notes


def test_a_small_picture_is_enlarged_and_noted(tmp_path):
    path = write(tmp_path, {"x.png": encoded(picture(1, (9, 7)), "PNG")}) / "x.png"
    read = reading.read(path, 64)
    assert read.notes == ("was enlarged to 64 pixels a side",)
    assert reading.read(write(tmp_path, {"y.jpg": 1}) / "y.jpg", 8).notes == ()


# Copies -------------------------------------------------------------------------------


def again(number, kind="JPEG", size=(36, 30), **options):
    return encoded(picture(number).resize(size), kind, **options)


def test_copies_in_two_parts_are_found_and_named(tmp_path):
    root = split(tmp_path, classes=("ant", "bee"))
    first = (root / "train/ant/0.jpg").read_bytes()
    write(root, {"test/ant/same.jpg": first, "val/bee/smaller.png": again(5, "PNG")})
    found = data.folder(root, size=16)
    across = {twin.files: twin for twin in found.report.across}
    assert set(across) == {
        ("train/ant/0.jpg", "test/ant/same.jpg"),
        ("train/bee/1.jpg", "val/bee/smaller.png"),
    }
    same, smaller = across.values()
    assert same.same and same.bits == 0 and same.parts == ("train", "test")
    assert not smaller.same and smaller.bits <= twins.BITS
    assert "2 pictures of one part have copies in another" in str(found)
    assert "train/ant/0.jpg = test/ant/same.jpg" in str(found)
    assert sizes(found) == [8, 5, 7]


def test_copies_can_be_dropped_from_train_and_never_from_test(tmp_path):
    root = split(tmp_path)
    write(root, {"test/ant/a.jpg": again(0), "val/ant/b.jpg": again(1, quality=50)})
    write(root, {"val/ant/c.jpg": again(0, quality=40)})
    found = data.folder(root, size=16, duplicates="drop")
    assert sizes(found) == [6, 5, 7]
    dropped = {row.file: row for row in found.report.left_out}
    assert set(dropped) == {"train/ant/0.jpg", "train/ant/1.jpg", "val/ant/c.jpg"}
    assert dropped["train/ant/0.jpg"].done == "dropped from train"
    assert dropped["val/ant/c.jpg"].done == "dropped from validation"
    assert dropped["train/ant/0.jpg"].reason == (
        "is a copy of a picture in test, test/ant/a.jpg"
    )
    assert found.report.counts["train"] == {"ant": 2, "bee": 4}
    assert "Dropped from train, since it is a copy" in str(found)


def test_a_class_of_nothing_but_copies_is_one_sentence(tmp_path):
    root = split(tmp_path, [1, 2, 3])
    write(root, {"test/ant/a.jpg": again(0)})
    assert sum(sizes(data.folder(root, size=8))) == 13
    assert "All pictures of the class 'ant' in train" in refused(
        root, duplicates="drop"
    )


def test_the_deal_keeps_copies_of_a_picture_together(tmp_path):
    root = flat(tmp_path, 10)
    write(root, {f"ant/again{n}.jpg": again(n) for n in range(5)})
    write(root, {f"bee/0 again {q}.jpg": again(10, quality=q) for q in (40, 60, 80)})
    for seed in range(4):
        report = data.folder(root, size=8, seed=seed).report
        assert report.across == () and sum(report.repeated.values()) == 8
        assert min(report.counts["test"].values()) >= 1
    assert "Copies within a part" in str(report)


def test_one_picture_of_two_classes_is_named(tmp_path):
    root = split(tmp_path)
    write(root, {"train/bee/ant.jpg": again(0, quality=50)})
    report = data.folder(root, size=8).report
    (twin,) = report.disputed
    assert twin.files == ("train/ant/0.jpg", "train/bee/ant.jpg")
    assert twin.labels == ("ant", "bee") and report.across == ()
    assert "with two classes" in str(report) and "(ant or bee)" in str(report)


def test_one_picture_of_two_classes_in_two_parts_is_one_pair(tmp_path):
    root = split(tmp_path)
    write(root, {"test/bee/ant.jpg": again(0, quality=50)})
    report = data.folder(root, size=8).report
    assert len(report.twins) == 1 and report.across == report.disputed == report.twins


def test_a_thousand_copies_of_one_file_do_not_fill_the_page(tmp_path):
    root = split(tmp_path)
    content = (root / "test/ant/0.jpg").read_bytes()
    write(root, {f"train/ant/copy{n}.jpg": content for n in range(60)})
    found = data.folder(root, size=8)
    assert len(found.report.across) == 60 and "and 55 more" in str(found)
    assert found.report.repeated["train"] == 59


def test_marks_of_drawn_shapes_and_digits_seldom_agree():
    """Plain drawings are the hard case; photographs are measured in `twins`."""
    for task, style, most in (
        ("shapes", "full", 0),
        ("unseen-shapes", "mild", 0),
        ("shapes", "plain", 3),
        ("digits", "full", 0),
    ):
        images = data.task(task, style=style, train=300, validation=1, test=1).train
        marks = [
            twins.mark(Image.fromarray(image))
            for image in images.images.permute(0, 2, 3, 1).numpy()
        ]
        groups = twins.groups(
            marks, [bytes(str(n), "ascii") for n in range(len(marks))]
        )
        assert len(marks) - len(set(groups.tolist())) <= most, task


@needs_photos
def test_photographs_are_told_apart_and_their_copies_are_found():
    files = sorted(PHOTOS.glob("*/*/*.jpg"))[::5]
    photos = [Image.open(file).convert("RGB") for file in files]
    marks = [twins.mark(photo) for photo in photos]
    digests = [bytes(str(n), "ascii") for n in range(2 * len(marks))]
    assert len(set(twins.groups(marks, digests[: len(marks)]).tolist())) == len(marks)
    copies = [
        Image.open(io.BytesIO(encoded(photo.resize((160, 120)), quality=50)))
        for photo in photos
    ]
    both = marks + [twins.mark(copy.convert("RGB")) for copy in copies]
    first, second = np.split(twins.groups(both, digests), 2)
    assert np.array_equal(first, second)


@needs_photos
def test_a_folder_of_photographs_is_a_task():
    found = data.folder(PHOTOS, size=64, progress=False)
    assert found.task.class_names == ("ants", "bees")
    assert sum(sizes(found)) == 397 and len(found.task.validation) == 153
    assert found.report.left_out == () and found.report.across == ()


# What is no task ----------------------------------------------------------------------


def test_what_is_no_folder_is_one_sentence(tmp_path):
    write(tmp_path, {"cat.jpg": 1})
    assert "no folder 'nowhere'" in refused(tmp_path / "nowhere")
    assert "no folder 'nowhere'" in refused(str(tmp_path / "nowhere") + "/")
    assert "'cat.jpg' is a file; expected a folder" in refused(tmp_path / "cat.jpg")
    assert "path=3 (int); expected a text or a path" in refused(3)
    for strange in ("a\0b", "x" * 5000, "~nobody-of-this-name/x"):
        refused(strange)


def test_an_empty_folder_is_one_sentence(tmp_path):
    assert "holds no pictures" in refused(tmp_path)
    (tmp_path / ".hidden").write_bytes(b"x")
    assert "holds no pictures" in refused(tmp_path)


def test_pictures_without_classes_are_told_how_to_be_laid_out(tmp_path):
    write(tmp_path, {"1.jpg": 1, "2.jpg": 2})
    sentence = refused(tmp_path)
    assert "lie in no folder of a class" in sentence and "cats/1.jpg" in sentence
    table(tmp_path, ["name,kind", "1.jpg,x"])
    assert "'labels.csv' have other names" in refused(tmp_path)


def test_one_class_is_one_sentence(tmp_path):
    flat(tmp_path / "a", classes=("ant",))
    assert "only one class, 'ant'" in refused(tmp_path / "a")
    split(tmp_path / "b", classes=("ant",))
    assert "only one class, 'ant'" in refused(tmp_path / "b")


def test_a_folder_around_the_folder_is_told_from_a_class(tmp_path):
    split(tmp_path / "around" / "insects")
    assert "give the path of 'insects' itself" in refused(tmp_path / "around")


def test_parts_with_different_classes_are_one_sentence(tmp_path):
    root = split(tmp_path)
    write(root, {"test/wasp/1.jpg": 99})
    assert "'wasp' is in test and not in train" in refused(root)
    write(root, {"train/wasp/1.jpg": 98})
    assert "'wasp' is in train and not in validation" in refused(root)


def test_a_class_that_is_too_small_to_deal_out_is_one_sentence(tmp_path):
    root = flat(tmp_path, 5)
    write(root, {"wasp/1.jpg": 900, "wasp/2.jpg": 901, "wasp/3.jpg": again(900)})
    sentence = refused(root)
    assert "'wasp' has 2 different pictures" in sentence
    assert "(3 with copies); expected 3 or more" in sentence
    write(root, {"wasp/4.jpg": 902})
    assert data.folder(root, size=8).report.counts["test"]["wasp"] >= 1


def test_large_shares_leave_something_to_train_on(tmp_path):
    counts = data.folder(flat(tmp_path, 4), size=8, validation=0.49, test=0.49)
    assert counts.report.counts["train"] == {"ant": 1, "bee": 1}


def test_a_class_without_a_readable_picture_is_one_sentence(tmp_path):
    root = write(flat(tmp_path), {"wasp/1.jpg": b""})
    assert "'wasp' could be read ('wasp/1.jpg' is empty" in refused(root)
    (root / "wasp/1.jpg").unlink()
    assert "'wasp' names a class and is empty" in refused(root)


def test_parts_without_train_or_twice_are_one_sentence(tmp_path):
    split(tmp_path / "a", [2, 2], names=("val", "test"))
    assert "no folder 'train'" in refused(tmp_path / "a")
    split(tmp_path / "b", [2, 2, 2], names=("train", "val", "valid"))
    assert "both name the validation part" in refused(tmp_path / "b")
    root = split(tmp_path / "c", [2, 2], names=("val", "test"))
    write(root, {"train/1.jpg": 300})
    assert "'train' has no folders of classes" in refused(root)


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"seed": -1},
        {"test": 0},
        {"per_class": 0},
        {"validation": 0.6, "test": 0.4},
        {"duplicates": "keep"},
    ],
)
def test_a_wrong_argument_is_one_sentence(tmp_path, options):
    refused(flat(tmp_path, 3), **options)


# Folders to practise on ---------------------------------------------------------------


def test_shapes_are_written_as_a_folder_and_read_again(tmp_path):
    path = data.write_shapes(tmp_path / "shapes", train=2, validation=1, test=1)
    found = data.folder(path, size=32)
    assert found.task.class_names == tuple(sorted(data.shapes.HELD_OUT_SHAPES))
    assert sizes(found) == [20, 10, 10] and found.report.rows == ()
    with Image.open(path / found.files["train"][0]) as image:
        assert image.format == "JPEG" and image.size == (96, 96)
    assert [p.name for p in tmp_path.iterdir()] == ["shapes"]


def test_the_same_arguments_write_the_same_files(tmp_path):
    def written(name, **options):
        options = {"names": ("heart", "gear"), "train": 2, "size": 32} | options
        root = data.write_shapes(
            tmp_path / name, validation=1, test=1, faults=True, **options
        )
        return {
            p.relative_to(root).as_posix(): p.read_bytes()
            for p in root.rglob("*")
            if p.is_file()
        }

    first = written("a")
    assert written("b") == first and len(first) == 8 + 5
    other = written("c", seed=1)
    assert set(other) == set(first) and other != first
    level = written("d", layout="flat")
    assert {name.split("/")[0] for name in level} == {"heart", "gear"}
    assert len(level) == 13
    assert "train/heart/heart_train_000.jpg" in first
    assert (
        first["train/heart/heart_train_000.jpg"] == level["heart/heart_train_000.jpg"]
    )


def test_the_faults_of_a_written_folder_are_all_in_the_report(tmp_path):
    root = data.write_shapes(
        tmp_path / "x", train=3, validation=1, test=1, style="full", faults=True
    )
    report = data.folder(root, size=32).report
    reasons = {Path(row.file).name: row.reason for row in report.rows}
    assert "0 bytes" in reasons["empty.jpg"]
    assert "damaged" in reasons["cut off.jpg"]
    assert "is a PNG" in reasons["really a PNG.jpg"]
    assert "CMYK" in reasons["printer colours.jpg"]
    assert [Path(twin.files[0]).name for twin in report.across] == ["seen before.jpg"]
    assert len(report.rows) == 4 and len(report.left_out) == 2


def test_nothing_is_written_over_and_nothing_half_written_stays(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/diary.txt").write_text("dear")
    with pytest.raises(CourseError, match="not empty, and is left as it is"):
        data.write_shapes(tmp_path / "mine")
    with pytest.raises(CourseError, match="is there already"):
        data.write_shapes(tmp_path / "mine/diary.txt")
    (tmp_path / "empty").mkdir()
    data.write_shapes(tmp_path / "empty", train=1, validation=1, test=1, size=32)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(CourseError, match="could not be written: No space left"):
        data.write_shapes(tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "mine"]


@pytest.mark.parametrize(
    "options",
    [
        {"names": ("heart",)},
        {"names": ("heart", "heart")},
        {"names": ("heart", "hart")},
        {"names": "heart"},
        {"train": 0},
        {"size": 8},
        {"seed": -1},
        {"style": "wild"},
        {"layout": "tree"},
    ],
)
def test_shapes_that_cannot_be_written_are_one_sentence(tmp_path, options):
    with pytest.raises(CourseError):
        data.write_shapes(tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())
