"""What is decided about one item, and why; one definition serves a single record and numpy columns.

Start at ``pipeline.py``.
"""
