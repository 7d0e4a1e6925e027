"""How good answers were, as people see it: scores by band and by who gave them, and a conversation turn by turn.

A score that is not there is None, never 0, and so is the share or the mean of no scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import fsum
from typing import Annotated, Literal

from pydantic import Field

from optimizer.core.base.answers import Json, Text
from optimizer.core.feedback.events import FeedbackEvent, FeedbackSource

BANDS = ((0.95, 1.0), (0.90, 0.95), (0.80, 0.90), (0.0, 0.80))  # each without its upper edge, but for the first
ScoreKind = Literal["judged", "calibrated", "labelled", "reported"]
KIND_OF: dict[FeedbackSource, ScoreKind] = {
    "judge": "judged",
    "user": "labelled",
    "person": "labelled",
    "system": "reported",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCount:
    """``n`` events with the same score, of one source and, where a judge gave it, one judge: its name, or its
    ``judge_mark``.
    """

    source: FeedbackSource
    judge: str | None
    score: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreBand:
    """Scores from ``low`` up to ``high``, of which only 1 itself belongs to its band; ``share`` of all scores."""

    low: float
    high: float
    n: int
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDistribution:
    """Of one kind and source.

    ``judged``: as a judge gave them; ``calibrated``: the same scores, as far as they are of a calibrated judge, mapped
    to the ratings that people would give; ``labelled``: by users and persons; ``reported``: by applications.
    """

    kind: ScoreKind
    source: FeedbackSource
    n: int
    mean: float | None
    bands: Sequence[ScoreBand]


def distribution(
    kind: ScoreKind, source: FeedbackSource, scores: Iterable[tuple[float, int]], *, sum_of_scores: float | None = None
) -> ScoreDistribution:
    """Args: scores: (score in [0, 1], how many have it); sum_of_scores: with all digits, where these have fewer."""
    counts = list(scores)
    n = sum(k for _, k in counts)
    bands = []
    for low, high in BANDS:
        n_band = sum(k for score, k in counts if low <= score and (score < high or high == 1.0))
        bands.append(ScoreBand(low=low, high=high, n=n_band, share=n_band / n if n else None))
    total = fsum(score * k for score, k in counts) if sum_of_scores is None else sum_of_scores
    mean = total / n if n else None
    return ScoreDistribution(kind=kind, source=source, n=n, mean=mean, bands=bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessShare:
    """Outcomes that say whether an answer was good, of one source."""

    source: FeedbackSource
    n_labelled: int
    n_success: int
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityIssue:
    """What was found fault with, and how often. ``found_by``: the ``label`` of an outcome, a ``check`` of a policy, or
    a ``judge`` that saw words to itself in an answer.
    """

    found_by: Literal["label", "check", "judge"]
    issue: Text[str]
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFigures:
    """``cost_per_query_usd``: over the ``n_with_cost`` interactions of which a cost is known; None where of none."""

    n_interactions: int
    n_errors: int
    n_with_cost: int
    cost_usd: float | None
    cost_per_query_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage(UsageFigures):
    """``model`` is None where the interaction names none."""

    model: str | None
    mean_latency_ms: float | None
    p95_latency_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UncalibratedScores:
    """Why the scores of a family's judge are not among the calibrated ones; ``n``: how many are of this time."""

    family: str
    n: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityAnalytics(UsageFigures):
    """Of the events received from ``since`` until ``until``.

    All but labels are sums, which end at ``summed_until`` (None: nothing is summed up yet, so that scores and issues
    are read from the events); scores are told apart to .0001. ``issues``: the most frequent first; ``n_checked``: the
    interactions of policies whose checks are among them.
    """

    since: datetime
    until: datetime
    summed_until: datetime | None
    families: Sequence[str]
    scores: Sequence[ScoreDistribution]
    uncalibrated: Sequence[UncalibratedScores]
    success: Sequence[SuccessShare]
    issues: Sequence[QualityIssue]
    n_checked: int
    models: Sequence[ModelUsage]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnScore:
    """One outcome of a turn. ``calibrated``: the judge's score mapped to a rating; None where that judge is not
    calibrated. ``reasoning``: what the judge said.
    """

    kind: ScoreKind
    source: FeedbackSource
    received_at: datetime
    score: float | None
    success: bool | None
    calibrated: float | None
    judge: str | None
    reasoning: Text[str | None]
    label: Text[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LowValue:
    """An outcome with a low ``value`` in [0, 1]: its score, or 1 and 0 for success and failure."""

    event: str
    interaction: str
    source: FeedbackSource
    value: float
    label: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationScore:
    """``mean`` of the ``n`` scores that the turns of a conversation got in a time."""

    conversation: str
    n: int
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownInteraction:
    """What was asked and answered, as far as it is kept."""

    interaction: str
    family: str
    variant: str | None
    model: str | None
    received_at: datetime
    input: Text[Mapping[str, Json] | None]
    output: Text[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LowAnswer(ShownInteraction):
    """An answer that an outcome found fault with. ``expected``: what feedback last said that it should have been; None
    where none did.
    """

    value: float
    source: FeedbackSource
    label: Text[str | None]
    expected: Text[Mapping[str, Json] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LowestAnswers:
    """Of outcomes received from ``since`` until ``until``, the lowest first, of each answer the lowest.
    ``looked_back_to``: later than ``since`` where there are more outcomes than are compared. ``n_sealed``: so many are
    not shown, since the sealed holdout asks the same.
    """

    family: str
    since: datetime
    until: datetime
    looked_back_to: datetime
    n_sealed: int
    items: Sequence[LowAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationTurn(ShownInteraction):
    """One interaction of a conversation. ``score``: the mean of what people said where they did, else the judge's,
    mapped where it is calibrated, else what the application reported; ``scored_by`` says which. Where there is none,
    ``why_unscored`` is a sentence. ``sealed``: the sealed holdout asks the same, so its texts are not shown.
    """

    latency_ms: float | None
    cost_usd: float | None
    error: Text[str | None]
    failed: bool
    score: float | None
    scored_by: ScoreKind | None
    why_unscored: str | None
    outcomes: Sequence[TurnScore]
    sealed: Annotated[bool, Field(exclude_if=lambda sealed: not sealed)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationQuality:
    """Turns received from ``since`` on, oldest first; ``is_cut``: there are more than the newest 200, which are shown.
    ``mean_score`` and ``lowest_score``: of the turns that are scored.
    """

    conversation: Text[str]
    since: datetime
    until: datetime
    n_scored: int
    mean_score: float | None
    lowest_score: float | None
    cost_usd: float | None
    is_cut: bool
    turns: Sequence[ConversationTurn]


def turn_score(outcomes: Sequence[TurnScore]) -> tuple[float | None, ScoreKind | None]:
    """The score of a turn and whose it is; success counts as 1 or 0 where a person gave no score."""
    labels = [value for each in outcomes if each.kind == "labelled" and (value := value_of(each)) is not None]
    if labels:
        return fsum(labels) / len(labels), "labelled"
    judged = [each for each in outcomes if each.kind == "judged" and each.score is not None]
    if judged:
        latest = judged[-1]
        return (latest.calibrated, "calibrated") if latest.calibrated is not None else (latest.score, "judged")
    reported = [value for each in outcomes if each.kind == "reported" and (value := value_of(each)) is not None]
    return (reported[-1], "reported") if reported else (None, None)


def value_of(outcome: TurnScore | FeedbackEvent) -> float | None:
    """Its score, else 1 for a success and 0 for a failure; None where it says neither."""
    if outcome.score is not None:
        return outcome.score
    return None if outcome.success is None else float(outcome.success)
