"""Limits the body of each route to as much as it needs, and never more than ``limits.body_bytes``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.core.base.errors import TooLarge
from optimizer.host.config import ServerLimits

EVENTS, CHAT, TEXTS, OTHER = "events_bytes", "chat_bytes", "text_bytes", "other_bytes"
SETTING: Mapping[str, str] = {  # by path; what is not listed takes OTHER
    "/v1/feedback": EVENTS,
    "/v1/interactions": EVENTS,
    "/v1/interactions/import": EVENTS,
    "/v1/families/{family}/examples": EVENTS,
    "/v1/traces": EVENTS,
    "/v1/logs": EVENTS,
    "/v1/chat/completions": CHAT,
    "/v1/families/{family}/render": TEXTS,
    "/v1/families/{family}/variants": TEXTS,
    "/v1/families/{family}/variants/preview": TEXTS,
    "/dashboard/families/{family}/workbench": TEXTS,
    "/v1/exposures": TEXTS,
    "/ofrep/v1/evaluate/flags": TEXTS,
    "/ofrep/v1/evaluate/flags/{key:path}": TEXTS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimit:
    """``setting`` and ``values_setting`` name what raises it."""

    n_bytes: int
    n_values: int
    setting: str
    values_setting: str

    def too_large(self) -> TooLarge:
        return TooLarge(
            f"The body is larger than {self.n_bytes:,} bytes, the most that this route takes. Send less, or raise"
            f" limits.{self.setting}.",
            limit_bytes=self.n_bytes,
        )

    def too_many_values(self) -> TooLarge:
        return TooLarge(
            f"The body holds more than {self.n_values:,} values, counting each text, number, list and object at any"
            f" depth. Send it in smaller parts, or raise limits.{self.values_setting}.",
            limit_values=self.n_values,
        )


def limit_of(path: str, limits: ServerLimits) -> BodyLimit:
    """``path`` is the route's, with its parameters in braces."""
    setting = SETTING.get(path, OTHER)
    by_setting = {
        EVENTS: limits.events_bytes,
        CHAT: limits.chat_bytes,
        TEXTS: limits.text_bytes,
        OTHER: limits.other_bytes,
    }
    n_bytes = by_setting[setting]
    if n_bytes > limits.body_bytes:
        setting, n_bytes = "body_bytes", limits.body_bytes
    n_values, values_setting = (
        (limits.events_values, "events_values") if SETTING.get(path) == EVENTS else (limits.values, "values")
    )
    return BodyLimit(n_bytes=n_bytes, n_values=n_values, setting=setting, values_setting=values_setting)


def length_of(digits: bytes) -> int:
    """The bytes that a Content-Length says.

    A header may have many zeros in front, and Python reads no number of more than 4,300 digits.
    """
    return int(digits.lstrip(b"0") or b"0")
