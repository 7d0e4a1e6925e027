"""Checks that a Rollout's decisions follow from its blocks: the chain of the blocks,
and every next action worked out again, in one pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from optimizer.core.base.canonical import canonical_json
from optimizer.core.rollout.blocks import ARMS, FIRST_PREVIOUS_HASH, StoredBlock, block_hash
from optimizer.core.rollout.decision_log import RecordProblem
from optimizer.core.rollout.evidence_state import EvidenceState, StoredEvidence, after, as_text, begin, from_text
from optimizer.core.rollout.next_action import ACTOR, guardrail_alarm, next_action
from optimizer.core.rollout.transitions import is_system
from optimizer.core.serving.champion import after_promotion
from optimizer.core.serving.rollout import Champion, Decision, Rollout, from_record, identity, iso

FROM_EVIDENCE = ("advance", "promote", "hold", "resume", "rollback")  # acts that a system actor may only do on evidence


@dataclass(kw_only=True)
class BlockChain:
    """The links of a rollout's blocks as they are read; ``problems`` names every broken link,
    gap or changed byte by its block.
    """

    n: int = 0
    head: str = FIRST_PREVIOUS_HASH
    problems: list[RecordProblem] = field(default_factory=list)
    _gap: bool = False

    def read(self, blocks: Iterable[StoredBlock]) -> Iterator[StoredBlock]:
        """Checks every block, and hands on those before the first fault.

        A ValueError of ``blocks`` (a column that holds no value of its type any more, such as a time that is none) ends
        it as a fault.
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
        """After a gap the rest is only counted: none of it could fit."""
        self.n += 1
        if self._gap:
            return
        if b.seq != self.n:
            self._gap = True
            self.say(f"block {self.n} is missing: the chain goes on with {b.seq}")
            return
        if b.previous_hash != self.head:
            self.say(f"block {b.seq} ({b.kind}) does not follow the one before it: its previous hash is another")
        if _hash_of(b) != b.hash:
            self.say(f"block {b.seq} ({b.kind}) was changed: its content does not give its hash {b.hash[:12]}")
        self.head = b.hash

    def say(self, detail: str) -> None:
        self.problems.append(RecordProblem(seq=None, detail=detail))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStep:
    """One block of a whole chain, and what is known before and after it."""

    block: StoredBlock
    before: EvidenceState
    after: EvidenceState


def fold(rollout: Rollout, blocks: Iterable[StoredBlock], chain: BlockChain) -> Iterator[BlockStep]:
    """Every block once: checked, and folded for as long as the chain is whole. Nothing is kept, however many there are.

    What it has given before a fault turned up is to be thrown away: look at ``chain.problems`` at the end.
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
    """Decisions whose recorded evidence is not what their blocks say,
    and transitions that the tick made without any.
    """

    def __init__(self, rollout: Rollout, decisions: Sequence[Decision]) -> None:
        self.problems: list[RecordProblem] = []
        self._waiting: list[tuple[Rollout, Decision]] = []  # with the rollout before it, in the order of their blocks
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
        """Checks what rests on exactly the blocks of ``state``; to be called before the first block, and after each."""
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
        """All problems, now that there are no more blocks."""
        if self._waiting:
            _, d = self._waiting[-1]
            n = d.content["inputs"]["evidence"]["blocks"]
            self._say(d, f"decision {d.seq} ({d.kind}) rests on {n} blocks, and only {n_blocks} are stored")
        return sorted(self.problems, key=lambda p: p.seq or 0)

    def _say(self, d: Decision, detail: str) -> None:
        self.problems.append(RecordProblem(seq=d.seq, detail=detail))


def verify_state(replayed: EvidenceState, stored: str | None) -> list[RecordProblem]:
    """The state that the tick continues from equals what all blocks add up to; only this shows that the last
    blocks are missing.
    """
    n = replayed.n_blocks
    if stored is None:
        return (
            []
            if not n
            else [RecordProblem(seq=None, detail=f"{n} blocks are stored, and not what the tick knew after them")]
        )
    try:
        known = from_text(stored).state
    except ValueError as broken:
        return [RecordProblem(seq=None, detail=f"what the tick knew of the rollout cannot be read: {broken}")]
    if as_text(StoredEvidence(state=known)) == as_text(StoredEvidence(state=replayed)):
        return []
    if known.n_blocks > n:
        return [RecordProblem(seq=None, detail=f"block {n + 1} is missing: the tick had closed {known.n_blocks}")]
    return [
        RecordProblem(
            seq=None, detail=f"what the tick knew after {known.n_blocks} blocks is not what the {n} blocks give"
        )
    ]


def _hash_of(b: StoredBlock) -> str | None:
    try:
        return block_hash(previous_hash=b.previous_hash, seq=b.seq, kind=b.kind, content=b.text, closed_at=b.closed_at)
    except (TypeError, ValueError):  # bytes that are no text any more
        return None


def _text(evidence: Mapping[str, Any]) -> bytes | None:
    """Without its sentence, which a later version may put better; the decision's own hash holds it."""
    try:
        return canonical_json({name: value for name, value in evidence.items() if name != "reason"})
    except ValueError:  # what canonical JSON cannot hold, such as the NaN of a forged block
        return None


