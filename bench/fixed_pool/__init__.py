"""Parts of bench/prompt_tables.py: the recorded tables and their split, the rules beside ours,
the trials and their page.

Nothing here is run by itself.
"""
