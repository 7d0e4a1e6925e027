"""LiteLLM (the extra ``litellm``): ``prompt_id`` names a family, in ``acompletion``, its router and its proxy, and in
``DetentPrompts.completion``.

LiteLLM asks a prompt manager in several places and uses its answer differently: ``completion`` and ``acompletion`` take
model and messages from ``get_chat_completion_prompt`` and drop the settings. So the whole request is filled in before
them, where there is a hook for that, and ``prompt_id`` is taken out of it; what comes through the other hooks counts in
no arm where the variant has settings.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

import litellm
from litellm.integrations.custom_prompt_management import CustomPromptManagement

from detent_client.adapters.openai_answers import chat_answer
from detent_client.adapters.recording import Completion
from detent_client.adapters.variant_call import SETTINGS, VariantCall, variant_call
from detent_client.assignment import Assignment
from detent_client.async_client import AsyncClient
from detent_client.client import Client
from detent_client.events import error_text
from detent_client.prompt import Prompt

Request = dict[str, Any]
Answer = tuple[str, list[dict[str, Any]], dict[str, Any]]

FORMATS = ("tools", "response_format")
OF_PROMPTS = ("prompt_id", "prompt_variables", "prompt_label", "prompt_version")
CHAT_CALLS = ("completion", "acompletion")
MAX_CALLS = 10_000  # that are under way, or whose assignment may still be asked for
RETRY_S = 60.0  # after an attempt of a router's that failed, the next one has begun
LEFT_S = 600.0  # a call of which nothing was heard for so long was left by whoever asked
EARLIER_ATTEMPT = "detent_call_id"  # in a router's metadata, which go from one attempt to the next
ASSIGNMENT_HEADER = "x-detent-assignment"
INTERACTION_HEADER = "x-detent-interaction"


@dataclass(slots=True)
class OpenCall:
    """``ends_at``: when no more is expected of it, and what is known is reported."""

    prompt: Prompt
    ends_at: float
    has_failed: bool = False


class DetentPrompts(CustomPromptManagement):
    """Set as one of ``litellm.callbacks``, or of the proxy's ``litellm_settings.callbacks``."""

    def __init__(
        self,
        client: Client | AsyncClient,
        *,
        models: Mapping[str, str] | None = None,
        families: Collection[str] | None = None,
        unit: Callable[[Mapping[str, Any]], str | None] = lambda request: request.get("user"),
    ) -> None:
        """
        Args:
            models: LiteLLM's names of models (on its proxy those of its own model list), by those of the server's
                config/models.yaml. The model of the call answers where there is none.
            families: that ``prompt_id`` may name; by default every one, and no other prompt manager is asked.
            unit: of a request.
        """
        super().__init__()
        self._client, self._models = client, models or {}  # a client that nothing holds ends
        self._families, self._unit = families, unit
        self._open: OrderedDict[str, OpenCall] = OrderedDict()
        self._lock = threading.RLock()
        self._assignments: OrderedDict[str, str] = OrderedDict()
        self._pending: ContextVar[tuple[str, Prompt] | None] = ContextVar("detent_prompt", default=None)

    def completion(self, **request: Any) -> Any:
        """As ``litellm.completion``, which has no hook for a whole request."""
        return litellm.completion(**self._filled_in({"litellm_call_id": str(uuid.uuid4()), **request}))

    def assignment(self, answer: Any) -> str | None:
        """For feedback on an answer, or on its stream: among the last ten thousand of this process."""
        hidden = getattr(answer, "_hidden_params", None) or {}
        logged = getattr(answer, "logging_obj", None)
        call_id = hidden.get("litellm_call_id") or getattr(logged, "litellm_call_id", None)
        return self._assignments.get(str(call_id))

    @property
    def integration_name(self) -> str:
        return "detent"

    def should_run_prompt_management(self, prompt_id: str | None, *_: Any, **__: Any) -> bool:
        return prompt_id is not None and (self._families is None or prompt_id in self._families)

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: Request, call_type: str) -> Request:
        """Of the proxy, before it chooses a deployment."""
        return await self._filled_in_later(data) if call_type in CHAT_CALLS else data

    async def async_pre_call_deployment_hook(self, kwargs: Request, call_type: Any) -> Request:
        """Of ``acompletion``, before each attempt."""
        with self._lock:
            if call := self._open.get(kwargs.get("litellm_call_id", "")):
                call.has_failed, call.ends_at = False, monotonic() + LEFT_S
        is_chat = getattr(call_type, "value", call_type) in CHAT_CALLS
        return await self._filled_in_later(kwargs) if is_chat else kwargs

    async def async_post_call_failure_hook(self, request_data: Request, *_: Any, **__: Any) -> None:
        """Of the proxy, after the last attempt."""
        if call := self._failed(request_data.get("litellm_call_id")):
            call.prompt.__exit__(None, None, None)

    async def async_post_call_response_headers_hook(self, data: Request, *_: Any, **__: Any) -> dict[str, str] | None:
        """Of the proxy: its caller says with its feedback what this was, with a client or without."""
        assignment = self._assignments.get(data.get("litellm_call_id", ""))
        if assignment is None:
            return None
        return {ASSIGNMENT_HEADER: assignment, INTERACTION_HEADER: Assignment.from_text(assignment).interaction}

    def get_chat_completion_prompt(
        self,
        model: str,
        messages: list[dict[str, Any]],
        non_default_params: dict[str, Any],
        prompt_id: str | None,
        prompt_variables: dict[str, Any] | None,
        *_: Any,
        **__: Any,
    ) -> Answer:
        """Of ``litellm.completion`` itself: neither its user nor its settings are known here, nor which call it is."""
        if prompt_id is None or not self.should_run_prompt_management(prompt_id):
            return model, messages, non_default_params
        request = {**non_default_params, "model": model, "messages": messages, "prompt_variables": prompt_variables}
        prompt, call = self._prompt(prompt_id, request, drops_settings=True)
        self._pending.set((prompt_id, prompt.__enter__()))
        return call.model, prompt.messages, non_default_params

    async def async_get_chat_completion_prompt(
        self,
        model: str,
        messages: list[dict[str, Any]],
        non_default_params: dict[str, Any],
        prompt_id: str | None,
        prompt_variables: dict[str, Any] | None,
        dynamic_callback_params: Any,
        litellm_logging_obj: Any,
        *_: Any,
        **__: Any,
    ) -> Answer:
        """Of ``acompletion`` where its request was not filled in before, and of prompts in the proxy's own list, whose
        settings it takes from here.
        """
        if prompt_id is None or not self.should_run_prompt_management(prompt_id):
            return model, messages, non_default_params
        drops_settings = "litellm_logging_obj" in non_default_params  # acompletion's own arguments, used further
        if drops_settings:
            non_default_params.pop("prompt_id", None)  # so that completion, which it calls, does not ask again
        request = {**non_default_params, "model": model, "messages": messages, "prompt_variables": prompt_variables}
        await self._client._session.first_snapshot()
        prompt, call = self._prompt(prompt_id, request, drops_settings=drops_settings)
        self._begin(litellm_logging_obj.litellm_call_id, prompt.__enter__())
        return call.model, prompt.messages, {**non_default_params, **({} if drops_settings else _sent(call))}

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Mapping[str, Any]) -> None:
        """The first one after a prompt may be of another call, since a call that fails early comes to none."""
        pending = self._pending.get()
        if pending is None:
            return
        self._pending.set(None)
        prompt_id, prompt = pending
        if (kwargs.get("litellm_params") or {}).get("prompt_id") == prompt_id:
            self._begin(kwargs["litellm_call_id"], prompt)
        else:
            prompt._drop("the outcome of a call that failed before its model was asked was dropped")

    def log_success_event(self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._end(kwargs, response_obj, start_time, end_time, None)

    def log_failure_event(self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._end(kwargs, None, start_time, end_time, kwargs.get("exception") or RuntimeError("the call failed"))

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    async def async_log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.log_failure_event(kwargs, response_obj, start_time, end_time)

    async def _filled_in_later(self, request: Request) -> Request:
        """As ``_filled_in``; it must not hold up the event loop until the first snapshot is there."""
        if self.should_run_prompt_management(request.get("prompt_id")):
            await self._client._session.first_snapshot()
        return self._filled_in(request)

    def _filled_in(self, request: Request) -> Request:
        """As the variant says. One for no prompt of these, or whose model came by position, stays as it is."""
        prompt_id = request.get("prompt_id")
        if not self.should_run_prompt_management(prompt_id) or "model" not in request:
            return request
        routed = _routed(request)
        is_again = routed.get("attempted_retries") or request.get("fallback_depth")
        if is_again and (earlier := self._failed(routed.get(EARLIER_ATTEMPT))):
            earlier.prompt.leave_arm("a router asks again after an error: the prompt of its last attempt counts")
        prompt, call = self._prompt(str(prompt_id), request)
        model, sent = call.model, _sent(call)
        if model != request["model"] and routed:
            prompt.leave_arm("the router has chosen a deployment before: name its model in the call")
            model = request["model"]
        if routed:
            routed[EARLIER_ATTEMPT] = request["litellm_call_id"]
        if request.get("max_completion_tokens") is not None:
            sent.pop("max_tokens", None)
        self._begin(request["litellm_call_id"], prompt.__enter__())
        rest = {name: value for name, value in request.items() if name not in OF_PROMPTS}
        return {**rest, **sent, "model": model, "messages": prompt.messages}

    def _prompt(self, family: str, request: Request, *, drops_settings: bool = False) -> tuple[Prompt, VariantCall]:
        """The messages of a request are its conversation until now: they stand where the prompt has its history."""
        turns = list(request.get("messages") or ())
        prompt = self._client._session.prompt(family, self._unit(request), request.get("prompt_variables") or {}, turns)
        if not all(turn in prompt.messages for turn in turns):  # it has no place for them: they follow it
            prompt.messages = [*prompt.messages, *turns]
        own = {name: request[name] for name in (*SETTINGS, *FORMATS) if request.get(name) is not None}
        if request.get("max_completion_tokens") is not None:
            own["max_tokens"] = request["max_completion_tokens"]
        lacks = (*SETTINGS, *FORMATS) if drops_settings else ()
        return prompt, variant_call(prompt, model=request["model"], models=self._models, own=own, lacks=lacks)

    def _begin(self, call_id: str, prompt: Prompt) -> None:
        now = monotonic()
        with self._lock:
            over = [self._open.pop(id) for id, call in [*self._open.items()] if call.ends_at <= now]
            self._open[call_id], self._assignments[call_id] = OpenCall(prompt, now + LEFT_S), prompt.assignment
            lost = [self._open.popitem(last=False)[1] for _ in range(len(self._open) - MAX_CALLS)]
            while len(self._assignments) > MAX_CALLS:
                self._assignments.popitem(last=False)
        for call in over:
            call.prompt.__exit__(GeneratorExit, GeneratorExit(), None)
        for call in lost:
            call.prompt._drop("the outcome of a call that LiteLLM never said the end of was dropped")

    def _failed(self, call_id: str | None) -> OpenCall | None:
        """The call, no longer open, whose last attempt failed."""
        with self._lock:
            call = self._open.get(call_id or "")
            return self._open.pop(call_id or "") if call is not None and call.has_failed else None

    def _end(
        self, kwargs: Mapping[str, Any], answer: Any, began: datetime, ended: datetime, error: BaseException | None
    ) -> None:
        """LiteLLM tells the same end more than once. After an error a router tries again."""
        call_id = kwargs.get("litellm_call_id", "")
        is_last = error is None or not _routed(kwargs.get("litellm_params") or {})
        with self._lock:
            call = self._open.pop(call_id, None) if is_last else self._open.get(call_id)
            if call is None:
                return
            if not is_last:
                call.has_failed, call.ends_at = True, monotonic() + RETRY_S
        prompt = call.prompt
        if error is None:
            prompt._facts.pop("error", None)  # of an attempt before
        if kwargs.get("cache_hit"):
            prompt.leave_arm("the call was answered from a cache")
        whole = kwargs.get("async_complete_streaming_response") or kwargs.get("complete_streaming_response") or answer
        completion = chat_answer(whole) if whole is not None else Completion()
        first = kwargs.get("completion_start_time")
        is_streamed = bool(kwargs.get("stream")) and isinstance(first, datetime)
        prompt.record(
            completion.text,
            model=completion.model or kwargs.get("model"),
            input_tokens=completion.input_tokens,
            output_tokens=completion.output_tokens,
            cost_usd=kwargs.get("response_cost"),
            latency_ms=(ended - began).total_seconds() * 1000,
            time_to_first_token_ms=(first - began).total_seconds() * 1000 if first and is_streamed else None,
            error=error_text(error) if error is not None else None,
        )
        if is_last:
            prompt.__exit__(None, None, None)


def _sent(call: VariantCall) -> dict[str, Any]:
    formats = {"tools": call.tools, "response_format": call.response_format}
    return {**call.settings, **{name: value for name, value in formats.items() if value is not None}}


def _routed(request: Request) -> dict[str, Any]:
    """What a router adds to a request; empty without one."""
    metadata = (request.get(name) or {} for name in ("metadata", "litellm_metadata"))
    return next((each for each in metadata if "model_group" in each), {})
