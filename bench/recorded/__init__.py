"""Recorded answers of the embedded model, and searches simulated on them.

``tasks`` and ``grid`` say what is asked, ``tables`` keeps what was answered, ``schedules`` holds the rules of a search
beside ours, ``trials`` runs them and ``search_page`` tells.
Start at ``bench/record_answers.py``, then ``bench/search_recorded.py``.
"""
