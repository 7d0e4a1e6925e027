"""Values of core and jobs as REST and the command line show them: plain types, snake_case.

A command loads no more than it shows.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction
    from optimizer.core.serving.freezes import Freeze
    from optimizer.core.serving.rollout import Rollout
    from optimizer.ports import Alert, CallerRecord, TruncatedInput


def rollout(value: Rollout) -> dict[str, Any]:
    return {**asdict(value), "share": value.share, "is_active": value.is_active}


def alert(value: Alert) -> dict[str, Any]:
    return asdict(value)


def interaction(value: Interaction) -> dict[str, Any]:
    return {**_without_arm(asdict(value)), **_arm(value.arm)}


def feedback(value: FeedbackEvent) -> dict[str, Any]:
    return {**_without_arm(asdict(value)), **_arm(value.arm)}


def _arm(arm: Arm) -> dict[str, Any]:
    return asdict(arm)


def _without_arm(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in ("arm", "content_hash")}


def freeze(value: Freeze) -> dict[str, Any]:
    return {"family": value.family, "reason": value.reason, "by": value.by, "since": value.since}


def truncated(found: Sequence[TruncatedInput], family: str) -> list[dict[str, Any]]:
    """The family's inputs that were ever cut, with the requests in which they were."""
    return [
        {"input": one.input, "n_requests": one.n_requests, "last_at": one.last_at}
        for one in found
        if one.family == family
    ]


def callers(values: Sequence[CallerRecord]) -> dict[str, Any]:
    """Who was refused, and who came without a key, in the last day."""
    return {
        f"{kind}_callers": [
            {"name": one.name, "n_requests": one.n_requests, "last_at": one.last_at}
            for one in values
            if one.kind == kind
        ]
        for kind in ("refused", "keyless")
    }
