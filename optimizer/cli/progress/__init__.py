"""How far something is that goes on: in a worker, or in a long read. Start at ``followed_run.py``."""
