"""What lives here: one verb per module; each job reads what the stage before it wrote, asks ``core`` to decide, and writes its own rows.
What does not: SQL, HTTP or model libraries (``adapters``), and rules (``core``). Jobs do not call one another.
Start reading at ``ingest_feedback.py``, where every outcome enters."""
