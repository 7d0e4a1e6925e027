"""Shows the progress of work in a worker or of a long read. Start at ``followed_run.py``."""
