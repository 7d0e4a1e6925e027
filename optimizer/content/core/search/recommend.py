"""Recommended thresholds from collected records: a search by replay, confirmed on records that it did not see."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import TypedDict

from optimizer.content.core.policy import filter
from optimizer.content.core.policy.files import write_optimal
from optimizer.content.core.policy.pipeline import parse_pipeline
from optimizer.content.core.policy.presets import PRESETS
from optimizer.content.core.policy.route import MODES, is_type_name
from optimizer.content.core.records.fields import CHECKPOINTS, OTHER_NAMES
from optimizer.content.core.search.replay import Records, ReplayedShares, outcome, read_rows, subset
from optimizer.content.core.search.sensitivity import values_to_try
from optimizer.core.base.answers import Json
from optimizer.core.base.errors import DatasetTooSmall

MIN_ITEMS = 100
MIN_TYPES = 3
MIN_OF_TYPE = 30  # records that a content type needs for numbers of its own
MIN_FULL = 10  # judged records behind a mean quality that may win
N_VALUES = 13
TOLERANCE = 0.02  # of the time saved: a setting that just suffices on one half may fall short on the other
# Of the time of full processing. The most keeps the search from a handful of items that happen to be excellent.
TIME_SAVED = (0.65, 0.80)
N_DRAWN = 400
SEED = 1  # of the settings drawn: the same records give the same policy
N_POLISHED = 4
PASSES = 3  # over all knobs; a pass that changes nothing ends the search


class ShownShares(TypedDict):
    """``ReplayedShares`` as the evidence has them, rounded."""

    time_saved: float | None
    quality: float | None
    quality_standard_error: float | None
    n_judged: int
    bypass_rate: float | None
    early_exit_rate: float | None
    full_share: float | None


class RecommendationEvidence(TypedDict):
    """The evidence for a recommendation, as its file has it."""

    n_items: int
    n_searched_on: int
    n_kept_back: int
    n_settings_tried: int
    items_by_content_type: Mapping[str, int]
    exits_by_checkpoint: Mapping[str, int]
    checkpoints_not_seen: Sequence[str]
    time_saved_wanted: Sequence[float]
    changed: Mapping[str, Json]
    not_varied: Sequence[str]
    before: ShownShares
    after: ShownShares
    is_better: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRecommendation:
    """The policy, and what it did on records that were kept back, beside what the one before did there.

    ``is_better``: on the kept records it saves what was asked for, and its quality is not below the present one's;
    false where either was not measured.
    """

    policy: Mapping[str, Json]
    changed: Mapping[str, Json]
    before: ReplayedShares
    after: ReplayedShares
    is_better: bool
    evidence: RecommendationEvidence

    @property
    def optimal_config(self) -> dict[str, Any]:
        """Plain data of optimal_config.yaml."""
        return write_optimal(self.policy, self.evidence)


def record_of(reported: Mapping[str, Any]) -> dict[str, Any]:
    """A collected outcome, as ``POST /api/performance/record`` has it, as a record that can be replayed.

    ``quality_score`` is what the item turned out to be worth;
    where no quality of the filter was reported, it is that too.
    """
    record = dict(reported)
    score = reported.get("quality_score")
    if score is not None:
        record.setdefault("quality", score)
        if all(reported.get(part) is None for part in filter.WEIGHTS):
            record.setdefault("overall_quality", score)
    return record


def recommend(
    collected: Sequence[Mapping[str, Any]],
    *,
    present: Mapping[str, Any] | None = None,
) -> PipelineRecommendation:
    """Thresholds and routes with the best quality of what is processed in full, where so much of the time is saved.

    The search uses every second record of each content type, and varies only knobs whose value the records carry. A
    setting is judged by its mean quality less one standard error, so that a few lucky items do not win. The other half
    of the records says what it is worth.

    Args:
        collected: one mapping per item: the fields of a record, ``quality`` or ``quality_score``, ``exit_checkpoint``.
        present: the policy in force; None: the balanced preset.
    Raises:
        DatasetTooSmall: names everything that is missing: items, content types, quality.
    """
    import numpy as np

    rows = [record_of(row) for row in collected]
    require_enough(rows)
    exits_at = [str(named) for row in rows if (named := row.get("exit_checkpoint"))]
    n_exits = {c: sum(OTHER_NAMES.get(named, named) == c for named in exits_at) for c in CHECKPOINTS}
    seen_exits = tuple(c for c, n in n_exits.items() if n)
    policy = dict(PRESETS["balanced"].policy if present is None else present)
    records = read_rows(rows)
    # Every second record of each content type, in the order given, and the others.
    order = np.argsort(records.codes, kind="stable")
    is_seen = np.zeros(records.n, dtype=bool)
    is_seen[order[::2]] = True
    seen, held_out = subset(records, is_seen), subset(records, ~is_seen)
    best_policy, n_tried = search(seen, policy, TIME_SAVED, checkpoints=seen_exits)
    before, after = (outcome(held_out, parse_pipeline(each)) for each in (policy, best_policy))
    is_better = (
        after.time_saved_share >= TIME_SAVED[0] - TOLERANCE
        and after.quality is not None
        and before.quality is not None
        and after.quality >= before.quality
    )
    changed = {knob: value for knob, value in best_policy.items() if policy.get(knob) != value}
    note = "before and after are measured on the items kept back, by replay; times of early exits are a model"
    unmeasured = [name for name, each in (("before", before), ("after", after)) if each.quality is None]
    if unmeasured:
        note += f"; no judged item is processed in full {' and '.join(unmeasured)}, so no quality could be compared"
    if any(row.get("quality") is None for row in collected) and "overall_quality" in records.recorded:
        note += (
            "; of items that were only reported the quality is the pipeline's own score, which the thresholds are"
            " compared with: that says nothing about how good that score is"
        )
    evidence: RecommendationEvidence = {
        "n_items": len(rows),
        "n_searched_on": seen.n,
        "n_kept_back": held_out.n,
        "n_settings_tried": n_tried,
        "items_by_content_type": {name: int((records.codes == i).sum()) for i, name in enumerate(records.types)},
        "exits_by_checkpoint": n_exits,
        "checkpoints_not_seen": [c for c in CHECKPOINTS if c not in seen_exits],
        "time_saved_wanted": list(TIME_SAVED),
        "changed": changed,
        "not_varied": sorted(
            f"filter.{knob}" for knob, name in filter.FIELD_OF.items() if name not in records.recorded
        ),
        "before": _shown(before),
        "after": _shown(after),
        "is_better": is_better,
        "note": note,
    }
    return PipelineRecommendation(
        policy=best_policy, changed=changed, before=before, after=after, is_better=is_better, evidence=evidence
    )


def require_enough(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises DatasetTooSmall unless there are 100 items with a quality and 3 content types."""
    types = {str(row["content_type"]) for row in rows if row.get("content_type")}
    n_judged = sum(row.get("quality") is not None for row in rows)
    missing = []
    if n_judged < MIN_ITEMS:
        missing.append(f"{MIN_ITEMS - n_judged} more items with a measured quality ({n_judged} of {MIN_ITEMS})")
    if len(types) < MIN_TYPES:
        shown = ", ".join(sorted(types)) or "none"
        missing.append(f"{MIN_TYPES - len(types)} more content types ({len(types)} of {MIN_TYPES}: {shown})")
    if missing:
        raise DatasetTooSmall(
            f"Cannot recommend thresholds, because the records lack {'; '.join(missing)}. Collect more with the"
            " pipeline as it is.",
            missing=missing,
            n_items=n_judged,
            n_required=MIN_ITEMS,
        )


