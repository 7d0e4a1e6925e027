"""What a policy asked after its answer was out, as it goes on record: an audit's calls,
and those that were still in work.
"""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.core.family.family import Family
from optimizer.core.family.masking import Masker, MaskTooSlow
from optimizer.core.feedback.events import LaterParts
from optimizer.core.feedback.reported import protect_parts
from optimizer.core.policy.attempts import Attempt, part_of, total_cost_usd
from optimizer.ports import Clock


def later_parts(family: Family, interaction: str, attempts: Sequence[Attempt], clock: Clock) -> LaterParts | None:
    """The row beside the interaction, its texts under the family's privacy; None where there are no attempts."""
    if not attempts:
        return None
    privacy = family.privacy
    parts = [part_of(attempt) for attempt in attempts]
    try:
        parts = protect_parts(parts, store=privacy.store, masker=Masker(privacy.rules))
    except MaskTooSlow:  # what cannot be masked is not kept; that it was asked is
        parts = protect_parts(parts, store="metadata", masker=Masker(()))
    return LaterParts(
        family=family.name,
        interaction=interaction,
        parts=parts,
        cost_usd=total_cost_usd(attempts),
        received_at=clock.now(),
    )
