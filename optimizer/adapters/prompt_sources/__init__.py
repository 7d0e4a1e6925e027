"""Other systems from which a family's prompt can come, one a module, declared by ``@prompt_source``.

Files are read where the command is typed. Addresses and keys are in the environment of its caller, never in what it
says. A module in this folder is found by itself; it imports nothing heavy at its top. Start at ``dspy.py``.
"""
