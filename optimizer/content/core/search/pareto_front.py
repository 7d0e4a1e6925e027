"""Which replayed settings become candidates. Pure: figures in, settings out."""

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
    for setting in sorted(replayed, key=lambda r: (r.cost, -r.score)):
        if not front or setting.score > front[-1].score:
            front.append(setting)
    return front


def candidates(
    replayed: Sequence[ReplayedSetting], start: ReplayedSetting, aim: Aim, *, margin: float, n: int
) -> list[ReplayedSetting]:
    """At most ``n`` settings of the front, the most promising first.

    For quality the best scores; for cost the cheapest whose score is at most half of ``margin`` below the start's: the
    confirmation asks for "not lower by the whole of it" on its own examples, and the boldest setting here is mostly
    lucky on these.
    """
    front = pareto([setting for setting in replayed if setting.variant.id != start.variant.id])
    if aim == "quality":
        return sorted(front, key=lambda r: -r.score)[:n]
    return [setting for setting in front if setting.score >= start.score - margin / 2][:n]
