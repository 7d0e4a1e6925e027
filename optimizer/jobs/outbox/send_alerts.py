"""Tells people of alerts: a line in the log and a message per channel for each raise and each clear,
at least once and in their order.

Called by the worker's loop. Raises and clears stand in the outbox since the transaction that made them; here they are
spread over the channels that are configured, each of which has a queue of its own and is tried again slowly while it
takes nothing.

Two raises wait: what somebody silenced until the silence ends, and what another open alert speaks for until that one is
well again. What clears meanwhile is never sent; all of it is in the log and in the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from optimizer.core.rollout.alert_causes import BROKEN, LEVELS, OpenCause, cause_of
from optimizer.core.rollout.alert_chapters import chapter_of
from optimizer.core.rollout.alert_rules import AlertRule
from optimizer.jobs.outbox.mirror_outbox import wait_s
from optimizer.ports import (
    Alert,
    AlertChannel,
    AlertMessage,
    AlertSilence,
    ChannelFailed,
    Clock,
    OutboxItem,
    Store,
    Transaction,
)
from optimizer.ports.alerts import ALERT_TOPIC, CHANNELS, channel_topic, message_of, page_about

BATCH = 100  # raises and clears spread per round
MOST_PER_ROUND = 20  # messages per channel and round
LONGEST_WAIT_S = 3600.0
LOOK_AGAIN = timedelta(minutes=5)  # whether a silence has ended, before its time or by it
EXPLAINED = timedelta(minutes=30)  # for which an alert waits behind another one, and once more while that is open
LATELY = timedelta(hours=1)  # a family that asked a model in it is one of those for which an alert of the model speaks
FamiliesOfModels = Mapping[str, frozenset[str]]
log = structlog.get_logger("alerts")


def send_alerts(
    store: Store,
    channels: Sequence[AlertChannel],
    clock: Clock,
    *,
    least: str = "info",
    rules: Sequence[AlertRule] = (),
    public_url: str | None = None,
) -> int:
    """Spreads what is new and sends what is due.

    Returns how many messages were taken; a channel that is away is only a backlog.

    Args:
        least: alerts below this level (info, warning, critical) go into the log alone.
        rules: that are in force; they say which alert explains which, and where one leads.
        public_url: where people open this server; the log then names the page that shows more.
    """
    # A channel without an address any more hears nothing, and what waited for it does not wait for ever.
    configured = {channel.name for channel in channels}
    with store.read() as tx:
        waiting = messages_waiting(tx, store)
    for name, n in waiting.items():
        if n and name not in configured:
            store.write(lambda tx, name=name: store.outbox.discard(tx, channel_topic(name)))  # type: ignore[misc]
            log.warning("alert_messages_discarded", channel=name, n=n, reason="the channel is no longer configured")
    _spread(store, channels, clock, least, rules, public_url)
    return sum(_send_queue(store, channel, clock) for channel in channels)


def messages_waiting(tx: Transaction, store: Store) -> dict[str, int]:
    """Unsent messages by channel."""
    return {name: store.outbox.backlog(tx, topics=(channel_topic(name),)) for name in CHANNELS}


def _spread(
    store: Store,
    channels: Sequence[AlertChannel],
    clock: Clock,
    least: str,
    rules: Sequence[AlertRule],
    public_url: str | None,
) -> None:
    with store.read() as tx:
        due = store.outbox.due(tx, clock.now(), BATCH, topics=(ALERT_TOPIC,))
        of_models = (
            families_of_models(tx, store, store.alerts.all(tx, open_only=True), rules, clock.now()) if due else {}
        )
    for item in due:
        message = message_of(item.payload)
        alert = message.alert
        if item.attempts == 0:  # one that waited stands in the log already
            write = log.error if alert.level == "critical" else log.warning if alert.level == "warning" else log.info
            write = write if message.event == "raised" else log.info
            write(
                f"alert_{message.event}",
                alert=alert.id,
                kind=alert.kind,
                level_of_alert=alert.level,
                family=alert.family,
                subject=alert.subject,
                detail=alert.detail,
                opened_at=alert.opened_at.isoformat(),
                closed_at=alert.closed_at.isoformat() if alert.closed_at else None,
                **({"page": page} if (page := page_about(alert, public_url)) else {}),
            )
        hears = channels if LEVELS.index(alert.level) >= LEVELS.index(least) else ()

        def hand_on(
            tx: Transaction,
            item: OutboxItem = item,
            message: AlertMessage = message,
            hears: Sequence[AlertChannel] = hears,
        ) -> None:
            now = clock.now()
            if message.event == "raised":
                causes = open_causes(store.alerts.all(tx, open_only=True), of_models)
                if item.attempts and all(cause.id != message.alert.id for cause in causes):
                    # It cleared while it waited: the clear takes it away, for which it makes room in the round.
                    store.outbox.failed(tx, item.seq, "it has cleared", now + LOOK_AGAIN)
                    return
                waits = waits_for(
                    message.alert,
                    silences=store.alerts.silences(tx, now),
                    causes=causes,
                    rules=rules,
                    now=now,
                )
                if waits is not None:
                    store.outbox.failed(tx, item.seq, waits.why, waits.until)
                    return
            elif store.outbox.withdraw(tx, ALERT_TOPIC, f"{message.alert.id} raised"):
                hears = ()  # nobody heard that it was raised
            for channel in hears:
                payload = {**item.payload, "chapter": chapter_of(open_cause(message.alert), rules)}
                store.outbox.add(tx, channel_topic(channel.name), item.subject, payload, now)
            store.outbox.sent(tx, item.seq, now)

        store.write(hand_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why an alert sends no message now, and when it is looked at again; ``silence`` or ``cause`` is what it waits
    for.
    """

    why: str
    until: datetime
    silence: AlertSilence | None = None
    cause: str | None = None


