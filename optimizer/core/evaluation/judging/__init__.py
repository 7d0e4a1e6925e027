"""A model that scores answers, and whether its scores agree with people's ratings.

Start at ``calibration.py``.
"""
