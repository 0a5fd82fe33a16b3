"""Headless Chromium for tests: a page opened from disk, without any connection."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Visit:
    """An open page, and what it asked for and complained of since it was opened."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def find_chromium() -> str:
    """Find the browser; without it the test is skipped, or fails where a browser is required."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        reason = "there is no chromium on this machine"
        if os.environ.get("SURVEY_REQUIRE_BROWSER"):
            pytest.fail(f"{reason}, and SURVEY_REQUIRE_BROWSER asks for one")
        pytest.skip(reason)
    return found


@contextmanager
def open_page(
    path: Path, *, width: int = 1280, height: int = 800, offline: bool = True
) -> Iterator[Visit]:
    """Open a file in a new, empty profile, offline but for tests that serve what is asked for."""
    chromium = find_chromium()
    with TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            args=ARGS,
            offline=offline,
            viewport={"width": width, "height": height},
        )
        yield _visit(context, path)
        context.close()


@contextmanager
def start_browser() -> Iterator[Callable[..., Visit]]:
    """Start a browser for all tests of a file; gives a function that opens files offline in it."""
    chromium = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGS)

        def open_file(
            path: Path, *, width: int = 1280, height: int = 800, zh: bool = True
        ) -> Visit:
            for context in browser.contexts:
                context.close()
            context = browser.new_context(
                offline=True,
                viewport={"width": width, "height": height},
                locale="zh-CN" if zh else "en-US",
            )
            context.set_default_timeout(10_000)
            return _visit(context, path)

        yield open_file
        browser.close()


def _visit(context: BrowserContext, path: Path) -> Visit:
    visit = Visit(context.new_page())
    visit.page.on("request", lambda request: visit.requests.append(request.url))
    visit.page.on("console", lambda line: visit.complaints.append(line.text))
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on("dialog", lambda dialog: visit.complaints.append(dialog.message))
    visit.page.goto(path.as_uri())
    return visit
