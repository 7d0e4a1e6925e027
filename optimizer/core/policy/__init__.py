"""Policies: the knobs of a Variant beside its prompt. When a cheap answer is accepted, what is asked again, what is skipped.

Pure functions over records and settings, so that one rule is searched by replay, explained and executed. No model is called here.
Start at ``knobs.py``: what each knob means.
"""
