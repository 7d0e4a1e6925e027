"""Says how much each example counts, where a student answered the request that it came from."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.core.dataset.examples import Example
from optimizer.core.family.family import Family
from optimizer.core.policy.policy import Policy, parse_policy
from optimizer.core.rollout.student_watch import teaching_weight
from optimizer.ports import Store, Transaction


def weights_by_chance(tx: Transaction, store: Store, family: Family, examples: Sequence[Example]) -> dict[str, float]:
    """By example that came from a request of a family with students: the inverse of the chance with which it came, 0
    where no chance chose it.

    Of a request that is no longer kept nobody knows whether a student answered it, so it counts for nothing.
    """
    of_requests = {example.id: example.interaction for example in examples if example.interaction is not None}
    if not of_requests or not store.students.ids(tx, family.name):
        return {}
    requests = {
        id: next((one for one in same if one.arm.family == family.name), None)
        for id, same in store.events.interactions(tx, set(of_requests.values())).items()
    }
    policies = dict[str, Policy]()
    weights = dict[str, float]()
    for example, id in of_requests.items():
        request = requests.get(id)
        name = str(request.arm.variant) if request is not None else ""
        if request is not None and name not in policies:
            record = store.variants.get(tx, family.name, name)
            policies[name] = parse_policy(record.variant.policy if record is not None else {})
        weights[example] = 0.0 if request is None else teaching_weight(request, policies[name])
    return weights
