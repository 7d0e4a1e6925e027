"""Tables interactions and feedback_events as one family's traffic: counts for a forecast, and what a self-test replays.

Reads only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    case,
    func,
    or_,
    select,
)

from optimizer.adapters.store.family_names import key_of
from optimizer.adapters.store.repositories.events import interaction_of, outcome_of, outcome_value
from optimizer.adapters.store.repositories.observations import is_timeout
from optimizer.adapters.store.rows import chunks
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS
from optimizer.adapters.store.traffic_sums import TrafficSumTable, within
from optimizer.core.feedback.events import FeedbackEvent, FeedbackSource, Interaction
from optimizer.core.feedback.rating_draws import JudgedAnswer, SampledInteraction, confidence_of_parts
from optimizer.core.feedback.traffic import PastLabel, PastRequest, RecordedTraffic, recorded_traffic
from optimizer.core.scheduling.triggers import RecentOutcomes, recent_outcomes
from optimizer.core.views.quality import ConversationScore, LowValue, ScoreCount

MOST_RECORDED = 1000  # windows whose traffic is kept in memory, as counts
_F, _I = FEEDBACK_EVENTS.c, INTERACTIONS.c


class TrafficTables:
    """ports.Traffic on the database. Queries go by (family, received_at), that of conversations by their own index."""

    def __init__(self) -> None:
        # By the family's key, since and until, of times that are summed up: nothing is received in them any more.
        self._recorded: dict[tuple[str, datetime, datetime], RecordedTraffic | None] = {}

    def recorded(self, tx: Connection, family: str, since: datetime, until: datetime) -> RecordedTraffic | None:
        key = key_of(family), since, until  # a name may come to mean another family
        if key not in self._recorded:
            recorded, summed = self._read_recorded(tx, family, since, until), TrafficSumTable().stretch(tx)
            if summed is None or until > summed[1]:
                return recorded
            while len(self._recorded) >= MOST_RECORDED:
                self._recorded.pop(next(iter(self._recorded)), None)
            self._recorded[key] = recorded
        return self._recorded[key]

    def _read_recorded(self, tx: Connection, family: str, since: datetime, until: datetime) -> RecordedTraffic | None:
        begun = [
            tx.execute(_of(source, family, since, until, func.min(source.c.received_at))).scalar()
            for source in (INTERACTIONS, FEEDBACK_EVENTS)
        ]
        first = min((at for at in begun if at is not None), default=None)
        if first is None:
            return None
        middle = first + (until - first) / 2
        return recorded_traffic(first, until, within(tx, family, first, middle), within(tx, family, middle, until))

    def requests(self, tx: Connection, family: str, since: datetime, until: datetime) -> list[PastRequest]:
        query = _of(
            INTERACTIONS, family, since, until, _I.unit_hmac, _I.occurred_at, _I.error, _I.latency_ms, _I.cost_usd
        )
        requests = [
            PastRequest(
                unit_hmac=row.unit_hmac,
                at=row.occurred_at,
                failed=row.error is not None,
                timed_out=is_timeout(row.error),
                latency_ms=row.latency_ms,
                cost_usd=row.cost_usd,
            )
            for row in tx.execute(query.where(_I.unit_hmac.is_not(None)))
        ]
        return sorted(requests, key=lambda request: (request.at, request.unit_hmac))

    def outcomes(self, tx: Connection, family: str, variant: str, since: datetime, until: datetime) -> RecentOutcomes:
        return recent_outcomes(within(tx, family, since, until, variant=variant, feedback_only=True))

    def labels(
        self,
        tx: Connection,
        family: str,
        since: datetime,
        until: datetime,
        *,
        field: Literal["success", "score"],
        source: str,
    ) -> list[PastLabel]:
        query = _of(FEEDBACK_EVENTS, family, since, until, _F.unit_hmac, _F.received_at, _F[field])
        rows = tx.execute(query.where(_F.unit_hmac.is_not(None), _F[field].is_not(None), _F.source == source))
        labels = [PastLabel(unit_hmac=row.unit_hmac, at=row.received_at, value=float(row[2])) for row in rows]
        return sorted(labels, key=lambda label: (label.at, label.unit_hmac, label.value))

    def seen(
        self, tx: Connection, family: str, since: datetime, until: datetime, most: int
    ) -> list[SampledInteraction]:
        executed = (
            _of(INTERACTIONS, family, since, until, _I.id, _I.parts)
            .where(_I.parts.is_not(None))
            .order_by(_I.received_at.desc())
        )
        sure = {row.id: confidence_of_parts(row.parts) for row in tx.execute(executed.limit(most))}
        reported = (
            _of(FEEDBACK_EVENTS, family, since, until, _F.interaction)
            .where(_F.interaction.is_not(None))
            .order_by(_F.received_at.desc())
        )
        names = sorted({*tx.execute(reported.limit(most)).scalars(), *sure})
        interactions = {name: SampledInteraction(interaction=name, confidence=sure.get(name)) for name in names}
        for some in chunks(names):
            # The least and the largest mean of a source, and how many corrections there are, by interaction.
            value = outcome_value()
            s = (
                select(_F.interaction, func.avg(value).label("value"), func.count(_F.expected).label("n_expected"))
                .where(_F.family == family, _F.interaction.in_(some))
                .group_by(_F.interaction, _F.source)
                .subquery()
            ).c
            sums = (
                func.min(s.value).label("low"),
                func.max(s.value).label("high"),
                func.sum(s.n_expected).label("n_expected"),
            )
            for row in tx.execute(select(s.interaction, *sums).group_by(s.interaction)):
                interactions[row.interaction] = replace(
                    interactions[row.interaction], low=row.low, high=row.high, is_corrected=row.n_expected > 0
                )
        return list(interactions.values())

    def answered(
        self, tx: Connection, family: str, since: datetime, until: datetime, most: int | None
    ) -> list[tuple[str, datetime]]:
        query = _of(INTERACTIONS, family, since, until, _I.id, _I.received_at).where(
            _I.output.is_not(None), _I.input.is_not(None), _I.error.is_(None)
        )
        return [(row.id, row.received_at) for row in tx.execute(query.order_by(_I.received_at, _I.id).limit(most))]

    def judged(
        self,
        tx: Connection,
        family: str,
        judge: str,
        since: datetime,
        until: datetime,
        *,
        among: Collection[str] | None = None,
        rated_by: FeedbackSource | None = None,
    ) -> list[JudgedAnswer]:
        query = _of(
            FEEDBACK_EVENTS, family, since, until, _F.interaction, _F.score, _F.received_at, _F.variant, _F.unit_hmac
        ).where(*_by_judge(judge))
        if rated_by is not None:
            rating = FEEDBACK_EVENTS.alias("rating").c
            is_rated = rating.score.is_not(None) | rating.success.is_not(None)
            rated = select(rating.interaction).where(rating.family == family, rating.source == rated_by, is_rated)
            query = query.where(_F.interaction.in_(rated))
        query = query.order_by(_F.received_at, _F.id)
        parts = [query] if among is None else [query.where(_F.interaction.in_(some)) for some in chunks(sorted(among))]
        answers = dict[str, JudgedAnswer]()
        for part in parts:
            for row in tx.execute(part):
                answer = JudgedAnswer(
                    interaction=row.interaction,
                    score=row.score,
                    judged_at=row.received_at,
                    variant=row.variant,
                    unit_hmac=row.unit_hmac,
                )
                answers.setdefault(row.interaction, answer)
        return list(answers.values())

    def judged_sums(
        self,
        tx: Connection,
        family: str,
        judge: str,
        windows: Sequence[tuple[datetime, datetime]],
        variant: str | None = None,
    ) -> tuple[int, float | None]:
        if not windows:
            return 0, None
        b = FEEDBACK_EVENTS.alias("before").c
        is_earlier = or_(b.received_at < _F.received_at, and_(b.received_at == _F.received_at, b.id < _F.id))
        earlier = (b.family == family) & (b.interaction == _F.interaction) & and_(*_by_judge(judge, b)) & is_earlier
        # Every branch names the family, so that each is a search of its own by the index.
        received = or_(*(and_(_F.family == family, _F.received_at >= a, _F.received_at < z) for a, z in windows))
        query = select(func.count(), func.avg(_F.score)).where(received, *_by_judge(judge))
        query = query.where(~select(b.id).where(earlier).exists())
        n, mean = tx.execute(query if variant is None else query.where(_F.variant == variant)).one()
        return n, None if mean is None else float(mean)

    def ratings(
        self, tx: Connection, family: str, interactions: Collection[str], source: FeedbackSource
    ) -> dict[str, float]:
        value = func.avg(outcome_value())
        ratings = dict[str, float]()
        for some in chunks(sorted(interactions)):
            query = (
                select(_F.interaction, value.label("value"))
                .where(_F.family == family, _F.interaction.in_(some), _F.source == source)
                .group_by(_F.interaction)
            )
            ratings |= {row.interaction: row.value for row in tx.execute(query) if row.value is not None}
        return ratings

    def tagged(
        self, tx: Connection, family: str, since: datetime, until: datetime, most: int
    ) -> list[tuple[str | None, Mapping[str, Any]]]:
        query = _of(FEEDBACK_EVENTS, family, since, until, _F.interaction, _F.tags).where(_F.source == "system")
        newest = tx.execute(query.order_by(_F.received_at.desc()).limit(most))
        return [(row.interaction, row.tags) for row in newest if row.tags]

    def scores(self, tx: Connection, family: str, since: datetime, until: datetime) -> list[ScoreCount]:
        judge = case((_F.source == "judge", _F.tags["judge"].as_string())).label("judge")
        query = _of(FEEDBACK_EVENTS, family, since, until, _F.source, judge, _F.score, func.count().label("n"))
        rows = tx.execute(query.where(_F.score.is_not(None)).group_by(_F.source, judge, _F.score))
        return [ScoreCount(source=row.source, judge=row.judge, score=row.score, n=row.n) for row in rows]

    def issues(
        self, tx: Connection, family: str, since: datetime, until: datetime, most: int
    ) -> tuple[int, Mapping[tuple[str, str], int]]:
        issues = Counter[tuple[str, str]]()
        labels = _of(FEEDBACK_EVENTS, family, since, until, _F.label, func.count().label("n"))
        for row in tx.execute(labels.where(_F.label.is_not(None)).group_by(_F.label)):
            issues["label", row.label] += row.n
        signs = _F.tags["signs"].as_string().label("signs")
        judged = _of(FEEDBACK_EVENTS, family, since, until, signs, func.count().label("n"))
        for row in tx.execute(judged.where(_F.source == "judge", signs.is_not(None)).group_by(signs)):
            issues.update({("judge", sign): row.n for sign in row.signs.split(", ")})
        checked = _of(INTERACTIONS, family, since, until, _I.parts).where(_I.parts.is_not(None))
        parts = tx.execute(checked.order_by(_I.received_at.desc()).limit(most)).scalars().all()
        for calls in parts:
            issues.update({("check", issue) for call in calls for issue in call.get("issues") or ()})
        return len(parts), issues

    def label_counts(self, tx: Connection, families: Sequence[str], since: datetime, until: datetime) -> dict[str, int]:
        labels = Counter[str]()
        for some in chunks(families):
            query = select(_F.label, func.count().label("n")).where(
                _F.family.in_(some), _F.received_at >= since, _F.received_at < until, _F.label.is_not(None)
            )
            labels.update({row.label: row.n for row in tx.execute(query.group_by(_F.label))})
        return dict(labels)

    def labelled(
        self, tx: Connection, families: Sequence[str], label: str, since: datetime, until: datetime, most: int
    ) -> list[FeedbackEvent]:
        outcomes: list[FeedbackEvent] = []
        for some in chunks(families):
            query = select(FEEDBACK_EVENTS).where(
                _F.family.in_(some), _F.received_at >= since, _F.received_at < until, _F.label == label
            )
            rows = tx.execute(query.limit(most - len(outcomes))).mappings()
            outcomes += [outcome_of(row) for row in rows]
        return outcomes

    def nth_newest_outcome(
        self, tx: Connection, family: str, since: datetime, until: datetime, n: int
    ) -> datetime | None:
        query = _of(FEEDBACK_EVENTS, family, since, until, _F.received_at)
        at: datetime | None = tx.execute(query.order_by(_F.received_at.desc()).limit(1).offset(n - 1)).scalar()
        return at

    def lowest(self, tx: Connection, family: str, since: datetime, until: datetime, most: int) -> list[LowValue]:
        value = outcome_value().label("value")
        columns = (_F.id.label("event"), _F.interaction, _F.source, value, _F.label, _F.received_at)
        query = _of(FEEDBACK_EVENTS, family, since, until, *columns)
        query = query.where(_F.interaction.is_not(None), value.is_not(None))
        rows = tx.execute(query.order_by(value, _F.received_at.desc(), _F.id).limit(most)).mappings()
        return [LowValue(**row) for row in rows]

    def lowest_conversation(
        self, tx: Connection, family: str, since: datetime, until: datetime, min_n: int
    ) -> ConversationScore | None:
        n, mean = func.count().label("n"), func.avg(_F.score).label("mean")
        of_turns = FEEDBACK_EVENTS.join(INTERACTIONS, and_(_F.family == _I.family, _F.interaction == _I.id))
        query = _of(FEEDBACK_EVENTS, family, since, until, _I.conversation, n, mean).select_from(of_turns)
        query = query.where(_F.score.is_not(None), _I.conversation.is_not(None)).group_by(_I.conversation)
        row = tx.execute(query.having(n >= min_n).order_by(mean, _I.conversation).limit(1)).mappings().first()
        return ConversationScore(**row) if row is not None else None

    def turns(
        self,
        tx: Connection,
        conversations: Mapping[str, Collection[str]],
        since: datetime,
        until: datetime,
        most: int,
    ) -> list[Interaction]:
        families = defaultdict[frozenset[str], list[str]](list)
        for family, names in conversations.items():
            families[frozenset(names)].append(family)
        turns: list[Interaction] = []
        for names, of_families in families.items():  # one, but where families mask names of their own
            for some in chunks(of_families):
                of = _I.conversation.in_(sorted(names)), _I.family.in_(some)
                query = select(INTERACTIONS).where(*of, _I.received_at >= since, _I.received_at < until)
                query = query.order_by(_I.received_at.desc(), _I.id.desc()).limit(most)
                turns += [interaction_of(row) for row in tx.execute(query).mappings()]
        return sorted(turns, key=lambda turn: (turn.received_at, turn.id))[-most:]

    def newest(self, tx: Connection, family: str, since: datetime, until: datetime, most: int) -> list[Interaction]:
        query = _of(INTERACTIONS, family, since, until, *INTERACTIONS.columns)
        query = query.order_by(_I.received_at.desc(), _I.id.desc()).limit(most)
        return [interaction_of(row) for row in tx.execute(query).mappings()]


def _by_judge(judge: str, f: Any = FEEDBACK_EVENTS.c) -> tuple[ColumnElement[bool], ...]:
    is_judges = f.tags["judge"].as_string() == judge
    return f.source == "judge", f.score.is_not(None), f.interaction.is_not(None), is_judges


def _of(source: Table, family: str, since: datetime, until: datetime, *columns: ColumnElement[Any]) -> Select[Any]:
    at = source.c.received_at
    return select(*columns).where(source.c.family == family, at >= since, at < until)
