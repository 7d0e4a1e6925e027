"""``detent thresholds``: start at ``commands.py``."""
