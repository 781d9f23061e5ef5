"""Notes for the teacher, in cells of their own: at exercises, at polls, on top."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from nbformat.v4 import new_markdown_cell

from course.copies.chapters import Task
from course.copies.timing import Section

NO_PREDICTION = "You made no prediction. The answer: "


def add(
    notebook: Any, tasks: Sequence[Task], sections: Sequence[Section], measured: str
) -> None:
    """Insert a note on top, before each answer cell and after each poll, in place.

    Args:
        notebook: as nbformat reads it.
        tasks: its exercises.
        sections: with seconds where they were measured.
        measured: where they were, in words.
    """
    answers = {task.answer: task for task in tasks}
    cells: list[Any] = []
    for index, cell in enumerate(notebook["cells"]):
        if index in answers:
            cells.append(_cell(cell, of_exercise(answers[index])))
        cells.append(cell)
        if index == 0:
            cells.append(_cell(cell, overview(tasks, sections, measured)))
        if note := of_poll(notebook, index):
            cells.append(_cell(cell, note))
    notebook["cells"] = cells


def _cell(beside: Any, text: str) -> Any:
    cell = new_markdown_cell(text, metadata={"tags": ["teacher"]})
    cell["id"] = f"{beside['id'][:50]}-teacher"
    return cell


def overview(tasks: Sequence[Task], sections: Sequence[Section], measured: str) -> str:
    """Return the note on top: minutes of the exercises, seconds of the sections."""
    minutes = sum(task.exercise.minutes for task in tasks)
    lines = [
        f"> **For the teacher.** {len(tasks)} exercises, {minutes} minutes in all. "
        "This copy holds the reference answers."
    ]
    if measured:
        lines += [">", f"> Computing, as measured ({measured}):", ">"]
        lines += ["> | section | seconds |", "> |---|---|"]
        lines += [
            f"> | {_in_table(section.title)} | {section.seconds or 0:.1f} |"
            for section in sections
        ]
    return "\n".join(lines)


def of_exercise(task: Task) -> str:
    """Return the note on an exercise: what it is, and what readers get wrong."""
    exercise = task.exercise
    title = exercise.title.rstrip(".?!")
    head = f"> **For the teacher · {title}.** {exercise.kind.capitalize()}"
    lines = [f"{head}; {exercise.about}."]
    wrong = [(one.name, one.cause) for one in (*exercise.mistakes, *exercise.rules)]
    if wrong:
        lines += [">", "> | typical wrong answer | what the check says of it |"]
        lines += ["> |---|---|"]
    lines += [f"> | {_in_table(name)} | {_in_table(says)} |" for name, says in wrong]
    return "\n".join(lines)


def _in_table(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def of_poll(notebook: Any, index: int) -> str:
    """Return the note on the poll that a cell asks: why which option; "" for no poll.

    Args:
        notebook: as nbformat reads it; a later cell may reveal the answer.
        index: of the cell.
    """
    cell = notebook["cells"][index]
    asked = _poll(cell["source"]) if cell["cell_type"] == "code" else None
    if asked is None:
        return ""
    variable, options = asked
    lines = ["> **For the teacher · the question.**", ">"]
    for option, explanation in options.items():
        lines.append(f"> - *{option}*" + (f": {explanation}" if explanation else ""))
    told = next(_revealed(notebook["cells"][index:], variable), "")
    lines += [">", f"> In the stored run: {told}"] if told else []
    return "\n".join(lines)


def _poll(source: str) -> tuple[str, dict[str, str]] | None:
    """Return the variable of a poll, and its options with their explanations."""
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            call, target = node.value, node.targets[0]
            called = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if called == "Poll" and isinstance(target, ast.Name):
                return target.id, _options(call)
    return None


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])


def _options(call: ast.Call) -> dict[str, str]:
    """Return what is written out in a poll's call; nothing where it is computed."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    places = dict(zip(("question", "options", "explanations"), call.args, strict=False))
    given = {**places, **named}
    try:
        options = ast.literal_eval(given["options"])
        told = options if isinstance(options, dict) else {}
        if "explanations" in given:
            told = ast.literal_eval(given["explanations"]) or {}
    except (KeyError, ValueError):
        return {}
    return {str(option): str(told.get(option, "")) for option in options}


def _revealed(cells: Sequence[Any], variable: str) -> Iterator[str]:
    for cell in cells:
        if f"{variable}.reveal(" in cell["source"]:
            for output in cell.get("outputs", []):
                text = output.get("data", {}).get("text/markdown", "")
                if text:
                    yield text.partition("\n")[0].removeprefix(NO_PREDICTION)
