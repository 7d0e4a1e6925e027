"""The aim of a study for which nobody names one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.family import Family
from optimizer.core.study import KEEP, Aim
from optimizer.ports import Store


def aim_of_study(family: Family, definition: Mapping[str, Any], store: Store) -> Aim:
    """Quality; or cost, where something of a content pipeline is to be kept and its champion saves less time than that on the training items.

    A champion that saves more already cannot be beaten in time by what processes more items, and better ones.
    """
    if family.kind != "policy" or all(definition.get(name) is None for name in KEEP):
        return "quality"
    from optimizer.core.policy.content.learned_score import records_of
    from optimizer.core.policy.content.pipeline import parse_pipeline
    from optimizer.core.policy.content.replay import outcome
    from optimizer.core.policy.content.score_strategy import MOST_SAVED

    with store.read() as tx:
        champion = store.champions.current(tx, family.name)
        record = store.variants.get(tx, family.name, champion.variant) if champion is not None else None
        items = [e for e in store.examples.of_split(tx, family.name, split="train") if e.expected.get("quality") is not None]
    if record is None or not items:
        return "quality"
    wanted = definition.get("keep_saved")
    least = wanted if isinstance(wanted, float) else MOST_SAVED
    return "cost" if outcome(records_of(items), parse_pipeline(record.variant.policy)).time_saved_share < least else "quality"
