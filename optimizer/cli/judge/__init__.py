"""``detent judge``: what a family's judge says, and whether it agrees with people. Start at ``commands.py``."""
