"""``detent serve`` and ``detent status``: what runs, and what it does by itself. Start at ``serve.py``."""
