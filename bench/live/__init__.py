"""The live comparison of searches: ``setup`` what every arm shares, ``ours``,
``dspy_arms`` and ``mlflow_arm`` the arms, ``begun`` puts a study into a store, ``page`` tells.

What is recorded beforehand is in ``bench/recorded``. Start at ``bench/search_live.py``.
"""
