"""Prompts of a Detent server, decided and filled in within the application.

What lives here: the client that goes into applications; ``adapters`` holds what fits it to other packages. What does
not: the server, of which nothing is imported. Start reading at ``session.py``.
"""

from detent_client.assignment import Assignment
from detent_client.async_client import AsyncClient
from detent_client.choice import Choice
from detent_client.client import Client
from detent_client.errors import (
    DetentError,
    InvalidAssignment,
    InvalidInput,
    NeedsServer,
    Unavailable,
    UnknownFamily,
)
from detent_client.prompt import Prompt
from detent_client.status import FamilyStatus, Status

__all__ = [
    "Assignment",
    "AsyncClient",
    "Choice",
    "Client",
    "DetentError",
    "FamilyStatus",
    "InvalidAssignment",
    "InvalidInput",
    "NeedsServer",
    "Prompt",
    "Status",
    "Unavailable",
    "UnknownFamily",
]
