"""Alerts to people, and the audit of what they did."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from urllib.parse import quote

from typing_extensions import TypedDict

from optimizer.core.base.answers import Json, Text
from optimizer.ports.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    id: str
    kind: str
    detail: Text[str]
    level: Literal["info", "warning", "critical"]
    opened_at: datetime
    family: str | None = None
    subject: str = ""
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSilence:
    """No message until then of what ``rule`` raises, in ``family``; "" means any. ``rule`` may name a kind of alert."""

    rule: str
    family: str
    until: datetime
    reason: Text[str]
    by: str
    since: datetime

    def covers(self, rule: str, family: str | None) -> bool:
        """Args: rule: by which an alert was raised, or its kind."""
        return self.rule in ("", rule) and self.family in ("", family)


AlertEvent = Literal["raised", "cleared"]
ALERT_TOPIC = "alert"  # in the outbox: every raise and every clear, before they are spread over the channels
CHANNELS = ("slack", "discord")  # beside the log


def channel_topic(channel: str) -> str:
    """The topic in the outbox of what one channel still has to hear."""
    return f"{ALERT_TOPIC} {channel}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMessage:
    """One raise or one clear of an alert, as it was at that moment. ``chapter``: where it leads, once it is known."""

    alert: Alert
    event: AlertEvent
    chapter: str = ""


def payload_of(alert: Alert, event: AlertEvent) -> dict[str, Any]:
    """A message as plain data of the outbox; ``message_of`` reads it again."""
    closed_at = alert.closed_at.isoformat() if alert.closed_at is not None else None
    return {"event": event, **asdict(alert), "opened_at": alert.opened_at.isoformat(), "closed_at": closed_at}


def message_of(payload: Mapping[str, Any]) -> AlertMessage:
    values = {name: payload[name] for name in Alert.__dataclass_fields__}
    for name in ("opened_at", "closed_at"):
        values[name] = datetime.fromisoformat(values[name]) if values[name] is not None else None
    return AlertMessage(alert=Alert(**values), event=payload["event"], chapter=payload.get("chapter", ""))


def page_about(alert: Alert, public_url: str | None) -> str | None:
    """The address of the page that shows more: its family's, or the list of alerts; None where nobody said at which
    address people open this server.
    """
    if public_url is None:
        return None
    return f"{public_url}/dashboard/{f'families/{quote(alert.family)}' if alert.family else 'alerts'}"


class ChannelFailed(Exception):
    """A message was not taken. The text names no address: it ends up in the store and in logs.

    ``is_refused``: this message never will be, though others may.
    """

    def __init__(self, detail: str, *, retry_after_s: float | None = None, is_refused: bool = False) -> None:
        super().__init__(detail)
        self.is_refused = is_refused
        self.retry_after_s = retry_after_s


class AlertChannel(Protocol):
    """Where people read alerts outside of Detent."""

    @property
    def name(self) -> str: ...
    def send(self, message: AlertMessage) -> None:
        """Raises ChannelFailed, and nothing else, where the message was not taken."""

    def check(self) -> str | None:
        """Why nothing could be sent now, without sending anything; None where the other side takes connections."""


class Alerts(Protocol):
    """Every raise and every clear is also told to the outbox, in the same transaction."""

    def open(self, tx: Transaction, alert: Alert) -> bool:
        """False when the same (kind, family, subject) is already open."""

    def reword(self, tx: Transaction, alert: Alert) -> bool:
        """Gives the open alert of the same (kind, family, subject) this detail.

        False where none is open, or its detail is the same already.
        """

    def close(self, tx: Transaction, kind: str, family: str | None, subject: str, at: datetime) -> int: ...
    def all(
        self,
        tx: Transaction,
        *,
        open_only: bool,
        kind: str | None = None,
        family: str | None = None,
        subject: str | None = None,
        most: int | None = None,
    ) -> list[Alert]:
        """The newest first, no more than ``most``; of one kind, family or subject where one is named."""

    def kinds(self, tx: Transaction) -> set[str]:
        """Of all that was ever raised."""

    def closed(self, tx: Transaction, families: Collection[str] | None, start: int, most: int) -> list[Alert]:
        """Those that are over, the last closed first, from that place on; of these families, None: all alerts."""

    def closed_since(self, tx: Transaction, since: datetime) -> list[Alert]:
        """Those that were closed since then, the first closed first."""

    def silence(self, tx: Transaction, silence: AlertSilence) -> None:
        """In the place of an earlier one of the same rule and family."""

    def end_silence(self, tx: Transaction, rule: str, family: str) -> bool:
        """False where there is none."""

    def silences(self, tx: Transaction, now: datetime) -> list[AlertSilence]:
        """Those that last beyond ``now``."""


class AuditEntry(TypedDict):
    """One change that a person or a process caused. ``detail``: what its act says of it."""

    seq: int
    at: datetime
    actor: str
    action: str
    family: str | None
    subject: str
    detail: Text[Mapping[str, Json]]
    request_id: str | None


class Audit(Protocol):
    def add(
        self,
        tx: Transaction,
        *,
        at: datetime,
        actor: str,
        action: str,
        family: str | None,
        subject: str,
        detail: Mapping[str, Any],
    ) -> None: ...
    def page(self, tx: Transaction, cursor: str | None, limit: int) -> tuple[list[AuditEntry], str | None]: ...
    def of_subject(self, tx: Transaction, subject: str) -> list[AuditEntry]:
        """Everything that was done to one thing, in order."""
