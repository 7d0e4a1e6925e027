"""What a command changes: one protocol,
``LocalOperations`` on the store and ``RemoteOperations`` on the running server.

Reading is not here: every command reads the store. ``Session.operations`` chooses. Start at ``protocol.py``.
"""
