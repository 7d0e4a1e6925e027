"""Studies by kind of family, with the store: what one costs, who evaluates, what its report adds.

Start at ``kind.py``.
"""
