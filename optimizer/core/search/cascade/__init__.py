"""Thresholds of a cascade, found by replay of recorded answers, and what production says of them.

Start at ``replay.py`` (what given thresholds do), then ``strategy.py``.
"""
