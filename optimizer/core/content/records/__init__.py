"""What the pipeline reports about its items, and how it does. Start at ``record.py``."""
