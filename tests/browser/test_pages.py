"""Reports and the page at /docs in a real browser, wide and narrow: drawn, readable, nothing asked of a network.

Skipped where no browser is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from optimizer.adapters.reports.rollout_plots import rollout_page
from optimizer.adapters.reports.study_report import study_page
from optimizer.core.base.values import Budget
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.search.study import Study
from optimizer.core.views.rollout_story import RolloutReport
from optimizer.demo.ending import demo_page
from optimizer.demo.stories import users_text
from optimizer.jobs.rollouts.verify_rollout import report_rollout
from optimizer.jobs.studies.report_study import report_study
from tests.chromium import AXE, CHROMIUM, faults_of, picture
from tests.clock import Clock
from tests.stores import new_database
from tests.unit.cascades.test_cascade_studies import cascade_world, create as create_cascade, two_tiers
from tests.unit.command.test_demo_stories import PROMPTS, all_stories
from tests.worlds.api_world import make_home
from tests.worlds.gateway_world import serving
from tests.worlds.rollout_world import Behaviour, World as RolloutWorld
from tests.worlds.study_world import TopicModel, World

Opened = Callable[[str], Any]
WIDTHS = [1280, 390]
N_TRIALS = 11

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
"""  # noqa: E501
OUTSIDE = """
() => [...document.querySelectorAll(".plot span, .plot svg, h1, dd, li, p")]
  .filter((e) => e.getBoundingClientRect().left < 0 || e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.textContent)
"""  # noqa: E501
SMALL = """() => [...document.querySelectorAll(".plot span, td, li, dd")].filter((e) => parseFloat(getComputedStyle(e).fontSize) < 12).length"""  # noqa: E501
FLAT = """
() => [...document.querySelectorAll("svg path.line")].filter((p) => p.getBBox().width < 300).map((p) => p.closest("figure").textContent)
"""  # noqa: E501


class Metered(TopicModel):
    """Longer requests cost more and take longer."""

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        n = len(request.messages)
        return replace(await super().complete(request), cost_usd=0.00001 * n, latency_ms=100.0 * n)


def report_of_a_rollout(folder: Path, behaviour: Behaviour, scale: float) -> RolloutReport:
    world = RolloutWorld(store=new_database(folder), clock=Clock(scale=scale))
    world.history()
    world.behaviours[world.candidate] = behaviour
    world.start()
    for _ in range(60):
        if world.rollout.is_active:
            world.climb(1) if scale > 1 else world.requests(30, 30.0)
    report = report_rollout(world.rollout.id, store=world.store, clock=world.clock)
    world.store.close()
    return report


def report_of_a_study(world: World, study: Study) -> str:
    page = study_page(report_study(study, family=world.family, store=world.store, clock=world.clock))
    world.store.close()
    return page


def page_of_the_demo(report: RolloutReport) -> str:
    told = [replace(story, prompts=PROMPTS, report=report) for story in all_stories()]
    told[0] = replace(told[0], happened=told[0].happened + users_text(report))
    nexts = [("detent serve --profile demo", "the same servers again")]
    return demo_page(told, nexts, took="4:10", model="a small model")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Rollouts: one promoted, one that the guardrail on errors took back. Studies: one whose winner was nominated after
    several trials, one that found nothing, one of a cascade. And the demo's closing page.
    """
    folder = tmp_path_factory.mktemp
    promoted = report_of_a_rollout(folder("promoted"), Behaviour(success=0.97), 60.0)
    guardrail = report_of_a_rollout(folder("guardrail"), Behaviour(errors=0.3), 1.0)
    pages = {
        "promoted": rollout_page(promoted),
        "guardrail": rollout_page(guardrail),
        "demo": page_of_the_demo(promoted),
    }
    for name, needs in (("nominated", 2), ("nothing", 99)):
        world = World(folder(name), model=Metered(needs=needs)).fill()
        given = {"n_candidates": 4, "n_settings": N_TRIALS}
        pages[name] = report_of_a_study(world, world.run(world.create(budget=Budget(calls=900), definition=given)))
    world, models = cascade_world(folder("cascade")), two_tiers()
    cascade = report_of_a_study(world, world.run(create_cascade(world, models), models=models))
    pages["cascade"] = cascade.replace("<details>", "<details open>")
    files = {name: folder("pages") / f"{name}.html" for name in pages}
    for name, page in pages.items():
        files[name].write_text(page, encoding="utf-8")
    return files


@pytest.fixture(scope="module")
def opened(browser: Any, reports: dict[str, Path]) -> Opened:
    """A report's page in a wide window; each is opened once, with what it asked for and what broke."""

    @functools.cache
    def page_of(name: str) -> Any:
        page = browser.new_page()
        page.asked, page.faults = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda fault: page.faults.append(str(fault)))
        page.goto(reports[name].as_uri())
        return page

    def wide(name: str) -> Any:
        page_of(name).set_viewport_size({"width": WIDTHS[0], "height": 900})
        return page_of(name)

    return wide


@pytest.mark.parametrize("name", ["promoted", "guardrail", "nominated", "nothing", "cascade", "demo"])
def test_the_page_is_readable_at_every_width(opened: Opened, reports: dict[str, Path], name: str) -> None:
    """Nothing beside the page, over something else, too small, empty, loaded from elsewhere or broken."""
    page = opened(name)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width, "the page scrolls sideways"
        assert page.evaluate(OVERLAPPING) == []
        assert page.evaluate(OUTSIDE) == []
        assert page.evaluate(SMALL) == 0
        assert page.evaluate(FLAT) == [], "a plot without its line"
    assert (page.asked, page.faults) == ([reports[name].as_uri()], [])


