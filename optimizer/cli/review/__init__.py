"""``detent review``: questions that only a person may answer. Start at ``commands.py``."""
