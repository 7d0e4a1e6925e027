"""``detent study``: start at ``commands.py``."""
