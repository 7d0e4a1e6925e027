"""Studies and the journal of their model calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from optimizer.core.base.values import ExampleResult, Spend
from optimizer.core.models.language import ModelAnswer
from optimizer.core.scheduling.monthly_budget import RunSpend
from optimizer.core.scheduling.schedule import StoredSchedule
from optimizer.core.search.study import Study, Trial, TriggerKind
from optimizer.ports.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    id: str
    key: str
    status: Literal["sent", "settled", "failed", "lost"]
    purpose: str
    model: str
    attempt: int
    reserved_usd: float
    sent_at: datetime
    study: str | None = None
    family: str | None = None
    temperature: float = 0.0
    request: Mapping[str, Any] | None = None
    answer: ModelAnswer | None = None
    error: str | None = None
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierAnswers:
    """What every tier made of every training example, in rows of ``TierRecords.from_rows``: numbers alone.

    A tier that failed is not in its row.
    """

    tiers: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]


class Studies(Protocol):
    def add(self, tx: Transaction, study: Study) -> None:
        """Raises Conflict when the family has a study that is queued, running or confirming."""

    def get(self, tx: Transaction, id: str) -> Study | None: ...
    def page(
        self,
        tx: Transaction,
        *,
        family: str | None = None,
        status: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> tuple[list[Study], str | None]: ...
    def last_triggered(
        self, tx: Transaction, family: str, kinds: Collection[TriggerKind] | None = None
    ) -> Study | None:
        """The latest study of the family that started by itself, by one of these triggers or any."""

    def spent_since(self, tx: Transaction, since: datetime) -> list[RunSpend]:
        """What each study has spent as a whole that had not ended before ``since``."""

    def unfinished(self, tx: Transaction) -> list[Study]:
        """Those queued, running or confirming, oldest first; at most one per family."""

    def update(self, tx: Transaction, id: str, **changes: Any) -> Study:
        """The study afterwards. One that ends leaves no trial running: those become stopped."""

    def put_trial(self, tx: Transaction, trial: Trial) -> None:
        """Insert or replace by (study, number)."""

    def trials(self, tx: Transaction, study: str) -> list[Trial]: ...
    def some_trials(self, tx: Transaction, study: str, *, best_first: bool, start: int, n: int) -> list[Trial]:
        """At most n from that place on, in the order of their number, or as ``ranked`` has them and then the others."""

    def trial_figures(self, tx: Transaction, study: str) -> list[Trial]:
        """All of them with their figures alone: neither what was tried, which is most of what is stored, nor when."""

    def last_measured(
        self, tx: Transaction, family: str, variant: str, *, before: datetime | None = None
    ) -> Trial | None:
        """The variant's trial in the newest study of the family, of those that began ``before``, that measured it in
        full.
        """

    def put_results(
        self, tx: Transaction, study: str, purpose: str, variant: str, results: Sequence[ExampleResult]
    ) -> None: ...
    def results(
        self, tx: Transaction, study: str, purpose: str, variant: str | None = None
    ) -> dict[str, list[ExampleResult]]:
        """By variant."""

    def put_tier_answers(self, tx: Transaction, study: str, answers: TierAnswers) -> None:
        """Once per study; what it had before is replaced."""

    def tier_answers(self, tx: Transaction, study: str) -> TierAnswers | None:
        """None for a study that asked no tiers."""


class Schedules(Protocol):
    """Where a person lets studies start by themselves, and when, by family."""

    def put(self, tx: Transaction, schedule: StoredSchedule) -> None: ...
    def remove(self, tx: Transaction, family: str) -> bool:
        """False when there was none."""

    def get(self, tx: Transaction, family: str) -> StoredSchedule | None: ...
    def all(self, tx: Transaction) -> dict[str, StoredSchedule]: ...


class Journal(Protocol):
    def find(self, tx: Transaction, key: str, *, study: str | None, not_before: datetime) -> ModelAnswer | None:
        """A settled answer of this study, whatever its age and temperature;
        else one of any study at temperature 0 and not older than ``not_before``.
        """

    def find_all(
        self, tx: Transaction, keys: Collection[str], *, study: str | None, not_before: datetime
    ) -> dict[str, ModelAnswer]:
        """``find`` for many keys at once; those without an answer are not in it."""

    def send(self, tx: Transaction, entry: JournalEntry) -> None: ...
    def settle(self, tx: Transaction, id: str, answer: ModelAnswer, at: datetime) -> None: ...
    def fail(self, tx: Transaction, id: str, error: str, cost_usd: float, at: datetime) -> None: ...
    def mark_lost(self, tx: Transaction, study: str, at: datetime) -> int:
        """Calls of this study that were in flight when its process died: spent at their reserved price.

        Returns how many.
        """

    def spend(self, tx: Transaction, study: str) -> Spend:
        """Settled and failed calls at their cost, sent and lost ones at their reserved price;
        ``n_from_journal`` is not known here (0).
        """

    def usd_of_no_study(self, tx: Transaction, family: str, purpose: str, since: datetime) -> float:
        """Dollars of a family's calls for this purpose that belong to no study and were sent since then: settled and
        failed ones at their cost, those in flight or lost at their reserved price.
        """

    def usd_without_a_run(self, tx: Transaction, since: datetime) -> dict[str, float]:
        """By family: dollars of all calls sent since then that belong to no study and no judge run, counted as in
        ``usd_of_no_study``.
        """

    def counts(self, tx: Transaction) -> dict[str, int]:
        """How many calls there are by status: sent, settled, failed, lost."""

    def spend_by_purpose(self, tx: Transaction, study: str) -> dict[str, Spend]:
        """``spend``, told apart by what the calls were for: search, confirmation, and so on."""

    def answers(self, tx: Transaction, study: str) -> dict[str, ModelAnswer]:
        """The study's settled answers by request key, without the requests."""

    def latencies(self, tx: Transaction, study: str, model: str) -> list[float]:
        """Of the study's settled calls to one model, in ms, ascending."""

    def calls(self, tx: Transaction, study: str) -> list[JournalEntry]:
        """Everything, requests included: for reading a journal, not for running a study."""
