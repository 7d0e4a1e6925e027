"""``detent family``: start at ``commands.py``."""
