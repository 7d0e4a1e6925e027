"""The anchor of the scaled clock, and what wiring decides itself, such as which strategy a name means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from optimizer.adapters.clock import SystemClock, shared_anchor
from optimizer.host.config import load_settings
from optimizer.runtime import wiring

START = datetime(2026, 11, 20, tzinfo=UTC)


def rollout_time(anchor: datetime, scale: float, now: datetime) -> datetime:
    return anchor + (now - anchor) * scale


def anchor_of(folder: Path, scale: float, now: datetime) -> datetime:
    return shared_anchor(folder / "clock.json", scale, now, lock=folder / "clock.lock")


def test_processes_and_restarts_share_one_anchor(tmp_path: Path) -> None:
    first = anchor_of(tmp_path, 60, START)
    assert first == START
    assert anchor_of(tmp_path, 60, START + timedelta(hours=5)) == first


def test_another_scale_goes_on_from_where_rollout_time_was(tmp_path: Path) -> None:
    anchor_of(tmp_path, 60, START)
    now = START + timedelta(hours=1)
    before = rollout_time(START, 60, now)
    anchor = anchor_of(tmp_path, 1440, now)
    rounding = timedelta(milliseconds=1)  # a microsecond of the anchor, scaled
    assert abs(rollout_time(anchor, 1440, now) - before) < rounding
    assert abs(rollout_time(anchor, 1440, now + timedelta(minutes=1)) - before - timedelta(days=1)) < rounding


def test_an_unscaled_clock_keeps_no_anchor(tmp_path: Path) -> None:
    clock = wiring.open_clock(load_settings(home=tmp_path))
    assert isinstance(clock, SystemClock)
    assert abs(clock.rollout_now() - clock.now()) < timedelta(seconds=1)
    assert not (tmp_path / "var" / "clock.json").exists()


def test_a_profile_lies_over_every_family(tmp_path: Path) -> None:
    folder = tmp_path / "families" / "triage"
    folder.mkdir(parents=True)
    (folder / "family.yaml").write_text(
        'name: triage\ninputs: {text: {type: text}}\nprompt: {current: "1", versions: {"1": {content: [{role: user,'
        ' content: "{{text}}"}]}}}\nrollout: {min_labelled_per_stage: 300, max_days: 7}\n'
    )
    settings = load_settings(home=tmp_path, family_overrides={"rollout": {"min_labelled_per_stage": 40}})
    rollout = wiring.load_families(settings).families["triage"].rollout
    assert (rollout.min_labelled_per_stage, rollout.max_days) == (40, 7)
