"""Parts of bench/confidence.py and bench/content_commands.py: their rows, the plain rules beside them; result pages.

Nothing here is run by itself.
"""
