"""The rules of others, as their papers and documents give them, for comparison only.

The product imports nothing from here.

Checked against the outside vectors in tests/unit/statistics/test_statistics_vectors.py. Start with ``totals.py``.
"""
