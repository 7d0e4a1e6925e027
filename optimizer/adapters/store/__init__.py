"""What lives here: the store on SQLite or PostgreSQL: one writer thread per process, the tables,
and their first schema.

What does not: rules on what may be written when (``core`` and ``jobs``). SQL of one dialect only stands in
``engine.py``. Start reading at ``database.py`` (the Store), then ``writer.py`` (group commit) and ``tables/``; each
table is written in ``repositories/``.
"""

from optimizer.adapters.store.database import Database

__all__ = ["Database"]
