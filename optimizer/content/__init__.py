"""The content pipeline: which items are processed in full, which lightly, and which are given up early.

A product beside prompts, in one slice: ``core/`` decides, ``jobs/`` are its verbs, ``adapters/`` read its files, and
search and learn with libraries. The rest of the product knows it by name alone, as a kind of family (``core/kind.py``)
and of study (``jobs/replayed_study.py``). Start at ``core/policy/pipeline.py``.
"""
