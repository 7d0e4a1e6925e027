"""How good answers are: scores, paired comparisons, the gates before a rollout, suites,
and what answers without a model would score.

Start at ``scoring.py``, then ``gates.py``; ``scorers/`` has a function for each thing that is measured of an answer.
"""
