"""Who sends a request, and how much they may send: keys, their limits, local callers. Start at ``auth.py``."""
