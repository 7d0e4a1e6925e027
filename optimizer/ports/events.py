"""What was served, and what users made of it, as reported."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from optimizer.core.base.answers import Json
from optimizer.core.feedback.events import FeedbackEvent, FeedbackSource, Interaction, LabelSummary, LaterParts
from optimizer.core.feedback.rating_draws import JudgedAnswer, SampledInteraction
from optimizer.core.feedback.stored_rows import EventRow
from optimizer.core.feedback.traffic import PastLabel, PastRequest, RecordedTraffic
from optimizer.core.scheduling.triggers import RecentOutcomes
from optimizer.core.views.quality import ConversationScore, LowValue, ScoreCount
from optimizer.core.views.rollout_status import ArmExposures, ArmTotals
from optimizer.core.views.variant import Renderings
from optimizer.ports.transaction import Transaction

# Family, variant, rollout, stage, window start, client, n.
Exposure = tuple[str, str, str | None, float | None, datetime, str, int]


class TruncatedInput(NamedTuple):
    """An input of a family that was cut in so many requests, the last one at a time."""

    family: str
    input: str
    n_requests: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionFilter:
    """Which interactions are meant: received in [since, until), None: whatever it is.

    ``families`` None: of any. ``units``: hashes, each of the same unit. ``score_at_most``: an outcome of it has such a
    score, or is a failure. ``text`` stands in its input, output or error as stored; in the input it may be a part of
    the JSON, such as a member's name.
    """

    since: datetime
    until: datetime
    families: Collection[str] | None = None
    variant: str | None = None
    units: Collection[str] | None = None
    failed: bool | None = None
    score_at_most: float | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionMatches:
    """The newest first. ``looked_back_to``: of what was received since then every match is here or on a page before."""

    items: Sequence[Interaction]
    next_cursor: str | None
    looked_back_to: datetime


class Events(Protocol):
    def add_new(self, tx: Transaction, interactions: Sequence[EventRow], feedback: Sequence[EventRow]) -> None:
        """Adds rows (core/feedback/stored_rows.py) that are not stored yet.

        ``known`` said so in this transaction, or their ids were made for them. Raises Busy where another process has
        stored one meanwhile.
        """

    def add_texts(
        self, tx: Transaction, interaction: Interaction, *, input: Json = None, output: str | None = None
    ) -> None:
        """Adds what is given where the interaction has none; stored texts stay."""

    def add_later_parts(self, tx: Transaction, row: LaterParts) -> None:
        """Adds the parts, once per interaction, which need not be stored yet."""

    def later_parts(self, tx: Transaction, family: str, interactions: Collection[str]) -> dict[str, LaterParts]:
        """Interaction -> its later parts, for those that have any."""

    def made_of_parts(
        self, tx: Transaction, family: str, variants: Collection[str], *, since: datetime, limit: int
    ) -> list[Interaction]:
        """At most ``limit`` interactions of these variants with several calls, received since then, the
        newest first.
        """

    def n_made_of_parts(self, tx: Transaction, family: str, variants: Collection[str], *, since: datetime) -> int:
        """How many there are of these."""

    def next_made_of_parts(
        self,
        tx: Transaction,
        family: str,
        variants: Collection[str],
        *,
        after: tuple[datetime, str],
        until: datetime,
        limit: int,
    ) -> list[Interaction]:
        """The same in order of (received at, id), behind that place and received before ``until``."""

    def corrections(self, tx: Transaction, family: str, interactions: Collection[str]) -> dict[str, Mapping[str, Json]]:
        """Interaction -> the expected output of its latest correction, for those that have one."""

    def known(self, tx: Transaction, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Content hashes of those (family, id) that exist as an interaction or a feedback event."""

    def interaction(self, tx: Transaction, id: str, family: str | None = None) -> Interaction | None: ...
    def interactions(self, tx: Transaction, ids: Collection[str]) -> dict[str, list[Interaction]]:
        """The interactions with these ids; several where families share an id."""

    def feedback_of(
        self, tx: Transaction, names: Collection[tuple[str, str]], *, by_id: bool = False
    ) -> list[FeedbackEvent]:
        """On interactions by (family, id), or the events of these ids, in the order in which they came."""

    def page_of_feedback(
        self,
        tx: Transaction,
        *,
        family: str | None,
        variant: str | None,
        since: datetime | None,
        cursor: str | None,
        limit: int,
    ) -> tuple[list[FeedbackEvent], str | None]:
        """Events in the order of receipt from the cursor on, and the cursor of the next page."""

    def page_of_interactions(
        self,
        tx: Transaction,
        *,
        family: str | None,
        variant: str | None,
        since: datetime | None,
        cursor: str | None,
        limit: int,
    ) -> tuple[list[Interaction], str | None]:
        """Interactions in the order of receipt from the cursor on, and the cursor of the next page."""

    def matches(
        self,
        tx: Transaction,
        matching: InteractionFilter,
        *,
        cursor: str | None,
        limit: int,
        shown: Callable[[Sequence[Interaction]], Sequence[Interaction]] | None = None,
    ) -> InteractionMatches:
        """Looks at some ten thousand interactions at most, the newest ones behind the cursor; ``next_cursor`` goes on
        where it stopped, also where nothing matched so far.

        Args:
            shown: of matches those that the caller may hear of; all else is as if the others were not there.
        """

    def stored_answer(self, tx: Transaction, scope: str, key: str, body_hash: str) -> Mapping[str, Json] | None:
        """The answer under an Idempotency-Key, or None. Raises KeyReused where the key came with another body."""

    def store_answer(
        self, tx: Transaction, scope: str, key: str, body_hash: str, answer: Mapping[str, Json], at: datetime
    ) -> None:
        """Raises Conflict where another transaction has taken the key since this one looked."""

    def arm_summary(self, tx: Transaction, family: str, rollout: str | None) -> list[ArmTotals]:
        """Per variant and role. Without a rollout: everything the family has."""

    def cost_usd(self, tx: Transaction, family: str, since: datetime) -> float:
        """Dollars of the interactions that the gateway itself recorded since then, and of their later parts.

        What a client said never counts.
        """

    def label_summary(self, tx: Transaction, family: str, since: datetime) -> list[LabelSummary]:
        """Labels received since then, by variant, field and source, in that order."""


