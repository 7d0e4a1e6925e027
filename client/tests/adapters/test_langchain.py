"""LangChain's own templates and langchain-openai's chat model, sent to a server on this machine that speaks OpenAI's
protocol.
"""

from __future__ import annotations

import asyncio
import logging

import pytest

pytest.importorskip("langchain_openai", reason="LangChain is not installed here; `make test-adapters` tests it")

from langchain_core.caches import InMemoryCache
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_openai import ChatOpenAI

from detent_client import AsyncClient, InvalidInput
from detent_client.adapters.langchain import adetent_prompt, detent_prompt
from detent_client.testing import FakeClient

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "topic", "schema": {"type": "object"}}}
SETTINGS = {"temperature": 0.25, "max_tokens": 8, "top_p": 0.5, "seed": 3, "stop": ["\n"], "reasoning_effort": "low"}
TURNS = [HumanMessage("My bill."), AIMessage("billing")]
MODELS = {"small": "gpt-small"}


def chat(provider, **more):
    return ChatOpenAI(model="gpt-own", base_url=provider.url, api_key="x", max_retries=0, temperature=1.0, **more)


@pytest.fixture
def family(server, served):
    """Its champion as a test wants it."""

    def changed(**more):
        entry = served("Is it {{message}}?", **more)
        server.families["triage"] = {"champion": entry}
        return entry

    return changed


@pytest.fixture
def ask(client, provider):
    """One request of the application: ``(served, answer)``."""

    def asked(inputs=None, *, unit="ann", llm=None, models=MODELS, **bind):
        served = detent_prompt(client, "triage", unit=unit)
        chain = served.template | served.bind(llm or chat(provider), models=models, **bind)
        return served, chain.invoke({"message": "slow"} if inputs is None else inputs)

    return asked


def in_arm(client, server):
    """Whether the one interaction that was reported stands in its arm."""
    assert client.flush()
    (event,) = server.events
    counted = server.n_exposed == 1
    assert counted == ("variant" in event)
    return counted


def test_a_family_is_a_chat_prompt_template_with_history_where_the_server_puts_it(client, server, family) -> None:
    system = {"role": "system", "content": 'Answer {"topic": ...} as {{style}}.'}
    family(messages=[system, {"role": "history"}, {"role": "user", "content": "{{message}}"}])
    served = detent_prompt(client, "triage", unit="ann")
    template = served.template
    assert isinstance(template, ChatPromptTemplate)
    assert sorted(template.input_variables) == ["message", "style"]
    assert isinstance(template.messages[1], MessagesPlaceholder)
    assert template.messages[0].prompt.template == 'Answer {{"topic": ...}} as {style}.'
    inputs = {"style": "{json}", "message": "<b> & {message}", "unrelated": 3}
    system_message = SystemMessage('Answer {"topic": ...} as {json}.')
    question = HumanMessage("<b> & {message}")
    assert template.invoke(inputs).to_messages() == [system_message, question]
    assert template.invoke({**inputs, "history": TURNS}).to_messages() == [system_message, *TURNS, question]
    as_pairs = [("user", "My bill."), ("assistant", "billing")]
    assert template.invoke({**inputs, "history": as_pairs}).to_messages() == [system_message, *TURNS, question]
    assert template.partial(style="{json}").invoke({"message": "x"}).to_messages()[0] == system_message
    assert served.prompt.variables == {"style": "{json}", "message": "x"}


def test_without_a_place_for_history_it_comes_before_the_last_question(client, family) -> None:
    family(messages=[{"role": "system", "content": "Sort."}, {"role": "user", "content": "{{message}}"}])
    template = detent_prompt(client, "triage", history="chat_history").template
    assert template.messages[1].variable_name == "chat_history"
    filled = template.invoke({"message": "x", "chat_history": TURNS}).to_messages()
    assert filled == [SystemMessage("Sort."), *TURNS, HumanMessage("x")]


