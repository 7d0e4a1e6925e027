"""Background work outside studies: evaluations, comparisons, and what a judge does.

Start at ``queue_run.py``; ``carry_out_run.py`` carries it out.
"""
