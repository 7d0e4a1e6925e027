"""Gives an interaction the texts that came apart from it: a call's span has its figures, log records its messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from optimizer.core.feedback.events import Interaction
from optimizer.jobs.feedback.ingest_feedback import Intake, IntakeRequest
from optimizer.ports import Transaction

WITHIN = timedelta(hours=1)  # after its receipt; later, texts that were deleted for their age could come back


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsReport:
    """``known``: interactions for which nothing more is to be done. ``refused``: why texts of some were not added."""

    known: frozenset[str]
    refused: tuple[str, ...]


def add_texts(intake: Intake, texts: Mapping[str, Mapping[str, Any]]) -> TextsReport:
    """Adds texts to interactions that this sender reported without one; stored texts stay as they are.

    Texts are masked or left out as the family's ``privacy`` says.

    Args:
        texts: interaction -> its ``input`` and ``output``.
    """
    now, request = intake.clock.now(), IntakeRequest(intake)
    with intake.store.read() as tx:
        stored = intake.store.events.interactions(tx, texts)
    added: list[tuple[Interaction, Mapping[str, Any]]] = []
    for id, interactions in stored.items():
        for interaction in interactions:
            lacking = {name: value for name, value in texts[id].items() if getattr(interaction, name) is None}
            is_own = interaction.sent_by == intake.actor and not interaction.by_gateway
            if not lacking or not is_own or interaction.received_at < now - WITHIN:
                continue
            # A latency makes it a report of an interaction, which an input alone is not.
            read = request.read([{"family": interaction.arm.family, "unit": id, "latency_ms": 0, **lacking}])
            permitted = {
                name: each.report.values[name] for each in read for name in lacking if name in each.report.values
            }
            if permitted:
                added.append((interaction, permitted))

    def write(tx: Transaction) -> None:
        for interaction, permitted in added:
            intake.store.events.add_texts(tx, interaction, **permitted)

    if added:
        intake.store.write(write)
    refused = dict.fromkeys(str(rejection["detail"]) for rejection in request.rejected)
    return TextsReport(known=frozenset(stored), refused=tuple(refused))