class Traffic(Protocol):
    """What a family's users did, by when it was received (real time, in [since, until))."""

    def recorded(self, tx: Transaction, family: str, since: datetime, until: datetime) -> RecordedTraffic | None:
        """Counts from the first event in that time on; None where there is none."""

    def requests(self, tx: Transaction, family: str, since: datetime, until: datetime) -> list[PastRequest]:
        """Interactions with a unit, in the order in which they started."""

    def outcomes(self, tx: Transaction, family: str, variant: str, since: datetime, until: datetime) -> RecentOutcomes:
        """What users reported of one variant; an outcome without a unit counts as a unit of its own."""

    def labels(
        self,
        tx: Transaction,
        family: str,
        since: datetime,
        until: datetime,
        *,
        field: Literal["success", "score"],
        source: str,
    ) -> list[PastLabel]:
        """Outcomes with a unit, in the order in which they came."""

    def seen(
        self, tx: Transaction, family: str, since: datetime, until: datetime, most: int
    ) -> list[SampledInteraction]:
        """The latest ``most`` interactions with an outcome in that time, and as many that a policy executed then.

        Outcomes of any time count; each source with the mean of what it reported.
        """

    def answered(
        self, tx: Transaction, family: str, since: datetime, until: datetime, most: int | None
    ) -> list[tuple[str, datetime]]:
        """(id, receipt) of interactions whose answer and input are kept, in order of receipt: the oldest ``most``, or
        all.
        """

    def judged(
        self,
        tx: Transaction,
        family: str,
        judge: str,
        since: datetime,
        until: datetime,
        *,
        among: Collection[str] | None = None,
        rated_by: FeedbackSource | None = None,
    ) -> list[JudgedAnswer]:
        """Interactions of which this judge's score, the first one, was received in that time, in the order of receipt.

        A score is this judge's where its feedback has source judge and names the judge's identity in the tag
        ``judge``. ``among``: only of these interactions; ``rated_by``: only of those that this source has rated.
        """

    def judged_sums(
        self,
        tx: Transaction,
        family: str,
        judge: str,
        windows: Sequence[tuple[datetime, datetime]],
        variant: str | None = None,
    ) -> tuple[int, float | None]:
        """Number and mean score of the interactions that this judge first scored within one of these windows.

        The mean is None where there is none. ``variant``: only this one's answers.
        """

    def ratings(
        self, tx: Transaction, family: str, interactions: Collection[str], source: FeedbackSource
    ) -> dict[str, float]:
        """Interaction -> the mean of what this source said of it, scores as they are and success as 1 or 0.

        Only those that have any.
        """

    def tagged(
        self, tx: Transaction, family: str, since: datetime, until: datetime, most: int
    ) -> list[tuple[str | None, Mapping[str, Json]]]:
        """Interaction and tags of outcomes of source ``system`` that have tags: the newest ``most`` received then."""

    def scores(self, tx: Transaction, family: str, since: datetime, until: datetime) -> list[ScoreCount]:
        """The scores of outcomes received in that time, equal ones counted together."""

    def issues(
        self, tx: Transaction, family: str, since: datetime, until: datetime, most: int
    ) -> tuple[int, Mapping[tuple[str, str], int]]:
        """How often each (found by, issue) was told in that time: ``label`` of outcomes, ``judge`` for words to it in
        an answer, ``check`` of a policy in the newest ``most`` interactions that have parts; and how many those were.
        """

    def label_counts(
        self, tx: Transaction, families: Sequence[str], since: datetime, until: datetime
    ) -> Mapping[str, int]:
        """How often outcomes of these families had each label."""

    def labelled(
        self, tx: Transaction, families: Sequence[str], label: str, since: datetime, until: datetime, most: int
    ) -> list[FeedbackEvent]:
        """Up to ``most`` outcomes of these families with this label, whichever."""

    def nth_newest_outcome(
        self, tx: Transaction, family: str, since: datetime, until: datetime, n: int
    ) -> datetime | None:
        """When it was received; None where there are fewer in that time."""

    def lowest(self, tx: Transaction, family: str, since: datetime, until: datetime, most: int) -> list[LowValue]:
        """Outcomes of interactions, the lowest value first, of equal ones the newest."""

    def lowest_conversation(
        self, tx: Transaction, family: str, since: datetime, until: datetime, min_n: int
    ) -> ConversationScore | None:
        """The one whose scores received then have the lowest mean, of those with ``min_n`` or more."""

    def turns(
        self,
        tx: Transaction,
        conversations: Mapping[str, Collection[str]],
        since: datetime,
        until: datetime,
        most: int,
    ) -> list[Interaction]:
        """Interactions of any of these conversations, by family, in the order of receipt: the newest ``most``."""

    def newest(self, tx: Transaction, family: str, since: datetime, until: datetime, most: int) -> list[Interaction]:
        """The newest ``most`` interactions received in that time, the newest first."""


