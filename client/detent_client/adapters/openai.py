"""OpenAI's SDK (the extra ``openai``): ``client.chat.completions.create(p)`` and ``client.responses.create(p)``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from openai import AsyncOpenAI, NotGiven, Omit, OpenAI
from openai.resources.chat.completions import AsyncCompletions, Completions
from openai.resources.responses import AsyncResponses, Responses

from detent_client.adapters.openai_answers import ChatChunks, ResponseEvents, chat_answer, response_answer
from detent_client.adapters.openai_requests import OPENAI_HOST, Arguments, chat_request, response_request
from detent_client.adapters.recording import CallRecord, Completion
from detent_client.prompt import Prompt

RAW_HEADER = "X-Stainless-Raw-Response"

Wrapped = TypeVar("Wrapped", OpenAI, AsyncOpenAI)

log = logging.getLogger("detent_client")


def wrap(client: Wrapped, *, model: str, models: Mapping[str, str] | None = None) -> Wrapped:
    """A client of the same kind, on the same connections, whose two ``create`` take a prompt as their first argument:
    model, settings, tools and response format are the variant's, and the answer is recorded. Other calls pass
    unchanged.

    Args:
        model: asked where the prompt names none, as your own fallback does, or one that ``models`` does not know.
        models: names of this provider by those of the server's config/models.yaml.
    """
    wrapped = client.copy()
    is_openai = wrapped.base_url.host == OPENAI_HOST
    chat = partial(_begin_chat, partial(chat_request, model=model, models=models, is_openai=is_openai))
    responses = partial(_begin_response, partial(response_request, model=model, models=models))
    if isinstance(wrapped, OpenAI):
        vars(wrapped.chat)["completions"] = PromptCompletions(wrapped, chat)
        vars(wrapped)["responses"] = PromptResponses(wrapped, responses)
    else:
        vars(wrapped.chat)["completions"] = AsyncPromptCompletions(wrapped, chat)
        vars(wrapped)["responses"] = AsyncPromptResponses(wrapped, responses)
    copy = wrapped.copy

    def wrapped_copy(**options: Any) -> Wrapped:
        return wrap(copy(**options), model=model, models=models)

    vars(wrapped)["copy"] = vars(wrapped)["with_options"] = wrapped_copy
    return wrapped


@dataclass(frozen=True, slots=True)
class PromptCall:
    """One call for a prompt. ``read``: of a whole answer; ``pieces``: those of a stream, as they come."""

    arguments: Arguments
    record: CallRecord
    read: Callable[[Any], Completion]
    pieces: ChatChunks | ResponseEvents

    def end(self, answer: Any) -> None:
        _end(self.record, lambda: self.read(answer))


def _end(record: CallRecord, read: Callable[[], Completion], error: BaseException | None = None) -> None:
    if record.is_ended:
        return
    try:
        record.end(read(), error)
    except Exception as unread:  # a provider's own form: the caller may know it, and gets it as it is
        log.warning("an answer could not be read (%s); it is recorded without its text", type(unread).__name__)
        record.end(Completion(), error)


Begin = Callable[[Prompt, Arguments], PromptCall]


def _begin_chat(request: Callable[[Prompt, Arguments], Arguments], prompt: Prompt, own: Arguments) -> PromptCall:
    arguments = request(prompt, _said(own))
    hides_usage = bool(arguments.get("stream")) and "stream_options" not in arguments
    if hides_usage:
        arguments["stream_options"] = {"include_usage": True}
    return PromptCall(arguments, CallRecord(prompt), chat_answer, ChatChunks(hides_usage=hides_usage))


def _begin_response(request: Callable[[Prompt, Arguments], Arguments], prompt: Prompt, own: Arguments) -> PromptCall:
    return PromptCall(request(prompt, _said(own)), CallRecord(prompt), response_answer, ResponseEvents())


def _said(own: Arguments) -> Arguments:
    if RAW_HEADER in (own.get("extra_headers") or {}):
        raise TypeError("A prompt cannot be sent with a raw response: use create() itself, or send p.messages.")
    return {name: value for name, value in own.items() if not isinstance(value, (NotGiven, Omit))}


class PromptCompletions(Completions):
    def __init__(self, client: OpenAI, begin: Begin) -> None:
        super().__init__(client)
        self._begin = begin

    def create(self, *prompt: Any, **own: Any) -> Any:
        """``create(p, ...)``: for a prompt. ``create(...)``: as without Detent."""
        return _create(super().create, self._begin, prompt, own)


class PromptResponses(Responses):
    def __init__(self, client: OpenAI, begin: Begin) -> None:
        super().__init__(client)
        self._begin = begin

    def create(self, *prompt: Any, **own: Any) -> Any:
        """As that of the chat completions."""
        return _create(super().create, self._begin, prompt, own)


class AsyncPromptCompletions(AsyncCompletions):
    def __init__(self, client: AsyncOpenAI, begin: Begin) -> None:
        super().__init__(client)
        self._begin = begin

    async def create(self, *prompt: Any, **own: Any) -> Any:
        return await _create_async(super().create, self._begin, prompt, own)


class AsyncPromptResponses(AsyncResponses):
    def __init__(self, client: AsyncOpenAI, begin: Begin) -> None:
        super().__init__(client)
        self._begin = begin

    async def create(self, *prompt: Any, **own: Any) -> Any:
        return await _create_async(super().create, self._begin, prompt, own)


def _create(create: Callable[..., Any], begin: Begin, prompt: tuple[Any, ...], own: Arguments) -> Any:
    if not _is_prompt(prompt):
        return create(*prompt, **own)
    call = begin(prompt[0], own)
    try:
        answer = create(**call.arguments)
    except BaseException as error:
        call.record.end(Completion(), error)
        raise
    if call.arguments.get("stream"):
        return PromptStream(answer, call)
    call.end(answer)
    return answer


async def _create_async(create: Callable[..., Any], begin: Begin, prompt: tuple[Any, ...], own: Arguments) -> Any:
    if not _is_prompt(prompt):
        return await create(*prompt, **own)
    call = begin(prompt[0], own)
    try:
        answer = await create(**call.arguments)
    except BaseException as error:
        call.record.end(Completion(), error)
        raise
    if call.arguments.get("stream"):
        return AsyncPromptStream(answer, call)
    call.end(answer)
    return answer


def _is_prompt(arguments: tuple[Any, ...]) -> bool:
    return len(arguments) == 1 and isinstance(arguments[0], Prompt)


class RecordedStream:
    """A stream of the SDK, recorded as it is read; also where it breaks off, is closed or left."""

    def __init__(self, stream: Any, call: PromptCall) -> None:
        self._stream, self._record, self._pieces = stream, call.record, call.pieces

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __del__(self) -> None:
        if "_pieces" in vars(self):
            self._end(is_closed=True)

    def _take(self, piece: Any) -> bool:
        """Whether it is passed on."""
        try:
            is_passed_on = self._pieces.add(piece)
        except Exception as error:  # as above
            log.warning("a piece of a stream could not be read (%s)", type(error).__name__)
            return True
        if self._pieces.has_begun:
            self._record.first_token()
        return is_passed_on

    def _end(self, error: BaseException | None = None, *, is_closed: bool = False) -> None:
        _end(self._record, lambda: self._pieces.answer(is_closed=is_closed), error)


class PromptStream(RecordedStream):
    def __iter__(self) -> PromptStream:
        return self

    def __next__(self) -> Any:
        while True:
            try:
                piece = next(self._stream)
            except StopIteration:
                self._end()
                raise
            except BaseException as error:
                self._end(error)
                raise
            if self._take(piece):
                return piece

    def __enter__(self) -> PromptStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._end(is_closed=True)
        self._stream.close()


class AsyncPromptStream(RecordedStream):
    def __aiter__(self) -> AsyncPromptStream:
        return self

    async def __anext__(self) -> Any:
        while True:
            try:
                piece = await anext(self._stream)
            except StopAsyncIteration:
                self._end()
                raise
            except BaseException as error:
                self._end(error)
                raise
            if self._take(piece):
                return piece

    async def __aenter__(self) -> AsyncPromptStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        self._end(is_closed=True)
        await self._stream.close()
