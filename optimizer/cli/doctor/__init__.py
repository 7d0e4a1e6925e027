"""``detent doctor``: start at ``commands.py``."""
