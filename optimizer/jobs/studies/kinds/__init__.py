"""What a study of a kind of family does with the store: what it costs, who evaluates, what its report adds.

Start at ``kind.py``.
"""
