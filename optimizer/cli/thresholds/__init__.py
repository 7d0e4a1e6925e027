"""``detent thresholds`` and ``detent student``: what a cascade's tiers are worth. Start at ``commands.py``."""
