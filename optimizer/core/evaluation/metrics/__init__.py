"""The metrics: small pure functions from an expected and a given value to [0, 1].

``@metric`` beside a function declares it; a module in this folder is found by itself. docs/reference/scorers.md
describes each. Weights, and the score of an unreadable output, are in ``scoring.py`` above. Start at ``equality.py``,
then ``words.py``.
"""
