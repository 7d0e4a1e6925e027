"""A graph is extracted, verified, repaired and asked, with families of Detent at every step. Start at ``story.py``."""
