"""Takes a family out of use, and back: its name is free, its folder is put aside, and its rows stay under a name of
their own. Forgetting its texts is the one part without a way back.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from optimizer.core.base.errors import Conflict, NotFound, Refused
from optimizer.core.base.phrasing import count
from optimizer.core.serving import champion
from optimizer.core.serving.family_names import RETIRED, is_retired, next_free
from optimizer.jobs.record_change import ChangeReport, checked_reason, tell
from optimizer.ports import Clock, Store, Transaction

FORGET_AT_ONCE = 2000  # rows of one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the home's families have their files, where other ones have theirs, and where files of retired ones go."""

    home: Path
    others: tuple[Path, ...]
    retired: Path

    def of(self, family: str) -> Path:
        """The family's folder in the home. Raises Conflict where it has one elsewhere, which is not the home's."""
        for other in self.others:
            if (other / family).is_dir():
                raise Conflict(
                    f"The folder {other / family} is not in this home, so it is not moved, and as long as it stands"
                    f" there the family {family} exists. Move it away yourself, or take {other} out of"
                    " DETENT_MORE_FAMILIES_DIRS, and say it again."
                )
        return self.home / family


def retire_family(
    name: str,
    *,
    forget: bool,
    actor: str,
    confirm: str | None,
    reason: str | None,
    store: Store,
    clock: Clock,
    folders: Folders,
    parts: Store | None = None,
) -> ChangeReport:
    """Ends the family's reign and frees its name. Safe to repeat: what was cut off goes on.

    Decisions, blocks, seals and looks at the holdout stay, and so do all texts without ``forget``. With it they go from
    examples, interactions, feedback, reviews, variants, studies and the journal of model calls.

    Args:
        store: gets the last write, whose result is the report.
        parts: gets what comes before it, where that is another one.
    Raises:
        NotFound: there is no family of that name.
        Refused: ``confirm`` is not its name.
        Conflict: a rollout, study or judge run of it is active; or its folder is not in this home.
    """
    why, at, parts = checked_reason(reason), clock.now(), parts or store
    with store.read() as tx:
        present, gone = store.family_names.former(tx).get(name, name), store.family_names.retired(tx, name)
        known = store.champions.history(tx, name) or any(store.examples.counts(tx, name).values())
        lives = present == name and not is_retired(name) and bool(known or (folders.home / name).is_dir())
        if lives:
            require_idle(tx, store, name, "retire")
        expected = store.family_names.next_retired(tx, name)
    if not lives and present != name and not is_retired(present):
        raise NotFound(f"{name} is a former name of the family {present}: detent family delete {present}.", family=name)
    if not lives and (gone is None or not forget):
        where = f"; it was retired, and {gone} is its record. {_back(gone)} takes that back" if gone else " here"
        raise NotFound(f"There is no family {name!r}{where}.", family=name)
    if confirm != name:
        raise Refused(
            f"Retiring {name} ends its serving{' and forgets its texts for good' if forget else ''}. If that is meant,"
            f" confirm it with the family's name: --confirm {name}.",
            confirm=name,
        )
    folder, aside = folders.home / name, folders.retired / expected
    if not lives:
        assert gone is not None
        return _forget(gone, name, "was retired before", actor=actor, why=why, store=store, clock=clock, parts=parts)
    is_moved = folders.of(name).is_dir()
    if is_moved:
        if aside.exists():  # of an act that was cut off, after which a new folder was made
            aside.rename(folders.retired / next_free(expected, (one.name for one in folders.retired.iterdir())))
        aside.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(aside)

    def change(tx: Transaction) -> ChangeReport:
        require_idle(tx, store, name, "retire")
        if store.family_names.next_retired(tx, name) != expected:
            raise Conflict(f"{name} was retired by somebody else at this moment; nothing was changed.")
        store.champions.end(tx, name, at)
        store.schedules.remove(tx, name)
        for alert in store.alerts.all(tx, open_only=True, family=name):
            store.alerts.close(tx, alert.kind, alert.family, alert.subject, at)
        retired = store.family_names.retire(tx, name, at)
        detail = {"was": name, "why": why, "folder": str(aside) if is_moved else None}
        tell(tx, store, "family.retire", retired, name, detail, actor=actor, at=at)
        store.outbox.add(tx, "family", retired, {"was": name}, at)
        n_sealed = store.family_names.n_sealed(tx, name)
        moved = f"; its folder {folder} is {aside} now" if is_moved else ""
        what = (
            f"retired, and serves no more{moved}; its record stays as {retired}, and {count(n_sealed, 'input')} of its"
            " holdout stay sealed for a family of this name"
        )
        return ChangeReport(family=name, what=what, why=why, undo=_back(retired))

    try:
        report = (parts if forget else store).write(change)
    except BaseException:
        if is_moved and not folder.exists():
            aside.rename(folder)
        raise
    if not forget:
        return report
    return _forget(expected, name, report.what, actor=actor, why=why, store=store, clock=clock, parts=parts)


