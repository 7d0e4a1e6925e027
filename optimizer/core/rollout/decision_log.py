"""The hash chain of a Rollout's Decisions.

Each link hashes the one before it, and a replay of all of them gives the Rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from optimizer.core.base.answers import Text
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import DetentError
from optimizer.core.rollout.blocks import FIRST_PREVIOUS_HASH
from optimizer.core.rollout.transitions import Transition, TransitionRequest, apply, start
from optimizer.core.serving.rollout import Decision, Rollout, from_record, identity, iso, state


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordProblem:
    """One fault of a rollout's record; ``seq`` is None where it concerns the rollout as a whole."""

    seq: int | None
    detail: Text[str]


def link_hash(decision: Decision) -> str:
    """SHA-256 over the previous hash (ASCII) and the canonical JSON of the other members.

    Times are RFC 3339 in UTC with microseconds.
    """
    members = {
        "seq": decision.seq,
        "kind": decision.kind,
        "at": iso(decision.at),
        "actor": decision.actor,
        "reason": decision.reason,
        "forced": decision.forced,
        "content": decision.content,
    }
    return digest(decision.previous_hash.encode() + canonical_json(members))


def next_decision(transition: Transition, last: Decision | None) -> Decision:
    """The link that records ``transition`` after ``last``; its ``seq`` is the rollout's new version."""
    request, rollout = transition.request, transition.rollout
    link = Decision(
        rollout=rollout.id,
        seq=rollout.version,
        kind=request.act,
        at=request.at,
        actor=request.actor,
        reason=request.reason,
        forced=transition.forced,
        content={**transition.content, "what": transition.what},
        previous_hash=last.hash if last is not None else FIRST_PREVIOUS_HASH,
        hash="",
    )
    return replace(link, hash=link_hash(link))


def verify_chain(decisions: Sequence[Decision]) -> list[RecordProblem]:
    """Every broken link, gap or foreign row, in order; empty where the chain is whole."""
    problems: list[RecordProblem] = []
    previous = FIRST_PREVIOUS_HASH
    for place, d in enumerate(decisions, start=1):
        if d.seq != place:
            problems.append(
                RecordProblem(seq=d.seq, detail=f"decision {place} is missing: the chain goes on with {d.seq}")
            )
            break
        if d.rollout != decisions[0].rollout:
            problems.append(RecordProblem(seq=d.seq, detail=f"decision {d.seq} belongs to rollout {d.rollout}"))
        if d.previous_hash != previous:
            problems.append(
                RecordProblem(
                    seq=d.seq,
                    detail=(
                        f"decision {d.seq} ({d.kind}) does not follow the one before it: its previous hash is another"
                    ),
                )
            )
        try:
            own_hash = link_hash(d)
        except ValueError:  # what canonical JSON cannot hold, rfc8785.CanonicalizationError included
            own_hash = None
        if own_hash != d.hash:
            problems.append(
                RecordProblem(
                    seq=d.seq,
                    detail=f"decision {d.seq} ({d.kind}) was changed: its content does not give its hash {d.hash[:12]}",
                )
            )
        previous = d.hash
    return problems


def replay(decisions: Sequence[Decision]) -> tuple[Rollout | None, list[RecordProblem]]:
    """The Rollout to which the decisions' own inputs lead, and every decision whose recorded result differs.

    After a difference the replay continues from the recorded result, so that one fault is named once.
    """
    rollout: Rollout | None = None
    problems: list[RecordProblem] = []
    for d in decisions:
        try:
            transition = _again(d, rollout)
            recorded = from_record(identity(transition.rollout), d.content["after"])
        except (KeyError, TypeError, ValueError, AttributeError) as broken:
            return rollout, [
                *problems,
                RecordProblem(seq=d.seq, detail=f"decision {d.seq} ({d.kind}) cannot be replayed: {broken!r}"),
            ]
        except DetentError as refused:
            return rollout, [
                *problems,
                RecordProblem(seq=d.seq, detail=f"decision {d.seq} ({d.kind}) was not possible: {refused.detail}"),
            ]
        if (
            bytes_of(transition.content) != bytes_of({k: v for k, v in d.content.items() if k != "what"})
            or transition.forced != d.forced
        ):
            problems.append(
                RecordProblem(
                    seq=d.seq, detail=f"decision {d.seq} ({d.kind}) recorded another result than its inputs give"
                )
            )
        rollout = recorded
    return rollout, problems


def compare(replayed: Rollout | None, stored: Rollout) -> list[RecordProblem]:
    """The members of the stored Rollout that differ from what its decisions lead to. The lease is not compared."""
    if replayed is None:
        return [RecordProblem(seq=None, detail=f"rollout {stored.id} has no decision that could be replayed")]
    expected, actual = {**identity(replayed), **state(replayed)}, {**identity(stored), **state(stored)}
    return [
        RecordProblem(
            seq=None,
            detail=(
                f"the rollout's {name} is not what its decisions lead to: {actual[name]!r} instead of"
                f" {expected[name]!r}"
            ),
        )
        for name in expected
        if bytes_of(expected[name]) != bytes_of(actual[name])
    ]


def _again(d: Decision, rollout: Rollout | None) -> Transition:
    inputs = d.content["inputs"]
    request = TransitionRequest(
        act=d.kind,  # type: ignore[arg-type]
        at=d.at,
        clock_at=datetime.fromisoformat(inputs["clock_at"]),
        actor=d.actor,
        reason=d.reason,
        confirm=inputs["confirm"],
        outcome=inputs["outcome"],
        lapsed_at=_time(inputs["lapsed_at"]),
        lapsed_clock_at=_time(inputs["lapsed_clock_at"]),
        gates=inputs["gates"],
        evidence=inputs["evidence"],
    )
    if rollout is not None:
        return apply(rollout, request)
    return start(from_record(inputs["rollout"], d.content["after"]), request, forced=inputs["forced"])


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def bytes_of(value: Any) -> bytes | None:
    try:
        return canonical_json(value)
    except ValueError:  # what canonical JSON cannot hold, such as the NaN of a forged block
        return None
