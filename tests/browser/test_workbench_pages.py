"""The workbench in a real browser: what is typed is previewed as it is typed, without scripts by a button, and four
clicks lead from the first page to a rollout. Skipped where no browser is.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from optimizer.jobs.runs.carry_out_run import carry_out_run
from optimizer.runtime import wiring
from tests.browser.test_dashboard_pages import LISTEN
from tests.chromium import CHROMIUM, faults_of, picture
from tests.stand_ins.scripted_model import Provider, chat_answer, provider
from tests.worlds.api_world import World, make_home
from tests.worlds.dashboard_visitor import HOSTILE
from tests.worlds.gateway_world import serving

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

PRICE = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
ADDED = ".diff .added"


@pytest.fixture(scope="module")
def behind() -> Iterator[Provider]:
    """A model that knows what is technical where its prompt speaks of even numbers."""

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        prompt = json.dumps(body["messages"])
        is_technical = "even" in prompt and int(prompt.split("number ")[-1].split('"')[0]) % 2
        text = "technical" if is_technical else "billing"
        return 200, {}, json.dumps(chat_answer(text)).encode()

    with provider() as behind:
        behind.answer = answer
        yield behind


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, behind: Provider) -> Iterator[World]:
    """A server without keys, whose default model is ``behind``; a test does the worker's runs."""
    home = tmp_path_factory.mktemp("home")
    (home / "config").mkdir()
    model = {"openai_compatible": behind.url, "model": "m", "retries": 0, "max_output_tokens": 8, "price": PRICE}
    (home / "config" / "models.yaml").write_text(json.dumps({"embedded": model}))
    settings = make_home(home)
    app = create_app(settings)
    with serving(app, settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        world = World(client=cast(TestClient, client), settings=settings, app=app)
        world.add_examples(60)
        world.report()
        yield world


def carry_out(world: World) -> str:
    """The worker's next look at what is queued; the id of the last run."""
    shared, settings = world.shared, world.settings
    with shared.store.read() as tx:
        runs = shared.store.runs.unfinished(tx)
    families, models = wiring.load_families(settings), wiring.open_models(settings)
    context = wiring.job_context(settings, shared.store, shared.clock, families, models, yields=False)
    for run in runs:
        ended = carry_out_run(run.id, context, intake_of=lambda actor: None, classify=wiring.classify)  # type: ignore[arg-type,return-value]
        assert ended.status == "finished", ended.error
    return runs[-1].id


def url_of(world: World) -> str:
    return str(world.client.base_url).rstrip("/")


def test_every_page_of_the_walk_is_readable_at_every_width_by_day_and_night(browser: Any, world: World) -> None:
    page = browser.new_page()
    page.add_init_script(LISTEN)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda fault: faults.append(str(fault)))

    def look(name: str) -> None:
        assert faults_of(page, name) == []
        assert page.evaluate("ran") == [], name

    typed = " ".join(HOSTILE).replace("{{", "{ {").replace("{%", "{ %")  # a template would be refused
    page.goto(f"{url_of(world)}/dashboard/families/triage/workbench")
    page.fill("[name=content_0]", "Odd or even? Is it billing or technical, walked? " + typed)
    page.wait_for_selector(f"{ADDED} >> text=walked")
    for summary in page.locator("summary").all():
        summary.click()
    look("workbench")
    page.click("button:text-is('Try it')")
    page.wait_for_selector("text=the worker begins when")
    look("waiting")
    carry_out(world)
    page.wait_for_selector(".answers")
    look("comparison")
    page.fill("[name=note]", "walked" + typed)
    page.click("button:text-is('Save it as a variant')")
    page.wait_for_selector("[role=status]:has-text('Saved')")
    look("saved")
    page.click("a.button:text-is('Evaluate')")
    look("evaluate")
    page.click("button:text-is('Evaluate')")
    page.wait_for_selector("text=the worker begins when")
    carry_out(world)
    page.wait_for_selector("dt:text-is('Score')")
    look("evaluation")
    page.click("a.button:text-is('Start its rollout')")
    look("start")
    assert faults == []
    page.close()


