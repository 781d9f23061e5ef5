"""Who cannot see a picture, its colours or its fine print still reads the page."""

import itertools
import re
from functools import cache
from pathlib import Path

import matplotlib.colors
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from test_plots import FIGURES

from course import evidence, execution, plots
from course.data import shapes

CHAPTERS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb"))
# Words that name what is in a picture; a number does as well.
NAMES = {*shapes.SHAPES, *shapes.FILLS, *shapes.COLOURS, *shapes.BACKGROUNDS}
FILE = re.compile(
    r"\.(png|jpe?g|gif|svg|webp)$|^(image|img|figure|plot)[ _-]?\d*$", re.I
)
LIGHT, DARK = "#ffffff", "#111111"  # what JupyterLab's themes put behind an output
READABLE = 4.5  # to 1, WCAG 2.2 success criterion 1.4.3 for text


def complaint(alt):
    """Say what is wrong with the words for a picture; nothing where they are right."""
    if not alt or not alt.strip():
        return "no alt"
    if FILE.search(alt.strip()):
        return f"a file's name: {alt!r}"
    words = set(re.findall(r"[\w-]+", alt.lower()))
    if len(words) < 3:
        return f"hardly a word: {alt!r}"
    if not re.search(r"\d", alt) and not words & NAMES:
        return f"nothing from the data: {alt!r}"
    return ""


@pytest.mark.parametrize(
    "alt",
    [
        None,
        "",
        "  ",
        "loss.png",
        "figure 3",
        "image_12",
        "a plot",
        "The loss over time",
    ],
)
def test_the_linter_refuses(alt):
    assert complaint(alt)


@pytest.mark.parametrize(
    "alt", ["loss falls from 3.4 at 1 to 0.2 at 900", "a ring, a star and a drop"]
)
def test_the_linter_accepts(alt):
    assert complaint(alt) == ""


@cache
def notebook(path):
    return nbformat.read(path, as_version=4)


def outputs(path):
    for cell in notebook(path)["cells"]:
        yield from cell.get("outputs", [])


def images(markup):
    return BeautifulSoup(markup, "html.parser").find_all("img")


def alts(path):
    """Yield the words for every picture that a stored chapter holds."""
    for cell in notebook(path)["cells"]:
        if cell["cell_type"] == "markdown":
            yield from re.findall(r"!\[([^]]*)\]\(", cell["source"])
            yield from (image.get("alt") for image in images(cell["source"]))
    for output in outputs(path):
        data = output.get("data", {})
        for kind in data:
            if kind.startswith("image/"):
                yield output["metadata"].get(kind, {}).get("alt")
        yield from (image.get("alt") for image in images(data.get("text/html", "")))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_picture_of_a_stored_chapter_is_described_from_its_data(path):
    found = list(alts(path))
    assert found
    assert [complaint(alt) for alt in found if complaint(alt)] == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_picture_of_an_exported_page_is_described_from_its_data(path):
    found = [image.get("alt") for image in images(page(path))]
    assert len(found) == len(list(alts(path)))
    assert [complaint(alt) for alt in found if complaint(alt)] == []


@cache
def page(path):
    return execution.page_of(notebook(path), path.stem)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_an_exported_page_says_its_language_its_title_and_its_headings(path):
    soup = BeautifulSoup(page(path), "html.parser")
    assert soup.html["lang"] == "en"
    title = notebook(path)["cells"][0]["source"].splitlines()[0].lstrip("# ")
    assert soup.title.text.strip() == title
    assert len(soup.find_all("main")) == 1
    levels = [int(h.name[1]) for h in soup.find_all(re.compile(r"^h[1-6]$"))]
    assert levels[0] == 1 and levels.count(1) == 1
    steps = [after - before for before, after in itertools.pairwise(levels)]
    assert max(steps) <= 1, "a level of headings was left out"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_heading_of_a_table_of_ours_says_what_it_heads(path):
    for output in outputs(path):
        markup = output.get("data", {}).get("text/html", "")
        for heading in BeautifulSoup(markup, "html.parser").find_all("th"):
            assert heading.get("scope") in ("col", "row"), heading


# Colour blindness as Machado, Oliveira and Fernandes (2009) model it, severity 1, on
# linear RGB.
VISION = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(  # of sRGB, over its white, D65
    [
        [0.4339538, 0.3762190, 0.1898272],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0177575, 0.1094756, 0.8727669],
    ]
)
# Measured when the palette was chosen: its closest pair is 10.9 apart (tritanopia); the
# red and green of matplotlib's own palette are 4.6 apart (deuteranopia).
APART = 10.0


def linear(colour):
    """Return a colour as linear RGB."""
    values = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(
        values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    )


