"""The comparison with DSPy's own random search: ``task`` what both arms have, ``ours`` and ``dspy_program`` the arms.

Start at ``bench/search_floor.py``.
"""