def search(
    records: Records,
    start: Mapping[str, Any],
    band: tuple[float, float],
    *,
    checkpoints: Sequence[str] = CHECKPOINTS,
) -> tuple[dict[str, Any], int]:
    """The best policy found on these records, and how many settings were tried.

    Settings are drawn at random; from the best of them and from ``start`` each knob in turn takes its best value with
    all others as they are, until nothing improves. What is found looks better on these records than it is: measure it
    on others, as ``recommend`` does.

    Args:
        band: least and most share of the time that is to be saved, in [0, 1].
        checkpoints: whose exits are varied; those of the others stay as ``start`` has them.
    """
    coordinates = dict(_coordinates(records, start, checkpoints))
    # No coordinate changes the conditions and the score, so they are read once.
    known = parse_pipeline(start)
    tried: dict[str, tuple[float, float]] = {}

    def key(policy: Mapping[str, Any]) -> tuple[float, float]:
        name = repr(sorted((knob, policy.get(knob)) for knob in coordinates))
        if name not in tried:
            # First how far the time saved lies outside the band, then quality less one standard error.
            shares = outcome(records, replace(known, policy=policy))
            outside = max(0.0, band[0] - shares.time_saved_share, shares.time_saved_share - band[1])
            if shares.quality is None or shares.quality_error is None or shares.n_judged < MIN_FULL:
                tried[name] = -1.0 - outside, 0.0
            else:
                tried[name] = -outside, round(shares.quality - shares.quality_error, 9)
        return tried[name]

    # Settings around ``start``: knobs for all types half of the time anew, those of single types less often, so that
    # most rules stay simple.
    rng = random.Random(SEED)
    own = {knob for knob in coordinates if knob.startswith("filter.") and knob.count(".") > 1}
    starts = sorted(
        [
            {
                **start,
                **{
                    knob: rng.choice(values)
                    for knob, values in coordinates.items()
                    if rng.random() < (0.2 if knob in own else 0.5)
                },
            }
            for _ in range(N_DRAWN)
        ],
        key=key,
        reverse=True,
    )
    polished = [_polished(knobs, coordinates, key) for knobs in [dict(start), *starts[:N_POLISHED]]]
    return max(polished, key=key), len(tried)


