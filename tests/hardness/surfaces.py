"""Every surface of the workbook that shows HTML, fed with names that are scripts."""

from html.parser import HTMLParser
from unittest import mock

import IPython.display
import nbformat
import torch

from course import classroom, data, evidence, execution, plots, report, run_report
from course.copies import deck
from course.data.found import Report
from course.data.listing import Row
from course.exercises.outline import by_chapter
from course.progress import Done, Progress, Vote

PWN = "window.pwned=1"
HOSTILE = (
    f"<script>{PWN}</script>",
    f"<img src=x onerror={PWN}>",
    f'"><svg onload={PWN}>',
    f"' onmouseover='{PWN}' x='",
    f"</style></title></textarea><script>{PWN}</script>",
    f"[pwned](javascript:{PWN})",
    f"<a href='javascript:{PWN}'>pwned</a>",
    f"<iframe srcdoc='<script>parent.{PWN}</script>'></iframe>",
    f"--><script>{PWN}</script><!--",
    "{{7*7}} ${pwned} {pwned}",
    f"$(function(){{{PWN}}})$",
    "<meta http-equiv=refresh content='0;url=http://pwned.invalid/'>",
    "![pwned](http://pwned.invalid/x.png)",
)
ALL = " ".join(HOSTILE)
FORBIDDEN = {"iframe", "object", "embed", "base", "form"}


class Seen(HTMLParser):
    """What a browser would make of a page: its elements, and the words it shows."""

    def __init__(self, markup):
        super().__init__(convert_charrefs=True)
        self.harm, self.words, self.within = [], [], []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.within.append(tag)
        if tag in FORBIDDEN:
            self.harm.append(tag)
        for name, value in attributes:
            plain = (value or "").strip().lower()
            self.words.append(value or "")
            if name.startswith("on") or plain.startswith(("javascript:", "vbscript:")):
                self.harm.append(f"{tag} {name}={value}")
            if name == "src" and "pwned.invalid" in plain:  # a link waits for a click
                self.harm.append(f"{tag} {name}={value}")
            if name == "http-equiv" and plain == "refresh":
                self.harm.append("refresh")

    def handle_endtag(self, tag):
        if tag in self.within:
            while self.within.pop() != tag:
                pass

    def handle_data(self, text):
        if self.within and self.within[-1] in ("script", "style"):
            if "pwned" in text:
                self.harm.append(f"{self.within[-1]}: {text[:80]}")
        else:
            self.words.append(text)


def shown(act):
    """Return the bundles that a call displays."""
    found = []
    with mock.patch.object(
        IPython.display, "display", lambda data, **_: found.append(dict(data))
    ):
        act()
    assert found
    return found


def outputs(act):
    """Return what a call displays as outputs of a notebook's cell."""
    return [nbformat.v4.new_output("display_data", data) for data in shown(act)]


def everything():
    """Show all that evidence can show, of names that are scripts."""
    evidence.begin("smoke")
    for name in HOSTILE:
        evidence.record(name, 1.0, name)
        evidence.claim(name, 1.0, at_least=0.5)
        evidence.sentence("The class {name} is {n:.1f}.", name=name, n=1.0)
    evidence.table([{ALL: name} for name in HOSTILE], caption=ALL)
    evidence.summary()
    evidence.begin("quick")


def notebook():
    """Return a notebook whose cells have shown all that evidence can show."""
    figure = plots.bars(list(HOSTILE), [1.0] * len(HOSTILE), title=ALL)
    png, about = figure._repr_mimebundle_()
    picture = nbformat.v4.new_output("display_data", png, metadata=about)
    stream = nbformat.v4.new_output("stream", name="stdout", text=ALL)
    error = nbformat.v4.new_output(
        "error", ename=ALL, evalue=ALL, traceback=[f"{ALL}: {ALL}"]
    )
    found = [*outputs(everything), picture, stream, error]
    cells = [
        nbformat.v4.new_markdown_cell("# A chapter"),
        nbformat.v4.new_code_cell("1", outputs=found),
    ]
    for cell in cells:
        cell["metadata"]["slideshow"] = {"slide_type": "slide"}
    return nbformat.v4.new_notebook(cells=cells)


