"""``detent rollout``: start at ``commands.py``."""
