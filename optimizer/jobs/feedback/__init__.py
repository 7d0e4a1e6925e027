"""Events in, summed up, and asked about: start at ``ingest_feedback.py``."""
