"""Strategies that need a library (DSPy, GEPA, Optuna) or ask a proposer. One module per strategy; start at
``dspy_programs.py``.
"""
