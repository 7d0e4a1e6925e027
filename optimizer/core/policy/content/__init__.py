"""The content pipeline's policy: which items are processed in full, which lightly, and which are given up early.

Pure functions over records and knobs; one definition serves a single record and numpy columns. Nothing here calls a model or reads a file.
Start at ``pipeline.py``: what is decided about one record, and why.
"""
