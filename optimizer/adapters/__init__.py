"""What lives here: one room per outside thing (store, models, MLflow, files ...),
each behind a protocol of ``optimizer.ports``.

What does not: decisions (``core``), order of work (``jobs``). Heavy libraries are imported inside functions, never on
import. Start reading at ``store/database.py``; ``clock.py`` is the smallest adapter of all.
"""
