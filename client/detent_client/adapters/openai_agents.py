"""OpenAI's Agents SDK (the extra ``openai-agents``): instructions of an agent come from a family, its model is asked as
the variant says, and what its traces say of a run is recorded.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agents import Agent, Model, ModelProvider, ModelSettings, MultiProvider, OpenAIChatCompletionsModel
from agents.run_context import RunContextWrapper
from agents.tracing import Span, Trace, TracingProcessor, get_current_span
from openai.types.shared import Reasoning

from detent_client.adapters.openai_answers import calls_text, response_answer
from detent_client.adapters.openai_requests import response_lacks, response_tokens
from detent_client.adapters.variant_call import VariantCall, variant_call
from detent_client.async_client import AsyncClient
from detent_client.client import Client
from detent_client.prompt import Prompt
from detent_client.template import Message

Instructions = Callable[[RunContextWrapper[Any], Agent[Any]], Awaitable[str]]

INSTRUCTION_ROLES = ("system", "developer")
NAMED_ALIKE = (
    "temperature",
    "top_p",
    "max_tokens",
    "frequency_penalty",
    "presence_penalty",
    "parallel_tool_calls",
    "verbosity",
)
ARGUMENTS = ("stop", "seed", "logit_bias")  # of chat completions; the responses API has none of them
BODY = ("top_k", "min_p", "repetition_penalty")
FORMATS = ("tools", "response_format")  # an agent's own are code


@dataclass(slots=True)
class AgentRun:
    """One agent at work within a trace: all of its turns are one prompt."""

    trace: str
    family: str  # as it was asked for: a renamed one is served under its new name
    prompt: Prompt
    instructions: str
    others: list[Message]  # of the prompt: the run's input must hold them
    n_asked: int = 0  # as the variant says
    n_answers: int = 0
    is_waiting: bool = False  # for an answer of the variant's model
    text: str | None = None
    model: str | None = None
    error: str | None = None

    def read(self, data: Any, error: Mapping[str, Any] | None) -> None:
        """What the span of a model's answer says, of either API."""
        self.n_answers += 1
        self.error = str(error["message"]) if error else None
        usage = data.usage or {}
        self.prompt.add_tokens(usage.get("input_tokens"), usage.get("output_tokens"))
        if data.type == "response":
            if data.response is not None:
                answer = response_answer(data.response)
                self.text, self.model = answer.text or self.text, answer.model
        else:
            self.text, self.model = _message_text(data.output) or self.text, data.model

    def end(self, error: Mapping[str, Any] | None) -> None:
        if self.n_answers > self.n_asked:
            self.prompt.leave_arm("an agent asks a model of its own: give it model=prompts.model")
        failure = str(error["message"]) if error else self.error
        if self.is_waiting:  # as where the task is cancelled, which no span says
            failure = failure or "cancelled: the run ended before its model had answered"
        self.prompt.record(self.text, model=self.model, error=failure)
        self.prompt.__exit__(None, None, None)


class AgentPrompts(TracingProcessor):
    """Prompts of a client for agents: ``Agent(instructions=prompts.instructions("triage"), model=prompts.model)`` after
    ``add_trace_processor(prompts)``.

    Attributes:
        model: asks the model of the variant with its settings. An agent with another one counts in no arm.
    """

    def __init__(
        self,
        client: Client | AsyncClient,
        *,
        model: str,
        models: Mapping[str, str] | None = None,
        provider: ModelProvider | None = None,
    ) -> None:
        """``model`` and ``models``: as of ``variant_call``. ``provider``: the SDK's, by default its own default."""
        self._client = client
        self._lock = threading.Lock()
        self._agents: dict[str, str] = {}  # spans under way, by which agent's span they stand under
        self._runs: dict[str, AgentRun] = {}
        self.model = VariantModel(self.run, provider or MultiProvider(), model=model, models=models)

    def instructions(
        self,
        family: str,
        *,
        unit: Callable[[Any], str | None] | None = None,
        variables: Callable[[Any], Mapping[str, Any]] | None = None,
        on_prompt: Callable[[Any, Prompt], object] | None = None,
    ) -> Instructions:
        """For ``Agent.instructions``. All three are given the run's context: ``on_prompt`` once for an agent in a run,
        with the prompt, whose ``assignment`` a later outcome needs.
        """

        async def text_of(context: RunContextWrapper[Any], agent: Agent[Any]) -> str:
            run = self.run()
            if run is not None and run.family == family:
                return run.instructions
            value = context.context
            asked = self._client.prompt(
                family, unit=unit(value) if unit else None, variables=variables(value) if variables else None
            )
            prompt = asked if isinstance(asked, Prompt) else await asked
            text = "\n\n".join(message["content"] for message in prompt.messages if _is_instruction(message))
            self._begin(family, prompt, text)
            if on_prompt is not None:
                on_prompt(value, prompt)
            return text

        return text_of

    def run(self) -> AgentRun | None:
        """That of the agent at work in this task."""
        span = get_current_span()
        with self._lock:
            return self._runs.get(self._agents.get(span.span_id, "")) if span is not None else None

    def _begin(self, family: str, prompt: Prompt, text: str) -> None:
        span = get_current_span()
        with self._lock:
            agent = self._agents.get(span.span_id) if span is not None else None
            if span is not None and agent is not None:
                others = [message for message in prompt.messages if not _is_instruction(message)]
                self._runs[agent] = AgentRun(span.trace_id, family, prompt.__enter__(), text, others)
        if agent is None:
            prompt.leave_arm("an agent's run is not traced: call add_trace_processor(prompts), and leave tracing on")

    def on_span_start(self, span: Span[Any]) -> None:
        with self._lock:
            own = span.span_id if span.span_data.type == "agent" else self._agents.get(span.parent_id or "")
            if own is not None:
                self._agents[span.span_id] = own

    def on_span_end(self, span: Span[Any]) -> None:
        with self._lock:
            agent = self._agents.pop(span.span_id, "")
            run = self._runs.pop(agent, None) if span.span_data.type == "agent" else self._runs.get(agent)
        if run is None:
            return
        if span.span_data.type == "agent":
            run.end(span.error)
        elif span.span_data.type in ("generation", "response"):
            run.read(span.span_data, span.error)

    def on_trace_start(self, trace: Trace) -> None:
        pass

    def on_trace_end(self, trace: Trace) -> None:
        """What is left of it was broken off."""
        with self._lock:
            left = [agent for agent, run in self._runs.items() if run.trace == trace.trace_id]
            for agent in left:
                del self._runs[agent]
            self._agents = {span: agent for span, agent in self._agents.items() if agent not in left}

    def shutdown(self) -> None:
        pass

    def force_flush(self) -> None:
        pass


