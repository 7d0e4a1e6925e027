"""Takes a family out of use, and back: its name is free, its folder is put aside, and its rows stay under a name of
their own. Forgetting its texts is the one part without a way back.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from optimizer.core.base.errors import Conflict, NotFound, Refused
from optimizer.core.base.phrasing import count
from optimizer.core.serving import champion
from optimizer.core.serving.family_names import RETIRED, is_retired, next_free
from optimizer.jobs.families.family_folders import Folders, is_copy, move_folder
from optimizer.jobs.record_change import ChangeReport, checked_reason, tell
from optimizer.ports import Clock, Store, Transaction

FORGET_AT_ONCE = 2000  # rows of one transaction


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
    examples, interactions, feedback, reviews, variants, studies and the journal of model calls, and the folder goes.

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
        aside = folders.retired / gone
        return _forget(
            gone, name, "was retired before", aside, actor=actor, why=why, store=store, clock=clock, parts=parts
        )
    is_moved = folders.of(name).is_dir()
    if is_moved:
        if aside.exists() and not is_copy(aside, folder):  # of an act that was cut off; a new folder was made since
            aside.rename(folders.retired / next_free(expected, (one.name for one in folders.retired.iterdir())))
        move_folder(folder, aside)

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
            move_folder(aside, folder)
        raise
    if not forget:
        return report
    return _forget(expected, name, report.what, aside, actor=actor, why=why, store=store, clock=clock, parts=parts)


def restore_family(
    name: str,
    *,
    actor: str,
    reason: str | None,
    store: Store,
    clock: Clock,
    folders: Folders,
    parts: Store | None = None,
) -> ChangeReport:
    """Gives the family that was last retired under this name, or ``triage~1`` itself, its name, champion and folder
    back. A schedule stays off. What was cut off before the folder was moved is finished by saying it again.

    Args:
        store: gets the last write, whose result is the report.
        parts: gets what comes before it, where that is another one.
    Raises:
        NotFound: none of that name was retired.
        Conflict: another family has the name, or its texts were forgotten.
    """
    why, at, parts = checked_reason(reason), clock.now(), parts or store

    def change(tx: Transaction) -> tuple[str, str]:
        cut_off = _cut_off(tx, store, name, folders)
        if cut_off is not None:
            return cut_off
        retired = store.family_names.retired(tx, name)
        if retired is None:
            raise NotFound(f"No family {name!r} was retired; `detent family list` shows those that exist.", family=name)
        plain = retired.partition(RETIRED)[0]
        holder = store.family_names.former(tx).get(plain, plain)
        if folders.of(plain).exists() or not is_retired(holder):
            where = "" if holder == plain else f", as a former name of {holder}"
            raise Conflict(
                f"The name {plain} is in use{where}, so {retired} cannot have it back. To retire the family that has it"
                f" frees it, to rename that one does not: detent family delete {holder} --confirm {holder}."
            )
        history = store.champions.history(tx, retired)
        if history and store.variants.get(tx, retired, champion.reigning(history).variant) is None:
            raise Conflict(f"The texts of {retired} were forgotten, its champion's too, so it cannot come back.")
        store.family_names.restore(tx, retired, plain, at)
        store.champions.resume(tx, plain)
        tell(tx, store, "family.restore", plain, plain, {"was": retired, "why": why}, actor=actor, at=at)
        store.outbox.add(tx, "family", plain, {"was": retired}, at)
        return retired, plain

    retired, plain = parts.write(change)
    folder, aside = folders.home / plain, folders.retired / retired
    is_moved = aside.is_dir()
    if is_moved:
        move_folder(aside, folder)

    def report(tx: Transaction) -> ChangeReport:
        reign = store.champions.current(tx, plain)
        what = f"{retired} is {plain} again"
        what += f"; its folder is {folder} again" if is_moved else "; its folder is not in var/retired, put it back"
        what += f"; {reign.variant} serves" if reign else ""
        undo = f"detent family delete {plain} --confirm {plain}"
        return ChangeReport(family=plain, what=what, why=why, undo=undo, champion=reign)

    return store.write(report)


def _cut_off(tx: Transaction, store: Store, name: str, folders: Folders) -> tuple[str, str] | None:
    """(its retired name, its present one) where the store has brought the family back, and its folder is still put
    aside.
    """
    plain = name.partition(RETIRED)[0]
    present = store.family_names.former(tx).get(plain, plain)
    acts = [one for one in store.audit.of_subject(tx, present) if one["action"] in ("family.retire", "family.restore")]
    if is_retired(present) or not acts or acts[-1]["action"] != "family.restore":
        return None
    was = str(acts[-1]["detail"]["was"])
    folder, aside = folders.of(present), folders.retired / was
    is_left = aside.is_dir() and (not folder.exists() or is_copy(folder, aside))
    return (was, present) if is_left and name in (was, plain) else None


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
    retired: str, name: str, what: str, aside: Path, *, actor: str, why: str, store: Store, clock: Clock, parts: Store
) -> ChangeReport:
    n = 0
    while part := parts.write(lambda tx: store.retained.forget(tx, retired, FORGET_AT_ONCE), rows=FORGET_AT_ONCE):
        n += part
    has_folder = aside.is_dir()
    if has_folder:
        shutil.rmtree(aside)

    def change(tx: Transaction) -> ChangeReport:
        tell(tx, store, "family.forget", retired, name, {"n": n, "why": why}, actor=actor, at=clock.now())
        told = f"{what}; {count(n, 'row')} with texts{f' and the folder {aside}' if has_folder else ''}"
        told += f" {'is' if n == 1 and not has_folder else 'are'} forgotten, for good; what MLflow has is marked as"
        told += " deleted there, and on its disk until `mlflow gc`"
        return ChangeReport(family=name, what=told, why=why)

    return store.write(change)
