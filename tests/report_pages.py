"""Reports in a real browser: one Chromium for a module's tests, and what every page must hold at every width."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("DETENT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WIDTHS = [1280, 390]

OVERLAPPING = """
() => {
  const found = [];
  for (const axis of document.querySelectorAll(".plot .x, .plot .y")) {
    const boxes = [...axis.children].map((e) => [e.textContent, e.getBoundingClientRect()]);
    boxes.forEach(([a, r], i) => boxes.slice(i + 1).forEach(([b, s]) => {
      if (r.left < s.right && s.left < r.right && r.top < s.bottom - 2 && s.top < r.bottom - 2) found.push(a + " over " + b);
    }));
  }
  return found;
}
"""  # noqa: E501
OUTSIDE = """
() => [...document.querySelectorAll(".plot span, .plot svg, h1, dd, li, p")]
  .filter((e) => e.getBoundingClientRect().left < 0 || e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.textContent)
"""  # noqa: E501
SMALL = """() => [...document.querySelectorAll(".plot span, td, li, dd")].filter((e) => parseFloat(getComputedStyle(e).fontSize) < 12).length"""  # noqa: E501
FLAT = """
() => [...document.querySelectorAll("svg path.line")].filter((p) => p.getBBox().width < 300).map((p) => p.closest("figure").textContent)
"""  # noqa: E501


@pytest.fixture(scope="module", name="browser")
def browser_of_module() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        started = p.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


def assert_readable(browser: Any, file: Path, width: int) -> None:
    """Nothing beside the page, over something else, too small, empty, loaded from elsewhere or broken."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width, "the page scrolls sideways"
    assert page.evaluate(OVERLAPPING) == []
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(SMALL) == 0
    assert page.evaluate(FLAT) == [], "a plot without its line"
    assert (asked, faults) == ([file.as_uri()], [])
    page.close()
