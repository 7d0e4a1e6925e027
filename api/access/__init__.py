"""Identifies senders and limits what they send: keys, their limits, local callers. Start at ``auth.py``."""
