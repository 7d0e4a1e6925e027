"""When studies start by themselves: schedules, triggers, what keeps one from starting, and the month's money.

Start at ``triggers.py``.
"""
