"""Gives a family another name; its old name still leads to it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated

from pydantic import Field

from optimizer.core.base.errors import Conflict, Fault, InvalidFamily, InvalidInput, NotFound, Refused
from optimizer.core.family.family import NAME
from optimizer.core.serving.family_names import is_retired
from optimizer.jobs.context import Context
from optimizer.jobs.families.family_folders import FILE, Folders, copied_beside, is_copy
from optimizer.jobs.families.retire_family import require_idle
from optimizer.jobs.record_change import ChangeReport, checked_reason, tell
from optimizer.jobs.request import FamilyRequest, Reason
from optimizer.ports import Store, Transaction

_NAME_LINE = re.compile(r"^name:.*$", re.MULTILINE)


class RenameRequest(FamilyRequest):
    name: Annotated[str, Field(max_length=200, description="The name from now on")]
    confirm: Annotated[str | None, Field(description="The family's name as it is")] = None
    reason: Reason = ""


def rename_family(context: Context, request: RenameRequest) -> ChangeReport:
    """Gives a family another name; tokens, events, prompts and chats that name the old one go on finding it.

    Renames in the store, then folder and file. Safe to repeat: what was cut off goes on. The store's rows stay as they
    are: they stand under a key, and both names mean it. The hash chains of its rollouts hold no name.

    Raises:
        NotFound: there is no family of that name.
        InvalidInput: the new one is no name of a family.
        Refused: ``confirm`` is not the old one.
        Conflict: the new name is in use; or a rollout, study or judge run is active, since each goes on with what it
            read when it began.
    """
    old, new, store, actor = request.family, request.name, context.store, context.actor
    why, at, folders = checked_reason(request.reason), context.clock.now(), Folders.of_home(context.settings)
    if NAME.fullmatch(new) is None:
        detail = "a family's name has 2 to 63 lower-case letters, digits and _, and begins with a letter"
        raise InvalidInput(f"{new!r} cannot be the name: {detail}.", [Fault(pointer="/name", detail=detail)])
    folder, file = folders.of(old), folders.of(old) / FILE
    target = folders.of(new)
    with store.read() as tx:
        present = store.family_names.former(tx).get(old, old)
        is_half_done = old != present == new and not (folder.is_dir() and target.exists())
        is_half_done |= old != present == new and _is_left_over(folder, target, new)
        has_served = bool(store.champions.history(tx, old)) and not is_retired(present)
        if not is_half_done:
            _check(tx, store, old, new, present=present, known=has_served)
    if not file.is_file() and not target.is_dir():
        raise NotFound(f"There is no file {file}, so there is no family {old!r} to rename.", family=old)
    if not is_half_done and target.exists():
        raise Conflict(f"There is a folder {target} already. Choose another name, or move it away first.")
    if request.confirm != old:
        raise Refused(
            f"Renaming {old} changes what every page and list calls it. If that is meant, confirm it with the family's"
            f" name: --confirm {old}.",
            confirm=old,
        )
    part = _renamed_copy(folder, target, new) if not target.exists() else None

    def change(tx: Transaction) -> None:
        _check(tx, store, old, new, present=old, known=has_served)
        store.family_names.rename(tx, old, new, at)
        tell(tx, store, "family.rename", new, new, {"was": old, "why": why}, actor=actor, at=at)
        store.outbox.add(tx, "family", new, {"was": old}, at)

    try:
        if not is_half_done:
            store.write(change)
    except BaseException:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
        raise
    if part is not None:
        part.rename(target)  # the reload sees a whole family, and never none
    if folder.is_dir():
        shutil.rmtree(folder)
    report = ChangeReport(
        family=new,
        what=f"{old} is called {new} from now on, and its folder is {target}; tokens, events, prompts and chats"
        f" that name {old} go on, and keys for {old} are for {new} too",
        why=why,
        undo=f"detent family rename {new} {old} --confirm {new}",
    )
    return store.write(lambda tx: report)


def _check(tx: Transaction, store: Store, old: str, new: str, *, present: str, known: bool) -> None:
    if present != old:
        called = "was retired" if is_retired(present) else f"is called {present} now"
        raise NotFound(f"There is no family {old!r}: it {called}.", family=old)
    if not known:
        raise NotFound(f"There is no family {old!r} here; `detent family list` shows those that exist.", family=old)
    require_idle(tx, store, old, "rename")
    former = store.family_names.former(tx)
    holder = former.get(new, new)
    if holder == old or is_retired(holder):
        return
    if holder != new:
        raise Conflict(f"{new} is a former name of {holder} and still leads there. Choose another name.")
    if store.champions.history(tx, new) or any(store.examples.counts(tx, new).values()):
        raise Conflict(
            f"The store knows a family {new} already. Choose another name, or retire it first: detent family delete"
            f" {new} --confirm {new}."
        )


def _is_left_over(folder: Path, target: Path, new: str) -> bool:
    """Whether ``folder`` is what a rename to ``target`` had not removed yet: nothing that is not in ``target``."""
    file = folder / FILE
    if not is_copy(target, folder, but=FILE) or not (target / FILE).is_file():
        return False
    return not file.is_file() or _NAME_LINE.sub(f"name: {new}", _text(file)) == _text(target / FILE)


def _renamed_copy(folder: Path, target: Path, new: str) -> Path:
    """A whole folder for ``target`` beside it, made before anything else is changed: a disk may be full."""
    file = folder / FILE
    text = _text(file)
    if len(_NAME_LINE.findall(text)) != 1:
        detail = f"it needs one line that begins with `name:`, and nothing was changed; write {new} yourself there"
        raise InvalidFamily(f"The file {file} cannot be renamed: {detail}.", [Fault(pointer="/name", detail=detail)])
    part = copied_beside(target, folder)
    (part / FILE).write_text(_NAME_LINE.sub(f"name: {new}", text), encoding="utf-8")
    return part


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")
