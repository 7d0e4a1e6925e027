"""What MLflow and people are told: the mirror, alerts and their delivery. Start at ``mirror_outbox.py``."""
