"""Strategies that need a library: DSPy, GEPA, Optuna. One module per strategy; start at ``dspy_programs.py``."""
