"""When a family's studies start by themselves and what they do: as its file says, or as somebody has set it in the store."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from optimizer.core.canonical import canonical_json, digest
from optimizer.core.cron import check_cron
from optimizer.core.errors import Fault, InvalidInput
from optimizer.core.family import Family
from optimizer.core.strategy import WRITERS, check_strategy, default_strategy, kind_fault, may_write
from optimizer.core.study import Aim, TriggerKind
from optimizer.core.words import when


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSchedule:
    """What somebody has set in place of the file's schedule. ``strategy`` and ``aim`` None: as the file says."""

    family: str
    cron: str | None  # None: never
    strategy: str | None
    aim: Aim | None
    reason: str
    by: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInForce:
    """What holds now, every part decided. ``by`` and ``since`` are None where the file decides."""

    family: str
    cron: str | None
    strategy: str
    aim: Aim
    source: Literal["file", "store"]
    reason: str | None = None
    by: str | None = None
    since: datetime | None = None

    @property
    def version(self) -> str:
        """Changes with the content and with who set it; 12 hex digits."""
        set_at = self.since and self.since.isoformat()
        return digest(canonical_json([self.cron, self.strategy, self.aim, self.source, self.by, set_at]))[:12]

    @property
    def text(self) -> str:
        """What is done when, and who says so; without a full stop."""
        what = "never" if self.cron is None else f"{self.cron} UTC, {self.strategy} for {self.aim}"
        if self.by is None or self.since is None:
            return f"{what}, by the family file"
        return f"{what}, set by {self.by} at {when(self.since)} in place of the family file's: {self.reason}"


def in_force(family: Family, stored: StoredSchedule | None) -> ScheduleInForce:
    """The stored schedule, else the file's."""
    declared = family.schedule
    cron = declared.cron if stored is None else stored.cron
    found = ScheduleInForce(
        family=family.name,
        cron=cron,
        strategy=(stored and stored.strategy) or declared.strategy or default_strategy(family),
        aim=(stored and stored.aim) or declared.aim or family.rollout.gates.aim,
        source="file",
    )
    if stored is None:
        return found
    return ScheduleInForce(
        family=found.family, cron=found.cron, strategy=found.strategy, aim=found.aim, source="store", reason=stored.reason, by=stored.by,
        since=stored.since,
    )  # fmt: skip


def asked_of(family: Family, schedule: ScheduleInForce, kind: TriggerKind) -> tuple[str, Aim]:
    """(strategy, aim) of a study that this trigger starts."""
    if kind == "schedule":
        return schedule.strategy, schedule.aim
    return family.triggers.strategy or default_strategy(family), family.rollout.gates.aim


def strategy_fault(strategy: str, aim: Aim, space: Mapping[str, Any], kind: str = "prompt") -> str | None:
    """Why no study of this strategy, aim and space could start, as a sentence; None where one could."""
    try:
        names = check_strategy(strategy, aim)
    except InvalidInput as unusable:
        return unusable.detail
    if (fault := kind_fault(names, kind)) is not None:
        return fault
    writers = [name for name in names if name in WRITERS]
    if writers and not may_write(space):
        return f"strategy {writers[0]} has instructions written, and the space allows nobody to; add space: {{instruction: {{propose: true}}}} or name another strategy"
    return None


def check_stored(family: Family, stored: StoredSchedule) -> None:
    """Raises InvalidInput with every fault of what somebody wants to set."""
    faults = []
    try:
        check_cron(stored.cron or "0 3 * * *")
    except ValueError as error:
        faults.append(Fault(pointer="/cron", detail=str(error)))
    wanted = in_force(family, stored)
    if (fault := strategy_fault(wanted.strategy, wanted.aim, family.space, family.kind)) is not None:
        faults.append(Fault(pointer="/strategy" if stored.strategy or not stored.aim else "/aim", detail=fault))
    if faults:
        raise InvalidInput(f"The schedule of {family.name} was not changed: " + "; ".join(f.detail for f in faults), faults)


def command_for(family: str, stored: StoredSchedule | None) -> str:
    """The command that brings this state about: the stored schedule, or the file's where there is none."""
    start = f"detent family schedule {family}"
    if stored is None:
        return f"{start} --from-file"
    when_ = "--off" if stored.cron is None else f'--cron "{stored.cron}"'
    given = [f"--strategy {shlex.quote(stored.strategy)}"] if stored.strategy else []
    given += [f"--aim {stored.aim}"] if stored.aim else []
    return " ".join([start, when_, *given])
