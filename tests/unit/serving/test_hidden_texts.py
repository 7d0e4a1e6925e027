"""What a terminal prints of answers to a key of role read, in which texts are null."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

from rich.console import Console

from optimizer.cli.rollout.picture import print_alerts
from optimizer.core.serving.rollout import Freeze


def test_a_hidden_text_is_said_to_be_hidden() -> None:
    out = Console(file=StringIO(), width=200)
    hidden = cast(Any, None)
    freeze = Freeze(scope="triage", reason=hidden, by="b", since=datetime(2026, 1, 1, tzinfo=UTC))
    alert = SimpleNamespace(kind="error_rate", detail=hidden)
    print_alerts(out, cast(Any, SimpleNamespace(stages=[], late_alert=None, alerts=[alert])))
    said = [freeze.text, freeze.sentence, cast(StringIO, out.file).getvalue()]
    assert [text.count("not shown to this key") for text in said] == [1, 1, 1]
    assert "None" not in "".join(said)
