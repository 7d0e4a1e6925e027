"""What lives here: the steps that bring a database to this version of the tables, run by ``Database.migrate``; what is stored they keep.
What does not: the tables as they are now (``tables.py``). A step once released is never edited; write the next one.
Start reading at ``env.py``, then ``versions/`` in order."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, inspect

from optimizer.adapters.database.engine import is_sqlite, open_engine, sqlite_path
from optimizer.core.errors import Conflict

HERE = Path(__file__).parent


def upgrade(url: str) -> None:
    """Runs every step that the database has not seen, in one transaction. Raises Conflict when a newer version wrote the database."""
    if is_sqlite(url):
        sqlite_path(url).parent.mkdir(parents=True, exist_ok=True)
    engine = open_engine(url, "create")
    try:
        if _version_of(engine) != newest():
            _run_steps(engine)
    finally:
        engine.dispose()


def newest() -> str:
    """The last step's revision, by its file's name: to load Alembic and all steps takes most of a second, and most starts have nothing to do."""
    return max(path.name for path in (HERE / "versions").glob("r[0-9]*.py"))[1:5]


def _version_of(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _run_steps(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise Conflict(
            f"The database was written by another version of this program ({error}). Install that version or a later one, or name another "
            "database; nothing was changed."
        ) from error
