"""Which answers to live traffic a judge scores, and which a person should look at: disputed, low or unsure ones.

What people's ratings say of all judged answers rests on the answers that were drawn at random, each with its stored
probability, so that only chance decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, get_args

from typing_extensions import TypedDict

from optimizer.core.base.answers import Text
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import Interval
from optimizer.core.family.settings import ReviewSettings
from optimizer.core.statistics.prediction_powered import LEAST_RATINGS, PoweredMean, RatedAnswer, powered_mean

NEXT = 50  # ratings, of which is said what they would narrow


class ReviewPayload(TypedDict, total=False):
    """Why it is asked, by kind: of an example what it is and who sent it; of an answer in doubt what the doubt is; of
    a drawn one how it was drawn.
    """

    example: str
    split: str
    sent_by: str
    doubt: str
    why: str
    draw: str
    judge: str
    since: str
    until: str
    frame: int
    n: int
    inclusion: float
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAnswer:
    """An interaction with its judge's score in [0, 1], and when that was received."""

    interaction: str
    score: float
    judged_at: datetime
    variant: str | None = None
    unit_hmac: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """``n`` of ``frame`` answers that were judged in [since, until) and not drawn before, each with the same chance."""

    id: str
    judge: str
    since: datetime
    until: datetime
    frame: int
    n: int

    @property
    def inclusion(self) -> float:
        return self.n / self.frame

    def payload(self, place: int) -> ReviewPayload:
        """The payload of the review of the ``place``-th drawn answer, from 0; ``drawn_of`` reads it."""
        return {
            "draw": self.id,
            "judge": self.judge,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "frame": self.frame,
            "n": self.n,
            "place": place,
            "inclusion": self.inclusion,
            "why": f"drawn at random, {place + 1} of {self.n}: how good is it, from 0 to 1?",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnAnswer:
    """``rating`` in [0, 1]; None: not answered yet, or (``is_unrated``) a person could not tell."""

    draw: Draw
    place: int
    interaction: str
    rating: float | None = None
    is_unrated: bool = False

    @property
    def is_answered(self) -> bool:
        return self.rating is not None or self.is_unrated


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedFigure:
    """What is known of the quality of the judged answers.

    ``found`` None: it cannot be told, and ``why_not`` says why, as a sentence. ``interval`` is that of ``found``, made
    wider for answers that people could not rate.
    """

    n_judged: int
    judge_mean: float | None
    n_rated: int
    n_unrated: int
    n_waiting: int  # drawn and not answered
    found: PoweredMean | None = None
    interval: Interval | None = None
    width_after_next: float | None = None
    why_not: str | None = None


def drawn_of(subject: str, payload: ReviewPayload, answer: str | None) -> DrawnAnswer:
    """A review that ``Draw.payload`` described, with its answer: a number, or anything else for "cannot tell"."""
    draw = Draw(
        id=payload["draw"],
        judge=payload["judge"],
        since=datetime.fromisoformat(payload["since"]),
        until=datetime.fromisoformat(payload["until"]),
        frame=payload["frame"],
        n=payload["n"],
    )
    rating = rating_of(answer)
    return DrawnAnswer(
        draw=draw,
        place=payload["place"],
        interaction=subject,
        rating=rating,
        is_unrated=answer is not None and rating is None,
    )


def rating_of(answer: str | None) -> float | None:
    """A number from 0 to 1 as people type it; None for anything else."""
    try:
        rating = float(answer) if answer is not None else -1.0
    except ValueError:
        return None
    return rating if 0 <= rating <= 1 else None


def draw_interactions(interactions: Sequence[str], n: int, *, seed: str) -> list[str]:
    """``n`` of them in the order of a hash that the seed salts: which ones cannot be foreseen, and can be repeated."""
    return sorted(interactions, key=lambda each: sha256(f"{seed} {each}".encode()).digest())[:n]


def windows_of(drawn_answers: Sequence[DrawnAnswer], judge: str) -> list[tuple[datetime, datetime]]:
    """The times of which answers of this judge were drawn, none twice, in order."""
    windows: list[tuple[datetime, datetime]] = []
    for since, until in sorted(
        {(each.draw.since, each.draw.until) for each in drawn_answers if each.draw.judge == judge}
    ):
        if windows and since <= windows[-1][1]:
            windows[-1] = (windows[-1][0], max(until, windows[-1][1]))
        else:
            windows.append((since, until))
    return windows


def figure_by_sums(
    n_judged: int,
    mean: float | None,
    judged: Sequence[JudgedAnswer],
    drawn_answers: Sequence[DrawnAnswer],
    *,
    judge: str,
) -> JudgedFigure:
    """The mean rating of the answers that this judge scored while answers were drawn.

    Of each draw only the leading answers count, up to the first that waits: they are a random sample, whenever they are
    answered, and those that a person picked out of the middle are not. Answers that could not be rated count as 0 for
    the lower end and as 1 for the upper one.

    Args:
        n_judged, mean: of all answers that this judge scored within ``windows_of``.
        judged: those of them that were drawn; others do not matter.
    """
    draws = {each.draw.id: each.draw for each in drawn_answers if each.draw.judge == judge}
    ordered = sorted(draws.values(), key=lambda draw: (draw.until, draw.id))
    leading = [each for draw in ordered for each in _leading([d for d in drawn_answers if d.draw.id == draw.id])]
    n_answered = {draw.id: sum(each.draw.id == draw.id for each in leading) for draw in ordered}
    population = {
        each.interaction: each
        for each in judged
        if any((draw.since <= each.judged_at < draw.until) for draw in ordered)
    }
    counted = [each for each in leading if each.interaction in population]
    waiting = sum(not each.is_answered for each in drawn_answers if each.draw.id in draws)
    known: dict[str, Any] = {
        "n_judged": n_judged,
        "judge_mean": mean,
        "n_rated": sum(each.rating is not None for each in counted),
        "n_unrated": sum(each.is_unrated for each in counted),
        "n_waiting": waiting,
    }
    if mean is None:
        return JudgedFigure(**known, why_not=_why_not(known, draws))

    def powered(unrated: float | None) -> PoweredMean | None:
        """The figure with the answers that could not be rated as ``unrated``; None: without them."""
        rated = [
            RatedAnswer(score=answer.score, rating=rating, inclusion=inclusion(answer, ordered, n_answered))
            for each in counted
            if (rating := unrated if each.rating is None else each.rating) is not None
            and (answer := population[each.interaction])
        ]
        return powered_mean(mean, n_judged, rated)

    middle, low, high = powered(None), powered(0.0), powered(1.0)
    if middle is None or low is None or high is None:
        return JudgedFigure(**known, why_not=_why_not(known, draws))
    return JudgedFigure(
        **known,
        found=middle,
        interval=Interval(lower=low.interval.lower, upper=high.interval.upper),
        width_after_next=middle.width_after(NEXT),
    )


def inclusion(answer: JudgedAnswer, draws: Sequence[Draw], n_answered: Mapping[str, int]) -> float:
    """The probability with which an answer came to be drawn and counted.

    It is over all draws in their order: each took from what those before had left.
    """
    chance_left, total = 1.0, 0.0
    for draw in draws:
        if draw.since <= answer.judged_at < draw.until:
            total += chance_left * n_answered[draw.id] / draw.frame
            chance_left *= 1 - draw.inclusion
    return total


def _leading(of_draw: Sequence[DrawnAnswer]) -> list[DrawnAnswer]:
    answered = []
    for each in sorted(of_draw, key=lambda answer: answer.place):
        if not each.is_answered:
            break
        answered.append(each)
    return answered


def _why_not(known: Mapping[str, Any], draws: Mapping[str, Draw]) -> str:
    if not draws:
        return "no answers of this judge were drawn for rating"
    waiting = f", and {known['n_waiting']} wait" if known["n_waiting"] else ""
    return (
        f"{known['n_rated']} answers drawn at random are rated in the order in which they were drawn, and an interval"
        f" needs {LEAST_RATINGS}{waiting}"
    )


MOST_DAYS = 3650  # back, for answers that are judged or rated


def is_sampled(interaction: str, judge: str, share: float) -> bool:
    """Drawn by a hash of both names, so that every answer has the same chance and the same answer the same luck.

    A larger share draws the same answers and others beside them; another judge draws anew.
    """
    return _luck(interaction, judge) < share * 2**64


def first_sampled(interactions: Sequence[str], judge: str, n: int) -> list[str]:
    """At most ``n`` interactions: those that a growing share would draw first."""
    return sorted(interactions, key=lambda id: (_luck(id, judge), id))[:n]


def span_of(days: float, act: str) -> timedelta:
    """How far back answers are looked for. ``act``: what is done with them, such as judged; of the error's sentence.

    Raises InvalidInput for days that are not above 0, or more than ``MOST_DAYS``.
    """
    if not 0 < days <= MOST_DAYS:
        raise InvalidInput(
            f"Answers of the last {days:g} days cannot be {act}; give a number of days above 0, at most {MOST_DAYS}."
        )
    return timedelta(days=days)


def _luck(interaction: str, judge: str) -> int:
    return int.from_bytes(sha256(f"{judge}\x00{interaction}".encode(errors="surrogatepass")).digest()[:8], "big")


UncertaintyKind = Literal["disputed", "low", "unsure"]
UNCERTAINTIES: tuple[UncertaintyKind, ...] = get_args(UncertaintyKind)  # the most telling first
DISPUTED = 0.5  # difference of two sources' means, each in [0, 1]
UNIT_DAYS = 7.0  # in which a unit is picked at most once


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledInteraction:
    """What is known of an interaction.

    ``low`` and ``high``: the least and the largest mean of a source's outcomes, in [0, 1]; None: no outcome.
    ``confidence``: of the answer that went out, where a policy executed it.
    ``is_corrected``: a user said what the output should have been.
    """

    interaction: str
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    is_corrected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertainAnswer:
    """An interaction and why a person should look at it. ``why`` has figures and no text of a user."""

    interaction: str
    doubt: UncertaintyKind
    why: Text[str]


def uncertain_answers(seen: Iterable[SampledInteraction], settings: ReviewSettings) -> list[UncertainAnswer]:
    """The interactions worth a look: disputed ones first, then low, then unsure ones.

    Among equals a hash gives the order, so that no person chooses it. A corrected one waits for its release already,
    and is left out.
    """
    uncertain = [
        answer for each in seen if not each.is_corrected and (answer := _uncertainty(each, settings)) is not None
    ]
    return sorted(
        uncertain, key=lambda answer: (UNCERTAINTIES.index(answer.doubt), sha256(answer.interaction.encode()).digest())
    )


def first_of_units(
    uncertain: Sequence[UncertainAnswer], units: Mapping[str, str | None], *, known: Collection[str], most: int
) -> list[UncertainAnswer]:
    """At most ``most`` of them, at most one of each unit, and none of a unit in ``known``.

    ``units``: interaction -> unit; None: the unit is unknown.
    """
    chosen: list[UncertainAnswer] = []
    seen = set(known)
    for answer in uncertain:
        unit = units.get(answer.interaction)
        if len(chosen) < most and answer.interaction in units and (unit is None or unit not in seen):
            chosen.append(answer)
            seen |= {unit} if unit is not None else set()
    return chosen


def confidence_of_parts(parts: Sequence[Mapping[str, Any]] | None) -> float | None:
    """The confidence of the part whose answer was delivered."""
    sure = next((part.get("confidence") for part in parts or () if part.get("taken")), None)
    return float(sure) if isinstance(sure, int | float) else None


def _uncertainty(each: SampledInteraction, settings: ReviewSettings) -> UncertainAnswer | None:
    if each.low is not None and each.high is not None and each.high - each.low >= DISPUTED:
        why = f"sources disagree: from {each.low:.2f} to {each.high:.2f}"
        return UncertainAnswer(interaction=each.interaction, doubt="disputed", why=why)
    if each.low is not None and each.low < settings.score_below:
        return UncertainAnswer(
            interaction=each.interaction, doubt="low", why=f"scored {each.low:.2f}, below {settings.score_below:g}"
        )
    if each.confidence is not None and each.confidence < settings.confidence_below:
        why = f"sure to {each.confidence:.2f} only, below {settings.confidence_below:g}"
        return UncertainAnswer(interaction=each.interaction, doubt="unsure", why=why)
    return None
