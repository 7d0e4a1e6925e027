"""A rollout from its start to the week after its end. Start at ``tick.py``, then ``watch_rollout.py``."""
