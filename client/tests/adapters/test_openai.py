"""The real SDK, sent to a server on this machine that speaks OpenAI's protocol."""

from __future__ import annotations

import asyncio
import gc
import json

import httpx
import pytest

openai = pytest.importorskip("openai", reason="OpenAI's SDK is not installed here; `make test-adapters` tests it")

from detent_client.adapters.openai import wrap  # noqa: E402
from detent_client.adapters.openai_requests import chat_request  # noqa: E402
from detent_client.adapters.recording import CallRecord, Completion  # noqa: E402

PROMPT = [{"role": "user", "content": "Is it slow?"}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "topic", "schema": {"type": "object"}}}
MODEL = {"name": "small", "temperature": 0.0, "max_tokens": 50, "reasoning_effort": "low"}
APIS = ["chat", "responses"]


class Asker:
    """Both kinds of client and both APIs behind one face, so that each rule is tested on all four."""

    def __init__(self, kind: str, api: str, provider) -> None:
        self.is_async, self.api = kind == "async", api
        self.loop = asyncio.new_event_loop()
        sdk = openai.AsyncOpenAI if self.is_async else openai.OpenAI
        self.client = wrap(
            sdk(base_url=provider.url, api_key="x", max_retries=0), model="gpt-own", models={"small": "gpt-small"}
        )

    @property
    def create(self):
        return self.client.chat.completions.create if self.api == "chat" else self.client.responses.create

    def ask(self, *prompt, **own):
        return self.loop.run_until_complete(self._ask(*prompt, **own)) if self.is_async else self.create(*prompt, **own)

    async def _ask(self, *prompt, **own):
        return await self.create(*prompt, **own)

    def stream(self, prompt, *, until=None, leave=False, **own):
        """The pieces that were read: ``until`` so many, then it is closed, or left where ``leave``."""
        if self.is_async:
            return self.loop.run_until_complete(self._stream(prompt, until, leave, own))
        pieces = []
        stream = self.create(prompt, stream=True, **own)
        for piece in stream:
            pieces.append(piece)
            if len(pieces) == until:
                if not leave:
                    stream.close()
                break
        del stream
        gc.collect(1)  # what was made just now: to look through a whole suite takes a second
        return pieces

    async def _stream(self, prompt, until, leave, own):
        pieces = []
        stream = await self.create(prompt, stream=True, **own)
        async for piece in stream:
            pieces.append(piece)
            if len(pieces) == until:
                if not leave:
                    await stream.close()
                break
        del stream
        gc.collect(1)  # what was made just now: to look through a whole suite takes a second
        return pieces


@pytest.fixture(params=[(kind, api) for kind in ("sync", "async") for api in APIS], ids="-".join)
def asker(request, provider):
    one = Asker(*request.param, provider)
    yield one
    one.loop.close()


@pytest.fixture
def served_model(server, served):
    def serve(**more):
        server.families["triage"] = {"champion": served("Is it {{message}}?", **more)}
        return server.client()

    return serve


def test_what_is_put_around_the_sdk_later_sees_the_calls_too(asker, provider, monkeypatch) -> None:
    resource = asker.client.chat.completions if asker.api == "chat" else asker.client.responses
    kind = next(
        base for base in type(resource).__mro__ if base.__module__.startswith("openai.") and "create" in vars(base)
    )
    create, seen = kind.create, []
    monkeypatch.setattr(kind, "create", lambda *about, **own: seen.append(own) or create(*about, **own))
    own = {"messages": PROMPT} if asker.api == "chat" else {"input": PROMPT}
    asker.ask(model="gpt-own", **own)
    assert [each["model"] for each in seen] == ["gpt-own"]


def event_of(client, server):
    client.flush()
    (event,) = server.events
    return event