ROLLBACK = "champion.rollback"


def against_audit(decisions: Sequence[Decision], rows: Sequence[Mapping[str, Any]]) -> list[RecordProblem]:
    """``rows``: what the audit holds of the rollout, in order; each decision wrote one with its hash."""
    known = [row for row in rows if row["action"].startswith("rollout.")]
    for place, (d, row) in enumerate(zip(decisions, known, strict=False), start=1):
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
    if len(known) > len(decisions):
        missed = known[len(decisions)]
        return [
            RecordProblem(seq=None, detail=f"decision {len(decisions) + 1} is missing: the audit knows {_row(missed)}")
        ]
    return [
        RecordProblem(seq=d.seq, detail=f"decision {d.seq} ({d.kind}) is not in the audit")
        for d in decisions[len(known) :]
    ]


def against_outbox(decisions: Sequence[Decision], reported: Mapping[str, Any] | None) -> list[RecordProblem]:
    """``reported``: the newest thing that was written down to be sent to MLflow about the rollout; None
    where that is gone.
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
    """How many units the blocks counted, beside the units that are kept with what they were counted for.

    Each kept unit was counted by a block; a unit whose person was forgotten is not kept any more, so the blocks may
    hold more.
    """

    def __init__(self) -> None:
        self._n_values = 0

    def add(self, block: StoredBlock) -> None:
        if block.kind == "guardrails":
            self._n_values += sum(k for arm in ARMS for _, k in block.content["errors"][arm])

    def against(self, state: EvidenceState, *, n_matured: int, n_values: int) -> list[RecordProblem]:
        """``n_matured`` and ``n_values``: of the kept units, those in a closed cohort,
        and their values in guardrail blocks.
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
    """The tenure that the promotion began; none where there was no promotion."""
    promoted, tenures = rollout.outcome == "promoted", [c for c in history if c.rollout == rollout.id]
    if promoted != bool(tenures):
        detail = "was promoted, but no champion names it" if promoted else "was not promoted, but a champion names it"
        return [RecordProblem(seq=None, detail=f"the rollout {detail}")]
    if tenures and [(c.variant, c.since) for c in tenures] != [(rollout.candidate, rollout.ended_at)]:
        tenures_text = ", ".join(f"{c.variant} since {iso(c.since)}" for c in tenures)
        detail = (
            f"the rollout promoted {rollout.candidate} when it ended, but the champions that name it are others:"
            f" {tenures_text}"
        )
        return [RecordProblem(seq=None, detail=detail)]
    return []


def holdback_evidence(rollout: Rollout, state: EvidenceState, *, alarm: str, at: datetime) -> dict[str, Any]:
    """What the tick takes a promotion back on, for the audit: enough to judge it again from the blocks."""
    return {"rollout": rollout.id, "blocks": state.n_blocks, "head": state.head, "alarm": alarm, "at": iso(at)}


class PromotionWithdrawal:
    """A promotion that the tick took back by itself: its blocks must give the alarm that it names."""

    def __init__(self, rollout: Rollout, history: Sequence[Champion], rows: Sequence[Mapping[str, Any]]) -> None:
        """Args: ``rows``: what the audit holds of the variant that the rollout replaced, in order."""
        self._rollout = rollout
        self._evidence: Mapping[str, Any] | None = None
        self.problems: list[RecordProblem] = []
        rows = [row for row in rows if row["action"] == ROLLBACK and row["family"] == rollout.family]
        following = after_promotion(history, rollout.id)
        named = [row for row in rows if (row["detail"].get("evidence") or {}).get("rollout") == rollout.id]
        # Whether the tick went back to the champion before; a later promotion or an edited file follows for reasons of
        # its own.
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
                for row in named
            ]
            return
        own = next((row for row in named if row["detail"]["seq"] == following.seq), None)
        if own is None:
            self._say(f"{following.by} took the promotion back, and the audit names no evidence for it")
        elif not _tells_of(own, following):
            self._say(
                f"{following.by} took the promotion back, and the audit knows another time, actor or reason of it"
            )
        else:
            self._evidence = own["detail"]["evidence"]

    def look(self, state: EvidenceState) -> None:
        """To be called after each block."""
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
        """All problems, now that there are no more blocks."""
        if self._evidence is not None:
            self._say(
                f"the promotion was taken back on {self._evidence['blocks']} blocks, and only {n_blocks} are stored"
            )
        return self.problems

    def _say(self, detail: str) -> None:
        self.problems.append(RecordProblem(seq=None, detail=detail))


def _tells_of(row: Mapping[str, Any], tenure: Champion) -> bool:
    """The alarm is compared as it was recorded: a later version may put its sentence better."""
    detail = row["detail"]
    return (row["at"], row["actor"], detail["why"]) == (tenure.since, tenure.by, tenure.why) and detail["evidence"][
        "alarm"
    ] in tenure.why


def _row(row: Mapping[str, Any]) -> str:
    return f"{row['action']} by {row['actor']} at {iso(row['at'])} ({str(row['detail'].get('hash'))[:12]})"
