"""Calls of models: one call for a study, journaled before it is sent (``call_model.py``); one answer for a user (``ask_model.py``)."""