def test_a_prompt_is_sent_as_its_variant_says_and_the_answer_is_recorded(asker, provider, served_model, server) -> None:
    with served_model(model=MODEL, tools=[TOOL], response_format=SCHEMA) as client:
        p = client.prompt("triage", unit="ann", message="slow")
        answer = asker.ask(p)
        event = event_of(client, server)
    assert answer.id in ("chatcmpl-1", "resp_1")
    (sent,) = provider.requests
    if asker.api == "chat":
        assert sent == {
            "model": "gpt-small",
            "messages": PROMPT,
            "temperature": 0.0,
            "max_tokens": 50,
            "reasoning_effort": "low",
            "tools": [TOOL],
            "response_format": SCHEMA,
        }
    else:
        assert sent == {
            "model": "gpt-small",
            "input": PROMPT,
            "temperature": 0.0,
            "max_output_tokens": 50,
            "reasoning": {"effort": "low"},
            "tools": [{"type": "function", **TOOL["function"]}],
            "text": {"format": {"type": "json_schema", **SCHEMA["json_schema"]}},
        }
    assert event["latency_ms"] > 0
    assert "error" not in event
    recorded = {name: event[name] for name in ("id", "variant", "output", "model", "input_tokens", "output_tokens")}
    assert recorded == {
        "id": p.id,
        "variant": "v_champion",
        "output": "billing",
        "model": "gpt-small",
        "input_tokens": 7,
        "output_tokens": 3,
    }
    assert server.n_exposed == 1


def test_a_stream_is_passed_on_piece_by_piece_and_recorded_with_usage_and_its_first_piece(
    asker, provider, served_model, server
) -> None:
    with served_model() as client:
        pieces = asker.stream(client.prompt("triage", unit="ann", message="slow"))
        event = event_of(client, server)
    assert (event["output"], event["input_tokens"], event["output_tokens"]) == ("billing", 7, 3)
    assert 0 < event["time_to_first_token_ms"] <= event["latency_ms"]
    assert "error" not in event
    if asker.api == "chat":
        assert (
            "".join(piece.choices[0].delta.content or "" for piece in pieces) == "billing"
        )  # no piece without choices
        assert provider.requests[0]["stream_options"] == {"include_usage": True}


def test_usage_that_the_caller_asked_for_is_passed_on(provider, served_model) -> None:
    asker = Asker("sync", "chat", provider)
    with served_model() as client:
        pieces = asker.stream(client.prompt("triage", message="slow"), stream_options={"include_usage": True})
    assert pieces[-1].usage.prompt_tokens == 7


@pytest.mark.parametrize("leave", [False, True], ids=["closed", "left"])
def test_a_stream_that_the_caller_leaves_is_recorded_as_far_as_it_was_read(asker, served_model, server, leave) -> None:
    with served_model() as client:
        asker.stream(client.prompt("triage", message="slow"), until=3, leave=leave)
        event = event_of(client, server)
    assert event["output"] == "billi"
    assert (event["error"].partition(":")[0], "latency_ms" in event) == ("client_gone", False)


def test_a_stream_that_breaks_or_ends_too_soon_is_an_error_with_what_had_come(asker, provider, served_model, server):
    provider.cut_after = 3
    with served_model() as client:
        with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)) as raised:  # by its version
            asker.stream(client.prompt("triage", message="slow"))
        provider.cut_after, provider.ends_after = None, 3
        asker.stream(client.prompt("triage", message="slow"))
        client.flush()
    broken, ended = server.events
    assert (broken["output"], ended["output"]) == ("billi", "billi")
    assert broken["error"].startswith(type(raised.value).__name__)
    assert ended["error"].startswith("incomplete")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_error_is_recorded_and_raised_as_the_sdk_raises_it(asker, provider, served_model, server, stream) -> None:
    provider.status = 503
    with served_model() as client:
        with pytest.raises(openai.InternalServerError):
            asker.ask(client.prompt("triage", message="slow"), stream=stream)
        event = event_of(client, server)
    assert event["error"].startswith("InternalServerError: ")
    assert "output" not in event


def test_where_the_caller_overrides_model_or_settings_its_own_are_sent_and_the_call_counts_in_no_arm(
    asker, provider, served_model, server
) -> None:
    with served_model(model=MODEL) as client:
        asker.ask(client.prompt("triage", unit="ann", message="slow"), temperature=0.7)
        asker.ask(client.prompt("triage", unit="ann", message="slow"), model="gpt-other")
        asker.ask(client.prompt("triage", unit="ann", message="slow"), top_p=0.5)
        client.flush()
    assert [(sent["temperature"], sent["model"]) for sent in provider.requests] == [
        (0.7, "gpt-small"),
        (0.0, "gpt-other"),
        (0.0, "gpt-small"),
    ]
    assert [event.get("variant") for event in server.events] == [None, None, "v_champion"]
    assert server.n_exposed == 1


