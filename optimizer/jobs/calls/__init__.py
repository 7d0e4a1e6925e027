"""Calls of models, each wrapper a LanguageModel around another.

Start at ``call_model.py``, where a study's are put together, and ``ask_model.py``, where a user's are. ``blocking.py``
is where code that blocks waits for them. What is decided about a call stands in ``core/models/``.
"""
