"""Reads the quality of answers: over a time with all their scores, issues, models and dollars, and one conversation
turn by turn. Writes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from optimizer.core.base.minute_sums import HOUR, MinuteSums, floor, judge_mark, merge, quantile
from optimizer.core.base.values import grouped
from optimizer.core.evaluation.judging.calibration import Calibration, judge_identity, why_uncalibrated
from optimizer.core.family.family import Family
from optimizer.core.family.masking import Masker, MaskTooSlow
from optimizer.core.feedback.events import FeedbackEvent, FeedbackSource, Interaction
from optimizer.core.views.quality import (
    KIND_OF,
    ConversationQuality,
    ConversationTurn,
    LowAnswer,
    LowestAnswers,
    LowValue,
    ModelUsage,
    QualityAnalytics,
    QualityIssue,
    ScoreCount,
    ScoreDistribution,
    ScoreKind,
    SuccessShare,
    TurnScore,
    UncalibratedScores,
    distribution,
    turn_score,
)
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.sealed_events import (
    outcome_without_texts,
    sealed_interactions,
    sealed_outcomes,
    without_texts,
)
from optimizer.jobs.families.vouch_for_judge import calibration_of_judge
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.request import FamilyRequest, Request
from optimizer.ports import Store, Transaction

LONGEST_RANGE = timedelta(days=31)
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
MOST_TURNS = 200
MOST_CHECKED = 2000  # interactions of policies whose checks are read, of each family
MOST_ISSUES = 20
LOOKED_AT_OF_LABEL = 50  # outcomes of each label, to see whether it may be shown
MOST_COMPARED = 2000  # newest outcomes of a family, of which the lowest are shown
MOST_LOOKED_AT = 5  # outcomes for each answer that is shown, since one answer may have several


def _span(text: str) -> str:
    if not timedelta() < int(text[:-1]) * UNITS[text[-1]] <= LONGEST_RANGE:
        raise ValueError(f"a time from 1m to {LONGEST_RANGE.days}d is read at once")
    return text


Range = Annotated[
    str,
    Field(pattern=r"^[0-9]{1,5}[mhd]$", description="How far back it is looked, such as 30m, 24h or 7d; at most 31d"),
    AfterValidator(_span),
]


class AnalyticsRequest(Request):
    family: Annotated[str | None, Field(max_length=200, description="Of this one alone")] = None
    range: Range = "24h"


class MonitorRequest(AnalyticsRequest):
    conversation: Annotated[
        str, Field(min_length=1, max_length=200, description="The conversation, as its interactions named it")
    ]


class LowestRequest(FamilyRequest):
    range: Range = "24h"
    limit: Annotated[int, Field(ge=1, le=100, description="Answers at most")] = 20


class _Judges:
    """The calibration of each family's judge, read once; ``why`` it is not used where it is not."""

    def __init__(self, tx: Transaction, store: Store, families: Iterable[Family]) -> None:
        self._calibrations: dict[str, tuple[str | None, Calibration | None, str | None]] = {}
        for family in families:
            judge = None if family.judge is None else judge_identity(family)
            calibration = None if judge is None else calibration_of_judge(family.name, judge, store, tx)
            self._calibrations[family.name] = judge, calibration, why_uncalibrated(judge, calibration)

    def is_calibrated(self, family: str) -> bool:
        """Whether some scores of the family can be mapped."""
        _, calibration, why = self._calibrations.get(family, (None, None, ""))
        return calibration is not None and why is None

    def calibrated(self, family: str, mark: str, score: float) -> float | None:
        """Args: mark: ``judge_mark`` of who gave the score."""
        own, calibration, why = self._calibrations.get(family, (None, None, ""))
        is_own = calibration is not None and why is None and mark == judge_mark(own)
        return calibration.mapped(score) if is_own and calibration is not None else None

    def why(self, family: str) -> str:
        """Why a score of a judge is not calibrated."""
        _, _, why = self._calibrations.get(family, (None, None, "the family has no file, so nothing names its judge"))
        return why or "another judge than the family's own gave it"