def lab(colour, vision):
    """Return a colour in CIELAB, as somebody with such eyes sees it."""
    xyz = TO_XYZ @ np.clip(np.asarray(VISION[vision]) @ linear(colour), 0, 1)
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def apart(one, other):
    """Return how far two CIELAB colours look apart: CIEDE2000.

    Written after Sharma, Wu and Dalal (2005), whose numbers a test below compares.
    """
    (l1, a1, b1), (l2, a2, b2) = one, other
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25**7))
    c1, c2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    h1 = np.degrees(np.arctan2(b1, a1 * stretch)) % 360
    h2 = np.degrees(np.arctan2(b2, a2 * stretch)) % 360
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue = h1 + turn / 2 if c1 * c2 else h1 + h2
    light, c = (l1 + l2) / 2, (c1 + c2) / 2
    wave = sum(
        factor * np.cos(np.radians(times * hue + shift))
        for factor, times, shift in (
            (-0.17, 1, -30),
            (0.24, 2, 0),
            (0.32, 3, 6),
            (-0.20, 4, -63),
        )
    )
    d_light = (l2 - l1) / (
        1 + 0.015 * (light - 50) ** 2 / np.hypot(20**0.5, light - 50)
    )
    d_chroma = (c2 - c1) / (1 + 0.045 * c)
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    d_hue /= 1 + 0.015 * c * (1 + wave)
    bend = 60 * np.exp(-(((hue % 360 - 275) / 25) ** 2))
    twist = -2 * np.sqrt(c**7 / (c**7 + 25**7)) * np.sin(np.radians(bend))
    return float(
        np.sqrt(d_light**2 + d_chroma**2 + d_hue**2 + twist * d_chroma * d_hue)
    )


def worst(palette, vision):
    """Return the closest pair of a palette, with its distance first."""
    pairs = itertools.combinations(palette, 2)
    return min((apart(lab(a, vision), lab(b, vision)), a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("one", "other", "distance"),  # rows 1, 7, 17 and 34 of their table
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_distance_of_colours_is_the_published_one(one, other, distance):
    assert apart(one, other) == pytest.approx(distance, abs=1e-4)


@pytest.mark.parametrize("vision", VISION)
def test_the_palette_is_kept_apart_by_every_eye(vision):
    distance, *pair = worst(plots.COLOURS, vision)
    print(f"{vision}: the closest pair is {' and '.join(pair)}, {distance:.1f} apart")
    assert distance >= APART, pair


def test_a_red_and_a_green_would_be_found_out():
    assert worst(("#D62728", "#2CA02C"), "full")[0] > 50
    assert worst(("#D62728", "#2CA02C"), "deuteranopia")[0] < APART


def contrast(one, other):
    """Return the contrast of two colours as WCAG defines it, from 1 to 21."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    low, high = sorted(weights @ linear(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def faint(markup):
    """Return the coloured texts of some HTML that are hard to read in a theme."""
    found = []
    for node in BeautifulSoup(markup, "html.parser").find_all(style=True):
        style = dict(re.findall(r"([\w-]+)\s*:\s*([^;]+)", node["style"]))
        ground = style.get("background-color")
        for behind in [ground] if ground else [LIGHT, DARK]:
            if "color" in style and contrast(style["color"], behind) < READABLE:
                found.append((node.get_text()[:30], style["color"], behind))
    return found


def test_faint_text_would_be_found_out():
    assert faint('<b style="color:#b84700">✗</b>') == [("✗", "#b84700", DARK)]
    assert faint('<b style="color:#fff;background-color:#E69F00">✓</b>')
    assert not faint('<b style="color:#fff; background-color:#00735c">✓</b>')


@pytest.mark.parametrize("bound", [0.5, 0.95])
def test_a_claim_can_be_read_on_light_and_dark(bound, monkeypatch):
    shown = []
    monkeypatch.setattr(evidence, "_show", shown.append)
    evidence.begin("smoke")
    evidence.claim("reaches its bound", [0.9, 0.91, 0.92], at_least=bound)
    assert "style=" in shown[0]["text/html"]
    assert faint(shown[0]["text/html"]) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_coloured_words_of_a_stored_chapter_can_be_read_on_light_and_dark(path):
    for output in outputs(path):
        assert faint(output.get("data", {}).get("text/html", "")) == []


@pytest.mark.parametrize("name", FIGURES)
def test_the_words_in_a_figure_stand_out_from_their_white(name, monkeypatch):
    found, draw = [], FigureCanvasAgg.draw

    def watched(canvas):
        draw(canvas)
        found.extend(canvas.figure.findobj(Text))

    monkeypatch.setattr(FigureCanvasAgg, "draw", watched)
    FIGURES[name]()
    for text in found:
        if text.get_visible() and text.get_text().strip():
            ratio = contrast(text.get_color(), "white")
            assert ratio >= READABLE, (text.get_text(), text.get_color())
