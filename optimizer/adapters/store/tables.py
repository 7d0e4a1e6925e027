"""All tables.

Each is written by one module of this package; its name stands in the table's docstring; retention.py removes what is
too old.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel
from sqlmodel.main import get_column_from_field

from optimizer.core.feedback.events import Arm, Event, FeedbackEvent, Interaction


class Utc(TypeDecorator[datetime]):
    """Aware UTC datetimes in and out, on databases that forget the zone too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored; use UTC")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _json(nullable: bool = False) -> Any:
    return Field(default=None, sa_type=JSON(none_as_null=True), nullable=nullable)


def _at(nullable: bool = False, **kwargs: Any) -> Any:
    return Field(default=None, sa_type=Utc, nullable=nullable, **kwargs)


NUMBERED_ONCE = {"sqlite_autoincrement": True}


class Row(SQLModel):
    """Declares a table, which is all that it is for: what asks and writes is SQLAlchemy's core.

    ``table=True`` would make a mapped class too, which nothing here uses: with 34 of them this module takes more than
    twice as long to load.
    """

    model_config = {"defer_build": True}
    __table_args__: ClassVar[tuple[Any, ...]] = ()
    __table_kwargs__: ClassVar[Mapping[str, Any]] = {}
    __table__: ClassVar[Table]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        columns = [_named(get_column_from_field(field), name) for name, field in cls.model_fields.items()]
        cls.__table__ = Table(
            str(cls.__tablename__), SQLModel.metadata, *columns, *cls.__table_args__, **cls.__table_kwargs__
        )


def _named(column: Column[Any], name: str) -> Column[Any]:
    column.name = column.key = name
    return column


def _event_table(name: str, kept: type[Event], *indexes: Index) -> Table:
    """Columns as the class in core/feedback/events.py declares them, its arm's among them."""
    return Table(name, SQLModel.metadata, *_columns_of(kept), PrimaryKeyConstraint("family", "id"), *indexes)


def _columns_of(kept: type[Event] | type[Arm]) -> Iterator[Column[Any]]:
    for name, hint in get_type_hints(kept).items():
        if hint is Arm:
            yield from _columns_of(Arm)
            continue
        choices = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        yield Column(name, _COLUMN_TYPES[get_origin(choices[0]) or choices[0]](), nullable=NoneType in choices)


_COLUMN_TYPES: Mapping[Any, Callable[[], TypeEngine[Any]]] = {
    str: String,
    Literal: String,
    bool: Boolean,
    int: Integer,
    float: Float,
    datetime: Utc,
    Mapping: lambda: JSON(none_as_null=True),
    Sequence: lambda: JSON(none_as_null=True),
}

# Every index ends in what grows with time or with the id, so that new rows go to its end: one in the order of units
# would write another page for each row (docs/adr/0031-events-have-no-index-of-units.md).
INTERACTIONS = _event_table(  # written by events.py
    "interactions",
    Interaction,
    Index("ix_interactions_family_received", "family", "received_at"),
    Index("ix_interactions_id", "id"),  # outcomes may name their interaction without its family
    Index("ix_interactions_rollout_occurred", "rollout", "occurred_at"),  # guardrail blocks
    Index("ix_interactions_rollout_cohort", "rollout", "cohort_start"),  # quality blocks
)
FEEDBACK_EVENTS = _event_table(  # written by events.py
    "feedback_events",
    FeedbackEvent,
    Index("ix_feedback_family_received", "family", "received_at"),
    Index("ix_feedback_rollout_cohort", "rollout", "cohort_start"),
    Index("ix_feedback_interaction", "family", "interaction"),
)


class LaterPartsRow(Row):
    """Written by events.py. One row per interaction of which calls came after its answer."""

    __tablename__ = "later_parts"
    __table_args__ = (Index("ix_later_parts_family_received", "family", "received_at"),)
    family: str = Field(primary_key=True)
    interaction: str = Field(primary_key=True)
    parts: list[dict[str, Any]] = _json()
    cost_usd: float
    received_at: datetime = _at()


