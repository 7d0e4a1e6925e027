"""A long reading says on stderr how far it is; a short one says nothing."""

from __future__ import annotations

from optimizer.cli import progress


def test_a_line_says_how_many_blocks_are_read_but_not_more_often_than_it_may(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.counting() as told:
        told(0, 260_000)
        now[0] += progress.LINE_EVERY_S
        told(20_000, 260_000)
        told(21_000, 260_000)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["20,000 of 260,000 blocks read"]
