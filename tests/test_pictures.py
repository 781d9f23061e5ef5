"""Pictures of the reader's own: every kind is read, every failure is one sentence."""

import io

import numpy as np
import pytest
from PIL import Image

from course.data.pictures import decoded, from_path, short
from course.errors import CourseError


def stripes(width=24, height=16):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (200, 30, 30)
    return Image.fromarray(pixels)


def saved(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def read(content, name="x.png"):
    return decoded(io.BytesIO(content), name)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_usual_formats_are_read(kind):
    picture = read(saved(stripes(), kind))
    assert picture.mode == "RGB" and picture.size == (24, 16)
    left, right = np.asarray(picture)[8, 4], np.asarray(picture)[8, 20]
    assert left[0] > 150 > 60 > left[1] and right.max() < 60


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixel_becomes_rgb_and_keeps_its_brightness(mode):
    grey = Image.new("L", (8, 8), 255 if mode == "1" else 100)
    if mode == "I;16":
        picture = Image.fromarray(np.full((8, 8), 100 * 257, np.uint16))
    else:
        picture = grey.convert("RGB").convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    found = np.asarray(read(saved(picture, kind)))
    assert found.shape == (8, 8, 3)
    assert abs(found.astype(int) - (255 if mode == "1" else 100)).max() <= 3


def test_what_is_transparent_lies_on_white():
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert np.asarray(read(saved(clear))).min() == 255


def test_a_photograph_held_sideways_stands_upright():
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera's note: turn by 90 degrees
    picture = read(saved(stripes(24, 16), "JPEG", exif=turned))
    assert picture.size == (16, 24)
    assert np.asarray(picture)[4, 8, 0] > 150 and np.asarray(picture)[20, 8, 0] < 60


def test_a_large_photograph_is_made_smaller_and_keeps_its_shape():
    assert read(saved(stripes(4000, 1000))).size == (1024, 256)


def cut(content):
    return content[: len(content) // 2]


SPOILED = {
    "empty": (b"", "is no picture that can be read"),
    "text": (b"<svg></svg>", "expected PNG, JPEG, WEBP, GIF, BMP or TIFF"),
    "rare": (saved(stripes(), "PPM"), "is no picture that can be read"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is no picture"),
    "cut": (cut(saved(Image.effect_noise((64, 64), 50))), "damaged or not complete"),
    "cut photograph": (
        cut(saved(Image.effect_noise((64, 64), 50), "JPEG")),
        "damaged or not complete",
    ),
    "only a beginning": (saved(stripes())[:20], "picture|damaged"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_file_that_is_no_picture_is_one_sentence_with_its_name(name):
    content, reason = SPOILED[name]
    with pytest.raises(CourseError, match=reason) as caught:
        read(content, f"{name}.jpg")
    assert f"{name}.jpg" in str(caught.value)


@pytest.mark.parametrize("side", [8_000, 20_000])
def test_a_small_file_with_too_many_pixels_is_refused_before_it_is_unpacked(side):
    content = saved(Image.new("1", (side, side)))
    assert len(content) < 1_000_000
    with pytest.raises(CourseError, match="50 million pixels"):
        read(content)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Write the path"),
        ("  ", "Write the path"),
        ("missing.png", "no file 'missing.png'"),
        (".", "no file"),
        ("~nobody-of-this-name/cat.png", "could not be opened|no file"),
        ("x" * 5000, "could not be opened|no file"),
        ("a\0b.png", "could not be opened|no file"),
    ],
)
def test_a_path_without_a_picture_is_one_sentence(text, reason):
    with pytest.raises(CourseError, match=reason):
        from_path(text)


def test_a_path_may_be_quoted_relative_or_at_home(tmp_path, monkeypatch):
    (tmp_path / "my cat.png").write_bytes(saved(stripes(10, 10)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ('"my cat.png"', " my cat.png ", "~/my cat.png"):
        assert from_path(text).size == (10, 10)


def test_a_files_name_is_never_a_place():
    assert short("C:\\photos\\cat.png") == short("../cat.png") == "cat.png"
    assert short("\u202ecat\n.png") == "cat.png" and len(short("x" * 500)) == 60
