"""Calls of models, each wrapper a LanguageModel around another.

A study's are put together in ``call_model.py``, a user's in ``ask_model.py``. ``blocking.py`` is where code that blocks
waits for them. What is decided about a call stands in ``core/models/``.
"""
