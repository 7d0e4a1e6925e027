"""A point of a learned score: what is saved and what quality is kept at a threshold, which of two points is taken,
and what may score a content type at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from optimizer.content.core.search.learned_score import (
    CHARACTERS,
    LEAST_GROUPS,
    LEAST_OF_LENGTH,
    LEAST_ROWS,
    LENGTH,
    PLAIN,
    JudgedItem,
    LearnedScore,
    Method,
    destinations_of,
    items_by_type,
    quality_draws,
    records_of,
    ways_of,
)
from optimizer.content.core.search.replay import ReplayedShares, subset, summary
from optimizer.core.base.phrasing import count, signed, signed_interval
from optimizer.core.dataset.examples import Example

MOST_ROWS = 2000  # of a type: more hardly help, and take longer
SAME_SAVING = 0.005  # savings so near are compared by their quality


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringMethod:
    """One way to score: by type the method and what was learned. ``passes`` of ``at`` is by scores out of fold."""

    name: Method
    methods: Mapping[str, Method]
    learned: Mapping[str, LearnedScore]
    scores: Any  # per training record, out of fold; NaN without one


@dataclass(frozen=True, kw_only=True, eq=False)
class ScorePoint:
    """A way at one share of full processing, cross-fitted on training items."""

    way: ScoringMethod
    share: float
    outcome: ReplayedShares
    full: Any  # per training record, whether it is processed in full
    quality: Any
    groups: Sequence[str]

    @cached_property
    def draws(self) -> Any:
        """Bootstrap of its mean quality."""
        return quality_draws(self.quality, self.full, self.groups)

    @property
    def surely(self) -> float:
        """Mean quality less one standard error, so that a few lucky items do not win;
        -1 where nothing is processed in full.
        """
        return -1.0 if self.outcome.quality is None else self.outcome.quality - float(np.nanstd(self.draws))


def whole_groups(items: Sequence[JudgedItem], *, of: Sequence[JudgedItem], most: int) -> list[JudgedItem]:
    """Those ``of`` the items whose group is among them whole, at most so many:
    what is left of the items then has groups of its own.

    A predictor may score what is left, since it saw no item of their groups.
    """
    in_all = Counter(item.group for item in items)
    in_these = Counter(item.group for item in of)
    groups, n_taken = set(), 0
    for group, n in in_these.items():
        if n == in_all[group] and n_taken + n <= most:
            groups.add(group)
            n_taken += n
    return [item for item in of if item.group in groups]


def methods_of(items: Sequence[JudgedItem]) -> tuple[list[tuple[Method, Sequence[JudgedItem]]], str | None]:
    """What may score a type with these items, the richest last, each with the items to learn from;
    or nothing, and why.
    """
    if len(items) < LEAST_OF_LENGTH:
        return [], f"{count(len(items), 'item')} with text and quality, and {LEAST_OF_LENGTH} are needed"
    if len(items) < LEAST_ROWS:
        return [(LENGTH, items)], None
    released = whole_groups(items, of=[item for item in items if item.released], most=MOST_ROWS)
    if len(released) >= LEAST_ROWS and n_groups(released) >= LEAST_GROUPS:
        return [(PLAIN, released), (CHARACTERS, released)], None
    whole = whole_groups(items, of=items, most=MOST_ROWS)
    if n_groups(whole) >= LEAST_GROUPS:
        return [(PLAIN, whole)], None
    return [], (
        f"{count(len(items), 'item')} with text and quality stand in {count(n_groups(items), 'group')}, and"
        f" {LEAST_GROUPS} of at most {MOST_ROWS:,} items together are needed"
    )


def n_groups(items: Sequence[JudgedItem]) -> int:
    return len({item.group for item in items})


def untrained_in_words(train: Sequence[Example], policy: Mapping[str, Any]) -> str | None:
    """Which content types of the training items no score can serve, and what that costs; None where each has one."""
    measured = [e for e in train if e.expected.get("quality") is not None]
    by_type = items_by_type(measured)
    untrained = {name: why for name, items in sorted(by_type.items()) if (why := methods_of(items)[1]) is not None}
    if not untrained:
        return None
    records = records_of(measured)
    chosen = np.isin(records.codes, [records.types.index(name) for name in untrained])
    all_destinations = destinations_of(records, policy, [name for name in by_type if name not in untrained])
    as_served = summary(subset(records, chosen), ways_of(all_destinations.unscored, chosen))
    most = summary(records, all_destinations.of(np.where(chosen, np.nan, 0.0))).time_saved_share
    quality = "" if as_served.quality is None else f" at a mean quality of {as_served.quality:.2f}"
    return (
        f"No score can be learned for {'; '.join(f'{name}: {why}' for name, why in untrained.items())}. The champion's"
        f" routes and filter go on deciding about these types, {chosen.mean():.0%} of the items, and process"
        f" {as_served.full_share:.0%} of them in full{quality}; so at most {most:.1%} of the time can be saved. Import"
        f" more of them, of other groups, or set {' and '.join(f'route.{name}' for name in untrained)}."
    )


def simpler(points: Sequence[ScorePoint]) -> ScorePoint:
    """The plain statistics unless the learned score is better for sure:
    the 95 % interval of what it is better by lies above 0.
    """
    plain = next((point for point in points if point.way.name == PLAIN), None)
    rich = next((point for point in points if point.way.name != PLAIN), None)
    if plain is None or rich is None:
        return next(point for point in points)
    return rich if _better_by(rich, plain)[1] > 0 else plain


def reached(point: ScorePoint) -> str:
    quality = point.outcome.quality
    if quality is None:
        return f"{point.way.name} nothing in full"
    return f"{point.way.name} {quality:.3f}, less a standard error of {quality - point.surely:.3f}"


def _better_by(rich: ScorePoint, plain: ScorePoint) -> tuple[float, float, float]:
    apart = rich.draws - plain.draws
    low, high = (float(each) for each in np.nanquantile(apart, [0.025, 0.975]))
    return (rich.outcome.quality or 0.0) - (plain.outcome.quality or 0.0), low, high


def why_chosen(point: ScorePoint, beside: Sequence[ScorePoint]) -> str:
    quality = "not known" if point.outcome.quality is None else f"{point.outcome.quality:.3f}"
    summary = (
        f"{point.way.name} serves: on training items it has not seen it saves {point.outcome.time_saved_share:.1%} of"
        f" the time at a mean quality of {quality}"
    )
    rich, plain = (next((p for p in beside if (p.way.name == PLAIN) is is_plain), None) for is_plain in (False, True))
    if rich is None or plain is None:
        return (
            f"{summary}; {CHARACTERS} were not tried: words are learned from released items alone, {LEAST_ROWS} of a"
            " type (detent import --curated releases what you vouch for)."
        )
    better, low, high = _better_by(rich, plain)
    verdict = "better for sure" if low > 0 else "not better for sure, so the simpler one serves"
    return (
        f"{summary}. There {CHARACTERS} are {signed(better)} ({signed_interval(low, high)}) beside {PLAIN}: {verdict}."
    )
