"""How long a rollout would take, whom it would reach, and what the gates would have done on recorded traffic.

Start at ``forecast.py``.
"""
