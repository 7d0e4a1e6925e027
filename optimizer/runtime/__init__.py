"""What runs: the place where adapters meet ports (``wiring.py``), the worker, the supervisor.

Start at ``wiring.py``. The processes' entry points are in ``optimizer/processes.py``.
"""
