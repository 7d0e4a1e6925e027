"""Says how much each example counts, where a student answered the request that it came from."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.core.dataset.examples import Example, correction_example
from optimizer.core.family.family import Family
from optimizer.core.feedback.events import FeedbackEvent, Interaction
from optimizer.core.policy.policy import parse_policy
from optimizer.core.rollout.student_watch import teaching_weight
from optimizer.ports import Store, Transaction


def weights_by_chance(tx: Transaction, store: Store, family: Family, examples: Sequence[Example]) -> dict[str, float]:
    """By example that came from a request of a family with students: the inverse of the chance with which it came, 0
    where no chance chose it. An example that counts once is left out.

    It counts for nothing where nobody knows whether a student answered: of a request that is no longer kept, or whose
    variant was forgotten, and of a correction that names no request where a student is among the variant's tiers.
    """
    has_students = store.students.ids(tx, family.name) or store.students.has_watches(tx, family.name)
    unknown = 0.0 if has_students else 1.0
    named = store.events.interactions(tx, {one.interaction for one in examples if one.interaction is not None})
    requests = {one.id: one for same in named.values() for one in same if one.arm.family == family.name}
    alone = [one.id for one in examples if one.origin == "correction" and one.interaction is None]
    events = [(family.name, id.removeprefix(correction_example(""))) for id in alone]
    corrections = {correction_example(one.id): one for one in store.events.feedback_of(tx, events, by_id=True)}
    sources: dict[str, Interaction | FeedbackEvent | None] = {
        **{one.id: requests.get(one.interaction) for one in examples if one.interaction is not None},
        **{id: corrections.get(id) for id in alone},
    }
    policies = {
        id: parse_policy(record.variant.policy)
        for id in {str(source.arm.variant) for source in sources.values() if source is not None}
        if (record := store.variants.get(tx, family.name, id)) is not None
    }
    weights = dict[str, float]()
    for id, source in sources.items():
        policy = policies.get(str(source.arm.variant)) if source is not None else None
        if isinstance(source, Interaction):
            weights[id] = teaching_weight(source, policy)
        else:
            weights[id] = unknown if policy is None else float(policy.cascade is None or not policy.cascade.students)
    return {id: weight for id, weight in weights.items() if weight != 1.0}
