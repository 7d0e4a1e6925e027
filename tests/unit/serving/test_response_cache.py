"""Answers that are kept in memory while another thread empties the cache."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from api.gateway.response_cache import ResponseCache
from optimizer.core.family.settings import Cache


@dataclass(frozen=True, slots=True)
class Result:
    answer: Any
    cached: bool = False
    models: tuple[str, ...] = ("dear",)
    parts: tuple[Any, ...] = ()
    follow_up: None = None


class Emptied:
    """Settings whose reader is interrupted: meanwhile the cache is emptied."""

    enabled, any_temperature, max_age_s = True, True, 60.0

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache

    @property
    def max_entries(self) -> int:
        self._cache.clear()
        return 1


def test_a_cache_that_is_emptied_while_an_answer_is_kept_costs_nobody_the_answer() -> None:
    cache, emptied = ResponseCache(), Cache(enabled=True)
    request = SimpleNamespace(temperature=0, messages=[], params={})
    variant = SimpleNamespace(id="v_0", policy={})
    call: Any = SimpleNamespace(actor="app", family="f", cheapest_only=False, request=request, variant=variant)
    result: Any = Result(SimpleNamespace(text="billing", raw_message=None))
    cache.keep(call, result, Emptied(cache))  # type: ignore[arg-type]
    assert cache.find(call, emptied) is None
