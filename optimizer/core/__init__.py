"""The rules of the product: values in, values out. Families, Variants, scoring, datasets, rollouts and the errors all of them raise.

Nothing here reads a file, a clock, a database or the network, and nothing here imports the other packages.
Start with ``family.py`` (what a user declares), then ``variant.py`` and ``rendering.py`` (what a model is sent).
"""
