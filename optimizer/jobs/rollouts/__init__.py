"""A rollout from its start to its end and the week after: start at ``tick.py``, then ``watch_rollout.py``."""