@dataclass(slots=True, kw_only=True)
class _Figures:
    """What was received in a time. ``judged``: scores of judges by family, at least of those that can be mapped;
    ``n_judged``: how many there are.
    """

    rows: list[MinuteSums]
    scores: list[ScoreCount] = field(default_factory=list)
    judged: dict[str, list[ScoreCount]] = field(default_factory=dict)
    n_judged: Mapping[str, int] = field(default_factory=dict)
    score_sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by source, with all their digits
    issues: Counter[tuple[str, str]] = field(default_factory=Counter)
    n_checked: int = 0


def read_analytics(context: Context, request: AnalyticsRequest) -> QualityAnalytics:
    """How good answers were in a time: scores by band and by who gave them, issues, models, dollars in all and per
    query. Scores are counted by when they came; no score is ever taken for 0. A time of a day or more begins at a full
    hour. A label is listed only if an outcome on a question that the sealed holdout does not ask has it.
    """
    store, now = context.store, context.clock.now()
    span, names = time_of(request.range), families_asked(context, request.family)
    since = now - span if span < UNITS["d"] else floor(now - span, HOUR)
    declared = context.families().families
    with store.read() as tx:
        judges = _Judges(tx, store, (declared[name] for name in names if name in declared))
        is_of_all = request.family is None and context.access.families is None
        figures = _of_all(tx, store, judges, names, since, now) if is_of_all else None
        figures = figures or _of_families(tx, store, names, since, now)
        summed_until = store.minute_stats.watermark(tx, MINUTES)
        issues = _issues(tx, store, figures, names, declared, (since, now))
    requests = [row for row in figures.rows if row.source == ""]
    usage = _usage(None, requests)
    by_model = sorted({row.model for row in requests})
    mapped = {
        family: [
            (rating, row.n)
            for row in scores
            if (rating := judges.calibrated(family, row.judge or "", row.score)) is not None
        ]
        for family, scores in figures.judged.items()
    }
    shares = []
    for source in KIND_OF:
        n = sum(row.n_success for row in figures.rows if row.source == source)
        n_success = sum(row.success_sum for row in figures.rows if row.source == source)
        if n:
            shares.append(SuccessShare(source=source, n_labelled=n, n_success=n_success, share=n_success / n))
    return QualityAnalytics(
        since=since,
        until=now,
        summed_until=summed_until,
        families=names,
        n_interactions=usage.n_interactions,
        n_errors=usage.n_errors,
        n_with_cost=usage.n_with_cost,
        cost_usd=usage.cost_usd,
        cost_per_query_usd=usage.cost_per_query_usd,
        scores=_distributions(figures, [rating for ratings in mapped.values() for rating in ratings]),
        uncalibrated=[
            UncalibratedScores(family=family, n=n_left, cause=judges.why(family))
            for family in names
            if (n_left := figures.n_judged.get(family, 0) - sum(n for _, n in mapped.get(family, ()))) > 0
        ],
        success=shares,
        issues=issues,
        n_checked=figures.n_checked,
        models=[_usage(model, [row for row in requests if row.model == model]) for model in by_model],
    )


def _issues(
    tx: Transaction,
    store: Store,
    figures: _Figures,
    names: Sequence[str],
    declared: Mapping[str, Family],
    time: tuple[datetime, datetime],
) -> list[QualityIssue]:
    """The most frequent first. Of each label some outcomes are looked at: those on what the sealed holdout asks do not
    count, and where they all are, the label is left out.
    """
    issues = sorted(figures.issues.items(), key=lambda item: (-item[1], item[0]))[:MOST_ISSUES]
    labels = [issue for (found_by, issue), _ in issues if found_by == "label"]
    outcomes = [one for label in labels for one in store.traffic.labelled(tx, names, label, *time, LOOKED_AT_OF_LABEL)]
    sealed = sealed_outcomes(tx, store, outcomes, declared)
    n_seen = Counter(("label", one.label) for one in outcomes)
    n_sealed = Counter(("label", one.label) for one in outcomes if (one.arm.family, one.id) in sealed)
    shown = [
        QualityIssue(found_by=name[0], issue=name[1], n=n - n_sealed[name])  # type: ignore[arg-type]
        for name, n in issues
        if name[0] != "label" or n_seen[name] > n_sealed[name]
    ]
    return sorted(shown, key=lambda one: (-one.n, one.found_by, one.issue))


