"""Prompts of a Detent server, decided and filled in within the application.

What lives here: the client that goes into applications; ``adapters`` holds what fits it to other packages,
``notebook`` what a person asks a server in Python. What does not: the server, of which only ``Detent.open`` imports
something. Start reading at ``session.py``.
"""

from typing import TYPE_CHECKING, Any

from detent_client.assignment import Assignment
from detent_client.async_client import AsyncClient
from detent_client.choice import Choice
from detent_client.client import Client
from detent_client.errors import DetentError, InvalidAssignment, InvalidInput, NeedsServer, Unavailable, UnknownFamily
from detent_client.prompt import Prompt
from detent_client.status import FamilyStatus, Status

if TYPE_CHECKING:
    from detent_client.notebook import Detent

__all__ = [
    "Assignment",
    "AsyncClient",
    "Choice",
    "Client",
    "Detent",
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


def __getattr__(name: str) -> Any:
    """``Detent``, which applications do not need, is imported where it is used."""
    if name == "Detent":
        from detent_client.notebook import Detent

        return Detent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