def _polished(
    policy: dict[str, Any],
    coordinates: Mapping[str, list[Any]],
    key: Callable[[Mapping[str, Any]], tuple[float, float]],
) -> dict[str, Any]:
    best = policy
    for _ in range(PASSES):
        before = key(best)
        for knob, values in coordinates.items():
            # The first of equals: what is there stays.
            best = max([best, *({**best, knob: value} for value in values)], key=key)
        if key(best) == before:
            break
    return best


def _coordinates(
    records: Records, start: Mapping[str, Any], checkpoints: Sequence[str]
) -> Iterator[tuple[str, list[Any]]]:
    """Knobs to vary with their values; those of single content types where there are enough records of one."""
    import numpy as np

    counts = np.bincount(records.codes, minlength=len(records.types))
    many = [(i, name) for i, name in enumerate(records.types) if is_type_name(name) and counts[i] >= MIN_OF_TYPE]
    for _, name in many:
        yield f"route.{name}", list(MODES)
    yield "filter.checks_needed", values_to_try(records, "filter.checks_needed")
    # One number for all checkpoints, or one each where the others are to stay as they are.
    for knob in (
        ["exit.min_confidence"]
        if set(checkpoints) == set(CHECKPOINTS)
        else [f"exit.{c}.min_confidence" for c in checkpoints]
    ):
        now = start.get(knob, start.get("exit.min_confidence", 0.80))
        yield knob, sorted({0.70, 0.75, 0.80, 0.85, 0.90, 0.95, float(now)})
    for knob in (f"filter.{name}" for name in filter.FIELD_OF):
        values = values_to_try(records, knob, N_VALUES)
        if values:
            yield knob, values
            for i, name in many:
                if own := values_to_try(subset(records, records.codes == i), knob, N_VALUES):
                    yield f"{knob}.{name}", own


def _shown(shares: ReplayedShares) -> ShownShares:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    not_bypassed = 1 - shares.lightweight_share  # rates as the pipeline's own report has them
    return {
        "time_saved": rounded(shares.time_saved_share),
        "quality": rounded(shares.quality),
        "quality_standard_error": rounded(shares.quality_error),
        "n_judged": shares.n_judged,
        "bypass_rate": rounded(shares.lightweight_share),
        "early_exit_rate": rounded(shares.early_exit_share / not_bypassed if not_bypassed > 0 else None),
        "full_share": rounded(shares.full_share),
    }