class IdempotencyKeyRow(Row):
    """Written by events.py, in the transaction of the events themselves."""

    __tablename__ = "idempotency_keys"
    key: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)  # who sent it: key name or address
    body_hash: str
    answer: dict[str, Any] = _json()
    created_at: datetime = _at(index=True)


class ExposureCountRow(Row):
    """Written by exposures.py. Fetches per arm and 10 s; ``client`` is "api" or a client that decides in process."""

    __tablename__ = "exposure_counts"
    __table_args__ = (Index("ix_exposure_counts_rollout", "rollout"),)
    family: str = Field(primary_key=True)
    variant: str = Field(primary_key=True)
    rollout: str = Field(primary_key=True, default="")  # "" outside a rollout: NULL has no place in a key
    stage: str = Field(primary_key=True, default="")
    window_start: datetime = Field(sa_type=Utc, primary_key=True)
    client: str = Field(primary_key=True)
    n_exposed: int
    sent_by: str | None = None  # the key by which such a client reported


class ExampleRow(Row):
    """Written by examples.py."""

    __tablename__ = "examples"
    __table_args__ = (Index("ix_examples_family_split", "family", "split"), Index("ix_examples_unit", "unit_hmac"))
    family: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    input: dict[str, Any] = _json()
    expected: dict[str, Any] = _json()
    group: str
    split: str
    origin: str
    released: bool
    released_by: str | None = None
    unit_hmac: str | None = None
    interaction: str | None = None
    content_hash: str
    golden: str | None = None  # the golden scenario that it is a row of; such an example is no longer learned from
    created_at: datetime = _at()


class ReviewRow(Row):
    """Written by examples.py. A question to a person, such as whether an example may be released."""

    __tablename__ = "reviews"
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    kind: str
    subject: str
    payload: dict[str, Any] = _json()
    status: str
    answer: str | None = None
    answered_by: str | None = None
    created_at: datetime = _at()
    answered_at: datetime | None = _at(nullable=True)


class GraphRow(Row):
    """Written by graphs.py: a graph that a family verified, with the repairs proposed for it."""

    __tablename__ = "graphs"
    __table_args__ = (
        UniqueConstraint("family", "interaction", name="uq_graphs_interaction"),
        Index("ix_graphs_family_received", "family", "received_at"),
        Index("ix_graphs_unit", "unit_hmac"),
    )
    id: str = Field(primary_key=True)
    family: str
    interaction: str
    unit_hmac: str | None = None
    given: dict[str, Any] = _json()
    repairs: list[dict[str, Any]] = _json()
    unreadable: list[dict[str, Any]] = _json()
    n_pending: int
    received_at: datetime = _at()  # of the interaction: both go at the same age
    created_by: str
    created_at: datetime = _at()


class JudgeCalibrationRow(Row):
    """Written by examples.py: how far a judge agreed with people, and the map from its scores to ratings."""

    __tablename__ = "judge_calibrations"
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    judge: str
    calibration: dict[str, Any] = _json()
    agreement: dict[str, Any] = _json()
    created_by: str
    created_at: datetime = _at()


class JudgeRunRow(Row):
    """Written by judge_runs.py: what a judge was asked to do in the background."""

    __tablename__ = "judge_runs"
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    kind: str
    judge: str
    request: dict[str, Any] = _json()
    budget: dict[str, Any] = _json()
    status: str = Field(index=True)
    n: int
    n_done: int = 0
    stop_requested: bool = False
    result: dict[str, Any] | None = _json(nullable=True)
    error: str | None = None
    error_type: str | None = None
    created_by: str
    created_at: datetime = _at()
    started_at: datetime | None = _at(nullable=True)
    finished_at: datetime | None = _at(nullable=True)


class VariantRow(Row):
    """Written by variants.py. Never changed after the insert."""

    __tablename__ = "variants"
    family: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    content: dict[str, Any] = _json()
    source: str  # file, study, person, import, environment
    note: str = ""
    file_version: str | None = None
    parent: str | None = None
    study: str | None = None
    created_by: str
    created_at: datetime = _at()