def test_a_fallback_and_a_model_without_a_name_here_are_answered_by_the_caller_s_own_model(
    asker, provider, served_model, server
) -> None:
    with served_model(model={"name": "large"}) as client:
        asker.ask(client.prompt("triage", message="slow"))
        assert "variant" not in event_of(client, server)
    server.families = {}
    with server.client(fallback={"triage": "Own {{message}}"}) as client:
        asker.ask(client.prompt("triage", message="slow"))
    assert [sent["model"] for sent in provider.requests] == ["gpt-own", "gpt-own"]


def test_other_calls_pass_unchanged_and_copies_of_the_client_take_prompts_too(asker, provider, served_model, server):
    own = {"messages": PROMPT} if asker.api == "chat" else {"input": "x", "instructions": "y"}
    asker.ask(model="mine", **own)
    assert provider.requests == [{"model": "mine", **own}]
    asker.client = asker.client.with_options(timeout=5.0)
    with served_model() as client:
        asker.ask(client.prompt("triage", message="slow"))
        assert event_of(client, server)["output"] == "billing"


def test_calls_within_a_block_are_one_interaction_and_their_tokens_are_added(asker, provider, served_model, server):
    provider.tool = "look_up"
    with served_model(tools=[TOOL]) as client:
        with client.prompt("triage", unit="ann", message="slow") as p:
            answer = asker.ask(p)
            if asker.api == "chat":
                result = {"role": "tool", "tool_call_id": "call_1", "content": "{}"}
                asker.ask(p, messages=[*p.messages, answer.choices[0].message, result])
            else:
                result = {"type": "function_call_output", "call_id": "call_1", "output": "{}"}
                asker.ask(p, input=[*p.messages, *answer.output, result])
        event = event_of(client, server)
    assert (event["output"], event["input_tokens"], event["output_tokens"]) == ("billing", 14, 6)
    assert event["variant"] == "v_champion"


def test_an_attempt_that_answers_within_a_block_leaves_no_error_of_the_one_before(
    asker, provider, served_model, server
) -> None:
    with served_model() as client:
        with client.prompt("triage", unit="ann", message="slow") as p:
            provider.ends_after = 2
            asker.stream(p)
            provider.ends_after = None
            asker.stream(p)
        event = event_of(client, server)
    assert (event["output"], event.get("error")) == ("billing", None)


@pytest.mark.parametrize("until", [None, 3], ids=["whole", "closed"])
def test_what_cannot_be_read_reaches_the_caller_and_is_recorded_without_its_text(
    provider, served_model, server, until
) -> None:
    parts = [{"type": "text", "text": letter} for letter in provider.text]
    provider.text = parts
    chat = provider.chat
    provider.chat = lambda said: {**chat(said), "usage": {"prompt_tokens": "7", "completion_tokens": "3"}}
    asker = Asker("sync", "chat", provider)
    with served_model() as client:
        assert asker.ask(client.prompt("triage", message="slow")).choices[0].message.content == parts
        assert asker.stream(client.prompt("triage", message="slow"), until=until)[1].choices[0].delta.content
        client.flush()
    assert [("output" in event, "input_tokens" in event) for event in server.events] == [(False, False)] * 2


def test_of_several_answers_in_one_stream_the_first_is_recorded(provider, served_model, server) -> None:
    pieces = provider.pieces

    def doubled(path, said):
        for piece in pieces(path, said):
            yield piece
            yield {**piece, "choices": [{**each, "index": 1} for each in piece["choices"]]}

    provider.pieces = lambda path, said: list(doubled(path, said))
    with served_model() as client:
        Asker("sync", "chat", provider).stream(client.prompt("triage", message="slow"), n=2)
        assert event_of(client, server)["output"] == "billing"


def test_an_error_that_the_application_catches_within_a_block_is_recorded(
    asker, provider, served_model, server
) -> None:
    provider.status = 503
    with served_model() as client:
        with client.prompt("triage", message="slow") as p, pytest.raises(openai.InternalServerError):
            asker.ask(p)
        assert event_of(client, server)["error"].startswith("InternalServerError: ")


