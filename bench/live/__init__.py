"""The live comparison of searches: ``setup`` what every arm shares, ``ours``,
``tasks`` has the rows, ``dspy_arms`` and ``mlflow_arm`` the arms, ``page`` tells.

What is recorded beforehand is in ``bench/recorded``. Start at ``bench/search_live.py``.
"""