class VariantPerformanceRow(Row):
    """Written by variants.py: daily roll-up per family, variant and model."""

    __tablename__ = "variant_performance"
    family: str = Field(primary_key=True)
    variant: str = Field(primary_key=True)
    model: str = Field(primary_key=True, default="")
    day: str = Field(primary_key=True)  # YYYY-MM-DD, UTC
    n_interactions: int
    n_errors: int
    mean_latency_ms: float | None = None
    p95_latency_ms: float | None = None
    cost_usd: float
    n_labelled: int
    n_success: int
    n_scored: int
    mean_score: float | None = None


class PlaybookEntryRow(Row):
    """Written by variants.py. No row is removed: an entry that has gone says why."""

    __tablename__ = "playbook_entries"
    family: str = Field(primary_key=True)
    id: str = Field(primary_key=True)  # from the text
    position: int
    kind: str  # directive, strategy, lesson
    text: str
    evidence: list[str] = _json()  # ids of examples
    helpful: int
    harmful: int
    state: str  # active, merged, retired
    merged_into: str | None = None
    reason: str
    study: str
    created_at: datetime = _at()
    changed_at: datetime = _at()
    changed_by: str


class PlaybookStepRow(Row):
    """Written by variants.py: which steps of a study a playbook has taken in; 0 is how it stood before.
    Ids and counts, no text.
    """

    __tablename__ = "playbook_steps"
    study: str = Field(primary_key=True)
    step: int = Field(primary_key=True)
    family: str
    record: list[dict[str, Any]] = _json()
    at: datetime = _at()


class EvaluationBatchRow(Row):
    """Written by variants.py: one Variant on one Dataset, summed up."""

    __tablename__ = "evaluation_batches"
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    variant: str
    model: str
    dataset_hash: str
    split: str
    scorer_version: str
    n: int
    n_errors: int
    mean_score: float | None = None
    score_low: float | None = None
    score_high: float | None = None
    cost_usd: float
    p95_latency_ms: float | None = None
    n_calls: int
    suite: str | None = None  # the targets of its checks
    checks: list[Any] | None = _json(nullable=True)
    created_by: str
    created_at: datetime = _at()


class StudyRow(Row):
    """Written by studies.py."""

    __tablename__ = "studies"
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    active_family: str | None = Field(
        default=None, unique=True
    )  # the family until the study ends, then NULL: one study per family
    strategy: str
    aim: str
    status: str = Field(index=True)
    outcome: str | None = None
    seed: int
    budget: dict[str, Any] = _json()
    definition: dict[str, Any] = _json()
    dataset: dict[str, Any] | None = _json(nullable=True)
    scorer_version: str | None = None
    champion: str
    winner: str | None = None
    confirmation: dict[str, Any] | None = _json(nullable=True)
    spend: dict[str, Any] = _json()
    stop_requested: bool = False
    error: str | None = None
    simulated_clock: bool = False
    mlflow_run_id: str | None = None
    trigger: dict[str, Any] | None = _json(nullable=True)  # why it started by itself; NULL when a user asked for it
    findings: dict[str, Any] | None = _json(nullable=True)  # what strategies measured beside the trials
    created_by: str
    created_at: datetime = _at(index=True)
    started_at: datetime | None = _at(nullable=True)
    finished_at: datetime | None = _at(nullable=True)


class TrialRow(Row):
    """Written by studies.py."""

    __tablename__ = "trials"
    study: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    variant: str
    proposer: str
    params: dict[str, Any] = _json()
    status: str
    n: int = 0
    n_errors: int = 0
    score: float | None = None
    cost_usd: float = 0.0
    p95_ms: float | None = None
    n_calls: int = 0
    started_at: datetime | None = _at(nullable=True)
    finished_at: datetime | None = _at(nullable=True)
    mlflow_run_id: str | None = None


