"""Which answers to live traffic a judge is asked about, and what of its dollars an hour is left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import Budget
from optimizer.core.family.judge_settings import MonitorSettings

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
    text = f"{judge}\x00{interaction}"
    return int.from_bytes(sha256(text.encode(errors="surrogatepass")).digest()[:8], "big")


def left_of_the_hour(monitor: MonitorSettings, spent_usd: float) -> Budget:
    """What may be spent now, where ``spent_usd`` was spent or reserved within the last hour."""
    return Budget(usd=max(0.0, monitor.usd_per_hour - spent_usd))
