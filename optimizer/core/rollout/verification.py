"""Checks that a Rollout's decisions follow from its blocks.

In one pass it checks the chain of the blocks, and works out every next action again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from optimizer.core.rollout.blocks import ARMS, FIRST_PREVIOUS_HASH, StoredBlock, block_hash
from optimizer.core.rollout.decision_log import RecordProblem, bytes_of
from optimizer.core.rollout.evidence_state import EvidenceState, StoredEvidence, after, as_text, begin, from_text
from optimizer.core.rollout.next_action import ACTOR, guardrail_alarm, next_action
from optimizer.core.rollout.transitions import is_system
from optimizer.core.serving.champion import after_promotion
from optimizer.core.serving.rollout import Champion, Decision, Rollout, from_record, identity, iso

FROM_EVIDENCE = ("advance", "promote", "hold", "resume", "rollback")  # acts that a system actor may only do on evidence


@dataclass(kw_only=True)
class BlockChain:
    """The links of a rollout's blocks as they are read. ``problems`` names every broken link, gap or changed byte."""

    n: int = 0
    head: str = FIRST_PREVIOUS_HASH
    problems: list[RecordProblem] = field(default_factory=list)
    _gap: bool = False

    def read(self, blocks: Iterable[StoredBlock]) -> Iterator[StoredBlock]:
        """Checks every block, and yields those before the first fault.

        A ValueError of ``blocks`` ends the reading as a fault: a column holds no value of its type any more, such as a
        time.
        """
        following = iter(blocks)
        while True:
            try:
                block = next(following)
            except StopIteration:
                return
            except ValueError as broken:
                self.say(f"a block cannot be read from the store: {broken}")
                return
            self._check(block)
            if not self.problems:
                yield block

    def _check(self, b: StoredBlock) -> None:
        """After a gap the blocks are only counted: none of them could fit."""
        self.n += 1
        if self._gap:
            return
        if b.seq != self.n:
            self._gap = True
            self.say(f"block {self.n} is missing: the chain goes on with {b.seq}")
            return
        if b.previous_hash != self.head:
            self.say(f"block {b.seq} ({b.kind}) does not follow the one before it: its previous hash is another")
        try:
            own_hash = block_hash(
                previous_hash=b.previous_hash, seq=b.seq, kind=b.kind, content=b.text, closed_at=b.closed_at
            )
        except (TypeError, ValueError):  # bytes that are no text any more
            own_hash = None
        if own_hash != b.hash:
            self.say(f"block {b.seq} ({b.kind}) was changed: its content does not give its hash {b.hash[:12]}")
        self.head = b.hash

    def say(self, detail: str) -> None:
        self.problems.append(RecordProblem(seq=None, detail=detail))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStep:
    """One block of a whole chain, with the evidence state before and after it."""

    block: StoredBlock
    before: EvidenceState
    after: EvidenceState


def fold(rollout: Rollout, blocks: Iterable[StoredBlock], chain: BlockChain) -> Iterator[BlockStep]:
    """Checks and adds up every block once, for as long as the chain is whole; keeps none of them.

    Look at ``chain.problems`` at the end: if there are any, what was yielded before counts for nothing.
    """
    state = begin(rollout.settings)
    for block in chain.read(blocks):
        before = state
        try:
            state = after(before, block, rollout.settings, rollout.ladder)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
        ) as broken:  # hashed anew around what is no outcome
            chain.say(f"block {block.seq} ({block.kind}) holds what no tick closes: {broken!r}")
            continue
        yield BlockStep(block=block, before=before, after=state)


class ReplayedDecisions:
    """Decisions whose recorded evidence their blocks do not give, and system transitions without evidence."""

    def __init__(self, rollout: Rollout, decisions: Sequence[Decision]) -> None:
        self.problems: list[RecordProblem] = []
        self._waiting: list[tuple[Rollout, Decision]] = []  # each with the rollout before it, the first one last
        before: Rollout | None = None
        for d in decisions:
            evidence = d.content["inputs"]["evidence"]
            if evidence is None and is_system(d.actor) and d.kind in FROM_EVIDENCE:
                self._say(d, f"decision {d.seq} ({d.kind}) was made by {d.actor} without evidence")
            elif evidence is not None and before is not None:
                self._waiting.append((before, d))
            before = from_record(identity(rollout), d.content["after"])
        self._waiting.reverse()

    def look(self, state: EvidenceState) -> None:
        """Checks the decisions that rest on exactly the blocks of ``state``.

        Call it before the first block and after each block.
        """
        while self._waiting and self._waiting[-1][1].content["inputs"]["evidence"]["blocks"] <= state.n_blocks:
            before, d = self._waiting.pop()
            evidence = d.content["inputs"]["evidence"]
            action = next_action(
                before, state, at=d.at, clock_at=datetime.fromisoformat(d.content["inputs"]["clock_at"])
            )
            if _text(action.evidence) != _text(evidence):
                self._say(
                    d, f"decision {d.seq} ({d.kind}) recorded other evidence than its {evidence['blocks']} blocks give"
                )
            elif is_system(d.actor) and action.act != d.kind:
                self._say(d, f"decision {d.seq} ({d.kind}) does not follow: its blocks say {action.act}")

    def end(self, n_blocks: int) -> list[RecordProblem]:
        """All problems, once there are no more blocks."""
        if self._waiting:
            _, d = self._waiting[-1]
            n = d.content["inputs"]["evidence"]["blocks"]
            self._say(d, f"decision {d.seq} ({d.kind}) rests on {n} blocks, and only {n_blocks} are stored")
        return sorted(self.problems, key=lambda p: p.seq or 0)

    def _say(self, d: Decision, detail: str) -> None:
        self.problems.append(RecordProblem(seq=d.seq, detail=detail))


