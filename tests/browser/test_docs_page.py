"""The page at /docs in a real browser: it lists every route, runs one, asks no other address,
and its policy stops nothing that it needs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from tests.api_world import make_home
from tests.gateway_world import serving
from tests.report_pages import CHROMIUM, browser_of_module  # noqa: F401

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


def test_the_page_lists_every_route_and_runs_one_with_nothing_from_elsewhere(browser: Any, tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    app = create_app(settings)
    asked: list[str] = []
    faults: list[str] = []
    with serving(app, settings) as url:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.goto(f"{url}/docs")
        page.wait_for_selector(".opblock")
        shown = page.locator(".opblock").count()
        health = page.locator(".opblock", has=page.locator('[data-path="/health"]'))
        health.locator(".opblock-summary-control").click()
        health.locator(".try-out__btn").click()
        health.locator(".execute").click()
        page.wait_for_selector(".live-responses-table tbody .response-col_status")
        assert health.locator(".live-responses-table tbody .response-col_status").first.inner_text().startswith("200")
        if picture := os.environ.get("DETENT_TEST_PICTURES"):
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=f"{picture}/docs.png")
        page.close()
    assert shown == sum(len(routes) for routes in app.openapi()["paths"].values())
    assert [address for address in asked if not address.startswith((url, "data:"))] == []
    assert faults == []