def task():
    """Return a task whose classes are scripts."""
    count = len(HOSTILE)
    images = torch.zeros(count, 3, 8, 8, dtype=torch.uint8)
    content = images, torch.arange(count), HOSTILE
    kinds = (data.TrainPart, data.ValidationPart, data.TestPart)
    return data.Task(ALL, *(kind(*content) for kind in kinds))


def folder_report():
    """Return what became of a folder whose files and classes are scripts."""
    counts = {p: dict.fromkeys(HOSTILE, 1) for p in ("train", "validation", "test")}
    rows = tuple(Row(name, "left out", f"is {name}") for name in HOSTILE)
    return Report(ALL, counts, rows, (), {}, 1, HOSTILE)


def class_page():
    """Return the page of a class whose learners hand over scripts."""
    module, asked = next(iter(by_chapter().items()))
    learners = []
    for name in HOSTILE:
        done = Done("failed", 2, mistakes={name: 3})
        vote = Vote(name, name, True)
        polls = {(module, name): vote, ("", name): vote}
        progress = Progress({(module, asked[0].name): done, (name, name): done}, polls)
        learners.append(classroom.Learner(name, progress))
    room = classroom.Classroom(tuple(learners), {n: f"is {n}" for n in HOSTILE})
    return classroom.page(room, by_chapter(), names=True)


def report_page():
    """Return a report in which every word is a script."""
    claims = [
        {
            "text": n,
            "value": 1.0,
            "low": 1.0,
            "high": 1.0,
            "n": 1,
            "bound": n,
            "holds": h,
        }
        for n, h in zip(HOSTILE, [True, False] * len(HOSTILE), strict=False)
    ]
    sections = [
        report.the_data(task()),
        report.the_limits(task(), HOSTILE),
        *(report.Section(name, [name, report.Code(name)]) for name in HOSTILE),
        report.Section(
            "rest",
            [
                report.Table([{n: n for n in HOSTILE}], caption=ALL),
                report.Facts({n: n for n in HOSTILE}),
                report.Points(HOSTILE),
                report.Claims(claims),
                plots.bars(["a"], [1.0], title=ALL),
            ],
        ),
    ]
    facts = {name: name for name in HOSTILE}
    return report.page(ALL, sections, lead=ALL, author=ALL, short=facts)


def rows_of_a_run():
    """Return records of a run in which every text is a script."""
    where = {
        "profile": ALL,
        "seed": 0,
        "backbone": ALL,
        "platform": ALL,
        "python": ALL,
        "machine": ALL,
        "cores": 2,
        "packages": {ALL: ALL},
    }
    one = {"value": 1.0, "low": 0.5, "high": 1.5, "n": 3}
    return [
        {
            "chapter": name,
            "status": "failed" if place % 2 else "ok",
            "seconds": 1.0,
            "peak_mb": 10.0,
            "records": [{"name": n, "unit": n, **one} for n in HOSTILE],
            "claims": [
                {"text": n, "bound": n, "holds": False, "margin": -1.0, **one}
                for n in HOSTILE
            ],
            "environment": where,
            "error": name,
            "cell": name,
            "folder": name,
            "reference": None,
            "key": name,
        }
        for place, name in enumerate(HOSTILE)
    ]


def run_page(folder):
    """Return the report of a run whose records are scripts."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.json").write_text(json.dumps(rows_of_a_run()), "utf-8")
    return run_report.write(folder).read_text("utf-8")


def run_index():
    """Return the index of a run whose chapters and errors are scripts."""
    from course import runner

    results = [execution.Result(**row) for row in rows_of_a_run()]
    pages = {f"{row['folder']}/{row['chapter']}.html" for row in rows_of_a_run()}
    return runner._index(results, pages)


def pages(folder):
    """Return every page that stands alone, by name.

    Args:
        folder: where those are made that are written to a file.
    """
    made = notebook()
    titled = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(f"# {HOSTILE[4]}")]
    )
    return {
        "report": report_page(),
        "class": class_page(),
        "report of a run": run_page(folder / "run"),
        "index of a run": run_index(),
        "page of a chapter": execution.page_of(made, ALL),
        "slides": deck.page(made, ALL),
        "slides without a heading": deck.page(
            nbformat.v4.new_notebook(cells=made["cells"][1:]), ALL
        ),
        "title of a chapter": _title(execution.page_of(titled, "x")),
    }


def _title(page):
    """Return the head of a page: its body holds what an author wrote, rightly."""
    return page.partition("<body")[0]
