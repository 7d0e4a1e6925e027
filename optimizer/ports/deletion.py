"""What is deleted: rows older than their retention, and what the store holds of one person, under their unit and
elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from optimizer.core.feedback.personal_traces import PersonalTraces
from optimizer.ports.transaction import Transaction

RowKey = tuple[Any, ...]
DOUBT = "a short request that the person sent stands there, which others may have sent as well. Look whose it is."


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRows:
    """Rows of one unit: ``keys`` by table, and by what else these rows are known."""

    keys: Mapping[str, Sequence[RowKey]]
    traces: PersonalTraces


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedRows:
    """Of a part of a table, the ``keys`` of rows that show the person; ``after``: where the next part begins, None at
    the end.
    """

    keys: Sequence[RowKey]
    after: RowKey | None


class PersonalData(Protocol):
    def of_unit(self, tx: Transaction, unit: str) -> UnitRows:
        """Reads every event there is: they have no index of units."""

    def remove(self, tx: Transaction, table: str, keys: Sequence[RowKey]) -> int:
        """Deletes rows of a unit; returns how many."""

    def remove_answers(self, tx: Transaction, unit: str) -> int:
        """Deletes answers kept under an Idempotency-Key that name the unit as it was sent; returns how many."""

    def tables(self) -> Sequence[str]:
        """Those that may hold a trace beside the rows of the unit; a table that is new is one of them by itself."""

    def traced(self, tx: Transaction, table: str, traces: PersonalTraces, after: RowKey | None) -> TracedRows:
        """Of the next few hundred rows those that show the person."""

    def clear(self, tx: Transaction, table: str, traces: PersonalTraces, keys: Sequence[RowKey]) -> int:
        """Takes the person out of these rows: what is about them alone goes, of what counts for others the texts or the
        names. Returns how many rows changed.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceTraces:
    """What another place than the store holds of a person: ``n`` lines, rows or files. ``first``: what somebody has to
    do before the person can be forgotten, as sentences. ``left``: what stays, as sentences.
    """

    n: int = 0
    first: Sequence[str] = ()
    left: Sequence[str] = ()


class PersonalPlace(Protocol):
    """Files, or another program's database."""

    @property
    def name(self) -> str: ...
    def look(self, traces: PersonalTraces) -> PlaceTraces: ...
    def clear(self, traces: PersonalTraces) -> None:
        """Takes the person out; safe to repeat. Raises Busy where another program holds it."""


OldRows = Literal[
    "interactions",
    "later_parts",
    "feedback_events",
    "examples",
    "reviews",
    "graphs",
    "idempotency_keys",
    "model_calls",
    "texts_of_model_calls",
    "outputs_of_studies",
    "tier_answers",
    "reports_of_evaluations",
    "confidences_of_studies",
    "traffic_sums",
    "outbox",
    "pipeline_records",
]


class RetainedRows(Protocol):
    """``before``: of the rows of studies the time at which the study ended, of the outbox that of sending, else that of
    receipt. A rollout's newest item of the outbox stays: its verification compares with it.

    ``family`` None: rows of no family.
    """

    def families(self, tx: Transaction) -> list[str]:
        """Families that have interactions or feedback, in order."""

    def n_old(self, tx: Transaction, rows: OldRows, family: str | None, before: datetime) -> int: ...
    def old(self, tx: Transaction, rows: OldRows, family: str | None, before: datetime, limit: int) -> list[RowKey]:
        """Keys of up to so many."""

    def remove(self, tx: Transaction, rows: OldRows, family: str | None, keys: Sequence[RowKey]) -> int:
        """Deletes these rows; of calls and results of studies only the texts, since their money and scores stay.

        Returns how many.
        """

    def forget(self, tx: Transaction, family: str, limit: int) -> int:
        """Deletes up to ``limit`` rows with texts of a retired family, whatever their age.

        Of rows whose figures stay, only the texts. Returns how many.
        """
