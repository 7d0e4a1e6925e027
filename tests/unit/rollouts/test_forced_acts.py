"""What the command line does about the reason of an act that goes past a gate."""

from __future__ import annotations

import io

import pytest

from optimizer.cli.rollout.commands import reason_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_person_at_a_terminal_is_asked_for_the_reason(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Terminal("the numbers are in\n"))
    assert reason_of(None, "triage") == "the numbers are in"
    told = capsys.readouterr()
    assert "Why? It stays in the record" in told.err
    assert told.out == "", "stdout is for the result"


@pytest.mark.parametrize(
    ("stdin", "given", "confirm", "expected"),
    [
        pytest.param(Terminal("\n"), None, "triage", "no reason given", id="asked, and nothing answered"),
        pytest.param(io.StringIO("not read\n"), None, "triage", "no reason given", id="a script"),
        pytest.param(Terminal("not read\n"), "reviewed", "triage", "reviewed", id="given"),
        pytest.param(Terminal("not read\n"), None, None, None, id="past no gate"),
    ],
)
def test_an_act_without_a_person_or_with_a_reason_waits_for_nothing(monkeypatch, stdin, given, confirm, expected):
    monkeypatch.setattr("sys.stdin", stdin)
    assert reason_of(given, confirm) == expected
