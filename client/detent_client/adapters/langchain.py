"""For LangChain: a family as a ``ChatPromptTemplate``, and a chat model as the served variant says, whose calls a
callback handler reports.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable
from pydantic import Field

from detent_client.adapters.openai_requests import BEYOND_OPENAI, OPENAI_HOST
from detent_client.adapters.recording import CallRecord, Completion
from detent_client.adapters.variant_call import SETTINGS, VariantCall, variant_call
from detent_client.async_client import AsyncClient
from detent_client.choice import Choice
from detent_client.client import BaseClient, Client
from detent_client.errors import InvalidInput
from detent_client.prompt import Prompt
from detent_client.session import Session

HISTORY = "is_history"  # marks the place of earlier turns among rendered messages
MARK = "\ue000"  # around a variable's name while a template is made
MODEL_FIELDS = ("model_name", "model", "model_id")
FIELDS = {  # what chat models call a setting besides its own name
    "max_tokens": ("max_output_tokens", "num_predict"),
    "repetition_penalty": ("repeat_penalty",),
    "stop": ("stop_sequences",),
}
BY_BIND = ("response_format", "parallel_tool_calls")  # that chat models of langchain-openai take without a field


def detent_prompt(client: Client, family: str, *, unit: str | None = None, history: str = "history") -> FamilyPrompt:
    """The prompt that a unit gets, counted as an exposure. Ask for each request.

    Args:
        history: the template's variable for earlier turns of the conversation; it may be left out.
    Raises:
        DetentError: as ``Client.prompt``.
    """
    return FamilyPrompt(client, family, unit, history)


async def adetent_prompt(
    client: AsyncClient, family: str, *, unit: str | None = None, history: str = "history"
) -> FamilyPrompt:
    """As ``detent_prompt``, for an application on asyncio."""
    await client._session.first_snapshot()
    return FamilyPrompt(client, family, unit, history)


class FamilyPrompt:
    """``chain = served.template | served.bind(llm)``. Its first call of the model is reported; within ``with served:``
    all are, as one interaction.

    Attributes:
        template: fills in byte for byte as the server does.
        prompt: what the client knows of it; ``client.feedback`` takes it.
    """

    def __init__(self, client: BaseClient, family: str, unit: str | None, history: str) -> None:
        session = client._session
        choice, self.prompt = session.open_prompt(family, unit)
        self._filling = Filling(session, choice, self.prompt, unit)
        self.template: ChatPromptTemplate = FamilyTemplate(
            _open_messages(choice, history), filling=self._filling, history=history
        )

    @property
    def assignment(self) -> str:
        """Keep it where the outcome comes later, and give it to ``client.feedback``."""
        return self.prompt.assignment

    def bind(
        self,
        llm: BaseChatModel,
        *,
        models: Mapping[str, str | BaseChatModel] | None = None,
        takes: Collection[str] = (),
    ) -> Runnable[Any, AIMessage]:
        """A copy of a chat model, with the variant's model, settings, tools and response format. What the chat model
        cannot be told is left out, and then the prompt counts in no arm.

        Args:
            models: the provider's name of a model, or another chat model, by its name on the server.
            takes: settings, or ``response_format``, that this chat model takes by ``bind`` although it has no such
                field.
        Raises:
            TypeError: for what was made of a chat model, such as by ``with_structured_output``.
        """
        if not isinstance(llm, BaseChatModel):
            raise TypeError(
                f"bind() takes a chat model and got {type(llm).__name__}. Bind the model first, and what is made of it"
                " after that: served.bind(llm).with_structured_output(...)."
            )
        models = dict(models or {})
        other = models.get(self.prompt.model.get("name", ""))
        llm = other if isinstance(other, BaseChatModel) else llm
        own_names = {name: model if isinstance(model, str) else _model_of(model) for name, model in models.items()}
        fields = {setting: field for setting in SETTINGS if (field := _field(llm, setting, *FIELDS.get(setting, ())))}
        call = variant_call(self.prompt, model=_model_of(llm), models=own_names, lacks=_lacks(llm, {*fields, *takes}))
        handler = CallReports(self.prompt, self._filling)
        bound, more = _copy_of(llm, call, fields, handler)
        runnable: Runnable[Any, AIMessage] = bound.bind_tools(call.tools) if call.tools is not None else bound
        options = {**getattr(runnable, "kwargs", {}), **more}
        params = bound._get_invocation_params(**options)
        sent = {"model", "model_name", *call.settings, *options}
        handler.sent = {name: params[name] for name in sent if params.get(name) is not None}
        return runnable.bind(**more) if more else runnable

    def __enter__(self) -> FamilyPrompt:
        self.prompt.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.prompt.__exit__(kind, error, trace)


class Filling:
    """Fills a served prompt in, and knows afterwards what was made of it."""

    def __init__(self, session: Session, choice: Choice, prompt: Prompt, unit: str | None) -> None:
        self._session, self._choice, self._prompt, self._unit = session, choice, prompt, unit
        self._filled: list[list[BaseMessage]] = []

    def messages(self, inputs: Mapping[str, Any], history: Sequence[Any]) -> list[BaseMessage]:
        """Raises InvalidInput where no fallback was given."""
        choice, prompt = self._choice, self._prompt
        template = choice.variant.template
        variables = {name: value for name, value in inputs.items() if name in template.known}
        turns = [{"role": "user", "content": "", HISTORY: True}] if history else []
        if choice.role == "fallback":
            rendering = template.fill_anyhow(variables, turns)
        else:
            try:
                rendering = template.fill(variables, turns)
            except InvalidInput as error:
                _, rendering = self._session.filled_fallback(prompt.family, self._unit, variables, turns, error)
                prompt.leave_arm("the inputs do not fit the prompt")
        messages: list[BaseMessage] = []
        for message in rendering.messages:
            messages += convert_to_messages(history if HISTORY in message else [message])
        prompt.messages, prompt.variables, prompt.truncated = rendering.messages, variables, rendering.truncated
        self._filled.append(messages)
        return messages

    def is_start_of(self, messages: Sequence[BaseMessage]) -> bool:
        """Whether a model is sent what this made, or that and what an agent's tools have answered since."""
        return any(
            list(messages[: len(filled)]) == filled
            and (len(messages) == len(filled) or isinstance(messages[len(filled)], AIMessage))
            for filled in self._filled
        )