def test_calls_of_a_prompt_beside_one_that_is_under_way_are_not_recorded(asker, provider, served_model, server) -> None:
    with served_model() as client:
        p = client.prompt("triage", message="slow")
        call = CallRecord(p)
        asker.ask(p)
        call.end(Completion(text="technical", input_tokens=2))
        event = event_of(client, server)
    assert (event["output"], event["input_tokens"]) == ("technical", 2)


def test_an_answer_that_asks_for_a_tool_is_recorded_as_its_calls(asker, provider, served_model, server) -> None:
    provider.tool = "look_up"
    with served_model(tools=[TOOL]) as client:
        asker.ask(client.prompt("triage", message="slow"))
        provider.tool = "look_up"
        asker.stream(client.prompt("triage", message="slow"))
        client.flush()
    for event in server.events:
        assert json.loads(event["output"]) == [{"name": "look_up", "arguments": '{"order": 7}'}]


def test_a_second_call_of_a_prompt_without_a_block_is_made_and_not_reported_again(
    asker, provider, served_model, server
) -> None:
    with served_model() as client:
        p = client.prompt("triage", message="slow")
        asker.ask(p)
        asker.ask(p, model="other")
        assert event_of(client, server)["variant"] == "v_champion"
    assert len(provider.requests) == 2
    assert not p.is_in_no_arm


def test_a_conversation_with_tools_and_pictures_goes_through_both_apis(asker, provider, served_model) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "This?"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "an invoice"},
        {"role": "assistant", "content": "An invoice."},
    ]
    with served_model() as client:
        asker.ask(client.prompt("triage", history=turns, message="slow"))
    (sent,) = provider.requests
    if asker.api == "chat":
        assert sent["messages"] == [*turns, *PROMPT]
    else:
        assert sent["input"] == [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "This?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AA"},
                ],
            },
            {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "an invoice"},
            {"role": "assistant", "content": "An invoice."},
            *PROMPT,
        ]


def test_settings_that_only_other_servers_take_go_to_them_and_openai_itself_gets_its_own_names(provider, served_model):
    model = {"name": "small", "top_k": 5, "max_tokens": 50}
    with served_model(model=model) as client:
        Asker("sync", "chat", provider).ask(client.prompt("triage", message="slow"))
        assert provider.requests[0]["top_k"] == 5
        p = client.prompt("triage", message="slow")
        sent = chat_request(p, {}, model="small", models=None, is_openai=True)
    assert sent == {"model": "small", "messages": PROMPT, "max_completion_tokens": 50}
    assert p.is_in_no_arm


def test_fewer_tokens_than_the_responses_api_takes_are_not_sent_to_it_and_the_call_counts_in_no_arm(
    asker, provider, served_model, server
) -> None:
    with served_model(model={"name": "small", "max_tokens": 8}) as client:
        asker.ask(client.prompt("triage", unit="ann", message="slow"))
        event = event_of(client, server)
    (sent,) = provider.requests
    assert sent["max_tokens" if asker.api == "chat" else "max_output_tokens"] == (8 if asker.api == "chat" else 16)
    assert ("variant" in event) == (asker.api == "chat")


def test_a_raw_response_is_refused_since_nothing_could_be_recorded(provider, served_model) -> None:
    asker = Asker("sync", "chat", provider)
    with served_model() as client, pytest.raises(TypeError, match="raw response"):
        asker.client.chat.completions.with_raw_response.create(client.prompt("triage", message="slow"))
    assert provider.requests == []


def test_the_page_does_what_it_says(run_page, server, served, provider, capsys) -> None:
    server.families["triage"] = {"champion": served("Is it {{message}}?", model={"name": "large"})}
    names = run_page("openai-sdk.md", key=None, user_id="ann", text="slow")
    assert (names["topic"], capsys.readouterr().out) == ("billing", "billing")
    assert [sent["model"] for sent in provider.requests] == ["gpt-4o", "gpt-4o"]
    first, second, outcome = server.events
    assert (first["variant"], second["output"], outcome["success"]) == ("v_champion", "billing", True)
