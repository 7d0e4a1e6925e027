"""A family's playbook: short texts learned from what went wrong, of which strategy ``playbook`` makes a section of the
instruction. Start at ``entries.py``, then ``strategy.py``.
"""
