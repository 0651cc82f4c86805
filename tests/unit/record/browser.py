"""A headless Chromium that talks to nobody but the page under test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str:
    """The browser on the PATH. Raises FileNotFoundError with the remedy: a page untested is no page."""
    for name in _NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    raise FileNotFoundError("no chromium on the PATH: apt-get install chromium")


@contextmanager
def a_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(_QUIET))
        try:
            yield browser
        finally:
            browser.close()
