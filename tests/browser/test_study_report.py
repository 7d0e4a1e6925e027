"""A study's report in a real browser, wide and narrow, by day and by night. Skipped where no browser is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.reports.study_report import study_page
from optimizer.core.base.values import Budget
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.jobs.studies.report_study import report_study
from tests.report_pages import CHROMIUM, WIDTHS, assert_readable, browser_of_module
from tests.study_world import TopicModel, World
from tests.unit.test_cascade_studies import cascade_world, two_tiers
from tests.unit.test_cascade_studies import create as create_cascade

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
browser = browser_of_module
N_TRIALS = 11


class Metered(TopicModel):
    """Longer requests cost more and take longer."""

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        n = len(request.messages)
        return replace(await super().complete(request), cost_usd=0.00001 * n, latency_ms=100.0 * n)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One whose winner was nominated after several trials, and one that found nothing."""
    folder = tmp_path_factory.mktemp("reports")
    made = {}
    for name, needs in (("nominated", 2), ("nothing", 99)):
        world = World(tmp_path_factory.mktemp(name), model=Metered(needs=needs)).fill()
        study = world.run(
            world.create(budget=Budget(calls=900), definition={"n_candidates": 4, "n_settings": N_TRIALS})
        )
        made[name] = folder / f"{name}.html"
        page = study_page(report_study(study, family=world.family, store=world.store, clock=world.clock))
        made[name].write_text(page, encoding="utf-8")
        world.store.close()
    made["cascade"] = folder / "cascade.html"
    made["cascade"].write_text(_page_of_a_cascade(tmp_path_factory.mktemp("cascade")), encoding="utf-8")
    return made


def _page_of_a_cascade(folder: Path) -> str:
    world, models = cascade_world(folder), two_tiers()
    study = world.run(create_cascade(world, models), models=models)
    page = study_page(report_study(study, family=world.family, store=world.store, clock=world.clock)).replace(
        "<details>", "<details open>"
    )
    world.store.close()
    return page


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["nominated", "nothing", "cascade"])
def test_the_page_is_readable_at_this_width(browser: Any, reports: dict[str, Path], name: str, width: int) -> None:
    assert_readable(browser, reports[name], width)


def test_every_plot_of_a_threshold_marks_the_value_that_was_chosen(browser: Any, reports: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(reports["cascade"].as_uri())
    shown = page.locator("section:has(h2:text('What each threshold does'))")
    assert shown.locator("figure").count() == 4
    assert shown.locator("path.candidate.dot").count() == 4
    assert shown.locator("path.threshold").count() == 1
    assert shown.locator("tr:has(.candidate)").count() == 1
    page.close()


def test_every_trial_is_a_dot_and_the_winner_has_its_curve_beside_the_champions(
    browser: Any, reports: dict[str, Path]
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(reports["nominated"].as_uri())
    tried = page.locator("section:has(h2:text('What was tried'))")
    n_trials = tried.locator("table").last.locator("tbody tr").count()
    assert n_trials > N_TRIALS / 2
    assert tried.locator("path.dot").count() == n_trials
    assert tried.locator("path.candidate.dot").count() == 1
    winner = page.locator("section:has(h2:text('Learning curves')) figure").first
    assert "(winner)" in winner.inner_text()
    assert (winner.locator("path.candidate.line").count(), winner.locator("path.champion.line").count()) == (1, 1)
    assert page.locator("pre.diff .added").count() > 0
    assert page.locator("section:has(h2:text('Quality against what it costs')) figure").count() == 2
    page.close()


def test_by_night_the_ink_is_light_on_dark_paper(browser: Any, reports: dict[str, Path]) -> None:
    def brightness(scheme: str) -> tuple[int, int]:
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(reports["nominated"].as_uri())
        style = "getComputedStyle(document.body)"
        found = [
            sum(map(int, page.evaluate(f"{style}.{what}.match(/\\d+/g).slice(0, 3)")))
            for what in ("color", "backgroundColor")
        ]
        context.close()
        return found[0], found[1]

    ink, paper = brightness("light")
    assert ink < paper
    ink, paper = brightness("dark")
    assert ink > paper
