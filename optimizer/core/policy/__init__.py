"""Policies: the knobs of a Variant beside its prompt.

When a cheap answer is accepted, what is asked again, what is skipped.

One rule is searched by replay, explained and executed. No model is called here.
Start at ``policy.py``, then ``steps.py``.
"""