def test_what_is_typed_is_previewed_as_it_is_typed_and_by_keyboard_it_is_tried(browser: Any, world: World) -> None:
    page = browser.new_page()
    page.goto(f"{url_of(world)}/dashboard/families/triage/workbench")
    assert page.locator("text=It is the champion").count() == 1
    page.locator("[name=content_0]").focus()
    page.keyboard.press("Control+End")
    page.keyboard.type(" Look whether it is even.")
    page.wait_for_selector(f"{ADDED} mark:has-text('Look whether it is even.')")
    page.wait_for_selector("text=Hard cap: at most 15 calls")
    page.keyboard.type(" {{txet}}")
    page.wait_for_selector("text=is no input of the family")
    assert page.locator("button:text-is('Try it')").count() == 0
    for _ in range(len(" {{txet}}")):
        page.keyboard.press("Backspace")
    page.wait_for_selector("button:text-is('Try it')")
    assert page.evaluate("document.activeElement.name") == "content_0", "who types goes on typing"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "try":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("text=the worker begins when")
    worker = threading.Thread(target=carry_out, args=[world])
    worker.start()
    page.wait_for_selector(".lead:text-is('finished')")  # the page asks again by itself
    worker.join()
    page.wait_for_selector(".answers >> nth=0 >> text=technical")
    page.close()


@contextmanager
def asked_one_by_one(page: Any, world: World, behind: Provider, text: str) -> Iterator[None]:
    """On ``page`` runs a try of a new ``text``, which got two of its answers; the others come in the end."""
    usual, may_answer = behind.answer, threading.Semaphore(2)

    def one_by_one(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if "one by one" in json.dumps(body["messages"]):
            assert may_answer.acquire(timeout=60)
        return usual(body)

    behind.answer = one_by_one
    page.goto(f"{url_of(world)}/dashboard/families/triage/workbench")
    page.fill("[name=content_0]", f"Answer one by one: {text}")
    page.wait_for_selector(f"{ADDED} >> text=one by one")
    page.click("button:text-is('Try it')")
    page.wait_for_selector("text=the worker begins when")
    worker = threading.Thread(target=carry_out, args=[world])
    worker.start()
    try:
        yield
    finally:
        may_answer.release(100)
        worker.join()
        behind.answer = usual


def test_the_answers_of_a_try_appear_while_it_runs(browser: Any, world: World, behind: Provider) -> None:
    page = browser.new_page()
    with asked_one_by_one(page, world, behind, "even or odd?"):
        page.wait_for_selector(".answers .sides >> text=B score", timeout=60_000)
        assert page.locator(".lead").inner_text() == "running"
        without_scripts = world.client.get(page.url).text
        assert without_scripts.count("Answers so far</h2>") == 1
        assert 0 < without_scripts.count("<b>B</b> score") < 5
        picture(page, "running")
    page.wait_for_selector("h2:text-is('Answers, the most different first')")
    assert page.locator("text=B score").count() == 5
    page.close()


@pytest.mark.long
def test_a_page_that_waits_for_answers_that_are_read_gets_them_though_nothing_else_changes(
    browser: Any, world: World, behind: Provider
) -> None:
    def nothing_new(route: Any) -> None:
        route.fulfill(status=304) if "hx-request" in route.request.headers else route.continue_()

    first, page = browser.new_page(), browser.new_page()
    page.route("**/*", nothing_new)
    with asked_one_by_one(first, world, behind, "odd or even?"):
        address, run = first.url, first.url.split("?")[0].rsplit("/", 1)[1]
        first.close()  # what one page has read, another need not wait for
        while world.get(f"/v1/comparisons/{run}").json()["n_done"] < 7:
            time.sleep(0.05)
        page.goto(address)
        page.wait_for_selector(".answers .sides >> text=B score", timeout=60_000)
    page.close()


def test_without_scripts_four_clicks_lead_from_the_first_page_to_a_rollout(browser: Any, world: World) -> None:
    page = browser.new_page(scripts=False)
    page.goto(f"{url_of(world)}/dashboard")
    page.click("a.button:text-is('Edit and try')")
    text = page.input_value("[name=content_0]")
    page.fill("[name=content_0]", f"{text} Say it without scripts; even numbers count.")
    page.click("button:text-is('Preview')")  # beyond the four: with scripts, typing does it
    page.wait_for_selector(f"{ADDED} mark:has-text('Say it without scripts')")
    page.click("button:text-is('Try it')")
    page.wait_for_selector("text=the worker begins when")
    id = carry_out(world)
    page.wait_for_selector(".lead:text-is('finished')")  # the page asks again by itself
    page.click("a.button:text-is('Start its rollout')")
    page.wait_for_selector("text=The gate has not passed")
    page.fill("[name=confirm]", "triage")
    page.fill("[name=reason]", "it reads better")
    page.click("button:text-is('Start the rollout')")
    page.wait_for_selector("[role=status]:has-text('Started')")
    tried = world.get(f"/v1/comparisons/{id}").json()["request"]["variants"][1]
    rollout = world.get("/v1/families/triage/rollout").json()
    assert (rollout["candidate"], rollout["status"]) == (tried, "validating")
    listed = {one["variant"]: one for one in world.get("/v1/families/triage/variants").json()["items"]}
    assert listed[tried]["source"] == "person", "what is rolled out is on the list"
    page.close()
