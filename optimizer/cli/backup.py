"""``detent backup`` and ``detent restore``: a whole home in one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from optimizer.cli.output import Json, say, show, tell_change
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file; .gz packs it.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Write everything of this home into one file, while its servers go on.

    Store, running studies, MLflow's store and artifacts, keys, feedback that waits on disk, families and configuration.
    Whoever has the file has all of it, keys too: it is readable by you alone.

    Example: detent backup /mnt/backups/detent-2026-11-24.tar
    """
    from importlib.metadata import version

    from optimizer.cli.progress import counting
    from optimizer.runtime.back_up_home import back_up_home
    from optimizer.runtime.personal_home import BESIDE_BACKUPS

    settings = Session().settings
    with counting("pages copied") as progress:
        report = back_up_home(settings, file, at=datetime.now(UTC), version=version("detent-server"), progress=progress)
    show(as_json, report)
    say(
        f"{count(report.n_files, 'file')}, {report.n_bytes / 1e6:,.1f} MB in {report.file}, checksum {report.checksum}."
    )
    say(f"Keep {BESIDE_BACKUPS} beside it: it says who was forgotten, so that a restore forgets them again.")
    for place in report.not_in_it:
        say(f"Not in it: {place}.")
    say(f"Bring it back, into a new folder: DETENT_HOME=new-home detent restore {quote(str(report.file.resolve()))}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What a backup wrote.", show_default=False)],
    forgotten: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|none",
            help="Who was forgotten since; by default detent-forgotten.jsonl beside the backup.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a home of a backup, in an empty folder; its rollouts are held until you resume them.

    People who were forgotten since the backup was made are forgotten in it again, before it becomes a home.

    Every file is checked first, and the store is brought to this version. What was sent to the other home after the
    backup is not in this one. Let one of the two serve: both would go on with the same studies and rollouts.

    Example: DETENT_HOME=new-home detent restore /mnt/backups/detent-2026-11-24.tar
    """
    from optimizer.runtime.restore_home import restore_home

    session = Session()
    settings = session.settings
    session.before_change()
    report = restore_home(settings, file, actor=session.actor, forgotten=forgotten)
    show(as_json, report)
    tell_change(
        f"{count(report.n_files, 'file')} of {report.made_at} are in {report.home}, checksum {report.checksum}.",
        why="",
        undo=f"remove config, families, mlflow and var of {report.home}",
        then="detent doctor; detent rollout verify ID; detent serve",
    )
    if report.n_forgotten:
        are = "is" if report.n_forgotten == 1 else "are"
        say(f"Forgotten since, and in it no more, {are} {count(report.n_forgotten, 'person', 'people')}.")
    for id, family in report.held.items():
        say(f"Held: {id}. Look at it: detent rollout status {family}; let it go on: detent rollout resume {family}")
