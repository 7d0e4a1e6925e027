"""What lives here: the plain routes, one module per group, each with a ``routes`` that ``api.app`` includes.

All others are built from the list of use cases (``api.use_cases``). These are none: prompts, events and chats are
answered in front of FastAPI (``api.hot``) and stand here for OpenAPI; ``/health`` and ``/ready`` must answer without
the store, which a use case has; a pipeline's record comes as query or body; model names and ``/metrics`` are passed on
to the gateway. What does not live here: keys, limits and strict bodies (``api.routing``), and the shape of errors
(``api.http.problems``). Start reading at ``serving.py``, the one route that has to be fast.
"""
