"""What an installation chose, and where each choice comes from; the content pipeline's flags among it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.content.core.policy.flags import METRICS, SWITCHES, THRESHOLDS, read_flags
from optimizer.host.config import SettingInEffect, settings_in_effect
from optimizer.jobs.context import Context
from optimizer.jobs.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFlag:
    """``knob``: of a policy, which the variable is laid over; None where it is none. ``value`` None: not set."""

    variable: str
    knob: str | None
    value: bool | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsReport:
    """Of this process: a changed setting needs a restart."""

    profile: str
    settings: Sequence[SettingInEffect]
    flags: Sequence[PipelineFlag]


def read_settings(context: Context, request: Request) -> SettingsReport:
    """Every setting in effect with its source, and the content pipeline's flags of the environment. Secrets are null,
    and `is_set` says whether there is one; addresses are without their passwords.
    """
    flags = read_flags(os.environ)
    knobs = {**SWITCHES, **THRESHOLDS}
    metrics = flags.records_metrics if os.environ.get(METRICS, "").strip() else None
    return SettingsReport(
        profile=context.settings.profile,
        settings=settings_in_effect(context.settings),
        flags=[
            *(PipelineFlag(variable=name, knob=knobs[name], value=flags.knobs.get(knobs[name])) for name in knobs),
            PipelineFlag(variable=METRICS, knob=None, value=metrics),
        ],
    )
