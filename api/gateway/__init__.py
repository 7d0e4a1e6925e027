"""The gateway process: every model call that a client asks for. Start at ``chat.py``."""
