"""What stands in the path of an answer: prompts, filled in or open, the snapshot, events and chats, whole, refusals
included. A small ASGI application in front of FastAPI, which keeps everything else and documents these. Start at
``application.py``.
"""
