"""Acts of an operator on an installation: keys, retention, a clock put right. Start at ``manage_keys.py``."""
