"""A rollout from its start to its end.

``blocks.py`` says what evidence is, ``evidence_state.py`` adds it up, ``next_action.py`` says what follows,
``transitions.py`` changes the state, and ``decision_log.py`` keeps the chain of decisions. Start at ``next_action.py``:
it decides that a rollout advances.
"""