def test_values_that_are_no_texts_and_long_texts_go_in_as_the_server_writes_them(client, server, family) -> None:
    family(inputs={"message": {"type": "text", "max_chars": 4}})
    template = detent_prompt(client, "triage").template
    assert template.invoke({"message": {"b": 1, "a": True}}).to_messages() == [
        HumanMessage('Is it {"a": true, "b": 1}?')
    ]
    assert template.invoke({"message": "a long one"}).to_messages() == [HumanMessage("Is it a lo?")]


def test_the_call_has_the_variant_s_model_settings_tools_and_format_and_is_reported(
    client, server, provider, family, ask
) -> None:
    family(model={"name": "small", **SETTINGS}, tools=[TOOL], response_format=SCHEMA)
    served, answer = ask({"message": "slow", "history": TURNS})
    (sent,) = provider.requests
    assert (sent["model"], sent["messages"][-1]["content"], len(sent["messages"])) == ("gpt-small", "Is it slow?", 3)
    assert sent["max_completion_tokens"] == 8
    assert {name: sent[name] for name in SETTINGS if name != "max_tokens"} == {
        name: value for name, value in SETTINGS.items() if name != "max_tokens"
    }
    assert (sent["tools"][0]["function"]["name"], sent["response_format"]) == ("look_up", SCHEMA)
    assert answer.text == "billing"
    client.feedback(served.prompt, success=True)
    assert client.flush()
    interaction, outcome = server.events
    assert (interaction["output"], interaction["model"], interaction["input"]) == (
        "billing",
        "gpt-small",
        {"message": "slow"},
    )
    assert (interaction["input_tokens"], interaction["output_tokens"]) == (7, 3)
    assert interaction["latency_ms"] > 0
    assert interaction["variant"] == outcome["variant"] == "v_champion"
    assert (outcome["interaction"], outcome["unit"], server.n_exposed) == (interaction["id"], "ann", 1)


def test_settings_beyond_openai_s_go_into_the_body_as_its_servers_take_them(client, server, provider, family, ask):
    family(model={"name": "small", "top_k": 3, "parallel_tool_calls": False}, tools=[TOOL])
    ask(llm=chat(provider, extra_body={"mine": 1}))
    assert {name: provider.requests[0][name] for name in ("top_k", "parallel_tool_calls", "mine")} == {
        "top_k": 3,
        "parallel_tool_calls": False,
        "mine": 1,
    }
    assert in_arm(client, server)


def test_openai_itself_is_not_sent_what_it_refuses(client, server, family) -> None:
    family(model={"name": "gpt-own", "top_k": 3})
    served = detent_prompt(client, "triage", unit="ann")
    served.bind(ChatOpenAI(model="gpt-own", api_key="x", base_url="https://api.openai.com/v1"))
    assert served.prompt.is_in_no_arm


def test_a_chat_model_of_the_application_s_own_stays_as_it_was(client, provider, family, ask) -> None:
    family(model={"name": "small", "temperature": 0.25})
    own = chat(provider)
    ask(llm=own)
    own.invoke("hello")
    assert (provider.requests[1]["model"], provider.requests[1]["temperature"]) == ("gpt-own", 1.0)
    assert own.callbacks is None


def test_another_chat_model_may_stand_for_a_model_of_the_server(client, server, provider, family, ask) -> None:
    family(model={"name": "large"})
    ask(models={"large": chat(provider).model_copy(update={"model_name": "gpt-large"})})
    assert provider.requests[0]["model"] == "gpt-large"
    assert in_arm(client, server)


@pytest.mark.parametrize(
    ("variant", "models"),
    [
        pytest.param({"model": {"name": "unheard-of"}}, MODELS, id="a model that nobody named"),
        pytest.param({"model": {"name": "small", "invented": 3}}, MODELS, id="a setting that nobody knows"),
    ],
)
def test_what_cannot_be_sent_makes_the_call_count_in_no_arm(client, server, family, ask, variant, models) -> None:
    family(**variant)
    ask(models=models)
    assert not in_arm(client, server)


def test_what_was_made_of_a_chat_model_is_refused_with_what_to_do(client) -> None:
    with pytest.raises(TypeError, match="Bind the model first"):
        detent_prompt(client, "triage").bind(FakeListChatModel(responses=["billing"]).with_retry())


