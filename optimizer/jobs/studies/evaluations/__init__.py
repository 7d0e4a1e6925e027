"""Parts of an evaluation outside a study: what it asks, how it asks golden rows, and how it takes times.

Start at ``plan_evaluation.py``; ``../evaluate_variant.py`` puts them together, ``runs/evaluate_suites.py`` by suite.
"""
