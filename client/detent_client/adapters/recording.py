"""What came of one call to a model, told to the prompt that it was made for."""

from __future__ import annotations

from dataclasses import dataclass

from detent_client.prompt import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """None where the package does not say. ``error``: of an answer that came and failed; it quotes no user."""

    text: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None


class CallRecord:
    """From the moment before a call until its end. Within a block of the prompt's own the block times and reports, and
    the tokens of several calls are added; else this does, for the first call of the prompt.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._is_ended = prompt.is_reported
        self._is_own = not prompt.is_in_block and not prompt.is_reported
        if self._is_own:
            prompt.__enter__()

    def first_token(self) -> None:
        self._prompt.first_token()

    def end(self, answer: Completion, error: BaseException | None = None) -> None:
        """Once; what comes later is of no account."""
        if self._is_ended or self._prompt.is_reported:
            return
        self._is_ended = True
        if error is None and answer.error is None:
            self._prompt._facts.pop("error", None)  # of an attempt before, within the block: this one answered
        self._prompt.add_tokens(answer.input_tokens, answer.output_tokens)
        self._prompt.record(answer.text, model=answer.model, error=answer.error if error is None else None)
        if self._is_own:
            self._prompt.__exit__(type(error) if error is not None else None, error, None)
