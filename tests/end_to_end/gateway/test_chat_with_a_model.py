"""A chat that names a model of config/models.yaml and no family,
by the unmodified openai package against a running gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from optimizer.core.feedback.events import NO_FAMILY
from optimizer.core.serving.assignment import unit_hmac
from optimizer.host.config import Settings
from optimizer.jobs.feedback.ingest_feedback import Intake
from optimizer.jobs.upkeep.read_retention import retentions
from optimizer.runtime import wiring
from tests.rows.answer_schemas import as_declared
from tests.stand_ins.faulty_provider import PIECES, FaultyProvider, faulty_provider
from tests.worlds.gateway_world import add_key, client_of, family, interactions, make_home, record_of, remote, running

TEXT = "".join(PIECES)
COST_USD = 0.002  # of one answer of the provider
IMAGE = {"type": "image_url", "image_url": {"url": "http://x/y.png"}}
ASKED: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Stars?"}]


def home(folder: Path, behind: FaultyProvider, **explicit: Any) -> Settings:
    wire = remote(behind.url, (1, 10))
    return make_home(
        folder,
        {"topic": family("topic", "remote"), "shared": family("shared", "remote")},
        {"remote": wire, "shared": wire},
        **explicit,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, FaultyProvider, Settings]]:
    with faulty_provider() as behind:
        settings = home(tmp_path_factory.mktemp("home"), behind)
        with running(settings) as url:
            yield url, behind, settings


def test_the_request_goes_to_the_model_as_it_is_and_is_on_record_as_no_familys(world) -> None:
    url, behind, settings = world
    raw = client_of(url).chat.completions.with_raw_response.create(
        model="remote", messages=ASKED, temperature=0.5, max_completion_tokens=7, stop="end", user="u1"
    )
    answer = raw.parse()
    sent = behind.bodies[-1]
    assert (sent["messages"], sent["temperature"], sent["max_tokens"], sent["stop"]) == (ASKED, 0.5, 7, ["end"])
    assert (answer.model, answer.choices[0].message.content) == ("remote", TEXT)
    detent = answer.model_extra["detent"]
    assert (detent["family"], detent["variant"], detent["role"], detent["assignment"]) == (None, None, None, None)
    assert "x-detent-assignment" not in raw.headers
    found = record_of(settings, NO_FAMILY, answer.id)
    assert (found["variant"], found["model"], found["input"], found["output"]) == (None, "remote", None, None)
    assert found["cost_usd"] == pytest.approx(COST_USD)
    assert found["unit_hmac"] == unit_hmac(wiring.open_secrets(settings).unit_key, "u1")
    assert interactions(settings, "topic") == []


def test_a_stream_of_a_model_has_openais_form_and_a_record(world) -> None:
    url, _, settings = world
    chunks = list(client_of(url).chat.completions.create(model="remote", messages=ASKED, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert {chunk.model for chunk in chunks} == {"remote"}
    assert record_of(settings, NO_FAMILY, chunks[0].id)


def test_a_family_comes_before_a_model_of_its_name_and_a_name_of_neither_is_404(world) -> None:
    url, behind, _ = world
    answer = client_of(url).chat.completions.create(model="shared", messages=ASKED[1:])
    assert answer.model_extra["detent"]["family"] == "shared"
    assert behind.bodies[-1]["messages"][0]["content"] == "Name the topic."
    assert post(url, model="nothing").status_code == 404


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"temperature": 7}, "/temperature"),
        ({"messages": []}, "/messages"),
        ({"messages": [{"content": "x"}]}, "/messages/0/role"),
        ({"messages": [{"role": "examples"}]}, "/messages/0/role"),
        ({"detent": {"variables": {"document": "x"}}}, "/detent/variables"),
        ({"detent": {"variant": "v_0"}}, "/detent/variant"),
        ({"user": " "}, "/user"),  # which could not be put on record once the model was asked
        ({"detent": {"unit": "\n"}}, "/detent/unit"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "/messages/0/content"),
    ],
)
def test_what_no_model_can_be_asked_is_refused_with_its_place(world, more: dict[str, Any], pointer: str) -> None:
    url, behind, _ = world
    n = len(behind.bodies)
    refused = post(url, **more)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"].startswith(pointer)
    assert len(behind.bodies) == n


def test_an_outcome_of_such_an_answer_counts_for_no_family(world) -> None:
    url, _, settings = world
    answered = post(url).json()["id"]
    store, clock = wiring.open_store(settings), wiring.open_clock(settings)
    intake = Intake(store=store, clock=clock, families={}, verify=lambda token: None, hmac_unit=str, actor="me")  # type: ignore[arg-type, return-value]
    taken = intake.take([{"interaction": answered, "success": True}])
    store.close()
    assert (taken["accepted"], taken["rejected"][0]["type"]) == (0, "unknown_family")
    assert "belongs to no family" in taken["rejected"][0]["detail"]


def test_the_right_is_that_of_a_familys_chat_and_a_key_for_named_families_or_without_money_left_may_not(
    tmp_path: Path,
) -> None:
    with faulty_provider() as behind:
        settings = home(tmp_path, behind)
        add_key(settings, "app")
        add_key(settings, "one", families=["topic", "remote"])
        add_key(settings, "reader", "read-texts")
        add_key(settings, "poor", limits={"calls_per_day": 1})
        add_key(settings, "elsewhere", families=["topic"])
        with running(settings) as url:
            assert post(url).status_code == 401
            answers = {name: post(url, key=name).status_code for name in ("app", "one", "reader", "poor")}
            assert answers == {"app": 200, "one": 403, "reader": 403, "poor": 200}
            assert post(url, key="poor").status_code == 429
            told = [
                post(url, key="elsewhere", model=name).json()["detail"].replace(name, "NAME")
                for name in ("remote", "nothing")
            ]
            assert told[0] == told[1], "a key for named families is not told which names are models"
        assert len(behind.bodies) == 2


def assert_refused_after_a_restart(settings: Settings, why: str) -> None:
    with running(settings) as url:
        refused = post(url)
        assert refused.status_code == 429
        assert why in refused.json()["detail"]


def test_the_hours_money_of_such_chats_is_bounded_also_after_a_restart(tmp_path: Path) -> None:
    with faulty_provider() as behind:
        settings = home(tmp_path, behind, limits={"models_usd_per_hour": 1.5 * COST_USD})
        with running(settings) as url:
            assert [post(url).status_code for _ in range(3)] == [200, 200, 429]
            assert post(url, model="topic").status_code == 200
        assert_refused_after_a_restart(settings, "limits.models_usd_per_hour")


def test_where_a_family_has_a_limit_its_models_are_not_asked_past_it(tmp_path: Path) -> None:
    with faulty_provider() as behind:
        settings = home(tmp_path, behind)
        file = tmp_path / "families" / "topic" / "family.yaml"
        file.write_text(file.read_text() + f"limits: {{usd_per_hour: {1.5 * COST_USD}}}\n")
        with running(settings) as url:
            assert [post(url).status_code for _ in range(3)] == [200, 200, 429]
        assert_refused_after_a_restart(settings, "least limits.usd_per_hour of a family")


def test_such_records_go_when_they_are_old(tmp_path: Path) -> None:
    with faulty_provider() as behind:
        settings = home(tmp_path, behind)
        with running(settings) as url:
            post(url)
        store, clock = wiring.open_store(settings), wiring.open_clock(settings)
        families = wiring.load_families(settings)
        later = clock.now() + timedelta(days=91)
        found, unpruned = retentions(
            store, type("Later", (), {"now": lambda self: later, "scale": 1.0})(), families.families
        )  # type: ignore[arg-type]
        (kept,) = [one for one in found if (one.rows, one.family) == ("interactions", NO_FAMILY)]
        assert (kept.prune(100), unpruned) == (1, [])
        store.close()


def post(url: str, *, key: str | None = None, **body: Any) -> httpx.Response:
    headers = {"X-API-Key": key} if key is not None else {}
    asked = {"model": "remote", "messages": ASKED, **body}
    return as_declared(httpx.post(f"{url}/v1/chat/completions", json=asked, headers=headers, timeout=30))
