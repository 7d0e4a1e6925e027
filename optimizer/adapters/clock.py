"""Time as the system tells it, and the clock of rollout durations, which profile demo runs faster."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from optimizer.host.run_files import write_whole


class SystemClock:
    """ports.Clock.

    With ``scale`` 60 a rollout's hour passes in a minute, counted from ``anchor``, which all processes share and which
    survives a restart; leases and tokens stay on real time.
    """

    def __init__(self, scale: float = 1.0, anchor: datetime | None = None) -> None:
        self.scale = scale
        self._anchor = anchor

    def now(self) -> datetime:
        return datetime.now(UTC)

    def rollout_now(self) -> datetime:
        now = self.now()
        return now if self._anchor is None else self._anchor + (now - self._anchor) * self.scale


def shared_anchor(file: Path, scale: float, now: datetime, *, lock: Path) -> datetime:
    """The moment at which scaled and real time were equal: kept in the file, so that restarts and processes agree.

    With another scale than last time the anchor moves such that rollout time goes on
    from where it was and never jumps back.
    """
    from filelock import FileLock

    with FileLock(lock, timeout=10):
        stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        if stored is not None and stored["scale"] == scale:
            return datetime.fromisoformat(stored["anchor"])
        anchor = now
        if stored is not None:
            anchor = now - ((stored["scale"] - 1) * (now - datetime.fromisoformat(stored["anchor"]))) / (scale - 1)
        write_whole(file, {"scale": scale, "anchor": anchor.isoformat()})
        return anchor