class TrialResultRow(Row):
    """Written by studies.py: one row per (study, purpose, variant, example)."""

    __tablename__ = "trial_results"
    study: str = Field(primary_key=True)
    purpose: str = Field(primary_key=True)  # search or confirmation
    variant: str = Field(primary_key=True)
    example: str = Field(primary_key=True)
    score: float | None = None
    output: str | None = None
    error: str | None = None
    cost_usd: float = 0.0
    latency_ms: float | None = None
    from_journal: bool = False
    call_key: str | None = None
    n_retries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    judgement: dict[str, Any] | None = _json(nullable=True)  # what the judge said of the output, its reasoning included


class TierAnswersRow(Row):
    """Written by studies.py: what every tier made of a study's training examples, as numbers;
    of no text and no example's id.
    """

    __tablename__ = "tier_answers"
    study: str = Field(primary_key=True)
    tiers: list[str] = _json()
    rows: list[dict[str, Any]] = _json()


class LmCallRow(Row):
    """Written by journal.py: the journal, one row per attempt on the wire."""

    __tablename__ = "lm_calls"
    __table_args__ = (
        Index("ix_lm_calls_key_status", "key", "status"),
        Index(
            "ix_lm_calls_study", "study", "status", "cost_usd", "reserved_usd"
        ),  # all of ``spend``: it is asked before every call
    )
    id: str = Field(primary_key=True)
    key: str
    study: str | None = None
    family: str | None = None
    purpose: str  # search, confirmation, proposer, evaluation, timing, judge, monitor, serving, rehearsal
    model: str
    attempt: int
    status: str  # sent, settled, failed, lost
    temperature: float = 0.0
    request: dict[str, Any] | None = _json(nullable=True)
    answer: dict[str, Any] | None = _json(nullable=True)
    error: str | None = None
    reserved_usd: float
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_ms: float | None = None
    sent_at: datetime = _at()
    settled_at: datetime | None = _at(nullable=True)


class HoldoutLookRow(Row):
    """Written by examples.py: every time a confirmation read a sealed example."""

    __tablename__ = "holdout_looks"
    family: str = Field(primary_key=True)
    example: str = Field(primary_key=True)
    study: str = Field(primary_key=True)
    looked_at: datetime = _at()


class RolloutRow(Row):
    """Written by rollouts.py."""

    __tablename__ = "rollouts"
    __table_args__ = (Index("ix_rollouts_family_status", "family", "status"),)
    id: str = Field(primary_key=True)
    family: str
    active_family: str | None = Field(
        default=None, unique=True
    )  # the family while active, else NULL: one active rollout per family
    candidate: str
    champion: str
    aim: str
    ladder: list[float] = _json()
    salt: str
    status: str
    stage: int
    held: bool
    held_by: str | None = None
    version: int
    forced: bool
    outcome: str | None = None
    reason: str | None = None
    study: str | None = None
    settings: dict[str, Any] = _json()
    stage_history: list[dict[str, Any]] = _json()
    lease_expires_at: datetime | None = _at(nullable=True)
    stage_entered_at: datetime | None = _at(nullable=True)
    created_by: str
    created_at: datetime = _at()
    started_at: datetime | None = _at(nullable=True)
    ended_at: datetime | None = _at(nullable=True)
    simulated_clock: bool = False


class DecisionRow(Row):
    """Written by rollouts.py: one hash chain per rollout, appended in the transaction that raises its version."""

    __tablename__ = "decisions"
    rollout: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    kind: str
    actor: str
    reason: str
    forced: bool
    content: str  # canonical JSON, as hashed
    previous_hash: str
    hash: str
    at: datetime = _at()


class CohortBlockRow(Row):
    """Written by blocks.py: what a rollout's tick closed, one hash chain per rollout; never changed."""

    __tablename__ = "cohort_blocks"
    __table_args__ = (Index("ix_cohort_blocks_kind", "rollout", "kind", "seq"),)  # quality blocks are one in thousands
    rollout: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    kind: str  # quality, guardrails, baseline
    content: str  # JSON as hashed, floats in full
    previous_hash: str
    hash: str
    closed_at: datetime = _at()


