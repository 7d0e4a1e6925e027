"""How good answers are: scores, paired comparisons, gates before a rollout, suites, and baselines without a model.

Start at ``scoring.py``, then ``gates.py``. ``metrics/`` has a function for each metric.
"""
