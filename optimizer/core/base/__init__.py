"""What every room speaks: errors, canonical JSON, numbers in words, values that pass between stages.

Nothing here knows a family. Start at ``errors.py``.
"""
