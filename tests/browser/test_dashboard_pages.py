"""The pages under /dashboard in a real browser: readable at every width, by day and night, without scripts and by
keyboard, and nothing that people wrote runs. Skipped where no browser is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from threading import Event
from typing import Any, cast
from unittest.mock import patch
from urllib.parse import quote

import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.routing import compile_path

from api.app import create_app
from api.dashboard import visitors
from api.dashboard.pages import PAGES
from api.dashboard.routes import FOLDER
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from tests.chromium import CHROMIUM, SHOW, faults_of, worst_findings
from tests.clock import Clock, until
from tests.worlds.api_world import World, make_home, read_here
from tests.worlds.dashboard_visitor import HOSTILE
from tests.worlds.gateway_world import serving
from tests.worlds.seeded_world import add_runs, add_study

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

REFUSED = {"/dashboard/acts/take-back?family=triage": 409, "/dashboard/no-such-page": 404}
PLACES = (
    "/dashboard",
    "/dashboard/families/triage",
    "/dashboard/families/triage/variants/candidate",
    "/dashboard/families/triage/quality?range=30d",
    "/dashboard/families/triage/examples",
    "/dashboard/families/triage/schedule",
    "/dashboard/performance?family=triage",
    "/dashboard/performance",
    "/dashboard/families/triage/variants",
    "/dashboard/families/triage/workbench",
    f"/dashboard/conversation?conversation={quote(HOSTILE[0])}",
    "/dashboard/pipeline",
    "/dashboard/runs",
    "/dashboard/runs/evaluate/ev_1",
    "/dashboard/runs/compare/cp_1",
    "/dashboard/runs/check/jr_1",
    "/dashboard/studies/st_1",
    "/dashboard/studies/compare?first=st_1&second=st_1",
    "/dashboard/settings",
    "/dashboard/reviews",
    "/dashboard/alerts",
    "/dashboard/runbook/a-provider-is-down",
    "/dashboard/help",
    "/dashboard/studies",
    "/dashboard/requests?outcome=failed&units=a,b",
    "/dashboard/requests/triage/in_0",
    "/dashboard/money",
    "/dashboard/audit",
    "/dashboard/acts/freeze?family=triage",
    "/dashboard/sign-in",
    *REFUSED,
)
# What is said to who has no scripts, the keys that scripts hear, and the moment at which a page was asked for.
UNSCRIPTED = r"After a change press Preview first[^\n]*\n+|(?<=\w) [1-9jku](?=\s|$)|\d\d:\d\d:\d\d"
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
            event |= {"error": text, "model": text[:50], "conversation": text, "expected": {"topic": "billing"}}
            part = dict.fromkeys(("model", "purpose", "error", "output"), text) | {
                "issues": [text],
                "unmeasured": [text],
            }
            event |= {"parts": [{**part, "tier": 0}], "tags": {text: text}}
            sent = world.post("/v1/feedback", {**event, "latency_ms": 5.0})
            assert sent.status_code == 200, sent.text
            outcome = {"interaction": f"in_{i}", "family": "triage", "label": text, "success": False}
            assert world.post("/v1/feedback", outcome).status_code == 200
        anywhere = " ".join(HOSTILE)
        world.shared.store.write(lambda tx: add_study(world, tx, anywhere))
        world.shared.store.write(lambda tx: add_runs(world, tx, anywhere))
        world.post("/v1/freeze", {"family": "triage", "reason": " ".join(HOSTILE)})
        roll_up_minutes(world.shared.store, Clock(world.shared.clock.now() + timedelta(minutes=5)))
        yield world


@pytest.mark.timeout(900)  # some sixty pages
def test_every_page_is_readable_at_every_width_by_day_and_night_and_without_scripts(browser: Any, world: World) -> None:
    """And runs only what is its own."""
    page = browser.new_page()
    page.add_init_script(LISTEN)
    url = str(world.client.base_url).rstrip("/")
    faults: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    refused: dict[str, int] = {}
    page.on(
        "response", lambda answer: answer.status < 400 or refused.update({answer.url.removeprefix(url): answer.status})
    )
    shown = [place.partition("?")[0] for place in PLACES]
    missing = [one.path for one in PAGES if not any(compile_path(one.path)[0].match(place) for place in shown)]
    assert not missing
    without = browser.new_page(scripts=False)
    without.goto(f"{url}/dashboard/help")
    for place in PLACES:
        # Shown within a page of the same server: to ask for each again costs as much as all else here.
        without.set_content(page.goto(url + place).text().replace('http-equiv="refresh"', ""))
        texts = [re.sub(UNSCRIPTED, "", one.inner_text("main")).split() for one in (page, without)]
        assert texts[0] == texts[1], place
        assert faults_of(page, place.partition("?")[0].strip("/").replace("/", "-")) == []
        assert page.evaluate("ran") == [], place
    assert refused == REFUSED
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []
    assert hosts == {url.split("/")[2]}
    for one in (page, without):
        one.close()


def test_a_report_that_is_being_made_comes_by_itself(browser: Any, world: World) -> None:
    page, may_end = browser.new_page(), Event()
    world.shared.kept_reads.clear()
    with patch.object(visitors, "answer_apart", lambda *asked, **by: may_end.wait(60) and read_here(*asked, **by)):
        page.goto(f"{str(world.client.base_url).rstrip('/')}/dashboard/studies/st_1/report")
        page.wait_for_selector("h1:text-is('The report is being made')")
        may_end.set()
        page.wait_for_selector("h1:not(:text-is('The report is being made'))")
        page.wait_for_selector("a:text-is('Back to st_1')")
    page.close()


def test_a_chart_tells_its_values_to_the_keyboard_and_the_finger(browser: Any, world: World) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page, url = context.new_page(), str(world.client.base_url).rstrip("/")
    page.goto(f"{url}/dashboard/performance?family=triage&range=7d")
    assert page.locator("figcaption:has-text('Tokens in')").count() == 1
    chart = page.locator(".chart:has(svg)").first
    assert chart.locator("output").inner_text() == ""
    chart.locator("svg").focus()
    page.keyboard.press("ArrowRight")
    assert re.search(r"20\d\d-.* UTC: no variant named 1, ", chart.locator("output").inner_text())
    page.goto(f"{url}/dashboard/families/triage")
    page.locator("svg.traffic").tap()
    assert re.search(r"UTC: \d+ requests", page.locator(".told-of:has(svg.traffic) output").inner_text())
    context.close()


def test_on_a_phone_the_menu_is_one_button_which_the_keyboard_opens_and_esc_closes(browser: Any, world: World) -> None:
    page, url = (
        browser.new_page(viewport={"width": 390, "height": 844}, scripts=False),
        str(world.client.base_url).rstrip("/"),
    )
    page.goto(f"{url}/dashboard")
    assert page.locator("header").bounding_box()["height"] < 60
    settings = page.locator("nav >> text=Settings")
    assert not settings.is_visible()
    page.locator("button.menu").focus()
    page.keyboard.press("Enter")
    assert page.locator("nav[popover] a:visible").count() == page.locator("nav[popover] a").count() > 10
    assert worst_findings(page) == []
    page.keyboard.press("Escape")
    assert not settings.is_visible()
    page.keyboard.press("Enter")
    settings.click()
    page.wait_for_selector("h1:has-text('Settings in effect')")
    page.close()


KEYED_LABELS = ((1, "billing"), (2, "technical"))


def test_a_key_that_is_held_or_pressed_while_an_answer_is_under_way_answers_one_review(browser: Any) -> None:
    """The page's own script alone, with a form that leads nowhere."""
    page = browser.new_page()
    page.set_content('<form onsubmit="n++; return false"><button data-key="1">Release</button></form>')
    page.evaluate("n = 0; htmx = {on: () => {}, onLoad: () => {}}")
    page.add_script_tag(path=str(FOLDER / "dashboard.js"))
    press = "dispatchEvent(new KeyboardEvent('keydown', {key: '1', bubbles: true, repeat: %s}))"
    counts = [page.evaluate(f"document.body.{press % held}; n") for held in ("true", "false", "false")]
    assert counts == [0, 1, 1]
    page.evaluate("dispatchEvent(new Event('pageshow'))")
    assert page.evaluate(f"document.body.{press % 'false'}; n") == 2
    page.close()