def _of_all(
    tx: Transaction, store: Store, judges: _Judges, names: Sequence[str], since: datetime, now: datetime
) -> _Figures | None:
    """From the sums of all families together; None where they do not reach so far back."""
    rows = store.minute_stats.of_all(tx, set(names), since, now)
    if rows is None:
        return None
    figures = _Figures(rows=rows, scores=_score_counts(rows), n_judged=store.minute_stats.n_judged(tx, since, now))
    for family in filter(judges.is_calibrated, figures.n_judged):
        figures.judged[family] = _score_counts(store.minute_stats.within(tx, family, since, now, source="judge"))
    _add_sums(figures, store.traffic.label_counts(tx, names, since, now))
    return figures


def _of_families(tx: Transaction, store: Store, names: Sequence[str], since: datetime, now: datetime) -> _Figures:
    """Family by family. Of what came before scores were summed up, the events are read."""
    summed, figures, n_judged = store.minute_stats.summed(tx), _Figures(rows=[]), Counter[str]()
    events_until = now if summed is None else min(max(since, summed[0]), now)
    for name in names:
        rows = store.minute_stats.within(tx, name, since, now)
        scores = _score_counts(rows)
        if since < events_until:
            early = store.traffic.scores(tx, name, since, events_until)
            scores += [replace(row, judge=judge_mark(row.judge)) for row in early]
            for row in early:
                figures.score_sums[row.source] += row.n * row.score
            n_checked, issues = store.traffic.issues(tx, name, since, events_until, MOST_CHECKED)
            figures.issues.update(issues)
            figures.n_checked += n_checked if summed is None else 0  # else the rows say how many there were
        figures.rows += rows
        figures.scores += scores
        figures.judged[name] = [row for row in scores if row.source == "judge"]
        n_judged[name] = sum(row.n for row in figures.judged[name])
    figures.n_judged = n_judged
    _add_sums(figures, store.traffic.label_counts(tx, names, events_until, now) if events_until < now else {})
    return figures


def _score_counts(rows: Iterable[MinuteSums]) -> list[ScoreCount]:
    """Equal scores of the same source and judge counted together."""
    counts = defaultdict[tuple[str, str], dict[str, int]](dict)
    for row in rows:
        for judge, histogram in row.scores.items():
            own = counts[row.source, judge]
            for score, n in histogram.items():  # a month has tens of thousands where scores have many digits
                own[score] = own.get(score, 0) + n
    return [
        ScoreCount(source=source, judge=judge, score=float(score), n=n)  # type: ignore[arg-type]
        for (source, judge), own in counts.items()
        for score, n in own.items()
    ]


def _add_sums(figures: _Figures, labels: Mapping[str, int]) -> None:
    """What the rows hold of issues and scores; ``labels`` of outcomes beside them."""
    figures.issues.update({("label", label): n for label, n in labels.items()})
    for row in figures.rows:
        figures.n_checked += row.n_with_parts
        for key, n in row.issues.items():
            found_by, _, issue = key.partition(" ")
            figures.issues[found_by, issue] += n
        if row.scores:  # else the events were read
            figures.score_sums[row.source] += row.score_sum


def time_of(range_: str) -> timedelta:
    """Of a text like 30m, 24h or 7d."""
    return int(range_[:-1]) * UNITS[range_[-1]]


def families_asked(context: Context, family: str | None) -> list[str]:
    """The one that is asked for, else those of the caller that have a file."""
    if family is not None:
        context.require_family(family)
        return [context.family(family).name]
    return sorted(filter(context.access.may_see, context.families().families))


