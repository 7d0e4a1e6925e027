"""Parts of bench/judges.py: the recorded judges beside people's ratings, and other packages' intervals.

Nothing here is run by itself.
"""
