"""Tables playbook_entries and playbook_steps: what a family has learned, and which steps of a study are in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.tables import PlaybookEntryRow, PlaybookStepRow
from optimizer.core.search.playbook.entries import Entry

ENTRIES = PlaybookEntryRow.__table__
STEPS = PlaybookStepRow.__table__
FIXED = ("id", "kind", "text", "position", "study", "created_at")


class PlaybookTables:
    """ports.Playbooks on the database."""

    def entries(self, tx: Connection, family: str) -> dict[str, Entry]:
        query = select(ENTRIES).where(ENTRIES.c.family == family).order_by(ENTRIES.c.position)
        return {row["id"]: _entry(dict(row)) for row in tx.execute(query).mappings()}

    def put(self, tx: Connection, family: str, entries: Sequence[Entry]) -> None:
        for entry in entries:
            row = {**asdict(entry), "evidence": list(entry.evidence)}
            if not insert_new(tx, ENTRIES, [{"family": family, **row}]):
                changes = {name: value for name, value in row.items() if name not in FIXED}
                tx.execute(
                    update(ENTRIES).where(ENTRIES.c.family == family, ENTRIES.c.id == entry.id).values(**changes)
                )

    def step(self, tx: Connection, study: str, step: int) -> list[dict[str, Any]] | None:
        query = select(STEPS.c.record).where(STEPS.c.study == study, STEPS.c.step == step)
        found: list[dict[str, Any]] | None = tx.execute(query).scalar()
        return found

    def add_step(
        self, tx: Connection, family: str, study: str, step: int, record: Sequence[Mapping[str, Any]], at: datetime
    ) -> None:
        kept = [dict(one) for one in record]
        tx.execute(insert(STEPS), [{"study": study, "step": step, "family": family, "record": kept, "at": at}])


def _entry(row: dict[str, Any]) -> Entry:
    values = {name: row[name] for name in Entry.__dataclass_fields__}
    return Entry(**{**values, "evidence": tuple(row["evidence"])})
