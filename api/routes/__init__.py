"""The plain routes, one module per group, each with a ``routes`` that ``api.app`` includes.

All other routes are built from the list of use cases (``api.use_cases``). These are none: ``api.hot`` answers prompts,
events and chats in front of FastAPI, and they are here for OpenAPI; ``/health`` and ``/ready`` must answer without the
store, which a use case has; a pipeline's record comes as query or body; an export is a tar and ``/mcp`` a protocol;
model names and ``/metrics`` are passed on to the gateway. Keys, limits and strict bodies are in ``api.routing``, the
shape of errors in ``api.http.problems``. Start reading at ``operations.py``.
"""