def test_a_chat_model_without_tools_or_settings_is_asked_anyhow_and_counts_in_no_arm(client, server, family, ask):
    family(model={"name": "small", "temperature": 0.25}, tools=[TOOL])
    _, answer = ask(llm=FakeListChatModel(responses=["billing"]))
    assert answer.text == "billing"
    assert not in_arm(client, server)


def another_text(served, llm):
    return (served.template + ChatPromptTemplate.from_messages([("user", "Be quick.")])) | served.bind(
        llm, models=MODELS
    )


def another_temperature(served, llm):
    return served.template | served.bind(llm, models=MODELS).bind(temperature=0.9)


def another_model(served, llm):
    return served.template | served.bind(llm, models=MODELS).bind(model="gpt-mine")


@pytest.mark.parametrize("chain", [another_text, another_temperature, another_model])
def test_what_the_application_changes_in_its_chain_makes_the_call_count_in_no_arm(
    client, server, provider, family, chain
) -> None:
    family(model={"name": "small", "temperature": 0.25})
    chain(detent_prompt(client, "triage", unit="ann"), chat(provider)).invoke({"message": "slow"})
    assert not in_arm(client, server)


def test_an_answer_from_a_cache_counts_in_no_arm(client, server, provider, family) -> None:
    family(model={"name": "small"})
    llm = chat(provider, cache=InMemoryCache())
    for _ in range(2):
        served = detent_prompt(client, "triage", unit="ann")
        (served.template | served.bind(llm, models=MODELS)).invoke({"message": "slow"})
    assert client.flush()
    assert [("variant" in event, event["output"]) for event in server.events] == [(True, "billing"), (False, "billing")]
    assert len(provider.requests) == server.n_exposed == 1


def test_what_the_variant_does_not_say_is_the_application_s_own(client, server, provider, family) -> None:
    family(model={"name": "small"})
    served = detent_prompt(client, "triage", unit="ann")
    (served.template | served.bind(chat(provider), models=MODELS).bind(temperature=0.9)).invoke({"message": "slow"})
    assert provider.requests[0]["temperature"] == 0.9
    assert in_arm(client, server)


def test_a_stream_is_reported_with_its_time_to_first_token_and_its_usage(client, server, provider, family) -> None:
    family(model={"name": "small"})
    served = detent_prompt(client, "triage", unit="ann")
    chain = served.template | served.bind(chat(provider, stream_usage=True), models=MODELS) | StrOutputParser()
    assert "".join(chain.stream({"message": "slow"})) == "billing"
    client.flush()
    (event,) = server.events
    assert (event["output"], event["input_tokens"], event["output_tokens"]) == ("billing", 7, 3)
    assert 0 < event["time_to_first_token_ms"] <= event["latency_ms"]


def test_an_error_is_reported_and_raised(client, server, provider, family, ask) -> None:
    family(model={"name": "small"})
    provider.status = 500
    with pytest.raises(Exception, match="500"):
        ask()
    client.flush()
    (event,) = server.events
    assert "500" in event["error"]
    assert "output" not in event


def test_a_stream_that_breaks_or_is_left_is_an_error_with_what_had_come(client, server, provider, family) -> None:
    family(model={"name": "small"})
    for cut_after in (2, None):
        provider.cut_after = cut_after
        served = detent_prompt(client, "triage", unit="ann")
        stream = (served.template | served.bind(chat(provider), models=MODELS)).stream({"message": "slow"})
        if cut_after is None:
            next(piece for piece in stream if piece.content)
            stream.close()
        else:
            with pytest.raises(Exception, match=r"(?i)connection"):
                list(stream)
    client.flush()
    broken, left = server.events
    assert broken["error"]
    assert left["error"].startswith("client_gone")
    assert (broken["output"], left["output"]) == ("bil", "bil")