def test_an_answer_that_is_final_is_given_by_a_second_press(browser: Any) -> None:
    page = browser.new_page()
    labels = "".join(f'<button data-key="{n}" data-final>{label} <kbd>{n}</kbd></button>' for n, label in KEYED_LABELS)
    page.set_content(f'<form onsubmit="n++; return false">{labels}<output class="asks-again"></output></form>')
    page.evaluate("n = 0; htmx = {on: () => {}, onLoad: () => {}}")
    page.add_script_tag(path=str(FOLDER / "dashboard.js"))
    counts = []
    for key in ("2", "1", "2", "2"):
        page.keyboard.press(key)
        counts.append(page.evaluate("n"))
    assert counts == [0, 0, 0, 1]
    assert page.inner_text("output") == "“technical” is final. Press it again to answer so."
    page.close()


def test_a_live_page_renews_itself_around_its_user_and_the_keyboard_rolls_back(browser: Any, world: World) -> None:
    page, url = browser.new_page(), str(world.client.base_url).rstrip("/")
    rollout = world.get("/v1/families/triage/rollout").json()["id"]
    world.post("/v1/unfreeze", {"family": "triage", "reason": "the test before"})
    world.post(f"/v1/rollouts/{rollout}/resume", {"reason": "the test before"})
    with page.expect_request("**/dashboard/changes"):
        page.goto(f"{url}/dashboard/families/triage")
    world.post(f"/v1/rollouts/{rollout}/hold", {"reason": "seen by nobody yet"})
    page.wait_for_selector(".timeline >> text=seen by nobody yet")
    page.evaluate("used = document.querySelector('main a'); used.focus()")
    page.evaluate("isTold = false; addEventListener('htmx:confirm', () => { isTold = true })")
    world.post(f"/v1/rollouts/{rollout}/resume", {"reason": "while somebody stood there"})
    until(lambda: page.evaluate("isTold"), "the page to hear of it")
    page.wait_for_selector("#changed >> text=This page has changed")
    world.post("/v1/freeze", {"family": "triage", "reason": "in sight all the same"})
    page.wait_for_selector("#freezes >> text=in sight all the same")
    assert page.evaluate("used.isConnected && document.activeElement === used")
    world.post("/v1/unfreeze", {"family": "triage", "reason": "seen"})
    page.wait_for_selector("#freezes >> text=in sight all the same", state="detached")
    page.evaluate("used.blur()")
    page.wait_for_selector(".timeline >> text=while somebody stood there")
    assert page.locator("#changed").inner_text() == ""
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/dashboard/changes")):
        page.evaluate(SHOW, False)  # no connection is held for a tab that nobody sees
    world.post(f"/v1/rollouts/{rollout}/hold", {"reason": "while it was hidden"})
    with page.expect_request("**/dashboard/changes"):
        page.evaluate(SHOW, True)
    page.wait_for_selector(".timeline >> text=while it was hidden")
    reach(page, "Roll back")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Roll back?')")
    reach(page, "reason")
    page.keyboard.type("worse than it looked")
    reach(page, "Roll back")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]:has-text('Rolled back')")
    assert world.get(f"/v1/rollouts/{rollout}").json()["status"] == "rolled_back"
    page.wait_for_url(re.compile(r"/families/triage$"))  # told once, as a page that is opened anew shows
    page.wait_for_selector("[role=status]:has-text('Rolled back')")
    page.evaluate("document.activeElement.blur()")
    until(lambda: page.evaluate("performance.now() > 3000"), "what was done to be read")
    world.post("/v1/freeze", {"family": "triage", "reason": "what happens next"})
    page.wait_for_selector("[role=status]:has-text('Rolled back')", state="detached")
    world.post("/v1/unfreeze", {"family": "triage", "reason": "what happens next"})
    page.close()


