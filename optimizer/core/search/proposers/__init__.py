"""Strategies that need no library, one a module, declared by ``@strategy`` of ``strategy.py``.

Those that have one are in ``optimizer/adapters/search/``. Start at ``bases.py``.
"""
