"""Figures: small PNGs whose descriptions hold the numbers that they show."""

import base64
import io

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from PIL import Image

from course import boxes, calibration, diagnosis, plots
from course.errors import CourseError
from course.search import Answer

IMAGES = torch.randint(
    0, 256, (6, 3, 64, 64), generator=torch.Generator().manual_seed(0)
).byte()
POINTS = np.random.default_rng(0).normal(size=(40, 2))
AXIS = np.linspace(-1, 1, 11)
HEAT = np.arange(6 * 16, dtype=np.float32).reshape(6, 4, 4)
MASKS = IMAGES[:, 0] > 127

RELIABILITY = calibration.reliability([[0.9, 0.1], [0.7, 0.3]], [0, 1])
WRONG = [diagnosis.Wrong(3, 0, 1, 0.97, 0.02)]

BOXES = np.array([[4, 4, 30, 30], [34, 34, 60, 60]], dtype=np.float32)
FOUND = boxes.Found(
    torch.tensor(BOXES[:1]), torch.tensor([0.8]), torch.tensor([0]), ("ring", "star")
)
TRUE = (BOXES, [0, 1])
RUNG = {
    **{"rung": "fp32", "batch": 32, "images_a_second": 500.0, "faster": 1.0},
    **{"floor": 2000.0, "peak_mb": 60.0, "first_seconds": 0.2},
}