class RolloutUnitsRow(Row):
    """Written by unit_counts.py: what one look counted units for, once per stage;
    the last row that names a unit holds.
    """

    __tablename__ = "rollout_units"
    rollout: str = Field(primary_key=True)
    n_blocks: int = Field(primary_key=True)  # of the rollout, after the look
    counts: (
        str  # JSON: {stage: {unit: [start of the cohort it counts in, values in guardrail blocks, minute of the last]}}
    )


class RolloutWatchRow(Row):
    """Written by blocks.py: what the tick knows after the last block; the same again from the blocks alone."""

    __tablename__ = "rollout_watches"
    rollout: str = Field(primary_key=True)
    n_blocks: int
    state: str  # JSON, floats in full
    updated_at: datetime = _at()


class MinuteStatRow(Row):
    """Written by minute_stats.py: sums per family, variant, model, source and minute of receipt."""

    __tablename__ = "minute_stats"
    family: str = Field(primary_key=True)
    minute: datetime = Field(sa_type=Utc, primary_key=True)
    variant: str = Field(primary_key=True)  # "" where unknown: NULL has no place in a key
    model: str = Field(primary_key=True, default="")
    source: str = Field(primary_key=True, default="")  # "" for interactions; user, person, judge, system for feedback
    n: int
    n_errors: int = 0
    n_latency: int = 0
    latency_sum_ms: float = 0.0
    latency_histogram: dict[str, Any] = _json()  # bucket (see core/base/histogram.py) -> n
    n_cost: int = 0
    cost_sum_usd: float = 0.0
    cost_histogram: dict[str, Any] = _json()
    n_success: int = 0  # events with ``success``
    success_sum: int = 0
    n_score: int = 0
    score_sum: float = 0.0
    score_squares: float = 0.0


class PipelineRecordRow(Row):
    """Written by pipeline_stats.py: what a content pipeline reported about one item."""

    __tablename__ = "pipeline_records"
    id: str = Field(primary_key=True)
    received_at: datetime = _at(index=True)
    processing_type: str  # full, lightweight, early_exit
    content_type: str
    quality_score: float | None = None
    processing_time_s: float | None = None
    exit_checkpoint: str = ""
    exit_reason: str = ""
    exit_confidence: float | None = None
    time_saved_share: float | None = None


class PipelineHourRow(Row):
    """Written by pipeline_stats.py, in the transaction of the records: their sums per hour of receipt."""

    __tablename__ = "pipeline_hours"
    hour: datetime = Field(sa_type=Utc, primary_key=True)
    processing_type: str = Field(primary_key=True)
    content_type: str = Field(primary_key=True)
    exit_checkpoint: str = Field(primary_key=True, default="")  # "" outside early exits, and where none was reported
    exit_reason: str = Field(primary_key=True, default="")
    n: int
    n_quality: int
    quality_sum: float
    n_time: int
    time_sum_s: float
    n_saved: int
    saved_share_sum: float
    n_saved_time: int
    saved_time_sum_s: float
    n_confidence: int
    confidence_sum: float


class WatermarkRow(Row):
    """Written by minute_stats.py: how far a roll-up has read, or when a rehearsal was last held."""

    __tablename__ = "watermarks"
    name: str = Field(primary_key=True)
    at: datetime = _at()


class FreezeRow(Row):
    """Written by serving.py: where only champions are served until an operator unfreezes."""

    __tablename__ = "freezes"
    scope: str = Field(primary_key=True)  # a family, or "" for all
    reason: str
    by: str
    since: datetime = _at()


class ScheduleRow(Row):
    """Written by studies.py: that a person lets a family's studies start by themselves, and when."""

    __tablename__ = "schedules"
    family: str = Field(primary_key=True)
    cron: str | None = None  # NULL: the file's times, or none
    from_file: bool = False
    holdout: bool = False
    strategy: str | None = None  # NULL, as with the aim: as the file says
    aim: str | None = None
    reason: str
    by: str
    since: datetime = _at()


