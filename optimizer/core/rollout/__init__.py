"""A rollout from its start to its end: blocks of evidence, what is known, what follows, the chain of decisions.

``evidence_state.py`` folds blocks, ``next_action.py`` says what follows, ``transitions.py`` changes the state,
``decision_log.py`` keeps the chain. Start at ``next_action.py``: it is decided there that a rollout advances.
"""
