"""The steps that bring a database to this version of the tables, run by ``Database.migrate``; stored rows stay.

``tables/`` has the tables as they are now. A released step is never edited; write the next one. A step that says
``additive = True`` leaves what the version before it can read and write: new tables, columns that may be left out,
indexes that refuse nothing, and no value that means something else. The file's ``user_version`` is the first step whose
version can do so with every step since. Start reading at ``env.py``, then ``versions/`` in order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from sqlalchemy import Connection, inspect

from optimizer.adapters.store.engine import open_engine, sqlite_path
from optimizer.core.base.errors import Conflict

HERE = Path(__file__).parent
_alone = threading.Lock()  # Alembic's context, which env.py reads, is one for the whole process


def upgrade(url: str, alone: Callable[[], AbstractContextManager[object]] = nullcontext) -> str | None:
    """Runs every step that the database has not seen, in one transaction.

    Returns the revision of a store that a later version made, which stays as it is where all steps since are additive.

    Raises Conflict, with not a byte changed, where a version made it that had other steps: one of before the first
    release, or a later one whose steps are not all additive.
    """
    (revision, first_reader), known = _revisions_of(url), revisions()
    if revision is not None and revision not in known:
        if first_reader and revision > known[-1] >= f"{first_reader:04}":
            return revision
        is_later = revision > known[-1]
        restore = (
            ", restore a backup of before the upgrade (`detent restore FILE --forgotten FILE`)" if is_later else ""
        )
        raise Conflict(
            f"The store was made by {'a later' if is_later else 'another'} version of this program (its tables are at"
            f" {revision}, this version knows {known[0]} to {known[-1]}) and is left as it is: go on with the version"
            f" that made it{restore}, or start a new home (`detent init DIR`) and import the sheets again"
            " (`detent import SHEET --family F`)."
        )
    if revision != known[-1]:
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        sqlite_path(url).parent.mkdir(parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", str(HERE).replace("%", "%%"))
        steps = ScriptDirectory.from_config(config).walk_revisions()  # the last one first
        first_reader = next(int(step.revision) for step in steps if not getattr(step.module, "additive", False))
        engine = open_engine(url, "create")
        try:
            with _alone, alone(), engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.exec_driver_sql(f"PRAGMA user_version = {first_reader}")
        finally:
            engine.dispose()
    return None


def later_revision(connection: Connection) -> str | None:
    """The revision of tables that a later version made; None where this one knows it."""
    revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if revision in revisions() else str(revision)


def revisions() -> list[str]:
    """All steps in order, by their files' names: loading Alembic takes most of a second, and most starts have nothing
    to do.
    """
    return sorted(path.name[1:5] for path in (HERE / "versions").glob("r[0-9]*.py"))


def _revisions_of(url: str) -> tuple[str | None, int]:
    """That of the tables, and the first whose version can read them; 0 where no version but theirs can."""
    if not sqlite_path(url).exists():
        return None, 0
    engine = open_engine(url, "look")
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None, 0
            revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            first_reader = connection.exec_driver_sql("PRAGMA user_version").scalar()
            return revision, int(first_reader or 0)
    finally:
        engine.dispose()