def test_a_freeze_comes_into_sight_where_somebody_fills_in_a_form(browser: Any, world: World) -> None:
    page, url = browser.new_page(), str(world.client.base_url).rstrip("/")
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url) if request.url.endswith("/changes") else None)
    for act in ("freeze", "unfreeze"):
        world.post(f"/v1/{act}", {"reason": "as it was before"})
    for place, field in (("families/triage/workbench", "content_0"), ("requests", "variant")):
        streams.clear()
        page.goto(f"{url}/dashboard/{place}")
        page.fill(f"[name={field}]", "typed by somebody")
        world.post("/v1/freeze", {"reason": "all of it"})
        page.wait_for_selector(".freeze:has-text('Everything is frozen')")
        world.post("/v1/unfreeze", {"reason": "all of it"})
        page.wait_for_selector(".freeze:has-text('Everything is frozen')", state="detached")
        assert page.input_value(f"[name={field}]") == "typed by somebody"
        assert len(streams) == 1
    page.close()


def test_a_page_whose_run_has_ended_asks_no_more_and_hears_of_a_freeze(browser: Any, world: World) -> None:
    page, url = browser.new_page(), str(world.client.base_url).rstrip("/")
    page.goto(f"{url}/dashboard/runs/check/jr_1")
    now, runs = world.shared.clock.now(), world.shared.store.runs
    world.shared.store.write(lambda tx: runs.update(tx, "jr_1", status="finished", finished_at=now, n_done=4))
    page.wait_for_selector(".lead:has-text('finished')")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.headers.get("hx-target", "")))
    world.post("/v1/freeze", {"reason": "all of it"})
    page.wait_for_selector(".freeze:has-text('Everything is frozen')")
    world.post("/v1/unfreeze", {"reason": "all of it"})
    page.wait_for_selector(".freeze:has-text('Everything is frozen')", state="detached")
    assert set(asked) <= {"freezes", ""}
    page.close()


