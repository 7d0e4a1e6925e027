"""What else in the store has seen a rollout's record: a chain that was cut off and a state set back still contradict it.

Nothing here is a chain of its own, so whoever rewrites all of it to fit is not found: that is what the head hash in the log and in
MLflow is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from optimizer.core.blocks import ARMS, StoredBlock
from optimizer.core.champion import after_promotion
from optimizer.core.decisions import Problem
from optimizer.core.judgement import ACTOR, guardrail_alarm
from optimizer.core.rollout import Champion, Decision, Rollout, iso
from optimizer.core.watch import Watch

ROLLBACK = "champion.rollback"


def against_audit(decisions: Sequence[Decision], rows: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """``rows``: what the audit holds of the rollout, in order; each decision wrote one with its hash."""
    known = [row for row in rows if row["action"].startswith("rollout.")]
    for place, (d, row) in enumerate(zip(decisions, known, strict=False), start=1):
        if (row["action"], row["actor"], row["at"], row["detail"].get("hash")) != (f"rollout.{d.kind}", d.actor, d.at, d.hash):
            return [Problem(seq=d.seq, detail=f"decision {place} ({d.kind}) is not the one that the audit knows: {_row(row)}")]
    if len(known) > len(decisions):
        missed = known[len(decisions)]
        return [Problem(seq=None, detail=f"decision {len(decisions) + 1} is missing: the audit knows {_row(missed)}")]
    return [Problem(seq=d.seq, detail=f"decision {d.seq} ({d.kind}) is not in the audit") for d in decisions[len(known) :]]


def against_outbox(decisions: Sequence[Decision], told: Mapping[str, Any] | None) -> list[Problem]:
    """``told``: the newest thing that was written down to be sent to MLflow about the rollout; None where that is gone."""
    last = decisions[-1] if decisions else None
    if told is None or (last is not None and (told.get("seq"), told.get("hash")) == (last.seq, last.hash)):
        return []
    known, stored = f"decision {told.get('seq')} ({str(told.get('hash'))[:12]})", f"{last.seq} ({last.hash[:12]})" if last else "none"
    return [Problem(seq=None, detail=f"the last decision stored is {stored}, and the last one kept for MLflow is {known}")]


class CountedUnits:
    """How many units the blocks counted, beside the units that are kept with what they were counted for.

    Each kept unit was counted by a block; a unit whose person was forgotten is not kept any more, so the blocks may hold more.
    """

    def __init__(self) -> None:
        self._n_values = 0

    def add(self, block: StoredBlock) -> None:
        if block.kind == "guardrails":
            self._n_values += sum(k for arm in ARMS for _, k in block.content["errors"][arm])

    def against(self, watch: Watch, *, n_matured: int, n_values: int) -> list[Problem]:
        """``n_matured`` and ``n_values``: of the kept units, those in a closed cohort, and their values in guardrail blocks."""
        matured = watch.n_left_out + sum(c.units_c + c.units_b for c in watch.stages.values())
        found = [("quality", n_matured, matured), ("guardrail", n_values, self._n_values)]
        return [
            Problem(seq=None, detail=f"{kind} blocks are missing: {kept} units were counted by them, and those stored count {counted}")
            for kind, kept, counted in found
            if kept > counted
        ]


def against_champions(rollout: Rollout, history: Sequence[Champion]) -> list[Problem]:
    """The reign that the promotion made; none where there was no promotion."""
    promoted, reigns = rollout.outcome == "promoted", [c for c in history if c.rollout == rollout.id]
    if promoted != bool(reigns):
        detail = "was promoted, but no champion names it" if promoted else "was not promoted, but a champion names it"
        return [Problem(seq=None, detail=f"the rollout {detail}")]
    if reigns and [(c.variant, c.since) for c in reigns] != [(rollout.candidate, rollout.ended_at)]:
        found = ", ".join(f"{c.variant} since {iso(c.since)}" for c in reigns)
        detail = f"the rollout promoted {rollout.candidate} when it ended, but the champions that name it are others: {found}"
        return [Problem(seq=None, detail=detail)]
    return []


def holdback_evidence(rollout: Rollout, watch: Watch, *, alarm: str, at: datetime) -> dict[str, Any]:
    """What the tick takes a promotion back on, for the audit: enough to judge it again from the blocks."""
    return {"rollout": rollout.id, "blocks": watch.n_blocks, "head": watch.head, "alarm": alarm, "at": iso(at)}


class TakenBack:
    """A promotion that the tick took back by itself: its blocks must give the alarm that it names."""

    def __init__(self, rollout: Rollout, history: Sequence[Champion], rows: Sequence[Mapping[str, Any]]) -> None:
        """Args: ``rows``: what the audit holds of the variant that the rollout replaced, in order."""
        self._rollout = rollout
        self._evidence: Mapping[str, Any] | None = None
        self.problems: list[Problem] = []
        rows = [row for row in rows if row["action"] == ROLLBACK and row["family"] == rollout.family]
        following = after_promotion(history, rollout.id)
        named = [row for row in rows if (row["detail"].get("evidence") or {}).get("rollout") == rollout.id]
        if following is None or not _falls_back(following, rollout):
            self.problems += [
                Problem(seq=None, detail=f"the audit knows that the promotion was taken back ({iso(row['at'])}), and the champions do not")
                for row in named
            ]
            return
        own = next((row for row in named if row["detail"]["seq"] == following.seq), None)
        if own is None:
            self._say(f"{following.by} took the promotion back, and the audit names no evidence for it")
        elif not _tells_of(own, following):
            self._say(f"{following.by} took the promotion back, and the audit knows another time, actor or reason of it")
        else:
            self._evidence = own["detail"]["evidence"]

    def look(self, watch: Watch) -> None:
        """To be called after each block."""
        evidence = self._evidence
        if evidence is None or watch.n_blocks != evidence["blocks"]:
            return
        self._evidence = None
        alarm = guardrail_alarm(self._rollout, watch, at=datetime.fromisoformat(evidence["at"]))
        if watch.head != evidence["head"]:
            self._say(f"the promotion was taken back on block {watch.n_blocks} with hash {evidence['head'][:12]}, and it has another")
        elif alarm is None:
            self._say(f"the promotion was taken back ({evidence['alarm']}), and its {watch.n_blocks} blocks give no alarm")

    def end(self, n_blocks: int) -> list[Problem]:
        """All problems, now that there are no more blocks."""
        if self._evidence is not None:
            self._say(f"the promotion was taken back on {self._evidence['blocks']} blocks, and only {n_blocks} are stored")
        return self.problems

    def _say(self, detail: str) -> None:
        self.problems.append(Problem(seq=None, detail=detail))


def _falls_back(following: Champion, rollout: Rollout) -> bool:
    """Whether the tick went back to the champion before; a later promotion or an edited file follows for reasons of its own."""
    return following.by == ACTOR and following.rollout is None and following.variant == rollout.champion


def _tells_of(row: Mapping[str, Any], reign: Champion) -> bool:
    """The alarm is compared as it was recorded: a later version may put its sentence better."""
    detail = row["detail"]
    return (row["at"], row["actor"], detail["why"]) == (reign.since, reign.by, reign.why) and detail["evidence"]["alarm"] in reign.why


def _row(row: Mapping[str, Any]) -> str:
    return f"{row['action']} by {row['actor']} at {iso(row['at'])} ({str(row['detail'].get('hash'))[:12]})"
