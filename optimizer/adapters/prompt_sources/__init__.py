"""Where prompts come from when a family is made of one: other systems, one a module, declared by ``@prompt_source``.

Files are read where the command is typed. Addresses and keys stand in the environment of its caller, never in what it
says. A module that is put here is found; it imports nothing heavy at its top. Start at ``dspy.py``.
"""
