"""The demo's closing page in a real browser: prompts side by side, evidence drawn, nothing asked of a network.

Skipped where no browser is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.views.rollout_story import RolloutReport
from optimizer.demo.ending import demo_page
from optimizer.demo.stories import users_text
from optimizer.jobs.rollouts.report_rollout import report_rollout
from tests.clock import Clock
from tests.report_pages import CHROMIUM, WIDTHS, assert_readable, browser_of_module
from tests.rollout_world import Behaviour, World
from tests.stores import new_database
from tests.unit.test_demo_stories import PROMPTS, all_stories

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

browser = browser_of_module


def promoted(folder: Path) -> RolloutReport:
    world = World(store=new_database(folder), clock=Clock(scale=60.0))
    world.history()
    world.behaviours[world.candidate] = Behaviour(success=0.97)
    world.start()
    for _ in range(60):
        if world.rollout.is_active:
            world.climb(1)
    report = report_rollout(world.rollout.id, store=world.store, clock=world.clock)
    world.store.close()
    return report


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = promoted(tmp_path_factory.mktemp("promoted"))
    told = [replace(story, prompts=PROMPTS, report=report) for story in all_stories()]
    told[0] = replace(told[0], happened=told[0].happened + users_text(report))
    file = tmp_path_factory.mktemp("page") / "demo.html"
    nexts = [("detent serve --profile demo", "the same servers again")]
    file.write_text(demo_page(told, nexts, took="4:10", model="a small model"), encoding="utf-8")
    return file


@pytest.mark.parametrize("width", WIDTHS)
def test_the_closing_page_is_readable_at_every_width(browser: Any, page: Path, width: int) -> None:
    assert_readable(browser, page, width)


def test_each_prompt_stands_beside_the_one_before_it(browser: Any, page: Path) -> None:
    shown = browser.new_page(viewport={"width": 1280, "height": 900})
    shown.goto(page.as_uri())
    boxes = [one.bounding_box() for one in shown.query_selector_all(".sides")[0].query_selector_all("pre")]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert "Name the topic, in one word." in shown.query_selector(".sides .added").inner_text()
