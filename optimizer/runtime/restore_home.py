"""Makes a home of a backup: checks every file, brings the store to this version, and holds all rollouts."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from optimizer.core.base.errors import Conflict, InvalidInput, NotFound
from optimizer.runtime import wiring
from optimizer.runtime.back_up_home import FORMAT, MANIFEST, MLFLOW, STORE
from optimizer.runtime.personal_home import (
    BESIDE_BACKUPS,
    FORGOTTEN,
    NOTES,
    LastForgetting,
    forgetting_home,
    forgotten_in,
    remember,
    remember_folder,
)

if TYPE_CHECKING:
    from optimizer.host.config import Settings

PART = ".restore.part"
LAST = "var"  # a home without it serves nothing
MLFLOW_PLACES = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeRestore:
    """``held``: rollouts that were active, with their families. ``made_at``, ``made_by``: when the backup was made, and
    by which version.
    """

    home: Path
    checksum: str
    made_at: str
    made_by: str
    n_files: int
    held: Mapping[str, str]
    n_forgotten: int


def restore_home(settings: Settings, file: Path, *, actor: str, forgotten: str | None = None) -> HomeRestore:
    """Makes the backup this home. If it is killed, the home has no ``var``, and the next call begins anew.

    Args:
        forgotten: the file that names who was forgotten since; None: the one beside the backup; "none": nobody was.
    Raises:
        NotFound: no such file, or none that names who was forgotten.
        Conflict: the home has files of its own, or one of the people cannot be forgotten in the backup.
        InvalidInput: the file is no whole backup, or of a newer version.
    """
    home, part = settings.home, settings.home / PART
    was_begun = part.is_dir()  # a call that was killed began it, so the files beside it come from a backup
    present = [entry.name for entry in home.iterdir() if entry != part] if home.is_dir() else []
    tops = {"config", "experiments", "families", "mlflow", LAST}
    if LAST in present or (not was_begun and tops.intersection(present)):
        raise Conflict(
            f"{home} is no empty home: it has {', '.join(sorted(tops.intersection(present)))}. Restore into a new one:"
            f" DETENT_HOME=new-home detent restore {quote(str(file))}. Nothing was changed."
        )
    if not file.is_file():
        raise NotFound(f"There is no file {file}.")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    try:
        manifest, checksum = _unpack(file, part)
        in_the_way = sorted(entry.name for entry in part.iterdir() if (home / entry.name).exists())
        if in_the_way and not was_begun:
            raise Conflict(f"{home} has {', '.join(in_the_way)}, as the backup has. Restore into a new folder.")
        held = _hold_all(part, actor=actor, manifest=manifest)
        made_at = datetime.fromisoformat(manifest["made_at"]).astimezone(UTC)
        n_forgotten = _forget_again(part, file, made_at, _forgotten_since(file, forgotten), actor=actor)
        _point_at_artifacts(part / MLFLOW, home / "mlflow" / "artifacts")
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        if was_begun:  # else the files of the call that was killed would look like the home's own
            part.mkdir(mode=0o700)
        raise
    shutil.rmtree(part / LAST / "run", ignore_errors=True)  # opening the store to hold rollouts made it
    for entry in sorted(part.iterdir(), key=lambda entry: entry.name == LAST):
        target = home / entry.name
        if target.is_dir():
            shutil.rmtree(target)  # the call that was killed left it
        entry.rename(target)
    part.rmdir()
    return HomeRestore(
        home=home,
        checksum=checksum,
        made_at=manifest["made_at"],
        made_by=manifest["made_by"],
        n_files=len(manifest["files"]),
        held=held,
        n_forgotten=n_forgotten,
    )


def _forgotten_since(file: Path, named: str | None) -> dict[str, LastForgetting]:
    """HMACs, as ``forgotten_in``. Raises NotFound."""
    if named == "none":
        return {}
    beside = file.resolve().parent / BESIDE_BACKUPS if named is None else Path(named)
    if not beside.is_file():
        raise NotFound(
            f"There is no {beside}, which says who was forgotten since the backup was made. Name it: --forgotten FILE;"
            " or say that nobody was: --forgotten none. Nothing was changed."
        )
    return forgotten_in(beside)


def _unpack(file: Path, part: Path) -> tuple[dict[str, Any], str]:
    """The manifest and its SHA-256, once every file fits it."""
    hashes: dict[str, str] = {}
    try:
        with tarfile.open(file, "r|*") as tar:
            for member in tar:
                if not member.isfile():
                    raise InvalidInput(f"{file} holds {member.name!r}, which is no file: it is no backup of Detent.")
                hashes[member.name] = _write(tar, member, part)
        checksum = hashes.pop(MANIFEST)
        manifest: dict[str, Any] = json.loads((part / MANIFEST).read_bytes())
        (part / MANIFEST).unlink()
        declared: Mapping[str, str] = manifest["files"]
    except OSError as error:
        raise InvalidInput(
            f"{file} cannot be unpacked into {part.parent}: {error}. Where there is no room, make some. Nothing was"
            " changed."
        ) from error
    except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{file} is no whole backup ({type(error).__name__}: {error}): it was cut, or is another file. Take another"
            " one. Nothing was changed."
        ) from error
    if manifest.get("format") != FORMAT:
        raise InvalidInput(
            f"{file} has format {manifest.get('format')}, and this version reads {FORMAT}. Restore it with the version"
            f" that made it, {manifest.get('made_by')}."
        )
    wrong = sorted(name for name in {*declared, *hashes} if declared.get(name) != hashes.get(name))
    if wrong or STORE not in declared:
        raise InvalidInput(
            f"{file} was changed or damaged: {', '.join(wrong[:3]) or STORE} is not what the manifest says. Nothing was"
            " changed."
        )
    return manifest, checksum


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, part: Path) -> str:
    """Writes the file below ``part``; returns its SHA-256.

    ``extract(filter="data")`` is no alternative: Pythons before 3.11.4 lack it.
    """
    target = part / member.name
    if not target.resolve().is_relative_to(part.resolve()):
        raise ValueError(f"{member.name!r} leads out of the home")
    target.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None  # of a file
    with content, target.open("xb") as out:
        shutil.copyfileobj(content, out)
    target.chmod(0o600 | member.mode & 0o100)
    with target.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def _hold_all(part: Path, *, actor: str, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Brings the unpacked store to this version's tables, and holds its rollouts.

    No block knows what happened to their users since the backup, so a person says when they go on.
    """
    from optimizer.core.rollout.transitions import possible
    from optimizer.host.config import load_settings
    from optimizer.host.logs import log_to_file
    from optimizer.jobs.rollouts.operate_rollout import ActRequest, hold

    settings = load_settings(home=part, database_url=f"sqlite:///{part / STORE}")
    log_to_file(settings)
    wiring.migrate_store(settings)
    store, clock = wiring.open_store(settings), wiring.open_clock(settings)
    try:
        context = wiring.open_context(settings, actor=actor, store=store, clock=clock)
        with store.read() as tx:
            held_rollouts = {ro.id: ro.family for ro in store.rollouts.all_active(tx) if "hold" in possible(ro)}
        for id in held_rollouts:
            hold(context, ActRequest(id=id, reason=f"restored from the backup of {manifest['made_at']}"))
        detail = {"made_at": manifest["made_at"], "made_by": manifest["made_by"], "held": list(held_rollouts)}
        store.write(
            lambda tx: store.audit.add(
                tx, at=clock.now(), actor=actor, action="home.restore", family=None, subject="", detail=detail
            )
        )
        store.write(store.serving_version.bump)
    finally:
        store.close()
    return held_rollouts


