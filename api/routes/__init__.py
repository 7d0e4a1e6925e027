"""What lives here: one module per group of routes, each with a ``routes`` that ``api.app`` includes.
What does not: keys, limits and strict bodies (``api.routing``), and the shape of errors (``api.http.problems``).
Start reading at ``serving.py``, the one route that has to be fast."""
