"""Calls of models. Each wrapper is a LanguageModel around another.

Start at ``call_model.py``, which puts together a study's models, and ``ask_model.py``, which puts together a user's.
Code that blocks waits for them in ``blocking.py``. ``core/models/`` decides about a call.
"""
