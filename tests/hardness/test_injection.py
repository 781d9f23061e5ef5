"""Injection: names that are scripts are words wherever the workbook shows HTML."""

import types

import nbformat
import pytest
import torch
from PIL import Image

from course import evidence, execution, plots, run_report, widgets
from course.export import readme
from course.labels import Labelling
from hardness import surfaces
from hardness.surfaces import ALL, HOSTILE, Seen

pytestmark = pytest.mark.filterwarnings("ignore")


def harmless(name, markup, fed=True):
    seen = Seen(markup)
    assert not seen.harm, f"{name}: {seen.harm[:3]}"
    words = " ".join(" ".join(seen.words).split())
    assert not fed or "pwned" in words, f"{name} was not fed"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return surfaces.pages(tmp_path_factory.mktemp("pages"))


def test_no_page_that_stands_alone_takes_a_name_for_markup(pages):
    for name, page in pages.items():
        harmless(name, page, fed=name != "title of a chapter")


def test_no_output_of_evidence_takes_a_name_for_markup():
    for output in surfaces.notebook()["cells"][1]["outputs"]:
        if page := output.get("data", {}).get("text/html"):
            harmless("evidence", "".join(page))


def test_a_sentence_shows_its_values_as_they_are_in_every_page():
    """nbconvert trusts Markdown with the HTML in it, so values are taken literally."""
    names = (*HOSTILE, "`x`", "a[b](c)", "back\\slash")
    cells = []
    for name in names:
        (found,) = surfaces.shown(lambda n=name: evidence.sentence("It is {n}.", n=n))
        assert found["text/plain"] == f"It is {name}."
        cells.append(nbformat.v4.new_code_cell("1"))
        cells[-1]["outputs"] = [nbformat.v4.new_output("display_data", found)]
    page = execution.page_of(nbformat.v4.new_notebook(cells=cells), "x")
    body = page.partition("<body")[2]
    harmless("sentence", body)
    shown = " ".join(" ".join(Seen(body).words).split())
    for name in names:
        if "http" not in name:  # an address becomes a link, which waits for a click
            assert " ".join(name.split()) in shown, name


def test_a_report_of_a_folder_and_of_figures_is_words():
    harmless("folder", surfaces.folder_report()._repr_html_())
    figure = plots.bars(list(HOSTILE), [1.0] * len(HOSTILE), title=ALL)
    for data in surfaces.shown(lambda: figure._ipython_display_()):
        if "text/html" in data:
            harmless("figure", data["text/html"])
    (output,) = plots.described(figure_in_a_notebook(figure))["cells"][0]["outputs"]
    harmless("alt", output["data"]["text/html"])


def figure_in_a_notebook(figure):
    data, about = figure._repr_mimebundle_()
    cell = nbformat.v4.new_code_cell("1")
    cell["outputs"] = [nbformat.v4.new_output("display_data", data, metadata=about)]
    return nbformat.v4.new_notebook(cells=[cell])


def inside(widget):
    """Yield every widget in a widget."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)


def markup_of(widget):
    """Return all that a widget hands to the page as HTML."""
    import ipywidgets

    parts = []
    for one in inside(widget):
        if isinstance(one, ipywidgets.HTML | ipywidgets.HTMLMath):
            parts.append(one.value)
        assert not getattr(one, "description_allow_html", False)
    return "".join(parts)


def hostile_widgets(folder):
    """Return the widgets that show names of others, by name."""
    rows = [{ALL: name, "n": place} for place, name in enumerate(HOSTILE)]
    for place, name in enumerate(HOSTILE):
        plain = name.replace("/", "∕")
        Image.new("RGB", (8, 8)).save(folder / f"{place} {plain}"[:200], "PNG")
        (folder / f"bad {place} {plain}"[:200]).write_bytes(b"no picture")
    found = [types.SimpleNamespace(name=n, line=n, similarity=0.5) for n in HOSTILE]
    picture = torch.zeros(3, 16, 16, dtype=torch.uint8)

    def answered(_):
        return plots.bars(list(HOSTILE), [1.0] * len(HOSTILE), title=ALL)

    made = {
        "ResultsTable": widgets.ResultsTable(rows, ALL),
        "Poll": widgets.Poll(ALL, HOSTILE, {n: n for n in HOSTILE}),
        "Labeller": widgets.Labeller(folder, HOSTILE[:5]),
        "DocSearch": widgets.DocSearch({ALL: lambda _: found}, [ALL], {ALL: found}),
        "ImageClassifier": widgets.ImageClassifier(answered, {ALL: picture}),
    }
    made["Poll"].reveal(HOSTILE[0])
    return made


def test_no_widget_takes_a_name_for_markup(tmp_path):
    made = hostile_widgets(tmp_path)
    marked = []
    for name, widget in made.items():
        harmless(name, markup_of(widget), fed=False)
        bundle = widget._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        marked.append(data.get("text/markdown", ""))
        harmless(name, data.get("text/html", ""), fed=False)
    harmless("a page without a kernel", in_a_page("\n\n".join(marked)))
    everything = "".join(map(markup_of, made.values()))
    assert everything.count("pwned") > 30  # they were fed


def in_a_page(markdown):
    cell = nbformat.v4.new_code_cell("1")
    data = {"text/markdown": markdown, "text/plain": ""}
    cell["outputs"] = [nbformat.v4.new_output("display_data", data)]
    page = execution.page_of(nbformat.v4.new_notebook(cells=[cell]), "x")
    return page.partition("<body")[2]


def test_markdown_for_others_holds_no_markup_of_a_name(tmp_path):
    """A model card on a hub, and the summary of a run in a pull request."""
    card = [readme.paragraphs(name) for name in HOSTILE]
    rows = [f"| {readme.words(name)} |" for name in HOSTILE]
    harmless("model card", in_a_page("\n\n".join([*card, *rows])))
    surfaces.run_page(tmp_path / "run")
    summary = run_report.markdown(tmp_path / "run")
    harmless("pull request", in_a_page(summary), fed=False)
    assert "pwned" in summary


def test_a_name_of_a_picture_is_what_the_labels_hold(tmp_path):
    name = HOSTILE[1].replace("/", "∕") + ".png"
    Image.new("RGB", (8, 8)).save(tmp_path / name)
    now = Labelling(tmp_path, HOSTILE[:2])
    assert now.label(HOSTILE[0]) == name
    again = Labelling(tmp_path, HOSTILE[:2])
    assert again.labels == {name: HOSTILE[0]}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_test_would_see_a_name_that_is_taken_for_markup(name):
    """What the surfaces escape is harm where nothing escapes it."""
    if "<" not in name or name.startswith(("[", "!")):
        pytest.skip("no markup outside an attribute or Markdown")
    quoted = f'<p title="{name}">{name}</p>'
    assert Seen(quoted).harm