FIGURES = {
    "grid": lambda: plots.image_grid(IMAGES, [f"shape {i}" for i in range(6)], 4),
    "plain": lambda: plots.plain(IMAGES[0], "one shape"),
    "heatmaps": lambda: plots.heatmaps(IMAGES, HEAT, masks=MASKS),
    "overlay": lambda: plots.overlay(IMAGES[0], HEAT[0]),
    "predictions": lambda: plots.predictions(
        IMAGES[:2], [[("ring", 0.75), ("star", 0.25)], [("leaf", 0.5)]], ["a", "b"]
    ),
    "curves": lambda: plots.curves(
        {"probe": ([1, 10], [0.5, 0.9], [0.4, 0.8], [0.6, 1.0])}, "labels", "accuracy"
    ),
    "bars": lambda: plots.bars(
        ["layer1", "layer2"], [0.3, 0.8], [0.2, 0.7], [0.4, 0.9], {"chance": 0.1}
    ),
    "beside": lambda: plots.beside(
        {"full": ([1, 5], [0.6, 0.9]), "scratch": ([1, 5], [0.2, 0.4])},
        {"full": ([5], [0.92], [0.9], [0.94])},
        "labels a class",
        "accuracy",
        title="Two strategies",
    ),
    "boxes": lambda: plots.boxes(
        IMAGES[:1], [BOXES[:1]], [[0]], ["ring", "star"], [[0.8]], [TRUE]
    ),
    "scene": lambda: plots.scene(IMAGES[0], FOUND, truth=TRUE),
    "precision_recall": lambda: plots.precision_recall(
        {"frozen": ([0.2, 0.5], [1.0, 0.8])}, {"frozen": (0.5, 0.8)}
    ),
    "word_map": lambda: plots.word_map(["sun", "moon"], [[0, 0], [1, 1]]),
    "similarities": lambda: plots.similarities([[1, 0.2], [0.2, 1]], ["sun", "moon"]),
    "search_results": lambda: plots.search_results(
        "wait", [Answer("time.sleep", "Suspend execution.", 0.75)]
    ),
    "dots": lambda: plots.dot_table(["probe"], [[0.8, 0.9]], [1.5]),
    "pareto": lambda: plots.pareto(
        ["small", "large", "beaten", "dear"],
        [1.0, 30.0, 40.0, 50.0],
        [60.0, 80.0, 70.0, 85.0],
        [0, 1],
        marked=[1],
        faded=[3],
    ),
    "differences": lambda: plots.differences(
        {"full": {"fill": [0.1, 0.2]}}, {"full": {"fill": [0.1, 0.1]}}, "gain"
    ),
    "kept": lambda: plots.kept(
        {"full": (0.1, 0.3, 0.5), "LoRA": (0.05, 0.6, 0.7)}, "gain", "accuracy"
    ),
    "explained": lambda: plots.explained(
        IMAGES[0], [("ring", 0.75), ("star", 0.25)], IMAGES[0], HEAT[0], 1
    ),
    "confusion": lambda: plots.confusion([[8, 2], [1, 9]], ["ring", "star"]),
    "reliability": lambda: plots.reliability(RELIABILITY),
    "most_wrong": lambda: plots.most_wrong(IMAGES[:1], WRONG, HEAT[:1], ["a", "b"]),
    "matrix": lambda: plots.matrix(
        {"trained": [[0.9, 0.1]], "untrained": [[0.4, 0.5]]}, ["fill"], ["stem", "end"]
    ),
    "filters": lambda: plots.filters(torch.ones(32, 3, 3, 3), "First layer"),
    "neighbours": lambda: plots.neighbours(
        IMAGES[:2], [IMAGES[2:4], IMAGES[4:6]], [[True, False], [True, True]]
    ),
    "stacked": lambda: plots.stacked(
        plots.plain(IMAGES[0], "one shape"), plots.bars(["layer1"], [0.3])
    ),
    "scatter": lambda: plots.scatter2d(
        {"PCA": POINTS, "t-SNE": POINTS}, np.arange(40) % 4, ["a", "b", "c", "d"]
    ),
    "plane": lambda: plots.loss_plane(
        AXIS[None] ** 2 + AXIS[:, None] ** 2,
        AXIS,
        AXIS,
        {"scratch": [[-1, 1], [0, 0]]},
    ),
    "tradeoff": lambda: plots.tradeoff(
        {"whole": (5.0, [0.9, 0.92]), "int8": (1.3, [0.88, 0.9])}, "MB", "accuracy"
    ),
    "rungs": lambda: plots.rungs(
        [{**RUNG, "seed": 0, "accuracy": 0.9}, {**RUNG, "seed": 1, "accuracy": 0.94}]
    ),
    "timeline": lambda: plots.timeline(
        [
            {"name": "forward", "thread": "main", "start": 10.0, "length": 2000.0},
            {"name": "conv2d", "thread": "main", "start": 20.0, "length": 1500.0},
        ]
    ),
}
NUMBERS = {
    "grid": "6 pictures in 2 rows",
    "plain": "one shape",
    "heatmaps": "hottest at the lower right, 0.",
    "overlay": "hottest at the lower right",
    "predictions": "ring 0.75",
    "curves": "from 0.5 at 1 to 0.9 at 10",
    "bars": "layer2 0.8 (0.7 to 0.9)",
    "beside": "scratch from 0.2 at 1 to 0.4 at 5. This run: full 0.92 at 5",
    "differences": "this run: full: fill 0.15 (-0.166 to 0.466). Shipped table: full",
    "kept": "LoRA at 0.05: 0.6 with the old head, 0.7 re-probed",
    "matrix": "By column (stem, end). trained: fill 0.9, 0.1. untrained: fill 0.4, 0.5",
    "explained": "star 0.25. Evidence for star: hottest at the lower right.",
    "confusion": "17 of 20 images are right",
    "reliability": "before: calibration error 0.4 over 2 images",
    "most_wrong": "given b (0.97), true a (0.02), hottest at the lower right",
    "boxes": "1 right (ring 0.80), 0 wrong, 1 missed (star)",
    "scene": "1 right (ring 0.80), 0 wrong, 1 missed (star)",
    "precision_recall": "Marked for frozen: recall 0.5, precision 0.8.",
    "word_map": "2 words",
    "similarities": "on average 0.2",
    "search_results": "time.sleep (0.75)",
    "dots": "mean 0.85 over 2 seeds (0.8 to 0.9), 1.5 seconds",
    "filters": "32 filters of 3 by 3",
    "pareto": "On the front: small (1, 60), large (30, 80). On the shortlist: large.",
    "neighbours": "In all 3 of 4",
    "stacked": "one shape Bars of values: layer1 0.3",
    "scatter": "40 points of 4 classes",
    "plane": "starts where the loss is 2, ends where it is 0, and travels 1.41",
    "tradeoff": "int8 0.89 (0.88 to 0.9) at 1.3. Not beaten in both: int8, whole",
    "rungs": "fp32: 500 images a second, 1 times the first, 25 % of the best (2,000)",
    "timeline": "forward once, 2 ms. Longest within them: conv2d 1.5 ms, in forward",
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_a_small_png_described_by_its_numbers(name):
    figure = FIGURES[name]()
    image = Image.open(io.BytesIO(figure.png))
    assert image.format == "PNG" and image.size == figure.size
    assert image.size[0] <= 720
    assert len(np.unique(np.asarray(image.convert("L")))) > 3
    assert NUMBERS[name] in figure.alt
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_data_give_the_same_bytes(name):
    assert FIGURES[name]().png == FIGURES[name]().png


def test_every_function_of_the_module_is_in_the_list_above():
    functions = {n for n in plots.__all__ if n[0].islower()}
    short = {"image_grid": "grid", "dot_table": "dots", "loss_plane": "plane"}
    short["scatter2d"] = "scatter"
    assert {short.get(n, n) for n in functions - {"described"}} == set(FIGURES)


def test_stacked_figures_keep_their_sizes_and_their_words():
    one, two = plots.plain(IMAGES[0], "one shape"), FIGURES["bars"]()
    both = plots.stacked(one, two)
    assert both.size == (max(one.size[0], two.size[0]), one.size[1] + two.size[1])
    assert both.alt == f"{one.alt} {two.alt}"
    with pytest.raises(CourseError, match="no figure to stack"):
        plots.stacked()


def test_named_places_on_an_axis_are_named_in_the_words_too():
    figure = plots.curves({"probe": ([0, 1], [0.5, 0.9])}, ticks={0: "stem", 1: "end"})
    assert "from 0.5 at stem to 0.9 at end" in figure.alt


def test_other_data_give_another_picture_and_description():
    one, two = (plots.bars(["a"], [v], xlabel="accuracy") for v in (0.5, 0.6))
    assert one.png != two.png and one.alt != two.alt


def test_a_notebook_keeps_the_description_in_the_outputs_metadata():
    figure = FIGURES["bars"]()
    data, metadata = figure._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]) == figure.png
    assert data["text/plain"] == metadata["image/png"]["alt"] == figure.alt