def test_an_application_on_asyncio_is_served_and_reported_alike(server, provider, family) -> None:
    family(model={"name": "small", "temperature": 0.25})

    async def run():
        async with server.client(AsyncClient) as client:
            served = await adetent_prompt(client, "triage", unit="ann")
            chain = served.template | served.bind(chat(provider), models=MODELS) | StrOutputParser()
            assert await chain.ainvoke({"message": "slow", "history": TURNS}) == "billing"
            streamed = await adetent_prompt(client, "triage", unit="ann")
            chain = streamed.template | streamed.bind(chat(provider), models=MODELS) | StrOutputParser()
            assert "".join([piece async for piece in chain.astream({"message": "slow"})]) == "billing"
            await client.flush()

    asyncio.run(run())
    first, second = server.events
    assert first["output"] == second["output"] == "billing"
    assert "time_to_first_token_ms" in second
    assert {event["variant"] for event in server.events} == {"v_champion"}
    assert server.n_exposed == 2


def test_calls_of_one_block_are_one_interaction_and_an_agent_s_later_turns_stay_in_the_arm(
    client, server, provider, family
) -> None:
    family(model={"name": "small"}, tools=[TOOL])
    provider.tool = "look_up"
    with detent_prompt(client, "triage", unit="ann") as served:
        llm = served.bind(chat(provider), models=MODELS)
        messages = served.template.invoke({"message": "slow"}).to_messages()
        call = llm.invoke(messages)
        result = ToolMessage("found", tool_call_id=call.tool_calls[0]["id"])
        assert llm.invoke([*messages, call, result]).text == "billing"
    client.flush()
    (event,) = server.events
    assert (event["output"], event["input_tokens"], event["variant"]) == ("billing", 14, "v_champion")


def test_a_call_of_a_tool_is_the_output_where_there_is_no_text(client, server, provider, family, ask) -> None:
    family(model={"name": "small"}, tools=[TOOL])
    provider.tool = "look_up"
    ask()
    client.flush()
    assert '"look_up"' in server.events[0]["output"]


def test_a_fallback_answers_for_inputs_that_do_not_fit_and_for_a_server_that_is_away(server, provider, stopped, caplog):
    caplog.set_level(logging.ERROR)
    with server.client(fallback={"triage": "Own: {{message}}"}) as client:
        served = detent_prompt(client, "triage", unit="ann")
        chain = served.template | served.bind(chat(provider), models=MODELS)
        chain.invoke({"text": "of another name"})
        assert provider.requests[-1]["messages"][0]["content"] == "Own: {{message}}"
        assert not in_arm(client, server)
    server.fault = stopped
    with server.client(fallback={"triage": "Own: {{message}}"}) as client:
        served = detent_prompt(client, "triage", unit="ann")
        chain = served.template | served.bind(chat(provider), models=MODELS)
        assert chain.invoke({"message": "slow"}).text == "billing"
        assert provider.requests[-1]["messages"][0]["content"] == "Own: slow"
        assert provider.requests[-1]["model"] == "gpt-own"


def test_without_a_fallback_inputs_that_do_not_fit_are_refused(client, provider) -> None:
    served = detent_prompt(client, "triage")
    with pytest.raises(InvalidInput):
        served.template.invoke({"text": "of another name"})


def test_the_fake_client_serves_chains_too(provider) -> None:
    fake = FakeClient({"triage": "Own: {{message}}"})
    served = detent_prompt(fake, "triage", unit="ann")
    (served.template | served.bind(chat(provider))).invoke({"message": "slow"})
    assert [event["output"] for event in fake.interactions] == ["billing"]


def test_the_page_does_what_it_says(run_page, server, served, provider) -> None:
    server.families["triage"] = {"champion": served("Is it {{message}}?", model={"name": "gpt-4o-mini"})}
    names = run_page("langchain.md", key=None, user_id="ann", text="slow", turns=[("user", "My bill.")])
    (sent,) = provider.requests
    assert (sent["model"], [message["content"] for message in sent["messages"]]) == (
        "gpt-4o-mini",
        ["My bill.", "Is it slow?"],
    )
    assert names["topic"] == "billing"
    interaction, outcome = server.events
    assert (interaction["variant"], outcome["success"]) == ("v_champion", True)
