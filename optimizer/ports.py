"""What jobs need from the world, as protocols. Adapters provide them; ``wiring`` joins the two; ``core`` knows neither.

A ``Transaction`` is opaque here: take it from ``Store.read()`` or ``Store.write(fn)`` and hand it on. Nothing inside a
transaction may call a model or the network. Ids and times are made by jobs; stores keep what they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from optimizer.core.blocks import ArmName, Request, StoredBlock
from optimizer.core.champion_watch import ChampionWatch
from optimizer.core.dataset import Example, Split
from optimizer.core.errors import InvalidFamily
from optimizer.core.family import Family
from optimizer.core.family_settings import Metric
from optimizer.core.feedback import FeedbackEvent, Interaction, LabelSummary
from optimizer.core.freezes import Freeze
from optimizer.core.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.minute_sums import MinuteSums
from optimizer.core.rollout import Champion, Decision, Rollout
from optimizer.core.study import ExampleResult, Spend, Study, Trial
from optimizer.core.traffic import PastLabel, PastRequest, RecordedTraffic
from optimizer.core.variant import Variant

T = TypeVar("T")
Transaction = Any  # sqlalchemy.Connection in the database adapter


class FamilySource(Protocol):
    """The family files: the last good definition of each, and what is wrong with the present file."""

    @property
    def families(self) -> Mapping[str, Family]: ...
    @property
    def problems(self) -> Mapping[str, InvalidFamily]: ...
    def changed(self) -> bool:
        """Cheap: looks at times and sizes only."""

    def load(self) -> None:
        """Read what changed; a file that is wrong leaves its last good definition standing."""


class Clock(Protocol):
    scale: float  # of rollout_now against now; 1.0 = both are real time

    def now(self) -> datetime:
        """Real time, UTC: leases, ticks, timeouts, tokens."""

    def rollout_now(self) -> datetime:
        """The clock of rollout durations: real time, or scaled under profile demo."""


class LanguageModel(Protocol):
    """One call on the wire: no journal, no budget, no hidden retry."""

    name: str
    revision: str
    price: ModelPrice | None
    retries: int  # how often a caller may repeat a call that failed for a passing reason
    max_output_tokens: int | None  # limit of an answer where a request sets none

    @property
    def concurrency(self) -> int:
        """Calls worth having in flight at once."""

    def complete(self, request: ModelRequest) -> ModelAnswer:
        """Raises ModelFailed (kind: timeout, rate_limit, http, malformed, unreachable)."""


class ModelFacts(Protocol):
    """What config/models.yaml says about one model."""

    @property
    def embedded(self) -> bool: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def processes(self) -> int | str:
        """Of the embedded model: a number, or "auto"."""

    @property
    def max_output_tokens(self) -> int | None:
        """Limit of an answer where a family sets none."""

    @property
    def fallbacks(self) -> Sequence[str]:
        """Names of the models that are asked after this one has failed."""


class ModelCatalogue(Protocol):
    """config/models.yaml as every process may read it: nothing is started and nobody is asked."""

    def describe(self, name: str) -> ModelFacts: ...
    def price(self, name: str) -> ModelPrice | None: ...


class ModelSource(ModelCatalogue, Protocol):
    """The catalogue with the models themselves, each made when first asked for."""

    def get(self, name: str) -> LanguageModel: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEvidence:
    """What a Tracker may show of a Study beside the Study and its Trials; built by ``jobs/mirror_outbox.py``, never with holdout text."""

    variants: Mapping[str, Variant]
    results: Mapping[str, Sequence[ExampleResult]]  # of the search, by variant, in the order of the dev examples
    examples: Mapping[str, Example]  # train and dev examples of the dataset whose text is released
    confirmation: Mapping[str, Sequence[ExampleResult]]  # by variant, without outputs
    description: str = ""  # of the family


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedAlias:
    """An alias that a person moved in the prompt registry, and that was put back. None = the alias was not set."""

    family: str
    alias: str
    found: str | None
    restored: str | None


class Tracker(Protocol):
    """The mirror of studies and rollouts that people review (MLflow). Every method may be repeated without harm."""

    def mirror_study(self, study: Study, trials: Sequence[Trial], extras: StudyEvidence) -> str | None:
        """Returns the id under which people find the study there."""

    def mirror_prompt(self, family: str, variant: Variant, aliases: Sequence[str], tags: Mapping[str, str]) -> None:
        """Registers the Variant (once) and points exactly these aliases at it."""

    def restore_aliases(self, family: str, wanted: Mapping[str, str]) -> list[MovedAlias]:
        """Makes the aliases champion, candidate and previous agree with ``wanted`` (alias > variant id); returns what differed."""

    def mirror_rollout(self, rollout: Rollout, decisions: Sequence[Decision]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One row as a source gives it. ``where`` names it for a person (line 12, scipy.fft.fft); ``rejected`` says why it is no example."""

    where: str
    input: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    group: str | None = None
    rejected: str | None = None


