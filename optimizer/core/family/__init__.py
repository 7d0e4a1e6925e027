"""A family and its Variants: their inputs, what a model is sent, how its answer is read, and what is masked.

``declaration`` reads a family from a file, with all its faults. Start at ``family.py``, then ``variant.py`` and
``rendering.py``.
"""
