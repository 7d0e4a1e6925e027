"""Replay: what a policy would have done with recorded items, for thousands of settings, without running the pipeline.

It uses the definitions that decide about one record (``pipeline.py``), on numpy columns. numpy is imported inside, so
that a process which only decides never loads it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import sqrt
from operator import attrgetter
from typing import Any

from optimizer.content.core.policy import filter
from optimizer.content.core.policy.filter import TIMES
from optimizer.content.core.policy.learned_knob import ContentScore
from optimizer.content.core.policy.pipeline import Pipeline
from optimizer.content.core.records.fields import CHECKPOINTS, FIELDS
from optimizer.content.core.search.score import WORTH
from optimizer.core.base.values import Aim
from optimizer.core.dataset.examples import Example
from optimizer.core.family.variant import Variant
from optimizer.core.views.study_front import pareto_front

MAX_KEPT = 256  # columns of bools
SHORT = 200  # characters of a text


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedShares:
    """What a setting does with a set of records. Shares are of all records.

    ``exit_shares``: by checkpoint. ``time_saved_share``: of the time that processing all of them in full takes.
    ``quality``: mean quality of what is processed in full (``n_full`` records), measured of ``n_judged`` of them; None
    of none. ``quality_error``: its standard error; None below two measured records.
    """

    n: int
    full_share: float
    lightweight_share: float
    early_exit_share: float
    exit_shares: Mapping[str, float]
    time_saved_share: float
    quality: float | None
    quality_error: float | None
    n_full: int
    n_judged: int

    @property
    def quality_margin(self) -> float | None:
        """Half the width of the quality's 95 % interval."""
        return None if self.quality_error is None else 1.96 * self.quality_error

    @property
    def score(self) -> float | None:
        """What a study scores (``score.py``): also what is not processed in full counts.

        None where something that is was not measured.
        """
        if self.n_judged < self.n_full:
            return None
        return self.full_share * (self.quality or 0.0) + WORTH * (1 - self.full_share)


