"""The image classifier: every picture is read, every failure is one sentence."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_pictures import saved, stripes

from course import data, explained, models, plots, widgets
from course.errors import CourseError
from course.widgets.file_drop import LIMIT_MB, MOST, FileDrop

SCRIPT = Path(widgets.__file__).with_name("file_drop.js")


def answer(image):
    return plots.plain(image, f"a picture of {np.asarray(image).size} numbers", side=8)


def classifier(classify=answer):
    return widgets.ImageClassifier(
        classify, {"wide": stripes(24, 8), "tall": stripes(8, 32)}
    )


def drop(widget, *files):
    """Drop (name, content) pairs at once, as the page sends them one by one."""
    for place, (name, content) in enumerate(files):
        about = {"name": name, "place": place, "count": len(files), "size": 0}
        if isinstance(content, str):  # what the page found wrong with it
            widget.drop._handle_custom_msg({**about, "problem": content}, [])
        else:
            widget.drop._handle_custom_msg(about, [memoryview(content)])


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
    drop(widget, ("dog.png", saved(stripes(4, 4))))
    assert "dog.png: a picture of 48 numbers" in words(widget)
    widget.example.value = "wide"
    assert "wide: a picture of 576 numbers" in words(widget)


def test_the_same_file_can_be_dropped_twice():
    asked = []
    widget = classifier(lambda image: asked.append(image) or answer(image))
    for _ in range(2):
        drop(widget, ("cat.png", saved(stripes())))
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
    drop(widget, ("letter.jpg", b"Dear reader"))
    assert 'role="alert"' in words(widget)
    assert "letter.jpg" in words(widget) and "is no picture" in words(widget)
    assert widget.picture.image.value == before


def test_the_same_broken_file_twice_does_not_look_like_nothing():
    widget, seen = classifier(), set()
    for name in ("a.jpg", "a.jpg", "b.jpg"):
        drop(widget, (name, b"nothing"))
        seen.add(words(widget))
    assert len(seen) == 3


def test_a_failure_does_not_stick():
    widget = classifier()
    drop(widget, ("a.jpg", b"nothing"))
    widget.example.value = "tall"
    assert 'role="alert"' not in words(widget) and "tall" in words(widget)


def test_a_files_name_is_never_markup():
    widget = classifier()
    drop(widget, ("../x<b>bold.png", saved(stripes())))
    assert "<b>" not in words(widget) and "&lt;b&gt;" in words(widget)


def test_an_error_of_the_classifier_is_shown_and_logged(caplog):
    def broken(image):
        raise MemoryError("no room")

    widget = classifier(broken)
    assert "MemoryError" in words(widget) and caplog.records[0].exc_info
    assert widget.still() is None
    assert widget._repr_mimebundle_()["text/plain"] == "Image classifier"


def test_the_limit_of_a_file_is_said_where_it_is_chosen():
    widget = classifier()
    limit = f"{LIMIT_MB} MB"
    assert limit in widget.drop.hint and limit in widget.drop.note
    assert widget.drop.limit == LIMIT_MB * 1_000_000


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("big<b>.png", "large", f"more than {LIMIT_MB} MB"),
        ("folder", "unreadable", "if it is a folder"),
        ("big.png", bytes(LIMIT_MB * 1_000_000 + 1), f"more than {LIMIT_MB} MB"),
        ("half.png", saved(stripes(90, 90))[:60], "damaged"),
    ],
)
def test_a_file_that_cannot_be_taken_is_one_sentence(name, content, says):
    widget = classifier()
    drop(widget, (name, content))
    assert 'role="alert"' in words(widget) and says in words(widget)
    assert "<b>" not in words(widget)
    assert widget.drop.taken == 1  # the page goes on


def test_what_is_no_file_at_all_is_one_sentence():
    widget = classifier()
    widget.drop._handle_custom_msg({"name": "", "place": 0, "count": 0}, [])
    assert "no file but an address" in words(widget)
    widget.drop._handle_custom_msg("nonsense", [])
    assert 'role="alert"' in words(widget) and widget.drop.taken == 2
    widget.example.value = "tall"
    assert "tall" in words(widget)


def test_several_files_are_classified_in_turn_and_a_menu_goes_back_to_each():
    asked = []
    widget = classifier(lambda image: asked.append(image.size) or answer(image))
    assert widget.dropped not in widget.row.children
    sides = (4, 6, 8)
    drop(widget, *((f"{n}.png", saved(stripes(n, n))) for n in sides))
    assert asked[1:] == [(n, n) for n in sides] and widget.drop.taken == 3
    assert "8.png: a picture of 192 numbers" in words(widget)
    assert widget.dropped in widget.row.children and widget.example.value is None
    assert widget.dropped._options_labels == ("1: 4.png", "2: 6.png", "3: 8.png")
    widget.dropped.value = 0
    assert "4.png: a picture of 48 numbers" in words(widget)
    widget.example.value = "tall"
    assert "tall" in words(widget) and widget.dropped.value is None
    widget.dropped.value = 1
    assert "6.png" in words(widget) and widget.example.value is None
    drop(widget, ("one.png", saved(stripes(4, 4))))
    assert widget.dropped not in widget.row.children


def test_what_is_wrong_with_some_of_several_is_said_and_stays_until_the_next():
    widget, good = classifier(), saved(stripes(4, 4))
    drop(widget, ("a.png", good), ("b.txt", b"no"), ("c.png", "large"), ("d.png", good))
    assert "d.png" in words(widget) and 'role="alert"' not in words(widget)
    problems = widget.problems.value
    assert "b.txt" in problems and "c.png" in problems and 'role="alert"' in problems
    assert len(widget.dropped.options) == 2
    drop(widget, *[(f"{n}.png", good) for n in range(3)], *[("x", "many")] * 2)
    assert f"the first {MOST} were taken" in widget.problems.value
    assert widget.problems.value.count("at once") == 1
    drop(widget, ("a.png", good))
    assert widget.problems.value == ""


def shapes(top=5):
    model = models.load("resnet10-shapes")
    gear = data.shapes.draw(1, seed=0, shape="gear").images[0]
    china = data.photos.load("china")
    return model, widgets.ImageClassifier(model, {"gear": gear, "china": china}, top)


def test_a_model_is_shown_with_its_likeliest_classes_and_the_map_of_one():
    model, widget = shapes(top=4)
    gear = widget._examples["gear"]
    expected = explained.likeliest(model, gear, 4)
    menu = widget._view.menu
    assert (menu,) == widget.children[2].children and not menu.disabled
    names = [f"{n}: {one.name}" for n, one in enumerate(expected, start=1)]
    names[0] += " (predicted)"
    assert list(menu._options_labels) == names and menu.value == 0
    assert "Most likely gear 1.00" in words(widget)
    assert "Evidence for gear: hottest at" in words(widget)
    first = widget.still().png
    menu.value = 2
    assert f"Evidence for {expected[2].name}:" in words(widget)
    assert widget.still().png != first
    widget.example.value = "china"
    assert menu.value == 0 and "china: Most likely" in words(widget)


class Flat(torch.nn.Module):
    """A classifier without any map."""

    def __init__(self, classes):
        super().__init__()
        self.fc = torch.nn.Linear(3, classes)

    def forward(self, images):
        return self.fc(images.mean(dim=(2, 3)))


def test_without_a_map_the_answer_stands_and_the_menu_is_off():
    model = models.Model(Flat(3), models.normalising(), ("a", "b", "c"))
    widget = widgets.ImageClassifier(model, {"stripes": stripes()})
    assert widget._view.menu.disabled and "Most likely" in words(widget)
    assert "last convolutional map of a Flat is not known" in words(widget)
    assert 'role="alert"' not in words(widget) and widget.still()


def test_a_model_without_a_head_says_so_in_one_sentence():
    model = models.load("resnet10-simclr")
    widget = widgets.ImageClassifier(model, {"stripes": stripes()})
    assert 'role="alert"' in words(widget) and "has no classes" in words(widget)


def test_the_script_fetches_nothing_and_uses_only_traits_that_exist():
    text = SCRIPT.read_text("utf-8")
    assert not re.search(r"https?:|\bimport\b|\bfetch\(|XMLHttpRequest", text)
    used = set(re.findall(r'model\.get\("(\w+)"', text))
    assert used and used <= set(FileDrop.class_traits(sync=True))
    assert classifier().drop._esm == text and "model.set(" not in text


def test_nothing_is_written_to_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    drop(classifier(), ("cat.png", saved(stripes())))
    assert not list(tmp_path.iterdir())


def test_a_classifier_without_an_example_is_refused():
    with pytest.raises(CourseError, match="at least one example"):
        widgets.ImageClassifier(answer, {})
