"""A provider's key goes where config/models.yaml says, and only what a file names is imported:
one test per way that a request could say otherwise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from optimizer.core.family.variant import Variant, VariantRecord
from optimizer.core.models.wire import MESSAGE, PARAMS
from optimizer.host.config import Settings
from optimizer.runtime import wiring
from tests.stand_ins.scripted_model import Provider, provider
from tests.worlds import api_world
from tests.worlds.api_world import World
from tests.worlds.gateway_world import family, interactions, make_home, record_of, running

KEY = "sk-the-providers-own"
STRAY = "stray_module_of_a_caller"
HAS_LITELLM = find_spec("litellm") is not None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Which refuses all but a few variants of no rollout."""
    home = tmp_path_factory.mktemp("world")
    with api_world.serving(api_world.make_home(home)) as made:
        plant(home)
        made.add_examples(60)
        yield made


def plant(home: Path) -> None:
    """A module that would leave its name behind if anything imported it."""
    (home / f"{STRAY}.py").write_text("def score(example, output):\n    return 1.0\n")


@pytest.fixture(autouse=True)
def nothing_stray_is_imported() -> Iterator[None]:
    yield
    assert STRAY not in sys.modules


def variant_of(world: World, **members: Any) -> Any:
    return world.post("/v1/families/triage/variants", {"from": world.champion(), **members})


def study_of(world: World, **members: Any) -> Any:
    return world.post("/v1/families/triage/studies", {"budget": {"calls": 200}, **members})


def pointers(answer: Any) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [fault["pointer"] for fault in answer.json()["errors"]]


def test_a_variant_takes_no_setting_that_says_where_a_call_goes(world: World) -> None:
    """Every such name, and values that a setting does not have: tests/unit/models/test_wire.py."""
    answer = variant_of(world, model={"api_base": "http://127.0.0.1:9/v1", "temperature": {"api_base": "x"}})
    assert sorted(pointers(answer)) == ["/model/api_base", "/model/temperature"]
    assert "top_p" in answer.text
    assert "config/models.yaml" in answer.text


@pytest.mark.parametrize("place", ["response_format", "model"])
def test_a_variant_takes_a_response_format_and_gives_it_up(world: World, place: str) -> None:
    wanted = {"type": "json_object"}
    given = {"response_format": wanted} if place == "response_format" else {"model": {"response_format": wanted}}
    made = variant_of(world, **given)
    assert made.is_success
    assert (made.json()["response_format"], "response_format" in made.json()["model"]) == (wanted, False)
    without = world.post("/v1/families/triage/variants", {"from": made.json()["variant"], "response_format": {}})
    assert without.json()["variant"] == world.champion()


def test_a_variants_gate_scores_with_no_function_that_no_file_names(world: World) -> None:
    answer = variant_of(world, policy={"gate.scorer": f"{STRAY}.score"})
    assert pointers(answer) == ["/policy/gate.scorer"]
    assert "families/triage/family.yaml" in answer.text


def test_a_studys_space_brings_no_function_and_no_address(world: World) -> None:
    gate = {"space": {"policy.gate.scorer": {"choices": ["checks", f"{STRAY}.score"]}}}
    for members in (gate, {"definition": gate}):
        assert pointers(study_of(world, **members)) == ["/definition/space/policy.gate.scorer"]
    for name, choices in (("temperature", [{"api_base": "x"}, 0.1]), ("api_base", ["http://127.0.0.1:9", "b"])):
        assert pointers(study_of(world, space={name: {"choices": choices}})) == [f"/space/{name}"]


@pytest.mark.parametrize(
    "members",
    [
        {"space": {"model": {"choices": ["openai/gpt-4o", "embedded"]}}},
        {"proposer": "openai/gpt-4o", "strategy": "copro", "space": {"instruction": {"propose": True}}},
        {
            "definition": {"proposer": "http://127.0.0.1:9/v1"},
            "strategy": "copro",
            "space": {"instruction": {"propose": True}},
        },
    ],
)
def test_a_study_asks_no_model_that_no_file_names(world: World, members: dict[str, Any]) -> None:
    answer = study_of(world, **members)
    assert answer.status_code == 404, answer.text
    assert world.get("/v1/studies").json()["items"] == []