def test_an_exported_page_carries_the_description_as_alt(monkeypatch):
    outputs = []
    monkeypatch.setattr(
        "IPython.display.display",
        lambda data, metadata=None, raw=True: outputs.append(
            nbformat.v4.new_output("display_data", data, metadata=metadata or {})
        ),
    )
    figure = plots.bars(['a "quoted" <name>'], [0.5])
    figure._ipython_display_()
    cells = [
        nbformat.v4.new_markdown_cell("words"),
        nbformat.v4.new_code_cell("", outputs=outputs),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    page, _ = HTMLExporter().from_notebook_node(plots.described(notebook))
    images = BeautifulSoup(page, "html.parser").find_all("img")
    assert [image["alt"] for image in images] == [figure.alt]
    assert images[0]["src"].endswith(base64.b64encode(figure.png).decode())
    assert page.count("0.5.") == 1
    assert len(notebook.cells[1].outputs) == 2


def test_jupyterlab_which_knows_no_alt_gets_the_words_beside_the_picture(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data))
    plots.bars(["a<b"], [0.5])._ipython_display_()
    assert set(shown[0]) == {"image/png", "text/plain"}
    assert "a&lt;b 0.5" in shown[1]["text/html"]


def test_a_picture_may_come_as_pil_tensor_or_array():
    array = np.moveaxis(IMAGES[0].numpy(), 0, 2)
    forms = [IMAGES[0], array, Image.fromarray(array), [IMAGES[0]], IMAGES[:1]]
    assert len({plots.image_grid(form).png for form in forms}) == 1


def test_a_class_is_told_by_marker_and_not_by_colour_alone():
    pairs = {(plots.figure.colour(i), plots.figure.marker(i)) for i in range(40)}
    assert len(pairs) == 40


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (0.98765, "0.988"),
        (1234.5, "1,234"),
        (3e-4, "3.00e-4"),
        (float("nan"), "not a number"),
    ],
)
def test_numbers_are_written_in_three_digits(value, text):
    assert plots.figure.number(value) == text


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: plots.image_grid(IMAGES.float()), "uint8"),
        (lambda: plots.image_grid([]), "empty"),
        (lambda: plots.image_grid(IMAGES, ["one"]), "1 titles for 6"),
        (lambda: plots.curves({"a": ([1, 2], [1])}), "length"),
        (lambda: plots.curves({"a": ([1],)}), "expected"),
        (lambda: plots.bars(["a"], [1, 2]), "1 names for 2"),
        (lambda: plots.filters(np.ones((4, 1, 3, 3))), "RGB"),
        (lambda: plots.scatter2d(POINTS[:3], [0], ["a"]), r"\(1, 2\)"),
        (lambda: plots.loss_plane(np.ones((2, 3)), [1, 2], [1, 2], {}), "row"),
        (lambda: plots.loss_plane(np.full((2, 2), np.nan), [1, 2], [1, 2], {}), "fin"),
        (lambda: plots.dot_table(["a", "b"], [[1]]), "row"),
    ],
)
def test_data_that_do_not_fit_are_refused_in_one_sentence(call, reason):
    with pytest.raises(CourseError, match=reason):
        call()


def test_a_loss_that_diverges_in_places_is_still_drawn():
    loss = AXIS[None] ** 2 + AXIS[:, None] ** 2 + 0.1
    loss[0, 0], loss[1, 1] = np.inf, np.nan
    alt = plots.loss_plane(loss, AXIS, AXIS, {"a": [[0, 0], [0.2, 0.2]]}).alt
    assert "from 0.1" in alt