@dataclass(slots=True)
class Records:
    """Recorded items as columns, made once by ``read_rows`` and replayed many times; results of
    conditions are kept.
    """

    n: int
    values: Mapping[str, Any]  # every number, a column of NaN where it was never recorded; texts where they were
    recorded: frozenset[str]  # fields with at least one value
    types: tuple[str, ...]
    codes: Any  # per record, the place of its content type in ``types``
    quality: Any  # NaN where not measured
    _columns: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def holds(self, condition: Any) -> Any:
        """Column of bools: where the condition holds."""
        import numpy as np

        return self.memoized(
            condition.text, lambda: np.broadcast_to(np.asarray(condition.column(self.values), dtype=bool), (self.n,))
        )

    def of_types(self, chosen: tuple[bool, ...]) -> Any:
        """Column of bools: whose content type is chosen (in the order of ``types``)."""
        import numpy as np

        return self.memoized(chosen, lambda: np.asarray(chosen, dtype=bool)[self.codes])

    def memoized(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The result of ``make``, computed once. A search that writes conditions of its own does not fill
        the memory.
        """
        if key not in self._columns:
            if len(self._columns) >= MAX_KEPT:
                self._columns.clear()
            self._columns[key] = make()
        return self._columns[key]


def read_rows(rows: Sequence[Mapping[str, Any]]) -> Records:
    """Items by field name, with ``quality`` (0 to 1, what the item turned out to be worth); None, or no such name, is
    not measured.
    """
    import numpy as np

    def numbers(name: str) -> Any:
        return np.asarray([row.get(name) for row in rows], dtype=float)

    values: dict[str, Any] = {}
    for known in FIELDS:
        if known.kind != "text":
            values[known.name] = numbers(known.name)
        elif known.name == "content_type" or any(known.name in row for row in rows):
            values[known.name] = _texts([row.get(known.name) for row in rows])
    values["duration_seconds"] = np.where(
        np.isnan(values["duration_seconds"]), values["duration"], values["duration_seconds"]
    )
    values["duration"] = values["duration_seconds"]
    overall = filter.overall_of(values)
    values["overall_quality"] = np.where(np.isnan(overall), values["overall_quality"], overall)
    named = np.asarray([str(row.get("content_type") or "") for row in rows], dtype=str)
    types, codes = np.unique(named, return_inverse=True)
    recorded = frozenset(
        name for name, column in values.items() if column.dtype.kind != "f" or (column == column).any()
    )
    return Records(
        n=len(rows),
        values=values,
        recorded=recorded,
        types=tuple(map(str, types)),
        codes=codes,
        quality=numbers("quality"),
    )


def records_of(examples: Sequence[Example]) -> Records:
    return read_rows([{**e.input, "quality": e.expected.get("quality")} for e in examples])


def subset(records: Records, chosen: Any) -> Records:
    """The records where ``chosen`` (a column of bools) is true; types keep their places."""
    return Records(
        n=int(chosen.sum()),
        values={name: column[chosen] for name, column in records.values.items()},
        recorded=records.recorded,
        types=records.types,
        codes=records.codes[chosen],
        quality=records.quality[chosen],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Where each record goes: columns of bools, of which exactly one is true for each record."""

    exits: Mapping[str, Any]
    lightweight: Any
    full: Any


def ways(records: Records, pipeline: Pipeline) -> Routes:
    """Where the policy sends each record."""
    import numpy as np

    exits: dict[str, Any] = {}
    left_before = np.zeros(records.n, dtype=bool)
    for checkpoint in CHECKPOINTS[:3]:
        exits[checkpoint] = _exits(records, pipeline, checkpoint) & ~left_before
        left_before = left_before | exits[checkpoint]
    light = _light(records, pipeline) & ~left_before
    left_before = left_before | light
    exits["post_analysis"] = _exits(records, pipeline, "post_analysis") & ~left_before
    return Routes(exits=exits, lightweight=light, full=~(left_before | exits["post_analysis"]))


def outcome(records: Records, pipeline: Pipeline) -> ReplayedShares:
    """What one setting does with the records."""
    return summary(records, ways(records, pipeline))


def summary(records: Records, routes: Routes) -> ReplayedShares:
    """Shares, time saved and quality of records that go these ways."""
    import numpy as np

    def share(column: Any) -> float:
        return float(np.count_nonzero(column)) / records.n if records.n else 0.0

    exits = {checkpoint: share(column) for checkpoint, column in routes.exits.items()}
    light, full = share(routes.lightweight), share(routes.full)
    spent = full * TIMES["full"] + light * TIMES["lightweight"] + sum(exits[c] * TIMES[c] for c in exits)
    quality, error, n_judged = _mean(records, routes.full)
    return ReplayedShares(
        n=records.n,
        full_share=full,
        lightweight_share=light,
        early_exit_share=sum(exits.values()),
        exit_shares=exits,
        time_saved_share=1 - spent,
        quality=quality,
        quality_error=error,
        n_full=int(np.count_nonzero(routes.full)),
        n_judged=n_judged,
    )


def _mean(records: Records, chosen: Any) -> tuple[float | None, float | None, int]:
    """Mean of the measured quality, its standard error, and how many were measured."""
    import numpy as np

    quality = records.quality[chosen]
    measured = ~np.isnan(quality)
    quality = quality[measured]
    n = len(quality)
    if not n:
        return None, None, 0
    return float(quality.mean()), float(quality.std(ddof=1)) / sqrt(n) if n > 1 else None, n


def _light(records: Records, pipeline: Pipeline) -> Any:
    modes = [pipeline.mode(name) for name in records.types]
    light = records.of_types(tuple(mode == "lightweight" for mode in modes))
    if "quality_check" not in modes or not pipeline.get("filter.enabled"):
        return light
    per_type = [pipeline.thresholds(name) for name in records.types]
    thresholds = {knob: _by_record(records, [own[knob] for own in per_type]) for knob in per_type[0]}
    bypassed = filter.is_bypassed(records.values, thresholds)
    score = pipeline.score
    if score is not None:
        # The score decides about the items that it knows, the filter about the others.
        import numpy as np

        key = (
            "score",
            *((name, scored_type.predictor.hash) for name, scored_type in sorted(score.types.items())),
        )
        scores = records.memoized(key, lambda: scores_of(records, score))
        full_from = _by_record(
            records,
            [score.types[name].full_from if name in score.types else np.nan for name in records.types],
        )
        bypassed = np.where(np.isnan(scores), bypassed, scores < full_from)
    return light | (records.of_types(tuple(mode == "quality_check" for mode in modes)) & bypassed)


def scores_of(records: Records, score: ContentScore) -> Any:
    """The learned score of each record; NaN where its type is unknown to the score, or it has no text."""
    import numpy as np

    nothing = [None] * records.n
    texts, titles = (records.values.get(name, nothing) for name in ("text", "title"))
    scores = np.full(records.n, np.nan)
    for i, (text, title) in enumerate(zip(texts, titles, strict=True)):
        scored = score.score(records.types[records.codes[i]], str(text), str(title or "")) if text else None
        scores[i] = np.nan if scored is None else scored
    return scores


def _by_record(records: Records, per_type: Sequence[float]) -> Any:
    """One number where all types share it, else a column."""
    import numpy as np

    return per_type[0] if len(set(per_type)) == 1 else np.asarray(per_type, dtype=float)[records.codes]


def _exits(records: Records, pipeline: Pipeline, checkpoint: str) -> Any:
    """Column of bools: where a condition that counts holds; types with the same conditions are taken together."""
    import numpy as np

    groups: dict[tuple[str, ...], list[int]] = {}
    conditions: dict[tuple[str, ...], list[Any]] = {}
    for place, name in enumerate(records.types):
        exits = pipeline.exits(checkpoint, name)
        texts = tuple(rule.condition.text for rule in exits)
        groups.setdefault(texts, []).append(place)
        conditions[texts] = [rule.condition for rule in exits]
    leaves = np.zeros(records.n, dtype=bool)
    for texts, places in groups.items():
        if not texts:
            continue
        holding = [records.holds(rule) for rule in conditions[texts]]
        any_holds = records.memoized(("any", *texts), partial(np.logical_or.reduce, holding))
        leaves |= (
            any_holds
            if len(groups) == 1
            else any_holds & records.of_types(tuple(i in places for i in range(len(records.types))))
        )
    return leaves


def _texts(column: Sequence[Any]) -> Any:
    """The column as texts where every one is there; else with None in between, which conditions take for missing."""
    import numpy as np

    texts = [str(text) if text else None for text in column]
    # An array of str takes four bytes of the longest text for each row.
    is_short = None not in texts and max(map(len, texts), default=0) <= SHORT  # type: ignore[arg-type]
    return np.asarray(texts, dtype=str if is_short else object)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedSetting:
    """A setting with its mean score and mean cost on the records that it was replayed on."""

    variant: Variant
    score: float
    cost: float


def candidates(
    replayed: Sequence[ReplayedSetting], start: ReplayedSetting, aim: Aim, *, margin: float, n: int
) -> list[ReplayedSetting]:
    """At most ``n`` settings of the front, the most promising first.

    For quality these are the best scores; for cost the cheapest whose score is at most half of ``margin`` below the
    start's. The confirmation asks for "not lower by the whole of it" on its own examples, and the boldest setting here
    is mostly lucky on these.
    """
    others = [setting for setting in replayed if setting.variant.id != start.variant.id]
    front = pareto_front(others, of=attrgetter("cost", "score"))
    if aim == "quality":
        return sorted(front, key=lambda r: -r.score)[:n]
    return [setting for setting in front if setting.score >= start.score - margin / 2][:n]
