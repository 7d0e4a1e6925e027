"""The command line: one module per noun, each a thin edge that parses,
calls one job or one route, and shows the answer.

No decision lives here; jobs and core decide. Heavy imports stand inside the commands, so that ``--help`` is quick.
Start reading in ``app.py`` (the tree of commands), then ``session.py`` (settings, store and server, and what is carried
out whatever the server says) and ``output.py`` (what is printed where).
"""

from optimizer.cli.app import main

__all__ = ["main"]
