"""A Chromium to open reports in, where this machine has one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader")

DRAWN = "() => [...document.querySelectorAll('[data-figure]')].every((place) => place.querySelector('.main-svg'))"
"""Has every figure been drawn?"""

SCROLL = """async () => {
    for (const place of document.querySelectorAll("[data-figure]")) {
        place.scrollIntoView({ behavior: "instant" });
        const frame = () => new Promise((then) => requestAnimationFrame(then));
        for (let left = 2000; left && !place.querySelector(".main-svg"); left--) await frame();
    }
}"""
"""Stays at each figure until it is drawn: on a busy machine a place that is passed quickly is never seen."""


def installed() -> str:
    """Path of a Chromium; skips the test, with the reason, where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    return found


@dataclass
class Opened:
    """A page, and what went wrong on it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """Everything that was asked for, beside the page itself."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; skips the test, with the reason, where there is none or nothing to drive it with."""
    path = installed()
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, path: Path, **context: Any) -> Iterator[Opened]:
    """`path` in a new window; `context` as in playwright's `new_context`."""
    window = browser.new_context(**({"viewport": {"width": 1150, "height": 900}} | context))
    found = Opened(window.new_page())
    found.page.on("console", lambda m: found.errors.append(m.text) if m.type == "error" else None)
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))

    def dismissed(dialog: Any) -> None:
        found.errors.append(dialog.message)
        dialog.dismiss()

    found.page.on("dialog", dismissed)
    url = path.resolve().as_uri()
    found.page.on(
        "request",
        lambda request: found.requests.append(request.url) if not request.url.startswith((url, "data:")) else None,
    )
    found.page.goto(url)
    yield found
    window.close()


def draw_all(page: Any) -> None:
    """Scroll through the page, as a reader does, until every figure is drawn."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.evaluate(SCROLL)
    page.wait_for_function(DRAWN)
