"""The report: one HTML file that says what was tried, what came out, and its limits.

It holds its figures and fetches nothing, so it can be handed in, sent or printed. A
page is a list of sections; the functions from `the_data` to `made_with` make those of
chapter 10 out of the chapter's results.
"""

from __future__ import annotations

import base64
import html
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import singledispatch
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import course
from course import diagnosis, evidence, plots
from course.arguments import kinds_checked
from course.calibration import Reliability, said
from course.cost import MB
from course.data.found import SHOWN, Folder, Report
from course.data.tasks import Task
from course.errors import CourseError
from course.models import Model, write_whole
from course.plots import Figure
from course.training import History, Recipe

if TYPE_CHECKING:
    from course.export import Export

MOST_LISTED = 50  # files of a folder that are named one by one
MEANT = {
    "card.json": "what is known of the model, for programs",
    "model.safetensors": "its weights",
    "README.md": "the model card",
    "model.pt2": "the network for torch.export.load",
    "model.onnx": "the network for onnxruntime, in many languages",
    "predict.py": "names what photographs show",
    "network.py": "builds the network for predict.py",
    "requirements.txt": "what predict.py needs",
}
POINTS = 40  # of a training curve
FEW = 30  # images, below which the share of one class says little
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "pillow")
# What could not be shown, or would turn the text around it: control characters, halves
# of characters (from a file's name in another encoding), changes of direction.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        rows: as `evidence.table` takes them.
        columns: which columns, in order; None for those of the first row.
        caption: one line above it.
    """

    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[str] | None = None
    caption: str = ""


@dataclass(frozen=True)
class Facts:
    """A few things and what they are: name to a text or a number."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Lines to be typed or run."""

    text: str


@dataclass(frozen=True)
class Claims:
    """Lessons with their bounds, as `evidence.read` returns them."""

    rows: Sequence[Mapping[str, Any]]


