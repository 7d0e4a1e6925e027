"""Alerts go to the log and to webhooks: one message per raise and per clear, at least once, in order,
and never with the address in sight.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from optimizer.adapters import webhooks
from optimizer.adapters.store import Database
from optimizer.cli.app import run
from optimizer.core.base.errors import InvalidInput
from optimizer.host.config import load_settings
from optimizer.jobs.outbox.send_alerts import messages_waiting, send_alerts
from optimizer.ports import Alert
from optimizer.runtime import wiring
from tests.clock import PROCESSES_S, Clock, until
from tests.forked import Forked
from tests.stand_ins.alert_server import SECRET, WebhookServer, webhook_server
from tests.stores import NOW, migrate_store, reading, writing


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with webhook_server() as found:
        yield found


def alert(subject: str = "s", **changes: Any) -> Alert:
    usual = {"kind": "pipeline_out_of_range", "detail": "bypass <rate> & all", "level": "warning", "opened_at": NOW}
    return Alert(**{**usual, "id": f"al_{subject}", "subject": subject, **changes})


def raised(store: Database, *alerts: Alert) -> None:
    for one in alerts:
        writing(store).alerts.open(one)


def cleared(store: Database, subject: str = "s") -> None:
    writing(store).alerts.close("pipeline_out_of_range", None, subject, NOW + timedelta(minutes=7))


def waiting(store: Database) -> dict[str, int]:
    with store.read() as tx:
        return messages_waiting(tx, store)


def test_one_message_for_a_raise_and_one_for_its_clear_whatever_happens_in_between(
    store: Database, server: WebhookServer
) -> None:
    clock, channels = Clock(NOW), [webhooks.slack(server.url, "Detent")]
    raised(store, alert(), alert(id="al_again"))  # it is open already
    writing(store).alerts.reword(alert(detail="worse by now"))
    for _ in range(3):
        send_alerts(store, channels, clock)
    assert server.texts == ["Raised (warning): pipeline_out_of_range"]
    assert "bypass &lt;rate&gt; &amp; all" in server.received[0]["text"], "Slack would read a mention"
    clock.pass_time(timedelta(minutes=7))
    for _ in range(2):
        cleared(store)
        send_alerts(store, channels, clock)
    assert server.texts == ["Raised (warning): pipeline_out_of_range", "Cleared: pipeline_out_of_range"]
    assert "worse by now" in server.received[1]["text"]
    assert waiting(store) == {"slack": 0, "discord": 0}


def test_a_message_and_its_log_line_lead_to_the_page_that_shows_more(store: Database, server: WebhookServer) -> None:
    raised(store, alert(family="triage"), alert(id="al_all", subject="other"))
    url = "https://detent.example/below"
    with structlog.testing.capture_logs() as lines:
        send_alerts(store, [webhooks.slack(server.url, "Detent", url)], Clock(NOW), public_url=url)
    places = [f"{url}/dashboard/families/triage", f"{url}/dashboard/alerts"]
    assert [message["text"].rpartition("More: ")[2] for message in server.received] == places
    assert [line["page"] for line in lines if line["event"] == "alert_raised"] == places


@pytest.mark.parametrize(
    "address", ["detent.example", "https://a:b@detent.example", "https://detent.example/?a=b", "https://"]
)
def test_an_address_that_leads_to_no_page_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="public_url"):
        load_settings("dev", tmp_path, public_url=address)


def test_a_channel_that_is_away_is_tried_again_slowly_and_keeps_its_order_and_the_other_is_not_held_up(
    store: Database, server: WebhookServer
) -> None:
    with webhook_server() as other:
        clock = Clock(NOW)
        channels = [webhooks.slack(server.url, "Detent"), webhooks.discord(other.url, "Detent")]
        server.answers = [(500, {}), (500, {})]
        raised(store, alert("a", family="news"), alert("b"))
        send_alerts(store, channels, clock)
        assert other.texts == [
            "Raised (warning): pipeline_out_of_range, family news",
            "Raised (warning): pipeline_out_of_range",
        ]
        assert other.received[0]["allowed_mentions"] == {"parse": []}
        assert (server.n_requests, waiting(store)["slack"]) == (1, 2), "the second waits behind the first"
        for seconds, n_requests in ((4, 1), (1, 2), (9, 2), (1, 4)):
            clock.pass_time(timedelta(seconds=seconds))
            send_alerts(store, channels, clock)
            assert server.n_requests == n_requests, f"after {seconds} more seconds"
        assert server.texts == other.texts
        assert other.n_requests == 2, "what one channel did not take is not sent to the other again"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_message_that_is_refused_for_good_is_logged_and_holds_up_no_other(
    store: Database, server: WebhookServer, status: int
) -> None:
    server.answers = [(status, {})]
    raised(store, alert("a", family="news"), alert("b"))
    with structlog.testing.capture_logs() as lines:
        send_alerts(store, [webhooks.slack(server.url, "Detent")], Clock(NOW))
    assert server.texts == ["Raised (warning): pipeline_out_of_range"]
    assert [line["alert"] for line in lines if line["event"] == "alert_message_refused"] == ["al_a raised"]
    assert waiting(store)["slack"] == 0


def test_how_long_to_wait_is_taken_from_who_asks_for_it(store: Database, server: WebhookServer) -> None:
    clock, channels = Clock(NOW), [webhooks.discord(server.url, "Detent")]
    server.answers = [(429, {"Retry-After": "120"})]
    raised(store, alert())
    for seconds, n_taken in ((0, 0), (119, 0), (1, 1)):
        clock.pass_time(timedelta(seconds=seconds))
        send_alerts(store, channels, clock)
        assert len(server.received) == n_taken


def test_a_kill_between_sending_and_marking_sends_again_rather_than_never(
    store: Database, server: WebhookServer
) -> None:
    class Killed(BaseException):
        pass

    class KilledAfterSending(webhooks.Webhook):
        def send(self, message: Any) -> None:
            super().send(message)
            raise Killed

    clock = Clock(NOW)
    raised(store, alert())
    with pytest.raises(Killed):
        send_alerts(
            store, [KilledAfterSending("slack", server.url, lambda text: {"text": text}, installation="Detent")], clock
        )
    send_alerts(store, [webhooks.slack(server.url, "Detent")], clock)
    assert server.texts == ["Raised (warning): pipeline_out_of_range"] * 2


def test_lower_levels_go_into_the_log_alone(store: Database, server: WebhookServer) -> None:
    raised(store, alert("a", level="info"), alert("b", level="critical"))
    with structlog.testing.capture_logs() as lines:
        send_alerts(store, [webhooks.slack(server.url, "Detent")], Clock(NOW), least="warning")
    assert server.texts == ["Raised (critical): pipeline_out_of_range"]
    assert [(line["event"], line["log_level"], line["alert"]) for line in lines] == [
        ("alert_raised", "info", "al_a"),
        ("alert_raised", "error", "al_b"),
    ]


def test_what_waits_for_a_channel_that_is_no_longer_configured_is_dropped_and_said(
    store: Database, server: WebhookServer
) -> None:
    server.answers = [(503, {})]
    raised(store, alert())
    send_alerts(store, [webhooks.slack(server.url, "Detent")], Clock(NOW))
    assert waiting(store) == {"slack": 1, "discord": 0}
    with structlog.testing.capture_logs() as lines:
        send_alerts(store, [], Clock(NOW))
    assert waiting(store) == {"slack": 0, "discord": 0}
    assert [line["event"] for line in lines] == ["alert_messages_discarded"]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        pytest.param("http://127.0.0.1:9/services/" + SECRET, "ConnectError", id="nobody listens"),
        pytest.param("https://127.0.0.1:{port}/services/" + SECRET, "ConnectError", id="no TLS there"),
        pytest.param("http://127.0.0.1:{port}/other/" + SECRET, "answered 404: the webhook is gone", id="gone"),
    ],
)
def test_no_error_or_log_line_holds_the_address(
    store: Database, server: WebhookServer, address: str, reason: str
) -> None:
    address = address.replace("{port}", server.url.split(":")[2].split("/")[0])
    raised(store, alert())
    with structlog.testing.capture_logs() as lines:
        send_alerts(store, [webhooks.slack(address, "Detent")], Clock(NOW))
    item = reading(store).outbox.oldest("alert slack")
    assert item is not None
    assert reason in str(item.last_error)
    assert SECRET not in json.dumps([lines, item.last_error], default=str)
    assert "verysecretpart" not in repr(webhooks.slack(address, "Detent"))


@pytest.mark.parametrize(
    "value",
    ["hooks.slack.com/services/" + SECRET, "http://example.org/" + SECRET, "ftp://x/" + SECRET, "https://[x/" + SECRET],
)
def test_an_address_that_cannot_be_one_is_refused_at_the_start_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("DETENT_ALERT_SLACK_WEBHOOK", value)
    with pytest.raises(InvalidInput, match="alert_slack_webhook: must be the whole address") as refused:
        load_settings(home=tmp_path)
    assert "verysecretpart" not in refused.value.detail
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "dev.yaml").write_text(f"alert_slack_webhook: [{SECRET}]\n", encoding="utf-8")
    monkeypatch.delenv("DETENT_ALERT_SLACK_WEBHOOK")
    with pytest.raises(InvalidInput, match="alert_slack_webhook") as refused:
        load_settings(home=tmp_path)
    assert "verysecretpart" not in refused.value.detail


def test_the_worker_sends_what_was_raised_while_it_was_away_and_doctor_says_how_channels_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    (tmp_path / "families").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(webhook_server())
        monkeypatch.setenv("DETENT_ALERT_SLACK_WEBHOOK", server.url)
        settings = load_settings()
        migrate_store(settings)
        store = wiring.open_store(settings)
        stack.callback(store.close)
        writing(store).alerts.open(alert())
        worker = Forked(["detent", "worker"], env=os.environ)
        stack.callback(worker.wait, 30)
        stack.callback(worker.terminate)
        until(lambda: len(server.received) >= 1, patience_s=PROCESSES_S)  # a worker may find it over at once
        writing(store).alerts.close("pipeline_out_of_range", None, "s", NOW + timedelta(minutes=7))
        until(lambda: len(server.received) == 2, patience_s=PROCESSES_S)
        assert server.texts == ["Raised (warning): pipeline_out_of_range", "Cleared: pipeline_out_of_range"]
        n_before = server.n_requests
        run(["doctor", "--json"])
        found = [f for f in json.loads(capsys.readouterr().out)["findings"] if f["check"] == "alerts"]
        assert [f["detail"] for f in found if f["detail"].startswith("slack")] == [
            "slack: configured, 0 messages waiting; its server takes connections (nothing was sent)"
        ]
        assert any(f["detail"].startswith("discord: not configured") for f in found)
        assert server.n_requests == n_before
    everything = "".join(path.read_text(errors="replace") for path in (tmp_path / "var" / "logs").iterdir())
    assert '"event": "alert_raised"' in everything
    assert "verysecretpart" not in everything
    assert b"verysecretpart" not in (tmp_path / "var" / "detent.db").read_bytes()
