"""One Chromium and one JupyterLab for all browser tests, or a reason to skip them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from browser import lab


@pytest.fixture(scope="package")
def browser():
    """A headless Chromium that reaches loopback only."""
    with sync_playwright() as playwright:
        chromium = lab.find_chromium(playwright)
        if chromium is None:
            names = ", ".join(lab.COMMANDS)
            pytest.skip(f"no Chromium: install one of {names}, or name it in $CHROMIUM")
        started = lab.launch(playwright, chromium)
        yield started
        started.close()


@pytest.fixture(scope="package")
def server(browser, tmp_path_factory):
    """A JupyterLab on a copy of the workbook, in the smoke profile."""
    with lab.serving(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="session")
def artifacts():
    """The folder for screenshots, which are kept to be looked at."""
    return Path(os.environ.get("BROWSER_ARTIFACTS", lab.ROOT / "runs" / "browser"))
