"""What is wrong with a policy, by the kind of its family: checked where a family is loaded and where a Variant is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.core.errors import Fault, InvalidInput
from optimizer.core.policy.policy import parse_policy


def policy_faults(policy: Mapping[str, Any], kind: str) -> Sequence[Fault]:
    """Every fault with its JSON pointer into the policy; none for a policy that can be executed (kind prompt)."""
    if kind != "prompt":
        return ()
    try:
        parse_policy(policy)
    except InvalidInput as error:
        return error.faults
    return ()
