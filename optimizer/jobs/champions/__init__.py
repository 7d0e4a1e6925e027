"""Champions while they serve: do they get worse, exceed limits, and would the way back work?

Start at ``watch_champion.py``.
"""