class FamilyTemplate(ChatPromptTemplate):
    """Its messages show what is asked for; they are filled in by ``filling``."""

    filling: Any = Field(exclude=True, repr=False)
    history: str = "history"

    def _validate_input(self, inner_input: Any) -> dict[str, Any]:
        """What is missing is found when it is filled in, where a fallback may answer."""
        if isinstance(inner_input, dict):
            return inner_input
        said: dict[str, Any] = super()._validate_input(inner_input)
        return said

    def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
        inputs = self._merge_partial_and_user_variables(**kwargs)
        filling: Filling = self.filling
        return filling.messages(inputs, inputs.get(self.history) or ())

    async def aformat_messages(self, **kwargs: Any) -> list[BaseMessage]:
        return self.format_messages(**kwargs)


class CallReports(BaseCallbackHandler):
    """Reports the calls of one bound chat model. ``sent``: its parameters as they were bound."""

    run_inline = True  # on the event loop, in the order of the events: it takes microseconds

    def __init__(self, prompt: Prompt, filling: Filling) -> None:
        self._prompt, self._filling = prompt, filling
        self.sent: dict[str, Any] = {}
        self._calls: dict[UUID, tuple[CallRecord, str | None]] = {}

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not all(self._filling.is_start_of(one) for one in messages):
            self._prompt.leave_arm("the model is sent other messages than the template's")
        params = kwargs.get("invocation_params") or {}
        for name, value in self.sent.items():
            if params.get(name) != value:
                self._prompt.leave_arm(f"the call has its own {name}")
        self._calls[run_id] = CallRecord(self._prompt), (metadata or {}).get("ls_model_name")

    def on_llm_new_token(self, token: str, *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        if run_id in self._calls and (token or getattr(getattr(chunk, "message", None), "tool_call_chunks", None)):
            self._calls[run_id][0].first_token()

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        call, model = self._calls.pop(run_id, (None, None))
        if call is not None:
            if _is_cached(response):
                self._prompt.leave_arm("the call was answered from a cache")
            call.end(_completion_of(response, model))

    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, response: LLMResult | None = None, **kwargs: Any
    ) -> None:
        """``response``: of a stream that broke or was left, what had come."""
        call, model = self._calls.pop(run_id, (None, None))
        if call is not None:
            come = _completion_of(response, model) if response is not None else Completion(model=model)
            call.end(replace(come, text=come.text or None), error)


