"""From plain data to a Family, with every fault at once and each with its place; and the draft of a new family.

Start at ``read.py``, then ``rules.py``.
"""
