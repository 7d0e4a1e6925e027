"""A family and its Variants: what goes in, what is sent to a model, what is read from its answer, what is masked.

Reading a family from a file, with all its faults, is ``declaration``. Start at ``family.py``, then
``variant.py`` and ``rendering.py``.
"""
