"""A family as people and programs see it: what its file declares, what serves, and how the two differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from optimizer.core.base.answers import Json, Text
from optimizer.core.base.errors import FaultMember, InvalidFamily
from optimizer.core.family.family import Family
from optimizer.core.scheduling.schedule import ScheduleView
from optimizer.core.serving.rollout import Champion, Status


class FamilyProblem(TypedDict):
    """Why a family's file cannot be used."""

    detail: Text[str]
    errors: NotRequired[Sequence[FaultMember]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutBrief:
    """What serving asks of an active rollout; ``share`` of the units get the candidate until the lease ends."""

    id: str
    status: Status
    candidate: str
    stage: int
    share: float | None
    held: bool
    lease_expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentView:
    """What variables of the environment change of a policy, by their own names and by those of its knobs."""

    by: Literal["environment"] = "environment"
    variables: Mapping[str, Json]
    knobs: Mapping[str, Json]
    instead_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyFile:
    """The file's version beside the champion, with the commands that lead from one to the other."""

    version: str
    variant: str
    state: Literal["served", "left behind", "edited, not served"]
    commands: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilySummary:
    """``degraded``: its file cannot be used, and its last good version serves, if there is one; ``file`` None: it
    declares no prompt of its own, or nothing serves; else its ``state`` is served, "edited, not served" with the
    ``commands`` that go on, or left behind: it served before. ``overridden``: what the environment changes.
    """

    name: str
    description: Text[str]
    kind: str | None
    champion: Champion | None
    rollout: RolloutBrief | None
    overridden: EnvironmentView | None
    degraded: bool
    problem: Text[FamilyProblem | None]
    file: FamilyFile | None
    n_train: int
    n_dev: int
    n_holdout: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyView(FamilySummary):
    """The same with the definition as the file has it, and the schedule in force; both None where it never could be
    read.
    """

    definition: Text[Family | None]
    schedule: ScheduleView | None
    suites: Sequence[str]  # as they are asked for, golden scenarios among them
    former_names: Sequence[str]
    renamed_at: datetime | None


def family_problem(problem: InvalidFamily) -> FamilyProblem:
    view: FamilyProblem = {"detail": problem.detail}
    if problem.faults:
        view["errors"] = problem.members["errors"]
    return view


def family_file(definition: Family, champion: str, past_champions: Collection[str]) -> FamilyFile | None:
    """``past_champions``: every variant that ever was champion."""
    if definition.prompt.current not in definition.prompt.versions:
        return None  # a policy family without a prompt of its own
    name, variant = definition.name, definition.variant().id
    state: Literal["served", "left behind", "edited, not served"] = "edited, not served"
    commands = [
        f"detent variant diff {name} {variant}",
        f"detent study confirm {name} {variant} --dry-run",
        f"detent rollout start {name} {variant}",
        f"detent family adopt {name} --confirm {name}",
    ]
    if variant == champion:
        state, commands = "served", []
    elif variant in past_champions:
        state, commands = "left behind", [f"detent variant export {name} --format yaml"]
    return FamilyFile(version=definition.prompt.current, variant=variant, state=state, commands=commands)
