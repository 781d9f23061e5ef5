"""The house is kept: who imports whom, short functions, docstrings, sound chapters."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "course").rglob("*.py"))
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FLOORS = [
    {"errors"},
    {"arguments"},
    {"yardstick"},
    {"progress", "syllabus", "fetch", "references", "engines", "shelf", "places"},
    {"data", "labels", "families", "models", "pretrained", "preparation"},
    {"training", "parallel"},
    {
        "frozen",
        "lora",
        "comparison",
        "curves",
        "extraction",
        "probing",
        "strategies",
        "explain",
        "explained",
        "boxes",
        "detection",
        "coco",
        "located",
        "encoder",
        "masking",
        "words",
        "faithfulness",
        "cost",
        "calibration",
        "diagnosis",
        "export",
        "compress",
        "forgetting",
    },
    {
        "transfer",
        "pretraining",
        "choose",
        "sweep",
        "ladder",
        "zoo",
        "shortlist",
        "bag_of_words",
        "search",
        "sentence_encoder",
        "sentences",
        "language",
    },
    {"plans"},
    {"plots", "evidence", "report"},
    {"widgets", "exercises"},
    {"execution", "runs", "drift", "baselines", "run_report"},
    {"runner", "copies", "classroom", "prefetch", "doctor", "caches"},
    {"cli_run", "cli_compare"},
    {"cli"},
]
LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}


def room(path):
    parts = path.relative_to(ROOT / "course").with_suffix("").parts
    return parts[0]


def imports(tree):
    """Yield the names of the modules that a file imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            if node.module == "course":
                yield from (f"course.{alias.name}" for alias in node.names)


def functions(tree):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def parse(path):
    return ast.parse(path.read_text("utf-8"))


@pytest.mark.parametrize("path", PACKAGE, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downwards(path):
    here = room(path)
    for name in imports(parse(path)):
        parts = name.split(".")
        if parts[0] == "course" and len(parts) > 1 and parts[1] in LEVEL:
            assert here != "__init__", f"course imports {name}"
            assert LEVEL[parts[1]] <= LEVEL[here], f"{here} imports {name}"
        if parts[0] == "ipywidgets":
            assert here == "widgets"
        if name.startswith("matplotlib.pyplot"):
            assert here in ("plots", "widgets")
        if parts[0] == "argparse":
            assert here.startswith("cli")


@pytest.mark.parametrize("path", PACKAGE, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_are_short_typed_and_documented(path):
    tree = parse(path)
    assert ast.get_docstring(tree), "a module without a docstring"
    for node in functions(tree):
        first = node.body[0]
        documented = isinstance(first, ast.Expr) and isinstance(
            first.value, ast.Constant
        )
        start = first.end_lineno if documented else node.lineno
        assert node.end_lineno - start <= 40, f"{node.name} is too long"
        assert node.returns is not None, f"{node.name} has no return type"


def test_half_of_all_functions_have_ten_lines_or_fewer():
    lengths = []
    for path in PACKAGE:
        for node in functions(parse(path)):
            first = node.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(
                first.value, ast.Constant
            )
            start = first.end_lineno if documented else node.lineno
            lengths.append(node.end_lineno - start)
    assert sorted(lengths)[len(lengths) // 2] <= 10


def test_every_public_name_is_documented():
    for path in PACKAGE:
        for node in parse(path).body:
            named = isinstance(node, ast.ClassDef | ast.FunctionDef)
            if named and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_the_first_eight_chapters_are_there():
    numbers = [path.name[:2] for path in CHAPTERS]
    assert numbers[:8] == [f"{n:02}" for n in range(8)]


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return request.param, json.loads(request.param.read_text("utf-8"))


def source(cell):
    return "".join(cell["source"])


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell["outputs"]]


def test_a_chapter_opens_with_its_title_and_parameters(chapter):
    _, notebook = chapter
    assert source(notebook["cells"][0]).startswith("# ")
    second = code_cells(notebook)[1]
    assert second["metadata"].get("tags") == ["parameters"]
    names = re.findall(r"^(\w+) = ", source(second), re.M)
    assert names[:3] == ["PROFILE", "SEED", "DEVICE"]
    assert 'os.environ.get("COURSE_PROFILE", "quick")' in source(second)


def test_cells_are_short_and_install_nothing(chapter):
    _, notebook = chapter
    lengths = [len(source(cell).splitlines()) for cell in code_cells(notebook)]
    assert max(lengths) <= 25
    assert sorted(lengths)[len(lengths) // 2] <= 12
    for cell in code_cells(notebook):
        assert not re.search(r"^\s*[!%]", source(cell), re.M), source(cell)


def test_a_chapter_was_executed_whole_and_without_an_error(chapter):
    _, notebook = chapter
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert not [o for o in outputs(notebook) if o["output_type"] == "error"]
    assert "widgets" not in notebook["metadata"]


def test_a_chapter_is_small_and_names_no_place_of_a_machine(chapter):
    path, notebook = chapter
    assert path.stat().st_size <= 400_000
    text = json.dumps([source(c) for c in notebook["cells"]])
    text += json.dumps(
        [
            {k: v for k, v in o.get("data", {}).items() if k != "image/png"}
            for o in outputs(notebook)
        ]
    ) + json.dumps([o.get("text", "") for o in outputs(notebook)])
    assert not re.search(r"(?<![\w.])/(home|root|Users|tmp|work)/", text)
    assert "Traceback" not in text


def test_every_figure_has_an_alt_text_with_words(chapter):
    _, notebook = chapter
    pictures = [o for o in outputs(notebook) if "image/png" in o.get("data", {})]
    assert pictures
    for output in pictures:
        alt = output["metadata"].get("image/png", {}).get("alt", "")
        assert len(alt) > 20, output["data"].get("text/plain")


def test_a_chapter_has_exercises_a_widget_a_poll_and_claims(chapter):
    _, notebook = chapter
    text = "\n".join(source(cell) for cell in code_cells(notebook))
    assert len(re.findall(r"\.check\(", text)) >= 3
    assert text.count("widgets.Poll(") >= 1
    assert len(re.findall(r"widgets\.(?!Poll|ExercisePanel)[A-Z]\w+\(", text)) >= 1
    assert text.count("widgets.ExercisePanel(") == 1
    assert text.count("evidence.claim(") >= 2
    assert "evidence.summary()" in text


def test_every_option_of_a_poll_is_explained_and_not_before_the_prediction(chapter):
    _, notebook = chapter
    for cell in code_cells(notebook):
        for call in ast.walk(ast.parse(source(cell))):
            named = isinstance(call, ast.Call) and ast.unparse(call.func)
            if named == "widgets.Poll":
                _, options = map(ast.literal_eval, call.args)
                assert all(len(text) > 20 for text in options.values())
                assert cell["metadata"].get("jupyter") == {"source_hidden": True}


def test_enough_outputs_are_compared(chapter):
    _, notebook = chapter
    compared = [
        cell
        for cell in code_cells(notebook)
        if cell["outputs"]
        and "nbval-ignore-output" not in cell["metadata"].get("tags", [])
    ]
    assert len(compared) >= 5


def test_links_to_chapters_lead_somewhere(chapter):
    path, notebook = chapter
    for cell in notebook["cells"]:
        for link in re.findall(r"\]\(([^)#:]+\.ipynb)", source(cell)):
            assert (path.parent / link).is_file(), link
