"""LightRAG on Detent's families. Start at ``families.py``."""
