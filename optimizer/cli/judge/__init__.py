"""``detent judge``: whether a family's judge agrees with people. Start at ``commands.py``."""
