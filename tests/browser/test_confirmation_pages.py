"""The confirmation of every act, and the pages of what it acts on, in a real browser: with hostile texts in prompts,
notes and reasons, nothing runs and the layout holds. Skipped where no browser is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.dashboard.acts import ACTS
from tests.browser.test_dashboard_pages import LISTEN
from tests.chromium import CHROMIUM, faults_of
from tests.worlds.api_world import World, make_home
from tests.worlds.dashboard_visitor import HOSTILE, raised
from tests.worlds.gateway_world import serving
from tests.worlds.seeded_world import add_runs

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
WORDS = " ".join(HOSTILE)
PROMPT = WORDS.replace("{{", "{ {").replace("{%", "{ %")  # a template would be refused


class Visit:
    """One page of a browser, and the acts whose confirmations it has shown."""

    def __init__(self, page: Any, url: str) -> None:
        self._page, self._url, self.acts = page, url, set[str]()

    def look(self, place: str) -> None:
        answer = self._page.goto(f"{self._url}/dashboard{place}")
        assert answer.status == 200, f"{place}: {self._page.inner_text('main')}"
        assert faults_of(self._page, place.partition("?")[0].strip("/").replace("/", "-") or "home") == []
        assert self._page.evaluate("ran") == [], place

    def confirm(self, subject: str, *acts: str) -> None:
        for act in acts:
            self.look(f"/acts/{act}?{subject}")
            assert self._page.locator("form.confirm").count(), act
            self.acts.add(act)


def test_every_confirmation_is_readable_at_every_width_by_day_and_night(browser: Any, tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    app = create_app(settings)
    page = browser.new_page()
    page.add_init_script(LISTEN)
    with serving(app, settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        world, visit = World(client=cast(TestClient, client), settings=settings, app=app), Visit(page, url)
        reason, store = {"reason": WORDS}, world.shared.store
        first, hostile, other = world.champion(), world.candidate(PROMPT), world.candidate("Another one:")
        asked = {"id": "in_asked", "family": "triage", "unit": "u", "input": {"text": WORDS}, "output": WORDS}
        assert world.post("/v1/interactions", asked).status_code == 200
        world.add_examples(40)
        visit.confirm(f"family=triage&variant={hostile}", "start")
        rollout = world.start(hostile)["id"]
        for place in ("/families/triage", f"/families/triage/variants/{hostile}"):
            visit.look(place)
        visit.confirm(f"id={rollout}", "approve", "reject")
        assert world.post(f"/v1/rollouts/{rollout}/approve", reason).status_code == 200
        world.tick()
        visit.look("/families/triage")
        visit.confirm(f"id={rollout}", "hold", "advance", "promote", "rollback")
        assert world.post(f"/v1/rollouts/{rollout}/hold", reason).status_code == 200
        visit.confirm(f"id={rollout}", "resume")
        assert world.post(f"/v1/rollouts/{rollout}/resume", reason).status_code == 200
        assert world.post(f"/v1/rollouts/{rollout}/promote", {**reason, "confirm": "triage"}).status_code == 200
        visit.confirm("family=triage", "take-back", "freeze")
        for place in ("", "/families/triage", "/families/triage/variants", "/audit"):
            visit.look(place)
        back = {"reason": WORDS, "variant": other, "confirm": "triage"}
        assert world.post("/v1/families/triage/champion/set", back).status_code == 200
        visit.confirm(f"family=triage&variant={first}", "set-champion")
        visit.confirm(f"family=triage&variant={hostile}", "evaluate")
        visit.confirm("family=triage&interactions=in_asked", "offer")
        raised(world, "candidate_silent", "triage", WORDS)
        visit.confirm("name=candidate_silent&family=triage", "silence")
        silence = {"family": "triage", "minutes": 60, **reason}
        assert world.client.put("/v1/alert-silences/candidate_silent", json=silence).status_code in (200, 201)
        visit.look("/alerts")
        visit.confirm("name=candidate_silent&family=triage", "end-silence")
        study = world.post("/v1/families/triage/studies", {"budget": {"calls": 200}}).json()["id"]
        run = world.post("/v1/families/triage/evaluations", {"variant": hostile}).json()["id"]
        store.write(lambda tx: add_runs(world, tx, WORDS))
        visit.confirm(f"id={study}", "cancel-study")
        visit.confirm(f"id={run}", "cancel-evaluation")
        visit.confirm("id=cp_1", "cancel-comparison")
        visit.confirm("id=jr_1", "cancel-judge-run")
        assert world.post("/v1/freeze", {"family": "triage", **reason}).status_code == 200
        visit.confirm("family=triage", "unfreeze")
        assert visit.acts == set(ACTS)
        page.close()
