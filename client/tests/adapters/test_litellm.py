"""The real LiteLLM, its router and its proxy, whose model is a server on this machine that speaks OpenAI's protocol."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from importlib.util import find_spec
from types import ModuleType

import httpx
import pytest

from detent_client import AsyncClient

if find_spec("litellm") is None:
    pytest.skip("LiteLLM is not installed here; `make test-adapters` tests it", allow_module_level=True)

PROMPT = [{"role": "user", "content": "Is it slow?"}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
MODEL = {"name": "small", "temperature": 0.0, "max_tokens": 50, "top_k": 5}


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """Not at import: LiteLLM takes seconds to load, and each process of a run imports this."""
    global litellm, GenericPromptManager, DetentPrompts
    import litellm
    from litellm.integrations.generic_prompt_management import GenericPromptManager

    from detent_client.adapters.litellm import DetentPrompts


class World:
    def __init__(self, server, served, provider) -> None:
        self.server, self.provider = server, provider
        self.client = server.client()
        self.serve = lambda **more: server.families.update(triage={"champion": served("Is it {{message}}?", **more)})
        self.prompts = DetentPrompts(self.client, models={"small": "openai/gpt-small"})
        self.more = {"api_base": provider.url, "api_key": "x", "max_retries": 0}
        litellm.callbacks = [self.prompts]

    def request(self, **more):
        asked = {"model": "openai/gpt-own", "prompt_id": "triage", "prompt_variables": {"message": "slow"}}
        return {**asked, "messages": [], "user": "ann", **self.more, **more}

    def ask(self, kind, until=None, **more):
        """The answer, or the pieces of its stream."""
        if kind == "sync":
            answer = self.prompts.completion(**self.request(**more))
            return list(answer) if more.get("stream") else answer
        return asyncio.run(self._ask(self.request(**more), until))

    async def _ask(self, request, until=None):
        answer = await litellm.acompletion(**request)
        if request.get("stream"):
            pieces = []
            async for piece in answer:
                pieces.append(piece)
                if len(pieces) == until:
                    break
            answer = pieces
        await self.told()
        return answer

    async def told(self):
        """LiteLLM's callbacks are run by the loop, some time after the answer."""
        end = asyncio.get_running_loop().time() + 20
        while self.prompts._open and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.005)

    def events(self, until, n=1):
        """Callbacks come from another thread."""
        until(lambda: self.client.flush() and len(self.server.events) >= n, f"{n} events")
        assert len(self.server.events) == n
        return self.server.events


@pytest.fixture
def world(server, served, provider):
    one = World(server, served, provider)
    one.serve(model=MODEL)
    with one.client:
        yield one
    litellm.callbacks = []
    for name in ("input_callback", "success_callback", "failure_callback", "_async_success_callback"):
        setattr(litellm, name, [])
    litellm._async_failure_callback = []


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


def test_a_prompt_id_is_answered_as_its_variant_says_and_recorded(world, kind, until) -> None:
    world.serve(model=MODEL, tools=[TOOL], response_format={"type": "json_object"})
    answer = world.ask(kind)
    (sent,) = world.provider.requests
    assert {name: sent[name] for name in ("model", "messages", "temperature", "max_tokens", "tools", "top_k")} == {
        "model": "gpt-small",
        "messages": PROMPT,
        "temperature": 0.0,
        "max_tokens": 50,
        "tools": [TOOL],
        "top_k": 5,
    }
    assert sent["response_format"] == {"type": "json_object"}
    (event,) = world.events(until)
    assert {name: event[name] for name in ("unit", "variant", "output", "model", "input_tokens", "output_tokens")} == {
        "unit": "ann",
        "variant": "v_champion",
        "output": "billing",
        "model": "gpt-small",
        "input_tokens": 7,
        "output_tokens": 3,
    }
    assert event["latency_ms"] > 0
    assert "error" not in event
    assert world.server.n_exposed == 1
    world.client.feedback(world.prompts.assignment(answer), success=True)
    assert world.events(until, 2)[1]["interaction"] == event["id"]


def test_a_call_whose_end_is_never_told_is_counted_as_dropped(world, monkeypatch) -> None:
    from detent_client.adapters import litellm as adapter

    monkeypatch.setattr(adapter, "MAX_CALLS", 2)
    for n in range(5):
        world.prompts._filled_in(world.request(litellm_call_id=str(n)))
    assert world.client.status().events_dropped == 3


