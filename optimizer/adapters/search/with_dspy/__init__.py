"""What strategies have of DSPy, which takes a second to load: they import these modules when a search begins.

A Family as DSPy's program is ``programs.py``, the model that writes ``proposer.py``. Start at ``programs.py``.
"""
