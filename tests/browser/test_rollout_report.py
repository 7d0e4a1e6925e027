"""A rollout's report in a real browser, wide and narrow: drawn, readable, nothing asked of a network. Skipped where no browser is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.rollout_report import rollout_page
from optimizer.jobs.report_rollout import report_rollout
from tests.rollout_world import Behaviour, Clock, World
from tests.stores import new_database

CHROMIUM = os.environ.get("DETENT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WIDTHS = [1280, 390]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

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
"""
OUTSIDE = """
() => [...document.querySelectorAll(".plot span, .plot svg, h1, dd, li, p")]
  .filter((e) => e.getBoundingClientRect().left < 0 || e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.textContent)
"""
SMALL = (
    """() => [...document.querySelectorAll(".plot span, td, li, dd")].filter((e) => parseFloat(getComputedStyle(e).fontSize) < 12).length"""
)
FLAT = """
() => [...document.querySelectorAll("svg path.line")].filter((p) => p.getBBox().width < 300).map((p) => p.closest("figure").textContent)
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One that was promoted, and one that the guardrail on errors took back."""
    folder = tmp_path_factory.mktemp("reports")
    made = {}
    for name, behaviour, scale in (("promoted", Behaviour(success=0.97), 60.0), ("guardrail", Behaviour(errors=0.3), 1.0)):
        world = World(store=new_database(tmp_path_factory.mktemp(name)), clock=Clock(scale=scale))
        world.history()
        world.behaviours[world.candidate] = behaviour
        world.start()
        for _ in range(60):
            if world.rollout.is_active:
                world.climb(1) if scale > 1 else world.requests(30, 30.0)
        made[name] = folder / f"{name}.html"
        made[name].write_text(rollout_page(report_rollout(world.rollout.id, store=world.store, clock=world.clock)), encoding="utf-8")
        world.store.close()
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        started = p.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["promoted", "guardrail"])
def test_the_page_is_readable_at_this_width(browser: Any, reports: dict[str, Path], name: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.goto(reports[name].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width, "the page scrolls sideways"
    assert page.evaluate(OVERLAPPING) == []
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(SMALL) == 0
    assert page.evaluate(FLAT) == [], "a plot without its line"
    assert (asked, faults) == ([reports[name].as_uri()], [])
    page.close()


def test_the_plots_show_a_climb_to_everybody_and_every_games_threshold(browser: Any, reports: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(reports["promoted"].as_uri())
    assert page.locator("figure").count() == 11
    steps = page.locator("path.candidate.line").first.get_attribute("d")
    assert steps.count("V") >= 4, "every step of the ladder is drawn"
    assert page.locator("section:has(h2:text('Evidence, game by game')) path.threshold").count() == 5
    assert page.locator("figcaption .reached").count() >= 3
    assert page.locator("h2:text('What the gates cannot see')").is_visible()
    page.close()
