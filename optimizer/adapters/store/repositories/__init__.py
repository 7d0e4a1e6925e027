"""One module per group of tables, named after what it keeps. Start at ``events.py``."""
