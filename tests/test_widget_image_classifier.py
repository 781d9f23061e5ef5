"""The image classifier: every picture is read, every failure is one sentence."""

import datetime

import numpy as np
import pytest
from test_pictures import saved, stripes

from course import plots, widgets
from course.errors import CourseError
from course.widgets import image_classifier


def answer(image):
    return plots.plain(image, f"a picture of {np.asarray(image).size} numbers", side=8)


def classifier(classify=answer):
    return widgets.ImageClassifier(
        classify, {"wide": stripes(24, 8), "tall": stripes(8, 32)}
    )


def upload(widget, name, content):
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    file = {"name": name, "type": "", "size": len(content), "last_modified": moment}
    widget.upload.value = ({**file, "content": memoryview(content)},)


def open_path(widget, path):
    widget.path.value = str(path)
    widget.button.click()


def words(widget):
    return widget.picture.words.value


def test_the_first_example_is_shown_at_once_and_on_a_page_without_a_kernel():
    widget = classifier()
    assert widget.picture.alt == "wide: a picture of 576 numbers"
    assert widget.still().png == answer(stripes(24, 8)).png


def test_the_control_that_was_used_last_decides(tmp_path):
    widget, place = classifier(), tmp_path / "cat.png"
    place.write_bytes(saved(stripes(10, 10)))
    open_path(widget, place)
    assert words(widget).count("cat.png: a picture of 300 numbers") == 1
    assert widget.example.value is None
    upload(widget, "dog.png", saved(stripes(4, 4)))
    assert "dog.png: a picture of 48 numbers" in words(widget)
    widget.example.value = "wide"
    assert "wide: a picture of 576 numbers" in words(widget)


def test_the_same_file_can_be_uploaded_twice():
    asked = []
    widget = classifier(lambda image: asked.append(image) or answer(image))
    for _ in range(2):
        upload(widget, "cat.png", saved(stripes()))
        assert widget.upload.value == ()
    assert len(asked) == 3


def test_a_path_is_opened_once_it_is_whole(tmp_path):
    widget, place = classifier(), tmp_path / "cat.png"
    place.write_bytes(saved(stripes(10, 10)))
    assert not widget.path.continuous_update  # the page waits for Enter
    widget.path.value = str(place)
    assert "cat.png" in words(widget)
    widget.path.value = ""
    assert "cat.png" in words(widget)
    widget.button.click()
    assert "Write the path" in words(widget)


def test_a_file_that_is_no_picture_is_one_sentence_with_its_name():
    widget = classifier()
    before = widget.picture.image.value
    upload(widget, "letter.jpg", b"Dear reader")
    assert 'role="alert"' in words(widget)
    assert "letter.jpg" in words(widget) and "is no picture" in words(widget)
    assert widget.picture.image.value == before


def test_the_same_broken_file_twice_does_not_look_like_nothing():
    widget, seen = classifier(), set()
    for name in ("a.jpg", "a.jpg", "b.jpg"):
        upload(widget, name, b"nothing")
        seen.add(words(widget))
    assert len(seen) == 3


def test_a_failure_does_not_stick():
    widget = classifier()
    upload(widget, "a.jpg", b"nothing")
    widget.example.value = "tall"
    assert 'role="alert"' not in words(widget) and "tall" in words(widget)


def test_a_files_name_is_never_markup():
    widget = classifier()
    upload(widget, "../x<b>bold.png", saved(stripes()))
    assert "<b>" not in words(widget) and "&lt;b&gt;" in words(widget)


def test_an_error_of_the_classifier_is_shown_and_logged(caplog):
    def broken(image):
        raise MemoryError("no room")

    widget = classifier(broken)
    assert "MemoryError" in words(widget) and caplog.records[0].exc_info
    assert widget.still() is None
    assert widget._repr_mimebundle_()["text/plain"] == "Image classifier"


def test_the_limit_of_an_upload_is_said_where_it_is_chosen():
    widget = classifier()
    limit = f"{image_classifier.LIMIT_MB} MB"
    texts = [widget.upload.tooltip, widget.hint.value]
    assert all(limit in text for text in texts) and "path" in widget.hint.value


def test_nothing_is_written_to_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    upload(classifier(), "cat.png", saved(stripes()))
    assert not list(tmp_path.iterdir())


def test_a_classifier_without_an_example_is_refused():
    with pytest.raises(CourseError, match="at least one example"):
        widgets.ImageClassifier(answer, {})
