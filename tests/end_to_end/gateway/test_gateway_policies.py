"""Policies as applications meet them: the unmodified openai package against a running gateway,
with scripted models behind it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.gateway.reader import ClientGone
from optimizer.core.feedback.events import LaterParts
from optimizer.host.config import Settings
from optimizer.jobs.calls.execute_policy import Execution, execute_policy
from optimizer.runtime import wiring
from tests.clock import until
from tests.stand_ins.scripted_model import Provider, chat_answer, provider
from tests.worlds.gateway_world import RunningGateway, family, interactions, make_home, record_of, remote, running

PRICES = {"cheap": (1, 10), "strong": (10, 100)}
CASCADE = "tiers: [cheap, strong], accept: 0.9, audit_share: 0"
POLICIES = {
    "cascade": CASCADE,
    "audited": "tiers: [cheap, strong], accept: 0.9, audit_share: 1",
    "strict": f"{CASCADE}, fall_back: false",
    "hidden": CASCADE,
}
Answer = tuple[int, dict[str, Any]]


def with_policy(name: str, policy: str) -> str:
    text = family(name, "cheap").replace("versions:\n", "versions:\n", 1)
    text = text.replace(
        'role: user, content: "Text: {{document}}"}]}',
        f'role: user, content: "Text: {{{{document}}}}"}}], policy: {{{policy}}}}}',
    )
    if "tiers" in policy:
        text = text.replace("tiers: [cheap]", "tiers: [cheap, strong]")
    return text + ("privacy: {mask: [email]}\n" if name == "hidden" else "")


def said(text: str, sure: float | None = None, **message: Any) -> Answer:
    value = chat_answer(text, **message)
    if sure is not None:
        from math import log

        value["choices"][0]["logprobs"] = {"content": [{"token": "t", "logprob": log(sure)}]}
    return 200, value


class Setup(RunningGateway[Provider]):
    """``plays`` says what each model answers: a value, or a function of the request's body."""

    def __init__(self, url: str, behind: Provider, settings: Settings) -> None:
        super().__init__(url, behind, settings)
        self.plays: dict[str, Answer | Callable[[Mapping[str, Any]], Answer]] = {}
        behind.answer = self._answer

    def _answer(self, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        play = self.plays[body["model"]]
        status, value = play(body) if callable(play) else play
        return status, {}, json.dumps(value).encode()

    def interaction(self, id: str, name: str) -> dict[str, Any]:
        return record_of(self.settings, name, id)

    def asked(self) -> list[str]:
        return [body["model"] for body in self.behind.bodies]


@pytest.fixture(scope="module")
def running_setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    with provider() as behind:
        models = {name: remote(behind.url, usd, model=name) for name, usd in PRICES.items()}
        home = tmp_path_factory.mktemp("home")
        settings = make_home(home, {name: with_policy(name, policy) for name, policy in POLICIES.items()}, models)
        with running(settings) as url:
            yield Setup(url, behind, settings)


@pytest.fixture
def setup(running_setup: Setup) -> Setup:
    running_setup.behind.bodies.clear()
    running_setup.plays = {name: said(f"by {name}", 0.5) for name in PRICES}
    return running_setup


ERROR: Answer = (500, {"error": {"message": "out of order"}})


def test_a_sure_answer_of_the_cheap_model_is_taken_and_says_what_the_strong_one_would_have_cost(setup: Setup) -> None:
    setup.plays["cheap"] = said("physics", 0.95)
    answer = setup.chat("cascade", user="u1")
    detent = answer.model_extra["detent"]
    assert answer.choices[0].message.content == "physics"
    assert (detent["tiers"], detent["confidence"], detent["cost_usd"]) == (
        ["cheap"],
        pytest.approx(0.95),
        pytest.approx(0.002),
    )
    assert detent["tier"] == "cheap"
    assert detent["why"].startswith("cheap is sure enough: ")
    assert detent["others"] == [{"tier": "strong", "asked": False, "confidence": None, "cost_usd": pytest.approx(0.02)}]
    assert setup.interaction(answer.id, "cascade")["tags"] == {"not_asked": {"strong": pytest.approx(0.02)}}
    assert setup.behind.bodies[0]["logprobs"] is True


def test_an_unsure_answer_asks_the_strong_model_and_all_of_it_is_one_interaction(setup: Setup) -> None:
    answer = setup.chat("cascade", user="u1")
    detent = answer.model_extra["detent"]
    assert (answer.choices[0].message.content, detent["tiers"]) == ("by strong", ["cheap", "strong"])
    assert detent["cost_usd"] == pytest.approx(0.022)
    assert detent["tier"] == "strong"
    (passed_on,) = detent["others"]
    assert passed_on == {
        "tier": "cheap",
        "asked": True,
        "confidence": setup.interaction(answer.id, "cascade")["parts"][0]["confidence"],
        "cost_usd": pytest.approx(0.002),
    }
    assert 0 < passed_on["confidence"] < 0.9
    assert answer.usage is not None
    assert answer.usage.total_tokens == 2200
    found = setup.interaction(answer.id, "cascade")
    assert (found["output"], found["model"], found["cost_usd"]) == ("by strong", "strong", pytest.approx(0.022))
    assert (found["input_tokens"], found["output_tokens"], found["tags"]) == (2000, 200, {})
    first, second = found["parts"]
    assert {k: first[k] for k in ("tier", "model", "purpose", "output")} == {
        "tier": 0,
        "model": "cheap",
        "purpose": "answer",
        "output": "by cheap",
    }
    assert (second["tier"], second["taken"], "output" in second) == (1, True, False)
    assert first["cost_usd"] + second["cost_usd"] == pytest.approx(found["cost_usd"])
    assert first["latency_ms"] + second["latency_ms"] <= found["latency_ms"]


def test_with_fall_back_off_it_is_a_502_and_what_was_paid_is_on_record(setup: Setup) -> None:
    setup.plays["strong"] = ERROR
    with pytest.raises(openai.APIStatusError) as caught:
        setup.chat("strict")
    problem = json.loads(caught.value.response.text)
    assert (caught.value.status_code, "out of order" in problem["detail"], "parts" in problem) == (502, False, False)
    found = setup.interaction(problem["interaction"], "strict")
    assert found["error"].startswith("http:")
    assert (found["cost_usd"], [part["model"] for part in found["parts"]]) == (
        pytest.approx(0.002),
        ["cheap", "strong"],
    )


def test_an_audited_request_asks_the_other_tiers_behind_its_answer(setup: Setup) -> None:
    setup.plays["cheap"] = said("physics", 0.95)
    answer = setup.chat("audited")
    assert answer.model_extra["detent"]["cost_usd"] == pytest.approx(0.002)
    found = until(lambda: later_parts(setup, answer.id))
    assert found.cost_usd == pytest.approx(0.02)
    assert [(part["tier"], part["purpose"], part["output"]) for part in found.parts] == [(1, "audit", "by strong")]
    assert setup.interaction(answer.id, "audited")["cost_usd"] == pytest.approx(0.002)
    app = create_app(setup.settings)
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50000)) as api:
        shown = api.get(f"/v1/interactions/{answer.id}").json()
    assert [part["model"] for part in shown["parts"]] == ["cheap"]
    assert [part["model"] for part in shown["later_parts"]] == ["strong"]


