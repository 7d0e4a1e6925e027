"""Strategy ``examples``: which few-shot examples to show. Start at ``search.py``."""
