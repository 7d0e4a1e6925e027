"""Routes that must be fast: prompts (open or filled in), the snapshot, events and chats, with their refusals.

They are a small ASGI application in front of FastAPI, which serves all other routes and documents these. Start at
``application.py``.
"""
