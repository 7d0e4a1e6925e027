"""Parts of bench/judges.py: the recorded judges beside people's ratings, other packages' intervals, the page.

Nothing here is run by itself.
"""
