"""What lives here: one module per outside thing (database, models, MLflow, family files …), each behind a protocol of ``optimizer.ports``.
What does not: decisions (``core``), order of work (``jobs``). Heavy libraries are imported inside functions, never on import.
Start reading at ``database/database.py``; ``memory.py`` is the smallest adapter of all."""
