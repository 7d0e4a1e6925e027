"""Simulated rollouts, run through the product's own gates; rules of others are in ``rules``.

Start with ``tally.py``.
"""