def _completion_of(response: LLMResult, model: str | None) -> Completion:
    generation = response.generations[0][0] if response.generations and response.generations[0] else None
    message = generation.message if isinstance(generation, ChatGeneration) else None
    if not isinstance(message, AIMessage):
        return Completion(text=generation.text if generation is not None else None, model=model)
    usage: Mapping[str, Any] = message.usage_metadata or {}
    return Completion(
        text=str(message.text) or (json.dumps(message.tool_calls, default=str) if message.tool_calls else ""),
        model=model or message.response_metadata.get("model_name"),
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
    )


def _is_cached(response: LLMResult) -> bool:
    """LangChain sets the cost of an answer out of its cache to zero, and of no other one."""
    messages = [getattr(one, "message", None) for generations in response.generations for one in generations]
    return any((getattr(message, "usage_metadata", None) or {}).get("total_cost") == 0 for message in messages)


def _open_messages(choice: Choice, history: str) -> list[Any]:
    """As LangChain writes templates: braces of the text are doubled, and variables stand in single ones."""
    template = choice.variant.template
    marked = template.fill_anyhow(
        {name: f"{MARK}{name}{MARK}" for name in template.names}, [{"role": "user", "content": "", HISTORY: True}]
    )
    messages: list[Any] = []
    for message in marked.messages:
        text, role = message.get("content") or "", message["role"]
        if HISTORY in message:
            messages.append(MessagesPlaceholder(history, optional=True))
        elif MARK not in text:
            messages += convert_to_messages([message])
        else:
            pieces = text.replace("{", "{{").replace("}", "}}").split(MARK)
            pieces[1::2] = ["{" + name + "}" for name in pieces[1::2]]
            messages.append((role if role in ("system", "user", "assistant") else "system", "".join(pieces)))
    return messages


def _copy_of(
    llm: BaseChatModel, call: VariantCall, fields: Mapping[str, str], handler: BaseCallbackHandler
) -> tuple[BaseChatModel, dict[str, Any]]:
    """With its own callbacks and the handler; and what is left to be bound."""
    update: dict[str, Any] = {field: call.settings[name] for name, field in fields.items() if name in call.settings}
    if model_field := _field(llm, *MODEL_FIELDS):
        update[model_field] = call.model
    if isinstance(llm.callbacks, BaseCallbackManager):
        update["callbacks"] = llm.callbacks.copy()
        update["callbacks"].add_handler(handler, inherit=False)
    else:
        update["callbacks"] = [*(llm.callbacks or []), handler]
    more = {name: value for name, value in call.settings.items() if name not in fields}
    if call.response_format is not None:
        more["response_format"] = dict(call.response_format)
    if _is_openai(llm):  # in the body, past its SDK, which knows no such setting, or refuses tools that are not strict
        body = {name: more.pop(name) for name in ("response_format", *BEYOND_OPENAI) if name in more}
        if body:
            more["extra_body"] = {**(getattr(llm, "extra_body", None) or {}), **body}
    return llm.model_copy(update=update), more


def _lacks(llm: BaseChatModel, takes: Collection[str]) -> list[str]:
    """Of all that a variant may say, what this chat model cannot be told. ``stop`` all take."""
    can = {*takes, "stop"}
    if _is_openai(llm):
        url = getattr(getattr(llm, "root_client", None), "base_url", None)
        can |= {*BY_BIND, *(BEYOND_OPENAI if getattr(url, "host", OPENAI_HOST) != OPENAI_HOST else ())}
    if type(llm).bind_tools is not BaseChatModel.bind_tools:
        can.add("tools")
    return [name for name in (*SETTINGS, "tools", "response_format") if name not in can]


def _model_of(llm: BaseChatModel) -> str:
    """The name of its model; empty for a chat model without one."""
    field = _field(llm, *MODEL_FIELDS)
    return str(getattr(llm, field)) if field is not None else ""


def _field(llm: BaseChatModel, *names: str) -> str | None:
    """The field with one of these names or aliases."""
    return next((name for name, info in type(llm).model_fields.items() if {name, info.alias} & {*names}), None)


def _is_openai(llm: BaseChatModel) -> bool:
    """By name, since langchain-openai need not be installed."""
    return any(kind.__name__ == "BaseChatOpenAI" for kind in type(llm).__mro__)
