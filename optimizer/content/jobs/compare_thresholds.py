"""Compares two configurations of a content pipeline on the family's recorded items, by replay. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimizer.content.core.search.compare_replayed import ReplayedComparison, compare_replayed
from optimizer.content.core.search.replay import read_columns, rows_to_columns
from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.core.family.family import Family, kind_of
from optimizer.ports import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One side of a comparison: how it was named, what that turned out to be, and its flat policy."""

    name: str
    found_as: str
    policy: Mapping[str, Any]


def require_pipeline(family: Family) -> None:
    """Raises InvalidInput for a family whose thresholds are not those of a content pipeline."""
    if not kind_of(family).runs_pipeline:
        raise InvalidInput(
            f"Family {family.name!r} is of kind {family.kind}, and this is for content pipelines (kind policy)."
            f" Thresholds of a cascade are found by a study: detent study run {family.name} --strategy replay --aim"
            " cost --dry-run."
        )


def compare_thresholds(
    family: Family, *, conservative: Configuration, aggressive: Configuration, store: Store, confidence: float = 0.95
) -> ReplayedComparison:
    """The A/B rule on the train and dev examples; the holdout stays sealed.

    Raises:
        InvalidInput: the family is no policy, a configuration cannot be read, or the confidence is out of range.
        DatasetTooSmall: fewer than 30 items with a measured quality are processed in full by one of the two.
    """
    require_pipeline(family)
    with store.read() as tx:
        examples = [e for split in ("train", "dev") for e in store.examples.of_split(tx, family.name, split=split)]
    if not examples:
        raise DatasetTooSmall(
            f"Cannot compare configurations: family {family.name!r} has no recorded items. Import some with what they"
            f" turned out to be worth: detent import FILE --family {family.name}.",
            n=0,
        )
    records = read_columns(rows_to_columns([{**e.input, "quality": e.expected.get("quality")} for e in examples]))
    return compare_replayed(records, conservative.policy, aggressive.policy, confidence=confidence)
