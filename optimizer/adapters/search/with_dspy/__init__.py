"""What strategies have of DSPy, which takes a second to load: they import these modules when a search begins.

A Family as DSPy's program, and the model that writes, are in ``programs.py``. Start there.
"""