@pytest.mark.parametrize("strategy", [f"{STRAY}:score", f"{STRAY}.score", "../../x"])
def test_a_strategy_is_a_name_that_is_known(world: World, strategy: str) -> None:
    assert study_of(world, strategy=strategy).status_code == 422
    put = world.client.put(
        "/v1/families/triage/schedule", json={"cron": "0 3 * * *", "strategy": strategy}, headers={"If-Match": "*"}
    )
    assert put.status_code == 422


def test_a_stored_variant_of_an_older_server_hands_out_no_address(world: World) -> None:
    model = {"name": "embedded", "api_base": "x", "seed": 3}
    old = keep(world.settings, "triage", model, {"role": "user", "content": "{{text}}"})
    until = world.client.put("/v1/families/triage/overrides/u1", json={"variant": old})
    assert until.status_code in (200, 201, 204), until.text
    world.shared.serving.refresh()
    served = world.get("/v1/families/triage/prompt?unit=u1").json()
    assert (served["variant"], served["model"]) == (old, {"name": "embedded", "seed": 3})
    made = world.post("/v1/families/triage/variants", {"from": old, "model": {"temperature": 0.1}})
    assert made.json()["model"] == {"name": "embedded", "seed": 3, "temperature": 0.1}


QUESTION = {"role": "user", "content": "{{document}}"}


def keep(settings: Settings, name: str, model: Any, message: Any = QUESTION, policy: Any = ()) -> str:
    """The id of a variant as an older server has stored it, past today's door."""
    variant = Variant(messages=(message,), model=model, policy=dict(policy))
    store, at = wiring.open_store(settings), wiring.open_clock(settings).now()
    record = VariantRecord(family=name, variant=variant, source="person", created_at=at, created_by="x")
    store.write(lambda tx: store.variants.add(tx, record))
    store.close()
    return variant.id


class Wire:
    """A running gateway before a provider that the file names; ``thief`` is one that only requests name."""

    def __init__(self, url: str, right: Provider, thief: Provider, settings: Settings) -> None:
        self.url, self.right, self.thief, self.settings = url, right, thief, settings

    def chat(self, name: str, **body: Any) -> httpx.Response:
        messages = body.pop("messages", [{"role": "user", "content": "Stars"}])
        return httpx.post(
            f"{self.url}/v1/chat/completions", json={"model": name, "messages": messages, **body}, timeout=60
        )


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with provider() as right, provider() as thief:
        home = tmp_path_factory.mktemp("home")
        keyed = {"api_key_env": "KEY_OF_THE_PROVIDER", "retries": 0}
        models: dict[str, Any] = {"direct": {"openai_compatible": right.url, **keyed}}
        if HAS_LITELLM:
            models["lite"] = {"litellm": "openai/m", "api_base": right.url, **keyed}
        plant(home)
        settings = make_home(home, {name: family(name, name) for name in models}, models)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KEY_OF_THE_PROVIDER", KEY)
            with running(settings) as url:
                yield Wire(url, right, thief, settings)


@pytest.fixture
def fresh(wire: Wire) -> Iterator[Wire]:
    wire.right.bodies.clear()
    yield wire
    assert wire.thief.bodies == []
    assert all(set(body) <= {"model", "messages", "stream", "stream_options", *PARAMS} for body in wire.right.bodies)
    assert all(set(message) <= set(MESSAGE) for body in wire.right.bodies for message in body["messages"])


NAMES = ["direct", pytest.param("lite", marks=pytest.mark.skipif(not HAS_LITELLM, reason="LiteLLM is not installed"))]


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_variant_of_an_older_server_calls_the_address_of_the_file(fresh: Wire, name: str) -> None:
    stolen = {
        "api_base": fresh.thief.url,
        "base_url": fresh.thief.url,
        "extra_headers": {"X-Stolen": "1"},
        "extra_body": {"a": 1},
        "mock_response": "mocked",
        "fallbacks": ["openai/x"],
        "custom_llm_provider": "openai",
        "drop_params": True,
    }
    old = keep(fresh.settings, name, {"name": name, "temperature": 0.0, **stolen}, {**QUESTION, "provider": "x"})
    answer = fresh.chat(name, detent={"variant": old})
    assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "hi")
    sent = {name.lower(): value for name, value in fresh.right.headers[-1].items()}
    assert sent["authorization"] == f"Bearer {KEY}"
    assert not any("stolen" in header.lower() for header in fresh.right.headers[-1])


