"""OTLP over HTTP: spans of both generations of OpenTelemetry's GenAI conventions become interactions, evaluations
become outcomes, and hostile bodies are refused in the protocol's own words.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings, strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from api.held_texts import HELD_S, MOST_CALLS, MOST_CHARS, HeldTexts
from optimizer.core.feedback.telemetry import MESSAGE_CHARS, CallTexts
from tests.examples import n_examples
from tests.worlds.api_world import World, make_home, serving

TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
START = 1_795_000_000_000_000_000
PROTOBUF = "application/x-protobuf"
MODELS = """\
embedded: {provider: embedded}
house: {litellm: openai/house-model, price: {input_usd_per_mtok: 2, output_usd_per_mtok: 10}}
"""
ANSWERED = {"gen_ai.request.model": "house", "gen_ai.response.model": "house-model"}
OF_FAMILY = {"gen_ai.prompt.name": "triage", "user.id": "u1"}
GENERATIONS = {
    "first": {
        **{"gen_ai.system": "openai", "gen_ai.operation.name": "chat", **ANSWERED},
        **{"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10},
    },
    "before the first": {
        **{"gen_ai.system": "openai", **ANSWERED},
        **{"gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 10},
        **{"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Refund?"},
        **{"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "billing"},
    },
    "second": {
        **{"gen_ai.provider.name": "openai", "gen_ai.operation.name": "chat", **ANSWERED},
        **{"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10},
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Refund?"}]}]),
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "parts": [{"type": "text", "content": "billing"}], "finish_reason": "stop"}]
        ),
    },
}
EVENTS_OF_FIRST = [
    {"name": "gen_ai.user.message", "attributes": {"gen_ai.event.content": '{"content": "Refund?"}'}},
    {
        "name": "gen_ai.choice",
        "attributes": {"gen_ai.event.content": '{"index": 0, "message": {"content": "billing"}}'},
    },
]
TEXTS = {"input": {"messages": [{"role": "user", "content": "Refund?"}]}, "output": "billing"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    (home / "config").mkdir()
    (home / "config" / "models.yaml").write_text(MODELS, encoding="utf-8")
    with serving(make_home(home)) as running:
        running.add_key("shop", "feedback", secret="shop")
        running.add_key("marker", "feedback", secret="marker", sources=["judge"])
        running.add_key("of-another", "feedback", secret="elsewhere", families=["elsewhere"])
        running.add_key("boss", "admin", secret="boss")
        yield running


def value(of: Any) -> dict[str, Any]:
    if isinstance(of, bool):
        return {"boolValue": of}
    if isinstance(of, int):
        return {"intValue": str(of)}
    if isinstance(of, float):
        named = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}  # as protobuf's JSON has them
        return {"doubleValue": named.get(str(of), of)}
    if isinstance(of, dict):
        return {"kvlistValue": {"values": pairs(of)}}
    if isinstance(of, list):
        return {"arrayValue": {"values": [value(item) for item in of]}}
    return {"stringValue": of}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(of)} for key, of in attributes.items()]


def span(attributes: dict[str, Any], *, id: str = SPAN, events: Any = (), ms: float = 420, **more: Any) -> Any:
    inside = [{"timeUnixNano": str(START), **event, "attributes": pairs(event["attributes"])} for event in events]
    times = {"startTimeUnixNano": str(START), "endTimeUnixNano": str(START + int(ms * 1e6))}
    return {"traceId": TRACE, "spanId": id, **times, "attributes": pairs(attributes), "events": inside, **more}


def traces(*spans: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def logs(*records: Any) -> dict[str, Any]:
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": list(records)}]}]}


def evaluation(score: Any, *, id: str = SPAN, label: str = "pass", **more: Any) -> dict[str, Any]:
    attributes = {"gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.label": label}
    if score is not None:
        attributes |= {"gen_ai.evaluation.score.value": score}
    return {
        "eventName": "gen_ai.evaluation.result",
        "traceId": TRACE,
        "spanId": id,
        "timeUnixNano": str(START),
        "attributes": pairs(attributes),
        **more,
    }


def post(world: World, path: str, body: Any, key: str = "shop", **headers: str) -> Any:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    own = {"Content-Type": "application/json", "Authorization": f"Bearer {key}", **headers}
    return world.client.post(path, content=sent, headers={name.replace("_", "-"): of for name, of in own.items()})


def interaction(world: World, id: str = SPAN) -> dict[str, Any]:
    answer = world.get(f"/v1/interactions/{TRACE}-{id}", headers={"Authorization": "Bearer boss"})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def outcomes(world: World, id: str) -> list[dict[str, Any]]:
    answer = world.get("/v1/feedback?limit=1000", headers={"Authorization": "Bearer boss"})
    return [one for one in answer.json()["items"] if one["interaction"] == f"{TRACE}-{id}"]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_call_of_either_generation_is_an_interaction(world: World, generation: str) -> None:
    id = f"{list(GENERATIONS).index(generation) + 1:016x}"
    events = EVENTS_OF_FIRST if generation == "first" else ()
    sent = traces(span({**GENERATIONS[generation], **OF_FAMILY}, id=id, events=events))
    answer = post(world, "/v1/traces", sent)
    assert (answer.status_code, answer.json()) == (200, {})
    one = interaction(world, id)
    assert {name: one[name] for name in TEXTS} == TEXTS
    assert (one["model"], one["latency_ms"], one["error"]) == ("house-model", 420.0, None)
    assert (one["input_tokens"], one["output_tokens"]) == (100, 10)
    assert one["cost_usd"] == pytest.approx((100 * 2 + 10 * 10) / 1e6)
    assert one["time_to_first_token_ms"] == (250.0 if generation == "second" else None)
    assert one["occurred_at"].startswith("2026-11-18T")


def test_a_span_with_the_token_counts_in_the_arm_that_was_served(world: World) -> None:
    headers = {"Authorization": "Bearer shop", "X-Detent-Unit": "u7"}
    served = world.get("/v1/families/triage/prompt", headers=headers).json()
    attributes = {**GENERATIONS["second"], "detent.assignment": served["assignment"], "detent.input": '{"text": "a"}'}
    assert post(world, "/v1/traces", traces(span(attributes, id="a" * 16))).json() == {}
    one = interaction(world, "a" * 16)
    assert (one["variant"], one["input"]) == (served["variant"], {"text": "a"})


def test_the_version_of_a_prompt_is_its_variant(world: World) -> None:
    headers = {"Authorization": "Bearer boss"}
    variant = world.get("/v1/families/triage", headers=headers).json()["champion"]["variant"]
    named = {**GENERATIONS["second"], **OF_FAMILY, "gen_ai.prompt.version": variant}
    other = {**named, "gen_ai.prompt.version": "3"}
    answer = post(world, "/v1/traces", traces(span(named, id="b" * 16), span(other, id="c" * 16))).json()
    assert answer["partialSuccess"]["rejectedSpans"] == "1"
    assert "no variant '3'" in answer["partialSuccess"]["errorMessage"]
    assert interaction(world, "b" * 16)["variant"] == variant


def test_an_error_is_told_with_its_kind(world: World) -> None:
    failed = {**GENERATIONS["first"], **OF_FAMILY, "error.type": "APITimeoutError"}
    sent = span(failed, id="d" * 16, status={"code": 2, "message": "Request timed out."})
    assert post(world, "/v1/traces", traces(sent)).json() == {}
    assert interaction(world, "d" * 16)["error"] == "APITimeoutError: Request timed out."


def test_what_belongs_to_no_family_is_acknowledged_and_not_kept(world: World) -> None:
    foreign = {**GENERATIONS["second"], "gen_ai.prompt.name": "their-prompt"}
    agent = {**GENERATIONS["second"], **OF_FAMILY, "gen_ai.operation.name": "invoke_agent"}
    web: dict[str, Any] = {"http.request.method": "GET"}
    unlinked = GENERATIONS["second"]
    spans = [span(of, id=f"e{i:015x}") for i, of in enumerate((foreign, agent, web, unlinked))]
    told = post(world, "/v1/traces", traces(*spans)).json()["partialSuccess"]
    assert "rejectedSpans" not in told
    assert told["errorMessage"] == (
        "1 span not kept: gen_ai.prompt.name is 'their-prompt', and no family here has such a name"
    )
    for i in range(4):
        path = f"/v1/interactions/{TRACE}-e{i:015x}"
        assert world.get(path, headers={"Authorization": "Bearer boss"}).status_code == 404


def test_a_span_that_is_sent_again_counts_once_also_in_the_other_format(world: World) -> None:
    sent = traces(span({**GENERATIONS["second"], **OF_FAMILY}, id="f" * 16))
    message = ExportTraceServiceRequest()
    ParseDict(sent, message)
    [of] = message.resource_spans[0].scope_spans[0].spans
    of.trace_id, of.span_id = bytes.fromhex(TRACE), bytes.fromhex("f" * 16)
    assert post(world, "/v1/traces", sent).json() == {}
    packed = gzip.compress(message.SerializeToString())
    answer = post(world, "/v1/traces", packed, Content_Type=PROTOBUF, Content_Encoding="gzip")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, PROTOBUF, b"")
    changed = traces(span({**GENERATIONS["first"], **OF_FAMILY}, id="f" * 16))
    assert post(world, "/v1/traces", changed).json() == {}
    assert interaction(world, "f" * 16)["output"] == "billing"


def message(name: str, body: dict[str, Any], *, id: str) -> dict[str, Any]:
    """As an instrumentation of the first generation logs one."""
    return {"eventName": name, "traceId": TRACE, "spanId": id, "timeUnixNano": str(START), "body": value(body)}


def messages(id: str, question: str = "Refund?") -> list[dict[str, Any]]:
    answer = {"index": 0, "message": {"role": "assistant", "content": "billing"}}
    return [
        message("gen_ai.user.message", {"content": question}, id=id),
        message("gen_ai.choice", answer, id=id),
    ]


@pytest.mark.parametrize("spans_at", [0, 1, 2], ids=["before", "between", "after"])
def test_messages_in_log_records_are_the_texts_of_their_span_whichever_comes_first(world: World, spans_at: int) -> None:
    id = f"{spans_at + 1:016x}"
    sent = traces(span({**GENERATIONS["first"], **OF_FAMILY}, id=id))
    exports = [("/v1/logs", logs(one)) for one in messages(id)]
    exports.insert(spans_at, ("/v1/traces", sent))
    for path, body in exports:
        for _ in range(2):  # as an exporter sends again what was not acknowledged
            assert post(world, path, body).json() == {}
    kept = interaction(world, id)
    assert ({name: kept[name] for name in TEXTS}, kept["input_tokens"]) == (TEXTS, 100)
    assert post(world, "/v1/logs", logs(*messages(id, "Another?"))).json() == {}
    assert post(world, "/v1/traces", sent).json() == {}
    again = interaction(world, id)
    assert {name: again[name] for name in TEXTS} == TEXTS


def test_log_records_of_another_key_or_of_no_span_give_no_texts(world: World) -> None:
    id = "1a" * 8
    assert post(world, "/v1/logs", logs(*messages(id)), key="marker").json() == {}
    assert post(world, "/v1/logs", logs(*messages("0" * 16))).json() == {}
    assert post(world, "/v1/traces", traces(span({**GENERATIONS["first"], **OF_FAMILY}, id=id))).json() == {}
    assert post(world, "/v1/logs", logs(*messages(id)), key="marker").json() == {}
    kept = interaction(world, id)
    assert (kept["input"], kept["output"]) == (None, None)


def test_texts_of_log_records_that_are_too_long_are_told_and_the_span_is_kept(world: World) -> None:
    id = "1b" * 8
    assert post(world, "/v1/traces", traces(span({**GENERATIONS["first"], **OF_FAMILY}, id=id))).json() == {}
    told = post(world, "/v1/logs", logs(*messages(id, "x" * 1_100_000))).json()["partialSuccess"]
    assert "rejectedLogRecords" not in told
    assert "texts of a span were not kept" in told["errorMessage"]
    assert interaction(world, id)["input"] is None


def test_texts_are_held_for_a_minute_and_the_oldest_go_first() -> None:
    now = [0.0]
    held = HeldTexts(now=lambda: now[0])
    held.add("shop", "a", CallTexts(output="x" * (MOST_CHARS - 2 * MESSAGE_CHARS - 1)), export=1)
    held.add("shop", "b", CallTexts(output="y"), export=2)
    assert set(held.of("shop", ["a", "b"])) == {"a", "b"}
    assert held.of("other", ["a", "b"]) == {}
    held.add("shop", "c", CallTexts(output="z"), export=3)
    assert set(held.of("shop", ["a", "b", "c"])) == {"b", "c"}
    held.take("shop", "b")
    now[0] = HELD_S
    assert held.of("shop", ["b", "c"]) == {}
    for n in range(MOST_CALLS + 1):
        held.add("shop", f"call {n}", CallTexts(output="x"), export=n)
    assert set(held.of("shop", ["call 0", "call 1"])) == {"call 1"}


def test_texts_that_come_again_take_no_room_from_others() -> None:
    held = HeldTexts(now=lambda: 0.0)
    question = CallTexts(messages=[{"role": "user", "content": "hi"}], output="x")
    for export in (1, 1, 2):
        held.add("shop", "a", CallTexts(list(question.messages), question.output), export=export)
    assert held.of("shop", ["a"])["a"] == CallTexts(question.messages * 2, "x")
    held.add("shop", "a", CallTexts(output="another choice" * MOST_CHARS), export=3)
    held.add("shop", "b", CallTexts(output="y" * (MOST_CHARS - 10 * MESSAGE_CHARS)), export=4)
    assert set(held.of("shop", ["a", "b"])) == {"a", "b"}


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(CallTexts([{"role": "r" * 4_000, "content": "x"}]), id="long roles"),
        pytest.param(CallTexts([{"role": "user", "content": "x"}] * 40), id="many short messages"),
        pytest.param(CallTexts(), id="many exports of one call"),
    ],
)
def test_whatever_a_sender_adds_is_bounded_and_takes_no_room_from_other_senders(texts: CallTexts) -> None:
    held = HeldTexts(now=lambda: 0.0)
    held.add("other", "a", CallTexts(output="y"), export=0)
    for export in range(MOST_CHARS // (texts.n_chars + MESSAGE_CHARS) + 1):
        held.add("shop", "a", texts, export=export)
    assert (held.of("shop", ["a"]), set(held.of("other", ["a"]))) == ({}, {"a"})


def test_what_a_sender_left_goes_by_its_time_when_another_one_adds() -> None:
    now = [0.0]
    held = HeldTexts(now=lambda: now[0])
    held.add("other", "a", CallTexts(output="y"), export=0)
    now[0] = HELD_S
    held.add("shop", "a", CallTexts(output="x"), export=1)
    now[0] = 0.0
    assert (held.of("other", ["a"]), set(held.of("shop", ["a"]))) == ({}, {"a"})


def test_log_records_with_texts_count_as_events(tmp_path: Path) -> None:
    ids = [f"{TRACE}-{n:016x}" for n in (1, 2)]
    with serving(make_home(tmp_path, limits={"events_per_minute": 2})) as world:
        world.add_key("shop", "feedback", secret="shop")
        told = [post(world, "/v1/logs", logs(*messages(id[-16:]))).status_code for id in ids]
        assert (told, list(world.shared.held_texts.of("shop", ids))) == ([200, 429], ids[:1])


def test_an_export_is_read_in_a_turn_of_long_readings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        turns.append("begins")
        yield

    monkeypatch.setattr(world.shared.turns, "long", turn())
    assert post(world, "/v1/logs", {}).status_code == 200
    assert turns == ["begins"]


def test_a_span_may_name_its_family_as_it_was_called_before(tmp_path: Path) -> None:
    with serving(make_home(tmp_path)) as world:
        sent = traces(span({**GENERATIONS["first"], **OF_FAMILY}))
        renamed = world.post("/v1/families/triage/rename", {"name": "tickets", "confirm": "triage"})
        assert (renamed.status_code, post(world, "/v1/traces", sent).json()) == (200, {})
        assert interaction(world)["family"] == "tickets"


def test_an_evaluation_is_an_outcome_by_a_judge_only_where_the_key_may_say_so(world: World) -> None:
    id = "1" * 16
    inside = {"name": "gen_ai.evaluation.result", "attributes": {"gen_ai.evaluation.score.value": 0.5}}
    sent = traces(span({**GENERATIONS["second"], **OF_FAMILY}, id=id, events=[inside]))
    assert post(world, "/v1/traces", sent).json() == {}
    assert post(world, "/v1/logs", logs(evaluation(0.9, id=id), evaluation(None, id=id, label="fail"))).json() == {}
    assert post(world, "/v1/logs", logs(evaluation(1, id=id)), key="marker").json() == {}
    assert post(world, "/v1/logs", logs(evaluation(1, id=id)), key="marker").json() == {}
    kept = [(one["source"], one["score"], one["success"]) for one in outcomes(world, id)]
    assert sorted(kept, key=str) == [
        ("judge", 1.0, True),
        ("system", 0.5, None),
        ("system", 0.9, True),
        ("system", None, False),
    ]


def test_an_evaluation_that_cannot_be_kept_is_counted_and_named(world: World) -> None:
    told = post(world, "/v1/logs", logs(evaluation(0.5, id="9" * 16), evaluation(7, id=SPAN))).json()
    assert told["partialSuccess"]["rejectedLogRecords"] == "2"
    assert "There is no interaction" in told["partialSuccess"]["errorMessage"]
    assert "must be a number from 0 to 1" in told["partialSuccess"]["errorMessage"]


def test_a_key_for_another_family_brings_nothing_in(world: World) -> None:
    sent = traces(span({**GENERATIONS["second"], **OF_FAMILY}, id="2" * 16))
    told = post(world, "/v1/traces", sent, key="elsewhere").json()
    assert "no family here" in told["partialSuccess"]["errorMessage"]
    path = f"/v1/interactions/{TRACE}-{'2' * 16}"
    assert world.get(path, headers={"Authorization": "Bearer boss"}).status_code == 404


@pytest.mark.parametrize(
    ("privacy", "output"),
    [
        pytest.param("{mask: [email]}", "Write to [email]", id="masked"),
        pytest.param("{store: metadata}", None, id="not kept"),
    ],
)
def test_texts_of_spans_and_log_records_are_kept_as_the_family_allows(tmp_path, privacy, output):
    settings, text = make_home(tmp_path), "Write to ann@example.org"
    with (tmp_path / "families" / "triage" / "family.yaml").open("a", encoding="utf-8") as file:
        file.write(f"privacy: {privacy}\n")
    with serving(settings) as own:
        mail = span({**GENERATIONS["second"], **OF_FAMILY, "gen_ai.output.messages": text})
        first = span({**GENERATIONS["first"], **OF_FAMILY}, id="1c" * 8)
        assert own.post("/v1/traces", traces(mail, first)).json() == {}
        logged = message("gen_ai.choice", {"message": {"content": text}}, id="1c" * 8)
        assert post(own, "/v1/logs", logs(logged)).json() == {}
        for id in (SPAN, "1c" * 8):
            one = own.get(f"/v1/interactions/{TRACE}-{id}").json()
            assert (one["output"], one["latency_ms"]) == (output, 420.0)


# --- what the protocol says of refusals -------------------------------------------------------------------------------


def test_a_refusal_is_a_status_of_the_protocol_in_the_form_of_the_request(world: World) -> None:
    answer = post(world, "/v1/traces", b"\xff\xff", Content_Type=PROTOBUF)
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROTOBUF)
    assert "no ExportTraceServiceRequest" in Status.FromString(answer.content).message
    answer = post(world, "/v1/traces", b"[1]")
    assert (answer.status_code, answer.json()["message"]) == (400, answer.json()["detail"])
    answer = post(world, "/v1/traces", {}, key="wrong")
    assert (answer.status_code, "key" in answer.json()["message"]) == (401, True)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_partial_success_in_protobuf_says_how_many_and_why(world: World) -> None:
    message = ExportTraceServiceRequest()
    ParseDict(traces(span({**GENERATIONS["second"], **OF_FAMILY})), message)
    message.resource_spans[0].scope_spans[0].spans[0].span_id = b""
    answer = post(world, "/v1/traces", message.SerializeToString(), Content_Type=PROTOBUF)
    told = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, told.rejected_spans) == (200, 1)
    assert "/id must be a text of 1 to 512 characters" in told.error_message


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Content_Type": "text/csv"}, 415, id="another type"),
        pytest.param({"Content_Encoding": "br"}, 415, id="another encoding"),
        pytest.param({"Content_Encoding": "gzip"}, 400, id="no gzip"),
    ],
)
def test_what_is_no_otlp_is_refused(world: World, headers: dict[str, str], status: int) -> None:
    answer = post(world, "/v1/traces", {}, **headers)
    assert (answer.status_code, "The body is" in answer.json()["message"]) == (status, True)


def test_gzip_is_bounded_by_what_it_holds(world: World) -> None:
    bomb = gzip.compress(b"\0" * (world.settings.limits.events_bytes + 1))
    for kind in ("application/json", PROTOBUF):
        answer = post(world, "/v1/traces", bomb, Content_Type=kind, Content_Encoding="gzip")
        assert answer.status_code == 413
    half = gzip.compress(b"{}")[:-4]
    assert post(world, "/v1/traces", half, Content_Encoding="gzip").status_code == 400


def test_a_small_body_of_many_messages_is_refused_before_they_are_made(world: World) -> None:
    n = world.settings.limits.events_values + 1
    spans = b"\x12\x00" * n

    def inside(tag: int, body: bytes) -> bytes:
        length = len(body)
        return bytes([tag, 128 | length & 127, 128 | (length >> 7) & 127, length >> 14]) + body

    sent = inside(0x0A, inside(0x12, spans))
    answer = post(world, "/v1/traces", sent, Content_Type=PROTOBUF)
    assert answer.status_code == 413
    assert "values" in Status.FromString(answer.content).message
    many = traces(*({} for _ in range(n)))
    assert post(world, "/v1/traces", many).status_code == 413


def test_json_in_texts_is_read_up_to_the_values_of_one_body_and_beyond_it_stays_a_text(world: World) -> None:
    n, of = world.settings.limits.events_values, {**GENERATIONS["first"], **OF_FAMILY}
    many, few = (json.dumps(["a"] * k) for k in (n + 1, n // 2 + 1))
    sent = [("4a", many), ("4b", few), ("4c", few)]
    spans = [span({**of, "gen_ai.input.messages": text}, id=id * 8) for id, text in sent]
    told = post(world, "/v1/traces", traces(*spans)).json()["partialSuccess"]
    assert "rejectedSpans" not in told
    assert told["errorMessage"].startswith("2 texts of JSON not read as such")
    n_messages = [len(interaction(world, id * 8)["input"]["messages"]) for id, _ in sent]
    assert n_messages == [1, n // 2 + 1, 1]
    record = message("gen_ai.user.message", {"content": ""}, id="4d" * 8)
    record["attributes"] = pairs({"gen_ai.input.messages": many})
    assert post(world, "/v1/logs", logs(record)).status_code == 200
    [texts] = world.shared.held_texts.of("shop", [f"{TRACE}-{'4d' * 8}"]).values()
    assert texts.messages == [{"role": "user", "content": many}]


def test_a_group_hides_no_messages_from_the_bound(world: World) -> None:
    sent = b"\xa3\x06\xa4\x06" + b"\x0a\x00" * (world.settings.limits.events_values + 1)
    answer = post(world, "/v1/traces", sent, Content_Type=PROTOBUF)
    assert (answer.status_code, "group" in Status.FromString(answer.content).message) == (400, True)


def test_every_member_of_a_gzip_body_is_read_under_one_bound(world: World) -> None:
    messages = [ExportTraceServiceRequest(), ExportTraceServiceRequest()]
    for message, id in zip(messages, ("3a" * 8, "3b" * 8), strict=True):
        ParseDict(traces(span({**GENERATIONS["second"], **OF_FAMILY})), message)
        [of] = message.resource_spans[0].scope_spans[0].spans
        of.trace_id, of.span_id = bytes.fromhex(TRACE), bytes.fromhex(id)
    packed = b"".join(gzip.compress(message.SerializeToString()) for message in messages)
    as_sent = {"Content_Type": PROTOBUF, "Content_Encoding": "gzip"}
    assert post(world, "/v1/traces", packed, **as_sent).status_code == 200
    assert [interaction(world, id)["output"] for id in ("3a" * 8, "3b" * 8)] == ["billing", "billing"]
    assert post(world, "/v1/traces", packed + b"junk", **as_sent).status_code == 400
    assert post(world, "/v1/traces", gzip.compress(b"") * 101, **as_sent).status_code == 400
    half = gzip.compress(b"\0" * (world.settings.limits.events_bytes // 2 + 1))
    assert post(world, "/v1/traces", half + half, **as_sent).status_code == 413


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
OTHERS = """gen_ai.prompt.version gen_ai.system_instructions gen_ai.completion gen_ai.conversation.id detent.input
detent.unit error.type gen_ai.evaluation.score.value gen_ai.evaluation.score.label gen_ai.evaluation.name"""
NAMES = st.sampled_from([*(name for of in GENERATIONS.values() for name in of), *OTHERS.split()])
VALUES = st.recursive(
    st.text(max_size=12)
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | JSON.map(json.dumps)
    | st.sampled_from(["chat", "\x00", "1e999", "[[[[", '{"content": "a"}']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=n_examples(12))
@given(
    attributes=st.dictionaries(NAMES, VALUES, max_size=6),
    name=st.sampled_from(["gen_ai.choice", "gen_ai.user.message", "gen_ai.evaluation.result"]),
    times=st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
)
def test_no_attribute_of_a_span_or_a_record_is_a_fault_of_the_server(world, attributes, name, times):
    request = ExportTraceServiceRequest()
    one = request.resource_spans.add().scope_spans.add().spans.add()
    one.trace_id, one.span_id = bytes.fromhex(TRACE), b"hostile!"
    one.start_time_unix_nano, one.end_time_unix_nano = times
    ParseDict({"attributes": pairs({**attributes, **OF_FAMILY})}, one)
    event = one.events.add()
    ParseDict({"name": name, "attributes": pairs(attributes)}, event)
    assert post(world, "/v1/traces", request.SerializeToString(), Content_Type=PROTOBUF).status_code == 200
    told = ExportLogsServiceRequest()
    record = told.resource_logs.add().scope_logs.add().log_records.add()
    ParseDict({"eventName": name, "attributes": pairs(attributes), "body": value(attributes)}, record)
    record.trace_id, record.span_id, record.time_unix_nano = bytes.fromhex(TRACE), b"hostile!", times[0]
    assert post(world, "/v1/logs", told.SerializeToString(), Content_Type=PROTOBUF).status_code == 200


@settings(max_examples=n_examples(12))
@given(sent=st.binary(max_size=200))
def test_no_bytes_are_a_fault_of_the_server(world: World, sent: bytes) -> None:
    for path in ("/v1/traces", "/v1/logs"):
        assert post(world, path, sent, Content_Type=PROTOBUF).status_code in (200, 400)
        assert post(world, path, sent).status_code in (200, 400)


@settings(max_examples=n_examples(12))
@given(sent=st.dictionaries(st.sampled_from(["resourceSpans", "resourceLogs", "x"]), JSON, max_size=2), inner=JSON)
def test_no_json_is_a_fault_of_the_server(world: World, sent: Any, inner: Any) -> None:
    for path, body in (
        ("/v1/traces", sent),
        ("/v1/logs", sent),
        ("/v1/traces", traces(inner)),
        ("/v1/logs", logs(inner)),
    ):
        assert post(world, path, body).status_code in (200, 400)
