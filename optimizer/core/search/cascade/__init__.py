"""Thresholds of a cascade, found by replay of recorded answers, and what production says of them.

Start at ``records.py`` (what given thresholds do), then ``strategy.py``.
"""
