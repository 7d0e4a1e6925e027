"""Families and their Variants: created, synced from files, adopted, exported. Start at ``sync_families.py``."""
