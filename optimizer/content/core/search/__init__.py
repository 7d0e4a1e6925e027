"""Settings of the content pipeline, found and compared by replay of recorded items. Start at ``replay.py``."""
