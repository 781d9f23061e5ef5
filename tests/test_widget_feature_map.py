"""The feature map: its canvas, its controls, and the page without a kernel."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

from course import plots, widgets
from course.errors import CourseError
from course.plots.figure import COLOURS, MARKERS
from course.widgets.feature_canvas import FeatureCanvas, in_unit_square
from course.widgets.feature_map import ALL

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "course" / "widgets" / "feature_map.js"
POINTS = np.array([[0, 0], [4, 0], [4, 2], [0, 2], [2, 1]], float)
NAMES = ["ring", "star", "ring", "disc", "star"]
CLASSES = ["star", "ring", "disc"]
NEAR = [[4, 1], [4, 2], [4, 1], [4, 0], [0, 1]]


def figure(index):
    pixels = np.random.default_rng(index).integers(0, 256, (3, 8, 8), np.uint8)
    return plots.plain(pixels, f"picture of {index}", side=8)


def feature_map(**options):
    given = {"points": POINTS, "classes": CLASSES, "neighbours": NEAR, **options}
    return widgets.FeatureMap(figure, NAMES, **given)


def words(widget):
    return widget.picture.words.value


def test_a_point_that_is_chosen_on_the_canvas_shows_its_picture_and_neighbours():
    widget = feature_map()
    for index in (3, 0, 4, 2):
        widget.canvas.chosen = index  # as the page does
        assert widget.state == {"shown": ALL, "point": index + 1}
        assert widget.picture.alt == figure(index).alt
        assert widget.canvas.linked == NEAR[index]
        near = ", ".join(NAMES[i] for i in NEAR[index])
        assert f"class {NAMES[index]}" in words(widget) and near in words(widget)


def test_menu_and_slider_move_the_ring_on_the_canvas():
    widget = feature_map()
    widget.controls["point"].value = 3
    assert widget.canvas.chosen == 2 and widget.canvas.shown == -1
    widget.controls["shown"].value = "star"
    assert widget.canvas.chosen == 1 and widget.canvas.shown == CLASSES.index("star")
    widget.controls["point"].value = 2
    assert widget.canvas.chosen == 4
    widget.controls["shown"].value = ALL
    assert widget.canvas.chosen == 0 and widget.canvas.shown == -1


def test_the_canvas_says_what_it_shows_and_says_it_anew():
    widget = feature_map()
    first = widget.canvas.label
    assert "5 points of 3 classes" in first and "point 1, ring" in first
    assert "neighbours: star, star" in first and "Arrow keys" in first
    widget.canvas.chosen = 3
    assert widget.canvas.label != first and "point 4, disc" in widget.canvas.label
    widget.controls["shown"].value = "star"
    assert "star alone" in widget.canvas.label


def test_choosing_a_point_of_another_class_shows_all_classes():
    widget = feature_map()
    widget.controls["shown"].value = "star"
    widget.choose(3)
    assert widget.state == {"shown": ALL, "point": 4}
    widget.controls["shown"].value = "ring"
    widget.choose(2)
    assert widget.state == {"shown": "ring", "point": 2}
    with pytest.raises(CourseError, match="expected one from 0 to 4"):
        widget.choose(5)


def test_an_impossible_choice_of_the_page_is_said_and_not_lost(caplog):
    widget = feature_map()
    widget.canvas.chosen = 99
    assert 'role="alert"' in words(widget) and caplog.records
    widget.canvas.chosen = 1
    assert 'role="alert"' not in words(widget) and "class star" in words(widget)


def test_classes_differ_in_colour_and_in_marker_as_in_the_still_map():
    canvas = feature_map().canvas
    assert canvas.colours == list(COLOURS[:3]) and canvas.markers == list(MARKERS[:3])
    assert canvas.kinds == [CLASSES.index(name) for name in NAMES]
    many = [f"class {k}" for k in range(20)]
    canvas = FeatureCanvas(np.zeros((20, 2)), many, many)
    assert len(set(zip(canvas.colours, canvas.markers, strict=True))) == 20


def test_two_thousand_points_are_sent_once_and_not_with_every_step():
    rng = np.random.default_rng(0)
    names = [CLASSES[k % 3] for k in range(2000)]
    widget = widgets.FeatureMap(figure, names, points=rng.normal(size=(2000, 2)))
    places = np.array(widget.canvas.points).reshape(2000, 2)
    assert places.min() == 0 and places.max() == 1
    changed = []
    widget.canvas.observe(lambda change: changed.append(change["name"]))
    widget.controls["point"].value = 1500
    assert set(changed) == {"chosen", "label"}


@pytest.mark.parametrize("points", [[[1, 2]] * 3, [[1, 2], [1, 3]], [[5, 5]]])
def test_points_fill_the_square_and_one_line_or_place_does_no_harm(points):
    places = in_unit_square(points, len(points))
    assert np.isfinite(places).all() and places.min() >= 0 and places.max() <= 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"points": POINTS[:3]}, r"shape \(3, 2\); expected \(5, 2\)"),
        ({"points": POINTS * np.nan}, "finite"),
        ({"classes": ["star", "ring"]}, "do not name disc"),
        ({"neighbours": NEAR[:2]}, r"expected \(5, k\)"),
        ({"neighbours": [[9, 9]] * 5}, "indices of points"),
    ],
)
def test_lists_that_do_not_fit_are_refused(options, says):
    with pytest.raises(CourseError, match=says):
        feature_map(**options)


def test_a_page_without_a_kernel_shows_the_map_with_the_chosen_point():
    widget = feature_map(title="t-SNE")
    widget.canvas.chosen = 3
    still = widget.still()
    on_map = plots.scatter2d(
        {"t-SNE": POINTS}, widget.canvas.kinds, CLASSES, highlight=3
    )
    assert still.png == plots.stacked(on_map, figure(3)).png
    data, metadata = widget._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == data["text/plain"] == still.alt
    assert "5 points of 3 classes" in still.alt and "picture of 3" in still.alt


def test_without_points_there_is_no_canvas_and_the_picture_is_the_still():
    widget = widgets.FeatureMap(figure, NAMES)
    assert widget.canvas is None and widget.still() is widget.picture.figure
    assert widget.canvas not in widget.children


def test_the_script_is_read_from_the_package_and_travels_with_it():
    assert feature_map().canvas._esm == SCRIPT.read_text("utf-8")
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    patterns = tomllib.loads(text)["tool"]["setuptools"]["package-data"]["course"]
    assert any(SCRIPT.match(pattern) for pattern in patterns)


def test_the_script_fetches_nothing_and_draws_every_marker():
    text = SCRIPT.read_text("utf-8")
    assert not re.search(r"https?:|\bimport\b|\bfetch\(|XMLHttpRequest", text)
    table = re.search(r"const MARKERS = \{(.*?)\n\};", text, re.S)[1]
    keys = re.findall(r'^\s+"?([^\s":]+)"?:', table, re.M)
    assert set(keys) == set(MARKERS)


def test_the_script_uses_only_traits_that_exist():
    text = SCRIPT.read_text("utf-8")
    used = set(re.findall(r'model\.[gs]et\("(\w+)"', text))
    sent = {name for name, t in FeatureCanvas.class_traits(sync=True).items()}
    assert used and used <= sent
    assert re.findall(r'model\.set\("(\w+)"', text) == ["chosen"]


@pytest.mark.skipif(not shutil.which("node"), reason="no node to parse the script")
def test_the_script_is_a_module_that_parses():
    command = ["node", "--input-type=module", "--check"]
    done = subprocess.run(
        command, input=SCRIPT.read_text("utf-8"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_canvas_survives_the_way_to_the_page():
    state = feature_map().canvas.get_state()
    kept = {k: v for k, v in state.items() if k in ("points", "kinds", "linked")}
    assert json.loads(json.dumps(kept)) == kept
