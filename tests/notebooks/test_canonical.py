"""The form in which chapters are committed, and what keeps a chapter out of it."""

import json

import canonical
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

PNG = "iVBORw0KGgo="


def write(path, *cells, **metadata):
    nbformat.write(new_notebook(cells=list(cells), metadata=metadata), path)
    return path


def cells_of(path):
    return nbformat.read(path, as_version=4)["cells"]


def stored(text, **data):
    """Return a cell that was executed, in the untidy state that a reader leaves."""
    output = new_output("execute_result", {"text/plain": text, **data})
    output["execution_count"] = 17
    return new_code_cell("1", outputs=[output], execution_count=17)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A chapter that was executed twice, and the bytes of both times."""
    path = tmp_path_factory.mktemp("chapters") / "00_tiny.ipynb"
    show = (
        "from IPython.display import display\n"
        "import ipywidgets, os\n"
        "display(ipywidgets.IntSlider(3))\n"
        "os.environ.get('COURSE_PROFILE', 'quick')"
    )
    write(path, new_markdown_cell("# 00 · Tiny"), new_code_cell("x = 1"))
    book = nbformat.read(path, as_version=4)
    book["cells"] += [new_code_cell(show), new_code_cell("x + 1")]
    nbformat.write(book, path)
    texts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_PROFILE", "full")
        for _ in range(2):
            assert canonical.main([str(path)]) == 0
            texts.append(path.read_text("utf-8"))
    return path, texts


def test_executing_twice_leaves_the_same_bytes(executed):
    first, second = executed[1]
    assert first == second


def test_cells_are_executed_in_order_and_in_the_quick_profile(executed):
    code = [cell for cell in cells_of(executed[0]) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [1, 2, 3]
    assert code[1]["outputs"][-1]["data"]["text/plain"] == "'quick'"
    assert code[2]["outputs"][0]["data"]["text/plain"] == "2"


def test_no_state_of_widgets_and_no_version_is_kept(executed):
    book = json.loads(executed[0].read_text("utf-8"))
    assert "widgets" not in book["metadata"]
    assert book["metadata"]["language_info"] == {"name": "python"}
    assert "model_id" not in executed[1][0]
    assert "IntSlider(value=3)" in executed[1][0]


def test_cleaning_numbers_the_cells_and_keeps_tags(tmp_path):
    first, second = stored("a"), stored("b")
    first["metadata"] = {"tags": ["parameters"], "execution": {"iopub": "…"}}
    first["id"] = "ch07-00"
    path = write(tmp_path / "07_x.ipynb", first, second, widgets={"state": 1})
    assert canonical.main([str(path), "--only-clean"]) == 0
    one, two = cells_of(path)
    assert one["metadata"] == {"tags": ["parameters"]}
    assert [one["execution_count"], two["execution_count"]] == [1, 2]
    assert two["outputs"][0]["execution_count"] == 2
    assert one["id"] == "ch07-00"


def test_a_widget_keeps_its_picture_and_loses_its_view(tmp_path):
    cell = stored("Panel()", **{"image/png": PNG, canonical.VIEW: {"model_id": "1"}})
    path = write(tmp_path / "00_x.ipynb", cell)
    assert canonical.main([str(path), "--only-clean"]) == 0
    assert set(cells_of(path)[0]["outputs"][0]["data"]) == {"text/plain", "image/png"}


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (stored("file /home/ada/x.png"), "path /home/a"),
        (stored("C:\\Users\\ada"), "shows the path"),
        (stored("x" * 400_001), "KB, expected at most 400"),
        (
            new_code_cell(outputs=[new_output("error", ename="KeyError", evalue="x")]),
            "cell 0 ends with KeyError",
        ),
    ],
)
def test_what_no_reader_should_meet_is_refused(tmp_path, capsys, cell, why):
    path = write(tmp_path / "00_x.ipynb", cell)
    before = path.read_bytes()
    assert canonical.main([str(path), "--only-clean"]) == 1
    assert why in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["https://arxiv.org/home/x", "a/tmp/b", "1 /work"])
def test_addresses_and_fractions_are_no_paths(tmp_path, text):
    path = write(tmp_path / "00_x.ipynb", stored(text))
    assert canonical.main([str(path), "--only-clean"]) == 0


def test_a_chapter_that_fails_is_left_as_it_was(tmp_path, capsys):
    path = write(tmp_path / "00_x.ipynb", new_code_cell("raise ValueError('no')"))
    before = path.read_bytes()
    assert canonical.main([str(path)]) == 1
    assert "ValueError: no" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_printed_in_pieces_is_stored_as_one(tmp_path):
    pieces = [
        new_output("stream", name=name, text=text)
        for name, text in [("stdout", "a"), ("stdout", "b\n"), ("stderr", "c")]
    ]
    cell = new_code_cell("1", outputs=[*pieces, new_output("stream", text="d")])
    path = write(tmp_path / "00_tiny.ipynb", cell)
    assert canonical.main(["--only-clean", str(path)]) == 0
    (cell,) = cells_of(path)
    assert [(one["name"], one["text"]) for one in cell["outputs"]] == [
        ("stdout", "ab\n"),
        ("stderr", "c"),
        ("stdout", "d"),
    ]
