"""One room per outside thing (store, models, MLflow, files ...), each behind a protocol of ``optimizer.ports``.

Decisions are in ``core``, the order of work is in ``jobs``. Heavy libraries are imported inside functions, never on
import. Start reading at ``store/database.py``; ``clock.py`` is the smallest adapter of all.
"""
