"""Chat completions as applications use them: the unmodified openai package against a running gateway."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from api.gateway.chat_body import read_chat
from optimizer.core.base.errors import InvalidInput
from optimizer.core.serving.assignment import verify_token
from optimizer.host.config import Settings
from optimizer.jobs.families.create_variant import VariantRequest, store_draft
from optimizer.jobs.families.rename_family import RenameRequest, rename_family
from optimizer.jobs.rollouts.freeze import FreezeRequest, freeze, unfreeze
from optimizer.runtime import wiring
from tests.cases import named
from tests.clock import until
from tests.stand_ins.scripted_model import Provider, chat_answer, provider
from tests.worlds.contexts import context_of
from tests.worlds.gateway_world import (
    TWO_INPUTS,
    RunningGateway,
    add_key,
    client_of,
    embedded_gateway,
    family,
    make_home,
    remote,
    running,
)


class Setup(RunningGateway[Provider]):
    """With the store that it writes to."""

    def __init__(self, url: str, behind: Provider, settings: Settings) -> None:
        super().__init__(url, behind, settings)
        self.store = wiring.open_store(settings)

    def interaction(self, id: str) -> Any:
        def kept() -> Any:
            with self.store.read() as tx:
                return self.store.events.interaction(tx, id)

        return until(kept, f"the record of {id}")  # a store that is busy takes it a little later

    def champion(self, name: str = "topic") -> str:
        with self.store.read() as tx:
            found = self.store.champions.current(tx, name)
        assert found is not None
        return found.variant


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    with provider() as behind:
        models = {
            "remote": remote(behind.url, (1, 10)),
            "slow": remote(behind.url, timeout_s=0.2),
            "safe": remote("http://127.0.0.1:9", fallbacks=["remote"]),
        }
        families = {
            "topic": family("topic", "remote"),
            "drawn": family("drawn", "remote", temperature=0.7),
            "styled": family("styled", "remote", inputs=TWO_INPUTS, question="{{style}}: {{document}}"),
            "counted": family("counted", "remote", inputs=TWO_INPUTS, question="{{style}}: {{document}}"),
            "late": family("late", "slow"),
            "careful": family("careful", "safe"),
            "misnamed": family("misnamed", "nowhere"),
            "named": family("named", "remote"),
        }
        settings = make_home(tmp_path_factory.mktemp("home"), families, models)
        with running(settings) as url:
            made = Setup(url, behind, settings)
            yield made
            made.store.close()


@pytest.fixture(autouse=True)
def _provider_answers(setup: Setup) -> None:
    setup.behind.answer = lambda body: (200, {}, json.dumps(chat_answer("astronomy")).encode())
    setup.behind.bodies.clear()


def status_error(call: Callable[[], Any]) -> tuple[int, dict[str, Any]]:
    with pytest.raises(openai.APIStatusError) as caught:
        call()
    return caught.value.status_code, json.loads(caught.value.response.text)


def test_the_answer_is_openais_and_says_which_variant_gave_it(setup: Setup) -> None:
    raw = setup.client.chat.completions.with_raw_response.create(
        model="topic", messages=[{"role": "user", "content": "Stars"}], user="u1"
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == "astronomy"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 1100
    detent = answer.model_extra["detent"]
    assert {k: detent[k] for k in ("family", "variant", "role", "tiers", "confidence", "sticky")} == {
        "family": "topic",
        "variant": setup.champion(),
        "role": "champion",
        "tiers": ["remote"],
        "confidence": None,
        "sticky": True,
    }
    assert detent["cost_usd"] == pytest.approx(0.002)
    assert raw.headers["x-detent-assignment"] == detent["assignment"]


@pytest.mark.parametrize(
    "block",
    [
        lambda **arguments: {"type": "text", "tensorzero::arguments": arguments},
        lambda **arguments: {"type": "tensorzero::template", "name": "user", "arguments": arguments},
    ],
    ids=["tensorzero::arguments", "tensorzero::template"],
)
def test_a_request_as_tensorzero_takes_it_asks_the_family_of_its_function(
    setup: Setup, block: Callable[..., dict[str, Any]]
) -> None:
    def sent(model: str, messages: list[dict[str, Any]], **more: Any) -> Any:
        setup.behind.bodies.clear()
        answer = setup.post({"model": model, "messages": messages, **more})
        assert answer.status_code == 200, answer.text
        return setup.behind.bodies[-1]["messages"], answer.json()["detent"]["family"]

    function = "tensorzero::function_name::styled"
    user = {"role": "user", "content": [block(style="short", document="Stars")]}
    variables = {"style": "short", "document": "Stars"}
    here = sent("styled", [{"role": "user", "content": ""}], detent={"variables": variables})
    assert sent(function, [user]) == here
    system = {"role": "system", "content": [block(style="short")]}
    assert sent(function, [system, {"role": "user", "content": [block(document="Stars")]}]) == here
    extra = {"tensorzero::variant_name": "baseline", "tensorzero::episode_id": "0196"}
    assert sent("tensorzero::function_name::topic", [{"role": "user", "content": "Stars"}], **extra) == sent(
        "topic", [{"role": "user", "content": "Stars"}]
    )
    refused = setup.post({"model": function, "messages": [user, {"role": "assistant", "content": "x"}, user]})
    assert (refused.status_code, "earlier turn" in refused.text) == (422, True)
    assert setup.post({"model": "tensorzero::function_name::nope", "messages": [user]}).status_code == 404


def test_a_text_beside_tensorzeros_arguments_is_the_message_and_nothing_is_lost() -> None:
    def read(*messages: tuple[str, Any]) -> Any:
        sent = [{"role": role, "content": content} for role, content in messages]
        return read_chat({"model": "tensorzero::function_name::styled", "messages": sent}).detent.variables

    arguments = {"type": "text", "tensorzero::arguments": {"style": "short"}}
    text, other = {"type": "text", "text": "MY QUESTION"}, {"type": "text", "text": "and more"}
    expected = {"style": "short", "message": "MY QUESTION\nand more"}
    assert read(("user", [text, arguments, other])) == expected
    assert read(("system", [arguments]), ("user", [text, other])) == expected
    assert read(("user", [text, {"type": "text", "tensorzero::arguments": {}}])) == {"message": "MY QUESTION"}
    named = {"type": "text", "tensorzero::arguments": {"message": "x"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    for messages, pointer in (
        ([("system", [text, arguments]), ("user", "Stars")], "/messages/0/content"),
        ([("user", [text, named])], "/messages/0/content"),
        ([("user", [arguments, image])], "/messages/0/content/1"),
    ):
        with pytest.raises(InvalidInput) as caught:
            read(*messages)
        assert [fault.pointer for fault in caught.value.faults] == [pointer]


def test_a_family_that_was_renamed_answers_chats_that_name_it_as_before(setup: Setup) -> None:
    settings = setup.settings
    context = context_of(setup.store, wiring.open_clock(settings), "person", settings=settings)
    report = rename_family(context, RenameRequest(family="named", name="called", confirm="named"))
    assert report.family == "called"

    def answered(name: str) -> dict[str, Any]:
        answer = setup.post({"model": name, "messages": [{"role": "user", "content": "Stars"}], "user": "u1"})
        return answer.json() if answer.status_code == 200 else {}

    until(lambda: answered("called"), "the gateway to know the new name")
    answer = answered("named")
    assert answer["detent"]["family"] == "called"
    kept = setup.interaction(answer["id"])
    assert (kept.arm.family, kept.arm.variant) == ("called", setup.champion("named"))


def test_while_a_user_waits_for_a_model_what_runs_by_itself_can_see_it(setup: Setup) -> None:
    seen: list[bool] = []

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        seen.append(wiring.users_wait(setup.settings))
        return 200, {}, json.dumps(chat_answer("astronomy")).encode()

    setup.behind.answer = answer
    setup.chat("topic")
    assert seen == [True]
    os.utime(setup.settings.run_dir() / wiring.USER_CALLS, (0, 0))
    assert not wiring.users_wait(setup.settings)


def test_the_model_is_sent_the_familys_prompt_with_its_own_settings(setup: Setup) -> None:
    setup.chat("topic", "x" * 100, temperature=1.5, max_tokens=500)
    sent = setup.behind.bodies[-1]
    assert sent["messages"] == [
        {"role": "system", "content": "Name the topic."},
        {"role": "user", "content": "Text: " + "x" * 60},
    ]
    assert (sent["temperature"], sent["max_tokens"]) == (0.0, 12)


def test_the_interaction_is_on_record_under_the_answers_id(setup: Setup) -> None:
    answer = setup.chat("topic", "Stars", user="u2")
    found = setup.interaction(answer.id)
    assert answer.id.startswith("in_")
    assert (found.output, found.model, found.input) == ("astronomy", "remote", {"document": "Stars"})
    assert found.arm.variant == setup.champion()
    assert found.cost_usd == pytest.approx(0.002)
    secrets = wiring.open_secrets(setup.settings)
    token = verify_token(
        answer.model_extra["detent"]["assignment"], secrets.token_keys, wiring.open_clock(setup.settings).now()
    )
    assert token.unit_hmac == found.arm.unit_hmac
    assert token.unit_hmac is not None
    assert "u2" not in token.unit_hmac


def test_the_unit_may_stand_in_user_in_a_header_or_nowhere(setup: Setup) -> None:
    by_user = setup.chat("topic", user="u3").model_extra["detent"]
    by_header = setup.chat("topic", extra_headers={"X-Detent-Unit": "u3"}).model_extra["detent"]
    nobody = setup.chat("topic").model_extra["detent"]
    hmac = [setup_token(setup, d["assignment"]).unit_hmac for d in (by_user, by_header, nobody)]
    assert hmac[0] == hmac[1] is not None
    assert hmac[2] is None
    assert (by_header["sticky"], nobody["sticky"]) == (True, False)


def setup_token(setup: Setup, token: str) -> Any:
    return verify_token(token, wiring.open_secrets(setup.settings).token_keys, wiring.open_clock(setup.settings).now())


def test_earlier_messages_become_history_and_later_ones_follow_the_prompt(setup: Setup) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Stars"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    assert (
        setup.post({"model": "topic", "messages": messages, "tools": tools, "tool_choice": "auto"}).status_code == 200
    )
    sent = setup.behind.bodies[-1]
    assert sent["messages"] == [
        {"role": "system", "content": "Name the topic."},
        *messages[:2],
        {"role": "user", "content": "Text: Stars"},
        *messages[3:],
    ]
    assert (sent["tools"], sent["tool_choice"]) == (tools, "auto")


def test_tool_calls_of_the_model_reach_the_client(setup: Setup) -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]
    setup.behind.answer = lambda body: (200, {}, json.dumps(chat_answer("", tool_calls=calls)).encode())
    message = setup.chat("topic").choices[0].message
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.name == "look_up"


def test_variables_fill_a_family_with_several_inputs(setup: Setup) -> None:
    variables = {"document": "Stars", "style": "Short"}
    answer = setup.chat("styled", "ignored", extra_body={"detent": {"variables": variables}})
    assert setup.behind.bodies[-1]["messages"][-1]["content"] == "Short: Stars"
    assert setup.interaction(answer.id).input == variables


def test_a_refused_chat_is_no_exposure(setup: Setup) -> None:
    def exposed() -> list[int]:
        with setup.store.read() as tx:
            return [arm.n_exposed for arm in setup.store.exposures.totals(tx, "counted", None)]

    body = {"model": "counted", "messages": [{"role": "user", "content": "x"}]}
    assert [setup.post(body).status_code for _ in range(10)] == [422] * 10
    answered = {**body, "detent": {"variables": {"style": "a", "document": "b"}}, "messages": []}
    assert setup.post(answered).status_code == 200
    until(lambda: exposed() == [1])


def test_a_family_with_several_inputs_asks_for_variables(setup: Setup) -> None:
    status, problem = status_error(lambda: setup.chat("styled"))
    assert status == 422
    assert "document, style" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/detent/variables"


@named(
    ("change", "status", "slug"),
    {
        "several answers": ({"n": 2}, 422, "invalid-input"),
        "no user message": ({"messages": [{"role": "assistant", "content": "x"}]}, 422, "invalid-input"),
        "no model": ({"model": None}, 422, "invalid-input"),
        "unknown field": ({"detent": {"what": 1}}, 422, "invalid-input"),
        "unknown variable": ({"detent": {"variables": {"document": "x", "colour": "red"}}}, 422, "invalid-input"),
        "no such variant": ({"detent": {"variant": "v_0"}}, 404, "not-found"),
    },
)
def test_a_bad_request_is_a_problem_document_and_calls_no_model(
    setup: Setup, change: dict[str, Any], status: int, slug: str
) -> None:
    body = {"model": "topic", "messages": [{"role": "user", "content": "x"}], **change}
    response = setup.post({name: value for name, value in body.items() if value is not None})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"].endswith(slug)
    assert setup.behind.bodies == []


def test_a_failing_model_is_a_problem_and_an_interaction_with_its_error(setup: Setup) -> None:
    setup.behind.answer = lambda body: (500, {}, b'{"error": {"message": "on fire"}}')
    status, problem = status_error(lambda: setup.chat("topic", user="u5"))
    assert (status, problem["kind"], problem["status"]) == (502, "http", 502)
    assert "refused the request (500)" in problem["detail"]
    found = setup.interaction(problem["interaction"])
    assert found.error == f"http: {problem['detail']}"
    assert "on fire" not in found.error
    assert found.output is None


def test_a_model_that_is_too_slow_is_a_504(setup: Setup) -> None:
    setup.behind.answer = lambda body: (time.sleep(0.6), (200, {}, b"{}"))[1]
    status, problem = status_error(lambda: setup.chat("late"))
    assert (status, problem["kind"]) == (504, "timeout")


def test_a_fallback_answers_when_the_first_model_cannot(setup: Setup) -> None:
    answer = setup.chat("careful")
    assert answer.model_extra["detent"]["tiers"] == ["safe", "remote"]
    assert setup.interaction(answer.id).model == "remote"


def test_a_family_whose_model_is_not_configured_says_so(setup: Setup) -> None:
    status, problem = status_error(lambda: setup.chat("misnamed"))
    assert status == 502
    assert "'nowhere'" in problem["detail"]


def test_a_named_variant_is_answered_for_tests_and_stands_in_no_arm(setup: Setup) -> None:
    detent = setup.chat("topic", extra_body={"detent": {"variant": setup.champion()}}).model_extra["detent"]
    assert detent["variant"] == setup.champion()
    assert setup_token(setup, detent["assignment"]).rollout is None


def test_a_frozen_family_answers_with_its_champion_only(setup: Setup) -> None:
    family, clock = wiring.load_families(setup.settings).families["topic"], wiring.open_clock(setup.settings)
    other = store_draft(
        family,
        VariantRequest(family="topic", messages=[{"role": "user", "content": "{{document}}?"}]),
        actor="ann",
        store=setup.store,
        clock=clock,
    ).variant
    named = {"model": "topic", "messages": [{"role": "user", "content": "x"}], "detent": {"variant": other}}
    assert setup.post(named).json()["detent"]["variant"] == other
    freeze(context_of(setup.store, clock), FreezeRequest(family="topic", reason="launch"))
    try:
        until(lambda: setup.post(named).status_code == 409)
        assert setup.post(named).json()["undo"] == "detent unfreeze topic"
        assert setup.chat("topic").model_extra["detent"]["variant"] == setup.champion()
    finally:
        unfreeze(context_of(setup.store, clock), FreezeRequest(family="topic", reason="over"))
    until(lambda: setup.post(named).status_code == 200)


def test_models_are_the_families(setup: Setup) -> None:
    names = [m.id for m in setup.client.models.list()]
    assert names == sorted(names)
    renamed = {"called", "named"}  # by a test above, where it ran
    assert {*names} - renamed == {"careful", "counted", "drawn", "late", "misnamed", "styled", "topic"}


def test_health_and_readiness_answer_without_a_key(setup: Setup) -> None:
    assert httpx.get(f"{setup.url}/health").json() == {"status": "ok"}
    ready = httpx.get(f"{setup.url}/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert ready.json()["dependencies"]["store"]["ok"] is True


def test_with_keys_every_request_needs_one_and_named_variants_need_role_operate(tmp_path: Path) -> None:
    with provider() as behind:
        settings = make_home(tmp_path, {"topic": family("topic", "remote")}, {"remote": remote(behind.url)})
        for role in ("serve", "read-texts"):
            add_key(settings, f"secret-of-{role}", role)
        with running(settings) as url:
            body = {"model": "topic", "messages": [{"role": "user", "content": "x"}]}

            def post(more: dict[str, Any], **headers: str) -> httpx.Response:
                return httpx.post(f"{url}/v1/chat/completions", json={**body, **more}, headers=headers)

            assert post({}).status_code == 401
            assert post({}, Authorization="Bearer wrong").status_code == 401
            assert httpx.get(f"{url}/v1/models").status_code == 401
            assert post({}, Authorization="Bearer secret-of-read-texts").status_code == 403
            assert post({}, Authorization="Bearer secret-of-serve").status_code == 200
            forged = {"Authorization": "Bearer secret-of-serve", "X-Detent-Role": "admin", "X-Detent-Actor": "root"}
            assert post({"detent": {"variant": "v_0"}}, **forged).status_code == 403


def test_the_embedded_model_answers_the_openai_package(tmp_path: Path) -> None:
    with embedded_gateway(tmp_path) as (url, settings):
        client = client_of(url)
        answer = client.chat.completions.create(
            model="topic", messages=[{"role": "user", "content": "Stars burn hydrogen."}], user="u1"
        )
        assert answer.choices[0].message.content
        assert answer.usage is not None
        assert 0 < answer.usage.completion_tokens <= 12
        assert answer.model_extra["detent"]["cost_usd"] == 0.0
        ready = httpx.get(f"{url}/ready").json()["dependencies"]["embedded"]
        assert (ready["ok"], ready["processes"], ready["of"]) == (True, 1, 1)
        store = wiring.open_store(settings)
        with store.read() as tx:
            assert store.events.interaction(tx, answer.id).output == answer.choices[0].message.content
        store.close()
    assert not (settings.run_dir() / "embedded.json").exists()
