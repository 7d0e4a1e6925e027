"""A rollout's report in a real browser, wide and narrow: drawn, readable, nothing asked of a network.

Skipped where no browser is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.reports.rollout_report import rollout_page
from optimizer.jobs.rollouts.report_rollout import report_rollout
from tests.clock import Clock
from tests.report_pages import CHROMIUM, WIDTHS, assert_readable, browser_of_module
from tests.rollout_world import Behaviour, World
from tests.stores import new_database

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

browser = browser_of_module


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One that was promoted, and one that the guardrail on errors took back."""
    folder = tmp_path_factory.mktemp("reports")
    made = {}
    for name, behaviour, scale in (
        ("promoted", Behaviour(success=0.97), 60.0),
        ("guardrail", Behaviour(errors=0.3), 1.0),
    ):
        world = World(store=new_database(tmp_path_factory.mktemp(name)), clock=Clock(scale=scale))
        world.history()
        world.behaviours[world.candidate] = behaviour
        world.start()
        for _ in range(60):
            if world.rollout.is_active:
                world.climb(1) if scale > 1 else world.requests(30, 30.0)
        made[name] = folder / f"{name}.html"
        made[name].write_text(
            rollout_page(report_rollout(world.rollout.id, store=world.store, clock=world.clock)), encoding="utf-8"
        )
        world.store.close()
    return made


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["promoted", "guardrail"])
def test_the_page_is_readable_at_this_width(browser: Any, reports: dict[str, Path], name: str, width: int) -> None:
    assert_readable(browser, reports[name], width)


@pytest.mark.parametrize("name", ["promoted", "guardrail"])
def test_the_tables_fit_a_window_of_1200_pixels(browser: Any, reports: dict[str, Path], name: str) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(reports[name].as_uri())
    sizes = page.evaluate("[...document.querySelectorAll('.table')].map((e) => [e.scrollWidth, e.clientWidth])")
    assert len(sizes) == 2
    assert all(wide <= room for wide, room in sizes), sizes
    page.close()


def test_a_game_says_in_words_how_it_stands_before_its_figure(browser: Any, reports: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(reports["promoted"].as_uri())
    said = page.locator("figcaption .value").all_inner_texts()
    assert any(one.startswith("ruled out: evidence ") for one in said)
    assert not [one for one in said if one[0].isdigit() and " of " in one]
    assert "(version 1)" in page.locator("dd", has=page.locator("code.champion")).inner_text()
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