def _distributions(figures: _Figures, mapped: Sequence[tuple[float, int]]) -> list[ScoreDistribution]:
    """Args: mapped: (rating, how many scores of judges were mapped to it)."""
    groups = grouped(((KIND_OF[row.source], row.source), (row.score, row.n)) for row in figures.scores)
    if mapped:
        groups["calibrated", "judge"] = list(mapped)
    order: Sequence[tuple[ScoreKind, FeedbackSource]] = (
        ("judged", "judge"),
        ("calibrated", "judge"),
        ("labelled", "user"),
        ("labelled", "person"),
        ("reported", "system"),
    )
    return [
        distribution(
            kind,
            source,
            groups[kind, source],
            sum_of_scores=None if kind == "calibrated" else figures.score_sums[source],
        )
        for kind, source in order
        if (kind, source) in groups
    ]


def _usage(model: str | None, rows: Sequence[MinuteSums]) -> ModelUsage:
    n_cost, cost_usd = sum(row.n_cost for row in rows), sum(row.cost_sum_usd for row in rows)
    n_latency = sum(row.n_latency for row in rows)
    return ModelUsage(
        model=model or None,
        n_interactions=sum(row.n for row in rows),
        n_errors=sum(row.n_errors for row in rows),
        n_with_cost=n_cost,
        cost_usd=cost_usd if n_cost else None,
        cost_per_query_usd=cost_usd / n_cost if n_cost else None,
        mean_latency_ms=sum(row.latency_sum_ms for row in rows) / n_latency if n_latency else None,
        p95_latency_ms=quantile(merge(row.latency_histogram for row in rows), 0.95),
    )


def read_conversation(context: Context, request: MonitorRequest) -> ConversationQuality:
    """The turns of a conversation with their scores: what people said, what the judge said and why, or that nobody
    did. Texts, the judge's reasoning among them, are null for a key without role read-texts.
    """
    store, now = context.store, context.clock.now()
    since, names = now - time_of(request.range), families_asked(context, request.family)
    declared = context.families().families
    with store.read() as tx:
        as_unit = {context.hmac_unit(request.conversation), *context.older_hmacs(request.conversation)}
        sent_as = {name: as_unit | _sent_as(request.conversation, declared.get(name)) for name in names}
        turns = store.traffic.turns(tx, sent_as, since, now, MOST_TURNS + 1)
        judges = _Judges(
            tx, store, (declared[name] for name in {turn.arm.family for turn in turns} if name in declared)
        )
        shown_turns = turns[-MOST_TURNS:]
        outcomes = store.events.feedback_of(tx, {(turn.arm.family, turn.id) for turn in shown_turns})
        sealed = sealed_interactions(tx, store, shown_turns, declared, outcomes)
        of_turn = grouped(((one.arm.family, one.interaction), one) for one in outcomes)
        views = [
            _turn(turn, of_turn.get(name, []), judges, declared.get(turn.arm.family), name in sealed)
            for turn in shown_turns
            for name in [(turn.arm.family, turn.id)]
        ]
    scores = [turn.score for turn in views if turn.score is not None]
    costs = [turn.cost_usd for turn in views if turn.cost_usd is not None]
    return ConversationQuality(
        conversation=request.conversation,
        since=since,
        until=now,
        n_scored=len(scores),
        mean_score=sum(scores) / len(scores) if scores else None,
        lowest_score=min(scores, default=None),
        cost_usd=sum(costs) if costs else None,
        is_cut=len(turns) > MOST_TURNS,
        turns=views,
    )


def _sent_as(conversation: str, family: Family | None) -> set[str]:
    """The names under which it is stored where it is no unit's key: the family's masks may have changed between two
    turns.
    """
    with suppress(MaskTooSlow):  # then no event with this name was taken either
        if family is not None:
            return {conversation, str(Masker(family.privacy.rules).mask(conversation))}
    return {conversation}


