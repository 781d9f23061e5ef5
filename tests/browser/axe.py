"""axe-core in a page: what it finds that would keep a reader out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

GRAVE = ("serious", "critical")


def findings(page: Page, within: Sequence[str] = ("html",)) -> list[str]:
    """Return the serious and critical findings, one line each.

    Args:
        page: an open page.
        within: selectors of what is looked at.
    """
    page.evaluate(AXE_SCRIPT)
    options = {"resultTypes": ["violations"]}
    context = {"include": [[selector] for selector in within]}
    result = page.evaluate(
        "([context, options]) => axe.run(context, options)", [context, options]
    )
    grave = [row for row in result["violations"] if row["impact"] in GRAVE]
    return [_line(row, node) for row in grave for node in row["nodes"]]


def _line(row: dict[str, Any], node: dict[str, Any]) -> str:
    checks = [*node["any"], *node["all"], *node["none"]]
    why = checks[0]["message"] if checks else row["help"]
    place = " ".join(map(str, node["target"]))
    return f"{row['id']} at {place}: {node['html'][:120]}: {why}"