def reach(page: Any, name: str) -> None:
    """Presses Tab until what has the focus says ``name``."""
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = page.evaluate("[document.activeElement.innerText, document.activeElement.name]")
        if name in [(text or "").strip() for text in focused]:
            return
    raise AssertionError(f"the keyboard does not reach {name!r}")


def test_the_keyboard_alone_approves_a_rollout_and_answers_a_review(browser: Any, world: World) -> None:
    world.post("/v1/unfreeze", {"family": "triage", "reason": "the tests before"})
    before = world.get("/v1/families/triage/rollout").json()
    world.post(f"/v1/rollouts/{before['id']}/rollback", {"reason": "where the tests before left it"})
    rollout = world.start(world.candidate("By the keyboard alone:"))["id"]
    n_open = len(world.get("/v1/reviews?status=open").json()["items"])
    page, url = browser.new_page(), str(world.client.base_url).rstrip("/")
    page.goto(f"{url}/dashboard")
    reach(page, "Approve")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Approve?')")
    reach(page, "reason")
    page.keyboard.type("read and compared")
    reach(page, "Approve")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]:has-text('Approved')")
    assert world.get(f"/v1/rollouts/{rollout}").json()["status"] != "validating"
    reach(page, "Reviews")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Reviews')")
    page.wait_for_load_state()  # what hears keys comes after the page's text
    page.keyboard.press("j")
    page.wait_for_url("**skip=*")
    page.keyboard.press("1")
    page.wait_for_selector("[role=status]:has-text('Answered')")
    assert len(world.get("/v1/reviews?status=open").json()["items"]) == n_open - 1
    page.close()
