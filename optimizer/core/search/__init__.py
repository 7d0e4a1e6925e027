"""How better Variants are looked for: the study, its strategies, the space, what it aims at and what it will cost.

Start at ``study.py``, then ``strategy.py`` and the table in ``strategies.py``. Sets of examples are in ``examples/``,
thresholds of cascades in ``cascade/``, what a family learns from failures in ``playbook/``.
"""
