"""One verb per module: each job reads what the stage before it wrote, asks ``core`` to decide, and writes its own rows.

SQL, HTTP and model libraries are in ``adapters``, rules in ``core``. A job calls jobs of its own room or of a lower
one; pyproject.toml has the order of the rooms. Start reading at ``feedback/ingest_feedback.py``, where every outcome
enters.
"""