def test_what_is_still_asked_when_a_client_has_left_is_on_record(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*args: Any, **named: Any) -> Execution:
        return replace(await execute_policy(*args, **named), interrupted=ClientGone())

    monkeypatch.setattr("api.gateway.policy_answer.execute_policy", interrupted)
    setup.plays["cheap"] = said("physics", 0.95)
    before = len(interactions(setup.settings, "audited"))
    with pytest.raises(openai.APIStatusError):
        setup.chat("audited")
    found = interactions(setup.settings, "audited")[before]
    assert (found["cost_usd"], [part["model"] for part in found["parts"]]) == (pytest.approx(0.002), ["cheap"])
    assert until(lambda: later_parts(setup, found["id"])).cost_usd == pytest.approx(0.02)


def later_parts(setup: Setup, id: str) -> LaterParts | None:
    store = wiring.open_store(setup.settings)
    try:
        with store.read() as tx:
            return store.events.later_parts(tx, "audited", {id}).get(id)
    finally:
        store.close()


def test_parts_are_masked_as_the_family_asks(setup: Setup) -> None:
    setup.plays["cheap"] = said("write to anna@example.org", 0.2)
    answer = setup.chat("hidden")
    assert setup.interaction(answer.id, "hidden")["parts"][0]["output"] == "write to [email]"


def test_a_stream_brings_the_decided_answer_once_it_is_decided(setup: Setup) -> None:
    chunks = list(setup.chat("cascade", stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "by strong"
    assert chunks[-1].model_extra["detent"]["tiers"] == ["cheap", "strong"]
    assert not any(body.get("stream") for body in setup.behind.bodies)
