"""How better Variants are looked for: the study, its strategies, the space, what it aims at and what it will cost.

Start at ``study.py``, then ``strategy.py``. The strategies that need no library are in
``proposers/``, sets of examples in ``examples/``, thresholds of cascades in ``cascade/``, what a family learns from
failures in ``playbook/``.
"""
