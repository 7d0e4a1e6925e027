"""What lives here: the steps that bring a database to this version of the tables, run by ``Database.migrate``; what is stored they keep.
What does not: the tables as they are now (``tables.py``). A step once released is never edited; write the next one.
Start reading at ``env.py``, then ``versions/`` in order."""

from __future__ import annotations

from pathlib import Path

from optimizer.adapters.database.engine import is_sqlite, open_engine, sqlite_path
from optimizer.core.errors import Conflict


def upgrade(url: str) -> None:
    """Runs every step that the database has not seen, in one transaction. Raises Conflict when a newer version wrote the database."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    if is_sqlite(url):
        sqlite_path(url).parent.mkdir(parents=True, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    engine = open_engine(url, "create")
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise Conflict(
            f"The database was written by another version of this program ({error}). Install that version or a later one, or name another "
            "database; nothing was changed."
        ) from error
    finally:
        engine.dispose()
