"""The content pipeline's own verbs: take its reports, watch them, replay its settings.

Start at ``replayed_study.py``.
"""
