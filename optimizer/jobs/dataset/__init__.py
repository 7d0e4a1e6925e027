"""Examples in and out: imports, what a study trains and confirms on, which corrections may be quoted.

Start at ``import_examples.py``.
"""
