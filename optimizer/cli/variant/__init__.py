"""``detent variant``: start at ``commands.py``."""