def verify_state(replayed: EvidenceState, stored: str | None) -> list[RecordProblem]:
    """Whether the state from which the tick continues equals what all blocks add up to.

    No other check shows that the last blocks are missing.
    """
    n = replayed.n_blocks
    if stored is None:
        return (
            []
            if not n
            else [RecordProblem(seq=None, detail=f"{n} blocks are stored, and not what the tick knew after them")]
        )
    try:
        evidence = from_text(stored).state
    except ValueError as broken:
        return [RecordProblem(seq=None, detail=f"what the tick knew of the rollout cannot be read: {broken}")]
    if as_text(StoredEvidence(state=evidence)) == as_text(StoredEvidence(state=replayed)):
        return []
    if evidence.n_blocks > n:
        return [RecordProblem(seq=None, detail=f"block {n + 1} is missing: the tick had closed {evidence.n_blocks}")]
    return [
        RecordProblem(
            seq=None, detail=f"what the tick knew after {evidence.n_blocks} blocks is not what the {n} blocks give"
        )
    ]


def _text(evidence: Mapping[str, Any]) -> bytes | None:
    """The evidence without its sentence, which a later version may word differently; the decision's own
    hash covers it.
    """
    return bytes_of({name: value for name, value in evidence.items() if name != "reason"})


ROLLBACK = "champion.rollback"


def against_audit(decisions: Sequence[Decision], rows: Sequence[Mapping[str, Any]]) -> list[RecordProblem]:
    """Where the decisions and the audit differ. Each decision wrote one row of the audit, with its hash.

    Args:
        rows: what the audit holds of the rollout, in order.
    """
    rollout_rows = [row for row in rows if row["action"].startswith("rollout.")]
    for place, (d, row) in enumerate(zip(decisions, rollout_rows, strict=False), start=1):
        if (row["action"], row["actor"], row["at"], row["detail"].get("hash")) != (
            f"rollout.{d.kind}",
            d.actor,
            d.at,
            d.hash,
        ):
            return [
                RecordProblem(
                    seq=d.seq, detail=f"decision {place} ({d.kind}) is not the one that the audit knows: {_row(row)}"
                )
            ]
    if len(rollout_rows) > len(decisions):
        missing_row = rollout_rows[len(decisions)]
        return [
            RecordProblem(
                seq=None, detail=f"decision {len(decisions) + 1} is missing: the audit knows {_row(missing_row)}"
            )
        ]
    return [
        RecordProblem(seq=d.seq, detail=f"decision {d.seq} ({d.kind}) is not in the audit")
        for d in decisions[len(rollout_rows) :]
    ]


def against_outbox(decisions: Sequence[Decision], reported: Mapping[str, Any] | None) -> list[RecordProblem]:
    """Whether the last decision is the one that was last written down for MLflow.

    Args:
        reported: the newest item of the outbox about the rollout; None where it is gone.
    """
    last = decisions[-1] if decisions else None
    if reported is None or (last is not None and (reported.get("seq"), reported.get("hash")) == (last.seq, last.hash)):
        return []
    known, stored = (
        f"decision {reported.get('seq')} ({str(reported.get('hash'))[:12]})",
        f"{last.seq} ({last.hash[:12]})" if last else "none",
    )
    return [
        RecordProblem(
            seq=None, detail=f"the last decision stored is {stored}, and the last one kept for MLflow is {known}"
        )
    ]


