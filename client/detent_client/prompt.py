"""One prompt that was served: what the model is to be sent, and what came of it."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Mapping
from time import perf_counter
from types import TracebackType
from typing import Any

from detent_client.assignment import Assignment
from detent_client.choice import Choice
from detent_client.events import error_text, event_of, new_id
from detent_client.server_time import time_text
from detent_client.template import Message, Rendering, Variables

Report = Callable[[Mapping[str, Any]], object]


class Prompt:
    """As a context manager it times the call and reports it, with what ``record`` was told and with an exception that
    ends it; without, ``record`` reports at once.

    Attributes:
        messages: what the model is sent.
        model: its name and generation settings, as the variant has them; empty for a fallback of your own.
        variant: None for a fallback of your own.
        role: champion, candidate, holdback or fallback.
        truncated: inputs that were cut.
        variables: that it was filled in with.
        is_in_no_arm: it has left its arm.
        is_reported: what came of it was sent on its way; nothing more is added.
        id: of this interaction.
    """

    def __init__(
        self,
        choice: Choice,
        rendering: Rendering,
        *,
        unit: str | None,
        variables: Variables,
        at: float,
        report: Report,
        drop: Callable[[str], None],
        leave: Callable[[str], None],
    ) -> None:
        """``at``: seconds since 1970 by the server's clock. ``drop``: counts what comes too late, and tells it once.
        ``leave``: takes the exposure back, and tells why once.
        """
        self.messages: list[Message] = rendering.messages
        self.truncated = rendering.truncated
        self.id = new_id("in")
        variant = choice.variant
        self.family, self.variant, self.role = variant.family, variant.id, choice.role
        self.rollout, self.stage, self._token = choice.rollout, choice.stage, choice.token
        self.model, self.tools, self.response_format = variant.model, variant.tools, variant.response_format
        self.variables = variables
        self._unit, self._at = unit, at
        self._report, self._drop, self._leave = report, drop, leave
        self.is_in_no_arm = self.is_reported = False
        self._is_of_one_call = False  # the block is that of an adapter, for one call of its own
        self._facts: dict[str, Any] = {}
        self._began: float | None = None

    @property
    def assignment(self) -> str:
        """Keep it beside your own record where the outcome comes later, and give it to ``feedback``."""
        return str(self._assignment())

    def record(
        self,
        output: str | None = None,
        *,
        model: str | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost_usd: float | None = None,
        latency_ms: float | None = None,
        time_to_first_token_ms: float | None = None,
        error: str | None = None,
        conversation: str | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """What is known of the answer; it may be told in parts within the ``with`` block. After it was reported the
        rest is dropped and counted.
        """
        if self.is_reported:
            return self._drop("what was recorded after its prompt had been reported was dropped")
        facts: dict[str, Any] = {"output": output, "model": model, "error": error, "tags": tags, "cost_usd": cost_usd}
        facts |= {"input_tokens": input_tokens, "output_tokens": output_tokens, "conversation": conversation}
        facts |= {"latency_ms": latency_ms, "time_to_first_token_ms": time_to_first_token_ms}
        self._facts.update({name: value for name, value in facts.items() if value is not None})
        if self._began is None:
            self._send()

    def add_tokens(self, input_tokens: int | None, output_tokens: int | None) -> None:
        """Those of one more call within the block, beside those of the calls before."""
        for name, n in (("input_tokens", input_tokens), ("output_tokens", output_tokens)):
            if n is not None:
                self._facts[name] = self._facts.get(name, 0) + n

    @property
    def is_in_block(self) -> bool:
        return self._began is not None and not self.is_reported

    def leave_arm(self, reason: str) -> None:
        """Says, before the answer is recorded, that the model was asked otherwise than the variant says, such as with
        another temperature: the exposure is taken back, and what comes of the prompt is kept under its family, in no
        arm and for no variant. ``reason`` goes to the log, once; it quotes no user.
        """
        if not self.is_in_no_arm and not self.is_reported:
            self.is_in_no_arm = True
            self._leave(reason)

    def first_token(self) -> None:
        """The first piece of a stream is there."""
        if self._began is not None:
            self._facts.setdefault("time_to_first_token_ms", (perf_counter() - self._began) * 1000)

    def __enter__(self) -> Prompt:
        self._began, self._is_of_one_call = perf_counter(), False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_reported or self._began is None:
            return
        if error is not None and not isinstance(error, (Exception, CancelledError, GeneratorExit)):
            self._began = None  # what is recorded from now on stands outside a block, and is reported at once
            return  # the program is being ended: that says nothing of the prompt
        if error is not None:
            self._facts.setdefault("error", error_text(error))
        # how long an answer takes that was left before its end, nobody knows
        if not (isinstance(error, (CancelledError, GeneratorExit)) or "client_gone" in str(self._facts.get("error"))):
            self._facts.setdefault("latency_ms", (perf_counter() - self._began) * 1000)
        self._send()

    def _send(self) -> None:
        self.is_reported = True
        facts = {"input": self.variables, "occurred_at": time_text(self._at), **self._facts}
        self._report(event_of(self._assignment().address(), facts, id=self.id))

    def _assignment(self) -> Assignment:
        unit = self._unit if self._unit is not None else f"call:{self.id}"  # nobody's: a unit of its own
        at = time_text(self._at) if self.rollout is not None else None
        arm = {"variant": self.variant, "rollout": self.rollout, "assigned_at": at, "token": self._token}
        return Assignment(family=self.family, unit=unit, interaction=self.id, **({} if self.is_in_no_arm else arm))