@pytest.mark.skipif(AXE is None, reason="DETENT_AXE names no axe.min.js")
def test_axe_has_no_serious_finding_in_any_report(browser: Any, reports: dict[str, Path]) -> None:
    page = browser.new_page()
    for name, file in reports.items():
        page.goto(file.as_uri())
        assert faults_of(page, f"{name}-report") == []
    page.close()


@pytest.mark.parametrize("name", ["promoted", "guardrail"])
def test_the_tables_fit_a_window_of_1200_pixels(opened: Opened, name: str) -> None:
    page = opened(name)
    page.set_viewport_size({"width": 1200, "height": 900})
    sizes = page.evaluate("[...document.querySelectorAll('.table')].map((e) => [e.scrollWidth, e.clientWidth])")
    assert len(sizes) == 2
    assert all(wide <= room for wide, room in sizes), sizes


def test_a_game_says_in_words_how_it_stands_before_its_figure(opened: Opened) -> None:
    page = opened("promoted")
    said = page.locator("figcaption .value").all_inner_texts()
    assert any(one.startswith("ruled out: evidence ") for one in said)
    assert not [one for one in said if one[0].isdigit() and " of " in one]
    assert "(version 1)" in page.locator("dd", has=page.locator("code.champion")).inner_text()


def test_the_plots_show_a_climb_to_everybody_and_every_games_threshold(opened: Opened) -> None:
    page = opened("promoted")
    assert page.locator("figure").count() == 11
    steps = page.locator("path.candidate.line").first.get_attribute("d")
    assert steps.count("V") >= 4, "every step of the ladder is drawn"
    assert page.locator("section:has(h2:text('Evidence, game by game')) path.threshold").count() == 5
    assert page.locator("figcaption .reached").count() >= 3
    assert page.locator("h2:text('What the gates cannot see')").is_visible()


def test_every_plot_of_a_threshold_marks_the_value_that_was_chosen(opened: Opened) -> None:
    page = opened("cascade")
    shown = page.locator("section:has(h2:text('What each threshold does'))")
    assert shown.locator("figure").count() == 4
    assert shown.locator("path.candidate.dot").count() == 4
    assert shown.locator("path.threshold").count() == 1
    assert shown.locator("tr:has(.candidate)").count() == 1


def test_every_trial_is_a_dot_and_the_winner_has_its_curve_beside_the_champions(opened: Opened) -> None:
    page = opened("nominated")
    tried = page.locator("section:has(h2:text('What was tried'))")
    n_trials = tried.locator("table").last.locator("tbody tr").count()
    assert n_trials > N_TRIALS / 2
    assert tried.locator("path.dot").count() == n_trials
    assert tried.locator("path.candidate.dot").count() == 1
    winner = page.locator("section:has(h2:text('Learning curves')) figure").first
    assert "(winner)" in winner.inner_text()
    assert (winner.locator("path.candidate.line").count(), winner.locator("path.champion.line").count()) == (1, 1)
    assert page.locator("pre.diff .added").count() > 0
    # Against dollars alone: fewer than twenty timed answers have no p95.
    assert page.locator("section:has(h2:text('Quality against what it costs')) figure").count() == 1


def test_by_night_the_ink_is_light_on_dark_paper(opened: Opened) -> None:
    page = opened("nominated")

    def brightness(scheme: str) -> tuple[int, int]:
        page.emulate_media(color_scheme=scheme)
        style = "getComputedStyle(document.body)"
        found = [
            sum(map(int, page.evaluate(f"{style}.{what}.match(/\\d+/g).slice(0, 3)")))
            for what in ("color", "backgroundColor")
        ]
        return found[0], found[1]

    ink, paper = brightness("light")
    assert ink < paper
    ink, paper = brightness("dark")
    assert ink > paper


def test_each_prompt_stands_beside_the_one_before_it(opened: Opened) -> None:
    shown = opened("demo")
    boxes = [one.bounding_box() for one in shown.query_selector_all(".sides")[0].query_selector_all("pre")]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert "Name the topic, in one word." in shown.query_selector(".sides .added").inner_text()


@pytest.mark.long
def test_the_page_of_routes_runs_one_with_nothing_from_elsewhere(browser: Any, tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    app = create_app(settings)
    asked: list[str] = []
    faults: list[str] = []
    with serving(app, settings) as url:
        page = browser.new_page(viewport={"width": 1280, "height": 3000})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.goto(f"{url}/docs")
        page.wait_for_selector(".opblock")
        assert page.locator(".info", has_text="OAS 3.0").count() == 1, "of 3.1 a page takes seconds"
        health = page.locator(".opblock", has=page.locator('[data-path="/health"]'))
        while not health.count():  # of many routes the page holds those alone that are in sight
            page.mouse.wheel(0, 300)
            page.wait_for_timeout(50)
        health.locator(".opblock-summary-control").click()
        health.locator(".try-out__btn").click()
        health.locator(".execute").click()
        page.wait_for_selector(".live-responses-table tbody .response-col_status")
        assert health.locator(".live-responses-table tbody .response-col_status").first.inner_text().startswith("200")
        page.evaluate("scrollTo(0, 0)")
        picture(page, "docs")
        page.close()
    assert [address for address in asked if not address.startswith((url, "data:"))] == []
    assert faults == []