def read_lowest(context: Context, request: LowestRequest) -> LowestAnswers:
    """The answers that outcomes of a time found most fault with, among the newest 2,000 of them. What the sealed
    holdout asks, too, is counted and not shown.
    """
    store, now, family = context.store, context.clock.now(), context.family(request.family).name
    since = now - time_of(request.range)
    with store.read() as tx:
        begin = store.traffic.nth_newest_outcome(tx, family, since, now, MOST_COMPARED) or since
        lowest = store.traffic.lowest(tx, family, begin, now, MOST_LOOKED_AT * request.limit)
        of_answer: dict[str, LowValue] = {}  # of each answer its lowest outcome, the lowest first
        for one in lowest:
            of_answer.setdefault(one.interaction, one)
        outcomes = list(of_answer.values())[: 2 * request.limit]
        names = {one.interaction for one in outcomes}
        answers = {
            id: answer
            for id, same_id in store.events.interactions(tx, names).items()
            for answer in same_id
            if answer.arm.family == family
        }
        interactions = list(answers.values())
        outcomes_of = store.events.feedback_of(tx, {(family, name) for name in names})
        sealed = sealed_interactions(tx, store, interactions, context.families().families, outcomes_of)
    shown = [(one, answers.get(one.interaction)) for one in outcomes if (family, one.interaction) not in sealed]
    expected = {one.interaction: one.expected for one in outcomes_of if one.expected is not None}  # what came last
    return LowestAnswers(
        family=family,
        since=since,
        until=now,
        looked_back_to=begin,
        n_sealed=len(outcomes) - len(shown),
        items=[
            LowAnswer(
                interaction=answer.id,
                family=family,
                variant=answer.arm.variant,
                model=answer.model,
                received_at=one.received_at,
                value=one.value,
                source=one.source,
                label=one.label,
                input=answer.input,
                output=answer.output,
                expected=expected.get(answer.id),
            )
            for one, answer in shown
            if answer is not None
        ][: request.limit],
    )


def _turn(
    turn: Interaction, outcomes: Sequence[FeedbackEvent], judges: _Judges, family: Family | None, is_sealed: bool
) -> ConversationTurn:
    """Of one that is sealed without texts; why a score is missing is told as of any other."""
    scores: list[TurnScore] = []
    for each in outcomes:
        outcome = outcome_without_texts(each) if is_sealed else each
        judge, reasoning = (
            outcome.tags.get(name) if outcome.source == "judge" else None for name in ("judge", "reasoning")
        )
        mapped = (
            judges.calibrated(outcome.arm.family, judge_mark(judge), outcome.score)
            if judge and outcome.score is not None
            else None
        )
        scores.append(
            TurnScore(
                kind=KIND_OF[outcome.source],
                source=outcome.source,
                received_at=outcome.received_at,
                score=outcome.score,
                success=outcome.success,
                calibrated=mapped,
                judge=judge if isinstance(judge, str) else None,
                reasoning=reasoning if isinstance(reasoning, str) else None,
                label=outcome.label,
            )
        )
    score, scored_by = turn_score(scores)
    why_unscored = None if score is not None else _why_unscored(turn, family)
    turn = without_texts(turn) if is_sealed else turn
    return ConversationTurn(
        interaction=turn.id,
        family=turn.arm.family,
        variant=turn.arm.variant,
        model=turn.model,
        received_at=turn.received_at,
        latency_ms=turn.latency_ms,
        cost_usd=turn.cost_usd,
        input=turn.input,
        output=turn.output,
        error=turn.error,
        failed=turn.error is not None,
        score=score,
        scored_by=scored_by,
        why_unscored=why_unscored,
        outcomes=scores,
        sealed=is_sealed,
    )


def _why_unscored(turn: Interaction, family: Family | None) -> str:
    if turn.error is not None:
        return "the request failed, so there is no answer to score"
    if family is None or family.judge is None:
        return "nobody rated it, and its family names no judge"
    if turn.output is None or turn.input is None:
        return "nobody rated it, and its texts are not kept, which a judge would need"
    share = family.judge.monitor.share
    if share <= 0:
        return f"nobody rated it, and judge.monitor.share is 0: detent judge score {family.name} scores on demand"
    return f"nobody rated it, and the judge, which sees {share:.0%} of the answers, has not or could not measure it"
