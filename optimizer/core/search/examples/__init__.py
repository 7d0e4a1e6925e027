"""Sets of few-shot examples for ``proposers/examples.py``: how alike examples are, and what each has added.

Start at ``sets.py``.
"""