class VariantModel(Model):
    """Asks the model that the variant names, with its settings; outside such a run the caller's own."""

    def __init__(
        self,
        run: Callable[[], AgentRun | None],
        provider: ModelProvider,
        *,
        model: str,
        models: Mapping[str, str] | None,
    ) -> None:
        self._run, self._provider = run, provider
        self._name, self._models = model, models

    async def get_response(
        self, system_instructions: Any, input: Any, model_settings: ModelSettings, *more: Any, **named: Any
    ) -> Any:
        run = self._run()
        model, settings = self._asked(model_settings, input)
        answer = await model.get_response(system_instructions, input, settings, *more, **named)
        if run is not None:
            run.is_waiting = False
        return answer

    async def stream_response(
        self, system_instructions: Any, input: Any, model_settings: ModelSettings, *more: Any, **named: Any
    ) -> AsyncIterator[Any]:
        run = self._run()
        model, settings = self._asked(model_settings, input)
        async for event in model.stream_response(system_instructions, input, settings, *more, **named):
            if run is not None and event.type.endswith(".delta"):
                run.prompt.first_token()
            yield event
        if run is not None:
            run.is_waiting = False

    def _asked(self, own: ModelSettings, input: Any) -> tuple[Model, ModelSettings]:
        run = self._run()
        if run is None:
            return self._provider.get_model(self._name), own
        run.n_asked, run.is_waiting = run.n_asked + 1, True
        if not _holds(input, run.others):
            run.prompt.leave_arm("an agent's prompt has messages beside its instructions that its input does not hold")
        own_settings = {name: value for name in NAMED_ALIKE if (value := getattr(own, name)) is not None}
        if own.reasoning is not None and own.reasoning.effort is not None:
            own_settings["reasoning_effort"] = own.reasoning.effort
        own_settings |= {name: value for name, value in (own.extra_args or {}).items() if name in ARGUMENTS}
        is_chat = isinstance(self._provider.get_model(self._name), OpenAIChatCompletionsModel)
        lacks = FORMATS if is_chat else (*FORMATS, *response_lacks(run.prompt))
        call = variant_call(run.prompt, model=self._name, models=self._models, own=own_settings, lacks=lacks)
        settings = _with_settings(own, call)
        if not is_chat:
            settings = replace(settings, max_tokens=response_tokens(run.prompt, call))
        return self._provider.get_model(call.model), settings


def _with_settings(own: ModelSettings, call: VariantCall) -> ModelSettings:
    settings = call.settings
    changes: dict[str, Any] = {name: settings[name] for name in NAMED_ALIKE if name in settings}
    if "reasoning_effort" in settings:
        changes["reasoning"] = (own.reasoning or Reasoning()).model_copy(
            update={"effort": settings["reasoning_effort"]}
        )
    for field, names in (("extra_args", ARGUMENTS), ("extra_body", BODY)):
        if given := {name: settings[name] for name in names if name in settings}:
            changes[field] = {**given, **(getattr(own, field) or {})}
    if own.include_usage is None:
        changes["include_usage"] = True  # of streams of chat completions, which say nothing of it else
    return replace(own, **changes)


def _is_instruction(message: Mapping[str, Any]) -> bool:
    return message.get("role") in INSTRUCTION_ROLES


def _holds(input: Any, messages: list[Message]) -> bool:
    """Whether they stand in the input of a run, one after the other."""
    items = [{"role": "user", "content": input}] if isinstance(input, str) else input
    said = [(item.get("role"), item.get("content")) for item in items if isinstance(item, Mapping)]
    wanted = [(message["role"], message["content"]) for message in messages]
    return any(said[at : at + len(wanted)] == wanted for at in range(len(said) + 1))


def _message_text(output: Any) -> str | None:
    """Of the span of a chat completion: it holds the message, or after a stream a response as the other API has it."""
    message = output[0] if output else {}
    if "output" in message:
        items = message["output"]
        parts = [part for item in items if item["type"] == "message" for part in item["content"]]
        calls = [item for item in items if item["type"] == "function_call"]
        text = "".join(part.get("text") or part.get("refusal") or "" for part in parts)
    else:
        calls = [call["function"] for call in message.get("tool_calls") or () if call.get("function")]
        text = message.get("content") or ""
    return text or calls_text([(call["name"], call["arguments"]) for call in calls])
