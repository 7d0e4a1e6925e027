"""The policies of the variants that are served, read once each."""

from __future__ import annotations

import structlog

from optimizer.core.errors import InvalidInput
from optimizer.core.policy.policy import Policy, parse_policy
from optimizer.core.variant import Variant

MAX_KNOWN = 256

log = structlog.get_logger("gateway")


class Policies:
    """By variant id. A policy that cannot be read is no reason to answer nobody."""

    def __init__(self) -> None:
        self._known: dict[str, Policy | None] = {}

    def of(self, id: str, variant: Variant) -> Policy | None:
        """None for a variant that is answered by one call of its model."""
        if not variant.policy:
            return None
        if id not in self._known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[id] = self._read(id, variant)
        return self._known[id]

    def _read(self, id: str, variant: Variant) -> Policy | None:
        try:
            policy = parse_policy(variant.policy)
        except InvalidInput as error:  # made before its knobs were checked
            log.error("policy not executed; the variant's model answers alone", variant=id, error=error.detail)
            return None
        return None if policy.is_plain else policy
