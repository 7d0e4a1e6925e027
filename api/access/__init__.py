"""Who is asking, and how much of it: keys, limits of keys, local callers. Start at ``auth.py``."""
