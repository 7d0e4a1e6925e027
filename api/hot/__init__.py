"""Routes that must be fast: prompts (open or filled in), the snapshot, events and chats, with their
refusals. A small ASGI application in front of FastAPI, which keeps everything else and documents these. Start at
``application.py``.
"""
