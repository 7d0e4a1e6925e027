"""Earlier answers by sender, variant and rendered messages: off unless a family switches it on.

It is bounded in age, number and size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic

from api.gateway.chat_answer import AnsweredCall, ChatResult
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.family.settings import Cache
from optimizer.core.policy.tiers import STUDENTS

MAX_CHARS = 16_000_000  # of all answers of one family together
MAX_ANSWER_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class _CacheEntry:
    answered: ChatResult
    at: float
    n_chars: int


@dataclass(slots=True)
class _FamilyEntries:
    entries: OrderedDict[str, _CacheEntry] = field(default_factory=OrderedDict)
    n_chars: int = 0

    def drop(self, key: str) -> None:
        if (entry := self.entries.pop(key, None)) is not None:
            self.n_chars -= entry.n_chars


class ResponseCache:
    """In memory only, gone with the process. Used from one event loop."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._families: dict[str, _FamilyEntries] = {}

    def find(self, call: AnsweredCall, settings: Cache) -> ChatResult | None:
        """The answer that the same variant gave to the same messages, marked as cached and free of charge."""
        if not _may(call, settings):
            return None
        own, key = self._families.get(call.family), _key(call)
        entry = own.entries.get(key) if own is not None else None
        if own is None or entry is None:
            return None
        if self._now() - entry.at > settings.max_age_s:
            own.drop(key)
            return None
        own.entries.move_to_end(key)
        answered = entry.answered
        return replace(answered, cached=True, answer=replace(answered.answer, cost_usd=0.0, is_priced=True))

    def keep(self, call: AnsweredCall, answered: ChatResult, settings: Cache) -> None:
        """Stores only answers of the variant's own model: a fallback's answer should not outlive its outage, and a
        student's not its bypass.
        """
        n_chars = len(answered.answer.text) + len(str(answered.answer.raw_message or ""))
        if (
            not _may(call, settings)
            or answered.cached
            or call.cheapest_only
            or len(answered.models) > 1
            or answered.models[0] in (call.variant.policy.get(STUDENTS.name) or ())
            or n_chars > MAX_ANSWER_CHARS
        ):
            return
        own, key = self._families.setdefault(call.family, _FamilyEntries()), _key(call)
        own.drop(key)
        # Which are of that request alone.
        own.entries[key] = _CacheEntry(replace(answered, parts=(), follow_up=None), self._now(), n_chars)
        own.n_chars += n_chars
        while len(own.entries) > settings.max_entries or own.n_chars > MAX_CHARS:
            own.drop(next(iter(own.entries)))

    def clear(self) -> None:
        """Empties the cache. Thread-safe; a request in flight may still store its answer in the old one."""
        self._families = {}


def _may(call: AnsweredCall, settings: Cache) -> bool:
    return settings.enabled and (call.request.temperature == 0 or settings.any_temperature)


def _key(call: AnsweredCall) -> str:
    """The key of the cache, within one sender: another one's answers would tell what that one was asked."""
    return digest(canonical_json([call.actor, call.variant.id, list(call.request.messages), dict(call.request.params)]))
