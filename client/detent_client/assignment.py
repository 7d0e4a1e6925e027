"""What a unit was served, as a text that an application keeps beside its own records, for outcomes in three days."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from detent_client.errors import InvalidAssignment

PREFIX = "dca_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """``assigned_at``: by the server's clock, RFC 3339; only within a rollout, whose arm it says. ``variant``: None for
    a fallback of the application's own, which no server knows, and for a prompt that left its arm. ``token``: that the
    server signed when it chose and counted; it says all but the interaction.
    """

    family: str
    variant: str | None = None
    unit: str
    interaction: str
    rollout: str | None = None
    assigned_at: str | None = None
    token: str | None = None

    def __str__(self) -> str:
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return PREFIX + base64.urlsafe_b64encode(json.dumps(said, separators=(",", ":")).encode()).rstrip(b"=").decode()

    @classmethod
    def from_text(cls, text: str) -> Assignment:
        """Raises InvalidAssignment."""
        try:
            if not text.startswith(PREFIX):
                raise ValueError
            encoded = text[len(PREFIX) :]
            said = json.loads(base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True))
            if not all(isinstance(value, str) for value in said.values()):
                raise ValueError
            return cls(**said)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise InvalidAssignment(
                "This text is no assignment: keep `prompt.assignment` whole, and give it back unchanged."
            ) from None

    def address(self) -> dict[str, str]:
        """Says in an event where it belongs."""
        if self.token is not None:
            return {"assignment": self.token}
        names = ("family", "unit", "variant", "rollout", "assigned_at")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def family_of(token: str) -> str | None:
    """Of a token that the server signed, unverified: the server does that."""
    try:
        payload = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
        return str(payload["family"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def address_of(assignment: Assignment | str) -> Mapping[str, Any]:
    """Of an assignment of this client, as such or as its text, or of a token that the server signed.

    Raises:
        InvalidAssignment: it is none of them.
    """
    if isinstance(assignment, Assignment):
        return {**assignment.address(), "interaction": assignment.interaction}
    if isinstance(assignment, str) and not assignment.startswith(PREFIX) and assignment.count(".") == 1:
        return {"assignment": assignment}  # the server's own have one dot
    return address_of(Assignment.from_text(assignment))