def restore_family(
    name: str, *, actor: str, reason: str | None, store: Store, clock: Clock, folders: Folders
) -> ChangeReport:
    """Gives the family that was last retired under this name, or ``triage~1`` itself, its name, champion and folder
    back. A schedule stays off.

    Raises:
        NotFound: none of that name was retired.
        Conflict: another family has the name, or its texts were forgotten.
    """
    why, at = checked_reason(reason), clock.now()
    moves = list[tuple[Path, Path]]()

    def change(tx: Transaction) -> ChangeReport:
        retired = store.family_names.retired(tx, name)
        if retired is None:
            raise NotFound(f"No family {name!r} was retired; `detent family list` shows those that exist.", family=name)
        plain = retired.partition(RETIRED)[0]
        folder, aside = folders.of(plain), folders.retired / retired
        if folder.exists() or not is_retired(store.family_names.former(tx).get(plain, plain)):
            raise Conflict(
                f"The name {plain} is in use, so {retired} cannot have it back. Rename or retire the family that has it"
                f" first: detent family rename {plain} NEW --confirm {plain}."
            )
        history = store.champions.history(tx, retired)
        if history and store.variants.get(tx, retired, champion.reigning(history).variant) is None:
            raise Conflict(f"The texts of {retired} were forgotten, its champion's too, so it cannot come back.")
        store.family_names.restore(tx, retired, plain, at)
        reign = store.champions.resume(tx, plain)
        tell(tx, store, "family.restore", plain, plain, {"was": retired, "why": why}, actor=actor, at=at)
        store.outbox.add(tx, "family", plain, {"was": retired}, at)
        moves[:] = [(aside, folder)] if aside.is_dir() else []
        what = f"{retired} is {plain} again"
        what += f"; its folder is {folder} again" if moves else "; its folder is not in var/retired, put it back"
        what += f"; {reign.variant} serves" if reign else ""
        undo = f"detent family delete {plain} --confirm {plain}"
        return ChangeReport(family=plain, what=what, why=why, undo=undo, champion=reign)

    report = store.write(change)
    for aside, folder in moves:
        folders.home.mkdir(parents=True, exist_ok=True)
        shutil.move(aside, folder)
    return report


def require_idle(tx: Transaction, store: Store, name: str, act: str) -> None:
    """Raises Conflict while something of the family is under way that could not be taken up again."""
    rollout = store.rollouts.active(tx, name)
    if rollout is not None:
        raise Conflict(
            f"Cannot {act} {name}: its rollout {rollout.id} is {rollout.status}, and one that was ended does not go on."
            f" End it first, if that is meant: detent rollout rollback {name}.",
            rollout=rollout.id,
        )
    study = next((one for one in store.studies.unfinished(tx) if one.family == name), None)
    if study is not None:
        raise Conflict(
            f"Cannot {act} {name}: its study {study.id} is {study.status}. Wait for it, or end it: detent study cancel"
            f" {study.id}.",
            study=study.id,
        )
    run = next((one for one in store.judge_runs.unfinished(tx) if one.family == name), None)
    if run is not None:
        raise Conflict(
            f"Cannot {act} {name}: its judge run {run.id} is {run.status}. Wait for it, or end it: detent judge cancel"
            f" {run.id}.",
            run=run.id,
        )


def _back(retired: str) -> str:
    return f"detent family restore {retired}"


def _forget(
    retired: str, name: str, what: str, *, actor: str, why: str, store: Store, clock: Clock, parts: Store
) -> ChangeReport:
    n = 0
    while part := parts.write(lambda tx: store.retained.forget(tx, retired, FORGET_AT_ONCE), rows=FORGET_AT_ONCE):
        n += part

    def change(tx: Transaction) -> ChangeReport:
        tell(tx, store, "family.forget", retired, name, {"n": n, "why": why}, actor=actor, at=clock.now())
        forgotten = f"{count(n, 'row')} with texts {'is' if n == 1 else 'are'} forgotten, for good"
        return ChangeReport(family=name, what=f"{what}; {forgotten}", why=why)

    return store.write(change)