def waits_for(
    alert: Alert,
    *,
    silences: Sequence[AlertSilence],
    causes: Sequence[OpenCause],
    rules: Sequence[AlertRule],
    now: datetime,
) -> Wait | None:
    """None where its message may go out. ``silences``: those that last, the longest last; ``causes``: of all open
    alerts, of which those that are silenced tell nobody anything.
    """
    own = open_cause(alert)
    covering = [silence for silence in silences if silence.covers(own.rule, alert.family)]
    if covering:
        last = covering[-1]
        why = f"silenced by {last.by} until {last.until:%Y-%m-%d %H:%M} UTC"
        return Wait(why=why, until=min(last.until, now + LOOK_AGAIN), silence=last)
    heard = [one for one in causes if not any(silence.covers(one.rule, one.family) for silence in silences)]
    cause = cause_of(own, heard, rules)
    if cause is not None:
        return Wait(why=f"told by {cause.id}, {cause.rule}", until=now + EXPLAINED, cause=cause.id)
    return None


def families_of_models(
    tx: Transaction, store: Store, open_alerts: Sequence[Alert], rules: Sequence[AlertRule], now: datetime
) -> FamiliesOfModels:
    """By the subject of each open alert of a model, the families that its rule watches and that ask the model."""
    of_models = {rule.name: rule for rule in rules if rule.scope == "model"}
    families = {}
    for alert in open_alerts:
        name, _, model = alert.subject.partition(" ")
        if alert.kind == BROKEN and name in of_models:
            asking = store.minute_stats.asked_by(tx, model, now - LATELY)
            families[alert.subject] = frozenset(filter(of_models[name].concerns, asking))
    return families


def open_causes(open_alerts: Sequence[Alert], of_models: FamiliesOfModels) -> list[OpenCause]:
    return [
        replace(open_cause(alert), asked_by=of_models.get(alert.subject) if alert.kind == BROKEN else None)
        for alert in open_alerts
    ]


def open_cause(alert: Alert) -> OpenCause:
    return OpenCause(
        id=alert.id,
        kind=alert.kind,
        subject=alert.subject,
        family=alert.family,
        level=alert.level,
        opened_at=alert.opened_at,
    )


def _send_queue(store: Store, channel: AlertChannel, clock: Clock) -> int:
    """In order: while the oldest message waits for its next attempt, so do the others.

    One that is refused for good is logged and left out.
    """
    topic = channel_topic(channel.name)
    for n in range(MOST_PER_ROUND):
        with store.read() as tx:
            item = store.outbox.oldest(tx, topic)
        if item is None or item.not_before > clock.now():
            return n
        try:
            channel.send(message_of(item.payload))
        except ChannelFailed as error:
            if not error.is_refused:
                _postpone(store, channel.name, item, error, clock)
                return n
            log.error("alert_message_refused", channel=channel.name, alert=item.subject, reason=str(error))
        store.write(lambda tx, seq=item.seq: store.outbox.sent(tx, seq, clock.now()))  # type: ignore[misc]
    return MOST_PER_ROUND


def _postpone(store: Store, channel: str, item: OutboxItem, error: ChannelFailed, clock: Clock) -> None:
    asked_s = min(error.retry_after_s or 0.0, LONGEST_WAIT_S)
    again = clock.now() + timedelta(seconds=max(asked_s, wait_s(item.attempts + 1)))
    store.write(lambda tx: store.outbox.failed(tx, item.seq, str(error), again))
    log.warning("alert_postponed", channel=channel, alert=item.subject, attempts=item.attempts + 1, reason=str(error))
