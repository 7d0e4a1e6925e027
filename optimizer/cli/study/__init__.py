"""``detent study``: start at ``commands.py``. ``open_project.py`` is for programs in Python, which run studies too."""