# --- the store ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantRecord:
    """A Variant as stored, with where it came from."""

    family: str
    variant: Variant
    source: Literal["file", "study", "person", "import"]
    created_at: datetime
    created_by: str
    note: str = ""
    file_version: str | None = None
    parent: str | None = None
    study: str | None = None


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
class OutboxItem:
    seq: int
    topic: str
    subject: str
    payload: Mapping[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    id: str
    kind: str
    detail: str
    level: Literal["info", "warning", "critical"]
    opened_at: datetime
    family: str | None = None
    subject: str = ""
    closed_at: datetime | None = None


Added = Literal["accepted", "duplicate", "id_conflict"]  # what became of a row; id_conflict: the id is there with other content
Exposure = tuple[str, str, str | None, float | None, datetime, str, int]  # family, variant, rollout, stage, window start, client, n


class Events(Protocol):
    def add_interactions(self, tx: Transaction, rows: Sequence[Interaction]) -> list[Added]: ...
    def add_feedback(self, tx: Transaction, rows: Sequence[FeedbackEvent]) -> list[Added]: ...
    def known(self, tx: Transaction, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Content hashes of those (family, id) that exist as an interaction or a feedback event."""

    def interaction(self, tx: Transaction, id: str, family: str | None = None) -> Interaction | None: ...
    def interactions(self, tx: Transaction, ids: Collection[str]) -> dict[str, list[Interaction]]:
        """By id; several when families share an id."""

    def feedback_of(self, tx: Transaction, family: str, interaction: str) -> list[FeedbackEvent]: ...
    def page_of_feedback(
        self, tx: Transaction, *, family: str | None, variant: str | None, since: datetime | None, cursor: str | None, limit: int
    ) -> tuple[list[FeedbackEvent], str | None]: ...
    def stored_answer(self, tx: Transaction, scope: str, key: str) -> tuple[str, Mapping[str, Any]] | None:
        """(body hash, answer) under an Idempotency-Key, or None."""

    def store_answer(self, tx: Transaction, scope: str, key: str, body_hash: str, answer: Mapping[str, Any], at: datetime) -> None: ...
    def arm_summary(self, tx: Transaction, family: str, rollout: str | None) -> list[dict[str, Any]]:
        """Per variant and role: n_interactions, n_errors, n_labelled, n_success, n_scored, mean_score, mean_latency_ms, cost_usd.

        ``n_labelled`` counts events with ``success``. Without a rollout: everything the family has.
        """

    def label_summary(self, tx: Transaction, family: str, since: datetime) -> list[LabelSummary]:
        """Labels received since then, by variant, field and source, in that order."""


class Traffic(Protocol):
    """What a family's users did, by when it was received (real time, in [since, until))."""

    def recorded(self, tx: Transaction, family: str, since: datetime, until: datetime) -> RecordedTraffic | None:
        """Counts from the first event in that time on; None where there is none. Reads every event of that time."""

    def requests(self, tx: Transaction, family: str, since: datetime, until: datetime) -> list[PastRequest]:
        """Interactions with a unit, in the order in which they started."""

    def labels(
        self, tx: Transaction, family: str, since: datetime, until: datetime, *, field: Literal["success", "score"], source: str
    ) -> list[PastLabel]:
        """Outcomes with a unit, in the order in which they came."""


class Exposures(Protocol):
    def add(self, tx: Transaction, rows: Iterable[Exposure]) -> None:
        """Counts of one window add up."""

    def put(self, tx: Transaction, rows: Iterable[Exposure]) -> list[bool]:
        """For clients that repeat themselves: a window keeps its largest count. False where nothing changed."""

    def totals(self, tx: Transaction, family: str, rollout: str | None) -> list[dict[str, Any]]:
        """Per arm: variant, rollout, stage, n_exposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleStanding:
    """Where an Example stands, without its text."""

    id: str
    group: str
    split: Split
    released: bool


class Examples(Protocol):
    def add(self, tx: Transaction, rows: Sequence[Example]) -> list[Added]: ...
    def of_split(self, tx: Transaction, family: str, *, split: Literal["train", "dev"], released_only: bool = False) -> list[Example]:
        """Every reader but confirmation. The holdout cannot be asked for here."""

    def sealed_holdout(self, tx: Transaction, family: str, study: str, ids: Sequence[str] | None, at: datetime) -> list[Example]:
        """Confirmation only: records a look per example in the same transaction."""

    def holdout_ids(self, tx: Transaction, family: str) -> list[tuple[str, str]]:
        """(id, hash of the expected label text) without any text: for fixing the selection beforehand."""

    def standing(self, tx: Transaction, family: str, *, ids: Sequence[str], groups: Sequence[str]) -> list[ExampleStanding]:
        """The examples that have one of these ids or belong to one of these groups, without any text."""

    def counts(self, tx: Transaction, family: str) -> dict[Split, int]: ...
    def looks(self, tx: Transaction, family: str, ids: Sequence[str]) -> int:
        """The largest number of studies that have looked at any of these examples."""

    def looked_at(self, tx: Transaction, family: str, study: str | None = None) -> set[str]:
        """Ids of the holdout examples that any study, or this one, has looked at."""

    def release(self, tx: Transaction, family: str, id: str, by: str) -> None: ...


class Reviews(Protocol):
    def open(self, tx: Transaction, id: str, family: str, kind: str, subject: str, payload: Mapping[str, Any], at: datetime) -> None: ...
    def get(self, tx: Transaction, id: str) -> dict[str, Any] | None: ...
    def page(self, tx: Transaction, family: str | None, status: str | None) -> list[dict[str, Any]]: ...
    def answer(self, tx: Transaction, id: str, answer: str, by: str, at: datetime) -> dict[str, Any]:
        """The review as answered. Raises NotFound, and Conflict when it has another answer already."""


class Variants(Protocol):
    def add(self, tx: Transaction, record: VariantRecord) -> bool:
        """False when the family already holds this content."""

    def get(self, tx: Transaction, family: str, id: str) -> VariantRecord | None: ...
    def of_family(self, tx: Transaction, family: str) -> list[VariantRecord]: ...
    def ids(self, tx: Transaction, family: str) -> set[str]: ...


class Performance(Protocol):
    def add_batch(self, tx: Transaction, batch: Mapping[str, Any]) -> None: ...
    def batches(self, tx: Transaction, family: str) -> list[dict[str, Any]]: ...
    def day_sums(self, tx: Transaction, day: str) -> list[dict[str, Any]]:
        """What was received on one day (YYYY-MM-DD, UTC), summed up per family, variant and model. Reads every event of that day."""

    def put_day(self, tx: Transaction, day: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keeps a day's sums in the place of earlier ones of that day."""

    def daily(self, tx: Transaction, family: str) -> list[dict[str, Any]]: ...


class MinuteStats(Protocol):
    def oldest(self, tx: Transaction, since: datetime) -> datetime | None:
        """When the first event since then was received; None when there was none."""

    def sums(self, tx: Transaction, start: datetime, until: datetime) -> list[MinuteSums]:
        """The events received in [start, until), summed up from the events themselves; both are full minutes."""

    def put(self, tx: Transaction, rows: Sequence[MinuteSums]) -> None:
        """Keeps each row in the place of an earlier one of the same minute and kind."""

    def of_family(
        self, tx: Transaction, family: str, since: datetime, *, variant: str | None = None, source: str | None = None
    ) -> list[MinuteSums]:
        """What was kept from the minute of ``since`` on, in order of time; source "" for interactions alone."""

    def watermark(self, tx: Transaction, name: str) -> datetime | None:
        """Up to when the job of that name has done its work, as it said itself."""

    def set_watermark(self, tx: Transaction, name: str, at: datetime) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedReign:
    """How a family's champion is doing, as far as its outcomes have been read."""

    family: str
    reign: int  # seq of the champion
    watch: ChampionWatch
    read_until: datetime  # everything received before is in ``watch``


class DriftDetectors(Protocol):
    def get(self, tx: Transaction, family: str) -> WatchedReign | None: ...
    def put(self, tx: Transaction, row: WatchedReign) -> None:
        """In the place of the family's earlier one."""

    def outcomes(
        self, tx: Transaction, family: str, variant: str, metric: Metric, start: datetime, until: datetime
    ) -> list[tuple[datetime, str, float]]:
        """(received at, unit, value in [0, 1]) of what was received in [start, until), in order of receipt.

        An outcome that names no unit stands for one of its own.
        """


class Studies(Protocol):
    def add(self, tx: Transaction, study: Study) -> None:
        """Raises Conflict when the family has a study that is queued, running or confirming."""

    def get(self, tx: Transaction, id: str) -> Study | None: ...
    def page(
        self, tx: Transaction, *, family: str | None = None, status: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[Study], str | None]: ...
    def unfinished(self, tx: Transaction) -> list[Study]:
        """Those queued, running or confirming, oldest first; at most one per family."""

    def update(self, tx: Transaction, id: str, **changes: Any) -> Study: ...
    def put_trial(self, tx: Transaction, trial: Trial) -> None:
        """Insert or replace by (study, number)."""

    def trials(self, tx: Transaction, study: str) -> list[Trial]: ...
    def put_results(self, tx: Transaction, study: str, purpose: str, variant: str, results: Sequence[ExampleResult]) -> None: ...
    def results(self, tx: Transaction, study: str, purpose: str, variant: str | None = None) -> dict[str, list[ExampleResult]]:
        """By variant."""


class Journal(Protocol):
    def find(self, tx: Transaction, key: str, *, study: str | None, not_before: datetime) -> ModelAnswer | None:
        """A settled answer of this study, whatever its age and temperature; else one of any study at temperature 0 and not older than ``not_before``."""

    def send(self, tx: Transaction, entry: JournalEntry) -> None: ...
    def settle(self, tx: Transaction, id: str, answer: ModelAnswer, at: datetime) -> None: ...
    def fail(self, tx: Transaction, id: str, error: str, cost_usd: float, at: datetime) -> None: ...
    def mark_lost(self, tx: Transaction, study: str, at: datetime) -> int:
        """Calls of this study that were in flight when its process died: spent at their reserved price. Returns how many."""

    def spend(self, tx: Transaction, study: str) -> Spend:
        """Settled and failed calls at their cost, sent and lost ones at their reserved price; ``n_from_journal`` is not known here (0)."""

    def answers(self, tx: Transaction, study: str) -> dict[str, ModelAnswer]:
        """The study's settled answers by request key, without the requests."""

    def latencies(self, tx: Transaction, study: str, model: str) -> list[float]:
        """Of the study's settled calls to one model, in ms, ascending."""

    def calls(self, tx: Transaction, study: str) -> list[JournalEntry]:
        """Everything, requests included: for reading a journal, not for running a study."""


class Rollouts(Protocol):
    def add(self, tx: Transaction, rollout: Rollout) -> None:
        """Raises Conflict when the family has an active rollout."""

    def get(self, tx: Transaction, id: str) -> Rollout | None: ...
    def active(self, tx: Transaction, family: str) -> Rollout | None: ...
    def latest(self, tx: Transaction, family: str) -> Rollout | None: ...
    def last_against(self, tx: Transaction, family: str, *, candidate: str, champion: str) -> Rollout | None:
        """The newest rollout of this candidate against this champion."""

    def all_active(self, tx: Transaction) -> list[Rollout]: ...
    def following(self, tx: Transaction, rollout: Rollout) -> Rollout | None:
        """The family's next rollout, made after this one."""

    def save(self, tx: Transaction, rollout: Rollout, decision: Decision | None) -> None:
        """Writes the rollout where its stored version is ``rollout.version - 1`` and appends the decision; raises StaleVersion otherwise."""

    def renew_lease(self, tx: Transaction, id: str, until: datetime) -> None:
        """No decision and no new version: a lease is a heartbeat."""

    def decisions(self, tx: Transaction, rollout: str) -> list[Decision]: ...
    def last_decision(self, tx: Transaction, rollout: str) -> Decision | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWatch:
    """What the tick knows of a rollout after ``n_blocks`` blocks, as text."""

    n_blocks: int
    state: str
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCount:
    """What a unit has been counted for in one stage; ``cohort_start`` None until its first cohort is closed."""

    cohort_start: datetime | None = None
    n_values: int = 0  # in guardrail blocks
    last_minute: int | None = None  # minutes since 1970 of the last of them


class Blocks(Protocol):
    def watch(self, tx: Transaction, rollout: str) -> StoredWatch | None: ...
    def put_watch(self, tx: Transaction, rollout: str, watch: StoredWatch) -> None: ...
    def add(self, tx: Transaction, blocks: Sequence[StoredBlock]) -> None: ...
    def of_rollout(self, tx: Transaction, rollout: str, *, kind: str | None = None) -> list[StoredBlock]:
        """In the order of their numbers; all of them, or those of one kind."""

    def units(self, tx: Transaction, rollout: str, stage: int, units: Collection[str]) -> dict[str, UnitCount]:
        """Of those units (HMACs) that have been counted for anything."""

    def put_units(self, tx: Transaction, rollout: str, counts: Mapping[tuple[int, str], UnitCount]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetches:
    arm: ArmName
    stage: int
    window_start: datetime
    n: int


class Observations(Protocol):
    """What a tick reads; ``stage`` is an index into the ladder. Every time is real time, but ``cohort_start``."""

    def requests(self, tx: Transaction, rollout: Rollout, since: datetime, until: datetime) -> list[Request]:
        """Interactions of both arms that started in [since, until), in that order."""

    def fetches(self, tx: Transaction, rollout: Rollout, since: datetime, until: datetime) -> list[Fetches]: ...
    def cohort_units(
        self, tx: Transaction, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> dict[str, ArmName]:
        """Units (HMACs) with a report of any kind of this stage and cohort that was received until then."""

    def outcomes(
        self,
        tx: Transaction,
        rollout: Rollout,
        stage: int,
        units: Collection[str],
        *,
        field: Literal["success", "score"],
        source: str,
        received_since: datetime,
        received_until: datetime,
    ) -> dict[str, float]:
        """The mean of each unit's outcomes of the stage, in [0, 1]; without those that have none."""

    def outside(self, tx: Transaction, family: str, since: datetime, until: datetime) -> set[str]:
        """Units that were served outside a rollout, by reports received in [since, until]."""

    def is_reported(self, tx: Transaction, family: str, since: datetime) -> bool:
        """Whether any interaction of the family was reported since then."""

    def delays_s(self, tx: Transaction, family: str, variant: str, since: datetime, limit: int) -> list[float]:
        """Seconds between interaction and outcome, of the newest ``limit`` outcomes that name their interaction."""

    def feedback_times(self, tx: Transaction, rollout: Rollout, since: datetime) -> list[tuple[ArmName, datetime, datetime]]:
        """(arm, cohort start, received) of the feedback of cohorts from ``since`` on."""


class Champions(Protocol):
    def current(self, tx: Transaction, family: str) -> Champion | None: ...
    def reigning(self, tx: Transaction) -> list[Champion]:
        """The current champion of every family, by family."""

    def history(self, tx: Transaction, family: str) -> list[Champion]: ...
    def put(self, tx: Transaction, champion: Champion) -> None:
        """Ends the current reign at ``champion.since`` and starts this one."""


class Overrides(Protocol):
    def put(self, tx: Transaction, family: str, unit_hmac: str, variant: str, until: datetime, by: str, at: datetime) -> None: ...
    def active(self, tx: Transaction, now: datetime) -> list[tuple[str, str, str, datetime]]:
        """(family, unit_hmac, variant, until)."""


class Freezes(Protocol):
    """``scope``: a family, or "" for all."""

    def put(self, tx: Transaction, scope: str, reason: str, by: str, at: datetime) -> None: ...
    def remove(self, tx: Transaction, scope: str) -> bool:
        """False when there was none."""

    def all(self, tx: Transaction) -> list[Freeze]: ...


class Outbox(Protocol):
    def add(self, tx: Transaction, topic: str, subject: str, payload: Mapping[str, Any], at: datetime) -> None:
        """An unsent item of the same topic and subject is replaced: the mirror reads the store, not the payload, for bulk."""

    def due(self, tx: Transaction, now: datetime, limit: int) -> list[OutboxItem]: ...
    def sent(self, tx: Transaction, seq: int, at: datetime) -> None: ...
    def failed(self, tx: Transaction, seq: int, error: str, not_before: datetime) -> None: ...
    def backlog(self, tx: Transaction) -> int: ...


class Alerts(Protocol):
    def open(self, tx: Transaction, alert: Alert) -> bool:
        """False when the same (kind, family, subject) is already open."""

    def close(self, tx: Transaction, kind: str, family: str | None, subject: str, at: datetime) -> int: ...
    def all(self, tx: Transaction, *, open_only: bool) -> list[Alert]: ...


class ApiKeys(Protocol):
    def add(self, tx: Transaction, name: str, role: str, secret_hash: str, at: datetime) -> None: ...
    def revoke(self, tx: Transaction, name: str, at: datetime) -> None: ...
    def all(self, tx: Transaction) -> list[dict[str, Any]]:
        """name, role, secret_hash, created_at, revoked_at."""


class Audit(Protocol):
    def add(
        self,
        tx: Transaction,
        *,
        at: datetime,
        actor: str,
        action: str,
        family: str | None,
        subject: str,
        detail: Mapping[str, Any],
        request_id: str | None = None,
    ) -> None: ...
    def page(self, tx: Transaction, cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]: ...


class ServingVersion(Protocol):
    def bump(self, tx: Transaction) -> None: ...
    def read(self, tx: Transaction) -> tuple[int, datetime | None]:
        """(version, last tick)."""

    def ticked(self, tx: Transaction, at: datetime) -> None: ...


class Store(Protocol):
    """Everything that is kept. ``write`` runs ``fn`` in the process's one writing transaction, grouped with what waits beside it."""

    events: Events
    exposures: Exposures
    traffic: Traffic
    examples: Examples
    reviews: Reviews
    variants: Variants
    performance: Performance
    minute_stats: MinuteStats
    drift_detectors: DriftDetectors
    studies: Studies
    journal: Journal
    rollouts: Rollouts
    blocks: Blocks
    observations: Observations
    champions: Champions
    overrides: Overrides
    freezes: Freezes
    outbox: Outbox
    alerts: Alerts
    api_keys: ApiKeys
    audit: Audit
    serving_version: ServingVersion

    def read(self) -> AbstractContextManager[Transaction]: ...
    def write(self, fn: Callable[[Transaction], T], *, rows: int = 1) -> T:
        """Returns after the commit is on disk. What ``fn`` raises undoes its own changes only, and is raised here.

        ``rows`` is about how many rows ``fn`` writes; too many waiting rows raise Busy.
        """

    async def awrite(self, fn: Callable[[Transaction], T], *, rows: int = 1) -> T: ...
    def close(self) -> None: ...