class Exposures(Protocol):
    def add(self, tx: Transaction, rows: Iterable[Exposure]) -> None:
        """Counts of one window add up."""

    def put(self, tx: Transaction, rows: Iterable[Exposure], sent_by: str) -> list[bool]:
        """Adds counts of clients that may repeat themselves: a window of a key's client keeps its largest count.

        False where nothing changed.
        """

    def reported(self, tx: Transaction, rollout: str) -> dict[tuple[str, str, float | None], int]:
        """(key, variant, stage) -> exposures that clients reported; without those that the server counted itself."""

    def decided_in_process(self, tx: Transaction, family: str, variant: str) -> int:
        """How often clients reported that they gave the variant out; without what the server counted itself."""

    def totals(self, tx: Transaction, family: str, rollout: str | None) -> list[ArmExposures]:
        """Without a rollout: everything the family has."""

    def add_nearest(self, tx: Transaction, counts: Mapping[tuple[str, str], int]) -> None:
        """Fetches by (family, variant) that showed nearest examples; counts add up."""

    def renderings(self, tx: Transaction, family: str, variant: str) -> Renderings:
        """Of all that was ever fetched, by clients that decide in process, too."""

    def counts(self, tx: Transaction) -> dict[tuple[str, bool], int]:
        """Exposures by family and whether they were in a rollout."""

    def add_truncated(self, tx: Transaction, counts: Mapping[tuple[str, str], int], at: datetime) -> None:
        """Requests by (family, input) of which the input was cut, up to this time; counts add up."""

    def truncated(self, tx: Transaction) -> list[TruncatedInput]:
        """All inputs that were ever cut, by family and name."""
