"""The stream by which an open page under /dashboard hears of changes: who hears, of what, and when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from api.app import create_app
from api.dashboard import changes
from api.services import Services
from optimizer.jobs.upkeep.glance_at_store import StoreGlance
from tests.clock import until
from tests.worlds.api_world import World, make_home
from tests.worlds.gateway_world import serving

PLACE = "/dashboard/changes"


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Looks follow each other quickly, and those for the pages of a test end with it, so that the next test hears of
    none of its acts.
    """
    under_way, look_on = list[None](), changes.Changes._look_on

    async def counted(self: changes.Changes, shared: Services) -> None:
        under_way.append(None)
        await look_on(self, shared)
        under_way.pop()

    monkeypatch.setattr(changes.Changes, "_look_on", counted)
    monkeypatch.setattr(changes, "LOOK_S", 0.01)
    monkeypatch.setattr(changes, "ASK_S", 0.1)
    yield
    until(lambda: not under_way, "the last look of the test")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = make_home(tmp_path_factory.mktemp("home"))
    app = create_app(settings)
    with serving(app, settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        world = World(client=cast(TestClient, client), settings=settings, app=app)
        world.add_key("boss", "admin", secret="secret-boss")
        client.headers["Authorization"] = "Bearer secret-boss"
        yield world


@contextmanager
def heard(world: World, secret: str) -> Iterator[Iterator[str]]:
    """What the stream of this key says, line by line."""
    headers = {"Authorization": f"Bearer {secret}"}
    with world.client.stream("GET", PLACE, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(2)] == ["retry: 3000", "event: begin"]  # from here on every change is told
        yield (line for line in lines if line.startswith("event:"))


def test_who_may_not_open_a_page_hears_nothing(world: World) -> None:
    with httpx.Client(base_url=world.client.base_url, trust_env=False) as stranger:
        answer = stranger.get(PLACE)
    assert (answer.status_code, answer.headers["location"]) == (303, "../dashboard/sign-in?next=dashboard%2Fchanges")


def test_an_act_is_told_to_every_page_and_its_words_to_none(world: World) -> None:
    world.add_key("ann", "read", secret="secret-ann")
    with heard(world, "secret-ann") as first, heard(world, "secret-boss") as second:
        assert world.post("/v1/freeze", {"reason": "for nobody to read here"}).status_code == 200
        for page in (first, second):
            assert [next(page), next(page)] == ["event: acts", "event: freezes"]
    world.post("/v1/unfreeze", {"reason": "enough"})


def test_a_freeze_that_begins_and_ends_between_two_looks_is_told(world: World) -> None:
    before = changes._glance(world.shared)
    for act in ("freeze", "unfreeze"):
        assert world.post(f"/v1/{act}", {"reason": "a moment"}).status_code == 200
    assert "freezes" in changes._glance(world.shared).changes_since(before)


def test_the_stream_of_a_key_that_is_revoked_ends(world: World) -> None:
    world.add_key("bob", "read", secret="secret-bob")
    with heard(world, "secret-bob") as lines:
        assert world.post("/v1/keys/bob/revoke", {}).status_code == 200
        assert all("secret" not in line for line in lines)  # comes to its end


def test_a_server_that_ends_waits_for_no_page(world: World) -> None:
    with heard(world, "secret-boss") as lines:
        world.app.state.is_ending = True
        assert all("event: begin" not in line for line in lines)  # comes to its end, whatever it tells before
    world.app.state.is_ending = False


def test_a_store_that_is_away_is_logged_once_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, pages = changes.Changes(), [cast(Any, changes)._Listener() for _ in range(5)]

    def glance(*_: Any) -> StoreGlance:
        pages.pop()  # one goes at each look; the third look succeeds
        if len(pages) == 2:
            return StoreGlance(acts=1, freezes=(), work=None, figures=None)
        raise OSError("away")

    monkeypatch.setattr(changes, "_glance", glance)
    monkeypatch.setattr(changes, "LOOK_S", 0.0)
    monkeypatch.setattr(watch, "_listeners", pages)
    with capture_logs() as lines:
        asyncio.run(cast(Any, watch)._look_on(None))
    assert [line["error"] for line in lines] == ["OSError", "OSError"]


def test_a_page_begins_after_a_look_that_is_younger_than_it_also_where_others_are_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_looks = 0

    def glance(shared: Services) -> StoreGlance:
        nonlocal n_looks
        n_looks += 1
        return StoreGlance(acts=0, freezes=0, work=0, figures=0)

    async def open_two() -> None:
        of_all: Any = changes.Changes()
        pages = [of_all.events(None, lambda: True) for _ in range(2)]
        await anext(pages[0])
        n_before = n_looks
        await anext(pages[1])
        assert n_looks > n_before
        for page in pages:
            await page.aclose()
        await of_all._watch

    monkeypatch.setattr(changes, "_glance", glance)
    asyncio.run(open_two())


def test_pages_are_told_of_a_change_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    n_looks = 0
    waits = list[float]()
    sleep = asyncio.sleep

    def glance(shared: Services) -> StoreGlance:
        nonlocal n_looks
        n_looks += 1
        return StoreGlance(acts=n_looks, freezes=0, work=0, figures=0)

    async def slept(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    async def open_three() -> None:
        of_all: Any = changes.Changes()
        pages = [of_all.events(None, lambda: True) for _ in range(3)]
        for _ in range(2):  # what each begins with, then the change
            told = [await anext(page) for page in pages]
        assert told == [b"event: acts\ndata: changed\n\n"] * 3
        for page in pages:
            await page.aclose()
        await of_all._watch

    monkeypatch.setattr(changes, "_glance", glance)
    monkeypatch.setattr(changes, "LOOK_S", 0.0)
    monkeypatch.setattr(changes, "APART_S", 0.013)
    monkeypatch.setattr(changes.asyncio, "sleep", slept)
    asyncio.run(open_three())
    # Servers of other tests sleep here, too.
    assert [seconds for seconds in waits if seconds in (0.013, 0.026)] == [0.013, 0.026]
