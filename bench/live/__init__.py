"""The live comparison of searches: ``setup`` what every arm shares, ``ours``,
``tasks`` has the rows, ``dspy_arms`` theirs, ``page`` tells.

Start at ``bench/search_live.py``.
"""