class DriftDetectorRow(Row):
    """Written by minute_stats.py: one per family, for the champion that reigns."""

    __tablename__ = "drift_detectors"
    family: str = Field(primary_key=True)
    reign: int  # seq of the champion
    state: str  # JSON, floats in full
    read_until: datetime = _at()


class ChampionRow(Row):
    """Written by serving.py."""

    __tablename__ = "champions"
    __table_args__ = (UniqueConstraint("family", "current", name="uq_champions_one_current"),)
    family: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    current: bool | None = None  # True for the one that serves, else NULL
    variant: str
    previous: int | None = None
    rollout: str | None = None
    why: str
    by: str
    forced: bool = False
    since: datetime = _at()
    until: datetime | None = _at(nullable=True)


class OverrideRow(Row):
    """Written by serving.py: a unit that gets a named variant for testing, counted in no arm."""

    __tablename__ = "overrides"
    family: str = Field(primary_key=True)
    unit_hmac: str = Field(primary_key=True)
    variant: str
    until: datetime = _at()
    created_by: str
    created_at: datetime = _at()


class AlertRow(Row):
    """Written by alerts.py. At most one open alert per (kind, family, subject)."""

    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_closed_kind", "closed_at", "kind"),)  # the open ones, at every tick
    id: str = Field(primary_key=True)
    kind: str = Field(index=True)
    family: str | None = None
    subject: str = ""
    detail: str
    level: str
    opened_at: datetime = _at()
    closed_at: datetime | None = _at(nullable=True)


class OutboxRow(Row):
    """Written by outbox.py: what MLflow and the alert channels still have to hear."""

    __tablename__ = "outbox"
    __table_kwargs__ = NUMBERED_ONCE  # a number is never used again: "sent" must not hit a later item
    seq: int | None = Field(default=None, primary_key=True, sa_type=BigInteger().with_variant(Integer, "sqlite"))
    topic: str
    subject: str
    payload: dict[str, Any] = _json()
    attempts: int = 0
    last_error: str | None = None
    created_at: datetime = _at()
    not_before: datetime = _at(index=True)
    sent_at: datetime | None = _at(nullable=True, index=True)


class ApiKeyRow(Row):
    """Written by api_keys.py.

    Only the SHA-256 of the secret is kept, and after a rotation for a while that of the one before it.
    """

    __tablename__ = "api_keys"
    name: str = Field(primary_key=True)
    role: str  # at most one of each ladder, with commas between
    secret_hash: str = Field(index=True)
    created_at: datetime = _at()
    revoked_at: datetime | None = _at(nullable=True)
    sources: list[str] = _json()
    families: list[str] | None = _json(nullable=True)
    expires_at: datetime | None = _at(nullable=True)
    limits: dict[str, Any] = _json()
    previous_hash: str | None = None
    previous_until: datetime | None = _at(nullable=True)


class KeyUsageRow(Row):
    """Written by api_keys.py: the running window alone."""

    __tablename__ = "key_usage"
    key: str = Field(primary_key=True)
    limit: str = Field(primary_key=True)
    window: datetime = _at(primary_key=True)
    used: float


class AuditRow(Row):
    """Written by alerts.py: every change an actor caused."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_subject", "subject", "seq"),)
    __table_kwargs__ = NUMBERED_ONCE
    seq: int | None = Field(default=None, primary_key=True, sa_type=BigInteger().with_variant(Integer, "sqlite"))
    at: datetime = _at(index=True)
    actor: str
    action: str
    family: str | None = None
    subject: str = ""
    detail: dict[str, Any] = _json()
    request_id: str | None = None


class ServingVersionRow(Row):
    """Written by serving.py: one counter, raised in every transaction that changes what is served."""

    __tablename__ = "serving_version"
    id: int = Field(primary_key=True)
    version: int
    ticked_at: datetime | None = _at(nullable=True)  # the worker's last tick