@pytest.mark.parametrize("name", NAMES)
def test_what_a_chat_says_beside_its_own_members_is_not_sent(fresh: Wire, name: str) -> None:
    more = {
        "api_base": fresh.thief.url,
        "api_key": "x",
        "extra_headers": {"a": "b"},
        "mock_response": "m",
        "temperature": 1.5,
        "metadata": {"a": "b"},
    }
    assert fresh.chat(name, **more).status_code == 200
    (body,) = fresh.right.bodies
    assert body["temperature"] == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_no_address_in_a_chat_is_fetched(fresh: Wire, name: str) -> None:
    image = {"type": "image_url", "image_url": {"url": fresh.thief.url}}
    earlier = [
        {"role": "user", "content": [image]},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "Stars"},
    ]
    assert pointers(fresh.chat(name, messages=earlier)) == ["/messages/0/content/0"]
    file = [{"role": "user", "content": [{"type": "file", "file": {"file_id": fresh.thief.url}}]}, *earlier[1:]]
    assert pointers(fresh.chat(name, messages=file)) == ["/messages/0/content/0"]
    tool = {"type": "mcp", "server_url": fresh.thief.url, "server_label": "x"}
    assert pointers(fresh.chat(name, tools=[tool])) == ["/tools/0"]
    format = {"type": "json_object", "response_schema": {"$ref": fresh.thief.url}, "enforce_validation": True}
    assert pointers(fresh.chat(name, response_format=format)) == [
        "/response_format/response_schema",
        "/response_format/enforce_validation",
    ]
    assert fresh.right.bodies == []


def test_a_model_is_a_name_of_the_file_and_never_an_id_of_a_provider(
    fresh: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_BASE", fresh.thief.url)
    for model, policy in (
        ("openai/gpt-4o", {}),
        ("direct", {"votes.models": ["openai/gpt-4o", "openai/o1", "openai/o3"]}),
    ):
        old = keep(fresh.settings, "direct", {"name": model}, policy=policy)
        assert fresh.chat("direct", detent={"variant": old}).status_code == 502


def test_a_stored_variant_of_an_older_server_imports_nothing(fresh: Wire) -> None:
    policy = {"gate.scorer": f"{STRAY}.score", "gate.retries": 1}
    old = keep(fresh.settings, "direct", {"name": "direct", "temperature": 0.0}, policy=policy)
    assert fresh.chat("direct", detent={"variant": old}).status_code == 200


SAID = (
    f"Bad request to http://user:pass@10.0.0.5/v1 with {KEY}: /srv/app/x.py line 3 Traceback: Name the topic. Text:"
    " Stars"
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("status", [400, 401, 429, 500, 504, 200])
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_provider_says_of_a_failed_call_is_told_to_nobody_else(
    fresh: Wire, name: str, status: int, stream: bool
) -> None:
    before = fresh.right.answer
    fresh.right.answer = lambda body: (status, {}, json.dumps({"error": {"message": SAID}}).encode())
    try:
        answer = fresh.chat(name, stream=stream)
    finally:
        fresh.right.answer = before
    assert answer.status_code in (502, 503, 504), answer.text
    id = answer.json().get("interaction")
    kept = record_of(fresh.settings, name, id)["error"] if id else ""
    for text in (answer.text, kept):
        assert not any(
            word in text for word in ("10.0.0.5", "pass@", KEY, "/srv/", "Traceback", "Name the topic", fresh.right.url)
        )


@pytest.mark.parametrize("name", NAMES)
def test_no_address_is_told_of_a_provider_that_is_away(name: str, tmp_path: Path) -> None:
    away = "http://user:pass@127.0.0.1:9/v1"
    models = {
        "direct": {"openai_compatible": away, "retries": 0},
        "lite": {"litellm": "openai/m", "api_base": away, "retries": 0},
    }
    settings = make_home(tmp_path, {name: family(name, name)}, {name: models[name]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        with running(settings) as url:
            answer = httpx.post(
                f"{url}/v1/chat/completions",
                json={"model": name, "messages": [{"role": "user", "content": "x"}]},
                timeout=60,
            )
    assert answer.status_code == 502
    assert not any(
        word in answer.text + str(interactions(settings, name)) for word in ("127.0.0.1:9", "pass@", str(tmp_path), KEY)
    )