class CountedUnits:
    """Compares how many units the blocks counted with the units that are stored as counted.

    Each stored unit was counted by a block. A unit whose person was forgotten is no longer stored, so blocks may hold
    more.
    """

    def __init__(self) -> None:
        self._n_values = 0

    def add(self, block: StoredBlock) -> None:
        if block.kind == "guardrails":
            self._n_values += sum(k for arm in ARMS for _, k in block.content["errors"][arm])

    def against(self, state: EvidenceState, *, n_matured: int, n_values: int) -> list[RecordProblem]:
        """The problems.

        Args:
            n_matured: stored units that are in a closed cohort.
            n_values: values that stored units gave to guardrail blocks.
        """
        matured = state.n_left_out + sum(c.units_c + c.units_b for c in state.stages.values())
        return [
            RecordProblem(
                seq=None,
                detail=(
                    f"{kind} blocks are missing: {summed} units were counted by them, and those stored count {counted}"
                ),
            )
            for kind, summed, counted in [("quality", n_matured, matured), ("guardrail", n_values, self._n_values)]
            if summed > counted
        ]


def against_champions(rollout: Rollout, history: Sequence[Champion]) -> list[RecordProblem]:
    """Whether a tenure names the rollout exactly where the rollout was promoted, and with the same variant and time."""
    is_promoted, tenures = rollout.outcome == "promoted", [c for c in history if c.rollout == rollout.id]
    if is_promoted != bool(tenures):
        detail = (
            "was promoted, but no champion names it" if is_promoted else "was not promoted, but a champion names it"
        )
        return [RecordProblem(seq=None, detail=f"the rollout {detail}")]
    if tenures and [(c.variant, c.since) for c in tenures] != [(rollout.candidate, rollout.ended_at)]:
        tenures_text = ", ".join(f"{c.variant} since {iso(c.since)}" for c in tenures)
        detail = (
            f"the rollout promoted {rollout.candidate} when it ended, but the champions that name it are others:"
            f" {tenures_text}"
        )
        return [RecordProblem(seq=None, detail=detail)]
    return []


class PromotionWithdrawal:
    """A promotion that the tick took back by itself: its blocks must give the alarm that it names."""

    def __init__(self, rollout: Rollout, history: Sequence[Champion], rows: Sequence[Mapping[str, Any]]) -> None:
        """Args:
        rows: what the audit holds of the variant that the rollout replaced, in order.
        """
        self._rollout = rollout
        self._evidence: Mapping[str, Any] | None = None
        self.problems: list[RecordProblem] = []
        rows = [row for row in rows if row["action"] == ROLLBACK and row["family"] == rollout.family]
        following = after_promotion(history, rollout.id)
        rows_of_rollout = [row for row in rows if (row["detail"].get("evidence") or {}).get("rollout") == rollout.id]
        # Did the tick go back to the champion before? A later promotion or an edited file has reasons of its own.
        if following is None or not (
            following.by == ACTOR and following.rollout is None and following.variant == rollout.champion
        ):
            self.problems += [
                RecordProblem(
                    seq=None,
                    detail=(
                        f"the audit knows that the promotion was taken back ({iso(row['at'])}), and the champions"
                        " do not"
                    ),
                )
                for row in rows_of_rollout
            ]
            return
        own_row = next((row for row in rows_of_rollout if row["detail"]["seq"] == following.seq), None)
        if own_row is None:
            self._say(f"{following.by} took the promotion back, and the audit names no evidence for it")
            return
        why, evidence = own_row["detail"]["why"], own_row["detail"]["evidence"]
        known = own_row["at"], own_row["actor"], why
        # The alarm is compared as it was recorded: a later version may word it differently.
        if known != (following.since, following.by, following.why) or evidence["alarm"] not in why:
            self._say(
                f"{following.by} took the promotion back, and the audit knows another time, actor or reason of it"
            )
        else:
            self._evidence = evidence

    def look(self, state: EvidenceState) -> None:
        """Checks the alarm where ``state`` has the blocks that it rests on. Call it after each block."""
        evidence = self._evidence
        if evidence is None or state.n_blocks != evidence["blocks"]:
            return
        self._evidence = None
        alarm = guardrail_alarm(self._rollout, state, at=datetime.fromisoformat(evidence["at"]))
        if state.head != evidence["head"]:
            self._say(
                f"the promotion was taken back on block {state.n_blocks} with hash {evidence['head'][:12]}, and it has"
                " another"
            )
        elif alarm is None:
            self._say(
                f"the promotion was taken back ({evidence['alarm']}), and its {state.n_blocks} blocks give no alarm"
            )

    def end(self, n_blocks: int) -> list[RecordProblem]:
        """All problems, once there are no more blocks."""
        if self._evidence is not None:
            self._say(
                f"the promotion was taken back on {self._evidence['blocks']} blocks, and only {n_blocks} are stored"
            )
        return self.problems

    def _say(self, detail: str) -> None:
        self.problems.append(RecordProblem(seq=None, detail=detail))


def _row(row: Mapping[str, Any]) -> str:
    return f"{row['action']} by {row['actor']} at {iso(row['at'])} ({str(row['detail'].get('hash'))[:12]})"
