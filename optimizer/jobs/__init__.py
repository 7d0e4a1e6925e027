"""What lives here: one verb per module; each job reads what the stage before it wrote, asks ``core`` to decide, and
writes its own rows.

What does not: SQL, HTTP or model libraries (``adapters``), and rules (``core``). A job calls jobs of its own room or of
a lower one; the order of the rooms stands in pyproject.toml. Start reading at ``feedback/ingest_feedback.py``, where
every outcome enters.
"""