def test_a_stream_is_recorded_with_its_first_piece(world, kind, until) -> None:
    pieces = world.ask(kind, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "billing"
    (event,) = world.events(until)
    assert (event["output"], event["variant"]) == ("billing", "v_champion")
    assert 0 < event["time_to_first_token_ms"] <= event["latency_ms"]


def test_an_error_is_recorded_and_raised(world, kind, until) -> None:
    world.provider.status = 503
    with pytest.raises(litellm.ServiceUnavailableError):
        world.ask(kind)
    (event,) = world.events(until)
    assert event["error"].startswith("ServiceUnavailableError")
    assert "output" not in event


def test_where_the_call_overrides_settings_they_are_sent_and_it_counts_in_no_arm(world, kind, until) -> None:
    world.ask(kind, temperature=0.7)
    (event,) = world.events(until)
    assert (world.provider.requests[0]["temperature"], "variant" in event) == (0.7, False)
    assert world.server.n_exposed == 0


def test_a_model_without_a_name_here_is_answered_by_the_call_s_own(world, kind, until) -> None:
    world.serve(model={"name": "large"})
    world.ask(kind)
    (event,) = world.events(until)
    assert (world.provider.requests[0]["model"], "variant" in event) == ("gpt-own", False)


def test_messages_of_the_call_are_the_conversation_before(world, kind, until) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    world.ask(kind, messages=turns)
    world.server.families["triage"]["champion"]["messages"] = [{"role": "system", "content": "{{message}}"}]
    until(lambda: world.client.decide("triage", count=False).variant.template.fill({"message": "x"}).messages != PROMPT)
    until(lambda: world.client.prompt("triage", message="x").messages[0]["role"] == "system")
    world.ask(kind, messages=turns)
    assert [sent["messages"] for sent in world.provider.requests] == [
        [*turns, *PROMPT],
        [{"role": "system", "content": "slow"}, *turns],
    ]


def test_other_calls_pass_unchanged(world, kind) -> None:
    call = {"model": "openai/mine", "messages": PROMPT, **world.more}
    if kind == "sync":
        litellm.completion(**call)
    else:
        asyncio.run(litellm.acompletion(**call))
    assert [(sent["model"], sent["messages"]) for sent in world.provider.requests] == [("mine", PROMPT)]
    world.client.flush()
    assert world.server.n_exposed == 0


def test_completion_itself_sends_the_messages_and_counts_in_no_arm_where_the_variant_has_settings(world, until) -> None:
    litellm.completion(**world.request())
    (event,) = world.events(until)
    (sent,) = world.provider.requests
    assert (sent["model"], sent["messages"], "temperature" in sent) == ("gpt-small", PROMPT, False)
    assert (event["output"], "variant" in event) == ("billing", False)
    world.serve(model={"name": "small"})
    until(lambda: world.client.decide("triage", count=False).variant.model == {"name": "small"})
    litellm.completion(**world.request())
    assert world.events(until, 2)[1]["variant"] == "v_champion"


@pytest.mark.parametrize("other", [{}, {"prompt_id": "of_another_manager"}])
def test_a_call_that_fails_before_its_model_is_asked_leaves_its_prompt_to_no_other_call(world, until, other) -> None:
    world.prompts._families = ["triage"]
    world.serve(model={"name": "large"})
    until(lambda: world.client.decide("triage", count=False).variant.model == {"name": "large"})
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(**world.request(model="of-no-provider"))
    answer = litellm.completion(model="openai/mine", messages=PROMPT, **world.more, **other)
    assert world.prompts.assignment(answer) is None
    assert world.client.status().events_dropped == 1
    litellm.completion(**world.request())
    assert world.events(until)[0]["model"] == "gpt-own"


def test_acompletion_with_a_model_by_position_asks_once_and_counts_in_no_arm_where_the_variant_has_settings(
    world, until
) -> None:
    request = world.request()

    async def run():
        await litellm.acompletion(request.pop("model"), **request)
        await world.told()

    asyncio.run(run())
    (event,) = world.events(until)
    (sent,) = world.provider.requests
    assert (sent["messages"], event["output"], "variant" in event) == (PROMPT, "billing", False)


def test_the_router_s_deployment_answers_and_another_model_than_the_variant_s_counts_in_no_arm(world, until) -> None:
    def answered(group):
        async def run():
            deployments = [
                {"model_name": name, "litellm_params": {"model": f"openai/{name}", **world.more}}
                for name in ("gpt-small", "gpt-own")
            ]
            router = litellm.Router(model_list=deployments, num_retries=0)
            call = {name: value for name, value in world.request(model=group).items() if name not in world.more}
            await router.acompletion(**call)
            await world.told()

        asyncio.run(run())

    answered("gpt-small")
    assert world.events(until)[0]["variant"] == "v_champion"
    answered("gpt-own")
    assert "variant" not in world.events(until, 2)[1]
    assert [sent["model"] for sent in world.provider.requests] == ["gpt-small", "gpt-own"]
    assert [sent["temperature"] for sent in world.provider.requests] == [0.0, 0.0]


@pytest.mark.parametrize("way", ["proxy", "own code"])
@pytest.mark.parametrize("n_failures", [1, 2])
def test_retries_of_a_router_are_one_call_and_an_error_only_where_the_last_one_fails(
    world, until, monkeypatch, way, n_failures
) -> None:
    from detent_client.adapters import litellm as adapter

    statuses = iter([503] * n_failures)
    monkeypatch.setattr(world.provider, "answer", lambda path, said: (next(statuses, 200), world.provider.chat(said)))
    call = {name: value for name, value in world.request(model="gpt-small").items() if name not in world.more}

    async def run():
        deployment = {"model_name": "gpt-small", "litellm_params": {"model": "openai/gpt-small", **world.more}}
        router = litellm.Router(model_list=[deployment], num_retries=1, retry_after=0)
        if way == "proxy":
            request = await world.prompts.async_pre_call_hook(
                None, None, {**call, "litellm_call_id": "1"}, "acompletion"
            )
        else:
            request = call
        try:
            await router.acompletion(**request)
            await world.told()
        except litellm.ServiceUnavailableError as error:
            await world.prompts.async_post_call_failure_hook(request, error, None)
            monkeypatch.setattr(adapter, "monotonic", lambda: time.monotonic() + adapter.RETRY_S)
            world.prompts._filled_in(world.request(litellm_call_id="2"))

    asyncio.run(run())
    (event,) = world.events(until)
    assert len(world.provider.requests) == 2
    if n_failures == 1:
        assert (event["output"], "error" in event, world.server.n_exposed) == ("billing", False, 1)
    else:
        assert (event["error"].partition(":")[0], "output" in event) == ("ServiceUnavailableError", False)


def test_a_stream_that_is_left_is_reported_with_a_later_call(world, until, monkeypatch) -> None:
    from detent_client.adapters import litellm as adapter

    async def run():
        async for _ in await litellm.acompletion(**world.request(stream=True)):
            break

    asyncio.run(run())
    monkeypatch.setattr(adapter, "monotonic", lambda: time.monotonic() + adapter.LEFT_S)
    world.prompts._filled_in(world.request(litellm_call_id="2"))
    (event,) = world.events(until)
    assert (event["error"].partition(":")[0], "latency_ms" in event) == ("client_gone", False)


def test_an_answer_from_a_cache_counts_in_no_arm(world, until, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", ModuleType("soundfile"))  # of the proxy: LiteLLM imports it anyhow
    monkeypatch.setattr(litellm, "cache", litellm.Cache(type="local"))
    for n in (1, 2):
        world.ask("async", caching=True)
        world.events(until, n)
    assert ["variant" in event for event in world.server.events] == [True, False]
    assert len(world.provider.requests) == world.server.n_exposed == 1


def test_a_stream_that_breaks_is_an_error(world, until) -> None:
    world.provider.cut_after = 3
    with pytest.raises((litellm.APIError, litellm.exceptions.MidStreamFallbackError)):
        world.ask("async", stream=True)
    assert world.events(until)[0]["error"]


def test_litellm_s_own_generic_manager_answers_with_a_withdrawn_prompt_for_ever(world, provider) -> None:
    """The trap that this adapter is for: it caches by id, without end and without regard to the user."""
    manager = GenericPromptManager(api_base=provider.url)
    litellm.callbacks = [manager]
    call = {"model": "openai/x", "prompt_id": "triage", "messages": [], **world.more}
    for text in ("The first", "The second, since the first was withdrawn"):
        provider.prompts = {"triage": [{"role": "user", "content": text}]}
        litellm.completion(**call)
    assert [sent["messages"][0]["content"] for sent in provider.requests] == ["The first", "The first"]


def test_a_change_of_the_champion_is_answered_at_once(world, server, served, until) -> None:
    world.ask("async")
    server.families = {"triage": {"champion": served("New {{message}}", id="v_new")}}
    until(lambda: world.client.decide("triage", count=False).variant.id == "v_new")
    world.ask("async")
    assert [sent["messages"][0]["content"] for sent in world.provider.requests] == ["Is it slow?", "New slow"]


def test_the_first_snapshot_holds_up_no_event_loop(server) -> None:
    go_on = threading.Event()
    server.fault = lambda request: None if go_on.wait(20) else httpx.Response(500)
    client = server.client(AsyncClient, timeout=20.0)
    request = {"model": "openai/gpt-own", "prompt_id": "triage", "prompt_variables": {"message": "slow"}}

    async def ask():
        hook = DetentPrompts(client).async_pre_call_hook(None, None, {**request, "litellm_call_id": "1"}, "acompletion")
        filled = asyncio.create_task(hook)
        await asyncio.sleep(0.05)
        assert not filled.done()
        go_on.set()
        return await filled

    began = time.monotonic()
    assert asyncio.run(ask())["messages"] == PROMPT
    assert time.monotonic() - began < 15
    asyncio.run(client.aclose())


def test_the_page_does_what_it_says(run_page, server, served, provider, until) -> None:
    server.families["triage"] = {"champion": served("Is it {{message}}?", model={"name": "gpt-4o-mini"})}
    names = run_page("litellm.md", key=None, user_id="ann", text="slow")
    litellm.callbacks = []
    assert [sent["messages"] for sent in provider.requests] == [PROMPT, PROMPT]
    until(lambda: names["detent"].flush() and len(server.events) == 3, "the reports")
    assert {event.get("output", event.get("success")) for event in server.events} == {"billing", True}
    assert {event["variant"] for event in server.events} == {"v_champion"}
