"""The pages under /dashboard in a real browser: readable at every width, by day and night, without scripts and by
keyboard, and nothing that people wrote runs. Skipped where no browser is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from tests.api_world import World, make_home
from tests.chromium import CHROMIUM
from tests.end_to_end.test_dashboard import HOSTILE
from tests.gateway_world import serving

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

PLACES = (
    "/dashboard",
    "/dashboard/families/triage",
    "/dashboard/families/triage/variants/candidate",
    "/dashboard/reviews",
    "/dashboard/alerts",
    "/dashboard/studies",
    "/dashboard/requests",
    "/dashboard/requests/triage/in_0",
    "/dashboard/money",
    "/dashboard/audit",
    "/dashboard/acts/freeze?family=triage",
    "/dashboard/sign-in",
)
# What a hostile text would call, where a browser ran it.
LISTEN = "window.ran = []; window.hostile = () => ran.push(location.href); window.alert = hostile;"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server without keys, with a rollout under way and hostile texts wherever people write."""
    settings = make_home(tmp_path_factory.mktemp("home"))
    app = create_app(settings)
    with serving(app, settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        world = World(client=cast(TestClient, client), settings=settings, app=app)
        world.deploying()
        for i, text in enumerate(HOSTILE):
            event = {"id": f"in_{i}", "family": "triage", "unit": text, "input": {"text": text}, "output": text}
            sent = world.post("/v1/feedback", {**event, "error": text, "model": text[:50], "latency_ms": 5.0})
            assert sent.status_code == 200, sent.text
        world.post("/v1/freeze", {"family": "triage", "reason": " ".join(HOSTILE)})
        yield world


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (820, "light"), (1440, "dark")])
def test_every_page_is_readable_at_this_width_and_runs_only_what_is_its_own(
    browser: Any, world: World, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.add_init_script(LISTEN)
    page, url = context.new_page(), str(world.client.base_url).rstrip("/")
    faults: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    for place in PLACES:
        page.goto(url + place)
        assert page.evaluate("document.documentElement.scrollWidth") == width, f"{place} scrolls sideways"
        assert page.evaluate("ran") == [], place
    assert (faults, hosts) == ([], {url.split("/")[2]})
    context.close()


def test_without_scripts_a_person_reads_and_acts(browser: Any, world: World) -> None:
    context = browser.new_context(java_script_enabled=False)
    page, url = context.new_page(), str(world.client.base_url).rstrip("/")
    page.goto(f"{url}/dashboard")
    page.click("text=Unfreeze")
    page.click("button:has-text('Unfreeze')")
    page.wait_for_selector("[role=status]:has-text('Unfrozen')")
    page.click("a.button:text-is('Hold')")
    page.wait_for_selector("text=The share stays at 50 % until someone resumes")
    page.fill("[name=reason]", "look first")
    page.click("button:text-is('Hold')")
    page.wait_for_selector("[role=status]:has-text('Held')")
    assert page.locator("a.button:text-is('Resume')").count() == 1
    assert page.locator(".timeline").inner_text().count("look first") == 1
    context.close()


def test_a_live_page_renews_itself_and_the_keyboard_rolls_back(browser: Any, world: World) -> None:
    context = browser.new_context()
    page, url = context.new_page(), str(world.client.base_url).rstrip("/")
    rollout = world.get("/v1/families/triage/rollout").json()["id"]
    world.post("/v1/unfreeze", {"family": "triage", "reason": "the test before"})
    world.post(f"/v1/rollouts/{rollout}/resume", {"reason": "the test before"})
    page.goto(f"{url}/dashboard/families/triage")
    world.post(f"/v1/rollouts/{rollout}/hold", {"reason": "seen by nobody yet"})
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when the tab comes into sight
    page.wait_for_selector(".timeline >> text=seen by nobody yet")
    page.locator("a.button:text-is('Roll back')").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Roll back?')")
    page.locator("[name=reason]").focus()
    page.keyboard.type("worse than it looked")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]:has-text('Rolled back')")
    assert world.get(f"/v1/rollouts/{rollout}").json()["status"] == "rolled_back"
    context.close()
