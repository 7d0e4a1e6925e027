"""What is measured of one answer: small pure functions from an expected and a given value to [0, 1].

They are named in ``optimizer/core/family/metrics.py`` and described in docs/reference/scorers.md. Weights, versions
and what an unreadable output is worth stand in ``scoring.py`` above. Start at ``overlap.py``, then ``entities.py``.
"""
