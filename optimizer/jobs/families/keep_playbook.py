"""Keeps what a study does to its family's playbook: every step in one transaction, and once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from optimizer.core.base.phrasing import count
from optimizer.core.search.playbook.entries import STUDY, Add, Edit, Entries, Retire, active, apply_edits, id_of
from optimizer.ports import Clock, StepRecord, Store, Transaction

BEFORE = 0  # the step that records how the playbook stood when the study began


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlaybook:
    """core.search.strategy.KeptPlaybook on the store."""

    family: str
    study: str
    store: Store
    clock: Clock

    def opened(self) -> Entries:
        """A study that was killed opens what it opened first, so that it asks the proposer the same again.

        An active entry is retired first where an example that it was learned from is no longer kept: released examples
        go only where their person is forgotten.
        """

        def open_once(tx: Transaction) -> Entries:
            before = self.store.playbooks.step(tx, self.study, BEFORE)
            if before is None:
                self._retire_forgotten(tx)
            entries = self.store.playbooks.entries(tx, self.family)
            if before is None:
                record = [
                    StepRecord(id=e.id, state=e.state, helpful=e.helpful, harmful=e.harmful) for e in entries.values()
                ]
                self.store.playbooks.add_to_step(tx, self.family, self.study, BEFORE, record, self.clock.now())
                return entries
            return {
                id: replace(entries[id], state=was["state"], helpful=was["helpful"], harmful=was["harmful"])
                for was in before
                if (id := was["id"]) in entries
            }

        return self.store.write(open_once)

    def _retire_forgotten(self, tx: Transaction) -> None:
        before = self.store.playbooks.entries(tx, self.family)
        ids = sorted({example for entry in active(before) for example in entry.evidence})
        ids_kept = {
            example_view.id for example_view in self.store.examples.standing(tx, self.family, ids=ids, groups=())
        }
        edits = [
            Retire(id=entry.id, reason=f"{count(len(forgotten), 'example')} that it was learned from is no longer kept")
            for entry in active(before)
            if (forgotten := [example for example in entry.evidence if example not in ids_kept])
        ]
        after = apply_edits(before, edits, at=self.clock.now(), by=STUDY + self.study)
        self.store.playbooks.put(tx, self.family, [entry for id, entry in after.items() if entry != before[id]])

    def keep(self, step: int, edits: Sequence[Edit]) -> None:
        """A step that is repeated after a kill may have other edits: a call that failed before may be answered now.

        They are stored, too, but one edit of each kind per entry.
        """

        def keep_once(tx: Transaction) -> None:
            keys = {_key(record) for record in self.store.playbooks.step(tx, self.study, step) or ()}
            new = [edit for edit in edits if _key(_record_of(edit)) not in keys]
            if not new:
                return
            now = self.clock.now()
            before = self.store.playbooks.entries(tx, self.family)
            after = apply_edits(before, new, study=self.study, at=now, by=STUDY + self.study)
            changed = [entry for id, entry in after.items() if entry != before.get(id)]
            self.store.playbooks.put(tx, self.family, changed)
            self.store.playbooks.add_to_step(tx, self.family, self.study, step, [_record_of(e) for e in new], now)

        self.store.write(keep_once)


def _key(named: StepRecord) -> tuple[str, str]:
    return named["edit"], named["id"]


def _record_of(edit: Edit) -> StepRecord:
    """An edit without its text, which only the entry holds."""
    members = {name: value for name, value in asdict(edit).items() if name not in ("text", "reason")}
    id = {"id": id_of(edit.text)} if isinstance(edit, Add) else {}
    record: Any = {"edit": type(edit).__name__.lower(), **id, **members}
    return cast(StepRecord, record)
