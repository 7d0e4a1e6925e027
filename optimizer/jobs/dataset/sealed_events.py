"""Which events the sealed holdout asks or quotes too, and those events as people see them: figures without texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optimizer.core.dataset.examples import correction_example, input_hash
from optimizer.core.family.family import Family
from optimizer.core.feedback.events import FeedbackEvent, Interaction
from optimizer.core.views.events import part_without_texts
from optimizer.ports import Store, Transaction

SEALED_ERROR = "not shown, since the sealed holdout asks the same"
READ_TOGETHER = 1000  # interactions with their texts


def sealed_interactions(
    tx: Transaction,
    store: Store,
    interactions: Sequence[Interaction],
    declared: Mapping[str, Family],
    outcomes: Sequence[FeedbackEvent] = (),
) -> set[tuple[str, str]]:
    """(family, id) of those of which a person's answer or a correction was sealed, or which ask what a sealed example
    asks.

    Args:
        declared: families as their files have them; of another one inputs are compared whole.
        outcomes: of these interactions, as far as they are shown, too.
    """
    made_of = {(each.arm.family, f"ia_{each.id}"): each.id for each in interactions}
    families = {family for family, _ in made_of}
    made_of |= {
        (one.arm.family, correction_example(one.id)): one.interaction
        for one in outcomes
        if one.interaction is not None and one.arm.family in families
    }
    hashes = {
        (each.arm.family, each.id): _hashes(each.input, declared.get(each.arm.family))
        for each in interactions
        if each.input
    }
    by_family = defaultdict[str, set[str]](set)
    for (family, _), own in hashes.items():
        by_family[family] |= own
    among = store.examples.sealed_among(tx, by_family, input_hash)
    return {(family, made_of[family, id]) for family, id in store.examples.sealed(tx, made_of.keys())} | {
        (family, id) for (family, id), own in hashes.items() if any((family, one) in among for one in own)
    }


def sealed_outcomes(
    tx: Transaction, store: Store, outcomes: Sequence[FeedbackEvent], declared: Mapping[str, Family]
) -> set[tuple[str, str]]:
    """(family, id) of those on sealed interactions, and of those whose own correction was sealed."""
    interactions = store.events.interactions(tx, {one.interaction for one in outcomes if one.interaction})
    own = {(one.arm.family, one.interaction) for one in outcomes}
    judged = [each for named in interactions.values() for each in named if (each.arm.family, each.id) in own]
    sealed = sealed_interactions(tx, store, judged, declared, outcomes)
    # A correction may have come with its own input, or its interaction may be gone.
    corrections = store.examples.sealed(tx, {(one.arm.family, correction_example(one.id)) for one in outcomes})
    return {
        (one.arm.family, one.id)
        for one in outcomes
        if (one.arm.family, one.interaction) in sealed or (one.arm.family, correction_example(one.id)) in corrections
    }


def sealed_among(tx: Transaction, store: Store, family: Family, ids: Sequence[str]) -> set[str]:
    """Those of a family's interactions that are sealed; of one that is no longer kept nothing is known."""
    sealed = set[str]()
    for start in range(0, len(ids), READ_TOGETHER):
        stored = store.events.interactions(tx, ids[start : start + READ_TOGETHER])
        own = [each for same_id in stored.values() for each in same_id if each.arm.family == family.name]
        sealed |= {id for _, id in sealed_interactions(tx, store, own, {family.name: family})}
    return sealed


def _hashes(input: Mapping[str, Any], family: Family | None) -> set[str]:
    """Of the whole input, and of what an example of the family has of it."""
    return {input_hash(one) for one in (input, family.declared_inputs(input) if family is not None else None) if one}


def without_texts(interaction: Interaction) -> Interaction:
    """Its figures; of an error that there was one, since it may quote what was asked."""
    parts = interaction.parts
    return replace(
        interaction,
        input=None,
        output=None,
        error=None if interaction.error is None else SEALED_ERROR,
        tags={},
        parts=parts if parts is None else [part_without_texts(part) for part in parts],
    )


def outcome_without_texts(outcome: FeedbackEvent) -> FeedbackEvent:
    return replace(outcome, label=None, expected=None, tags={})
