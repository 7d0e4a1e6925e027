"""Parts of bench/confidence.py and bench/content_commands.py: their rows, and the plain rules beside them.

Nothing here is run by itself.
"""
