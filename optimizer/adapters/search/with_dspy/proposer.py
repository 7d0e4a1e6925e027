"""The proposer model as DSPy's programs ask it: through journal and budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import dspy
import structlog

from optimizer.adapters.search.with_dspy.programs import response
from optimizer.core.base.errors import ModelFailed
from optimizer.core.family.variant import Variant
from optimizer.core.search.space import instruction_fault
from optimizer.core.search.strategy import SearchSetting

WRITTEN = re.compile(r"\[\[ ## proposed_instruction ## \]\](.*?)(?:\[\[ ## |\Z)", re.DOTALL)
ASKED_ONCE = dspy.ChatAdapter(use_json_adapter_fallback=False)  # not again in JSON where an answer cannot be parsed
T = TypeVar("T")
log = structlog.get_logger(__name__)


class ProposerEngine:
    """DSPy's engine protocol on top of the journaled proposer."""

    def __init__(self, strategy: str, setting: SearchSetting) -> None:
        self._strategy, self._setting = strategy, setting
        self._n_calls = 0
        self._broken: Exception | None = None
        self._text = ""
        self._failure: str | None = None  # of the proposer, since it was last asked
        self.lm = dspy.LM("detent/proposer", engine=self, cache=False, num_retries=0)

    def asked(self, adapter: dspy.Adapter = ASKED_ONCE) -> AbstractContextManager[None]:
        """Within it DSPy's programs ask the proposer."""
        within: AbstractContextManager[None] = dspy.context(
            lm=self.lm, adapter=adapter, warn_on_type_mismatch=False, provide_traceback=False
        )
        return within

    def proposed(self, ask: Callable[[], T], **at: int) -> T | None:
        """What DSPy makes of the proposer's answer; None, and why in the log, where that failed.

        Args:
            at: which proposal it is, for the log.
        """
        self._failure, self._text = None, ""
        try:
            return ask()
        except Exception as failure:  # DSPy wraps what its model raises, and a weak model's answer cannot be parsed
            self.require_whole()
            log.warning("proposal_failed", strategy=self._strategy, why=str(self._failure or failure)[:500], **at)
            return None

    def is_usable(self, start: Variant, variant: Variant, seen: Collection[str], **at: int) -> bool:
        """Whether a study may measure it; why not stands in the log."""
        why_not = instruction_fault(start, variant, seen, self._setting.fits, self._setting.leaks)
        if why_not is not None:
            log.warning("proposal_unusable", strategy=self._strategy, why=why_not, **at)
        return why_not is None

    def require_whole(self) -> None:
        """Raises a failure that was not the proposer's, since DSPy swallows every failure."""
        if self._broken is not None:
            raise self._broken

    def written(self) -> str | None:
        """The instruction as the proposer wrote it: DSPy takes "Answer with one label:" for a heading
        and cuts it off.
        """
        match = WRITTEN.search(self._text)
        return match[1].strip() if match else None

    def __deepcopy__(self, memo: Any) -> ProposerEngine:
        return self  # DSPy copies its model for every proposal; the calls are counted in one place

    def complete(self, request: Any) -> Any:
        self._n_calls += 1
        system = [{"role": "system", "content": _text(request.system)}] if request.system else []
        messages = [*system, *({"role": m.role, "content": _text(m.parts)} for m in request.messages)]
        try:
            self._text = self._setting.propose(messages, f"{self._strategy}:{self._n_calls}")
        except ModelFailed as failure:
            self._failure = failure.detail
            raise
        except Exception as broken:
            self._broken = broken
            raise
        return response(request, self._text)


def _text(parts: Any) -> str:
    return (
        parts if isinstance(parts, str) else "\n".join(part if isinstance(part, str) else part.text for part in parts)
    )
