"""The calls of one evaluation: the models that it has opened, and what it has counted of their answers."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from optimizer.core.evaluation.judging.calibration import Calibration
from optimizer.core.models.language import ModelAnswer, ModelRequest

PROPOSALS = "proposals"  # in place of a variant's id, for calls that ask for a proposal
JUDGEMENTS = "judgements"  # in place of a variant's id, for judgements of texts that a strategy tries


class Completes(Protocol):
    """A model behind the journal and a budget."""

    @property
    def revision(self) -> str: ...
    @property
    def concurrency(self) -> int:
        """Calls worth having in flight at once now: an embedded model may get another process while a study runs."""

    async def complete(self, request: ModelRequest, *, looked_up: bool = False) -> ModelAnswer: ...
    def known(self, keys: Collection[str]) -> Mapping[str, ModelAnswer]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeAccess:
    """How an evaluation comes to the family's judge.

    ``open_model``: of its members; None: as of any model. ``calibration``: reads the latest, where a gate asks this
    judge.
    """

    open_model: Callable[[str], Completes] | None = None
    calibration: Callable[[], Calibration | None] = lambda: None


@dataclass(slots=True)
class CallCounts:
    """What an evaluation has counted of its answers, under ``lock``.

    ``found``: request keys that others' answers were found for. ``dearest_usd``: what the dearest answer so far cost.
    """

    fresh_by_variant: Counter[str] = field(default_factory=Counter)
    found: set[str] = field(default_factory=set)
    dearest_usd: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add_proposal(self, answer: ModelAnswer) -> None:
        """A proposer's answer is no variant's, and yet one of the calls; its pace differs from that of the others."""
        if not answer.from_journal:
            with self.lock:
                self.dearest_usd = max(self.dearest_usd, answer.cost_usd)
                self.fresh_by_variant[PROPOSALS] += 1


class EvaluationCalls:
    """Thread-safe.

    Args:
        open_model: name in config/models.yaml -> the model behind journal and budget.
        on_fresh: is given the latency in ms of each answer that was asked for here.
        own: request key -> answer that the same study asked for in an earlier run: its latency counts as measured.
        open_judge: as ``open_model``, for the members of a judge; None: the same.
    """

    def __init__(
        self,
        open_model: Callable[[str], Completes],
        on_fresh: Callable[[float], None],
        own: Mapping[str, ModelAnswer],
        open_judge: Callable[[str], Completes] | None = None,
    ) -> None:
        self._open_model, self._on_fresh = open_model, on_fresh
        self._open_judge = open_judge or open_model
        self._models: dict[str, Completes] = {}
        self._judges: dict[str, Completes] = {}
        self._opening = threading.Lock()
        self.asked = dict(own)  # request key -> an answer that was asked for here
        self.counts = CallCounts()

    def model(self, name: str) -> Completes:
        """Opened where it was not yet, which blocks while an embedded one starts; one that is open never waits."""
        model = self._models.get(name)
        return self._opened(self._models, self._open_model, name) if model is None else model

    async def opened(self, name: str) -> Completes:
        """``model`` within the loop of model calls."""
        model = self._models.get(name)
        return await asyncio.to_thread(self.model, name) if model is None else model

    async def opened_judge(self, name: str) -> Completes:
        """The model of a member of the judge."""
        if (judge := self._judges.get(name)) is not None:
            return judge
        return await asyncio.to_thread(self._opened, self._judges, self._open_judge, name)

    def _opened(self, models: dict[str, Completes], open_one: Callable[[str], Completes], name: str) -> Completes:
        with self._opening:
            if name not in models:
                models[name] = open_one(name)
            return models[name]

    def count(self, counts_for: str, key: str, answer: ModelAnswer) -> ModelAnswer:
        """Args:
        counts_for: a variant's id, or one of the names that take its place.
        """
        with self.counts.lock:
            self.counts.dearest_usd = max(self.counts.dearest_usd, answer.cost_usd)
            if not answer.from_journal:
                self.asked[key] = answer
                self.counts.fresh_by_variant[counts_for] += 1
            elif key not in self.asked:
                self.counts.found.add(key)
        if not answer.from_journal:
            self._on_fresh(answer.latency_ms)
        return answer
