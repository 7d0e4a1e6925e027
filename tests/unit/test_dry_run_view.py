"""How a dry run is told to people."""

from __future__ import annotations

import io

from rich.console import Console

from optimizer.cli.study_run import view_estimate
from optimizer.core.estimate import Estimate, Spread
from optimizer.core.family import parse_family

FAMILY = parse_family(
    {
        "name": "triage",
        "inputs": {"message": {"type": "text"}},
        "output": {"field": "topic", "parser": "text"},
        "prompt": {"current": "1", "versions": {"1": {"content": [{"role": "user", "content": "{{message}}"}]}}},
    }
)


def test_numbers_of_calls_are_written_as_people_write_them() -> None:
    made = Estimate(
        calls=Spread(low=169, expected=1234.4, high=25000),
        usd=None,
        minutes=Spread(low=0.228, expected=1.73, high=8.09),
        n_trials=20,
        n_confirmation_calls=38,
        reserved_usd=None,
        longest_request_bytes=100,
        parts={"champion": Spread(low=20, expected=20, high=20)},
    )
    told = io.StringIO()
    view_estimate(Console(file=told, width=200), FAMILY, made, "--strategy replay --aim cost")
    assert "1234 expected (169 to 25000)" in told.getvalue()
    assert "1.73 expected (0.228 to 8.09)" in told.getvalue()
    assert "Next      detent study run triage --strategy replay --aim cost --budget-calls 25000" in told.getvalue()
