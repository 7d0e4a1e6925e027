"""The training rows of a learned content score, the training result, and its effect on unseen items.

Training needs scikit-learn and so lies in ``content/adapters/replay_search.py``; what is decided with it is decided
here and in ``score_strategy.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from optimizer.content.core.policy.learned_knob import SCORE
from optimizer.content.core.policy.pipeline import parse_pipeline
from optimizer.content.core.policy.route import is_type_name
from optimizer.content.core.search.replay import (
    Records,
    ReplayedShares,
    Routes,
    records_of,
    subset,
    summary,
    ways,
)
from optimizer.core.dataset.examples import Example

LEAST_ROWS = 100  # of a type, for a predictor of its own
LEAST_GROUPS = 5  # of such a type's items, so that the predictor can be measured on items that it has not seen
LEAST_OF_LENGTH = 10  # with fewer rows than LEAST_ROWS only the length scores; with fewer than these, nothing does
N_DRAWS = 1000
SEED = 11  # of the bootstrap
Method = Literal["characters and statistics", "25 statistics", "length"]
CHARACTERS: Method = "characters and statistics"
PLAIN: Method = "25 statistics"
LENGTH: Method = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedItem:
    """One text whose worth is known.

    ``row`` is its place in the records; items of one ``group`` are never on both sides of a fold.
    """

    row: int
    text: str
    title: str
    quality: float
    group: str
    released: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedScore:
    """``predictor`` as data. ``out_of_fold``: for each item the score by a predictor that saw neither it
    nor its group.
    """

    predictor: Mapping[str, Any]
    out_of_fold: tuple[float, ...]


class LearnScore(Protocol):
    def __call__(
        self, items: Sequence[JudgedItem], method: Method, *, trained_on: Mapping[str, Any], seed: int
    ) -> LearnedScore:
        """Trains; equal arguments give equal results. Raises DatasetTooSmall where the items have fewer than five
        groups.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeResult:
    """What a policy does with the items of one content type (``all``: of every one).

    ``low`` and ``high``: 95 %, bootstrap over groups; None: too few.
    """

    type: str
    n: int
    n_full: int
    saved: float
    quality: float | None
    low: float | None
    high: float | None
    decided_by: str


def items_by_type(examples: Sequence[Example]) -> dict[str, list[JudgedItem]]:
    """Texts whose quality is known, by content type; types that no knob could name are left out."""
    by_type: dict[str, list[JudgedItem]] = {}
    for row, example in enumerate(examples):
        name, text = str(example.input.get("content_type") or ""), example.input.get("text")
        if not (isinstance(text, str) and text and is_type_name(name)):
            continue
        item = JudgedItem(
            row=row,
            text=text,
            title=str(example.input.get("title") or ""),
            quality=float(example.expected["quality"]),
            group=group_of(example),
            released=example.released,
        )
        by_type.setdefault(name, []).append(item)
    return by_type


def group_of(example: Example) -> str:
    """The item's group; without one, items of one title belong together.

    Answers to one question are marked against one another.
    """
    title = example.input.get("title")
    return f"title {title}" if title and example.group.startswith("in_") else example.group


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Where each record goes if its score passes, if it does not, and if it has none."""

    passed: Routes
    failed: Routes
    unscored: Routes

    def of(self, passes: Any) -> Routes:
        """``passes``: a column, 1 passed, 0 failed, NaN for records without a score."""
        import numpy as np

        unknown = np.isnan(passes)

        def chosen(a: Any, b: Any, c: Any) -> Any:
            return np.where(unknown, c, np.where(passes == 1, a, b))

        a, b, c = self.passed, self.failed, self.unscored
        return Routes(
            exits={name: chosen(a.exits[name], b.exits[name], c.exits[name]) for name in a.exits},
            lightweight=chosen(a.lightweight, b.lightweight, c.lightweight),
            full=chosen(a.full, b.full, c.full),
        )


def destinations_of(records: Records, policy: Mapping[str, Any], types: Sequence[str]) -> Destinations:
    """Where each record goes by its score under the rest of a policy, computed once for all thresholds."""
    # A score that serves now is no part of the next one.
    rest = {name: value for name, value in policy.items() if name != SCORE}
    modes = {mode: {f"route.{name}": mode for name in types} for mode in ("full", "lightweight", "quality_check")}
    passed, failed, unscored = (ways(records, parse_pipeline({**rest, **routes})) for routes in modes.values())
    return Destinations(passed=passed, failed=failed, unscored=unscored)


def results_by_type(
    examples: Sequence[Example], policy: Mapping[str, Any], methods: Mapping[str, str]
) -> list[TypeResult]:
    """What the policy does with these items, all together and by type, as it would be served.

    Args:
        methods: what scores a type, by its name; the filter decides about the others.
    """
    import numpy as np

    records, pipeline = records_of(examples), parse_pipeline(policy)
    went, groups = ways(records, pipeline), [group_of(e) for e in examples]
    results = [_result("all", records, went, groups, "")]
    for code, name in enumerate(records.types):
        chosen = records.codes == code
        its = [groups[i] for i in np.flatnonzero(chosen)]
        mode = pipeline.mode(name)
        decided_by = methods.get(name, "filter, not trained") if mode == "quality_check" else f"route {mode}"
        results.append(_result(name, subset(records, chosen), ways_of(went, chosen), its, decided_by))
    return results


def _result(name: str, records: Records, went: Routes, groups: Sequence[str], decided_by: str) -> TypeResult:
    import numpy as np

    did: ReplayedShares = summary(records, went)
    draws = quality_draws(records.quality, went.full, groups)
    known = draws[~np.isnan(draws)]
    few = did.n_judged < 2 or not len(known)
    low, high = (None, None) if few else (float(each) for each in np.quantile(known, [0.025, 0.975]))
    return TypeResult(
        type=name,
        n=did.n,
        n_full=did.n_full,
        saved=did.time_saved_share,
        quality=did.quality,
        low=low,
        high=high,
        decided_by=decided_by,
    )


def ways_of(went: Routes, chosen: Any) -> Routes:
    return Routes(
        exits={name: column[chosen] for name, column in went.exits.items()},
        lightweight=went.lightweight[chosen],
        full=went.full[chosen],
    )


def quality_draws(quality: Any, full: Any, groups: Sequence[str]) -> Any:
    """Mean quality of what is processed in full, in 1,000 samples of whole groups (Efron 1979).

    The same groups give the same samples.
    """
    import numpy as np

    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    judged = np.asarray(full, dtype=bool) & ~np.isnan(quality)
    worth = np.bincount(codes, weights=np.where(judged, quality, 0.0), minlength=len(names))
    counts = np.bincount(codes, weights=judged, minlength=len(names))
    counts_drawn = np.random.default_rng(SEED).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=N_DRAWS
    )
    n = counts_drawn @ counts
    return np.where(n > 0, (counts_drawn @ worth) / np.where(n > 0, n, 1), np.nan)
