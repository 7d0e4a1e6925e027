"""What is measured of one answer: small pure functions from an expected and a given value to [0, 1].

``@metric`` beside a function says what is known of it; a module that is put here is found. docs/reference/scorers.md
describes each. Weights and what an unreadable output is worth stand in ``scoring.py`` above. Start at ``equality.py``,
then ``words.py``.
"""
