"""Which answers to live traffic a judge is asked about, and what of its dollars an hour is left; and which a person
should look at, so that there is something to learn from: disputed, low, or given without being sure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Literal, get_args

from optimizer.core.base.answers import Text
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import Budget
from optimizer.core.family.settings import MonitorSettings, ReviewSettings

MOST_DAYS = 3650  # back, for answers that are judged or rated


def is_sampled(interaction: str, judge: str, share: float) -> bool:
    """Drawn by a hash of both names, so that every answer has the same chance and the same answer the same luck.

    A larger share draws the same answers and others beside them; another judge draws anew.
    """
    return _luck(interaction, judge) < share * 2**64


def first_sampled(interactions: Sequence[str], judge: str, n: int) -> list[str]:
    """At most ``n`` of them, those that a growing share would draw first."""
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


def left_of_the_hour(monitor: MonitorSettings, spent_usd: float) -> Budget:
    """What may be spent now, where ``spent_usd`` was spent or reserved within the last hour."""
    return Budget(usd=max(0.0, monitor.usd_per_hour - spent_usd))


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
    """At most ``most`` of them, and at most one of each unit; none of a unit in ``known``.

    ``units``: unit by interaction; None: the unit is unknown.
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
    """Of the part whose answer went out."""
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
