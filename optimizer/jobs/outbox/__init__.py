"""Delivers to MLflow and to people: the mirror, and alerts. Start at ``mirror_outbox.py``."""
