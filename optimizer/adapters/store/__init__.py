"""The store on SQLite: one writer thread per process, the tables, and their migrations.

Rules on what may be written when are in ``core`` and ``jobs``. What SQLite alone has is in ``engine.py``. Start
reading at ``database.py`` (the Store), then ``writer.py`` (group commit) and ``tables/``; each table is written in
``repositories/``.
"""

from optimizer.adapters.store.database import Database

__all__ = ["Database"]
