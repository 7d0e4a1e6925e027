"""When a family's studies start by themselves, and what they do.

They never do until a person switches that on; then the file's schedule holds, or that person's.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from optimizer.core.base.answers import Text
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.phrasing import when
from optimizer.core.base.values import Aim
from optimizer.core.family.cron import check_cron
from optimizer.core.family.family import Family, FamilyKind, kind_of
from optimizer.core.search.strategy import check_strategy, may_write, records
from optimizer.core.search.study import TriggerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSchedule:
    """The switch: where it is stored, studies may start by themselves.

    ``strategy`` and ``aim`` None: as the file says.
    """

    family: str
    cron: str | None  # in place of the file's; None: no times, only the file's triggers
    from_file: bool = False  # the times are the file's; ``cron`` is then None
    holdout: bool = False  # whether such a study may look at the sealed holdout
    strategy: str | None
    aim: Aim | None
    reason: str
    by: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleBrief:
    on: bool = False  # False: nothing starts by itself, and ``cron`` is what the file has
    holdout: bool = False
    cron: str | None
    source: Literal["file", "store"]
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInForce(ScheduleBrief):
    """What holds now, every part decided.

    ``source`` says where ``cron`` stands, ``by`` and ``since`` who switched it on and when.
    """

    family: str
    strategy: str
    aim: Aim
    reason: Text[str | None] = None
    since: datetime | None = None

    @property
    def version(self) -> str:
        """Changes with the content and with its author; 12 hex digits."""
        set_at = self.since and self.since.isoformat()
        return digest(
            canonical_json([self.on, self.holdout, self.cron, self.strategy, self.aim, self.source, self.by, set_at])
        )[:12]

    @property
    def text(self) -> str:
        """What happens when, and who says so; without a full stop."""
        if not self.on:
            return f"off, nothing starts by itself; to switch it on: detent family schedule {self.family} --on"
        by = f", switched on by {self.by} at {when(self.since)}" if self.since is not None else ""
        return f"on, {self.allows}{by}{f': {self.reason}' if self.reason else ''}"

    @property
    def allows(self) -> str:
        """What may start when, and whether it may look at the sealed holdout; without a full stop."""
        whose = " (the file's)" if self.source == "file" else ""
        times = "alone" if self.cron is None else f"and at {self.cron} UTC{whose} as {self.strategy} for {self.aim}"
        looks = "may look at the sealed holdout" if self.holdout else "never look at the sealed holdout"
        return f"by the file's triggers {times}; such studies {looks}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView(ScheduleInForce):
    """What is in force, by whom (``source`` says where ``cron`` stands), and when its next study comes."""

    next_study_at: datetime | None


def in_force(family: Family, stored: StoredSchedule | None) -> ScheduleInForce:
    """The schedule in force. It is on where a switch is stored, with the switch's times or the file's."""
    declared = family.schedule
    schedule = ScheduleInForce(
        family=family.name,
        cron=declared.cron if stored is None or stored.from_file else stored.cron,
        strategy=(stored and stored.strategy) or declared.strategy or kind_of(family).default_strategy(family),
        aim=(stored and stored.aim) or declared.aim or family.rollout.gates.aim,
        source="file" if stored is None or stored.from_file else "store",
    )
    if stored is None:
        return schedule
    return replace(schedule, on=True, holdout=stored.holdout, reason=stored.reason, by=stored.by, since=stored.since)


def asked_of(family: Family, schedule: ScheduleInForce, kind: TriggerKind) -> tuple[str, Aim]:
    """(strategy, aim) of a study that this trigger starts."""
    if kind == "schedule":
        return schedule.strategy, schedule.aim
    return family.triggers.strategy or kind_of(family).default_strategy(family), family.rollout.gates.aim


def strategy_fault(
    strategy: str, aim: Aim, space: Mapping[str, Any], kind: FamilyKind | None, *, load: bool = True
) -> str | None:
    """Why no study of this strategy, aim and space could start, as a sentence; None where one could.

    ``load``: as in ``check_strategy``.
    """
    try:
        names = check_strategy(strategy, aim, load=load)
    except InvalidInput as unusable:
        return unusable.detail
    if kind is not None and (fault := kind.strategy_fault(names)) is not None:
        return fault
    # The strategies that do nothing where the space does not let a model write an instruction.
    if (
        writers := [record.name for record in records(names, load=load) if record.writes == "always"]
    ) and not may_write(space):
        return (
            f"strategy {writers[0]} lets a model write instructions, and the space does not allow it; "
            "add space: {instruction: {propose: true}} or name another strategy"
        )
    return None


def check_stored(family: Family, stored: StoredSchedule) -> None:
    """Raises InvalidInput with every fault of a schedule that is to be set."""
    faults = []
    try:
        if stored.cron is not None:
            check_cron(stored.cron)
    except ValueError as error:
        faults.append(Fault(pointer="/cron", detail=str(error)))
    wanted = in_force(family, stored)
    if (fault := strategy_fault(wanted.strategy, wanted.aim, family.space, kind_of(family))) is not None:
        faults.append(Fault(pointer="/strategy" if stored.strategy or not stored.aim else "/aim", detail=fault))
    if faults:
        raise InvalidInput(
            f"The schedule of {family.name} was not changed: " + "; ".join(f.detail for f in faults) + ".", faults
        )


def command_for(family: str, stored: StoredSchedule | None) -> str:
    """The command that brings this state about: the stored switch, or none."""
    start = f"detent family schedule {family}"
    if stored is None:
        return f"{start} --off"
    when_ = "--on" if stored.from_file else "--on --no-cron" if stored.cron is None else f'--cron "{stored.cron}"'
    when_ += " --holdout" if stored.holdout else ""
    options = [f"--strategy {shlex.quote(stored.strategy)}"] if stored.strategy else []
    options += [f"--aim {stored.aim}"] if stored.aim else []
    return " ".join([start, when_, *options])
