"""What lives here: the store on SQLite or PostgreSQL; one module per group of tables, one writer thread per process, migrations.
What does not: rules on what may be written when (``core`` and ``jobs``). SQL of one dialect only stands in ``engine.py``.
Start reading at ``database.py`` (the Store), then ``writer.py`` (group commit) and ``tables.py``."""

from optimizer.adapters.database.database import Database

__all__ = ["Database"]
