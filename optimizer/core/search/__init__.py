"""How better Variants are searched for: the study, its strategies, the space, the aim, and what it will cost.

Start at ``study.py``, then ``strategy.py``. ``proposers/`` has the strategies that need no library, ``examples/`` sets
of examples, ``cascade/`` thresholds of cascades, and ``playbook/`` what a family learns from failures.
"""