Block = str | Figure | Table | Facts | Points | Code | Claims
"""What a section may hold; a text is one paragraph or more, with empty lines between
them, and is shown as it stands: no Markdown, no HTML."""


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own."""

    title: str
    blocks: Sequence[Block]


@kinds_checked
def write(
    path: str | Path,
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    author: str = "",
    short: Mapping[str, Any] | None = None,
) -> Path:
    """Write a report, whole or not at all, and return where it is.

    Args:
        path: an ``.html`` file; one that is there is replaced.
        title: of the page.
        sections: in order.
        lead: what it found, in a sentence or two.
        author: who hands it in.
        short: the few figures to see first, name to value.

    Raises:
        CourseError: the file cannot be written, there is no title or no section, or a
            section holds what cannot be shown.
    """
    place = Path(path)
    if place.suffix.lower() not in (".html", ".htm"):
        raise CourseError(
            f"The report was to be written to {place.name!r}; expected a name that "
            "ends in .html, so that a browser opens it."
        )
    text = page(title, sections, lead=lead, author=author, short=short)
    try:
        write_whole(place, lambda part: part.write_text(text, "utf-8"))
    except OSError as error:
        raise CourseError(
            f"The report could not be written to {place} ({error.strerror}); name "
            "another file."
        ) from error
    return place


def page(
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    author: str = "",
    short: Mapping[str, Any] | None = None,
) -> str:
    """Return a report as HTML that fetches nothing; see `write` for what it takes."""
    if not title.strip() or not sections:
        raise CourseError(
            "A report needs a title and at least one section; pass "
            'report.write("report.html", "What it is about", [report.the_data(task)]).'
        )
    style = files("course").joinpath("report.css").read_text("utf-8")
    body = "".join(
        f'<section><h2 id="part-{number}">{_text(section.title)}</h2>'
        f"{''.join(_html(block, section.title) for block in section.blocks)}</section>"
        for number, section in enumerate(sections, start=1)
    )
    shown = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{_text(title)}</title><style>{style}</style></head><body>"
        f"{_header(title, lead, author, short)}{_contents(sections)}"
        f"<main>{body}</main>{_footer()}</body></html>\n"
    )
    return UNSEEN.sub("�", shown)


def _header(title: str, lead: str, author: str, short: Mapping[str, Any] | None) -> str:
    day = date.today().strftime("%d %B %Y").lstrip("0")
    about = f"{author}, {day}" if author else day
    return (
        f'<header><h1>{_text(title)}</h1><p class="about">{_text(about)}</p>'
        f"{_paragraphs(lead)}{_html(Facts(short)) if short else ''}</header>"
    )


def _contents(sections: Sequence[Section]) -> str:
    items = "".join(
        f'<li><a href="#part-{number}">{_text(section.title)}</a></li>'
        for number, section in enumerate(sections, start=1)
    )
    return f'<nav aria-label="Contents"><ol>{items}</ol></nav>'


def _footer() -> str:
    return (
        "<footer><p>Made with the workbook on pretrained models, version "
        f"{_text(course.__version__)}.</p></footer>"
    )


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)


# What a section holds ------------------------------------------------------------


@singledispatch
def _html(block: Any, section: str = "") -> str:
    raise CourseError(
        f"A {type(block).__name__} cannot be shown in a report; expected a text, a "
        "figure of course.plots, or report.Table, Facts, Points, Code or Claims."
    )


@_html.register
def _paragraphs(block: str, section: str = "") -> str:
    parts = re.split(r"\n\s*\n", block.strip())
    return "".join(f"<p>{_text(part)}</p>" for part in parts if part)


@_html.register
def _image(block: Figure, section: str = "") -> str:
    wide, high = block.size
    address = "data:image/png;base64," + base64.b64encode(block.png).decode()
    return (
        f'<figure><img src="{address}" alt="{_text(block.alt)}" width="{wide}" '
        f'height="{high}"></figure>'
    )


@_html.register
def _table(block: Table, section: str = "") -> str:
    if not block.rows:
        return ""
    markup = evidence.table_bundle(
        block.rows, block.columns, block.caption, right=True
    )["text/html"]
    name = _text(block.caption or section)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{name}">'
        f"{markup}</div>"
    )


@_html.register
def _facts(block: Facts, section: str = "") -> str:
    items = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(evidence.cell(value))}</dd></div>"
        for name, value in block.values.items()
    )
    return f"<dl>{items}</dl>" if items else ""


@_html.register
def _points(block: Points, section: str = "") -> str:
    items = "".join(f"<li>{_text(item)}</li>" for item in block.items)
    return f"<ul>{items}</ul>" if items else ""


@_html.register
def _code(block: Code, section: str = "") -> str:
    return f"<pre><code>{_text(block.text)}</code></pre>"


@_html.register
def _claims(block: Claims, section: str = "") -> str:
    items = "".join(_claim(row) for row in block.rows)
    return f'<ul class="claims">{items}</ul>' if items else ""


def _claim(row: Mapping[str, Any]) -> str:
    kind, words = ("holds", "✓ holds") if row["holds"] else ("fails", "✗ does not hold")
    return (
        f'<li><b class="{kind}">{words}</b> {_text(row["text"])} '
        f"({_text(_measured(row))}, expected {_text(row['bound'])})</li>"
    )


def _measured(row: Mapping[str, Any]) -> str:
    """Word the value of a record or a claim with its interval, as its cell did."""
    ends = (row["value"], row["low"], row["high"])
    span = evidence.Interval(*(np.nan if v is None else v for v in ends), row["n"])
    return f"{evidence.cell(span)} {row.get('unit', '')}".rstrip()


# The sections of chapter 10 ----------------------------------------------------------


def the_data(source: Task | Folder, examples: Figure | None = None) -> Section:
    """Say what the data were: images a class and part, and files that were left out.

    Args:
        source: a task, or what `data.folder` returned.
        examples: a figure of a few images.
    """
    task = source.task if isinstance(source, Folder) else source
    parts = (task.train, task.validation, task.test)
    counts = [part.labels.bincount(minlength=len(task.class_names)) for part in parts]
    rows = [
        {"class": name, "train": a, "validation": b, "test": c}
        for name, a, b, c in zip(
            task.class_names, *(count.tolist() for count in counts), strict=True
        )
    ]
    total = [int(count.sum()) for count in counts]
    text = (
        f"The task “{task.name}”: {sum(total):,} images of {len(rows)} classes. "
        f"{total[0]:,} to learn from, {total[1]:,} to choose with, and {total[2]:,} "
        "that were kept for the one test at the end."
    )
    found = _files(source.report) if isinstance(source, Folder) else []
    table = Table(rows, caption="Images of each class")
    return Section("The data", [text, *_kept(examples), table, *found])


def _kept(*blocks: Block | None) -> list[Block]:
    return [block for block in blocks if block is not None]


def _files(found: Report) -> list[Block]:
    """Say how a folder was read; where its lines name only a few files, name them."""
    _, *lines = found.lines()
    rows = [
        {"file": row.file, "became": row.done, "since it": row.reason}
        for row in found.rows
    ]
    more = len(rows) - MOST_LISTED
    rest = f"And {more:,} more files." if more > 0 else None
    listed = [Table(rows[:MOST_LISTED], caption="Files with a remark")]
    return [Points(lines), *(listed if len(rows) > SHOWN else []), *_kept(rest)]


def the_choice(
    considered: Sequence[Mapping[str, Any]], chosen: str, why: str, model: Model
) -> Section:
    """Say which models were considered, which was taken, and where it comes from.

    Args:
        considered: a row a model, with what was compared.
        chosen: the name of the one that was taken.
        why: the reason, in a sentence.
        model: its card says where its weights come from.
    """
    text = f"{chosen} was taken. {why}".strip()
    table = Table(considered, caption="What was considered, on validation data")
    return Section("The choice of a model", [table, text, _where(model.card)])


def _where(card: Mapping[str, Any]) -> str:
    """Say where the weights come from, as far as their card knows."""
    known = {"Its weights": "name", "Trained on": "data", "From": "source"}
    lines = [f"{name}: {card[key]}." for name, key in known.items() if card.get(key)]
    if card.get("data") or card.get("source"):
        licence = card.get("licence") or card.get("license") or "not stated"
        lines.append(f"Licence: {licence}.")
    return " ".join(lines) or "Where its weights come from is not known."


def the_training(history: History, recipe: Recipe) -> Section:
    """Show how the fine-tuning went: the loss over the steps, and what it took.

    Args:
        history: of the training.
        recipe: what it was to be.
    """
    losses = history.column("loss")
    made = (
        f"{len(losses):,} of {recipe.steps:,} steps"
        if len(losses) < recipe.steps
        else f"{len(losses):,} steps"
    )
    text = (
        f"{made} of {recipe.batch} images in {history.seconds:.0f} s. The learning "
        f"rate rose to {recipe.rate:g} and fell to zero; augmentation: "
        f"{recipe.augment}. The last step counts, not the best."
    )
    return Section("Fine-tuning", [text, *_kept(_curve(losses))])


def _curve(losses: Sequence[float]) -> Figure | None:
    """Draw the means of the loss over at most `POINTS` stretches of steps."""
    if not len(losses):
        return None
    stretches = np.array_split(np.asarray(losses, float), min(POINTS, len(losses)))
    ends = np.cumsum([len(stretch) for stretch in stretches])
    means = [stretch.mean() for stretch in stretches]
    return plots.curves({"loss": (ends, means)}, "step", "loss on the batches")


def the_mistakes(
    matrix: Any, names: Sequence[str], most_wrong: Figure | None = None
) -> Section:
    """Show what is confused on validation data, class by class and image by image.

    Args:
        matrix: from `diagnosis.confusion`.
        names: of the classes.
        most_wrong: from `plots.most_wrong`.
    """
    scores = [score.row() for score in diagnosis.per_class(matrix, names)]
    blocks = [
        f"On validation data, {diagnosis.in_words(matrix, names)}",
        plots.confusion(matrix, names),
        Table(scores, caption="Each class on its own"),
    ]
    if most_wrong is not None:
        blocks += [
            "These were the surest of the wrong answers. Beside each picture is where "
            "the network looked for the class that it gave.",
            most_wrong,
        ]
    return Section("What goes wrong", blocks)


def the_calibration(
    temperature: float,
    before: Reliability,
    after: Reliability,
    part: str = "validation",
) -> Section:
    """Say whether the probabilities can be trusted, before and after a temperature.

    Args:
        temperature: from `calibration.temperature`.
        before: from `calibration.reliability`, without it.
        after: the same with it.
        part: on which part both were measured.
    """
    text = (
        f"{said(temperature)} It was found on validation data and changes no answer. "
        f"On the {part} part, the mean gap between probability and accuracy went from "
        f"{before.error:.3f} to {after.error:.3f}."
    )
    figure = plots.reliability(before, after)
    return Section("Can its probabilities be trusted?", [text, figure])


def the_test(right: int, n: int, text: str = "") -> Section:
    """State the one figure on the test part, with its interval.

    Args:
        right: test images that are right.
        n: test images.
        text: what else there is to say of it, such as the figure of a baseline.
    """
    share = diagnosis.share(right, n)
    line = (
        f"{right:,} of {n:,} test images are right: {share.value:.3f}. With as many "
        f"other images of the same kind, the true share lies between {share.low:.3f} "
        f"and {share.high:.3f} ({diagnosis.LEVEL:.0%} interval, Wilson). The test part "
        "was looked at once, after everything had been chosen."
    )
    return Section("The test", [line, *([text] if text else [])])


def the_cost(rows: Sequence[Mapping[str, Any]], text: str = "") -> Section:
    """Show what the model costs, such as the rows of `cost.Cost.row`.

    Args:
        rows: a row a model or form of it.
        text: on which machine, say.
    """
    return Section("What it costs", [*([text] if text else []), Table(rows)])


def the_limits(task: Task, own: Sequence[str] = ()) -> Section:
    """List what the model is not good for: what follows from the data, and your own.

    Args:
        task: the task.
        own: sentences of those who know the data.
    """
    names = task.class_names
    counts = task.test.labels.bincount(minlength=len(names))
    few = [name for name, n in zip(names, counts.tolist(), strict=True) if n < FEW]
    points = [
        f"It knows {len(names)} classes and gives one of them to any picture, also to "
        "one of something else.",
        "Its figures are those of pictures like these. Another camera, place or season "
        "is another task, to be tested anew.",
    ]
    if few:
        points.append(
            f"Fewer than {FEW} test images show {plots.figure.listed(few)}: of "
            "single classes the test says little."
        )
    return Section("Limits", [Points([*points, *own])])


def the_use(written: Export, text: str = "") -> Section:
    """Say what was exported and how to use it without the workbook.

    Args:
        written: what `export.write` returned.
        text: what else to know.
    """
    rows = [
        {"file": name, "MB": f"{size / MB:.2f}", "what it is": MEANT.get(name, "")}
        for name, size in written.files.items()
    ]
    command = (
        f"cd {written.folder.name}\n"
        "pip install -r requirements.txt\n"
        "python predict.py photo.jpg"
    )
    apart = max(written.differences.values(), default=0.0)
    same = (
        "Each copy of the network was opened again; its logits were at most "
        f"{apart:.0e} from the model's."
    )
    notes = [text, *written.notes] if text else list(written.notes)
    return Section("How to use it", [Table(rows), same, Code(command), *notes])


def what_was_measured() -> Section:
    """List everything that the running chapter has recorded and claimed so far."""
    records, claims = evidence.so_far()
    rows = [{"what": r["name"], "value": _measured(r)} for r in records]
    return Section("Everything that was measured", [Table(rows), Claims(claims)])


def made_with(seed: int | None = None) -> Section:
    """Say when and with what it was made, so that it can be made again.

    Args:
        seed: of the chapter.
    """
    facts = {"date": date.today().isoformat(), "Python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            facts[package] = metadata.version(package)
    facts["machine"] = f"{platform.system()} {platform.machine()}"
    if seed is not None:
        facts["seed"] = str(seed)
    return Section("Made with", [Facts(facts)])
