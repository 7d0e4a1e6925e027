"""Takes a family out of use, and brings it back.

Its name becomes free, its folder is put aside, and its rows stay under a name of their own. Only forgetting its texts
cannot be undone.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

from pydantic import Field

from optimizer.core.base.errors import Conflict, NotFound, Refused
from optimizer.core.base.phrasing import count
from optimizer.core.evaluation.run import ComparisonRun
from optimizer.core.serving import champion
from optimizer.core.serving.access import require
from optimizer.core.serving.family_names import RETIRED, is_retired, next_free
from optimizer.core.views.evaluation import EvaluationRun
from optimizer.jobs.context import Context
from optimizer.jobs.families.family_folders import Folders, is_copy, move_folder
from optimizer.jobs.record_change import ChangeReport, checked_reason, tell
from optimizer.jobs.request import FamilyRequest, Reason
from optimizer.ports import Store, Transaction

FORGET_AT_ONCE = 2000  # rows of one transaction


class RetireRequest(FamilyRequest):
    confirm: Annotated[str | None, Field(max_length=200, description="The family's name")] = None
    reason: Reason = ""
    forget: Annotated[bool, Field(description="Its texts too, for good; role admin")] = False


def retire_family(context: Context, request: RetireRequest) -> ChangeReport:
    """Takes a family out of use: it serves no more, its name is free, its folder is put aside. Safe to repeat.

    Decisions, and which inputs are sealed and how often they were looked at, stay; so do all texts without `forget`.

    Raises:
        NotAuthorised: to forget takes role admin.
        NotFound: there is no family of that name.
        Refused: ``confirm`` is not its name.
        Conflict: a rollout, study, judge run or comparison of it is active; or its folder is not in this home.
    """
    if request.forget:
        require(context.access, "admin", actor=context.actor)
    name, forget, store, actor = request.family, request.forget, context.store, context.actor
    why, at, folders = checked_reason(request.reason), context.clock.now(), Folders.of_home(context.settings)
    with store.read() as tx:
        present, retired_as = store.family_names.former(tx).get(name, name), store.family_names.retired(tx, name)
        known = store.champions.history(tx, name) or any(store.examples.counts(tx, name).values())
        lives = present == name and not is_retired(name) and bool(known or (folders.home / name).is_dir())
        if lives:
            require_idle(tx, store, name, "retire")
        expected = store.family_names.next_retired(tx, name)
    if not lives and present != name and not is_retired(present):
        raise NotFound(f"{name} is a former name of the family {present}: detent family delete {present}.", family=name)
    if not lives and (retired_as is None or not forget):
        where = (
            f"; it was retired, and {retired_as} is its record. {_back(retired_as)} takes that back"
            if retired_as
            else " here"
        )
        raise NotFound(f"There is no family {name!r}{where}.", family=name)
    if request.confirm != name:
        raise Refused(
            f"Retiring {name} ends its serving{' and forgets its texts for good' if forget else ''}. If that is meant,"
            f" confirm it with the family's name: --confirm {name}.",
            confirm=name,
        )
    folder, aside = folders.home / name, folders.retired / expected
    if not lives:
        assert retired_as is not None
        aside = folders.retired / retired_as
        return _forget(context, retired_as, name, "was retired before", aside, why=why)
    is_moved = folders.of(name).is_dir()
    if is_moved:
        if aside.exists() and not is_copy(
            aside, folder
        ):  # an act that broke off left it, and a new folder was made since
            aside.rename(folders.retired / next_free(expected, (folder.name for folder in folders.retired.iterdir())))
        move_folder(folder, aside)

    def change(tx: Transaction) -> str:
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
        return (
            f"retired, and serves no more{moved}; its record stays as {retired}, and {count(n_sealed, 'input')} of its"
            " holdout stay sealed for a family of this name"
        )

    try:
        if not forget:
            return store.write(lambda tx: ChangeReport(family=name, what=change(tx), why=why, undo=_back(expected)))
        what = store.write(change)
    except BaseException:
        if is_moved and not folder.exists():
            move_folder(aside, folder)
        raise
    return _forget(context, expected, name, what, aside, why=why)


class RestoreRequest(FamilyRequest):
    reason: Reason = ""


def restore_family(context: Context, request: RestoreRequest) -> ChangeReport:
    """Brings back the family that was last retired under this name, with its folder and its champion.

    Or ``triage~1`` itself. A schedule stays off. What was cut off before the folder was moved is finished by saying it
    again.

    Raises:
        NotFound: none of that name was retired.
        Conflict: another family has the name, or its texts were forgotten.
    """
    name, store, actor = request.family, context.store, context.actor
    why, at, folders = checked_reason(request.reason), context.clock.now(), Folders.of_home(context.settings)

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
        if history and store.variants.get(tx, retired, champion.current_of(history).variant) is None:
            raise Conflict(f"The texts of {retired} were forgotten, its champion's too, so it cannot come back.")
        store.family_names.restore(tx, retired, plain, at)
        store.champions.resume(tx, plain)
        tell(tx, store, "family.restore", plain, plain, {"was": retired, "why": why}, actor=actor, at=at)
        store.outbox.add(tx, "family", plain, {"was": retired}, at)
        return retired, plain

    retired, plain = store.write(change)
    folder, aside = folders.home / plain, folders.retired / retired
    is_moved = aside.is_dir()
    if is_moved:
        move_folder(aside, folder)

    def report(tx: Transaction) -> ChangeReport:
        tenure = store.champions.current(tx, plain)
        what = f"{retired} is {plain} again"
        what += f"; its folder is {folder} again" if is_moved else "; its folder is not in var/retired, put it back"
        what += f"; {tenure.variant} serves" if tenure else ""
        undo = f"detent family delete {plain} --confirm {plain}"
        return ChangeReport(family=plain, what=what, why=why, undo=undo, champion=tenure)

    return store.write(report)


def _cut_off(tx: Transaction, store: Store, name: str, folders: Folders) -> tuple[str, str] | None:
    """(its retired name, its present one) where the store has brought the family back and its folder is still aside."""
    plain = name.partition(RETIRED)[0]
    present = store.family_names.former(tx).get(plain, plain)
    acts = [act for act in store.audit.of_subject(tx, present) if act["action"] in ("family.retire", "family.restore")]
    if is_retired(present) or not acts or acts[-1]["action"] != "family.restore":
        return None
    was = str(acts[-1]["detail"]["was"])
    folder, aside = folders.of(present), folders.retired / was
    is_left = aside.is_dir() and (not folder.exists() or is_copy(folder, aside))
    return (was, present) if is_left and name in (was, plain) else None


def require_idle(tx: Transaction, store: Store, name: str, act: str) -> None:
    """Raises Conflict while something of the family is under way that could not be continued later."""
    rollout = store.rollouts.active(tx, name)
    if rollout is not None:
        raise Conflict(
            f"Cannot {act} {name}: its rollout {rollout.id} is {rollout.status}, and one that was ended does not go on."
            f" End it first, if that is meant: detent rollout rollback {name}.",
            rollout=rollout.id,
        )
    study = next((running for running in store.studies.unfinished(tx) if running.family == name), None)
    if study is not None:
        raise Conflict(
            f"Cannot {act} {name}: its study {study.id} is {study.status}. Wait for it, or end it: detent study cancel"
            f" {study.id}.",
            study=study.id,
        )
    run = next((running for running in store.runs.unfinished(tx) if running.family == name), None)
    if run is not None:
        what, end = "judge run", f"detent judge cancel {run.id}"
        if isinstance(run, ComparisonRun):
            what, end = "comparison", f"POST /v1/comparisons/{run.id}/cancel"
        elif isinstance(run, EvaluationRun):
            what, end = "evaluation", f"POST /v1/evaluations/{run.id}/cancel"
        raise Conflict(
            f"Cannot {act} {name}: its {what} {run.id} is {run.status}. Wait for it, or end it: {end}.",
            run=run.id,
        )


def _back(retired: str) -> str:
    return f"detent family restore {retired}"


def _forget(context: Context, retired: str, name: str, what: str, aside: Path, *, why: str) -> ChangeReport:
    n, store = 0, context.store
    while part := store.write(lambda tx: store.retained.forget(tx, retired, FORGET_AT_ONCE), rows=FORGET_AT_ONCE):
        n += part
    has_folder = aside.is_dir()
    if has_folder:
        shutil.rmtree(aside)

    def change(tx: Transaction) -> ChangeReport:
        tell(
            tx, store, "family.forget", retired, name, {"n": n, "why": why}, actor=context.actor, at=context.clock.now()
        )
        sentence = f"{what}; {count(n, 'row')} with texts{f' and the folder {aside}' if has_folder else ''}"
        sentence += f" {'is' if n == 1 and not has_folder else 'are'} forgotten, for good; what MLflow has is marked as"
        sentence += " deleted there, and on its disk until `mlflow gc`"
        return ChangeReport(family=name, what=sentence, why=why)

    return store.write(change)
