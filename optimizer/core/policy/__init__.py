"""Policies: the knobs of a Variant beside its prompt, such as when a cheap answer is accepted.

One rule is searched by replay, explained and executed. No model is called here.

Start at ``policy.py``, then ``steps.py``.
"""
