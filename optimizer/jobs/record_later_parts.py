"""Puts on record what a policy asked after its answer was out: an audit's calls, and those that were still in work."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.core.family import Family
from optimizer.core.feedback import LaterParts
from optimizer.core.policy.attempts import Attempt, part_of, total_cost_usd
from optimizer.core.privacy import Masker
from optimizer.core.report import protect_parts
from optimizer.ports import Clock, Store


async def record_later_parts(family: Family, interaction: str, attempts: Sequence[Attempt], *, store: Store, clock: Clock) -> None:
    """One row beside the interaction, its texts under the family's privacy; nothing where there are no attempts."""
    if not attempts:
        return
    privacy = family.privacy
    parts = protect_parts([part_of(one) for one in attempts], store=privacy.store, masker=Masker(privacy.rules))
    row = LaterParts(family=family.name, interaction=interaction, parts=parts, cost_usd=total_cost_usd(attempts), received_at=clock.now())
    await store.awrite(lambda tx: store.events.add_later_parts(tx, row))
