"""Shows what runs by itself and which files' contents do not serve,
for ``detent serve`` and ``detent rollout status``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from optimizer.core.base.errors import Busy, InvalidFamily
from optimizer.core.base.phrasing import printable
from optimizer.core.family.family import Family
from optimizer.core.scheduling.schedule import in_force
from optimizer.core.search.study import ENDED
from optimizer.jobs.families.read_edit import read_edit
from optimizer.jobs.scheduling.hand_on_candidates import APPROVAL, UNCONFIRMED, WAITS
from optimizer.jobs.scheduling.trigger_studies import NOT_STARTED, STARTED
from optimizer.ports import Alert, Store

if TYPE_CHECKING:
    from optimizer.adapters.files.family_files import FamilyFiles

ANNOUNCED = (STARTED, NOT_STARTED, UNCONFIRMED, APPROVAL, WAITS)


def switched_on(store: Store, families: Iterable[Family]) -> list[str]:
    """One line per family whose studies start by themselves; without any, one line that says so."""
    with store.read() as tx:
        stored = store.schedules.all(tx)
    lines = [
        f"{state.family}: {state.text}. To end it: detent family schedule {state.family} --off"
        for state in [in_force(family, stored.get(family.name)) for family in families]
        if state.on
    ]
    return lines or [
        "nothing: no study starts before you say so, or switch it on with detent family schedule NAME --on"
    ]


class News:
    """What began or ended by itself since the last question, by what is stored."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._announced: set[tuple[str, str | None, str]] = set()
        self._running: set[str] = set()  # studies whose start was told

    def __call__(self) -> list[str]:
        """Sentences for a person; none while the store cannot be read."""
        try:
            with self._store.read() as tx:
                alerts = [
                    alert for kind in ANNOUNCED for alert in self._store.alerts.all(tx, open_only=True, kind=kind)
                ]
                self._running |= {
                    alert.subject for alert in alerts if alert.kind == STARTED and _key(alert) not in self._announced
                }
                ended_studies = [
                    study
                    for id in sorted(self._running)
                    if (study := self._store.studies.get(tx, id)) is not None and study.status in ENDED
                ]
        except Busy:
            return []
        lines = [alert.detail for alert in alerts if _key(alert) not in self._announced]
        self._announced = {_key(alert) for alert in alerts}
        self._running -= {study.id for study in ended_studies}
        lines += [
            f"Study {study.id} of {study.family}, which started by itself, ended:"
            f" {(study.outcome or study.status).replace('_', ' ')}. Look: detent study show {study.id}"
            for study in ended_studies
        ]
        return list(map(printable, lines))


class EditNews:
    """What the families' files say since the last question that does not serve, and which of them became faulty."""

    def __init__(
        self, store: Store, files: FamilyFiles, faults: Callable[[Iterable[Family]], Mapping[str, InvalidFamily]]
    ) -> None:
        """``faults``: by family, what keeps one that can be read from being used,
        such as a model that nothing names.
        """
        self._store, self._files, self._faults = store, files, faults
        self._announced = set(self._lines())
        self._is_due = False  # files were read again, and the store not yet asked what that means

    def __call__(self) -> list[str]:
        """Sentences for a person; while the store cannot be read none, and then at the next question."""
        if self._files.changed():
            self._files.load()
            self._is_due = True
        if not self._is_due:
            return []
        try:
            lines = self._lines()
        except Busy:
            return []
        self._is_due = False
        new = [line for line in lines if line not in self._announced]
        self._announced = set(lines)
        return [printable(line) for line in new]

    def _lines(self) -> list[str]:
        faulty = [
            f"{name}: its file is faulty, the last good version serves. {p.detail}"
            for name, p in self._files.problems.items()
        ]
        readable = [f for f in self._files.families.values() if f.name not in self._files.problems]
        faults = self._faults(readable)
        faulty += [f"{name}: what the file says cannot be served. {fault.detail}" for name, fault in faults.items()]
        with self._store.read() as tx:
            edits = [read_edit(tx, self._store, f) for f in readable if f.name not in faults]
        return [*faulty, *(edit.text for edit in edits if edit is not None)]


def _key(alert: Alert) -> tuple[str, str | None, str]:
    return alert.kind, alert.family, alert.subject
