"""The steps that bring a database to this version of the tables, run by ``Database.migrate``; stored rows stay.

``tables/`` has the tables as they are now. A released step is never edited; write the next one. Start reading at
``env.py``, then ``versions/`` in order.
"""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import inspect

from optimizer.adapters.store.engine import is_sqlite, open_engine, sqlite_path
from optimizer.core.base.errors import Conflict

HERE = Path(__file__).parent
_alone = threading.Lock()  # Alembic's context, which env.py reads, is one for the whole process


def upgrade(url: str) -> None:
    """Runs every step that the database has not seen, in one transaction.

    Raises Conflict, with not a byte changed, where a version made it that had other steps: one of before the first
    release, or a later one.
    """
    revision, known = _revision_of(url), revisions()
    if revision is not None and revision not in known:
        raise Conflict(
            f"The store was made by another version of this program (its tables are at {revision}, this version knows"
            f" {', '.join(known)}) and is left as it is: go on with the version that made it, or start a new home"
            " (`detent init DIR`) and import the sheets again (`detent import SHEET --family F`)."
        )
    if revision != known[-1]:
        from alembic import command
        from alembic.config import Config

        if is_sqlite(url):
            sqlite_path(url).parent.mkdir(parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", str(HERE).replace("%", "%%"))
        engine = open_engine(url, "create")
        try:
            with _alone, engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        finally:
            engine.dispose()


def revisions() -> list[str]:
    """All steps in order, by their files' names: loading Alembic takes most of a second, and most starts have nothing
    to do.
    """
    return sorted(path.name[1:5] for path in (HERE / "versions").glob("r[0-9]*.py"))


def _revision_of(url: str) -> str | None:
    if is_sqlite(url) and not sqlite_path(url).exists():
        return None
    engine = open_engine(url, "look")
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    finally:
        engine.dispose()
