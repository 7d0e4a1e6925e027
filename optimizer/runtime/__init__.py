"""What runs: the place where adapters meet ports (``wiring.py``), the worker, the supervisor.

Entry points are in ``processes.py``.
"""
