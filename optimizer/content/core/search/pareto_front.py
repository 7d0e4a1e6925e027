"""Settings that were replayed, and which of them deserve to be candidates. Pure: figures in, settings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.core.base.values import Aim
from optimizer.core.family.variant import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedSetting:
    """A setting with its mean score and mean cost on the records that it was replayed on."""

    variant: Variant
    score: float
    cost: float


def pareto(replayed: Sequence[ReplayedSetting]) -> list[ReplayedSetting]:
    """Those that none beats in score and cost at once, the cheapest first; the first of equals."""
    front: list[ReplayedSetting] = []
    for one in sorted(replayed, key=lambda r: (r.cost, -r.score)):
        if not front or one.score > front[-1].score:
            front.append(one)
    return front


def candidates(
    replayed: Sequence[ReplayedSetting], start: ReplayedSetting, aim: Aim, *, margin: float, n: int
) -> list[ReplayedSetting]:
    """At most ``n`` settings of the front, the most promising first.

    For quality the best scores; for cost the cheapest whose score is at most half of ``margin`` below the start's: the
    confirmation asks for "not lower by the whole of it" on its own examples, and the boldest setting here is mostly
    lucky on these.
    """
    front = pareto([one for one in replayed if one.variant.id != start.variant.id])
    if aim == "quality":
        return sorted(front, key=lambda r: -r.score)[:n]
    return [one for one in front if one.score >= start.score - margin / 2][:n]
