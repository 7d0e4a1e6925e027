"""How good answers are: over a time with all their scores, issues, models and dollars, and one conversation turn by
turn. Reads only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from optimizer.core.base.minute_sums import MinuteSums, merge, quantile
from optimizer.core.evaluation.judging.calibration import Calibration, judge_identity, why_uncalibrated
from optimizer.core.family.family import Family
from optimizer.core.family.masking import Masker, MaskTooSlow
from optimizer.core.feedback.events import FeedbackEvent, FeedbackSource, Interaction
from optimizer.core.views.quality import (
    KIND_OF,
    ConversationQuality,
    ConversationTurn,
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
from optimizer.jobs.families.vouch_for_judge import calibration_of_judge
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.request import Request
from optimizer.ports import Store, Transaction

LONGEST_RANGE = timedelta(days=31)
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
MOST_TURNS = 200
MOST_CHECKED = 2000  # interactions of policies whose checks are read, of each family
MOST_ISSUES = 20


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


class _Judges:
    """The calibration of each family's judge, read once; ``why`` it is not used where it is not."""

    def __init__(self, tx: Transaction, store: Store, families: Iterable[Family]) -> None:
        self._calibrations: dict[str, tuple[str | None, Calibration | None, str | None]] = {}
        for family in families:
            judge = None if family.judge is None else judge_identity(family)
            calibration = calibration_of_judge(family.name, judge, store, tx)
            self._calibrations[family.name] = judge, calibration, why_uncalibrated(judge, calibration)

    def calibrated(self, family: str, judge: str | None, score: float) -> float | None:
        own, calibration, why = self._calibrations.get(family, (None, None, ""))
        return calibration.mapped(score) if calibration is not None and why is None and judge == own else None

    def why(self, family: str) -> str:
        """Why a score of a judge is not calibrated."""
        _, _, why = self._calibrations.get(family, (None, None, "the family has no file, so nothing names its judge"))
        return why or "another judge than the family's own gave it"


def read_analytics(context: Context, request: AnalyticsRequest) -> QualityAnalytics:
    """How good answers were in a time: scores by band and by who gave them, issues, models, dollars in all and per
    query. Scores are counted by when they came; no score is ever taken for 0.
    """
    store, now = context.store, context.clock.now()
    since, names = now - _time(request.range), _families(context, request.family)
    declared = context.families().families
    with store.read() as tx:
        judges = _Judges(tx, store, (declared[name] for name in names if name in declared))
        minutes = [row for name in names for row in store.minute_stats.of_family(tx, name, since, until=now)]
        counts = {name: store.traffic.scores(tx, name, since, now) for name in names}
        issues, n_checked = Counter[tuple[str, str]](), 0
        for name in names:
            n, family_issues = store.traffic.issues(tx, name, since, now, MOST_CHECKED)
            issues.update(family_issues)
            n_checked += n
        summed_until = store.minute_stats.watermark(tx, MINUTES)
    requests = [row for row in minutes if row.source == ""]
    usage = _usage(None, requests)
    by_model = sorted({row.model for row in requests})
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
        scores=_distributions(counts, judges.calibrated),
        uncalibrated=_uncalibrated(counts, judges),
        success=_success(minutes),
        issues=[
            QualityIssue(found_by=found_by, issue=issue, n=n)  # type: ignore[arg-type]
            for (found_by, issue), n in sorted(issues.items(), key=lambda item: (-item[1], item[0]))[:MOST_ISSUES]
        ],
        n_checked=n_checked,
        models=[_usage(model, [row for row in requests if row.model == model]) for model in by_model],
    )


def _time(range_: str) -> timedelta:
    return int(range_[:-1]) * UNITS[range_[-1]]


def _families(context: Context, family: str | None) -> list[str]:
    """The one that is asked for, else those of the caller that have a file."""
    if family is not None:
        context.require_family(family)
        return [context.family(family).name]
    return sorted(filter(context.sees, context.families().families))


def _distributions(
    counts: dict[str, list[ScoreCount]], calibrated: Callable[[str, str | None, float], float | None]
) -> list[ScoreDistribution]:
    groups: dict[tuple[ScoreKind, FeedbackSource], list[tuple[float, int]]] = {}
    for family, rows in counts.items():
        for row in rows:
            groups.setdefault((KIND_OF[row.source], row.source), []).append((row.score, row.n))
            if row.source == "judge" and (rating := calibrated(family, row.judge, row.score)) is not None:
                groups.setdefault(("calibrated", "judge"), []).append((rating, row.n))
    order: Sequence[tuple[ScoreKind, FeedbackSource]] = (
        ("judged", "judge"),
        ("calibrated", "judge"),
        ("labelled", "user"),
        ("labelled", "person"),
        ("reported", "system"),
    )
    return [distribution(kind, source, groups[kind, source]) for kind, source in order if (kind, source) in groups]


def _uncalibrated(counts: dict[str, list[ScoreCount]], judges: _Judges) -> list[UncalibratedScores]:
    rows = []
    for family, scores in counts.items():
        n = sum(
            row.n for row in scores if row.source == "judge" and judges.calibrated(family, row.judge, row.score) is None
        )
        if n:
            rows.append(UncalibratedScores(family=family, n=n, cause=judges.why(family)))
    return rows


def _success(minutes: Sequence[MinuteSums]) -> list[SuccessShare]:
    shares = []
    for source in KIND_OF:
        n = sum(row.n_success for row in minutes if row.source == source)
        n_success = sum(row.success_sum for row in minutes if row.source == source)
        if n:
            shares.append(SuccessShare(source=source, n_labelled=n, n_success=n_success, share=n_success / n))
    return shares


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
    since, names = now - _time(request.range), _families(context, request.family)
    declared = context.families().families
    with store.read() as tx:
        turns: list[Interaction] = []
        for name in names:
            # Under the family's masks a conversation may have another name than the one it was sent with
            masked = _masked(declared.get(name), request.conversation)
            turns += store.traffic.turns(tx, name, {request.conversation, masked}, since, now, MOST_TURNS + 1)
        turns.sort(key=lambda turn: (turn.received_at, turn.id))
        judges = _Judges(
            tx, store, (declared[name] for name in {turn.arm.family for turn in turns} if name in declared)
        )
        views = [
            _turn(turn, store.events.feedback_of(tx, turn.arm.family, turn.id), judges, declared.get(turn.arm.family))
            for turn in turns[:MOST_TURNS]
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


def _masked(family: Family | None, conversation: str) -> str:
    try:
        return conversation if family is None else str(Masker(family.privacy.rules).mask(conversation))
    except MaskTooSlow:  # so that no event with this name was taken either
        return conversation


def _turn(
    turn: Interaction, outcomes: Sequence[FeedbackEvent], judges: _Judges, family: Family | None
) -> ConversationTurn:
    scores = [_score(each, judges) for each in outcomes]
    score, scored_by = turn_score(scores)
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
        why_unscored=None if score is not None else _why_unscored(turn, family),
        outcomes=scores,
    )


def _score(outcome: FeedbackEvent, judges: _Judges) -> TurnScore:
    judge, reasoning = (
        outcome.tags.get(name) if outcome.source == "judge" else None for name in ("judge", "reasoning")
    )
    mapped = (
        judges.calibrated(outcome.arm.family, judge, outcome.score) if judge and outcome.score is not None else None
    )
    return TurnScore(
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
