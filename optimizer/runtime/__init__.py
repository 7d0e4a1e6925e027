"""Runs the product: the wiring of adapters to ports, the worker, and the supervisor of all processes.

Start at ``wiring.py``. The processes' entry points are in ``optimizer/processes.py``.
"""
