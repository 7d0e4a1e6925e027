"""Strategies that need a library (DSPy, GEPA, Optuna) or ask a proposer: one a module, declared by ``@strategy``.

A module that is put here is found; it imports its library when a search begins. What several have of DSPy is
``with_dspy/``. Start at ``bootstrap.py``.
"""
