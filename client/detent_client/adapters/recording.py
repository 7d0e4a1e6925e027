"""What came of one call to a model, told to the prompt that it was made for."""

from __future__ import annotations

from dataclasses import dataclass

from detent_client.events import error_text
from detent_client.prompt import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """None where the package does not say, or says something of another kind. ``error``: of an answer that came and
    failed; it quotes no user.
    """

    text: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        for name, kind in (("text", str), ("model", str), ("input_tokens", int), ("output_tokens", int)):
            if not isinstance(getattr(self, name), kind):
                object.__setattr__(self, name, None)


class CallRecord:
    """From the moment before a call until its end. Within a block of the prompt's own the block times and reports, and
    the tokens of several calls are added; else this does, for the first call of the prompt. Calls beside that one are
    not recorded.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self.is_ended = prompt.is_reported or (prompt.is_in_block and prompt._is_of_one_call)
        self._is_own = not prompt.is_in_block and not prompt.is_reported
        if self._is_own:
            prompt.__enter__()
            prompt._is_of_one_call = True

    def first_token(self) -> None:
        if not self.is_ended:
            self._prompt.first_token()

    def end(self, answer: Completion, error: BaseException | None = None) -> None:
        """Once; what comes later is of no account."""
        if self.is_ended or self._prompt.is_reported:
            return
        if error is None and answer.error is None:
            self._prompt._facts.pop("error", None)  # of an attempt before, within the block: this one answered
        self._prompt.add_tokens(answer.input_tokens, answer.output_tokens)
        # the application may catch an error within the block, which then ends without one
        failure = answer.error if error is None else error_text(error)
        self._prompt.record(answer.text, model=answer.model, error=failure)
        if self._is_own:
            self._prompt.__exit__(type(error) if error is not None else None, error, None)
        self.is_ended = True
