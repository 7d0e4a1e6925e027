"""A family's playbook: short texts learned from what went wrong. Strategy ``playbook`` puts them into the instruction.

Start at ``entries.py``, then ``strategy.py``.
"""
