"""Alerts to Slack and Discord by their incoming webhooks.

The address is the secret: no error, log line or answer ever holds it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from optimizer.core.base.phrasing import when
from optimizer.core.rollout.alert_chapters import command_of
from optimizer.ports import AlertMessage, ChannelFailed
from optimizer.ports.alerts import page_about

TIMEOUT_S = 10.0
CHECK_TIMEOUT_S = 3.0
REFUSED = (400, 413, 422)  # these concern the message, not the address or the time
MOST_CHARS = 1900  # Discord takes 2,000; a longer detail is in the log and in `detent status`


class Webhook:
    """ports.AlertChannel for one incoming webhook; redirects are not followed."""

    def __init__(
        self,
        name: str,
        address: str,
        body: Callable[[str], Mapping[str, Any]],
        *,
        installation: str,
        public_url: str | None = None,
    ) -> None:
        self.name = name
        self._address = address
        self._body = body
        self._installation = installation
        self._public_url = public_url
        self._client = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False)

    def send(self, message: AlertMessage) -> None:
        failed: ChannelFailed | None = None
        try:
            answer = self._client.post(
                self._address, json=self._body(text_of(message, self._installation, self._public_url))
            )
        except Exception as error:  # whatever it is, its text may hold the address, so that only its kind goes on
            # A text that has no encoding, say: no fault of the channel.
            unsendable = isinstance(error, ValueError | TypeError)
            failed = ChannelFailed(f"{self.name} could not be reached ({type(error).__name__})", is_refused=unsendable)
        else:
            if not answer.is_success:
                hint = (
                    ": the webhook is gone or its address is wrong; make a new one"
                    if answer.status_code in (401, 403, 404, 410)
                    else ""
                )
                try:
                    retry_after_s = max(0.0, float(answer.headers.get("Retry-After", "")))
                except ValueError:
                    retry_after_s = None
                failed = ChannelFailed(
                    f"{self.name} answered {answer.status_code}{hint}",
                    retry_after_s=retry_after_s,
                    is_refused=answer.status_code in REFUSED,
                )
        if failed is not None:
            raise failed  # outside of the except clause: no traceback holds the first error

    def check(self) -> str | None:
        parts = urlsplit(self._address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), timeout=CHECK_TIMEOUT_S).close()
        except OSError as error:
            return f"its server takes no connection from here ({type(error).__name__})"
        return None


def slack(address: str, installation: str, public_url: str | None = None) -> Webhook:
    """Slack reads <…> as links and mentions."""
    return Webhook(
        "slack",
        address,
        lambda text: {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")},
        installation=installation,
        public_url=public_url,
    )


def discord(address: str, installation: str, public_url: str | None = None) -> Webhook:
    """Names in a detail notify no member of the channel."""
    return Webhook(
        "discord",
        address,
        lambda text: {"content": text, "allowed_mentions": {"parse": []}},
        installation=installation,
        public_url=public_url,
    )


def text_of(message: AlertMessage, installation: str, public_url: str | None = None) -> str:
    """A message for people: what was raised or cleared, why, since when, and where more is seen."""
    alert = message.alert
    about = f"{alert.kind}, family {alert.family}" if alert.family else alert.kind
    if message.event == "raised":
        head, when_ = f"Raised ({alert.level}): {about}", f"Since {when(alert.opened_at)}"
    else:
        head, when_ = (
            f"Cleared: {about}",
            f"Was open from {when(alert.opened_at)} to {when(alert.closed_at or alert.opened_at)}",
        )
    detail = alert.detail if len(alert.detail) <= MOST_CHARS - 300 else alert.detail[: MOST_CHARS - 301] + "…"
    leads = f" What to do: {command_of(message.chapter)}." if message.event == "raised" and message.chapter else ""
    more = page_about(alert, public_url) or "detent status"
    return f"{head}\n{detail}\n{when_} ({installation}, {alert.id}).{leads} More: {more}"
