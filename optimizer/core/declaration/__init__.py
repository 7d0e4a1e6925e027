"""From plain data to a Family: every fault at once, each with its place; and the draft of a new one.

Start at ``read.py``, then ``rules.py``.
"""