def _forget_again(
    part: Path, backup: Path, made_at: datetime, listed: Mapping[str, LastForgetting], *, actor: str
) -> int:
    """How many were not forgotten in the backup yet. Raises Conflict where one cannot be.

    Of those ``listed``, who was forgotten before the backup was made and came back stays. One whose forgetting was
    under way is forgotten to the end.
    """
    from optimizer.core.views.forgetting import ForgetQuery
    from optimizer.host.config import load_settings
    from optimizer.jobs.upkeep.forget_person import carry_out_forgetting, notes_of, queue_forgetting

    settings = load_settings(home=part, database_url=f"sqlite:///{part / STORE}")
    remember_folder(settings, backup)
    notes = part / NOTES
    if not listed and not any(notes.glob("*.json")):
        return 0
    store, clock = wiring.open_store(settings), wiring.open_clock(settings)
    try:
        ended = set[str]()

        def remember_again(unit: str, at: datetime, own_words: bool) -> None:
            """As of when it was: later backups may have been made after the person came back."""
            ended.add(unit)
            remember(settings, unit, listed[unit].at if unit in listed else at, own_words)

        home = replace(
            forgetting_home(settings, store, clock, wiring.load_families(settings), is_alone=True),
            remember=remember_again,
        )

        def forget(id: str) -> None:
            run = carry_out_forgetting(id, home)
            if run.status != "finished":
                raise Conflict(
                    f"Somebody who was forgotten since stands in this backup. {run.error} To do so, restore it with"
                    " --forgotten none into a home that nobody reads, and forget them there; or take another backup."
                )

        with store.read() as tx:
            under_way = [run.id for run in store.runs.unfinished(tx) if (notes / f"{run.id}.json").exists()]
        for id in under_way:
            forget(id)
        known = forgotten_in(settings.var() / FORGOTTEN)
        new = {unit: last for unit, last in known.items() if any(notes_of(unit, notes))}  # it failed
        for unit, last in listed.items():
            if unit not in known or last.at > known[unit].at or last.at >= made_at:
                new[unit] = last
        new = {unit: last for unit, last in new.items() if unit not in ended}
        for unit, last in new.items():
            query = ForgetQuery(unit=unit, own_words=last.own_words, dry_run=False)
            queued = store.write(
                lambda tx, query=query: queue_forgetting(tx, store, query, actor=actor, at=clock.now())  # type: ignore[misc]
            )
            forget(queued.id)
    finally:
        store.close()
    return len(under_way) + len(new)


def _point_at_artifacts(database: Path, artifacts: Path) -> None:
    """MLflow's store names its artifacts by their whole path, which was the path of the backup's home."""
    if not database.is_file():
        return
    with closing(sqlite3.connect(database)) as connection:
        for table, column in MLFLOW_PLACES.items():
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, instr({column}, '/mlflow/artifacts/') + 17)"
                    f" WHERE {column} LIKE 'file://%/mlflow/artifacts/%'",
                    (artifacts.as_uri(),),
                )
        connection.commit()
