"""What MLflow and people are sent: the mirror, and the delivery of alerts. Start at ``mirror_outbox.py``."""
