"""Examples and what is drawn from them: the split that each gets for ever, how alike two are, how labels are spread.

Start at ``examples.py``.
"""
