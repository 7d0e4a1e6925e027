"""What an operator does to an installation: keys, retention, a clock put right. Start at ``manage_keys.py``."""
